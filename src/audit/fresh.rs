//! A service's facts, made anew from all that the event log holds of it: nothing is merged into what is stored, so that no
//! mistake of merging by difference stays hidden.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::model::{Day, Gauges, USER_CLASSES};
use crate::rollup::{
    DayFacts, PartitionFacts, ServiceDay, ServiceTotals, SpanFacts, SpanStart, UserDay, UserHistory, class_moves,
};
use crate::store::StoredState;

/// What partitions come to, of one service.
#[derive(Debug, Default)]
pub struct Recomputed {
    days: Vec<ServiceDay>,
    users: Vec<(Uuid, UserDay)>,
}

/// A service's facts.
#[derive(Debug, Default)]
pub struct Facts {
    pub spans: BTreeMap<Day, SpanFacts>,
    pub users: BTreeMap<Uuid, UserHistory>,
    pub totals: ServiceTotals,
    /// By input: copies, voided and conflicting lines.
    pub uncounted: BTreeMap<i64, [i64; 3]>,
}

/// Sorts what partitions come to by service.
#[must_use]
pub fn by_service(partitions: Vec<PartitionFacts>) -> BTreeMap<Uuid, Recomputed> {
    let mut services: BTreeMap<Uuid, Recomputed> = BTreeMap::new();
    for facts in partitions {
        for (service, day) in facts.services {
            services.entry(service).or_default().days.push(day);
        }
        for ((service, user), day) in facts.users {
            services.entry(service).or_default().users.extend(day.map(|day| (user, day)));
        }
    }
    services
}

impl Recomputed {
    /// The first day that anything is known of.
    #[must_use]
    pub fn first_day(&self) -> Option<Day> {
        self.days.iter().map(|day| day.day).min()
    }

    /// Takes what is stored of some UTC days in the place of what they come to: of those that wait to be rolled up, and of
    /// those that can't be read.
    pub fn take_stored(&mut self, stored: &StoredState, of: impl Fn(Day) -> bool) {
        let is_taken = |partition: Day, day: Day| {
            of(partition) && Day::OF_EVENTS.contains(&partition) && Day::OF_EVENTS.contains(&day)
        };
        self.days.retain(|day| !of(day.partition));
        self.users.retain(|(_, day)| !of(day.partition));
        for facts in stored.spans.values().flatten() {
            self.days.extend(facts.days().iter().filter(|day| is_taken(day.partition, day.day)).cloned());
        }
        for (user, history) in &stored.users {
            let days = history.iter().flat_map(UserHistory::days).copied();
            self.users.extend(days.filter(|day| is_taken(day.partition, day.day)).map(|day| (*user, day)));
        }
    }

    #[must_use]
    pub fn into_facts(mut self) -> Facts {
        let mut facts = Facts::default();
        let mut moves: BTreeMap<Day, [i64; USER_CLASSES]> = BTreeMap::new();
        self.users.sort_by_key(|(user, _)| *user);
        for days in self.users.chunk_by(|a, b| a.0 == b.0) {
            let history = UserHistory::of(days.iter().map(|(_, day)| *day).collect());
            class_moves(&UserHistory::default(), &history, |day, delta| {
                let sum = moves.entry(day).or_default();
                (0..USER_CLASSES).for_each(|class| sum[class] += delta[class]);
            });
            facts.users.insert(days[0].0, history);
        }
        self.days.retain(|day| !day.is_empty());
        for (input, lines) in self.days.iter().flat_map(|day| &day.uncounted) {
            let sum = facts.uncounted.entry(*input).or_default();
            let lines = [lines.duplicate, lines.voided, lines.conflicting];
            sum.iter_mut().zip(lines).for_each(|(sum, lines)| *sum = sum.wrapping_add(lines.cast_signed()));
        }
        moves.retain(|_, delta| *delta != [0; USER_CLASSES]);
        facts.spans = SpanFacts::of(self.days, moves.into_iter().collect()).by_span();
        facts.totals = totals(&facts.spans);
        facts
    }
}

fn totals(spans: &BTreeMap<Day, SpanFacts>) -> ServiceTotals {
    let days = || spans.values().flat_map(SpanFacts::days);
    let newest = days().map(|day| day.day.span()).max().map(|span| {
        let mut month = DayFacts::default();
        for day in days().filter(|day| (span.month()..span).contains(&day.day)) {
            month += &day.facts;
        }
        SpanStart { span, month }
    });
    ServiceTotals {
        first_day: spans.values().find_map(SpanFacts::first_day),
        held: spans.values().fold(Gauges::default(), |held, span| held.plus(&span.change())),
        newest,
    }
}
