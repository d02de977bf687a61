//! One line of NDJSON, put together in a buffer that is used again for the next.

use chrono::{Datelike, NaiveDate};
use uuid::Uuid;

use super::calendar::{DAY, HOUR};

/// The line under construction. Writes digits and hex by hand: formatting machinery would halve the speed.
/// All text that goes in is ASCII that needs no escapes in JSON.
pub(super) struct Draft {
    bytes: Vec<u8>,
    day: u64,
    date: [u8; 10],
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(4096), day: 0, date: *b"1970-01-01" }
    }

    /// The line, with its newline once it is finished.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts an event's line, up to and with the brace that opens `data`. `at` is in ms since 1970.
    pub(super) fn start(&mut self, id: Uuid, source: &str, kind: &str, subject: Uuid, at: u64) {
        self.bytes.clear();
        self.raw(r#"{"specversion":"1.0""#);
        self.guid("id", id);
        self.text("source", source);
        self.text("type", kind);
        self.guid("subject", subject);
        self.time("time", at);
        self.raw(r#","datacontenttype":"application/json","data":{"#);
    }

    /// Ends the event and its line.
    pub(super) fn finish(&mut self) {
        self.raw("}}\n");
    }

    /// Text as it is, for what the other methods don't cover.
    pub(super) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A member's name, with a comma before it unless it is its object's first.
    pub(super) fn name(&mut self, name: &str) {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.raw(name);
        self.raw("\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.bytes.push(b'"');
        self.raw(value);
        self.bytes.push(b'"');
    }

    pub(super) fn guid(&mut self, name: &str, value: Uuid) {
        self.name(name);
        self.bare_guid(value);
    }

    /// A GUID in quotes without a name, as in an array.
    pub(super) fn bare_guid(&mut self, value: Uuid) {
        let mut text = Uuid::encode_buffer();
        let text = value.hyphenated().encode_lower(&mut text);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.digits(value);
    }

    /// A number without a name or quotes.
    pub(super) fn digits(&mut self, value: u64) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = digit(rest);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }

    /// A time in ms since 1970 as RFC 3339, UTC, with milliseconds.
    pub(super) fn time(&mut self, name: &str, at: u64) {
        self.name(name);
        if at / DAY != self.day {
            self.day = at / DAY;
            self.date = date(self.day);
        }
        let (hour, minute, second, milli) = (at % DAY / HOUR, at / 60_000 % 60, at / 1000 % 60, at % 1000);
        let mut clock = *b"T00:00:00.000Z\"";
        for (place, value) in [(1, hour), (4, minute), (7, second), (11, milli % 100)] {
            clock[place] = digit(value / 10);
            clock[place + 1] = digit(value);
        }
        clock[10] = digit(milli / 100);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(&self.date);
        self.bytes.extend_from_slice(&clock);
    }
}

/// The last decimal digit of a number.
fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

/// A day since 1970 as `YYYY-MM-DD`.
fn date(day: u64) -> [u8; 10] {
    let date = i32::try_from(day).ok().and_then(NaiveDate::from_epoch_days).unwrap_or_default();
    let (year, month, day) = (u64::from(date.year().unsigned_abs()), u64::from(date.month()), u64::from(date.day()));
    let mut text = *b"0000-00-00";
    for (place, value) in [(0, year / 100), (2, year), (5, month), (8, day)] {
        text[place] = digit(value / 10);
        text[place + 1] = digit(value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_a_z() {
        let mut draft = Draft::new();
        draft.time("time", 1_772_600_767_123);
        draft.time("time", 951_868_799_009);
        let expected = r#","time":"2026-03-04T05:06:07.123Z","time":"2000-02-29T23:59:59.009Z""#;
        assert_eq!(draft.bytes(), expected.as_bytes());
    }

    #[test]
    fn digits_are_those_of_display() {
        for value in [0, 7, 10, 999, 1_000, u64::MAX] {
            let mut draft = Draft::new();
            draft.digits(value);
            assert_eq!(draft.bytes(), value.to_string().as_bytes());
        }
    }
}
