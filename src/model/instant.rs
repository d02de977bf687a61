//! An instant on the UTC time line, to the nanosecond, and the text form that events give it in.

use chrono::{DateTime, SecondsFormat, Utc};

pub(crate) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Reaches from 1677 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds since 1970, rounded down; for columns that need no more than that.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// This instant moved by a number of seconds, held at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
    }

    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }

    /// `YYYY-MM-DDTHH:MM:SSZ`: the form of every date-time that the API sends (`spec/api.md`, section 6, rule 3).
    #[must_use]
    pub fn to_rfc3339_seconds(self) -> String {
        self.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Reads RFC 3339 as `spec/events.md` has it (Envelope, `time`): `T` or `t`, an offset or `Z`/`z`, seconds 00 to 59,
    /// fractions cut to nine digits. An instant outside 1677..2262 is held at the end of that range, where no event can be.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        Self::parse_rfc3339_near(text, &mut LastDate::default())
    }

    /// The same, quicker for a text that has the date of the last one.
    #[inline]
    #[must_use]
    pub fn parse_rfc3339_near(text: &str, last: &mut LastDate) -> Option<Self> {
        let (date, rest) = text.as_bytes().split_first_chunk::<10>()?;
        let ([b'T' | b't', time_of_day @ ..], rest) = rest.split_first_chunk::<9>()? else { return None };
        if *date != last.text {
            *last = LastDate { text: *date, days: days(date)? };
        }
        let (nanos, offset) = fraction(rest)?;
        let seconds = i64::from(last.days) * 86_400 + seconds_of_day(*time_of_day)? - offset_seconds(offset)?;
        let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        Some(Self(i64::try_from(total).unwrap_or(if total < 0 { i64::MIN } else { i64::MAX })))
    }
}

impl Instant {
    /// Reads `YYYY-MM-DDTHH:MM:SS.mmmZ`, which most events have; `None` where [`Instant::parse_rfc3339`] must be asked.
    #[inline]
    #[must_use]
    pub fn parse_utc_millis(text: &[u8; 24], last: &mut LastDate) -> Option<Self> {
        let [date @ .., b'T', _, _, _, _, _, _, _, _, b'.', m1, m2, m3, b'Z'] = text else { return None };
        let (time_of_day, _) = text[11..].split_first_chunk()?;
        if *date != last.text {
            *last = LastDate { text: *date, days: days(date)? };
        }
        let millis = [*m1, *m2, *m3].map(|byte| byte.wrapping_sub(b'0'));
        if millis.iter().any(|digit| *digit > 9) {
            return None;
        }
        let [hundreds, tens, units] = millis.map(i64::from);
        let seconds = i64::from(last.days) * 86_400 + seconds_of_day(*time_of_day)?;
        let nanos = (hundreds * 100 + tens * 10 + units) * 1_000_000;
        Some(Self(seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)?))
    }
}

/// The date of the text that was read last: neighbouring events mostly share it.
#[derive(Clone, Debug)]
pub struct LastDate {
    text: [u8; 10],
    days: i32,
}

impl Default for LastDate {
    fn default() -> Self {
        Self { text: *b"1970-01-01", days: 0 }
    }
}

impl From<DateTime<Utc>> for Instant {
    fn from(time: DateTime<Utc>) -> Self {
        let held = if time.timestamp() < 0 { i64::MIN } else { i64::MAX };
        Self(time.timestamp_nanos_opt().unwrap_or(held))
    }
}

#[inline]
fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

fn two_digits(bytes: &[u8], at: usize) -> Option<u32> {
    Some(digit(*bytes.get(at)?)? * 10 + digit(*bytes.get(at + 1)?)?)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
fn days(date: &[u8; 10]) -> Option<i32> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = i64::from(two_digits(date, 0)?) * 100 + i64::from(two_digits(date, 2)?);
    days_from_civil(year, two_digits(date, 5)?, two_digits(date, 8)?)
}

/// The seconds of `HH:MM:SS`, all eight bytes at once.
#[inline]
fn seconds_of_day(text: [u8; 8]) -> Option<i64> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // What makes a byte of 0x80 or more out of one that is above 9, or above 0 where the colons were.
    const EXCESS: u64 = u64::from_le_bytes([0x76, 0x76, 0x7F, 0x76, 0x76, 0x7F, 0x76, 0x76]);
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(*b"00:00:00");
    if (digits | digits.wrapping_add(EXCESS)) & HIGH != 0 {
        return None;
    }
    // In the place of each tens digit, the number of two digits that begins there.
    let [hour, _, _, minute, _, _, second, _] = (digits * 10 + (digits >> 8)).to_le_bytes();
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    (hour < 24 && minute < 60 && second < 60).then_some(seconds)
}

/// The nanoseconds of the fraction that a text may begin with, and what follows it.
#[inline]
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let (mut nanos, mut unit) = (0, 100_000_000);
    let mut count = 0;
    while let Some(digit) = rest.get(count).and_then(|byte| digit(*byte)) {
        nanos += digit * unit;
        unit /= 10;
        count += 1;
    }
    (count > 0).then(|| (nanos, &rest[count..]))
}

#[inline]
fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    let sign = match bytes {
        b"Z" | b"z" => return Some(0),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let (hours, minutes) = (two_digits(bytes, 1)?, two_digits(bytes, 4)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, if there is such a date.
fn days_from_civil(year: i64, month: u32, day: u32) -> Option<i32> {
    const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    const LENGTH: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = LENGTH.get(index)? + u32::from(leap && month == 2);
    if day == 0 || day > length {
        return None;
    }
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let since_year_one =
        before * 365 + leap_days + DAYS_BEFORE[index] + i64::from(leap && month > 2) + i64::from(day) - 1;
    i32::try_from(since_year_one - 719_162).ok()
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn nanos(text: &str) -> Option<i64> {
        Instant::parse_rfc3339(text).map(Instant::nanos)
    }

    #[test]
    fn reads_what_rfc_3339_allows() {
        assert_eq!(nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(nanos("1970-01-01t00:00:00z"), Some(0));
        assert_eq!(nanos("1970-01-01T13:05:00.5+13:05"), Some(500_000_000));
        assert_eq!(nanos("1969-12-31T19:00:00.000000001-05:00"), Some(1));
        assert_eq!(nanos("1970-01-01T00:00:00.0000000019Z"), Some(1), "cut, not rounded");
        assert_eq!(nanos("2024-02-29T00:00:00Z"), Some(1_709_164_800 * NANOS_PER_SECOND));
        assert_eq!(nanos("9999-12-31T23:59:59Z"), Some(i64::MAX), "held at the end of the range");
        assert_eq!(nanos("0000-01-01T00:00:00Z"), Some(i64::MIN));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "yesterday",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00+0000",
            "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00,5Z",
            "२०२६-01-01T00:00:00Z",
        ] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn agrees_with_chrono_on_every_day_of_five_centuries() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let mut date = NaiveDate::from_ymd_opt(1770, 1, 1).unwrap();
        while date < NaiveDate::from_ymd_opt(2270, 1, 1).unwrap() {
            use chrono::Datelike as _;
            let days = days_from_civil(i64::from(date.year()), date.month(), date.day());
            assert_eq!(days, i32::try_from((date - epoch).num_days()).ok(), "{date}");
            date = date.succ_opt().unwrap();
        }
    }
}
