//! Putting recomputed partitions in the place of what they came to before. What is stored already is handed in by key, and
//! what must be stored instead comes out: the caller reads and writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use uuid::Uuid;

use super::facts::{PartitionFacts, ServiceDay};
use super::months::MonthFacts;
use super::users::{UserHistory, class_moves};
use crate::model::{Day, USER_CLASSES};

pub type UserKey = (Uuid, Uuid);
/// A service and the first day of a month.
pub type MonthKey = (Uuid, Day);
/// By service and day: how many users enter each class less how many leave it.
pub type ClassMoves = BTreeMap<(Uuid, Day), [i64; USER_CLASSES]>;
type Partitions = [(Day, OldFacts)];

pub struct OldFacts {
    pub services: BTreeMap<Uuid, Vec<ServiceDay>>,
    pub users: BTreeMap<(Uuid, Uuid), Vec<super::UserDay>>,
    pub patches: BTreeMap<Uuid, Vec<super::PatchEvent>>,
    pub inputs: BTreeMap<i64, super::InputCounts>,
}
impl OldFacts {
    pub fn of(facts: PartitionFacts) -> Self {
        let mut old = Self { services: BTreeMap::new(), users: BTreeMap::new(), patches: facts.patches, inputs: BTreeMap::new() };
        for (service, mut day) in facts.services {
            for (input, counts) in std::mem::take(&mut day.uncounted) {
                let of = old.inputs.entry(input).or_default();
                of.duplicate += counts.duplicate; of.voided += counts.voided; of.conflicting += counts.conflicting;
            }
            let of = old.services.entry(service).or_default();
            if day.facts.events > 0 { of.push(day); }
        }
        for (key, day) in facts.users { let of = old.users.entry(key).or_default(); of.extend(day); }
        old
    }
}


/// The users whose histories must be at hand.
#[must_use]
pub fn users_of(partitions: &Partitions) -> Vec<UserKey> {
    let keys: BTreeSet<UserKey> = partitions.iter().flat_map(|(_, facts)| facts.users.keys().copied()).collect();
    keys.into_iter().collect()
}

/// Merges the users' days into their histories. Returns the histories that changed, and what that changes in the classes.
#[must_use]
pub fn merge_users(
    partitions: &Partitions,
    mut stored: HashMap<UserKey, UserHistory, impl BuildHasher>,
) -> (BTreeMap<UserKey, UserHistory>, ClassMoves) {
    let mut merged: BTreeMap<UserKey, UserHistory> = BTreeMap::new();
    for (partition, facts) in partitions {
        for (user, days) in &facts.users {
            let history = merged.entry(*user).or_insert_with(|| stored.get(user).cloned().unwrap_or_default());
            history.replace(*partition, days);
        }
    }
    let mut moves = ClassMoves::new();
    merged.retain(|user, history| {
        let before = stored.remove(user).unwrap_or_default();
        class_moves(&before, history, |day, delta| {
            let sum = moves.entry((user.0, day)).or_default();
            (0..USER_CLASSES).for_each(|class| sum[class] += delta[class]);
        });
        *history != before
    });
    moves.retain(|_, delta| *delta != [0; USER_CLASSES]);
    (merged, moves)
}

/// The months whose facts must be at hand: those that the partitions reach into, for every service that they name, and
/// those in which users change class. `local_days` tells which days of the reporting zone a partition reaches into.
#[must_use]
pub fn months_of(partitions: &Partitions, moves: &ClassMoves, local_days: impl Fn(Day) -> Vec<Day>) -> Vec<MonthKey> {
    let mut keys: BTreeSet<MonthKey> = moves.keys().map(|(service, day)| (*service, day.month())).collect();
    for (partition, facts) in partitions {
        let months: BTreeSet<Day> = local_days(*partition).into_iter().map(Day::month).collect();
        keys.extend(facts.services.keys().flat_map(|service| months.iter().map(|month| (*service, *month))));
    }
    keys.into_iter().collect()
}

/// The months that changed, and by service the first day whose rows may.
#[derive(Debug, Default)]
pub struct MergedMonths {
    pub months: BTreeMap<MonthKey, MonthFacts>,
    pub dirty_from: BTreeMap<Uuid, Day>,
}

/// Merges day facts and class moves into the months, all of which `keys` names.
#[must_use]
pub fn merge_months(
    partitions: &Partitions,
    moves: &ClassMoves,
    keys: &[MonthKey],
    mut stored: HashMap<MonthKey, MonthFacts, impl BuildHasher>,
) -> MergedMonths {
    let mut merged = MergedMonths::default();
    let mut months: BTreeMap<MonthKey, (MonthFacts, bool)> =
        keys.iter().map(|key| (*key, (stored.remove(key).unwrap_or_default(), false))).collect();
    let mut mark = |service: Uuid, day: Day| {
        let first = merged.dirty_from.entry(service).or_insert(day);
        *first = day.min(*first);
    };
    for (partition, facts) in partitions {
        for (service, days) in &facts.services {
            for (key, (month, changed)) in months.range_mut((*service, Day(i32::MIN))..=(*service, Day(i32::MAX))) {
                let in_month = |day: &&ServiceDay| day.day.month() == key.1;
                if let Some(day) = month.replace(*partition, days.iter().filter(in_month).cloned()) {
                    *changed = true;
                    mark(*service, day);
                }
            }
        }
    }
    for ((service, day), delta) in moves {
        let (month, changed) = months.get_mut(&(*service, day.month())).expect("the months of all moves are named");
        month.add_move(*day, *delta);
        *changed = true;
        mark(*service, *day);
    }
    merged.months =
        months.into_iter().filter(|(_, (_, changed))| *changed).map(|(key, (month, _))| (key, month)).collect();
    merged
}
