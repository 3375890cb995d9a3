//! Declarations of fields.

use std::collections::BTreeMap;
use std::fmt;

use super::error::AttributeError;
use super::kind::Kind;
use super::map::Attributes;
use super::value::check_name;

/// The fields that a collection declares. Fields that it does not declare have values of any kind, and are indexed.
///
/// ```
/// use nearfield::attributes::{AttributeError, Declared, Kind, Schema};
/// use nearfield::attributes;
///
/// let schema = Schema::new()
///     .with("tenant", Declared::new(Kind::Text).required())
///     .with("year", Declared::new(Kind::Integer))
///     .with("summary", Declared::new(Kind::Text).stored_only());
/// schema.check(&attributes! { "tenant" => "acme", "year" => 2024, "more" => true })?;
/// let refused = schema.check(&attributes! { "tenant" => "acme", "year" => "2024" }).unwrap_err();
/// assert!(matches!(refused, AttributeError::Kind { declared: Kind::Integer, found: Kind::Text, .. }));
/// let refused = schema.check(&attributes! { "year" => 2024 }).unwrap_err();
/// assert_eq!(refused, AttributeError::Required { field: "tenant".to_owned() });
/// # Ok::<(), AttributeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    fields: BTreeMap<String, Declared>,
}

/// The declaration of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Declared {
    kind: Kind,
    is_required: bool,
    is_stored_only: bool,
}

impl Declared {
    /// Returns the declaration of an indexed field that has values of this kind, or none.
    pub fn new(kind: Kind) -> Self {
        Self { kind, is_required: false, is_stored_only: false }
    }

    /// Requires a value beside each vector.
    pub fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Leaves the field out of the index: it costs the bytes of its values alone, and a predicate reads the record of each key, or of those keys that
    /// its other clauses leave.
    pub fn stored_only(mut self) -> Self {
        self.is_stored_only = true;
        self
    }

    /// Returns the kind of the values.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns whether each vector must have a value.
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Returns whether the field is left out of the index.
    pub fn is_stored_only(&self) -> bool {
        self.is_stored_only
    }
}

/// The kind, with the words `required` and `stored only` behind it where they apply.
impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if self.is_required { ", required" } else { "" };
        let stored = if self.is_stored_only { ", stored only" } else { "" };
        write!(f, "{}{required}{stored}", self.kind)
    }
}

/// The fields with their declarations, with semicolons between them.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, declared)) in self.iter().enumerate() {
            let between = if at > 0 { "; " } else { "" };
            write!(f, "{between}{name}: {declared}")?;
        }
        Ok(())
    }
}

impl Schema {
    /// Returns a schema that declares no field.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a field, in place of an earlier declaration.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, declared: Declared) -> Self {
        self.fields.insert(field.into(), declared);
        self
    }

    /// Returns the declaration of a field.
    pub fn get(&self, field: &str) -> Option<Declared> {
        self.fields.get(field).copied()
    }

    /// Returns the declared fields, ascending by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Declared)> {
        self.fields.iter().map(|(name, &declared)| (name.as_str(), declared))
    }

    /// Returns the number of declared fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns whether no field is declared.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns whether a field is required.
    pub(crate) fn requires_some(&self) -> bool {
        self.fields.values().any(|declared| declared.is_required)
    }

    /// Checks the names of the fields.
    ///
    /// # Errors
    ///
    /// [`AttributeError::Name`].
    pub fn check_names(&self) -> Result<(), AttributeError> {
        self.fields.keys().try_for_each(|name| check_name(name))
    }

    /// Checks the kinds of attributes.
    ///
    /// # Errors
    ///
    /// [`AttributeError::Kind`].
    pub fn check_kinds(&self, attributes: &Attributes) -> Result<(), AttributeError> {
        for (name, value) in attributes {
            let declared = self.get(name).map_or(value.kind(), |declared| declared.kind);
            if value.kind() != declared {
                let field = name.to_owned();
                return Err(AttributeError::Kind { field, declared, found: value.kind() });
            }
        }
        Ok(())
    }

    /// Checks attributes: their kinds, and the required fields.
    ///
    /// # Errors
    ///
    /// [`AttributeError::Kind`], [`AttributeError::Required`].
    pub fn check(&self, attributes: &Attributes) -> Result<(), AttributeError> {
        self.check_kinds(attributes)?;
        let mut required = self.fields.iter().filter(|(_, declared)| declared.is_required);
        match required.find(|(name, _)| attributes.get(name).is_none()) {
            Some((name, _)) => Err(AttributeError::Required { field: name.clone() }),
            None => Ok(()),
        }
    }
}
