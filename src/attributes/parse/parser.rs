//! Tokens as predicates, by recursive descent of bounded depth.

use super::lexer::{Lexer, Token};
use crate::attributes::display::is_reserved;
use crate::attributes::error::{AttributeError, ParseError};
use crate::attributes::predicate::{MOST_LEVELS, Node, Predicate};
use crate::attributes::timestamp::Timestamp;
use crate::attributes::value::Value;

/// Bytes of the text of a predicate, at most.
const MOST_BYTES: usize = 1 << 20;

/// Words that follow a field.
const AFTER_FIELD: &str = "expected a comparison, `in`, `between`, `prefix`, `has`, `any of`, `all of` or `is null` \
                           behind the field";

/// Returns the predicate of a text.
pub(super) fn parse(text: &str) -> Result<Predicate, ParseError> {
    if text.len() > MOST_BYTES {
        let at = text.floor_char_boundary(MOST_BYTES);
        return Err(ParseError::new(text, at, "a predicate has at most 1 MiB of text".to_owned()));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { lexer, at, token, levels: 0 };
    let predicate = parser.or()?;
    match parser.token {
        Token::End => Ok(predicate),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The next token, and the byte at which it begins.
    token: Token<'t>,
    at: usize,
    /// Parentheses and negations around the token.
    levels: usize,
}

impl<'t> Parser<'t> {
    #[cold]
    fn expected(&self, expectation: &str) -> ParseError {
        self.lexer.error(self.at, format!("expected {expectation}, found {}", self.token))
    }

    /// Takes the next token.
    fn advance(&mut self) -> Result<Token<'t>, ParseError> {
        let (at, token) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn is(&self, keyword: &str) -> bool {
        matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Takes a keyword if it is next.
    fn take(&mut self, keyword: &str) -> Result<bool, ParseError> {
        let is_next = self.is(keyword);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn require(&mut self, keyword: &str) -> Result<(), ParseError> {
        if self.take(keyword)? { Ok(()) } else { Err(self.expected(&format!("`{keyword}`"))) }
    }

    fn or(&mut self) -> Result<Predicate, ParseError> {
        let mut parts = vec![self.and()?];
        while self.take("or")? {
            parts.push(self.and()?);
        }
        Ok(Predicate::any(parts))
    }

    fn and(&mut self) -> Result<Predicate, ParseError> {
        let mut parts = vec![self.not()?];
        while self.take("and")? {
            parts.push(self.not()?);
        }
        Ok(Predicate::all(parts))
    }

    fn not(&mut self) -> Result<Predicate, ParseError> {
        let is_open = self.token == Token::Open;
        if !is_open && !self.is("not") {
            return self.about_field();
        }
        if self.levels == MOST_LEVELS {
            let message = format!("a predicate has at most {MOST_LEVELS} levels");
            return Err(self.lexer.error(self.at, message));
        }
        self.levels += 1;
        self.advance()?;
        let predicate = if is_open {
            let inner = self.or()?;
            if self.token != Token::Close {
                return Err(self.expected("`and`, `or` or `)`"));
            }
            self.advance()?;
            inner
        } else {
            self.not()?.not()
        };
        self.levels -= 1;
        Ok(predicate)
    }

    /// Reads a constant, or a field and a condition on it.
    fn about_field(&mut self) -> Result<Predicate, ParseError> {
        if self.take("true")? {
            return Ok(Predicate::all([]));
        }
        if self.take("false")? {
            return Ok(Predicate::any([]));
        }
        match &self.token {
            Token::Word(word) if is_reserved(word) => {
                let word = *word;
                let expectation = format!("a field (one named {word:?} needs double quotes)");
                return Err(self.expected(&expectation));
            }
            Token::Word(_) | Token::Name(_) => {}
            _ => return Err(self.expected("a field, `not` or `(`")),
        }
        let field = match self.advance()? {
            Token::Name(name) => name,
            Token::Word(word) => word.to_owned(),
            _ => String::new(),
        };
        if let Token::Compare(comparison) = self.token {
            self.advance()?;
            let value = self.value()?;
            return Ok(Predicate::leaf(Node::Compare { field, comparison, value }));
        }
        if self.take("is")? {
            let is_negated = self.take("not")?;
            self.require("null")?;
            return Ok(negated(is_negated, Node::IsNull { field }));
        }
        let is_negated = self.take("not")?;
        Ok(negated(is_negated, self.condition(field)?))
    }

    fn condition(&mut self, field: String) -> Result<Node, ParseError> {
        if self.take("in")? {
            return Ok(Node::Among { field, values: self.list(Self::value)? });
        }
        if self.take("between")? {
            let low = self.value()?;
            self.require("and")?;
            return Ok(Node::Between { field, low, high: self.value()? });
        }
        if self.take("prefix")? {
            return Ok(Node::Prefix { field, text: self.text()? });
        }
        if self.take("has")? {
            return Ok(Node::Has { field, text: self.text()? });
        }
        if self.take("any")? {
            self.require("of")?;
            return Ok(Node::AnyOf { field, texts: self.list(Self::text)? });
        }
        if self.take("all")? {
            self.require("of")?;
            return Ok(Node::AllOf { field, texts: self.list(Self::text)? });
        }
        Err(self.lexer.error(self.at, format!("{AFTER_FIELD}, found {}", self.token)))
    }

    /// Reads items between parentheses.
    fn list<T>(
        &mut self,
        item: fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = Vec::new();
        if self.token != Token::Open {
            return Err(self.expected("`(`"));
        }
        self.advance()?;
        while self.token != Token::Close {
            items.push(item(self)?);
            match self.token {
                Token::Comma => drop(self.advance()?),
                Token::Close => {}
                _ => return Err(self.expected("`,` or `)`")),
            }
        }
        self.advance()?;
        Ok(items)
    }

    fn text(&mut self) -> Result<String, ParseError> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.expected("a text in single quotes"));
        }
        match self.advance()? {
            Token::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        let value = match &mut self.token {
            Token::Integer(number) => Value::Integer(*number),
            Token::Float(number) => Value::from(*number),
            Token::Text(text) => Value::Text(std::mem::take(text)),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Value::Boolean(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Value::Boolean(false),
            Token::Word(word) if word.eq_ignore_ascii_case("inf") => Value::Float(f64::INFINITY),
            Token::Word(word) if word.eq_ignore_ascii_case("time") => {
                self.advance()?;
                return self.time().map(Value::Time);
            }
            Token::Word(word) if word.eq_ignore_ascii_case("null") => {
                return Err(self.expected("a value (use `is null` for null)"));
            }
            _ => return Err(self.expected("a value")),
        };
        self.advance()?;
        Ok(value)
    }

    fn time(&mut self) -> Result<Timestamp, ParseError> {
        let at = self.at;
        let text = self.text()?;
        text.parse().map_err(|error: AttributeError| self.lexer.error(at, error.to_string()))
    }
}

fn negated(is_negated: bool, node: Node) -> Predicate {
    let predicate = Predicate::leaf(node);
    if is_negated { predicate.not() } else { predicate }
}
