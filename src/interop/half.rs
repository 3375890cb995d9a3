//! The numbers of the crate `half`, which have the bits of ours.

use half::{bf16, f16};

use crate::vector::{AsVector, Bf16, F16, VectorRef};

macro_rules! same_bits {
    ($theirs:ident, $ours:ident) => {
        impl From<$theirs> for $ours {
            fn from(number: $theirs) -> Self {
                Self::from_bits(number.to_bits())
            }
        }

        impl From<$ours> for $theirs {
            fn from(number: $ours) -> Self {
                Self::from_bits(number.to_bits())
            }
        }

        impl AsVector for [$theirs] {
            fn as_vector(&self) -> VectorRef<'_> {
                VectorRef::$ours(bytemuck::cast_slice(self))
            }
        }

        impl AsVector for Vec<$theirs> {
            fn as_vector(&self) -> VectorRef<'_> {
                self.as_slice().as_vector()
            }
        }

        impl<const N: usize> AsVector for [$theirs; N] {
            fn as_vector(&self) -> VectorRef<'_> {
                self.as_slice().as_vector()
            }
        }

        impl<const N: usize> AsVector for [[$theirs; N]] {
            fn as_vector(&self) -> VectorRef<'_> {
                self.as_flattened().as_vector()
            }
        }

        impl<const N: usize> AsVector for Vec<[$theirs; N]> {
            fn as_vector(&self) -> VectorRef<'_> {
                self.as_slice().as_vector()
            }
        }
    };
}

same_bits!(f16, F16);
same_bits!(bf16, Bf16);
