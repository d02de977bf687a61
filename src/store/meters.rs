//! What this process has done with the store since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Timer};

use super::{JobOutcome, Store};
use crate::meters::{Durations, Measured};

/// Upper bounds in seconds: from a turn that finds nothing to do to a backfill of years.
const JOB_BOUNDS: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];

#[derive(Debug, Default)]
pub struct Meters {
    rows_written: AtomicU64,
    holds_lease: AtomicBool,
    leases_lost: AtomicU64,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    /// The job that is under way, and since when.
    running: Option<(String, Timer)>,
    ended: BTreeMap<String, EndedRuns>,
}

/// How the runs of a job ended.
#[derive(Debug)]
struct EndedRuns {
    durations: Durations,
    outcomes: [u64; JobOutcome::ALL.len()],
}

/// The runs of a job that this process has ended.
#[derive(Clone, Debug)]
pub struct RunsMeasured {
    pub job: String,
    pub durations: Measured,
    pub outcomes: Vec<(JobOutcome, u64)>,
}

/// That the lease is held, for as long as it is. A job that it ends with before anybody said how has failed.
#[derive(Debug)]
pub(super) struct Held(Arc<Meters>);

impl Store {
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

impl Meters {
    /// Rows that were written, new, changed and removed ones together.
    #[must_use]
    pub fn rows_written(&self) -> u64 {
        self.rows_written.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.holds_lease.load(Ordering::Relaxed)
    }

    /// How often another writer had taken the lease that was held here.
    #[must_use]
    pub fn leases_lost(&self) -> u64 {
        self.leases_lost.load(Ordering::Relaxed)
    }

    /// For how long the job has run that is under way.
    #[must_use]
    pub fn running(&self) -> Option<(String, Duration)> {
        self.jobs().running.as_ref().map(|(job, since)| (job.clone(), since.elapsed()))
    }

    /// The runs that have ended, by job.
    #[must_use]
    pub fn runs(&self) -> Vec<RunsMeasured> {
        let measured = |(job, runs): (&String, &EndedRuns)| RunsMeasured {
            job: job.clone(),
            durations: runs.durations.measured(),
            outcomes: JobOutcome::ALL.into_iter().zip(runs.outcomes).collect(),
        };
        self.jobs().ended.iter().map(measured).collect()
    }

    pub(super) fn wrote_rows(&self, rows: u64) {
        self.rows_written.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn lost_lease(&self) {
        self.leases_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn job_begun(&self, job: &str) {
        self.jobs().running = Some((job.to_owned(), Timer::now()));
    }

    pub(super) fn job_ended(&self, outcome: JobOutcome) {
        let mut jobs = self.jobs();
        let Some((job, since)) = jobs.running.take() else { return };
        let new = || EndedRuns { durations: Durations::new(JOB_BOUNDS), outcomes: Default::default() };
        let runs = jobs.ended.entry(job).or_insert_with(new);
        runs.durations.add(since.elapsed());
        runs.outcomes[outcome as usize] += 1;
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub fn new(meters: Arc<Meters>) -> Self {
        meters.holds_lease.store(true, Ordering::Relaxed);
        Self(meters)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.job_ended(JobOutcome::Failed);
        self.0.holds_lease.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_whose_end_nobody_told_has_failed() {
        let meters = Arc::new(Meters::default());
        let told = |meters: &Meters| {
            let runs = meters.runs().into_iter().map(|runs| {
                let outcomes: Vec<u64> = runs.outcomes.into_iter().map(|(_, count)| count).collect();
                (runs.job, runs.durations.count, outcomes)
            });
            (meters.holds_lease(), meters.running().map(|(job, _)| job), runs.collect::<Vec<_>>())
        };
        let held = Held::new(meters.clone());
        meters.job_begun("ingest");
        assert_eq!(told(&meters), (true, Some("ingest".to_owned()), vec![]));
        meters.job_ended(JobOutcome::Done);
        drop(held);
        let held = Held::new(meters.clone());
        meters.job_begun("ingest");
        drop(held);
        assert_eq!(told(&meters), (false, None, vec![("ingest".to_owned(), 2, vec![1, 1, 0])]));
    }
}
