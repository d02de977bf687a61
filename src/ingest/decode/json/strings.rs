//! Strings: found by looking at eight bytes at once, and freed of their escapes where they have any.

use std::borrow::Cow;

use super::{Json, JsonError};

impl<'a> Json<'a> {
    /// Reads a string, which must be next.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let start = self.open_string()?;
        if self.run_of_plain() == Some(b'"') {
            let plain = &self.line[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.escaped_string(start)
    }

    #[cold]
    #[inline(never)]
    fn escaped_string(&mut self, start: usize) -> Result<Cow<'a, str>, JsonError> {
        let mut unescaped = String::with_capacity(self.at - start + 16);
        self.rest_of_string(start, Some(&mut unescaped))?;
        Ok(Cow::Owned(unescaped))
    }

    /// Reads this very string if it is next, spelt without escapes; otherwise reads nothing. It has no character that JSON
    /// must escape.
    #[inline]
    pub fn this_string(&mut self, expected: &str) -> Option<&'a str> {
        let start = self.at + 1;
        let end = start + expected.len();
        let bytes = self.line.as_bytes();
        let is_next =
            bytes.get(end) == Some(&b'"') && bytes[self.at] == b'"' && bytes[start..end] == *expected.as_bytes();
        if !is_next {
            return None;
        }
        self.at = end + 1;
        Some(&self.line[start..end])
    }

    pub(super) fn skip_string(&mut self) -> Result<(), JsonError> {
        let start = self.open_string()?;
        self.rest_of_string(start, None)
    }

    #[inline]
    fn open_string(&mut self) -> Result<usize, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        Ok(self.at)
    }

    /// Moves to the next quote, backslash or control character, and tells it.
    #[inline]
    fn run_of_plain(&mut self) -> Option<u8> {
        let bytes = self.line.as_bytes();
        while let Some(ahead) = self.ahead() {
            if let Some(place) = first_special(*ahead) {
                self.at = bytes.len().min(self.at + place);
                return bytes.get(self.at).copied();
            }
            self.at += 8;
        }
        self.at = bytes.len().min(self.at);
        while let Some(byte) = bytes.get(self.at) {
            if matches!(byte, b'"' | b'\\' | 0..0x20) {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads on from within a string through its closing quote; `kept_to` is how far the text is already dealt with.
    fn rest_of_string(&mut self, mut kept_to: usize, mut unescaped: Option<&mut String>) -> Result<(), JsonError> {
        loop {
            let special = self.run_of_plain();
            if let Some(unescaped) = unescaped.as_deref_mut() {
                unescaped.push_str(&self.line[kept_to..self.at]);
            }
            match special {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    if let Some(unescaped) = unescaped.as_deref_mut() {
                        unescaped.push(character);
                    }
                    kept_to = self.at;
                }
                Some(_) => return Err(self.error("a control character stands in a string")),
                None => return Err(self.error("the line ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let letter = self.line.as_bytes().get(self.at + 1).copied();
        let character = match letter {
            Some(b'u') => return self.unicode_escape(),
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.error("there is no such escape")),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4(self.at)?;
        let (code, length) = match first {
            0xD800..0xDC00 => {
                let low = self.hex4(self.at + 6)?;
                if !(0xDC00..0xE000).contains(&low) {
                    return Err(self.error("lone surrogate"));
                }
                (0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00), 12)
            }
            code => (code, 6),
        };
        let character = char::from_u32(code).ok_or_else(|| self.error("lone surrogate"))?;
        self.at += length;
        Ok(character)
    }

    /// The four hex digits of the `\uXXXX` that must stand at `at`.
    fn hex4(&self, at: usize) -> Result<u32, JsonError> {
        let bad = || JsonError { at, problem: "expected \\u and four hex digits" };
        match self.line.as_bytes().get(at..at + 6) {
            Some([b'\\', b'u', digits @ ..]) => {
                digits.iter().try_fold(0, |code, byte| Ok(code * 16 + char::from(*byte).to_digit(16).ok_or_else(bad)?))
            }
            _ => Err(bad()),
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where in these bytes the first quote, backslash or control character stands.
#[inline]
fn first_special(bytes: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(bytes);
    // A borrow makes a false find only behind a true one, which is found first.
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
    let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let found = (quote | backslash | below_space) & HIGH;
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}
