//! All schedules on one page: what runs when, for which periods, and what becomes of turns that were missed.

use chrono::{DateTime, Utc};
use croner::Cron;

use crate::config::{self, Config};
use crate::model::{Day, Instant, PeriodType, Zone};

/// The jobs that run on schedules, in the order in which they run where several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    Ingest,
    Rollup,
    DayClose,
    MonthClose,
    Compact,
    Retention,
    Verify,
}

/// Which periods the runs of a job are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Periods {
    /// Turns; a run does whatever there is to do, so the last turn's run makes up for all that were missed.
    LastTurn,
    /// Turns, each of them, in order.
    EachTurn,
    /// Days or months that have ended and settled, each of them, in order; a turn only looks whether there are any.
    Settled(PeriodType),
}

/// Nights that were missed are made up for up to so many: by then every service's turn has come again.
pub(super) const TURNS_TO_MAKE_UP: usize = 31;

impl Job {
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Rollup, Self::DayClose, Self::MonthClose, Self::Compact, Self::Retention, Self::Verify];

    /// As `job_runs` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Rollup => "rollup",
            Self::DayClose => "day-close",
            Self::MonthClose => "month-close",
            Self::Compact => "compact",
            Self::Retention => "retention",
            Self::Verify => "verify",
        }
    }

    pub const fn periods(self) -> Periods {
        match self {
            Self::Ingest | Self::Rollup | Self::Compact | Self::Retention => Periods::LastTurn,
            Self::DayClose => Periods::Settled(PeriodType::Daily),
            Self::MonthClose => Periods::Settled(PeriodType::Monthly),
            Self::Verify => Periods::EachTurn,
        }
    }

    pub const fn cron(self, schedule: &config::Schedule) -> &Cron {
        match self {
            Self::Ingest => &schedule.ingest,
            Self::Rollup => &schedule.rollup,
            Self::DayClose => &schedule.day_close,
            Self::MonthClose => &schedule.month_close,
            Self::Compact => &schedule.compact,
            Self::Retention => &schedule.retention,
            Self::Verify => &schedule.verify,
        }
    }
}

/// When the days and months of an installation have settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    pub zone: Zone,
    /// In nanoseconds.
    pub settle_after: i64,
}

impl Calendar {
    pub fn new(config: &Config) -> Self {
        let settle_after = i64::try_from(config.rollup.settle_after.as_nanos()).unwrap_or(i64::MAX);
        Self { zone: config.reporting.timezone, settle_after }
    }

    /// The period that a job does next, where one is due at its turn: the first one behind the last that is done. A job that
    /// never ran begins with the latest one. Settled periods are told by the instant at which they end.
    pub fn next_period(
        self,
        periods: Periods,
        cron: &Cron,
        last_done: Option<Instant>,
        turn: Instant,
        now: Instant,
    ) -> Option<Instant> {
        match periods {
            Periods::LastTurn => Some(turn),
            Periods::EachTurn => first_missed(cron, last_done, turn),
            Periods::Settled(of) => {
                let settled = Instant::from_nanos(now.nanos().saturating_sub(self.settle_after));
                let latest = self.zone.start_of(of.period_of(self.zone.day_of(settled)));
                let Some(last) = last_done else { return Some(latest) };
                let next = self.zone.start_of(of.after(self.zone.day_of(last)));
                (last < latest).then_some(next)
            }
        }
    }

    /// The first day of the period that ends at an instant.
    pub fn ending_at(self, of: PeriodType, end: Instant) -> Day {
        of.period_of(self.zone.day_of(end).previous())
    }
}

/// The last turn of a schedule up to an instant.
pub(super) fn last_turn(cron: &Cron, until: Instant) -> Option<Instant> {
    let until = DateTime::<Utc>::from_timestamp(until.to_utc().timestamp(), 0)?;
    cron.find_previous_occurrence(&until, true).ok().map(Instant::from)
}

fn first_missed(cron: &Cron, last_done: Option<Instant>, turn: Instant) -> Option<Instant> {
    let Some(last) = last_done else { return Some(turn) };
    let before = |turn: &Instant| {
        let earlier = cron.find_previous_occurrence(&turn.to_utc(), false).ok()?;
        Some(Instant::from(earlier))
    };
    std::iter::successors(Some(turn), before).take(TURNS_TO_MAKE_UP).take_while(|turn| *turn > last).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        croner::parser::CronParser::builder().seconds(croner::parser::Seconds::Required).build().parse(text).unwrap()
    }

    fn at(text: &str) -> Instant {
        Instant::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_last_turn_is_told_whatever_the_fraction_of_the_second() {
        let nightly = cron("0 20 3 * * *");
        for (until, turn) in [
            ("2026-03-04T03:20:00Z", "2026-03-04T03:20:00Z"),
            ("2026-03-04T03:20:00.999Z", "2026-03-04T03:20:00Z"),
            ("2026-03-04T03:19:59.999Z", "2026-03-03T03:20:00Z"),
        ] {
            assert_eq!(last_turn(&nightly, at(until)), Some(at(turn)), "{until}");
        }
    }

    #[test]
    fn days_are_closed_in_order_when_they_have_settled_also_where_clocks_are_put_forward() {
        let hours = 3_600_000_000_000;
        let calendar = Calendar { zone: "America/New_York".parse().unwrap(), settle_after: 2 * hours };
        let look = cron("0 * * * * *");
        let next = |last_done, now| {
            let daily = Periods::Settled(PeriodType::Daily);
            calendar.next_period(daily, &look, last_done, at("2026-03-09T00:00:00Z"), at(now))
        };
        // 7 March ends at 05:00 UTC, 8 March, which has 23 hours, at 04:00 the day after.
        let (seventh, eighth) = (at("2026-03-08T05:00:00Z"), at("2026-03-09T04:00:00Z"));
        assert_eq!(next(None, "2026-03-09T05:59:59Z"), Some(seventh));
        assert_eq!(next(Some(seventh), "2026-03-09T05:59:59Z"), None);
        assert_eq!(next(Some(seventh), "2026-03-09T06:00:00Z"), Some(eighth));
        assert_eq!(next(Some(seventh), "2026-03-20T06:00:00Z"), Some(eighth), "the first of those that were missed");
        assert_eq!(next(Some(eighth), "2026-03-01T00:00:00Z"), None, "the clock was put back");
        assert_eq!(calendar.ending_at(PeriodType::Daily, eighth).to_string(), "2026-03-08");
        assert_eq!(calendar.ending_at(PeriodType::Monthly, at("2026-03-01T05:00:00Z")).to_string(), "2026-02-01");
    }

    #[test]
    fn nights_that_were_missed_are_made_up_for_within_bounds() {
        let nightly = cron("0 17 2 * * *");
        let missed = |last: Option<&str>| first_missed(&nightly, last.map(at), at("2026-03-31T02:17:00Z"));
        assert_eq!(missed(None), Some(at("2026-03-31T02:17:00Z")));
        assert_eq!(missed(Some("2026-03-31T02:17:00Z")), None);
        assert_eq!(missed(Some("2026-03-28T02:17:00Z")), Some(at("2026-03-29T02:17:00Z")));
        assert_eq!(missed(Some("2020-01-01T02:17:00Z")), Some(at("2026-03-01T02:17:00Z")));
    }
}
