//! A service's facts of one month: the unit in which facts are kept, so that a change reads and writes little.

use serde::{Deserialize, Serialize};

use super::facts::{DayFacts, ServiceDay};
use crate::model::{Day, Gauges, USER_CLASSES};

/// The facts of a service whose days fall into one month of the reporting zone. Sparse: days without activity are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthFacts {
    /// Sorted by day and partition.
    days: Vec<ServiceDay>,
    /// How many users entered each class less how many left it, by day, sorted.
    moves: Vec<(Day, [i64; USER_CLASSES])>,
}

/// What replacing days has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MonthChange {
    /// Whether the month must be stored anew.
    pub changed: bool,
    /// The first day whose facts changed.
    pub first_day: Option<Day>,
}

impl MonthFacts {
    /// Facts that nothing was merged into.
    #[must_use]
    pub fn of(mut days: Vec<ServiceDay>, moves: Vec<(Day, [i64; USER_CLASSES])>) -> Self {
        days.sort_unstable_by_key(|day| (day.day, day.partition));
        Self { days, moves }
    }

    /// Puts `new`, sorted by day and partition, in the place of all days that came from these partitions (sorted) before.
    /// Hands the days that are gone, and those that have come, to `ledger`.
    pub fn replace<'a>(
        &mut self,
        recomputed: &[Day],
        new: impl Iterator<Item = &'a ServiceDay>,
        mut ledger: impl FnMut(i64, &ServiceDay),
    ) -> MonthChange {
        let is_old = |day: &ServiceDay| recomputed.binary_search(&day.partition).is_ok();
        let old: Vec<ServiceDay> = self.days.extract_if(.., |day| is_old(day)).collect();
        let new: Vec<ServiceDay> = new.filter(|day| !day.is_empty()).cloned().collect();
        let change = MonthChange { changed: old != new, first_day: first_difference(&old, &new) };
        for (sign, days) in [(-1, &old), (1, &new)] {
            for day in days {
                ledger(sign, day);
            }
        }
        self.days.extend(new);
        // They are in order but for the new ones, and a stable sort would ask for memory.
        self.days.sort_unstable_by_key(|day| (day.day, day.partition));
        change
    }

    /// Adds to the numbers of users that enter and leave classes on a day.
    pub fn add_move(&mut self, day: Day, delta: [i64; USER_CLASSES]) {
        match self.moves.binary_search_by_key(&day, |(day, _)| *day) {
            Err(at) => self.moves.insert(at, (day, delta)),
            Ok(at) => {
                let sum = &mut self.moves[at].1;
                (0..USER_CLASSES).for_each(|class| sum[class] += delta[class]);
                if *sum == [0; USER_CLASSES] {
                    self.moves.remove(at);
                }
            }
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && self.moves.is_empty()
    }

    /// The first day with an event that counts towards rows.
    #[must_use]
    pub fn first_day(&self) -> Option<Day> {
        self.days.iter().find(|day| day.facts.events > 0).map(|day| day.day)
    }

    /// What the days' events add up to, sorted by day and partition.
    #[must_use]
    pub fn days(&self) -> &[ServiceDay] {
        &self.days
    }

    /// How many users entered each class less how many left it, by day, sorted.
    #[must_use]
    pub fn moves(&self) -> &[(Day, [i64; USER_CLASSES])] {
        &self.moves
    }

    /// How the whole month changes the gauges.
    #[must_use]
    pub fn change(&self) -> Gauges {
        let storage = self.days.iter().map(|day| day.facts.storage).sum();
        let users = self.moves.iter().map(|(_, users)| Gauges { users: *users, storage: 0 });
        users.fold(Gauges { users: [0; USER_CLASSES], storage }, |sum, more| sum.plus(&more))
    }
}

/// The first day on which the facts differ; both are sorted by day and partition.
fn first_difference(old: &[ServiceDay], new: &[ServiceDay]) -> Option<Day> {
    let counts = |day: &&ServiceDay| day.facts != DayFacts::default();
    let (mut old, mut new) = (old.iter().filter(counts), new.iter().filter(counts));
    loop {
        match (old.next(), new.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if (a.day, a.partition, &a.facts) == (b.day, b.partition, &b.facts) => {}
            (a, b) => return [a, b].into_iter().flatten().map(|day| day.day).min(),
        }
    }
}
