//! A pull reader of JSON text (RFC 8259) for the hot path of ingest: it borrows what it can, shows how a number is spelt and
//! which members come twice, and validates what it skips as strictly as what it reads.
//!
//! Beyond the grammar it refuses lone surrogates and nesting deeper than [`MAX_DEPTH`] (`spec/events.md`, Envelope).

use std::borrow::Cow;
use std::fmt;

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

/// A position in a text; each method reads one thing there and moves behind it.
#[derive(Clone)]
pub struct Json<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Json<'a> {
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The first byte of the next value, white space skipped; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
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

    /// Reads an object; `member` is called at each value and must move behind it.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        if self.close(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a member's name").into());
            }
            let name = self.string()?;
            if self.peek() != Some(b':') {
                return Err(self.error("expected ':'").into());
            }
            self.at += 1;
            member(self, &name)?;
            if !self.comma(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads an array; `item` is called at each value and must move behind it.
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

    /// Reads a string, which must be next.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let start = self.open_string()?;
        if self.run_of_plain() == Some(b'"') {
            let plain = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut unescaped = String::with_capacity(self.at - start + 16);
        self.rest_of_string(start, Some(&mut unescaped))?;
        Ok(Cow::Owned(unescaped))
    }

    /// Reads a number, which must be next, as it is spelt.
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
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
        Ok(&self.text[start..self.at])
    }

    /// Reads `true`, `false` or `null`, which must be next: `None` for `null`.
    pub fn literal(&mut self) -> Result<Option<bool>, JsonError> {
        for (word, value) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("expected a value"))
    }

    /// Reads a value of any kind and forgets it.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => {
                let start = self.open_string()?;
                self.rest_of_string(start, None)
            }
            Some(b'{') => self.object(|json, _| json.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b't' | b'f' | b'n') => self.literal().map(|_| ()),
            Some(_) => self.number().map(|_| ()),
            None => Err(self.error("the line ends within a value")),
        }
    }

    fn error(&self, problem: &'static str) -> JsonError {
        JsonError { at: self.at, problem }
    }

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

    fn close(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    /// Whether a comma, and so another item, follows; false where the bracket does.
    fn comma(&mut self, bracket: u8) -> Result<bool, JsonError> {
        if self.close(bracket) {
            return Ok(false);
        }
        if self.peek() != Some(b',') {
            return Err(self.error(if self.at == self.text.len() {
                "the line ends within a value"
            } else {
                "expected ',' or the closing bracket"
            }));
        }
        self.at += 1;
        Ok(true)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let bytes = &self.text.as_bytes()[self.at..];
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    fn open_string(&mut self) -> Result<usize, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        Ok(self.at)
    }

    /// Moves to the next quote, backslash or control character, eight bytes at a time, and tells it.
    fn run_of_plain(&mut self) -> Option<u8> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let bytes = self.text.as_bytes();
        while let Some(chunk) = bytes[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
            let found =
                zero_byte(word ^ (ONES * u64::from(b'"'))) | zero_byte(word ^ (ONES * u64::from(b'\\'))) | below_space;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return Some(bytes[self.at]);
            }
            self.at += 8;
        }
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
                unescaped.push_str(&self.text[kept_to..self.at]);
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
        let letter = self.text.as_bytes().get(self.at + 1).copied();
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
        match self.text.as_bytes().get(at..at + 6) {
            Some([b'\\', b'u', digits @ ..]) => {
                digits.iter().try_fold(0, |code, byte| Ok(code * 16 + char::from(*byte).to_digit(16).ok_or_else(bad)?))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn accepts(text: &str) -> bool {
        let mut json = Json::new(text);
        json.skip().and_then(|()| json.finish()).is_ok()
    }

    /// Builds a value with every reading method, to hold against `serde_json`'s.
    fn value(json: &mut Json<'_>) -> Result<Value, JsonError> {
        Ok(match json.peek() {
            Some(b'"') => Value::String(json.string()?.into_owned()),
            Some(b'{') => {
                let mut members = serde_json::Map::new();
                json.object(|json, name| {
                    members.insert(name.to_owned(), value(json)?);
                    Ok::<_, JsonError>(())
                })?;
                Value::Object(members)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                json.array(|json| {
                    items.push(value(json)?);
                    Ok::<_, JsonError>(())
                })?;
                Value::Array(items)
            }
            Some(b't' | b'f' | b'n') => json.literal()?.map_or(Value::Null, Value::Bool),
            _ => serde_json::from_str(json.number()?).expect("a number of JSON's grammar"),
        })
    }

    fn read(text: &str) -> Option<Value> {
        let mut json = Json::new(text);
        let value = value(&mut json).ok()?;
        json.finish().ok()?;
        Some(value)
    }

    #[test]
    fn nesting_is_allowed_128_deep() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(accepts(&nested(128)));
        assert!(!accepts(&nested(129)));
    }

    #[test]
    fn numbers_that_nobody_reads_may_have_any_size() {
        for text in ["100e901", "-1e-9999", "1234567890123456789000e901"] {
            assert!(accepts(text), "{text}");
        }
        for text in ["1e", "1e+", ".5", "-", "1.e5"] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn surrogates_must_come_in_pairs() {
        assert_eq!(read(r#""\ud83d\uDE00""#), Some("😀".into()));
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83dxxxxxx""#, r#""\ud8""#, r#""\u+123""#]
        {
            assert!(!accepts(text), "{text}");
        }
    }

    /// Pieces that are likely to meet each other in odd ways.
    fn soup() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u",
            "00e9",
            "\\n",
            "\\ud83d",
            "\\ude00",
            "1",
            "0",
            "-",
            ".",
            "e",
            "E5",
            "+",
            "true",
            "false",
            "null",
            "nul",
            " ",
            "\t",
            "\r",
            "\n",
            "\"a\"",
            "\"id\":",
            "é",
            "\u{7f}",
            "\u{1}",
            "1.5",
            "-0",
            "01",
            "12345678901234567890",
            "\"abcdefghij\"",
            "[]",
            "{}",
            "\u{2028}",
            "/",
            "\\/",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn accepts_what_serde_json_accepts_and_reads_the_same(text in soup()) {
            let theirs = serde_json::from_str::<Value>(&text);
            // The grammar has numbers of any size; `serde_json` has those of an `f64`, and stops at others.
            let too_large = theirs.as_ref().is_err_and(|error| error.to_string().starts_with("number out of range"));
            prop_assume!(!too_large);
            prop_assert_eq!(accepts(&text), theirs.is_ok(), "{}", text);
            prop_assert_eq!(read(&text), theirs.ok());
        }

        #[test]
        fn reads_every_string_that_serde_json_writes(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read(&written), Some(Value::String(text)));
        }
    }
}
