//! Types of keys, and their bytes in the order of the keys.

use std::fmt::Debug;

/// A type that can be a table's key: its bytes sort as its values do.
///
/// Integers are stored big-endian, signed ones with the sign bit flipped; strings and bytes unchanged. The type is recorded with the
/// table and checked when the table is opened.
pub trait Key: private::Sealed {
    /// A value of the type, borrowed if it is long.
    type Item<'a>: Copy + Debug;
    /// The bytes of a value.
    type Bytes<'a>: AsRef<[u8]>;
    /// The type's number in the file.
    const TYPE: u8;
    /// The type's name in messages.
    const NAME: &'static str;

    /// Returns the bytes that are stored.
    fn encode(item: Self::Item<'_>) -> Self::Bytes<'_>;

    /// Returns the value of stored bytes. Returns `None` if the bytes are no value of this type.
    fn decode(bytes: &[u8]) -> Option<Self::Item<'_>>;
}

mod private {
    #[expect(unnameable_types, reason = "what nobody can name, nobody can implement")]
    pub trait Sealed {}
}

impl private::Sealed for [u8] {}

impl Key for [u8] {
    type Item<'a> = &'a [u8];
    type Bytes<'a> = &'a [u8];
    const TYPE: u8 = 1;
    const NAME: &'static str = "bytes";

    fn encode(item: Self::Item<'_>) -> Self::Bytes<'_> {
        item
    }

    fn decode(bytes: &[u8]) -> Option<Self::Item<'_>> {
        Some(bytes)
    }
}

impl private::Sealed for str {}

impl Key for str {
    type Item<'a> = &'a str;
    type Bytes<'a> = &'a [u8];
    const TYPE: u8 = 2;
    const NAME: &'static str = "str";

    fn encode(item: Self::Item<'_>) -> Self::Bytes<'_> {
        item.as_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self::Item<'_>> {
        std::str::from_utf8(bytes).ok()
    }
}

impl<const N: usize> private::Sealed for [u8; N] {}

impl<const N: usize> Key for [u8; N] {
    type Item<'a> = [u8; N];
    type Bytes<'a> = [u8; N];
    const TYPE: u8 = if N < 128 { 128 + N as u8 } else { 255 };
    const NAME: &'static str = "fixed-size bytes";

    fn encode(item: Self::Item<'_>) -> Self::Bytes<'_> {
        item
    }

    fn decode(bytes: &[u8]) -> Option<Self::Item<'_>> {
        bytes.try_into().ok()
    }
}

macro_rules! integer_keys {
    ($($number:literal: $type:ident ^ $flip:expr;)*) => {$(
        impl private::Sealed for $type {}

        impl Key for $type {
            type Item<'a> = $type;
            type Bytes<'a> = [u8; size_of::<$type>()];
            const TYPE: u8 = $number;
            const NAME: &'static str = stringify!($type);

            fn encode(item: Self::Item<'_>) -> Self::Bytes<'_> {
                (item ^ $flip).to_be_bytes()
            }

            fn decode(bytes: &[u8]) -> Option<Self::Item<'_>> {
                Some($type::from_be_bytes(bytes.try_into().ok()?) ^ $flip)
            }
        }
    )*};
}

integer_keys! {
    3: u8 ^ 0;
    4: u16 ^ 0;
    5: u32 ^ 0;
    6: u64 ^ 0;
    7: u128 ^ 0;
    8: i8 ^ i8::MIN;
    9: i16 ^ i16::MIN;
    10: i32 ^ i32::MIN;
    11: i64 ^ i64::MIN;
    12: i128 ^ i128::MIN;
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn bytes_sort_as_values_do() {
        let numbers = [i64::MIN, -300, -1, 0, 1, 255, 256, i64::MAX];
        for pair in numbers.windows(2) {
            assert!(i64::encode(pair[0]) < i64::encode(pair[1]));
            assert_eq!(i64::decode(&i64::encode(pair[0])), Some(pair[0]));
        }
        assert!(u64::encode(255) < u64::encode(256));
        assert_eq!(u32::decode(&[1, 2, 3]), None);
        assert_eq!(<str as Key>::decode(&[0xff]), None);
    }
}
