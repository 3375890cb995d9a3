//! Levels of instruction sets, and which of them this CPU has.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set that kernels are compiled for, from the plainest to the widest.
///
/// The choice is made at run time: a program compiled for the oldest x86-64 or `AArch64` CPU uses
/// the best level of the CPU it runs on. The environment variable `NEARFIELD_SIMD`, set to a
/// level's name, caps the answer of [`Isa::detect`], which serves tests and comparisons: the best
/// level that this CPU has and that is not above the named one in the order of this enum. A value
/// that names no level is ignored.
///
/// ```
/// use nearfield::Isa;
///
/// assert!(Isa::available().contains(&Isa::detect()));
/// assert_eq!(Isa::available()[0], Isa::Scalar);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust: the instructions of every CPU of the architecture (SSE2 on x86-64).
    Scalar,
    /// WebAssembly with `simd128`, which a program is compiled for as a whole.
    Simd128,
    /// `AArch64` NEON.
    Neon,
    /// x86-64 with AVX2, FMA, F16C and POPCNT: Haswell (2013) and Zen, or later.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VNNI and VPOPCNTDQ: Ice Lake (2019) and Zen 4, or later.
    Avx512,
}

impl Isa {
    const ALL: [Self; 5] = [Self::Scalar, Self::Simd128, Self::Neon, Self::Avx2, Self::Avx512];

    /// Returns the name, as `NEARFIELD_SIMD` takes it: `scalar`, `simd128`, `neon`, `avx2` or `avx512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd128 => "simd128",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Returns the default level: the best that this CPU has, capped by
    /// `NEARFIELD_SIMD`. The variable is read once, at the first call.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let cap = std::env::var("NEARFIELD_SIMD").ok();
            Self::capped(Self::available(), cap.as_deref())
        })
    }

    /// Returns all levels that this CPU can run, from [`Isa::Scalar`] up, regardless of `NEARFIELD_SIMD`. In WebAssembly, the one level
    /// that the program is compiled for.
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            if super::Avx512::new().is_some() {
                &[Self::Scalar, Self::Avx2, Self::Avx512]
            } else if super::Avx2::new().is_some() {
                &[Self::Scalar, Self::Avx2]
            } else {
                &[Self::Scalar]
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if super::Neon::new().is_some() { &[Self::Scalar, Self::Neon] } else { &[Self::Scalar] }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            let has_simd128 = cfg!(all(target_arch = "wasm32", target_feature = "simd128"));
            match has_simd128 {
                true if cfg!(test) => &[Self::Scalar, Self::Simd128],
                true => &[Self::Simd128],
                false => &[Self::Scalar],
            }
        }
    }

    /// Returns the best of `available` (ascending, never empty) that is not above the level named `cap`.
    fn capped(available: &[Self], cap: Option<&str>) -> Self {
        let cap = cap.and_then(|name| Self::ALL.into_iter().find(|isa| isa.name() == name));
        available
            .iter()
            .copied()
            .filter(|&isa| cap.is_none_or(|cap| isa <= cap))
            .max()
            .or(available.first().copied())
            .unwrap_or(Self::Scalar)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Isa::{self, *};

    #[test]
    fn a_cap_only_lowers() {
        let x86 = [Scalar, Avx2, Avx512];
        let arm = [Scalar, Neon];
        for (available, cap, expected) in [
            (&x86[..], None, Avx512),
            (&x86, Some("avx512"), Avx512),
            (&x86, Some("avx2"), Avx2),
            (&x86, Some("scalar"), Scalar),
            (&x86, Some("neon"), Scalar),
            (&x86, Some("AVX2"), Avx512),
            (&x86, Some(""), Avx512),
            (&x86, Some("sse9"), Avx512),
            (&x86[..2], Some("avx512"), Avx2),
            (&x86[..1], Some("avx512"), Scalar),
            (&arm, None, Neon),
            (&arm, Some("neon"), Neon),
            (&arm, Some("avx2"), Neon),
            (&arm, Some("scalar"), Scalar),
            (&arm[..1], Some("neon"), Scalar),
        ] {
            assert_eq!(Isa::capped(available, cap), expected, "{available:?} {cap:?}");
        }
    }

    #[test]
    fn levels_ascend_from_scalar_and_names_are_unique() {
        assert!(Isa::ALL.is_sorted());
        assert!(Isa::available().is_sorted_by(|a, b| a < b));
        assert_eq!(Isa::available()[0], Scalar);
        assert!(Isa::available().contains(&Isa::detect()));
        for isa in Isa::ALL {
            assert_eq!(Isa::ALL.iter().filter(|other| other.name() == isa.name()).count(), 1);
            assert_eq!(isa.to_string(), isa.name());
        }
    }
}
