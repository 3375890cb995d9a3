//! The names of settings, as text and read back.
//!
//! `Metric`, `Element` and `Isa` have their names beside their meaning; the others have them here, where they can also be read.

use std::fmt;
use std::str::FromStr;

use crate::error::IndexError;
use crate::index::{Determinism, Originals, Quantization, SearchPlan};
use crate::metric::Metric;
use crate::simd::Isa;
use crate::vector::Element;

/// Returns the error for text that names no value of a setting.
fn unknown(name: &'static str, text: &str, allowed: &'static str) -> IndexError {
    /// Bytes of the text that an error quotes.
    const QUOTED: usize = 40;

    let end = text.floor_char_boundary(QUOTED);
    let rest = if end < text.len() { "..." } else { "" };
    IndexError::Parameter { name, value: format!("{:?}{rest}", &text[..end]), allowed }
}

/// Reads a name of one of the values.
macro_rules! read {
    ($type:ident, $setting:literal, $allowed:literal, [$($value:ident),*]) => {
        impl FromStr for $type {
            type Err = IndexError;

            #[doc = concat!("Reads a name: ", $allowed, ".")]
            ///
            /// # Errors
            ///
            /// [`IndexError::Parameter`] if the text is none of these.
            fn from_str(text: &str) -> Result<Self, IndexError> {
                let mut all = [$(Self::$value),*].into_iter();
                all.find(|value| value.name() == text)
                    .ok_or_else(|| unknown($setting, text, $allowed))
            }
        }
    };
}

/// Gives each value its name, and reads it.
macro_rules! named {
    ($type:ident, $setting:literal, $allowed:literal, [$($value:ident => $name:literal),*]) => {
        impl $type {
            #[doc = concat!("Returns the name: ", $allowed, ".")]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        read!($type, $setting, $allowed, [$($value),*]);
    };
}

read!(
    Metric,
    "metric",
    "l2, ip, cosine, hamming or custom",
    [L2, InnerProduct, Cosine, Hamming, Custom]
);
read!(Element, "element", "f32, f16, bf16, i8, u8 or bit", [F32, F16, Bf16, I8, U8, Bit]);
read!(Isa, "isa", "scalar, simd128, neon, avx2 or avx512", [Scalar, Simd128, Neon, Avx2, Avx512]);
named!(Originals, "originals", "kept, sq12, sq8 or dropped", [
    Kept => "kept", Sq12 => "sq12", Sq8 => "sq8", Dropped => "dropped"
]);
named!(Determinism, "determinism", "none or bitwise", [None => "none", Bitwise => "bitwise"]);
named!(
    SearchPlan,
    "plan",
    "walk, probe, scan, filtered-scan, filtered-walk, directed-two-hop or blind-two-hop",
    [
        Walk => "walk",
        Probe => "probe",
        Scan => "scan",
        FilteredScan => "filtered-scan",
        FilteredWalk => "filtered-walk",
        DirectedTwoHop => "directed-two-hop",
        BlindTwoHop => "blind-two-hop"
    ]
);

/// `none`, `auto`, `sq8`, `sq4`, `pq4`, `pq32x8` for 32 parts of 8 bits, `rabitq2` for 2 bits.
impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.pad("none"),
            Self::Auto => f.pad("auto"),
            Self::Sq8 => f.pad("sq8"),
            Self::Sq4 => f.pad("sq4"),
            Self::Pq4 => f.pad("pq4"),
            Self::Pq { sub_vectors, bits } => f.pad(&format!("pq{sub_vectors}x{bits}")),
            Self::Rabitq { bits } => f.pad(&format!("rabitq{bits}")),
        }
    }
}

impl FromStr for Quantization {
    type Err = IndexError;

    /// Reads the text of a quantization: `none`, `auto`, `sq8`, `sq4`, `pq4`, `pq32x8` for 32 parts of 8 bits, `rabitq2` for 2 bits. The
    /// numbers are checked when an index is built.
    ///
    /// ```
    /// use nearfield::Quantization;
    ///
    /// let product: Quantization = "pq32x8".parse()?;
    /// assert_eq!(product, Quantization::Pq { sub_vectors: 32, bits: 8 });
    /// assert_eq!(product.to_string(), "pq32x8");
    /// # Ok::<(), nearfield::IndexError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IndexError::Parameter`] if the text is none of these.
    fn from_str(text: &str) -> Result<Self, IndexError> {
        let product = |rest: &str| {
            let (sub_vectors, bits) = rest.split_once('x')?;
            Some(Self::Pq { sub_vectors: number(sub_vectors)?, bits: number(bits)? })
        };
        let found = match text {
            "none" => Some(Self::None),
            "auto" => Some(Self::Auto),
            "sq8" => Some(Self::Sq8),
            "sq4" => Some(Self::Sq4),
            "pq4" => Some(Self::Pq4),
            _ => match text.strip_prefix("rabitq") {
                Some(bits) => number(bits).map(|bits| Self::Rabitq { bits }),
                None => text.strip_prefix("pq").and_then(product),
            },
        };
        found.ok_or_else(|| {
            let allowed = "none, auto, sq8, sq4, pq4, rabitq1, rabitq2, rabitq4, or pq32x8 for 32 parts of 8 bits";
            unknown("quantization", text, allowed)
        })
    }
}

/// Reads a number as it is written: without a sign, and without zeros before it.
fn number<N: FromStr + fmt::Display>(text: &str) -> Option<N> {
    text.parse().ok().filter(|number: &N| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::{Debug, Display};

    fn read_back<T: FromStr<Err = IndexError> + Display + Debug + PartialEq>(all: &[T]) {
        for value in all {
            let text = value.to_string();
            assert_eq!(text.parse::<T>().as_ref(), Ok(value), "{text}");
            for other in [text.to_uppercase(), format!(" {text}"), format!("{text}0")] {
                match other.parse::<T>() {
                    // A number ten times as large.
                    Ok(read) => assert_eq!(read.to_string(), other),
                    Err(IndexError::Parameter { value, .. }) => {
                        assert_eq!(value, format!("{other:?}"));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!("".parse::<T>().is_err());
    }

    #[test]
    fn each_name_is_read_back() {
        use Element::{Bf16, Bit, F16, F32, I8, U8};

        let floats = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
        read_back(&[&floats[..], &[Metric::Hamming, Metric::Custom]].concat());
        read_back(&[F32, F16, Bf16, I8, U8, Bit]);
        read_back(&[Isa::Scalar, Isa::Simd128, Isa::Neon, Isa::Avx2, Isa::Avx512]);
        read_back(&[Originals::Kept, Originals::Sq12, Originals::Sq8, Originals::Dropped]);
        read_back(&[Determinism::None, Determinism::Bitwise]);
        read_back(&[
            SearchPlan::Walk,
            SearchPlan::Probe,
            SearchPlan::Scan,
            SearchPlan::FilteredScan,
            SearchPlan::FilteredWalk,
            SearchPlan::DirectedTwoHop,
            SearchPlan::BlindTwoHop,
        ]);
        read_back(&[
            Quantization::None,
            Quantization::Auto,
            Quantization::Sq8,
            Quantization::Sq4,
            Quantization::Pq4,
            Quantization::Pq { sub_vectors: 32, bits: 8 },
            Quantization::Pq { sub_vectors: usize::MAX, bits: u32::MAX },
            Quantization::Rabitq { bits: 1 },
            Quantization::Rabitq { bits: 4 },
        ]);
    }

    #[test]
    fn other_text_is_refused() {
        let error = "euclidean".parse::<Metric>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "metric is \"euclidean\"; allowed: l2, ip, cosine, hamming or custom"
        );
        for text in ["pq", "pqx", "pq8x", "pqx8", "pq-8x8", "pq08x8", "pq8x+8", "pq8 x8"] {
            assert!(text.parse::<Quantization>().is_err(), "{text}");
        }
        for text in ["rabitq", "rabitq02", "rabitq4294967296", "rabitq-1", "RaBitQ1", "sq5"] {
            assert!(text.parse::<Quantization>().is_err(), "{text}");
        }
        let long = "\u{e9}".repeat(1000);
        let error = long.parse::<Metric>().unwrap_err().to_string();
        assert!(error.len() < 200 && error.contains("..."), "{error}");
    }
}
