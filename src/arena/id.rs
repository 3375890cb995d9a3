//! Types of numbers: the type of an id names the things that it numbers.

use std::fmt::Debug;

use bytemuck::Pod;

/// The number of a row of a column, or of a candidate of a pool. It is below [`MAX_ROWS`](super::MAX_ROWS), except a number from a damaged
/// file, which a view refuses.
pub(crate) trait Id: Pod + Ord + Debug + Send + Sync {
    /// Creates the id that is this number.
    fn new(number: u32) -> Self;

    /// Returns the number.
    fn number(self) -> u32;
}

impl Id for u32 {
    #[inline(always)]
    fn new(number: u32) -> Self {
        number
    }

    #[inline(always)]
    fn number(self) -> u32 {
        self
    }
}

/// Defines a type of numbers.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            bytemuck::Pod, bytemuck::Zeroable,
        )]
        #[repr(transparent)]
        pub(crate) struct $name(u32);

        impl $name {
            /// Creates the id that is this number.
            #[inline(always)]
            pub(crate) const fn new(number: u32) -> Self {
                Self(number)
            }

            /// Returns the number.
            #[inline(always)]
            pub(crate) const fn number(self) -> u32 {
                self.0
            }

            /// Returns the number as an index of a list that has an element for each.
            #[inline(always)]
            pub(crate) const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl crate::arena::Id for $name {
            #[inline(always)]
            fn new(number: u32) -> Self {
                Self(number)
            }

            #[inline(always)]
            fn number(self) -> u32 {
                self.0
            }
        }
    };
}
pub(crate) use id;
