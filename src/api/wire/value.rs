//! The forms of single values, in and out (`spec/api.md`, section 6, rules 3 and 4; `spec/servicestack-wire.md`, JSON values).

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use uuid::Uuid;

use crate::model::{Day, Instant, Service, Zone};

/// The years that the original's DateTime can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// A date-time as a parameter gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum DateTime {
    /// A date without a time, in whatever zone the parameter is about.
    Date(Day),
    At(chrono::DateTime<Utc>),
}

impl DateTime {
    /// A date is the midnight that it begins with.
    pub fn in_utc(self) -> chrono::DateTime<Utc> {
        match self {
            Self::Date(day) => midnight(day),
            Self::At(time) => time,
        }
    }

    pub fn day_in(self, zone: Zone) -> Day {
        match self {
            Self::Date(day) => day,
            // Where `Instant` does not reach, centuries from any event, the UTC date is near enough to say that no row is there.
            Self::At(time) if time.timestamp_nanos_opt().is_none() => Day::from_date(time.date_naive()),
            Self::At(time) => zone.day_of(time.into()),
        }
    }
}

/// 32 hex digits, or with dashes, either in braces or parentheses, in any case.
pub(in crate::api) fn parse_guid(text: &str) -> Option<Uuid> {
    let text = text.trim();
    let enclosed = |open, close| text.strip_prefix(open).and_then(|text: &str| text.strip_suffix(close));
    let digits = enclosed('{', '}').or_else(|| enclosed('(', ')')).unwrap_or(text);
    // The lengths of the two forms that are ours among those that `uuid` reads.
    crate::model::parse_guid(digits)
}

/// A name in any case, or its number.
pub(in crate::api) fn parse_enum<T: Copy>(text: &str, values: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
    let text = text.trim();
    let named = values.iter().find(|value| name(**value).eq_ignore_ascii_case(text));
    named.or_else(|| values.get(text.parse::<usize>().ok()?)).copied()
}

/// `YYYY-MM-DDTHH:MM:SS` with or without a fraction, and with `Z`, an offset or nothing, which is UTC; `YYYY-MM-DD`;
/// `YYYYMMDD`; `/Date(ms)/` and `/Date(ms+hhmm)/`.
pub(in crate::api) fn parse_date_time(text: &str) -> Option<DateTime> {
    let text = text.trim();
    if let Some(ticks) = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/")) {
        return in_range(chrono::DateTime::from_timestamp_millis(milliseconds(ticks)?)?);
    }
    match *text.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => date(&text.replace('-', "")).map(DateTime::Date),
        [_, _, _, _, _, _, _, _] => date(text).map(DateTime::Date),
        _ => in_range(instant(text)?),
    }
}

fn in_range(time: chrono::DateTime<Utc>) -> Option<DateTime> {
    YEARS.contains(&time.year()).then_some(DateTime::At(time))
}

/// `YYYYMMDD`.
fn date(digits: &str) -> Option<Day> {
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits[range].parse::<u32>().ok();
    let year = i32::try_from(part(0..4)?).ok().filter(|year| YEARS.contains(year))?;
    NaiveDate::from_ymd_opt(year, part(4..6)?, part(6..8)?).map(Day::from_date)
}

fn instant(text: &str) -> Option<chrono::DateTime<Utc>> {
    let (date_text, time_text) = text.split_once(['T', 't'])?;
    let DateTime::Date(day) = parse_date_time(date_text).filter(|_| date_text.len() == 10)? else { return None };
    // A `+` that was not escaped in the query has become a space by now.
    let zone_at = time_text.find(['Z', 'z', '+', '-', ' ']).unwrap_or(time_text.len());
    let (clock_text, zone_text) = time_text.split_at_checked(zone_at)?;
    let time = NaiveDateTime::new(day.date(), time_of_day(clock_text)?).and_utc();
    time.checked_sub_signed(chrono::TimeDelta::minutes(offset_minutes(zone_text)?))
}

/// `HH:MM:SS`, with or without a fraction.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_clock = matches!(*whole.as_bytes(), [_, _, b':', _, _, b':', _, _]);
    let is_fraction =
        fraction.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_clock || !is_fraction {
        return None;
    }
    let part = |range: std::ops::Range<usize>| two_digits(whole.get(range)?);
    // Nothing is asked for in parts of a second: a fraction may be there, and does not matter.
    NaiveTime::from_hms_opt(part(0..2)?, part(3..5)?, part(6..8)?)
}

/// Minutes east of Greenwich: `Z`, `+hh:mm`, or nothing.
fn offset_minutes(text: &str) -> Option<i64> {
    let (sign, hours, minutes) = match *text.as_bytes() {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+' | b' ', _, _, b':', _, _] => (1, text.get(1..3)?, text.get(4..6)?),
        [b'-', _, _, b':', _, _] => (-1, text.get(1..3)?, text.get(4..6)?),
        _ => return None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
}

fn two_digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The milliseconds in `/Date(…)/`. They are since 1970 in UTC: an offset behind them only says where the sender was.
fn milliseconds(text: &str) -> Option<i64> {
    let sign = text.strip_prefix('-').map_or(1, |_| -1);
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let end = unsigned.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, offset) = unsigned.split_at(end);
    let has_offset = matches!(*offset.as_bytes(), [b'+' | b'-' | b' ', _, _, _, _])
        && offset.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    if !offset.is_empty() && !has_offset {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(sign)
}

/// `YYYY-MM-DDTHH:MM:SSZ`.
pub(in crate::api) fn date_time(instant: Instant) -> String {
    instant.to_rfc3339_seconds()
}

/// The date-time that a day begins with.
pub(in crate::api) fn midnight(day: Day) -> chrono::DateTime<Utc> {
    day.date().and_time(NaiveTime::MIN).and_utc()
}

/// A date of the directory, which is text as it was sent: RFC 3339 or `YYYY-MM-DD`. None where it is neither.
pub(in crate::api) fn directory_date(text: &str) -> Option<chrono::DateTime<Utc>> {
    parse_date_time(text).map(DateTime::in_utc)
}

/// When a service was created; what the original's `DateTime` is where it was never set, if nothing tells.
pub(in crate::api) fn created_on(service: &Service) -> chrono::DateTime<Utc> {
    let told = service.created_on.as_deref().and_then(directory_date);
    told.unwrap_or_else(|| NaiveDate::default().with_year(1).unwrap_or_default().and_time(NaiveTime::MIN).and_utc())
}

/// The form of HTTP's own headers (RFC 9110, section 5.6.7).
pub(in crate::api) fn http_date(instant: Instant) -> String {
    instant.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUID: &str = "3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10";

    fn day_in(zone: &str, text: &str) -> Option<String> {
        parse_date_time(text).map(|time| time.day_in(zone.parse().unwrap()).to_string())
    }

    #[test]
    fn guids_are_read_in_all_their_forms() {
        let simple = GUID.replace('-', "");
        for text in [
            GUID.to_owned(),
            simple.clone(),
            GUID.to_uppercase(),
            format!("{{{GUID}}}"),
            format!("({GUID})"),
            format!("{{{simple}}}"),
            format!("({simple})"),
            format!("  {GUID}\t"),
        ] {
            assert_eq!(parse_guid(&text).map(|guid| guid.simple().to_string()), Some(simple.clone()), "{text}");
        }
        for text in [
            String::new(),
            "1".to_owned(),
            format!("{GUID}0"),
            format!("{{{GUID})"),
            format!("{{{GUID}"),
            format!("urn:uuid:{GUID}"),
            GUID.replace('3', "g"),
            GUID.replace("3f2b8c1e-7d54", "3f2b-8c1e7d54"),
            "é".repeat(16),
            format!("(({GUID}))"),
        ] {
            assert_eq!(parse_guid(&text), None, "{text}");
        }
    }

    #[test]
    fn enums_are_read_by_name_or_number() {
        let parse = |text| parse_enum(text, &["Daily", "Monthly"], |name| name);
        assert_eq!((parse("daily"), parse("1"), parse(" MONTHLY ")), (Some("Daily"), Some("Monthly"), Some("Monthly")));
        assert_eq!((parse("2"), parse("-1"), parse("Weekly"), parse(" ")), (None, None, None, None));
    }

    #[test]
    fn date_times_are_read_in_all_their_forms() {
        for (text, utc, new_york) in [
            ("2026-03-04T03:00:00Z", "2026-03-04", "2026-03-03"),
            ("2026-03-04t03:00:00z", "2026-03-04", "2026-03-03"),
            ("2026-03-04T03:00:00", "2026-03-04", "2026-03-03"),
            ("2026-03-04T03:00:00.1234567Z", "2026-03-04", "2026-03-03"),
            ("2026-03-04T03:00:00.5", "2026-03-04", "2026-03-03"),
            ("2026-03-04T03:00:00+04:00", "2026-03-03", "2026-03-03"),
            ("2026-03-04T03:00:00 04:00", "2026-03-03", "2026-03-03"),
            ("2026-03-03T23:30:00.000-05:30", "2026-03-04", "2026-03-04"),
            ("2026-03-04", "2026-03-04", "2026-03-04"),
            ("20260304", "2026-03-04", "2026-03-04"),
            (" 2026-03-04 ", "2026-03-04", "2026-03-04"),
            ("/Date(1772593200000)/", "2026-03-04", "2026-03-03"),
            ("/Date(1772593200000+0900)/", "2026-03-04", "2026-03-03"),
            ("/Date(1772593200000-0500)/", "2026-03-04", "2026-03-03"),
            ("/Date(0)/", "1970-01-01", "1969-12-31"),
            ("/Date(-86400000)/", "1969-12-31", "1969-12-30"),
            ("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01"),
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31", "9999-12-31"),
        ] {
            assert_eq!(day_in("UTC", text).as_deref(), Some(utc), "{text}");
            assert_eq!(day_in("America/New_York", text).as_deref(), Some(new_york), "{text}");
        }
    }

    #[test]
    fn everything_else_is_no_date_time() {
        for text in [
            "",
            " ",
            "yesterday",
            "04/03/2026",
            "2026-3-4",
            "2026-02-29",
            "20260230",
            "0000-01-01",
            "+026-01-01",
            "-026-01-01",
            "2026-03-04T",
            "2026-03-04T3:00:00Z",
            "2026-03-04T24:00:00Z",
            "2026-03-04T03:00:60Z",
            "2026-03-04T03:00:00.Z",
            "2026-03-04T03:00:00.5.5Z",
            "2026-03-04T03:00:00+0400",
            "2026-03-04T03:00:00+24:00",
            "2026-03-04T03:00:00ZZ",
            "20260304T030000Z",
            "2026-03-04T+3:00:00Z",
            "/Date()/",
            "/Date(-)/",
            "/Date(1e3)/",
            "/Date(1+09)/",
            "/Date(1+09:00)/",
            "/Date(9223372036854775807)/",
            "/Date(-9223372036854775808)/",
            "/Date(99999999999999999999)/",
            "/Date(253402300800000)/",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "२०२६-03-04",
            "ééééT03:00:00Z",
            "2026-03-04T03é00:00Z",
            "ab-c-d-e",
            "éééé",
            "2026-03-04T03:00:00é",
            "/Date(1+é12)/",
            "2026-03-04Té:00:00Z",
        ] {
            assert_eq!(day_in("UTC", text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_the_directory_are_given_in_utc() {
        let told = |text| directory_date(text).map(|time| time.to_rfc3339());
        assert_eq!(told("2026-01-30").as_deref(), Some("2026-01-30T00:00:00+00:00"));
        assert_eq!(told("2026-01-30T23:30:00.75-05:00").as_deref(), Some("2026-01-31T04:30:00+00:00"));
        assert_eq!(told("0001-01-01T00:00:00Z").as_deref(), Some("0001-01-01T00:00:00+00:00"));
        assert_eq!(told("soon"), None);
    }

    #[test]
    fn a_service_that_tells_no_creation_has_the_first_date_there_is() {
        assert_eq!(created_on(&Service::default()).to_rfc3339(), "0001-01-01T00:00:00+00:00");
    }

    #[test]
    fn http_has_its_own_form_of_dates() {
        let instant = Instant::parse_rfc3339("1994-11-06T08:49:37Z").unwrap();
        assert_eq!(http_date(instant), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    /// Pieces that are likely to meet each other in odd ways.
    fn soup() -> impl Strategy<Value = String> {
        let pieces = [
            "2026",
            "-03",
            "-04",
            "T",
            "03",
            ":00",
            "Z",
            "+",
            " ",
            ".5",
            "-",
            "é",
            "/Date(",
            ")/",
            "9223372036854775807",
            "0",
            "{",
            "}",
            "(",
            ")",
            "20260304",
            "2026-03-04",
            "0001-01-01",
            "9999-12-31",
            "T23:59:59",
            "+23:59",
            "-23:59",
            "\u{0}",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_is_too_hostile(text in prop_oneof![any::<String>(), soup()]) {
            let _ = (parse_guid(&text), directory_date(&text));
            if let Some(time) = parse_date_time(&text) {
                let day = time.day_in("Pacific/Kiritimati".parse().unwrap());
                prop_assert!(YEARS.contains(&day.date().year()), "{day}");
            }
        }
    }
}
