//! Texts of predicates.
//!
//! ```text
//! or        = and { "or" and }
//! and       = not { "and" not }
//! not       = "not" not | "(" or ")" | "true" | "false" | field condition
//! condition = ( "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) value
//!           | "is" [ "not" ] "null"
//!           | [ "not" ] ( "in" "(" [ value { "," value } ] ")" | "between" value "and" value
//!                       | "prefix" text | "has" text | ( "any" | "all" ) "of" "(" [ text { "," text } ] ")" )
//! value     = integer | float | "inf" | "-inf" | "true" | "false" | text | "time" text
//! field     = a letter or "_", then letters, digits, "_", "." and "-" | a name in double quotes
//! text      = single quotes around it; either quote is doubled between two of its kind
//! ```

mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use super::error::AttributeError;
use super::predicate::Predicate;

/// Reads the text of a predicate: see [the module](mod@crate::attributes).
impl FromStr for Predicate {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let predicate = parser::parse(text)?;
        predicate.node()?;
        Ok(predicate)
    }
}
