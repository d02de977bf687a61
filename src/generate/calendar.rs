//! When things happen: working hours, weekends and time zones, and how many events fall in which hour.

use super::random::{Random, index, mix};

/// Milliseconds in an hour and in a day.
pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// Services that share a time zone and a rhythm form a group, because their load rises and falls together.
pub(super) const GROUPS: usize = ZONES.len() * RHYTHMS.len();

/// Hours ahead of UTC and the `source` that services there report through. No daylight saving time.
const ZONES: [(i64, &str); 6] = [
    (-8, "/messaging/us1"),
    (-5, "/messaging/us1"),
    (0, "/messaging/eu1"),
    (1, "/messaging/eu1"),
    (2, "/messaging/eu1"),
    (9, "/messaging/ap1"),
];

/// The zones as often as services are found in them.
const ZONE_SHARES: [usize; 12] = [3, 1, 3, 2, 3, 4, 0, 3, 1, 5, 2, 3];

/// Load by local hour, and what is left of it at the weekend, in percent.
const RHYTHMS: [([u64; 24], u64); 2] = [
    ([1, 1, 1, 1, 1, 2, 8, 30, 75, 100, 100, 90, 60, 85, 100, 95, 80, 50, 20, 10, 6, 4, 2, 1], 8),
    ([20, 15, 12, 10, 12, 20, 35, 55, 75, 85, 90, 90, 85, 85, 90, 85, 80, 70, 60, 55, 50, 45, 35, 25], 70),
];

/// The group of a service whose hash this is; one in six works around the clock.
pub(super) fn group_of(hash: u64) -> usize {
    let zone = ZONE_SHARES[index(hash % ZONE_SHARES.len() as u64)];
    let around_the_clock = (hash >> 32).is_multiple_of(6);
    zone * RHYTHMS.len() + usize::from(around_the_clock)
}

/// The `source` of a group's events.
pub(super) fn source_of(group: usize) -> &'static str {
    ZONES[group / RHYTHMS.len()].1
}

/// The local time's distance from UTC in a group, in hours.
pub(super) fn offset_of(group: usize) -> i64 {
    ZONES[group / RHYTHMS.len()].0
}

/// A group's load in an hour since 1970 (UTC), in 0.01 % of its busiest; never zero.
fn load(group: usize, hour: u64) -> u64 {
    let local = hour.saturating_add_signed(offset_of(group));
    let (curve, weekend_percent) = &RHYTHMS[group % RHYTHMS.len()];
    // 1970-01-01 was a Thursday.
    let weekend = (local / 24 + 3) % 7 >= 5;
    let percent = if weekend { *weekend_percent } else { 100 };
    curve[index(local % 24)] * percent
}

/// Hands out the times of a number of events over a span of days, in order, as the groups' loads ask for.
pub(super) struct Slots {
    seed: u64,
    random: Random,
    weights: [u64; GROUPS],
    budget: u64,
    /// Hours since 1970: the one being handed out, and the first one after the span.
    hour: u64,
    end_hour: u64,
    /// Load of the hours so far, that of all, and the running sums over the groups in the present hour.
    past: u64,
    total: u64,
    sums: [u64; GROUPS],
    /// Events handed out in the present hour, and how many it has.
    given: u64,
    in_hour: u64,
    next: Option<u64>,
}

impl Slots {
    /// `budget` events over `days` days from `first_day` (days since 1970); `weights` is each group's activity.
    pub(super) fn new(seed: u64, first_day: u64, days: u64, weights: [u64; GROUPS], budget: u64) -> Self {
        let mut slots = Self {
            seed,
            random: Random::new(seed, 2),
            weights,
            budget,
            hour: first_day * 24,
            end_hour: (first_day + days) * 24,
            past: 0,
            total: 0,
            sums: [0; GROUPS],
            given: 0,
            in_hour: 0,
            next: None,
        };
        slots.total = (slots.hour..slots.end_hour).map(|hour| slots.sums_of(hour)[GROUPS - 1]).sum();
        slots.open_hour();
        slots.advance();
        slots
    }

    /// The next event's time in ms since 1970, if there is one more.
    pub(super) fn peek(&self) -> Option<u64> {
        self.next
    }

    /// Goes on to the event after the next.
    pub(super) fn advance(&mut self) {
        while self.given == self.in_hour {
            if self.hour + 1 >= self.end_hour {
                self.next = None;
                return;
            }
            self.hour += 1;
            self.open_hour();
        }
        let within = (u128::from(self.given) * u128::from(HOUR) + u128::from(self.random.below(HOUR)))
            / u128::from(self.in_hour);
        self.given += 1;
        self.next = Some(self.hour * HOUR + u64::try_from(within).unwrap_or(0));
    }

    /// A group, each as often as it is active in the present hour.
    pub(super) fn group(&self, random: &mut Random) -> usize {
        let drawn = random.below(self.sums[GROUPS - 1]);
        self.sums.iter().position(|sum| drawn < *sum).unwrap_or(0)
    }

    fn open_hour(&mut self) {
        let before = self.share(self.past);
        self.sums = self.sums_of(self.hour);
        self.past += self.sums[GROUPS - 1];
        self.in_hour = self.share(self.past) - before;
        self.given = 0;
    }

    /// How much of the budget belongs to this much of the whole load.
    fn share(&self, load: u64) -> u64 {
        let share = u128::from(self.budget) * u128::from(load) / u128::from(self.total.max(1));
        u64::try_from(share).unwrap_or(self.budget)
    }

    fn sums_of(&self, hour: u64) -> [u64; GROUPS] {
        // No two days are quite alike.
        let busy_percent = 85 + mix(self.seed ^ (hour / 24)) % 31;
        let mut sum = 0;
        let mut sums = [0; GROUPS];
        for (group, slot) in sums.iter_mut().enumerate() {
            sum += self.weights[group] * load(group, hour) * busy_percent / 100;
            *slot = sum;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_handed_out_in_order_and_nights_are_quiet() {
        let slots = |budget| Slots::new(7, 20_000, 14, [1 << 24; GROUPS], budget);
        for budget in [0, 1, 13, 100_000] {
            let mut slots = slots(budget);
            let mut times = Vec::new();
            while let Some(at) = slots.peek() {
                times.push(at);
                slots.advance();
            }
            assert_eq!(times.len() as u64, budget);
            assert!(times.is_sorted());
            assert!(times.iter().all(|at| (20_000 * DAY..20_014 * DAY).contains(at)));
        }
        // 2026-01-07 was a Wednesday, day 20,460; group 6 is offices at UTC+1.
        assert!(load(6, 20_460 * 24 + 9) > 20 * load(6, 20_460 * 24 + 2));
        assert!(load(6, 20_460 * 24 + 9) > 5 * load(6, 20_463 * 24 + 9));
    }
}
