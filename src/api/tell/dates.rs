//! Dates and instants as patterns: a schema has no other way to say that one is not in the future.

use chrono::{Datelike as _, NaiveDate};

use crate::model::Day;

/// Nothing was stored before.
const FIRST_YEAR: i32 = 1970;
const MONTH_AND_DAY: &str = "((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
const ANY_YEAR: &str = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])";
const ANY_LEAP_DAY: &str = "[0-9][0-9](0[48]|[2468][048]|[13579][26])-02-29";
const TIME_OF_DAY: &str = "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z";

/// A date.
fn any_date() -> String {
    format!("({ANY_YEAR}-{MONTH_AND_DAY}|{ANY_LEAP_DAY})")
}

/// Nothing, a date, or an instant.
pub(super) fn any() -> String {
    format!("^(|{}({TIME_OF_DAY})?)$", any_date())
}

/// A date, or an instant.
pub(super) fn date_or_instant() -> String {
    format!("^{}({TIME_OF_DAY})?$", any_date())
}

/// An instant.
pub(super) fn instant() -> String {
    format!("^{}{TIME_OF_DAY}$", any_date())
}

/// An instant of this year or later, before a day.
pub(super) fn instant_before(first_year: i32, day: Day) -> String {
    format!("^({}){TIME_OF_DAY}$", before(first_year, day))
}

/// Nothing, a date up to this one, or an instant before it.
pub(super) fn through(day: Day) -> String {
    format!("^(|({})({TIME_OF_DAY})?|{})$", before(FIRST_YEAR, day), day.date())
}

/// A date of this year or later, before a day.
fn before(first_year: i32, day: Day) -> String {
    let yesterday = day.previous().date();
    let years = || first_year..yesterday.year();
    let any_of = |texts: &mut dyn Iterator<Item = String>| format!("({})", texts.collect::<Vec<String>>().join("|"));
    let mut forms = Vec::new();
    if !years().is_empty() {
        forms.push(format!("{}-{MONTH_AND_DAY}", any_of(&mut years().map(|year| year.to_string()))));
    }
    let is_leap = |year: &i32| NaiveDate::from_ymd_opt(*year, 2, 29).is_some();
    if years().any(|year| is_leap(&year)) {
        forms.push(format!("{}-02-29", any_of(&mut years().filter(is_leap).map(|year| year.to_string()))));
    }
    for month in 1..=yesterday.month() {
        let is_past =
            |day: &u32| NaiveDate::from_ymd_opt(yesterday.year(), month, *day).is_some_and(|day| day <= yesterday);
        let days = any_of(&mut (1..=31).filter(is_past).map(|day| format!("{day:02}")));
        forms.push(format!("{}-{month:02}-{days}", yesterday.year()));
    }
    forms.join("|")
}
