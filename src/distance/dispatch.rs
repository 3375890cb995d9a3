//! From values known at run time to a kernel and an instruction set.

use super::bound::{BoundKernel, bind};
use super::hamming::Hamming;
use super::{Kernel, byte, float};
use crate::metric::Metric;
use crate::simd::{Isa, Scalar};
use crate::vector::{Bf16, Element, F16};

/// Returns the kernel of `metric` over `element`, bound to `isa`.
///
/// `stored_unit` says that floating-point vectors were scaled to unit length, so that their
/// cosine is their inner product. Returns `None` if the metric is not defined over the element type
/// (only [`Metric::Hamming`] is over bits, and it over nothing else; [`Metric::Custom`] has a kernel elsewhere) or if this CPU lacks `isa`.
pub(crate) fn dispatch(
    metric: Metric,
    element: Element,
    isa: Isa,
    stored_unit: bool,
) -> Option<Box<dyn BoundKernel>> {
    macro_rules! floats {
        ($kernel:ident) => {
            match element {
                Element::F32 => with_isa(float::$kernel::<f32>::default(), isa),
                Element::F16 => with_isa(float::$kernel::<F16>::default(), isa),
                Element::Bf16 => with_isa(float::$kernel::<Bf16>::default(), isa),
                Element::I8 | Element::U8 | Element::Bit => None,
            }
        };
    }
    macro_rules! numbers {
        ($kernel:ident) => {
            match element {
                Element::I8 => with_isa(byte::$kernel::<i8>::default(), isa),
                Element::U8 => with_isa(byte::$kernel::<u8>::default(), isa),
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
        Metric::Hamming if element == Element::Bit => with_isa(Hamming, isa),
        Metric::Hamming | Metric::Custom => None,
    }
}

/// Returns `kernel`, bound to `isa`. Returns `None` if this CPU lacks it.
pub(crate) fn with_isa<K: Kernel>(kernel: K, isa: Isa) -> Option<Box<dyn BoundKernel>> {
    match isa {
        Isa::Scalar => Some(bind(Scalar::new(), kernel)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(bind(crate::simd::Avx2::new()?, kernel)),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => Some(bind(crate::simd::Avx512::new()?, kernel)),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(bind(crate::simd::Neon::new()?, kernel)),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Simd128 => Some(bind(crate::simd::Simd128::new(), kernel)),
        #[allow(unreachable_patterns, reason = "no architecture has all levels")]
        _ => None,
    }
}
