//! What an operation takes and gives, once: what is told about the API is made from it (`tell`), and where debug assertions are
//! on, as they are in tests, an operation that reads other parameters than these fails.

use super::wire::document::{Choice, Type};
use super::wire::service_usage::PERIOD_TYPE as PERIOD_TYPES;

#[derive(Debug)]
pub(super) struct About {
    pub summary: &'static str,
    pub takes: &'static [Param],
    pub gives: Gives,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Gives {
    Document(&'static Type),
    /// A document that has a standing.
    Report(&'static Type),
    /// Rows as CSV or NDJSON, streamed.
    Rows,
}

/// A parameter of an operation.
#[derive(Debug)]
pub(super) struct Param {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    pub meaning: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Part of the path, and in the query of the routes by name.
    Path,
    Required,
    Optional,
    /// Optional, and this where it is not there.
    Default(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Guid,
    /// Several, with commas between them.
    Guids,
    Text,
    /// From the one through the other.
    Integer(i64, i64),
    Choice(&'static Choice),
    /// One of these words.
    Word(&'static [&'static str]),
    DateTime,
    /// A date that is not in the future.
    Past,
    /// The key of a row: `ServiceGuid:Period`.
    Cursor,
}

impl Kind {
    /// What people are told.
    pub fn name(self) -> String {
        match self {
            Self::Guid => "Guid".to_owned(),
            Self::Guids => "Guids, with commas between them".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Integer(least, most) => format!("integer from {least} to {most}"),
            Self::Choice(choice) => format!("{}: {}", choice.name, choice.values.join(", ")),
            Self::Word(words) => words.join(", "),
            Self::DateTime => "DateTime".to_owned(),
            Self::Past => "DateTime, not in the future".to_owned(),
            Self::Cursor => "ServiceGuid:Period".to_owned(),
        }
    }
}

impl Param {
    pub const fn path(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Guid, need: Need::Path, meaning }
    }

    pub const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, kind, need: Need::Required, meaning }
    }

    pub const fn optional(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, kind, need: Need::Optional, meaning }
    }

    pub const fn default(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Self {
        Self { name, kind, need: Need::Default(default), meaning }
    }
}

pub(super) const PAGE: Param = Param::default("Page", Kind::Integer(1, i32::MAX as i64), "1", "The page, from 1 on.");
pub(super) const PAGE_SIZE: Param = Param::default("PageSize", Kind::Integer(1, 1000), "25", "Results on a page.");
pub(super) const PERIOD_TYPE: Param =
    Param::default("PeriodType", Kind::Choice(&PERIOD_TYPES), "Daily", "Numbers of a day, or of a month.");
pub(super) const PERIOD: Param = Param::optional(
    "Period",
    Kind::Past,
    "A day of the period, in the reporting time zone. Without it: yesterday, or the month that contains it.",
);
pub(super) const AS_OF: Param =
    Param::optional("AsOf", Kind::Past, "The numbers as they stood at this instant; the directory is today's.");
pub(super) const CREATED_AFTER: Param =
    Param::optional("CreatedAfterDateTime", Kind::DateTime, "Only services that were created then or later.");
pub(super) const CREATED_BEFORE: Param =
    Param::optional("CreatedBeforeDateTime", Kind::DateTime, "Only services that were created then or earlier.");
