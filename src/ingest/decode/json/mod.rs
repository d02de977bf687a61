//! A pull reader of JSON text (RFC 8259) for the hot path of ingest: it borrows what it can, shows how a number is spelt and
//! which members come twice, and validates what it skips as strictly as what it reads.
//!
//! Beyond the grammar it refuses lone surrogates and nesting deeper than [`MAX_DEPTH`] (`spec/events.md`, Envelope).

mod names;
mod strings;

use std::borrow::Cow;
use std::fmt;

use uuid::Uuid;

pub use names::{LEAD_BYTES, Name, Order};

use crate::model::parse_hyphenated_guid;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: u32 = 128;

/// Where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset within the text.
    pub at: usize,
    pub problem: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.at + 1)
    }
}

/// A position in a line; each method reads one thing there and moves behind it.
#[derive(Clone)]
pub struct Json<'a> {
    line: &'a str,
    /// The line and what stands behind it, so that a wide look at the line's last bytes needs no care. Whatever is found there
    /// is taken only where it ends within the line. A window that is too short costs time only.
    window: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Json<'a> {
    #[must_use]
    pub fn new(line: &'a str, window: &'a [u8]) -> Self {
        Self { line, window, at: 0, depth: 0 }
    }

    /// The same within so many objects and arrays.
    #[must_use]
    pub fn nested(self, depth: u32) -> Self {
        Self { depth, ..self }
    }

    /// How much is read.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The first byte of the next value, white space skipped; `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.line.as_bytes();
        let mut next = bytes.get(self.at).copied();
        // Most texts have none or one.
        if next == Some(b' ') {
            self.at += 1;
            next = bytes.get(self.at).copied();
        }
        if next.is_some_and(|byte| byte <= b' ') { self.peek_behind_space() } else { next }
    }

    #[inline(never)]
    fn peek_behind_space(&mut self) -> Option<u8> {
        let bytes = self.line.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Checks that nothing but white space is left.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        if self.peek().is_some() { Err(self.error("something stands behind the value")) } else { Ok(()) }
    }

    /// Reads an object of which these names are known: `member` is called at the value of each, with the name's index, and must
    /// move behind it. Other members are skipped.
    #[inline]
    pub fn object<E: From<JsonError>>(
        &mut self,
        names: &[Name],
        order: &mut Order,
        mut member: impl FnMut(&mut Self, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        if self.close(b'}') {
            return Ok(());
        }
        let mut place = 0;
        loop {
            if let Some(index) = self.known_name(names, order, place)? {
                member(self, index)?;
                place = index + 1;
            } else {
                self.skip()?;
            }
            if !self.comma(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads a member's name and the colon, and tells which of the known names it is.
    #[inline]
    fn known_name(&mut self, names: &[Name], order: &mut Order, place: usize) -> Result<Option<usize>, JsonError> {
        self.peek();
        if let Some(ahead) = self.ahead() {
            let guess = order.guess(place);
            if let Some(name) = names.get(guess)
                && name.leads(ahead)
                && self.pass(name.lead_length())
            {
                return Ok(Some(guess));
            }
            if let Some(index) = names.iter().position(|name| name.leads(ahead))
                && self.pass(names[index].lead_length())
            {
                order.learn(place, index);
                return Ok(Some(index));
            }
        }
        let name = self.name()?;
        Ok(names.iter().position(|known| known.text == name))
    }

    /// Reads a member's name and the colon, however they are spelt.
    #[inline(never)]
    pub fn name(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a member's name"));
        }
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.error("expected ':'"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Reads an array; `item` is called at each value and must move behind it.
    #[inline]
    pub fn array<E: From<JsonError>>(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.open(b'[')?;
        if self.close(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if !self.comma(b']')? {
                return Ok(());
            }
        }
    }

    /// Reads a string of a GUID's 36 digits and hyphens if it is next; otherwise reads nothing.
    #[inline]
    pub fn hyphenated_guid(&mut self) -> Option<Uuid> {
        let [b'"', spelt @ .., b'"'] = self.ahead::<38>()? else { return None };
        let guid = parse_hyphenated_guid(spelt)?;
        self.pass(38).then_some(guid)
    }

    /// Reads an integer of at most 15 digits, and no sign, if it is next; otherwise reads nothing.
    #[inline]
    pub fn plain_integer(&mut self) -> Option<u64> {
        let bytes = self.line.as_bytes();
        let (mut integer, mut end) = (0, self.at);
        while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
            integer = integer * 10 + u64::from(digit - b'0');
            end += 1;
            if end - self.at > 15 {
                return None;
            }
        }
        let leads_with_zero = bytes.get(self.at) == Some(&b'0') && end - self.at > 1;
        let goes_on = matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
        if end == self.at || leads_with_zero || goes_on {
            return None;
        }
        self.at = end;
        Some(integer)
    }

    /// Reads a number, which must be next, as it is spelt.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        let bytes = self.line.as_bytes();
        let next = |at: usize| bytes.get(at).copied();
        if next(self.at) == Some(b'-') {
            self.at += 1;
        }
        match next(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error("expected a value")),
        }
        if next(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(next(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(next(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.line[start..self.at])
    }

    /// Reads `true`, `false` or `null`, which must be next: `None` for `null`.
    pub fn literal(&mut self) -> Result<Option<bool>, JsonError> {
        for (word, value) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
            if self.line.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected a value"))
    }

    /// Reads a value of any kind and forgets it.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => self.object(&[], &mut Order::default(), |json, _| json.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b't' | b'f' | b'n') => self.literal().map(|_| ()),
            Some(_) => self.number().map(|_| ()),
            None => Err(self.error("the line ends within a value")),
        }
    }

    /// The next bytes, if so many are in the window; some may stand behind the line.
    #[inline]
    fn ahead<const LENGTH: usize>(&self) -> Option<&'a [u8; LENGTH]> {
        self.window.get(self.at..)?.first_chunk()
    }

    /// Moves on within the line; false where it ends before.
    #[inline]
    fn pass(&mut self, length: usize) -> bool {
        let within = self.at + length <= self.line.len();
        self.at += if within { length } else { 0 };
        within
    }

    #[cold]
    fn error(&self, problem: &'static str) -> JsonError {
        JsonError { at: self.at, problem }
    }

    #[inline]
    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek() != Some(bracket) {
            return Err(self.error("expected an object or array"));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested deeper than 128"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn close(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    /// Whether a comma, and so another item, follows; false where the bracket does.
    #[inline]
    fn comma(&mut self, bracket: u8) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) => Err(self.error("expected ',' or the closing bracket")),
            None => Err(self.error("the line ends within a value")),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let bytes = &self.line.as_bytes()[self.at..];
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.error("expected a digit")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
