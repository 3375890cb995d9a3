//! A kernel behind one indirect call, for users.

use super::{BoundKernel, MAX_LEN, dispatch};
use crate::error::{IndexError, VectorError};
use crate::metric::Metric;
use crate::order_key::OrderKey;
use crate::simd::Isa;
use crate::vector::{AsVector, Element, VectorRef};
use std::fmt;

/// Exact distances under one metric over one element type.
///
/// Vectors need no particular alignment. Sums over bytes and bits are exact; sums over
/// floating-point numbers are made in `f32`, in an order that depends on the instruction set, and
/// differ from the true value by rounding only. A component that is infinite or not a number, or
/// products that overflow, give a distance that is infinite or not a number.
///
/// ```
/// use nearfield::{Distance, Element, Metric};
///
/// let l2 = Distance::new(Metric::L2, Element::F32)?;
/// assert_eq!(l2.between(&[0.0, 3.0], &[4.0, 0.0])?, 25.0);
///
/// let hamming = Distance::new(Metric::Hamming, Element::Bit)?;
/// assert_eq!(hamming.between(&[0b1010_u8], &[0b0110_u8])?, 2.0);
///
/// // One to many: rows one after the other.
/// let mut distances = [0.0; 2];
/// l2.many(&[0.0, 3.0], &[4.0, 0.0, 0.0, 1.0], &mut distances)?;
/// assert_eq!(distances, [25.0, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Distance {
    metric: Metric,
    element: Element,
    isa: Isa,
    kernel: Box<dyn BoundKernel>,
}

impl Distance {
    /// Creates the distance with the best kernels that this CPU has ([`Isa::detect`]).
    ///
    /// # Errors
    ///
    /// [`IndexError::Unsupported`] if the metric is not defined over the element type: only
    /// [`Metric::Hamming`] is defined over [`Element::Bit`], and it over nothing else.
    pub fn new(metric: Metric, element: Element) -> Result<Self, IndexError> {
        Self::with_isa(metric, element, Isa::detect())
    }

    /// Creates the distance with the kernels of one instruction set.
    ///
    /// # Errors
    ///
    /// Those of [`Distance::new`], and [`IndexError::Parameter`] if this CPU lacks `isa`.
    pub fn with_isa(metric: Metric, element: Element, isa: Isa) -> Result<Self, IndexError> {
        if !Isa::available().contains(&isa) {
            return Err(IndexError::Parameter {
                name: "isa",
                value: isa.to_string(),
                allowed: "an instruction set that Isa::available lists",
            });
        }
        let kernel = dispatch(metric, element, isa, false)
            .ok_or(IndexError::Unsupported { metric, element })?;
        Ok(Self { metric, element, isa, kernel })
    }

    /// Returns the metric.
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns the element type.
    pub const fn element(&self) -> Element {
        self.element
    }

    /// Returns the instruction set of the kernels.
    pub const fn isa(&self) -> Isa {
        self.isa
    }

    /// Returns the distance of `a` and `b`. Linear in their length; allocates nothing.
    ///
    /// # Errors
    ///
    /// [`VectorError::ElementMismatch`] if one of them is not of the distance's element type
    /// (packed bits are bytes); [`VectorError::Length`] if their lengths differ or exceed 65,536
    /// elements, beyond which sums would not be exact.
    #[inline]
    pub fn between(&self, a: &impl AsVector, b: &impl AsVector) -> Result<f32, VectorError> {
        let (a, b) = (a.as_vector(), b.as_vector());
        if a.len() != b.len() {
            return Err(VectorError::Length { expected: a.len(), found: b.len() });
        }
        self.check(&[a, b], a.len())?;
        let mut order = OrderKey::MIN;
        let orders = std::slice::from_mut(&mut order);
        self.kernel.orders_in_line(a.as_bytes(), b.as_bytes(), orders);
        Ok(self.kernel.distance(order))
    }

    /// Writes the distances of `query` and each of the `rows`, which follow each other, to
    /// `distances`, whose length is the number of rows. Allocates nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Distance::between`]; [`VectorError::Length`] too if the length of `rows` is not
    /// that of `query` times that of `distances`. `distances` is unchanged then.
    pub fn many(
        &self,
        query: &impl AsVector,
        rows: &impl AsVector,
        distances: &mut [f32],
    ) -> Result<(), VectorError> {
        let (query, rows) = (query.as_vector(), rows.as_vector());
        let expected = query.len().saturating_mul(distances.len());
        if rows.len() != expected {
            return Err(VectorError::Length { expected, found: rows.len() });
        }
        self.check(&[query, rows], query.len())?;
        let (query, mut rows) = (query.as_bytes(), rows.as_bytes());
        let mut orders = [OrderKey::MIN; 32];
        for distances in distances.chunks_mut(orders.len()) {
            let together;
            (together, rows) = rows.split_at(distances.len() * query.len());
            let orders = &mut orders[..distances.len()];
            self.kernel.orders_in_line(query, together, orders);
            for (distance, &order) in distances.iter_mut().zip(&*orders) {
                *distance = self.kernel.distance(order);
            }
        }
        Ok(())
    }

    /// Returns an error if `vectors` have another element type or `len`, the length of one, is too
    /// great.
    #[inline]
    fn check(&self, vectors: &[VectorRef<'_>; 2], len: usize) -> Result<(), VectorError> {
        if len > MAX_LEN {
            return Err(VectorError::Length { expected: MAX_LEN, found: len });
        }
        let stored = if self.element == Element::Bit { Element::U8 } else { self.element };
        for found in [vectors[0].element(), vectors[1].element()] {
            if found != stored {
                return Err(VectorError::ElementMismatch { expected: self.element, found });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distance")
            .field("metric", &self.metric)
            .field("element", &self.element)
            .field("isa", &self.isa)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Bf16, F16};

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for element in [Element::F32, Element::U8] {
            let error = Distance::new(Metric::Hamming, element).expect_err("undefined");
            assert_eq!(error, IndexError::Unsupported { metric: Metric::Hamming, element });
        }
        for isa in [Isa::Simd128, Isa::Neon, Isa::Avx2, Isa::Avx512] {
            match Distance::with_isa(Metric::L2, Element::F32, isa) {
                Ok(distance) => {
                    assert!(Isa::available().contains(&isa));
                    assert_eq!(distance.isa(), isa);
                }
                Err(error) => {
                    assert!(!Isa::available().contains(&isa));
                    assert!(matches!(error, IndexError::Parameter { name: "isa", .. }), "{error}");
                }
            }
        }
        let l2 = Distance::new(Metric::L2, Element::F32).expect("defined");
        assert_eq!(
            l2.between(&[1.0; 3], &[1.0; 4]),
            Err(VectorError::Length { expected: 3, found: 4 })
        );
        assert_eq!(
            l2.between(&[1.0; 3], &[F16::default(); 3]),
            Err(VectorError::ElementMismatch { expected: Element::F32, found: Element::F16 })
        );
        assert_eq!(
            l2.between(&[1u8; 3], &[1.0; 3]),
            Err(VectorError::ElementMismatch { expected: Element::F32, found: Element::U8 })
        );
        let long = vec![0.0; MAX_LEN + 1];
        assert_eq!(
            l2.between(&long, &long),
            Err(VectorError::Length { expected: MAX_LEN, found: MAX_LEN + 1 })
        );
        assert_eq!(l2.between(&long[1..].to_vec(), &long[1..].to_vec()), Ok(0.0));
        let mut distances = [7.0; 2];
        for rows in [&[1.0; 5][..], &[1.0; 7], &[]] {
            assert_eq!(
                l2.many(&[1.0; 3], &rows.to_vec(), &mut distances),
                Err(VectorError::Length { expected: 6, found: rows.len() })
            );
        }
        let error = l2.many(&[1.0; 3], &[Bf16::default(); 6], &mut distances);
        assert!(matches!(error, Err(VectorError::ElementMismatch { .. })), "{error:?}");
        assert_eq!(distances.map(f32::to_bits), [7f32.to_bits(); 2]);
    }

    #[test]
    fn many_is_between_for_each_row() {
        for &isa in Isa::available() {
            let l2 = Distance::with_isa(Metric::L2, Element::F32, isa).expect("available");
            let ip = Distance::with_isa(Metric::InnerProduct, Element::I8, isa).expect("available");
            for len in [0, 1, 5, 16, 33, 100] {
                for count in 0..10 {
                    let rows: Vec<f32> = (0..len * count).map(|i| (i % 37) as f32 - 9.5).collect();
                    let bytes: Vec<i8> = rows.iter().map(|x| *x as i8).collect();
                    let (query, byte_query) = (vec![0.75; len], vec![-3i8; len]);
                    let (mut found, mut byte_found) = (vec![1.0; count], vec![1.0; count]);
                    l2.many(&query, &rows, &mut found).expect("legal");
                    ip.many(&byte_query, &bytes, &mut byte_found).expect("legal");
                    for i in 0..count {
                        let row = i * len..(i + 1) * len;
                        assert_eq!(l2.between(&query, &&rows[row.clone()]), Ok(found[i]));
                        assert_eq!(ip.between(&byte_query, &&bytes[row]), Ok(byte_found[i]));
                    }
                }
            }
        }
    }

    #[test]
    fn debug_names_the_kernel() {
        let distance =
            Distance::with_isa(Metric::Cosine, Element::U8, Isa::Scalar).expect("defined");
        assert_eq!(distance.metric(), Metric::Cosine);
        assert_eq!(distance.element(), Element::U8);
        assert_eq!(
            format!("{distance:?}"),
            "Distance { metric: Cosine, element: U8, isa: Scalar, .. }"
        );
    }
}
