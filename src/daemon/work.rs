//! The jobs at their turns. Only waiting is ever cancelled, never a job: one that is cut off within a statement would leave a
//! connection undefined.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::schedule::{Calendar, Job, Periods};
use super::systemd::Pulse;
use super::ticker::Ticker;
use super::timetable::{Moment, Timetable};
use crate::clock::Clock;
use crate::ingest::spool::Spool;
use crate::jobs::{self, Installation, JobError, Run, Wanted};
use crate::model::{Instant, PeriodType};
use crate::store::StoreError;

/// How long a job waits for another process that writes, before it is tried again.
const LEASE_WAIT: Duration = Duration::from_secs(10);
/// So many merges at a turn: what arrives meanwhile waits for no more than some seconds.
const MERGES_A_TURN: usize = 4;
const NANOS_A_DAY: i64 = 86_400_000_000_000;

/// Runs the jobs at their turns until `stop` is cancelled.
///
/// # Errors
/// When the schedules can't be kept. A job that fails is logged, and tried again.
pub(super) async fn work(
    installation: &Installation,
    spool: Spool,
    pulse: &Pulse,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut ticker = Ticker::start(&installation.config.schedule).await?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let stopping = tokio::spawn({
        let (stop, interrupted) = (stop.clone(), interrupted.clone());
        async move {
            stop.cancelled().await;
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let run = Run { purpose: "run", period: None, wait: LEASE_WAIT, interrupted, progress: Arc::new(|_| {}) };
    let mut jobs = Jobs::new(installation, spool, run);
    let started = time::Instant::now();
    let moment = || Moment { wall: Clock::System.now(), steady: started.elapsed() };
    while !stop.is_cancelled() {
        pulse.beat(true);
        let more = Box::pin(jobs.round(moment)).await;
        pulse.beat(false);
        if !more {
            tokio::select! {
                () = ticker.next(jobs.pause(moment())) => {}
                () = stop.cancelled() => {}
            }
        }
    }
    tracing::info!("stopping");
    ticker.stop().await;
    Ok(stopping.await?)
}

/// All jobs, with their turns.
pub(super) struct Jobs<'i> {
    installation: &'i Installation,
    spool: Spool,
    run: Run,
    calendar: Calendar,
    timetables: Vec<(Job, Timetable)>,
}

/// What came of a job's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    ToNothing,
    /// More periods may be due.
    ToARun,
}

impl<'i> Jobs<'i> {
    pub fn new(installation: &'i Installation, spool: Spool, run: Run) -> Self {
        let schedule = &installation.config.schedule;
        let timetables = Job::ALL.map(|job| (job, Timetable::new(job.cron(schedule).clone()))).into();
        Self { installation, spool, run, calendar: Calendar::new(&installation.config), timetables }
    }

    /// Gives each job whose turn has come one run, and tells whether any has more to do at once. A job that fails keeps no other
    /// from its turn.
    pub async fn round(&mut self, now: impl Fn() -> Moment) -> bool {
        let mut more = false;
        for at in 0..self.timetables.len() {
            if self.run.interrupted.load(Ordering::Relaxed) {
                return false;
            }
            let (job, timetable) = &mut self.timetables[at];
            let (job, Some(turn)) = (*job, timetable.turn(now())) else { continue };
            let came = Box::pin(self.take_turn(job, turn)).await;
            let timetable = &mut self.timetables[at].1;
            match came {
                Ok(came) => {
                    let goes_on = came == Came::ToARun && job.periods() != Periods::LastTurn;
                    timetable.done(goes_on);
                    more |= goes_on;
                }
                Err(_) if self.run.interrupted.load(Ordering::Relaxed) => return false,
                Err(error) => {
                    let passes = may_pass(&error);
                    let pause = timetable.failed(now(), passes);
                    tracing::error!(
                        job = job.name(),
                        store = %self.installation.config.store.url,
                        error = format!("{error:#}"),
                        again_in = ?pause,
                        "the job failed; it is tried again"
                    );
                    // Where the store is away, or somebody else writes, the others would wait for the same: they have their turn later.
                    if passes {
                        return false;
                    }
                }
            }
        }
        more
    }

    /// How long until a job that failed may be tried again.
    pub fn pause(&self, moment: Moment) -> Option<Duration> {
        self.timetables.iter().filter_map(|(_, timetable)| timetable.pause(moment)).min()
    }

    async fn take_turn(&self, job: Job, turn: Instant) -> anyhow::Result<Came> {
        let periods = job.periods();
        let last_done = match periods {
            Periods::LastTurn => None,
            _ => self.installation.store.last_period(job.name()).await?,
        };
        let cron = job.cron(&self.installation.config.schedule);
        let now = self.installation.now();
        let Some(period) = self.calendar.next_period(periods, cron, last_done, turn, now) else {
            return Ok(Came::ToNothing);
        };
        match Box::pin(self.perform(job, Some(period))).await {
            Err(error) if is_done_already(&error) => match periods {
                // The clock was put back, or another process has had this turn. What there is to do is done all the same.
                Periods::LastTurn => Box::pin(self.perform(job, None)).await,
                _ => Ok(Came::ToARun),
            },
            came => came,
        }
    }

    async fn perform(&self, job: Job, period: Option<Instant>) -> anyhow::Result<Came> {
        let (installation, run) = (self.installation, Run { period, ..self.run.clone() });
        match (job, period) {
            (Job::Ingest, _) => ingest(installation, &self.spool, &run).await,
            (Job::Rollup, _) => rollup(installation, &run).await,
            (Job::DayClose, Some(end)) => self.close(&run, PeriodType::Daily, end).await,
            (Job::MonthClose, Some(end)) => self.close(&run, PeriodType::Monthly, end).await,
            (Job::Compact, _) => compact(installation, &run).await,
            (Job::Retention, _) => retention(installation, &run).await,
            (Job::Verify, Some(night)) => verify(installation, &run, night).await,
            (Job::DayClose | Job::MonthClose | Job::Verify, None) => Ok(Came::ToNothing),
        }
    }

    async fn close(&self, run: &Run, of: PeriodType, end: Instant) -> anyhow::Result<Came> {
        let period = self.calendar.ending_at(of, end);
        let report = jobs::close_period(self.installation, run, of, period).await?;
        tracing::info!(
            period_type = of.name(),
            %period,
            rows = report.rows,
            unsettled = report.unsettled,
            rows_written = report.rows_written,
            "closed a period"
        );
        Ok(Came::ToARun)
    }
}

fn is_done_already(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(JobError::PeriodDone { .. }))
}

/// Whether a failure may pass by itself: a server that is away, or another process that writes.
fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(StoreError::is_out_of_reach)
            || cause.downcast_ref().is_some_and(JobError::may_pass)
    })
}

async fn ingest(installation: &Installation, spool: &Spool, run: &Run) -> anyhow::Result<Came> {
    spool.seal().await?;
    if !jobs::anything_waits(installation, false).await? {
        return Ok(Came::ToNothing);
    }
    let report = jobs::ingest(installation, run, Wanted::Waiting).await?;
    if report.files == 0 {
        return Ok(Came::ToARun);
    }
    for (name, error) in &report.failed {
        tracing::warn!(input = name, %error, "an input can't be read to its end; it stays in the inbox until it changes");
    }
    tracing::info!(
        files = report.files,
        lines = report.lines,
        stored = report.stored,
        duplicate = report.duplicate,
        rejected = report.rejected,
        rows_written = report.rows_written,
        "ingested"
    );
    Ok(Came::ToARun)
}

async fn rollup(installation: &Installation, run: &Run) -> anyhow::Result<Came> {
    if !jobs::is_rollup_due(installation).await? {
        return Ok(Came::ToNothing);
    }
    let report = jobs::rollup(installation, run).await?;
    if report.rows_written > 0 {
        tracing::info!(partitions = report.partitions, rows_written = report.rows_written, "rolled up");
    }
    Ok(Came::ToARun)
}

async fn compact(installation: &Installation, run: &Run) -> anyhow::Result<Came> {
    if !jobs::has_small_segments(installation).await? {
        return Ok(Came::ToNothing);
    }
    let report = jobs::compact(installation, run, MERGES_A_TURN).await?;
    for (segment, error) in &report.unreadable {
        tracing::warn!(segment, %error, "a segment can't be read, and is not merged; run `usage-rollup verify`");
    }
    if report.merged > 0 {
        tracing::info!(
            merged = report.merged,
            into = report.into,
            rows = report.rows,
            "merged segments of the event log"
        );
    }
    Ok(Came::ToARun)
}

async fn retention(installation: &Installation, run: &Run) -> anyhow::Result<Came> {
    if jobs::plan_retention(installation).await?.segments == 0 {
        return Ok(Came::ToNothing);
    }
    let report = jobs::retention(installation, run).await?;
    for (segment, error) in &report.unreadable {
        tracing::warn!(segment, %error, "a segment can't be read, and stays as it is; run `usage-rollup verify`");
    }
    tracing::info!(days = report.days.len(), lines = report.lines, "dropped the contents of old events");
    Ok(Came::ToARun)
}

async fn verify(installation: &Installation, run: &Run, night: Instant) -> anyhow::Result<Came> {
    let number = usize::try_from(night.nanos() / NANOS_A_DAY).unwrap_or_default();
    let found = jobs::verify_sample(installation, run, number).await?;
    let (services, rows) = (found.services, found.rows);
    if found.differences > 0 || found.unreadable > 0 {
        tracing::error!(
            services,
            rows,
            differences = found.differences,
            unreadable_days = found.unreadable,
            "what is stored is not what the event log comes to; run `usage-rollup verify`, which names each difference"
        );
    } else {
        tracing::info!(services, rows, "verified");
    }
    Ok(Came::ToARun)
}
