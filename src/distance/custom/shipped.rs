//! The custom metrics that come with the crate.

use super::CustomMetric;
use crate::vector::Element;

/// Accumulators of a sum or a maximum: enough for the compiler to use whole registers.
const LANES: usize = 16;

/// Returns `each` of all pairs of components, joined by `join`, which is associative but for rounding; `zero` for none.
#[inline(always)]
fn fold(
    (a, b): (&[f32], &[f32]),
    zero: f32,
    each: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [zero; LANES];
    for (a, b) in a.iter().zip(b) {
        for at in 0..LANES {
            lanes[at] = join(lanes[at], each(a[at], b[at]));
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = join(*lane, each(a, b));
    }
    lanes.into_iter().fold(zero, join)
}

/// The Manhattan distance (L1), `sum(|a - b|)`, in `0..`. Its name is `manhattan`.
///
/// ```
/// use nearfield::Flat;
/// use nearfield::custom::Manhattan;
///
/// let index = Flat::builder_with(2, Manhattan).build()?;
/// index.insert(1, &[3.0, 4.0])?;
/// assert_eq!(index.search(&[0.0, 0.0]).run()?[0].distance, 7.0);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manhattan;

impl CustomMetric for Manhattan {
    fn name(&self) -> &'static str {
        "manhattan"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        fold((a, b), 0.0, |a, b| (a - b).abs(), |a, b| a + b)
    }
}

/// The Chebyshev distance, `max(|a - b|)`, in `0..`. Its name is `chebyshev`.
///
/// ```
/// use nearfield::Flat;
/// use nearfield::custom::Chebyshev;
///
/// let index = Flat::builder_with(2, Chebyshev).build()?;
/// index.insert(1, &[3.0, 4.0])?;
/// assert_eq!(index.search(&[0.0, 0.0]).run()?[0].distance, 4.0);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chebyshev;

impl CustomMetric for Chebyshev {
    fn name(&self) -> &'static str {
        "chebyshev"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        fold((a, b), 0.0, |a, b| (a - b).abs(), |a, b| if a > b { a } else { b })
    }
}

/// The Jaccard distance of sets, `1 - |a and b| / |a or b|`, in `0..=1`; also called the Tanimoto distance of bits. Its name is
/// `jaccard`.
///
/// A vector of bits is a set. A vector of [`Element::U8`] has counts, and the distance is that of multisets,
/// `1 - sum(min(a, b)) / sum(max(a, b))`. Two empty sets are at distance 0. Other element types are refused.
///
/// ```
/// use nearfield::Hnsw;
/// use nearfield::custom::Jaccard;
///
/// let index = Hnsw::builder_with(8, Jaccard).build()?; // over bits
/// index.insert(1, &[0b0111_u8])?;
/// assert_eq!(index.search(&[0b1110_u8]).run()?[0].distance, 0.5);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jaccard;

impl CustomMetric for Jaccard {
    fn name(&self) -> &'static str {
        "jaccard"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        let both = fold((a, b), 0.0, f32::min, |a, b| a + b);
        let any = fold((a, b), 0.0, f32::max, |a, b| a + b);
        if any > 0.0 { (any - both) / any } else { 0.0 }
    }

    fn distance_of_bits(&self, a: &[u8], b: &[u8]) -> f32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        let words = a.iter().zip(b).map(|(a, b)| (u64::from_ne_bytes(*a), u64::from_ne_bytes(*b)));
        let bytes = a_rest.iter().zip(b_rest).map(|(&a, &b)| (a.into(), b.into()));
        let (mut differing, mut any) = (0, 0);
        for (a, b) in words.chain(bytes) {
            differing += (a ^ b).count_ones();
            any += (a | b).count_ones();
        }
        if any > 0 { differing as f32 / any as f32 } else { 0.0 }
    }

    fn supports(&self, _dimension: usize, element: Element) -> bool {
        matches!(element, Element::Bit | Element::U8)
    }
}

/// The great-circle distance in metres of two places on a sphere with the mean radius of the Earth, 6,371,008.8 m (Moritz, 2000). Its name
/// is `haversine`.
///
/// A vector has two components: the latitude and the longitude, in degrees. They may be beyond 90 and 180 degrees, and then mean the
/// place that one arrives at. The Earth is an ellipsoid: distances along it are up to .6 % longer or shorter. In `f32`, degrees are exact to
/// about a metre.
///
/// ```
/// use nearfield::Hnsw;
/// use nearfield::custom::Haversine;
///
/// let index = Hnsw::builder_with(2, Haversine).build()?;
/// index.insert(1, &[48.8566, 2.3522])?; // Paris
/// index.insert(2, &[52.52, 13.405])?; // Berlin
/// let hits = index.search(&[51.5074, -0.1278]).k(1).run()?; // London
/// assert_eq!(hits[0].key, 1);
/// assert!((hits[0].distance - 343_560.0).abs() < 100.0);
/// # Ok::<(), nearfield::IndexError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Haversine;

impl Haversine {
    /// The mean radius of the Earth, in metres.
    const RADIUS: f64 = 6_371_008.8;
}

impl CustomMetric for Haversine {
    fn name(&self) -> &'static str {
        "haversine"
    }

    fn distance(&self, a: &[f32], b: &[f32]) -> f32 {
        let (&[a_latitude, a_longitude], &[b_latitude, b_longitude]) = (a, b) else {
            return f32::NAN;
        };
        // The formula loses no digits where places are near, if differences are taken before the conversion to radians.
        let half = |a: f32, b: f32| ((f64::from(a) - f64::from(b)).to_radians() / 2.0).sin();
        let (north, east) = (half(a_latitude, b_latitude), half(a_longitude, b_longitude));
        let cosines =
            f64::from(a_latitude).to_radians().cos() * f64::from(b_latitude).to_radians().cos();
        let square = (north * north + cosines * east * east).clamp(0.0, 1.0);
        (2.0 * Self::RADIUS * square.sqrt().asin()) as f32
    }

    fn supports(&self, dimension: usize, element: Element) -> bool {
        dimension == 2 && element != Element::Bit
    }
}
