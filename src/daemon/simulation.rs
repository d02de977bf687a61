//! The schedules under a simulated clock: it is put forward and back, the machine sleeps, the daemon is killed and started again,
//! and runs fail. Whatever happens, no period is missed or done twice, and periods that are done one by one are done in order.

use std::collections::BTreeSet;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::schedule::{Calendar, Periods, TURNS_TO_MAKE_UP, last_turn};
use super::timetable::{Moment, Timetable};
use crate::model::{Instant, PeriodType};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// What happens to the daemon, and for how many seconds.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u32),
    /// The machine sleeps, or its clock is put forward: the steady clock does not go on.
    Forward(u32),
    Back(u32),
    /// The daemon is down for so long, and begins anew.
    Restart(u32),
    /// The next run ends so.
    Ends(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    FailsForNow,
    Fails,
    /// The daemon is killed within it.
    Killed,
}

#[derive(Clone, Debug)]
struct Schedule {
    cron: String,
    periods: Periods,
    zone: &'static str,
    settle_hours: i64,
    start: u32,
    steps: Vec<Step>,
}

struct World {
    cron: Cron,
    periods: Periods,
    calendar: Calendar,
    wall: i64,
    steady: Duration,
    timetable: Timetable,
    next_end: End,
    /// The periods that are done, in the order in which they were.
    done: Vec<Instant>,
    claims: BTreeSet<Instant>,
    /// When the last run was done, by the wall clock, with or without a period of its own.
    last_run: i64,
    was_put_back: bool,
    has_failed: bool,
}

impl World {
    fn new(schedule: &Schedule) -> Self {
        let cron = CronParser::builder().seconds(Seconds::Required).build().parse(&schedule.cron).unwrap();
        Self {
            timetable: Timetable::new(cron.clone()),
            cron,
            periods: schedule.periods,
            calendar: Calendar { zone: schedule.zone.parse().unwrap(), settle_after: schedule.settle_hours * HOUR },
            wall: i64::from(schedule.start) * SECOND,
            steady: Duration::ZERO,
            next_end: End::Done,
            done: Vec::new(),
            claims: BTreeSet::new(),
            last_run: 0,
            was_put_back: false,
            has_failed: false,
        }
    }

    fn moment(&self) -> Moment {
        Moment { wall: Instant::from_nanos(self.wall), steady: self.steady }
    }

    fn restart(&mut self) {
        self.timetable = Timetable::new(self.cron.clone());
        self.has_failed = false;
        self.look();
    }

    fn step(&mut self, step: Step) {
        match step {
            // The ticker wakes the daemon up in between, as often as it likes.
            Step::Wait(seconds) => {
                for part in [seconds / 3, seconds - seconds / 3] {
                    self.wall += i64::from(part) * SECOND + 7;
                    self.steady += Duration::from_secs(part.into());
                    self.look();
                }
            }
            Step::Forward(seconds) => {
                self.wall += i64::from(seconds) * SECOND;
                self.look();
            }
            Step::Back(seconds) => {
                self.wall -= i64::from(seconds) * SECOND;
                self.was_put_back = true;
                self.look();
            }
            Step::Restart(seconds) => {
                self.wall += i64::from(seconds) * SECOND;
                self.restart();
            }
            Step::Ends(end) => self.next_end = end,
        }
    }

    /// As `Jobs::round` does, until nothing is due.
    fn look(&mut self) {
        while let Some(turn) = self.timetable.turn(self.moment()) {
            let last_done = self.claims.last().copied();
            let now = Instant::from_nanos(self.wall);
            let next = self.calendar.next_period(self.periods, &self.cron, last_done, turn, now);
            let Some(period) = next else {
                self.timetable.done(false);
                continue;
            };
            match std::mem::replace(&mut self.next_end, End::Done) {
                End::Done => {
                    let is_first = self.claims.insert(period);
                    assert!(is_first || self.periods == Periods::LastTurn, "{period:?} is done twice");
                    if is_first {
                        self.done.push(period);
                    }
                    self.last_run = self.wall;
                    self.has_failed = false;
                    self.timetable.done(self.periods != Periods::LastTurn);
                }
                End::Killed => return self.restart(),
                failed => {
                    self.has_failed = true;
                    self.timetable.failed(self.moment(), failed == End::FailsForNow);
                }
            }
        }
    }

    /// After any step, the last turn's work is done, unless that failed and waits to be tried again.
    fn is_up_to_date(&self) -> bool {
        let last = last_turn(&self.cron, Instant::from_nanos(self.wall)).unwrap();
        self.periods != Periods::LastTurn || self.has_failed || self.was_put_back || self.last_run >= last.nanos()
    }
}

fn crons(periods: Periods) -> impl Strategy<Value = String> {
    let times = match periods {
        Periods::LastTurn => vec!["*/2 * *", "30 * *", "5 */7 *", "0 13 4", "59 59 23"],
        Periods::EachTurn => vec!["0 17 *", "5 */20 *", "0 13 4", "59 59 23"],
        // A turn of what has settled only looks.
        Periods::Settled(_) => vec!["10 * *"],
    };
    let days = match periods {
        Periods::Settled(_) => vec!["* * *"],
        _ => vec!["* * *", "1 * *", "31 * *", "* * 1-5"],
    };
    (prop::sample::select(times), prop::sample::select(days)).prop_map(|(time, day)| format!("{time} {day}"))
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let periods = prop::sample::select(vec![
        Periods::LastTurn,
        Periods::EachTurn,
        Periods::Settled(PeriodType::Daily),
        Periods::Settled(PeriodType::Monthly),
    ]);
    let zone = prop::sample::select(vec!["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]);
    let seconds = prop_oneof![4 => 1..300_u32, 2 => 1..100_000_u32, 1 => 1..8_000_000_u32];
    let end = prop::sample::select(vec![End::FailsForNow, End::Fails, End::Killed]);
    let step = prop_oneof![
        6 => seconds.clone().prop_map(Step::Wait),
        1 => seconds.clone().prop_map(Step::Forward),
        1 => seconds.clone().prop_map(Step::Back),
        1 => seconds.prop_map(Step::Restart),
        2 => end.prop_map(Step::Ends),
    ];
    // Around a change of the clocks, too.
    let start = prop_oneof![1_700_000_000..1_900_000_000_u32, Just(1_772_900_000), Just(1_792_900_000)];
    let steps = prop::collection::vec(step, 1..40);
    (periods, zone, 0..5_i64, start, steps).prop_flat_map(|(periods, zone, settle_hours, start, steps)| {
        let schedule = move |cron| Schedule { cron, periods, zone, settle_hours, start, steps: steps.clone() };
        crons(periods).prop_map(schedule)
    })
}

/// All turns of a schedule behind one instant, up to another.
fn turns(cron: &Cron, after: Instant, through: Instant) -> BTreeSet<Instant> {
    cron.iter_after(after.to_utc()).map(Instant::from).take_while(|turn| *turn <= through).collect()
}

/// All ends of days or months behind one instant, up to another.
fn ends(calendar: Calendar, of: PeriodType, after: Instant, through: Instant) -> BTreeSet<Instant> {
    let next = |end: &Instant| Some(calendar.zone.start_of(of.after(calendar.zone.day_of(*end))));
    std::iter::successors(next(&after), next).take_while(|end| *end <= through).collect()
}

#[test]
fn no_period_is_missed_or_done_twice_whatever_the_clock_does() {
    let config = Config { cases: 1_000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&schedules(), |schedule| {
            let mut world = World::new(&schedule);
            world.look();
            let mut latest = world.wall;
            for step in &schedule.steps {
                world.step(*step);
                latest = latest.max(world.wall);
                prop_assert!(world.is_up_to_date(), "after {:?}", step);
            }
            // In the end the clock is right again, what made runs fail is mended, and the daemon is started anew.
            world.next_end = End::Done;
            world.wall = world.wall.max(latest);
            world.restart();
            world.step(Step::Wait(40 * 86_400));
            world.step(Step::Wait(600));

            let done = world.claims;
            let (Some(first), Some(last)) = (done.first().copied(), done.last().copied()) else {
                return Err(TestCaseError::fail("nothing was done"));
            };
            match schedule.periods {
                // The last turn's run makes up for those before.
                Periods::LastTurn => {
                    prop_assert_eq!(Some(last), last_turn(&world.cron, Instant::from_nanos(world.wall)));
                }
                Periods::EachTurn => {
                    prop_assert!(world.done.is_sorted(), "out of order");
                    let all = turns(&world.cron, first, last);
                    let mut later = 0;
                    for turn in all.iter().rev() {
                        later += usize::from(done.contains(turn));
                        prop_assert!(done.contains(turn) || later >= TURNS_TO_MAKE_UP, "{:?} was missed", turn);
                    }
                }
                Periods::Settled(of) => {
                    prop_assert!(world.done.is_sorted(), "out of order");
                    let settled = Instant::from_nanos(world.wall - world.calendar.settle_after);
                    let mut all = ends(world.calendar, of, first, settled);
                    all.insert(first);
                    prop_assert_eq!(done, all);
                }
            }
            Ok(())
        })
        .unwrap();
}
