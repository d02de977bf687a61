//! The order in which lines appear: by time, but for those that are late and those that are delivered again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Plan;
use super::author::Author;
use super::calendar::{DAY, HOUR, Slots};
use super::directory::Directory;
use super::random::{Random, power_of_two};

/// Late events, in 0.01 % of all.
const LATE: u64 = 50;

/// Lines that wait for their turn take at most this much memory; beyond it the first of them goes out early.
const HELD_BYTES: usize = 64 << 20;

/// What happens at a fixed time: a service starts, and shortly after something happens in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Start,
    FirstEvent,
}

/// A line that appears in the stream when it has reached `due`; the serial number keeps equal ones in order.
type Held = Reverse<(u64, u64, Box<[u8]>)>;

/// The lines of a plan, one after the other.
pub(super) struct Stream {
    random: Random,
    author: Author,
    slots: Slots,
    /// The steps still to come, last one first.
    steps: Vec<(u64, Step, u32)>,
    held: BinaryHeap<Held>,
    held_bytes: usize,
    serial: u64,
    /// Events and redeliveries still to come: choosing by these meets both numbers exactly.
    events_left: u64,
    copies_left: u64,
    /// The longest delay of a late event in ms.
    max_delay: u64,
}

impl Stream {
    /// `first_day` is in days since 1970. The plan has been checked.
    pub(super) fn new(plan: &Plan, first_day: u64) -> Self {
        let days = u64::from(plan.days);
        let copies = plan.events / 100 + u64::from(plan.events % 100 >= 50);
        let events = plan.events - copies;
        // With few events some services never appear, rather than appear without their first event.
        let services = u32::try_from((events / 2).clamp(1, u64::from(plan.services))).unwrap_or(plan.services);
        let directory = Directory::new(plan.seed, services, plan.users, first_day, days);
        let steps = steps(plan.seed, &directory, events, (first_day + days) * DAY);
        let budget = events - steps.len() as u64;
        Self {
            random: Random::new(plan.seed, 4),
            slots: Slots::new(plan.seed, first_day, days, directory.activity_of_groups(), budget),
            author: Author::new(plan.seed, directory, budget, days),
            steps,
            held: BinaryHeap::new(),
            held_bytes: 0,
            serial: 0,
            events_left: events,
            copies_left: copies,
            max_delay: (days * DAY / 8).min(3 * DAY),
        }
    }

    /// Appends the next line to `out`; false when there is none.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        loop {
            let at = match (self.steps.last().map(|(at, ..)| *at), self.slots.peek()) {
                (Some(step), Some(slot)) => Some(step.min(slot)),
                (step, slot) => step.or(slot),
            };
            let due = self.held.peek().map(|Reverse((due, ..))| *due);
            if due.is_some_and(|due| self.held_bytes > HELD_BYTES || at.is_none_or(|at| due <= at)) {
                return self.release(out);
            }
            let Some(at) = at else { return false };
            self.write_event(at);
            let copied = self.random.below(self.events_left) < self.copies_left;
            let late = self.random.below(10_000) < LATE;
            self.events_left -= 1;
            let mut appears = at;
            if late {
                let share = power_of_two((10 << 16) + self.random.below(6 << 16));
                appears += HOUR + share * (self.max_delay - HOUR) / 65_536;
                self.hold(appears);
            } else {
                out.extend_from_slice(self.author.draft.bytes());
            }
            if copied {
                self.copies_left -= 1;
                // From a minute to four hours after the first copy, short delays more often.
                let delay = 60_000 * power_of_two(self.random.below(8 << 16)) + self.random.below(60_000);
                self.hold(appears + delay);
            }
            if !late {
                return true;
            }
        }
    }

    /// Writes the event that happens at `at` into the author's draft.
    fn write_event(&mut self, at: u64) {
        let Some((_, step, service)) = self.steps.pop_if(|(step_at, ..)| *step_at <= at) else {
            self.author.something(&self.slots, at);
            self.slots.advance();
            return;
        };
        match step {
            Step::Start => self.author.service_started(service, at),
            Step::FirstEvent => {
                if !self.author.logged_in(service, at) {
                    self.author.feature_used(service, at);
                }
            }
        }
    }

    fn hold(&mut self, due: u64) {
        let line: Box<[u8]> = self.author.draft.bytes().into();
        self.held_bytes += line.len();
        self.held.push(Reverse((due, self.serial, line)));
        self.serial += 1;
    }

    fn release(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Reverse((.., line))) = self.held.pop() else {
            return false;
        };
        self.held_bytes -= line.len();
        out.extend_from_slice(&line);
        true
    }
}

/// The start and the first event of every service, as far as there are `events` for them, last one first.
fn steps(seed: u64, directory: &Directory, events: u64, end: u64) -> Vec<(u64, Step, u32)> {
    let mut random = Random::new(seed, 5);
    let mut steps = Vec::new();
    for (service, number) in directory.services().iter().zip(0..) {
        let first_event = service.starts + random.between(60_000, HOUR / 2);
        steps.push((service.starts, Step::Start, number));
        steps.push((first_event.min(end - 1), Step::FirstEvent, number));
    }
    steps.sort_unstable();
    steps.truncate(super::random::index(events));
    steps.reverse();
    steps
}
