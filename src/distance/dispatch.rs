//! From values known at run time to a pair of types.

use super::hamming::Hamming;
use super::{Kernel, byte, float};
use crate::metric::Metric;
use crate::simd::{Isa, Scalar, Simd};
use crate::vector::{Bf16, Element, F16};

/// Builds an engine that is compiled for a pair of instruction set and kernel.
pub(crate) trait Visitor {
    /// The engine.
    type Output;

    /// Builds the engine. Called outside [`Simd::run`]: an engine enters it when it is used.
    fn visit<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> Self::Output;
}

/// Calls `visitor` with the kernel of `metric` over `element` and with the proof of `isa`.
///
/// `stored_unit` says that floating-point vectors were scaled to unit length, so that their
/// cosine is their inner product. Returns `None` if the metric is not defined over the element type
/// (only [`Metric::Hamming`] is over bits, and it over nothing else) or if this CPU lacks `isa`.
pub(crate) fn dispatch<V: Visitor>(
    metric: Metric,
    element: Element,
    isa: Isa,
    stored_unit: bool,
    visitor: V,
) -> Option<V::Output> {
    match isa {
        Isa::Scalar => with_kernel(metric, element, stored_unit, Scalar::new(), visitor),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => with_kernel(metric, element, stored_unit, crate::simd::Avx2::new()?, visitor),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            with_kernel(metric, element, stored_unit, crate::simd::Avx512::new()?, visitor)
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => with_kernel(metric, element, stored_unit, crate::simd::Neon::new()?, visitor),
        #[allow(unreachable_patterns, reason = "no architecture has all levels")]
        _ => None,
    }
}

/// Calls `visitor` with `kernel` and with the proof of `isa`. Returns `None` if this CPU lacks it.
pub(crate) fn with_isa<K: Kernel, V: Visitor>(
    kernel: K,
    isa: Isa,
    visitor: V,
) -> Option<V::Output> {
    match isa {
        Isa::Scalar => Some(visitor.visit(Scalar::new(), kernel)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(visitor.visit(crate::simd::Avx2::new()?, kernel)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(visitor.visit(crate::simd::Avx512::new()?, kernel)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(visitor.visit(crate::simd::Neon::new()?, kernel)),
        #[allow(unreachable_patterns, reason = "no architecture has all levels")]
        _ => None,
    }
}

fn with_kernel<S: Simd, V: Visitor>(
    metric: Metric,
    element: Element,
    stored_unit: bool,
    simd: S,
    visitor: V,
) -> Option<V::Output> {
    macro_rules! floats {
        ($kernel:ident) => {
            match element {
                Element::F32 => Some(visitor.visit(simd, float::$kernel::<f32>::default())),
                Element::F16 => Some(visitor.visit(simd, float::$kernel::<F16>::default())),
                Element::Bf16 => Some(visitor.visit(simd, float::$kernel::<Bf16>::default())),
                Element::I8 | Element::U8 | Element::Bit => None,
            }
        };
    }
    macro_rules! numbers {
        ($kernel:ident) => {
            match element {
                Element::I8 => Some(visitor.visit(simd, byte::$kernel::<i8>::default())),
                Element::U8 => Some(visitor.visit(simd, byte::$kernel::<u8>::default())),
                _ => floats!($kernel),
            }
        };
    }
    let is_float = matches!(element, Element::F32 | Element::F16 | Element::Bf16);
    match metric {
        Metric::L2 => numbers!(SquaredL2),
        Metric::InnerProduct => numbers!(InnerProduct),
        Metric::Cosine if stored_unit && is_float => floats!(UnitCosine),
        Metric::Cosine => numbers!(Cosine),
        Metric::Hamming if element == Element::Bit => Some(visitor.visit(simd, Hamming)),
        Metric::Hamming => None,
    }
}
