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

impl MonthFacts {
    /// Puts `days` in the place of all that came from this partition before. Returns the first day that changed.
    pub fn replace(&mut self, partition: Day, days: impl IntoIterator<Item = ServiceDay>) -> Option<Day> {
        let (old, mut kept): (Vec<_>, Vec<_>) = self.days.drain(..).partition(|day: &ServiceDay| day.partition == partition);
        let new: Vec<ServiceDay> = days.into_iter().collect();
        let only_in = |these: &[ServiceDay], those: &[ServiceDay]| {
            these.iter().filter(|day| !those.contains(day)).map(|day| day.day).min()
        };
        let changed = [only_in(&old, &new), only_in(&new, &old)].into_iter().flatten().min();
        kept.extend(new);
        kept.sort_unstable_by_key(|day| (day.day, day.partition));
        self.days = kept;
        changed
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

    /// What a day's events add up to, over both partitions that it may lie in.
    #[must_use]
    pub fn on(&self, day: Day) -> DayFacts {
        let mut sum = DayFacts::default();
        let start = self.days.partition_point(|other| other.day < day);
        self.days[start..].iter().take_while(|other| other.day == day).for_each(|part| sum += &part.facts);
        sum
    }

    /// How a day changes the gauges.
    #[must_use]
    pub fn change_on(&self, day: Day) -> Gauges {
        let users =
            self.moves.binary_search_by_key(&day, |(day, _)| *day).map_or([0; USER_CLASSES], |at| self.moves[at].1);
        Gauges { users, storage: self.on(day).storage }
    }

    /// How the whole month changes the gauges.
    #[must_use]
    pub fn change(&self) -> Gauges {
        let storage = self.days.iter().map(|day| day.facts.storage).sum();
        let users = self.moves.iter().map(|(_, users)| Gauges { users: *users, storage: 0 });
        users.fold(Gauges { users: [0; USER_CLASSES], storage }, |sum, more| sum.plus(&more))
    }
}
