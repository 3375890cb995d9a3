//! An entry: a key with its vector and its records.

use std::borrow::Cow;

use crate::attributes::Attributes;

/// A key with its vector, and its name, attributes and payload where it has them. Those of a [`Snapshot`](crate::Snapshot) are borrowed from it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The key.
    pub key: u64,
    /// The vector as the collection keeps it, as [`Collection::get`](crate::Collection::get) returns it.
    pub vector: Vec<f32>,
    /// The name, any bytes.
    pub name: Option<Cow<'a, [u8]>>,
    /// The attributes.
    pub attributes: Option<Attributes>,
    /// The payload.
    pub payload: Option<Cow<'a, [u8]>>,
}

impl Entry<'_> {
    /// Returns the entry with copies of the parts that it borrows.
    pub fn into_owned(self) -> Entry<'static> {
        let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        Entry {
            key: self.key,
            vector: self.vector,
            name: self.name.map(own),
            attributes: self.attributes,
            payload: self.payload.map(own),
        }
    }
}
