//! Users: in which class each one is at the end of each day (`spec/usage.md`, Columns).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{Day, EventType, GroupType, USER_CLASSES, UserClass};

/// What a user's events of one day, as far as they lie in one partition, leave behind. Later ones win, by event order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDay {
    pub partition: Day,
    pub day: Day,
    pub registered: bool,
    /// Whether the last group told was Professional.
    pub professional: Option<bool>,
    /// Whether the last of `user.disabled` and `user.enabled` was the former.
    pub disabled: Option<bool>,
}

impl UserDay {
    #[must_use]
    pub fn new(partition: Day, day: Day) -> Self {
        Self { partition, day, registered: false, professional: None, disabled: None }
    }

    /// Takes the next event of the day, in event order.
    pub fn take(&mut self, event_type: EventType, group_type: Option<GroupType>) {
        if let Some(group_type) = group_type {
            self.professional = Some(group_type == GroupType::Professional);
        }
        match event_type {
            EventType::UserRegistered => self.registered = true,
            EventType::UserDisabled => self.disabled = Some(true),
            EventType::UserEnabled => self.disabled = Some(false),
            _ => {}
        }
    }
}

/// A user's days with changes, sorted by partition and day; both run with time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserHistory(Vec<UserDay>);

impl UserHistory {
    /// The history that these days make.
    #[must_use]
    pub fn of(mut days: Vec<UserDay>) -> Self {
        days.sort_unstable_by_key(|day| (day.partition, day.day));
        Self(days)
    }

    /// This history with the days of some partitions recomputed: for each of them what it holds now, or none.
    #[must_use]
    pub fn with(&self, recomputed: &[(Day, Option<UserDay>)]) -> Self {
        let mut days: Vec<UserDay> = recomputed.iter().filter_map(|(_, day)| *day).collect();
        let is_kept = |day: &&UserDay| !recomputed.iter().any(|(partition, _)| *partition == day.partition);
        days.extend(self.0.iter().filter(is_kept));
        days.sort_unstable_by_key(|day| (day.partition, day.day));
        Self(days)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn days(&self) -> &[UserDay] {
        &self.0
    }

    /// The class at the end of each day on which something changed, in order of the days.
    fn classes(&self) -> Vec<(Day, UserClass)> {
        let mut classes: Vec<(Day, UserClass)> = Vec::with_capacity(self.0.len());
        let (mut registered, mut professional, mut disabled) = (false, false, false);
        for change in &self.0 {
            registered |= change.registered;
            professional = change.professional.unwrap_or(professional);
            disabled = change.disabled.unwrap_or(disabled);
            let class = match (disabled, registered, professional) {
                (true, _, _) => UserClass::Disabled,
                (false, false, _) => UserClass::Unregistered,
                (false, true, true) => UserClass::Pro,
                (false, true, false) => UserClass::Guest,
            };
            match classes.last_mut() {
                Some(last) if last.0 == change.day => last.1 = class,
                _ => classes.push((change.day, class)),
            }
        }
        classes
    }

    /// Adds the days on which the user enters or leaves a class, `weight` times, to `moves`.
    fn add_moves(&self, weight: i64, moves: &mut impl FnMut(Day, [i64; USER_CLASSES])) {
        let mut before: Option<UserClass> = None;
        for (day, class) in self.classes() {
            if before != Some(class) {
                let mut delta = [0; USER_CLASSES];
                delta[class as usize] += weight;
                if let Some(left) = before {
                    delta[left as usize] -= weight;
                }
                moves(day, delta);
            }
            before = Some(class);
        }
    }
}

/// Histories that changed lately, sorted by user. They stay with their service until they are many: a day changes few of a
/// service's users, and kept by themselves each one would cost a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentUsers(Vec<(Uuid, UserHistory)>);

impl RecentUsers {
    /// So many are few whatever the service has, and so many more are not: with one day, each takes 30 bytes.
    const FEW: usize = 1;
    const MANY: usize = 512;
    /// When they are moved, a page of a hundred users and more has several of them.
    const OF_ALL: usize = 16;

    /// A user's history, if it is here. An empty one stands for a user of whom nothing is left.
    #[must_use]
    pub fn get(&self, user: Uuid) -> Option<&UserHistory> {
        self.0.binary_search_by_key(&user, |(user, _)| *user).ok().map(|at| &self.0[at].1)
    }

    /// All that are here, sorted by user.
    #[must_use]
    pub fn into_histories(self) -> Vec<(Uuid, UserHistory)> {
        self.0
    }

    /// These histories with changed ones in their places, of a service that has so many users. Once they are many of those,
    /// none is recent any more: they are handed out instead, sorted, to be kept by themselves.
    #[must_use]
    pub fn with(&self, changed: &[(Uuid, UserHistory)], users: i64) -> (Self, Vec<(Uuid, UserHistory)>) {
        let most = usize::try_from(users).map_or(0, |users| users / Self::OF_ALL).clamp(Self::FEW, Self::MANY);
        let mut all = changed.to_vec();
        let is_same = |(user, _): &&(Uuid, UserHistory)| changed.binary_search_by_key(user, |(user, _)| *user).is_err();
        all.extend(self.0.iter().filter(is_same).cloned());
        all.sort_by_key(|(user, _)| *user);
        if all.len() > most { (Self::default(), all) } else { (Self(all), Vec::new()) }
    }
}

/// Tells, by day, how the numbers of users that enter each class change when one user's history becomes another.
pub fn class_moves(old: &UserHistory, new: &UserHistory, mut moves: impl FnMut(Day, [i64; USER_CLASSES])) {
    old.add_moves(-1, &mut moves);
    new.add_moves(1, &mut moves);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(events: &[(i32, EventType, Option<GroupType>)]) -> UserHistory {
        let mut history = UserHistory::default();
        for day in events.iter().map(|event| Day(event.0)) {
            let mut change = UserDay::new(day, day);
            events.iter().filter(|event| event.0 == day.0).for_each(|event| change.take(event.1, event.2));
            history = history.with(&[(day, Some(change))]);
        }
        history
    }

    #[test]
    fn each_user_is_in_exactly_one_class() {
        use EventType::{UserDisabled, UserEnabled, UserGroupChanged, UserInvited, UserRegistered, UserUpdated};
        let history = history(&[
            (1, UserInvited, Some(GroupType::Guest)),
            (2, UserRegistered, None),
            (3, UserGroupChanged, Some(GroupType::Professional)),
            (4, UserDisabled, None),
            (5, UserUpdated, None),
            (6, UserEnabled, None),
        ]);
        let classes: Vec<(i32, UserClass)> = history.classes().into_iter().map(|(day, class)| (day.0, class)).collect();
        assert_eq!(
            classes,
            [
                (1, UserClass::Unregistered),
                (2, UserClass::Guest),
                (3, UserClass::Pro),
                (4, UserClass::Disabled),
                (5, UserClass::Disabled),
                (6, UserClass::Pro),
            ]
        );
    }

    #[test]
    fn recent_histories_are_replaced_and_once_they_are_many_handed_out() {
        let of = |user: u128, day: i32| (Uuid::from_u128(user), history(&[(day, EventType::UserRegistered, None)]));
        let (recent, out) = RecentUsers::default().with(&[of(2, 1), of(4, 1)], 32);
        let (recent, out_again) = recent.with(&[of(1, 2), of(4, 2)], 48);
        assert_eq!((out, out_again), (vec![], vec![]));
        assert_eq!(recent.0, [of(1, 2), of(2, 1), of(4, 2)]);
        assert_eq!(recent.get(Uuid::from_u128(4)), Some(&of(4, 2).1));
        assert_eq!(recent.get(Uuid::from_u128(3)), None);

        let many: Vec<_> = (10..16).map(|user| of(user, 3)).collect();
        let all = [vec![of(1, 2), of(2, 1), of(4, 2)], many.clone()].concat();
        assert_eq!(recent.with(&many, 100), (RecentUsers::default(), all.clone()));
        assert_eq!(recent.with(&many, 200), (RecentUsers(all), vec![]), "they are few of those");
    }

    #[test]
    fn moves_cancel_when_a_history_is_taken_back() {
        let history =
            history(&[(1, EventType::UserInvited, Some(GroupType::Guest)), (9, EventType::UserRegistered, None)]);
        let mut sum = std::collections::BTreeMap::<Day, [i64; USER_CLASSES]>::new();
        let mut add = |day, delta: [i64; USER_CLASSES]| {
            let entry = sum.entry(day).or_default();
            (0..USER_CLASSES).for_each(|class| entry[class] += delta[class]);
        };
        class_moves(&UserHistory::default(), &history, &mut add);
        class_moves(&history, &UserHistory::default(), &mut add);
        assert!(sum.values().all(|delta| *delta == [0; USER_CLASSES]));
    }
}
