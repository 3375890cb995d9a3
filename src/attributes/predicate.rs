//! Predicates as trees of bounded depth.

use std::ops;

use super::error::AttributeError;
use super::value::{MOST_LISTED_BYTES, MOST_TEXT_BYTES, Value, check_name, check_text};

/// Levels of a predicate, at most: a comparison has one, each `and`, `or` and `not` around it one more.
pub(crate) const MOST_LEVELS: usize = 64;

/// A condition on [`Attributes`](crate::Attributes).
///
/// [`field`](crate::field) makes predicates in Rust, [`str::parse`] reads them from texts, and with the feature `json`
/// `Predicate::from_json` from JSON. [The module](mod@crate::attributes) describes all of them.
///
/// ```
/// use nearfield::{Predicate, attributes, field};
///
/// let built = field("year").ge(2020).and(field("tags").has("search"));
/// let read: Predicate = "year >= 2020 and tags has 'search'".parse()?;
/// assert_eq!(built, read);
/// assert_eq!(built.to_string(), "year >= 2020 and tags has 'search'");
/// assert!(built.matches(&attributes! { "year" => 2024, "tags" => ["search"] })?);
/// assert!(!built.matches(&attributes! { "year" => 2024 })?);
/// # Ok::<(), nearfield::attributes::AttributeError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Predicate {
    node: Node,
    depth: usize,
    /// The first fault of the values and names, or of the depth.
    fault: Option<Box<AttributeError>>,
}

/// The relation of a field's value to another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A node of a predicate. `And` contains no `And`, `Or` no `Or` and `Not` no `Not`, and neither of the first two has one part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Compare {
        field: String,
        comparison: Comparison,
        value: Value,
    },
    /// The value is one of these.
    Among {
        field: String,
        values: Vec<Value>,
    },
    /// The value is from `low` to `high`, both included.
    Between {
        field: String,
        low: Value,
        high: Value,
    },
    /// The value is a text that begins with this one.
    Prefix {
        field: String,
        text: String,
    },
    /// The value is a list that contains the text.
    Has {
        field: String,
        text: String,
    },
    AnyOf {
        field: String,
        texts: Vec<String>,
    },
    AllOf {
        field: String,
        texts: Vec<String>,
    },
    IsNull {
        field: String,
    },
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    /// Takes the place of a tree of more than [`MOST_LEVELS`].
    TooDeep,
}

/// Checks a value that a field is compared with.
fn check_operand(field: &str, value: &Value) -> Result<(), AttributeError> {
    if matches!(value, Value::Texts(_)) {
        return Err(AttributeError::ListCompared { field: field.to_owned() });
    }
    value.check(field)
}

impl Node {
    /// Returns the field of a node that has no parts.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Compare { field, .. }
            | Self::Among { field, .. }
            | Self::Between { field, .. }
            | Self::Prefix { field, .. }
            | Self::Has { field, .. }
            | Self::AnyOf { field, .. }
            | Self::AllOf { field, .. }
            | Self::IsNull { field } => Some(field),
            Self::And(_) | Self::Or(_) | Self::Not(_) | Self::TooDeep => None,
        }
    }

    /// Calls `each` with the fields of the node and its parts, some perhaps more than once.
    pub(crate) fn each_field<'n>(&'n self, each: &mut dyn FnMut(&'n str)) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.each_field(each);
                }
            }
            Self::Not(part) => part.each_field(each),
            leaf => leaf.field().into_iter().for_each(each),
        }
    }

    /// Checks names and values of a node that has no parts.
    fn check(&self) -> Result<(), AttributeError> {
        match self {
            Self::Compare { field, value, .. } => {
                check_name(field)?;
                check_operand(field, value)
            }
            Self::Among { field, values } => {
                check_name(field)?;
                values.iter().try_for_each(|value| check_operand(field, value))
            }
            Self::Between { field, low, high } => {
                check_name(field)?;
                check_operand(field, low)?;
                check_operand(field, high)
            }
            Self::Prefix { field, text } => {
                check_name(field)?;
                check_text(field, text, MOST_TEXT_BYTES)
            }
            Self::Has { field, text } => {
                check_name(field)?;
                check_text(field, text, MOST_LISTED_BYTES)
            }
            Self::AnyOf { field, texts } | Self::AllOf { field, texts } => {
                check_name(field)?;
                texts.iter().try_for_each(|text| check_text(field, text, MOST_LISTED_BYTES))
            }
            Self::IsNull { field } => check_name(field),
            Self::TooDeep => Err(AttributeError::TooDeep { max: MOST_LEVELS }),
            Self::And(_) | Self::Or(_) | Self::Not(_) => Ok(()),
        }
    }
}

impl Predicate {
    /// Returns the predicate of a node that has no parts.
    pub(super) fn leaf(node: Node) -> Self {
        let fault = node.check().err().map(Box::new);
        Self { node, depth: 1, fault }
    }

    fn too_deep() -> Self {
        Self::leaf(Node::TooDeep)
    }

    /// Returns the tree of the predicate.
    ///
    /// # Errors
    ///
    /// A name or value that attributes cannot have, a comparison with a list, or too many levels.
    pub(crate) fn node(&self) -> Result<&Node, AttributeError> {
        match &self.fault {
            None => Ok(&self.node),
            Some(fault) => Err((**fault).clone()),
        }
    }

    /// Returns the tree of the predicate, also of a faulty one.
    pub(super) fn tree(&self) -> &Node {
        &self.node
    }

    /// Returns `And` or `Or` of the parts, with the parts of equal parts in their place.
    fn join(is_and: bool, parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut nodes, mut depth, mut fault) = (Vec::new(), 1, None);
        let mut is_deep = false;
        for part in parts {
            fault = fault.or(part.fault);
            match part.node {
                Node::And(inner) if is_and => take(&mut nodes, inner, &mut depth, part.depth),
                Node::Or(inner) if !is_and => take(&mut nodes, inner, &mut depth, part.depth),
                node => {
                    is_deep |= matches!(node, Node::TooDeep);
                    depth = depth.max(part.depth + 1);
                    nodes.push(node);
                }
            }
        }
        if nodes.len() == 1
            && let Some(node) = nodes.pop()
        {
            return Self { node, depth: depth - 1, fault };
        }
        if is_deep || depth > MOST_LEVELS {
            return Self::too_deep();
        }
        let node = if is_and { Node::And(nodes) } else { Node::Or(nodes) };
        Self { node, depth, fault }
    }

    /// Returns the predicate that is true if both are. Parts of an `and` become parts of the new one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::join(true, [self, other])
    }

    /// Returns the predicate that is true if one of both is. Parts of an `or` become parts of the new one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::join(false, [self, other])
    }

    /// Returns the predicate that is true if this one is false. If this one is unknown, as that of a null
    /// field, so is the new one. Two negations cancel.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the operator `!` calls it")]
    pub fn not(self) -> Self {
        let Self { node, depth, fault } = self;
        match node {
            Node::Not(inner) => Self { node: *inner, depth: depth - 1, fault },
            Node::TooDeep => Self::too_deep(),
            _ if depth >= MOST_LEVELS => Self::too_deep(),
            node => Self { node: Node::Not(Box::new(node)), depth: depth + 1, fault },
        }
    }

    /// Returns the predicate that is true if all of these are; of none, it is true.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::join(true, parts)
    }

    /// Returns the predicate that is true if one of these is; of none, it is false.
    ///
    /// ```
    /// use nearfield::{Predicate, field};
    ///
    /// let langs = Predicate::any(["en", "de"].map(|lang| field("lang").prefix(lang)));
    /// assert_eq!(langs.to_string(), "lang prefix 'en' or lang prefix 'de'");
    /// ```
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::join(false, parts)
    }
}

/// Moves the parts of an equal part into `nodes`.
fn take(nodes: &mut Vec<Node>, inner: Vec<Node>, depth: &mut usize, inner_depth: usize) {
    *depth = inner_depth.max(*depth);
    if nodes.is_empty() {
        *nodes = inner;
    } else {
        nodes.extend(inner);
    }
}

impl ops::BitAnd for Predicate {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl ops::BitOr for Predicate {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl ops::Not for Predicate {
    type Output = Self;

    fn not(self) -> Self {
        self.not()
    }
}
