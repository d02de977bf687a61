//! The users of a service, each with the events that put it into its class (`spec/usage.md`, Columns).

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::line::Line;
use super::answer::{EventEntry, UserEntry, guid};
use crate::model::{EventType, GroupType, UserClass};

/// What is known of a user so far.
struct Person {
    first: EventEntry,
    registered: Option<EventEntry>,
    group: Option<(GroupType, EventEntry)>,
    disabled_or_enabled: Option<(bool, EventEntry)>,
}

/// All users so far, by GUID.
#[derive(Default)]
pub(super) struct Users(BTreeMap<Uuid, Person>);

impl Users {
    /// Takes the next event that counts, in event order.
    pub fn take(&mut self, line: &Line, entry: &EventEntry) {
        let Some(user) = line.user.filter(|_| line.event_type.changes_users()) else { return };
        let new = || Person { first: entry.clone(), registered: None, group: None, disabled_or_enabled: None };
        let person = self.0.entry(user).or_insert_with(new);
        if let Some(group) = line.group {
            person.group = Some((group, entry.clone()));
        }
        match line.event_type {
            EventType::UserRegistered => _ = person.registered.get_or_insert_with(|| entry.clone()),
            EventType::UserDisabled => person.disabled_or_enabled = Some((true, entry.clone())),
            EventType::UserEnabled => person.disabled_or_enabled = Some((false, entry.clone())),
            _ => {}
        }
    }

    /// Those of one class, or all.
    pub fn of(self, wanted: Option<UserClass>) -> impl Iterator<Item = UserEntry> {
        let of_class = move |person: &Person| wanted.is_none_or(|wanted| wanted == person.class());
        self.0.into_iter().filter(move |(_, person)| of_class(person)).map(|(user, person)| UserEntry {
            user: guid(user),
            class: person.class_name(),
            contribution: 1,
            exists_since: person.first,
            registered: person.registered,
            group: person.group.map(|(group, event)| (group.name(), event)),
            disabled_or_enabled: person.disabled_or_enabled.map(|(_, event)| event),
        })
    }
}

impl Person {
    fn class(&self) -> UserClass {
        if self.disabled_or_enabled.as_ref().is_some_and(|(disabled, _)| *disabled) {
            UserClass::Disabled
        } else if self.registered.is_none() {
            UserClass::Unregistered
        } else if self.group.as_ref().is_some_and(|(group, _)| *group == GroupType::Professional) {
            UserClass::Pro
        } else {
            UserClass::Guest
        }
    }

    fn class_name(&self) -> &'static str {
        match self.class() {
            UserClass::Pro => "pro",
            UserClass::Guest => "guest",
            UserClass::Disabled => "disabled",
            UserClass::Unregistered => "unregistered",
        }
    }
}
