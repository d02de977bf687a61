//! An explanation as it is shown.

use serde::Serialize;
use uuid::Uuid;

/// A number, and what makes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub service: String,
    pub period_type: &'static str,
    pub period: String,
    pub field: &'static str,
    /// The last day whose events are in it.
    pub through: String,
    /// Of a sum of all events so far: what came before the period, by month.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opening: Vec<Opening>,
    /// The events that count.
    pub events: Vec<Entry>,
    /// The users who are counted, by GUID.
    pub users: Vec<UserEntry>,
    /// What else counts and is not listed, for it is beyond the limit.
    pub more: More,
    /// What everything above adds up to.
    pub sum: i128,
    /// By how much the number that is shown differs from the sum: what is below zero is shown as 0, and what is beyond
    /// 2^63 − 1 as that.
    pub cut: i128,
    /// The sum as a row shows it.
    pub number: i64,
    pub not_counted: Vec<NotCounted>,
    pub more_not_counted: u64,
    /// The UTC days, among those that the events are of, that wait to be rolled up.
    pub pending: Vec<String>,
    pub row: Option<StoredRow>,
    /// Where the row has another number, or there is none: why.
    pub remark: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct More {
    pub count: u64,
    pub contribution: i128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    pub month: String,
    pub events: u64,
    pub contribution: i128,
}

/// An event that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub contribution: i128,
    #[serde(flatten)]
    pub event: EventEntry,
}

/// An event, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventEntry {
    pub time: String,
    #[serde(rename = "type")]
    pub event_type: &'static str,
    pub source: String,
    pub id: String,
    /// The user whose class it may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether its UTC day waits to be rolled up, so that the row may not have it yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// Whether no more is kept of its content than what numbers rest on (`event_log.retention`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub segment: String,
    pub row: usize,
    #[serde(rename = "inputId")]
    pub input: i64,
    #[serde(rename = "input")]
    pub input_name: String,
    pub line: u64,
}

/// A user who is counted, and the events that put that user into the class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserEntry {
    pub user: String,
    pub class: &'static str,
    pub contribution: i128,
    /// The first event that names the user.
    pub exists_since: EventEntry,
    /// The first `user.registered`.
    pub registered: Option<EventEntry>,
    /// The last event that tells a group, with it.
    pub group: Option<(&'static str, EventEntry)>,
    /// The last of `user.disabled` and `user.enabled`.
    pub disabled_or_enabled: Option<EventEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCounted {
    #[serde(flatten)]
    pub reason: Reason,
    #[serde(flatten)]
    pub event: EventEntry,
}

/// Why an event does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    Duplicate {
        of: Place,
    },
    /// None where the void itself is not in the log.
    Voided {
        by: Option<Box<EventEntry>>,
    },
    Conflicting {
        with: Box<EventEntry>,
    },
    /// It lies on another day of the reporting time zone.
    OtherDay {
        day: String,
    },
    /// Rows do not reach its day yet.
    NotYet {
        day: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRow {
    pub number: i64,
    pub state: &'static str,
    pub revision: i64,
    pub computed_at: String,
}

impl Answer {
    /// Every place that is shown, to be told its input's name.
    pub fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let events = self.events.iter_mut().map(|entry| &mut entry.event.place);
        let users = self.users.iter_mut().flat_map(UserEntry::places_mut);
        let others = self.not_counted.iter_mut().flat_map(NotCounted::places_mut);
        events.chain(users).chain(others)
    }
}

impl UserEntry {
    fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let group = self.group.as_mut().map(|(_, event)| event);
        let events = [Some(&mut self.exists_since), self.registered.as_mut(), group, self.disabled_or_enabled.as_mut()];
        events.into_iter().flatten().map(|event| &mut event.place)
    }
}

impl NotCounted {
    fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        let other = match &mut self.reason {
            Reason::Duplicate { of } => Some(of),
            Reason::Voided { by } => by.as_mut().map(|event| &mut event.place),
            Reason::Conflicting { with } => Some(&mut with.place),
            Reason::OtherDay { .. } | Reason::NotYet { .. } => None,
        };
        [Some(&mut self.event.place), other].into_iter().flatten()
    }
}

pub(super) fn guid(guid: Uuid) -> String {
    guid.simple().to_string()
}
