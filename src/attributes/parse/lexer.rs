//! Texts of predicates as tokens.

use std::fmt;

use crate::attributes::display::{begins_name, continues_name};
use crate::attributes::error::ParseError;
use crate::attributes::predicate::Comparison;

/// A token of the text of a predicate.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    /// A keyword, or a bare name.
    Word(&'t str),
    /// A name in double quotes.
    Name(String),
    /// A text in single quotes.
    Text(String),
    Integer(i64),
    Float(f64),
    Compare(Comparison),
    Open,
    Close,
    Comma,
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) if word.len() <= 64 => write!(f, "`{word}`"),
            Self::Word(_) => f.write_str("a long word"),
            Self::Name(_) => f.write_str("a name in double quotes"),
            Self::Text(_) => f.write_str("a text"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Compare(_) => f.write_str("a comparison"),
            Self::Open => f.write_str("`(`"),
            Self::Close => f.write_str("`)`"),
            Self::Comma => f.write_str("`,`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The rest of a text, which begins with the next token.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Returns the error of the text at a byte.
    #[cold]
    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, at, message.into())
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// Takes the characters at the head of the rest that `is_part` accepts.
    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let part = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += part.len();
        part
    }

    fn take(&mut self, head: &str) -> bool {
        let is_head = self.rest().starts_with(head);
        self.at += if is_head { head.len() } else { 0 };
        is_head
    }

    /// Takes the next token, and returns the byte at which it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'t>), ParseError> {
        self.take_while(char::is_whitespace);
        let at = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((at, Token::End)) };
        let token = match first {
            '\'' => Token::Text(self.quoted('\'')?),
            '"' => Token::Name(self.quoted('"')?),
            '0'..='9' | '+' | '-' => self.number()?,
            first if begins_name(first) => Token::Word(self.take_while(continues_name)),
            _ => self.symbol()?,
        };
        Ok((at, token))
    }

    fn symbol(&mut self) -> Result<Token<'t>, ParseError> {
        const SYMBOLS: [(&str, Token<'_>); 11] = [
            ("==", Token::Compare(Comparison::Equal)),
            ("=", Token::Compare(Comparison::Equal)),
            ("!=", Token::Compare(Comparison::NotEqual)),
            ("<>", Token::Compare(Comparison::NotEqual)),
            ("<=", Token::Compare(Comparison::LessOrEqual)),
            ("<", Token::Compare(Comparison::Less)),
            (">=", Token::Compare(Comparison::GreaterOrEqual)),
            (">", Token::Compare(Comparison::Greater)),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        if let Some((_, token)) = SYMBOLS.into_iter().find(|(symbol, _)| self.take(symbol)) {
            return Ok(token);
        }
        let message = "expected a name, a value or an operator; names with other characters need double \
                       quotes, texts single ones";
        Err(self.error(self.at, message))
    }

    /// Takes a text between quotes, in which each quote is doubled.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let begin = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            text.push_str(self.take_while(|c| c != quote));
            if self.rest().is_empty() {
                return Err(self.error(begin, format!("the quote {quote} is not closed")));
            }
            self.at += 1;
            if !self.rest().starts_with(quote) {
                return Ok(text);
            }
            self.at += 1;
            text.push(quote);
        }
    }

    fn number(&mut self) -> Result<Token<'t>, ParseError> {
        let begin = self.at;
        let is_digit = |c: char| c.is_ascii_digit();
        let is_negative = self.take("-");
        if !is_negative {
            self.take("+");
        }
        if self.rest().starts_with(begins_name) {
            let word = self.take_while(continues_name);
            if word.eq_ignore_ascii_case("inf") {
                return Ok(Token::Float(if is_negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }));
            }
            return Err(self.error(begin, "expected a number behind the sign"));
        }
        let mut is_whole = !self.take_while(is_digit).is_empty();
        let mut is_float = false;
        if is_whole && self.take(".") {
            is_float = true;
            is_whole = !self.take_while(is_digit).is_empty();
        }
        if is_whole && (self.take("e") || self.take("E")) {
            is_float = true;
            let _ = self.take("-") || self.take("+");
            is_whole = !self.take_while(is_digit).is_empty();
        }
        if !is_whole || self.rest().starts_with(continues_name) {
            let message = "expected a number such as 12, -0.5 or 1e9";
            return Err(self.error(begin, message));
        }
        let digits = &self.text[begin..self.at];
        if is_float {
            let number = digits.parse().ok().filter(|number: &f64| number.is_finite());
            let error = || self.error(begin, "the number is beyond the range of floats; write inf");
            return number.map(Token::Float).ok_or_else(error);
        }
        let error = || {
            let message = "the integer has more than 64 bits; write a float, such as 1e19";
            self.error(begin, message)
        };
        digits.parse().map(Token::Integer).map_err(|_| error())
    }
}
