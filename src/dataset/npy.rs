//! `NumPy`'s file format, versions 1 to 3.
//!
//! Described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>: a magic
//! string, the length of the header, then the header as the text of a Python dictionary.

use super::DatasetError;
use super::input::Input;
use super::layout::Layout;
use crate::vector::Element;

/// Maximum length of the header of a plain matrix.
const HEADER_LIMIT: u64 = 1 << 16;

/// Returns the matrix that the header describes; a one-dimensional array is a single row.
pub(super) fn layout(input: &Input) -> Result<Layout, DatasetError> {
    if input.len < 12 {
        return Err(input.length(12));
    }
    let mut head = [0; 12];
    input.read_at(0, &mut head)?;
    if !head.starts_with(b"\x93NUMPY") {
        return Err(input.header("does not begin with NumPy's magic string"));
    }
    let (start, len) = match head[6] {
        1 => (10, u64::from(u16::from_le_bytes([head[8], head[9]]))),
        2 | 3 => (12, u32::from_le_bytes([head[8], head[9], head[10], head[11]]).into()),
        _ => return Err(input.header("the version is not 1, 2 or 3")),
    };
    if len > HEADER_LIMIT {
        return Err(input.header("longer than 65,536 bytes"));
    }
    if start + len > input.len {
        return Err(input.length(start + len));
    }
    let mut text = vec![0; len as usize];
    input.read_at(start, &mut text)?;
    let array =
        Parser { text: &text, at: 0 }.dictionary().map_err(|reason| input.header(reason))?;

    let unsupported = |found: String, supported| DatasetError::Unsupported {
        path: input.path.clone(),
        found,
        supported,
    };
    let element = match array.descr.as_str() {
        "<f4" => Element::F32,
        "<f2" => Element::F16,
        "|i1" | "<i1" => Element::I8,
        "|u1" | "<u1" => Element::U8,
        _ => {
            let found = format!("element type '{}'", array.descr);
            return Err(unsupported(found, "<f4, <f2, |i1, |u1"));
        }
    };
    let (rows, dimension) = match array.shape[..] {
        [dimension] => (1, dimension),
        [rows, dimension] => (rows, dimension),
        _ => {
            let found = format!("an array of {} dimensions", array.shape.len());
            return Err(unsupported(found, "one or two dimensions"));
        }
    };
    if array.fortran_order && array.shape.len() > 1 {
        return Err(unsupported("Fortran order".into(), "C order"));
    }
    Layout::check(input, element, rows, dimension, start + len, false)
}

/// The content of a header.
struct Array {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads the subset of Python that such headers use.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn dictionary(mut self) -> Result<Array, &'static str> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                // A list describes records.
                "descr" if self.peek() == Some(b'[') => return Err("the elements are records"),
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return Err("an unknown key"),
            }
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err("a comma or a closing brace is missing");
            }
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => {
                Ok(Array { descr, fortran_order, shape })
            }
            _ => Err("one of descr, fortran_order and shape is missing"),
        }
    }

    /// Returns the next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.take(byte) { Ok(()) } else { Err("not the text of a dictionary") }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        let quote = self.peek().filter(|b| matches!(b, b'\'' | b'"')).ok_or("no string")?;
        let rest = &self.text[self.at + 1..];
        let len = rest.iter().position(|&b| b == quote).ok_or("a string does not end")?;
        self.at += len + 2;
        Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    fn word(&mut self, accept: impl Fn(&u8) -> bool) -> &str {
        self.peek();
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|b| !accept(b)).unwrap_or(rest.len());
        self.at += len;
        str::from_utf8(&rest[..len]).unwrap_or("")
    }

    fn boolean(&mut self) -> Result<bool, &'static str> {
        match self.word(u8::is_ascii_alphabetic) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err("fortran_order is neither True nor False"),
        }
    }

    fn tuple(&mut self) -> Result<Vec<u64>, &'static str> {
        let mut numbers = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            let digits = self.word(u8::is_ascii_digit);
            numbers.push(digits.parse().map_err(|_| "shape holds what is no length")?);
            if !self.take(b',') && self.peek() != Some(b')') {
                return Err("shape does not end");
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::Parser;

    fn shape(text: &str) -> Result<Vec<u64>, &'static str> {
        Parser { text: text.as_bytes(), at: 0 }.dictionary().map(|array| array.shape)
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }    \n";
        assert_eq!(shape(text), Ok(vec![3, 4]));
        assert_eq!(shape("{'shape':(7,),'descr':\"|u1\",'fortran_order':True}"), Ok(vec![7]));
        assert_eq!(shape("{'descr': '<f4', 'fortran_order': False, 'shape': ()}"), Ok(vec![]));
    }

    #[test]
    fn headers_that_are_none() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr'",
            "{'descr': '<f4",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}",
        ] {
            assert!(shape(text).is_err(), "{text}");
        }
    }
}
