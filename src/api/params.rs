//! The parameters of a request, from its path and its query (`spec/api.md`, section 6, rules 10 and 11).

use std::collections::HashMap;
use std::ops::RangeInclusive;

use chrono::Utc;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::about::Param;
use super::error::{ApiError, BadParameter};
use super::wire::page::Page;
use super::wire::value::{self, DateTime};
use crate::model::{Day, PeriodType, Zone};

const DEFAULT_PAGE_SIZE: i64 = 25;
const MAX_PAGE_SIZE: i64 = 1000;

/// Reads parameters, each at most once, and remembers all that are malformed, or make no sense, until [`Params::finish`].
#[derive(Debug)]
pub(super) struct Params {
    operation: &'static str,
    declared: &'static [Param],
    /// By lower-case name. None is empty.
    values: HashMap<String, String>,
    bad: Vec<BadParameter>,
    /// Why what was read is refused, by its name.
    refused: Vec<(&'static str, String)>,
}

/// # Errors
/// When a parameter is not there that the path has, but not the routes by name.
pub(super) fn required<T>(value: Option<T>, name: &'static str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::argument(name, format!("{name} is required")))
}

impl Params {
    /// The path wins over the query: it is what an access rule in front of us would have looked at.
    pub fn new(
        operation: &'static str,
        declared: &'static [Param],
        path: Vec<(&'static str, String)>,
        query: Option<&str>,
    ) -> Self {
        let mut values: HashMap<String, String> = HashMap::new();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name).to_ascii_lowercase(), decode(value));
            if value.is_empty() {
                continue;
            }
            let joined = values.entry(name).or_default();
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&value);
        }
        values.extend(path.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
        Self { operation, declared, values, bad: Vec::new(), refused: Vec::new() }
    }

    pub fn guid(&mut self, name: &'static str) -> Option<Uuid> {
        self.read(name, value::parse_guid)
    }

    pub fn period_type(&mut self, name: &'static str) -> Option<PeriodType> {
        self.choice(name, &[PeriodType::Daily, PeriodType::Monthly], PeriodType::name)
    }

    /// The day of a date, or the day that an instant falls on in the reporting zone (rule 3).
    pub fn day(&mut self, name: &'static str, zone: Zone) -> Option<Day> {
        let date_time: DateTime = self.read(name, value::parse_date_time)?;
        Some(date_time.day_in(zone))
    }

    /// An instant; of a date, the midnight in UTC that it begins with.
    pub fn date_time(&mut self, name: &'static str) -> Option<chrono::DateTime<Utc>> {
        self.read(name, value::parse_date_time).map(DateTime::in_utc)
    }

    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.read(name, |text| Some(text.to_owned()))
    }

    /// `callback` or `format`, which every operation takes.
    pub fn common(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// GUIDs with commas between them, as a parameter becomes that is there several times.
    pub fn guids(&mut self, name: &'static str) -> Option<Vec<Uuid>> {
        self.read(name, |text| text.split(',').map(value::parse_guid).collect())
    }

    /// One of these words, in any case.
    pub fn word(&mut self, name: &'static str, words: &'static [&'static str]) -> Option<&'static str> {
        self.read(name, |text| words.iter().find(|word| word.eq_ignore_ascii_case(text.trim())).copied())
    }

    /// One of these values, by name in any case or by number.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        values: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        self.read(name, |text| value::parse_enum(text, values, name_of))
    }

    /// Refuses `asOf` where numbers are read from the event log, which tells how things are: it would not be looked at.
    pub fn refuse_as_of(&mut self) {
        if self.values.contains_key("asof") {
            self.refused.push(("AsOf", "per-user numbers can't be told as of an instant; leave AsOf out".to_owned()));
        }
    }

    /// The key of a row: its service and the first day of its period, with a colon between them.
    pub fn cursor(&mut self, name: &'static str) -> Option<(Uuid, Day)> {
        self.read(name, |text| {
            let (service, period) = text.split_once(':')?;
            Some((value::parse_guid(service)?, period.trim().parse().ok()?))
        })
    }

    /// `Page` and `PageSize`.
    pub fn page(&mut self) -> Page {
        let mut integer = |name, default, range: RangeInclusive<i64>, expected| {
            let number = self.read(name, |text| text.trim().parse::<i32>().ok()).map_or(default, i64::from);
            if range.contains(&number) {
                return number;
            }
            self.refused.push((name, format!("{name} is {number}; it must be {expected}")));
            default
        };
        let number = integer("Page", 1, 1..=i32::MAX.into(), "1 or more");
        let size = integer("PageSize", DEFAULT_PAGE_SIZE, 1..=MAX_PAGE_SIZE, "from 1 to 1000");
        Page { number, size, total: 0 }
    }

    /// # Errors
    /// When parameters that were read are malformed, or else make no sense: one error for all of them.
    pub fn finish(self) -> Result<(), ApiError> {
        let Self { operation, bad, refused, .. } = self;
        match (bad.is_empty(), refused.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(ApiError::Arguments(refused)),
            (false, _) => Err(ApiError::Malformed { operation, bad }),
        }
    }

    /// Takes a parameter, in the spelling of its route.
    fn read<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        debug_assert!(
            self.declared.iter().any(|param| param.name == name),
            "{} reads {name}, which it does not tell of",
            self.operation
        );
        let text = self.values.remove(&name.to_ascii_lowercase())?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.bad.push(BadParameter { name, value: text });
        }
        parsed
    }
}

/// Decodes a name or value of a query. What is not UTF-8 is no value of ours, and becomes text that no reader takes.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::about;

    const DECLARED: &[Param] =
        &[Param::path("ServiceGuid", ""), about::PERIOD_TYPE, about::PERIOD, about::PAGE, about::PAGE_SIZE];

    fn params(query: &str) -> Params {
        Params::new("GetServiceUsage", DECLARED, vec![("ServiceGuid", format!("{:032x}", 7))], Some(query))
    }

    #[test]
    fn names_match_in_any_case_and_empty_values_are_none() {
        for query in
            ["PeriodType=monthly", "periodtype=Monthly", "PERIOD%54YPE=1", "periodType=&&=&x=1&periodType=MONTHLY&"]
        {
            assert_eq!(params(query).period_type("PeriodType"), Some(PeriodType::Monthly), "{query}");
        }
        for query in ["", "periodType", "periodType=", "type=Monthly", "&=&==&%=%"] {
            let mut params = params(query);
            assert_eq!(params.period_type("PeriodType"), None, "{query}");
            params.finish().unwrap();
        }
    }

    #[test]
    fn the_path_beats_the_query() {
        let mut params = params(&format!("serviceGuid={:032x}", 8));
        assert_eq!(params.guid("ServiceGuid"), Some(Uuid::from_u128(7)));
    }

    #[test]
    fn all_malformed_parameters_are_told_at_once_as_they_were_sent() {
        let mut params = params("period=%ff%00%22+x&PERIODTYPE=Daily&periodType=Weekly");
        assert_eq!(params.period_type("PeriodType"), None);
        assert_eq!(params.day("Period", Zone::UTC), None);
        let Err(ApiError::Malformed { operation, bad }) = params.finish() else { panic!("they are malformed") };
        let told: Vec<(&str, &str)> = bad.iter().map(|bad| (bad.name, bad.value.as_str())).collect();
        assert_eq!(
            (operation, told),
            ("GetServiceUsage", vec![("PeriodType", "Daily,Weekly"), ("Period", "\u{fffd}\0\" x")])
        );
    }

    #[test]
    fn pages_have_defaults_and_bounds_and_are_never_clamped() {
        let page = |query| {
            let mut params = params(query);
            let page = params.page();
            (page.number, page.size, params.finish())
        };
        assert!(matches!(page(""), (1, 25, Ok(()))));
        assert!(matches!(page("page=+2&PAGESIZE=1000"), (2, 1000, Ok(()))));
        assert!(matches!(page("page=2147483647&pageSize=1"), (2_147_483_647, 1, Ok(()))));
        for (query, names) in [
            ("page=0", vec!["Page"]),
            ("page=-1&pageSize=1001", vec!["Page", "PageSize"]),
            ("pageSize=0", vec!["PageSize"]),
        ] {
            let (.., Err(ApiError::Arguments(refused))) = page(query) else { panic!("{query} is refused") };
            assert_eq!(refused.into_iter().map(|(name, _)| name).collect::<Vec<&str>>(), names);
        }
        for query in ["page=2147483648", "page=1.0", "page=one", "page=0&pageSize=%00"] {
            assert!(matches!(page(query), (.., Err(ApiError::Malformed { .. }))), "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_query_is_too_hostile(query in "[%&=+a-f0-9\u{e9}]{0,40}|periodType=.*") {
            let mut params = params(&query);
            let read = params.period_type("PeriodType");
            prop_assert!(read.is_none() || params.finish().is_ok());
        }
    }
}
