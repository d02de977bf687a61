//! What verifying found to differ.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::model::{Day, PeriodType};

/// So many are named; of the others there is told how many they are.
const NAMED: usize = 1_000;

/// Something that is not what the event log comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub subject: Subject,
    pub field: String,
    pub expected: String,
    pub found: String,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Subject {
    Row {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "name_of")]
        period_type: PeriodType,
        #[serde(serialize_with = "shown")]
        period: Day,
    },
    /// What a service's day amounts to, as far as it lies in one UTC day.
    DayFacts {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "shown")]
        day: Day,
        #[serde(serialize_with = "shown")]
        utc_day: Day,
    },
    /// How many users enter and leave classes on a day.
    Moves {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "shown")]
        day: Day,
    },
    /// A span's facts that can't be read.
    Span {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "shown")]
        span: Day,
    },
    User {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "simple")]
        user: Uuid,
    },
    Service {
        #[serde(serialize_with = "simple")]
        service: Uuid,
    },
    Input {
        input: i64,
        name: String,
    },
    Segment {
        path: String,
    },
    Orphan {
        path: String,
    },
    /// A void that the log holds and the store does not know, or the other way around.
    Void {
        #[serde(serialize_with = "simple")]
        service: Uuid,
        #[serde(serialize_with = "shown")]
        target_day: Day,
    },
}

impl Difference {
    pub fn new(subject: &Subject, field: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display) -> Self {
        let (field, expected, found) = (field.to_owned(), expected.to_string(), found.to_string());
        Self { subject: subject.clone(), field, expected, found }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, field, expected, found } = self;
        write!(f, "{subject}: {field}: expected {expected}, found {found}")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { service, period_type, period } => {
                write!(f, "service {}, {} row of {period}", service.simple(), period_type.name())
            }
            Self::DayFacts { service, day, utc_day } if day == utc_day => {
                write!(f, "service {}, facts of {day}", service.simple())
            }
            Self::DayFacts { service, day, utc_day } => {
                write!(f, "service {}, facts of {day} (UTC day {utc_day})", service.simple())
            }
            Self::Moves { service, day } => write!(f, "service {}, users' moves of {day}", service.simple()),
            Self::Span { service, span } => write!(f, "service {}, facts of the span {span}", service.simple()),
            Self::User { service, user } => write!(f, "service {}, user {}", service.simple(), user.simple()),
            Self::Service { service } => write!(f, "service {}", service.simple()),
            Self::Input { input, name } => write!(f, "input {input} ({name})"),
            Self::Segment { path } => write!(f, "segment {path}"),
            Self::Orphan { path } => write!(f, "file {path}"),
            Self::Void { service, target_day } => {
                write!(f, "service {}, voids of {target_day}", service.simple())
            }
        }
    }
}

/// Differences, of which so many are kept that memory stays bounded.
#[derive(Debug, Default, Serialize)]
pub struct Differences {
    pub named: Vec<Difference>,
    /// How many there are beyond those.
    pub more: u64,
}

impl Differences {
    pub fn extend(&mut self, found: impl IntoIterator<Item = Difference>) {
        for difference in found {
            if self.named.len() < NAMED {
                self.named.push(difference);
            } else {
                self.more += 1;
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.named.len() as u64 + self.more
    }
}

fn simple<S: serde::Serializer>(guid: &Uuid, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&guid.simple())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
fn shown<S: serde::Serializer>(day: &Day, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(day)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in a reference")]
fn name_of<S: serde::Serializer>(period_type: &PeriodType, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(period_type.name())
}
