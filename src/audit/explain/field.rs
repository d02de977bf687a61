//! The fields of a row that can be explained.

use std::str::FromStr;

use crate::model::{EventType, Feature, Numbers, UserClass};

use super::super::line::Line;

/// A number of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its place among the 13.
    Number(usize),
    EventCount,
}

/// What kind of number a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Users of one class, or of all.
    Users(Option<UserClass>),
    /// What the period's events add up to.
    Counter,
    /// What all events so far add up to.
    Storage,
}

const CLASSES: [Option<UserClass>; 5] =
    [None, Some(UserClass::Pro), Some(UserClass::Guest), Some(UserClass::Disabled), Some(UserClass::Unregistered)];

const EVENT_COUNT: &str = "event_count";

impl Field {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Numbers::COLUMNS.len()).map(Self::Number).chain([Self::EventCount])
    }

    /// The column's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number(at) => Numbers::COLUMNS[at],
            Self::EventCount => EVENT_COUNT,
        }
    }

    /// The name as the export's header has it.
    #[must_use]
    pub fn title(self) -> String {
        let words = self.name().split('_').map(|word| {
            let (first, rest) = word.split_at(1);
            [&first.to_ascii_uppercase(), rest].concat()
        });
        words.collect()
    }

    #[must_use]
    pub fn kind(self) -> FieldKind {
        match self {
            Self::Number(at @ 0..5) => FieldKind::Users(CLASSES[at]),
            Self::Number(12) => FieldKind::Storage,
            Self::Number(_) | Self::EventCount => FieldKind::Counter,
        }
    }

    /// What an event adds if it counts; none where it has nothing to do with the field.
    #[must_use]
    pub(super) fn contribution(self, line: &Line) -> Option<i128> {
        let is_of = |event_type| line.event_type == event_type;
        let attaches = is_of(EventType::MessageSent) && line.attachments > 0;
        match self {
            Self::EventCount => line.event_type.creates_rows().then_some(1),
            // Users are not the sum of events.
            Self::Number(0..5) => line.event_type.changes_users().then_some(0),
            Self::Number(at @ 5..10) => {
                let is_feature = line.feature.is_some_and(|feature| feature == Feature::ALL[at - 5]);
                (is_of(EventType::FeatureUsed) && is_feature).then_some(line.quantity.into())
            }
            Self::Number(10) => is_of(EventType::MessageSent).then_some(1),
            Self::Number(11) => attaches.then_some(line.attachments.into()),
            Self::Number(_) if attaches => Some(line.bytes),
            Self::Number(_) => is_of(EventType::AttachmentPurged).then_some(-line.bytes),
        }
    }
}

impl FromStr for Field {
    type Err = String;

    /// Reads either name, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let found = Self::all().find(|field| plain(field.name()) == plain(text));
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            format!("'{text}' is not a field; expected one of {}, or as the export's header has it", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_name_of_its_column_and_of_the_exports_header() {
        for field in Field::all() {
            assert_eq!(field.name().parse(), Ok(field));
            assert_eq!(field.title().parse(), Ok(field));
        }
        assert_eq!(Field::Number(9).title(), "FeatureUsageSecureForms");
        assert!("messages".parse::<Field>().unwrap_err().contains("total_message_count"));
    }
}
