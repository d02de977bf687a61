//! When a job's turns come, and when one is tried again: a pure function of the clocks, so that a simulated one tests it.

use std::time::Duration;

use croner::Cron;

use super::schedule::last_turn;
use crate::model::Instant;

/// What the clocks show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The time of day, which may be put forward and back.
    pub wall: Instant,
    /// Since the daemon started, which only goes on.
    pub steady: Duration,
}

/// The first time that a run fails, it is tried again after this, then after twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The turns of one job.
#[derive(Debug)]
pub(super) struct Timetable {
    cron: Cron,
    /// The last turn that was looked at. At the start there is none: the last one that there was may have been missed.
    looked_at: Option<Instant>,
    failed: Option<Failed>,
}

/// The last run failed.
#[derive(Clone, Copy, Debug)]
struct Failed {
    times: u32,
    /// By the steady clock.
    not_before: Duration,
    /// Whether time alone may mend it, so that it is tried before the job's next turn.
    may_pass: bool,
}

impl Timetable {
    pub fn new(cron: Cron) -> Self {
        Self { cron, looked_at: None, failed: None }
    }

    /// The job's turn, where it is to run now. However many turns have come since the last one, the last of them is told. Where the
    /// clock was put back, turns come again: what was done for them, the store knows.
    pub fn turn(&mut self, moment: Moment) -> Option<Instant> {
        let last = last_turn(&self.cron, moment.wall)?;
        let is_new = self.looked_at.is_none_or(|looked_at| looked_at < last);
        let is_due = match self.failed {
            None => is_new,
            Some(failed) => moment.steady >= failed.not_before && (failed.may_pass || is_new),
        };
        // A turn that a pause skips is not looked at: it is due when the pause is over.
        if is_due || !is_new {
            self.looked_at = Some(last);
        }
        is_due.then_some(last)
    }

    /// The run was done. Where there may be more to do, the job's turn goes on.
    pub fn done(&mut self, more: bool) {
        self.failed = None;
        if more {
            self.looked_at = None;
        }
    }

    /// The run failed; how long until it is tried again at the earliest.
    pub fn failed(&mut self, moment: Moment, may_pass: bool) -> Duration {
        let times = self.failed.map_or(0, |failed| failed.times) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_PAUSE);
        self.failed = Some(Failed { times, not_before: moment.steady.saturating_add(pause), may_pass });
        pause
    }

    /// How long until a run that failed may be tried again.
    pub fn pause(&self, moment: Moment) -> Option<Duration> {
        self.failed.map(|failed| failed.not_before.saturating_sub(moment.steady))
    }
}
