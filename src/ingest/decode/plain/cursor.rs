//! A position in plain JSON: each method reads one thing there, with nothing before or behind it.

use uuid::Uuid;

use super::super::json::{Json, LEAD_BYTES, Name};
use crate::model::{Instant, LastDate, parse_hyphenated_guid};

pub(super) struct Cursor<'a> {
    text: &'a str,
    /// What is still to be read.
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, start: usize) -> Option<Self> {
        Some(Self { text, rest: text.as_bytes().get(start..)? })
    }

    pub fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    #[inline]
    pub fn byte(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == expected).then_some(())
    }

    /// Whether a comma follows; false where the bracket does.
    #[inline]
    pub fn comma(&mut self, bracket: u8) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if *first == b',' {
            return Some(true);
        }
        (*first == bracket).then_some(false)
    }

    /// Passes these very bytes, or stays.
    #[inline]
    pub fn literal<const LENGTH: usize>(&mut self, expected: &[u8; LENGTH]) -> Option<()> {
        let (first, rest) = self.rest.split_first_chunk()?;
        if first != expected {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Passes this name and the colon, or stays.
    #[inline]
    pub fn lead(&mut self, name: &Name) -> bool {
        let leads = self.rest.first_chunk().is_some_and(|ahead| name.leads(ahead));
        if leads {
            self.rest = &self.rest[name.lead_length()..];
        }
        leads
    }

    /// Which of these names stands here; only where another one was expected.
    #[inline(never)]
    pub fn find(&self, names: &[Name]) -> Option<usize> {
        let ahead = self.rest.first_chunk()?;
        names.iter().position(|name| name.leads(ahead))
    }

    /// Passes a member whose name is none of the known ones, in an object nested so deep.
    #[cold]
    #[inline(never)]
    pub fn skip_unknown(&mut self, depth: u32, is_known: impl Fn(&str) -> bool) -> Option<()> {
        let start = self.at();
        let mut json = Json::new(self.text.get(start..)?, self.rest).nested(depth);
        if is_known(&json.name().ok()?) {
            return None;
        }
        json.skip().ok()?;
        let (passed, rest) = self.rest.split_at_checked(json.at())?;
        self.rest = rest;
        // To JSON a line feed is white space; here a line ends with it.
        (!passed.contains(&b'\n')).then_some(())
    }

    /// Reads a string without escapes.
    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        self.byte(b'"')?;
        let start = self.at();
        let mut length = 0;
        loop {
            let found = special(self.rest.get(length..)?.first_chunk()?);
            if found != 0 {
                length += found.trailing_zeros() as usize / 8;
                break;
            }
            length += 16;
        }
        let (quote, rest) = self.rest.get(length..)?.split_first()?;
        if *quote != b'"' {
            return None;
        }
        self.rest = rest;
        self.text.get(start..start + length)
    }

    /// The next bytes, which a string's own may be among.
    #[inline]
    pub fn ahead(&self) -> Option<&'a [u8; LEAD_BYTES]> {
        self.rest.first_chunk()
    }

    #[inline]
    pub fn pass(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }

    /// Reads a string of a GUID's 36 digits and hyphens.
    #[inline]
    pub fn guid(&mut self) -> Option<Uuid> {
        let ([b'"', spelt @ .., b'"'], rest) = self.rest.split_first_chunk::<38>()? else { return None };
        self.rest = rest;
        parse_hyphenated_guid(spelt)
    }

    /// Reads a string of `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    #[inline]
    pub fn time(&mut self, last: &mut LastDate) -> Option<Instant> {
        let ([b'"', spelt @ .., b'"'], rest) = self.rest.split_first_chunk::<26>()? else { return None };
        self.rest = rest;
        Instant::parse_utc_millis(spelt, last)
    }

    /// Reads an integer of at most seven digits, and no sign.
    #[inline]
    pub fn integer(&mut self) -> Option<u64> {
        const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let word = u64::from_le_bytes(*self.rest.first_chunk()?) ^ ZEROS;
        // The high bit of each byte that is no digit.
        let others = ((word & !HIGH).wrapping_add(HIGH - 10 * (HIGH >> 7)) | word) & HIGH;
        let digits = others.trailing_zeros() / 8;
        if !(1..=7).contains(&digits) || (digits > 1 && word.to_le_bytes()[0] == 0) {
            return None;
        }
        self.rest = &self.rest[digits as usize..];
        let word = word << (64 - 8 * digits);
        let pairs = (word.wrapping_mul(10) + (word >> 8)) & 0x00FF_00FF_00FF_00FF;
        let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
        Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xFFFF_FFFF)
    }
}

/// Not zero in the bytes of the result where a quote, a backslash or a control character stands.
#[inline]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "lazy operators keep the loop from being turned into wide instructions"
)]
fn special(bytes: &[u8; 16]) -> u128 {
    // A loop, as `map` of arrays is not turned into wide instructions.
    let mut found = *bytes;
    for byte in &mut found {
        *byte = if (*byte == b'"') | (*byte == b'\\') | (*byte < 0x20) { 0xFF } else { 0 };
    }
    u128::from_le_bytes(found)
}
