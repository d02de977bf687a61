//! Calendar days, months, and the reporting time zone that cuts time into them (`spec/events.md`, Day).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{Datelike as _, NaiveDate, TimeZone as _};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Instant;

const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;
/// All spans but the last one of a month have so many days.
const SPAN_DAYS: i32 = 8;
const LAST_SPAN: i32 = 3;

/// A calendar day, as days since 1970-01-01. Which time zone it belongs to depends on where it stands: partitions of the
/// event log are UTC days, periods are days of the reporting zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// All days that events may be of. What lies outside comes from a damaged database.
    pub const OF_EVENTS: RangeInclusive<Self> = Self(-200_000)..=Self(200_000);

    #[must_use]
    pub fn utc_of(instant: Instant) -> Self {
        let days = instant.nanos().div_euclid(NANOS_PER_DAY);
        Self(i32::try_from(days).expect("64 bits of nanoseconds hold fewer than 2^31 days"))
    }

    /// The first instant of this day in UTC.
    #[must_use]
    pub fn utc_start(self) -> Instant {
        Instant::from_nanos(i64::from(self.0).saturating_mul(NANOS_PER_DAY))
    }

    #[must_use]
    pub fn from_date(date: NaiveDate) -> Self {
        Self(date.to_epoch_days())
    }

    #[must_use]
    pub fn date(self) -> NaiveDate {
        NaiveDate::from_epoch_days(self.0).expect("a day of the program's range is a date of chrono's")
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// The first day of the month that this day is in.
    #[must_use]
    pub fn month(self) -> Self {
        let date = self.date();
        Self(self.0 - i32::try_from(date.day0()).expect("at most 30"))
    }

    /// The first day of the month after the one that this day is in.
    #[must_use]
    pub fn next_month(self) -> Self {
        Self(self.month().0 + 31).month()
    }

    /// The first day of the span that this day is in. A month has four of them, which begin on the 1st, 9th, 17th and 25th.
    #[must_use]
    pub fn span(self) -> Self {
        Self(self.month().0 + self.span_of_month() * SPAN_DAYS)
    }

    /// The first day of the span after the one that this day is in.
    #[must_use]
    pub fn next_span(self) -> Self {
        if self.span_of_month() == LAST_SPAN { self.next_month() } else { Self(self.span().0 + SPAN_DAYS) }
    }

    /// Which of its month's spans this day is in. The last one has what is left of the month.
    fn span_of_month(self) -> i32 {
        ((self.0 - self.month().0) / SPAN_DAYS).min(LAST_SPAN)
    }

    /// The days from this one through `last`, in order; none where `last` lies before.
    pub fn through(self, last: Self) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (self.0..=last.0).map(Self)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a damaged database holds may be no day of the calendar.
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `0001-01-01` alone, and none of the other spellings that chrono takes.
        let read = || {
            let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
            let number =
                |digits: &[u8]| digits.iter().try_fold(0, |sum, byte| Some(sum * 10 + char::from(*byte).to_digit(10)?));
            let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
            NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)
        };
        read().map(Self::from_date).ok_or_else(|| format!("'{text}' is not a date; expected YYYY-MM-DD"))
    }
}

/// The length of a row's period (`spec/usage.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeriodType {
    Daily,
    Monthly,
}

impl PeriodType {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "Daily",
            Self::Monthly => "Monthly",
        }
    }

    /// The period of this type that holds `day`, named by its first day.
    #[must_use]
    pub fn period_of(self, day: Day) -> Day {
        match self {
            Self::Daily => day,
            Self::Monthly => day.month(),
        }
    }

    /// The first day after the period that holds `day`.
    #[must_use]
    pub fn after(self, day: Day) -> Day {
        match self {
            Self::Daily => day.next(),
            Self::Monthly => day.next_month(),
        }
    }
}

impl FromStr for PeriodType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Daily, Self::Monthly]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("'{text}' is not a period type; expected daily or monthly"))
    }
}

/// The reporting time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    pub const UTC: Self = Self(Tz::UTC);

    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The calendar day of an instant.
    #[must_use]
    pub fn day_of(self, instant: Instant) -> Day {
        Day::from_date(self.0.from_utc_datetime(&instant.to_utc().naive_utc()).date_naive())
    }

    /// The first instant whose calendar day is `day` or later. Found by halving: local dates never run backwards, and this
    /// holds for days of 23 or 25 hours, for a midnight that does not exist, and for a day that a zone skipped.
    #[must_use]
    pub fn start_of(self, day: Day) -> Instant {
        let middle = day.utc_start().nanos();
        let (mut before, mut at_or_after) =
            (middle.saturating_sub(2 * NANOS_PER_DAY), middle.saturating_add(2 * NANOS_PER_DAY));
        while at_or_after - before > 1 {
            let probe = before + (at_or_after - before) / 2;
            if self.day_of(Instant::from_nanos(probe)) >= day {
                at_or_after = probe;
            } else {
                before = probe;
            }
        }
        Instant::from_nanos(at_or_after)
    }

    /// The local days that one UTC day reaches into, each with its first instant, in order.
    #[must_use]
    pub fn days_within(self, partition: Day) -> Vec<(Instant, Day)> {
        let (start, end) = (partition.utc_start(), partition.next().utc_start());
        let first = self.day_of(start);
        let last = self.day_of(Instant::from_nanos(end.nanos() - 1));
        let later = first.next().through(last).map(|day| (self.start_of(day), day));
        std::iter::once((start, first)).chain(later).collect()
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("'{text}' is not a time zone; expected an IANA name such as UTC or America/New_York"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn start(zone: &str, text: &str) -> String {
        zone.parse::<Zone>().unwrap().start_of(day(text)).to_rfc3339_seconds()
    }

    #[test]
    fn a_date_has_four_two_and_two_digits_and_exists() {
        for (text, days) in
            [("1970-01-01", 0), ("2024-02-29", 19_782), ("0001-01-01", -719_162), ("9999-12-31", 2_932_896)]
        {
            assert_eq!(text.parse(), Ok(Day(days)), "{text}");
            assert_eq!(Day(days).to_string(), text);
        }
        let bad = [
            "",
            "2026-1-1",
            "+12345-1-1",
            "2026- 1- 1",
            "2026-01-1 ",
            " 2026-1-01",
            "-026-01-01",
            "+026-01-01",
            "2026/01/01",
            "20260101",
            "2026-01-01Z",
            "2026-00-01",
            "2026-13-01",
            "2026-01-00",
            "2026-02-29",
            "2026-04-31",
            "２026-1-1",
        ];
        for text in bad {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }

    #[test]
    fn months_begin_on_their_first_day() {
        assert_eq!(day("2024-02-29").month(), day("2024-02-01"));
        assert_eq!(day("2024-02-29").next_month(), day("2024-03-01"));
        assert_eq!(day("2025-12-01").next_month(), day("2026-01-01"));
    }

    #[test]
    fn spans_divide_months() {
        for (month, days) in [("2026-02-01", 28), ("2024-02-01", 29), ("2026-04-01", 30), ("2026-03-01", 31)] {
            let month = day(month);
            let spans = std::iter::successors(Some(month), |span| Some(span.next_span())).take(5);
            let spans: Vec<i32> = spans.map(|span| span.0 - month.0).collect();
            assert_eq!(spans, [0, 8, 16, 24, days], "{month}");
            for day in month.through(month.next_month().previous()) {
                let (span, next) = (day.span(), day.next_span());
                assert!(span <= day && day < next && span.span() == span, "{day}: {span}, {next}");
            }
        }
    }

    #[test]
    fn days_have_23_24_or_25_hours() {
        assert_eq!(start("UTC", "2026-03-08"), "2026-03-08T00:00:00Z");
        assert_eq!(start("America/New_York", "2026-03-08"), "2026-03-08T05:00:00Z");
        assert_eq!(start("America/New_York", "2026-03-09"), "2026-03-09T04:00:00Z");
        assert_eq!(start("America/New_York", "2026-11-01"), "2026-11-01T04:00:00Z");
        assert_eq!(start("America/New_York", "2026-11-02"), "2026-11-02T05:00:00Z");
    }

    #[test]
    fn a_midnight_that_does_not_exist_begins_the_day_later_and_a_skipped_day_is_empty() {
        assert_eq!(start("America/Sao_Paulo", "2018-11-04"), "2018-11-04T03:00:00Z");
        assert_eq!(start("Pacific/Apia", "2011-12-30"), start("Pacific/Apia", "2011-12-31"));
    }

    #[test]
    fn a_utc_day_reaches_into_at_most_two_ordinary_local_days() {
        let zone: Zone = "Asia/Kolkata".parse().unwrap();
        let days = zone.days_within(day("2026-03-01"));
        assert_eq!(days.len(), 2);
        assert_eq!(days[1].0.to_rfc3339_seconds(), "2026-03-01T18:30:00Z");
        assert_eq!(Zone::UTC.days_within(day("2026-03-01")), [(day("2026-03-01").utc_start(), day("2026-03-01"))]);
    }
}
