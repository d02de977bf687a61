//! All schedules on one page. The cron crate is only a ticker: it says that a job's turn has come, and a turn that comes
//! while the job still runs is one turn, not two.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};

use super::Job;
use crate::config::Schedule;

/// Tells when a job's turn has come. At the start every job has one, to catch up with what was missed.
pub(super) struct Ticks {
    scheduler: JobScheduler,
    ingest: Arc<Notify>,
    rollup: Arc<Notify>,
    compact: Arc<Notify>,
}

impl Ticks {
    /// # Errors
    /// When the scheduler can't be started.
    pub async fn start(schedule: &Schedule) -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("cannot start the scheduler")?;
        let [ingest, rollup, compact] = [(); 3].map(|()| Arc::new(Notify::new()));
        let ticks = Self { scheduler, ingest, rollup, compact };
        let turns =
            [(&schedule.ingest, &ticks.ingest), (&schedule.rollup, &ticks.rollup), (&schedule.compact, &ticks.compact)];
        for (cron, turn) in turns {
            let tick = turn.clone();
            let job = CronJob::new(cron.as_str(), move |_, _| tick.notify_one())
                .with_context(|| format!("cannot schedule {cron}"))?;
            ticks.scheduler.add(job).await.with_context(|| format!("cannot schedule {cron}"))?;
            turn.notify_one();
        }
        ticks.scheduler.start().await.context("cannot start the scheduler")?;
        Ok(ticks)
    }

    /// Waits for the next turn of any job.
    pub async fn next(&self) -> Job {
        tokio::select! {
            () = self.ingest.notified() => Job::Ingest,
            () = self.rollup.notified() => Job::Rollup,
            () = self.compact.notified() => Job::Compact,
        }
    }

    pub async fn stop(&mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop cleanly");
        }
    }
}
