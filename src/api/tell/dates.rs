//! Dates and instants as patterns: a schema has no other way to say that one is not in the future.

use chrono::{Datelike as _, NaiveDate};

use crate::model::Day;

/// Nothing was stored before.
const FIRST_YEAR: i32 = 1970;
const MONTH_AND_DAY: &str = "((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)";
const ANY_YEAR: &str = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])";
const ANY_LEAP_DAY: &str = "[0-9][0-9](0[48]|[2468][048]|[13579][26])-02-29";
const TIME: &str = "(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?";

/// Nothing, a date, or an instant.
pub(super) fn any() -> String {
    format!("^(|({ANY_YEAR}-{MONTH_AND_DAY}|{ANY_LEAP_DAY}){TIME})$")
}

/// Nothing, a date up to this one, or an instant before it.
pub(super) fn through(day: Day) -> String {
    let (date, yesterday) = (day.date(), day.previous().date());
    let years = || FIRST_YEAR..yesterday.year();
    let any_of = |texts: &mut dyn Iterator<Item = String>| format!("({})", texts.collect::<Vec<String>>().join("|"));
    let mut forms = vec![format!("{}-{MONTH_AND_DAY}", any_of(&mut years().map(|year| year.to_string())))];
    let is_leap = |year: &i32| NaiveDate::from_ymd_opt(*year, 2, 29).is_some();
    forms.push(format!("{}-02-29", any_of(&mut years().filter(is_leap).map(|year| year.to_string()))));
    for month in 1..=yesterday.month() {
        let is_past =
            |day: &u32| NaiveDate::from_ymd_opt(yesterday.year(), month, *day).is_some_and(|day| day <= yesterday);
        let days = any_of(&mut (1..=31).filter(is_past).map(|day| format!("{day:02}")));
        forms.push(format!("{}-{month:02}-{days}", yesterday.year()));
    }
    format!("^(|({}){TIME}|{date})$", forms.join("|"))
}
