//! Element types, and vectors as users pass them.

mod block;
mod half;

pub(crate) use block::Block;
pub use half::{Bf16, F16};

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// The type that a component of a vector is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// IEEE 754 half precision: 11 significant bits, up to 65,504.
    F16,
    /// The upper half of an `f32`: 8 significant bits, the range of `f32`.
    Bf16,
    /// Signed byte.
    I8,
    /// Unsigned byte.
    U8,
    /// One bit, packed eight to a byte, the first in the lowest bit.
    Bit,
}

impl Element {
    /// Returns the name used in tables and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bit => "bit",
        }
    }

    /// Returns the bytes of a vector of `dimension` elements, without padding.
    pub const fn bytes(self, dimension: usize) -> usize {
        match self {
            Self::F32 => 4 * dimension,
            Self::F16 | Self::Bf16 => 2 * dimension,
            Self::I8 | Self::U8 => dimension,
            Self::Bit => dimension.div_ceil(8),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A borrowed vector, or several vectors one after the other, of any element type.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum VectorRef<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Half-precision floats.
    F16(&'a [F16]),
    /// Brain floats.
    Bf16(&'a [Bf16]),
    /// Signed bytes.
    I8(&'a [i8]),
    /// Unsigned bytes, or packed bits if the index stores bits.
    U8(&'a [u8]),
}

impl<'a> VectorRef<'a> {
    /// Returns the number of elements (bytes, for packed bits).
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::Bf16(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
        }
    }

    /// Returns whether the vector has no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements in `range`, which is within the length.
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> Self {
        match *self {
            Self::F32(v) => Self::F32(&v[range]),
            Self::F16(v) => Self::F16(&v[range]),
            Self::Bf16(v) => Self::Bf16(&v[range]),
            Self::I8(v) => Self::I8(&v[range]),
            Self::U8(v) => Self::U8(&v[range]),
        }
    }

    /// Returns the element type; that of packed bits is [`Element::U8`].
    pub const fn element(&self) -> Element {
        match self {
            Self::F32(_) => Element::F32,
            Self::F16(_) => Element::F16,
            Self::Bf16(_) => Element::Bf16,
            Self::I8(_) => Element::I8,
            Self::U8(_) => Element::U8,
        }
    }

    /// Returns the components as they are in memory.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::F32(v) => bytemuck::cast_slice(v),
            Self::F16(v) => bytemuck::cast_slice(v),
            Self::Bf16(v) => bytemuck::cast_slice(v),
            Self::I8(v) => bytemuck::cast_slice(v),
            Self::U8(v) => v,
        }
    }
}

/// Values that can be passed as a vector, or as vectors one after the other: slices, arrays and `Vec`s of the element types or of arrays of
/// them, and `Box`, `Rc`, `Arc` and `Cow` of these.
///
/// ```
/// use nearfield::{Hnsw, Metric};
///
/// let index = Hnsw::builder(2, Metric::L2).build()?;
/// let rows: Vec<[f32; 2]> = vec![[0.0, 1.0], [1.0, 0.0]];
/// index.insert_batch(&[1, 2], &rows).run()?;
/// // Vectors that are apart in memory are copied together first.
/// let apart: Vec<Vec<f32>> = vec![vec![2.0, 2.0], vec![3.0, 3.0]];
/// index.insert_batch(&[3, 4], &apart.concat()).run()?;
/// # Ok::<(), nearfield::IndexError>(())
/// ```
pub trait AsVector {
    /// Returns the vector, borrowed.
    fn as_vector(&self) -> VectorRef<'_>;
}

impl AsVector for VectorRef<'_> {
    fn as_vector(&self) -> VectorRef<'_> {
        *self
    }
}

impl<V: AsVector + ?Sized> AsVector for &V {
    fn as_vector(&self) -> VectorRef<'_> {
        (**self).as_vector()
    }
}

macro_rules! as_vector_through {
    ($($pointer:ident),*) => {$(
        impl<V: AsVector + ?Sized> AsVector for $pointer<V> {
            fn as_vector(&self) -> VectorRef<'_> {
                (**self).as_vector()
            }
        }
    )*};
}

as_vector_through!(Box, Rc, Arc);

impl<V: AsVector + ToOwned + ?Sized> AsVector for Cow<'_, V> {
    fn as_vector(&self) -> VectorRef<'_> {
        (**self).as_vector()
    }
}

macro_rules! as_vector {
    ($($element:ty => $variant:ident),*) => {$(
        impl AsVector for [$element] {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self)
            }
        }
        impl AsVector for Vec<$element> {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self)
            }
        }
        impl<const N: usize> AsVector for [$element; N] {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self)
            }
        }
        impl<const N: usize> AsVector for [[$element; N]] {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self.as_flattened())
            }
        }
        impl<const N: usize> AsVector for Vec<[$element; N]> {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self.as_flattened())
            }
        }
        impl<const N: usize, const M: usize> AsVector for [[$element; N]; M] {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$variant(self.as_flattened())
            }
        }
    )*};
}

as_vector!(f32 => F32, F16 => F16, Bf16 => Bf16, i8 => I8, u8 => U8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_pointers_are_passed_as_the_components_that_they_hold() {
        fn flat<V: AsVector + ?Sized>(vector: &V) -> Vec<f32> {
            let VectorRef::F32(components) = vector.as_vector() else { panic!("not f32") };
            components.to_vec()
        }
        let all = vec![1.0, 2.0, 3.0, 4.0];
        let rows = [[1.0_f32, 2.0], [3.0, 4.0]];
        assert_eq!(flat(&rows), all);
        assert_eq!(flat(&rows[..]), all);
        assert_eq!(flat(&rows.to_vec()), all);
        assert_eq!(flat(&Box::<[f32]>::from(&all[..])), all);
        assert_eq!(flat(&Rc::<[f32]>::from(&all[..])), all);
        assert_eq!(flat(&Arc::new(rows)), all);
        assert_eq!(flat(&Cow::Borrowed(&all[..])), all);
        assert_eq!(flat(&Cow::<[f32]>::Owned(all.clone())), all);
    }
}
