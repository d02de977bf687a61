//! The cron crate, as a ticker only: it says when to look, and what is due is told by the clock. It drifts, and may forget its
//! turns when the clock jumps, so the daemon looks by itself now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};

use super::schedule::Job;
use crate::config::Schedule;

/// Without any tick, the daemon looks after this.
pub(super) const LOOKS_AT_LEAST: Duration = Duration::from_secs(15);

pub(super) struct Ticker {
    scheduler: JobScheduler,
    tick: Arc<Notify>,
}

impl Ticker {
    /// # Errors
    /// When the scheduler can't be started.
    pub async fn start(schedule: &Schedule) -> anyhow::Result<Self> {
        let scheduler = JobScheduler::new().await.context("cannot start the scheduler")?;
        let tick = Arc::new(Notify::new());
        let crons: BTreeSet<&str> = Job::ALL.iter().map(|job| job.cron(schedule).as_str()).collect();
        for cron in crons {
            let ticked = tick.clone();
            let job = CronJob::new(cron, move |_, _| ticked.notify_one())
                .with_context(|| format!("cannot schedule {cron}"))?;
            scheduler.add(job).await.with_context(|| format!("cannot schedule {cron}"))?;
        }
        scheduler.start().await.context("cannot start the scheduler")?;
        Ok(Self { scheduler, tick })
    }

    /// Waits until it is time to look, but not for longer than this.
    pub async fn next(&self, at_most: Option<Duration>) {
        let wait = at_most.map_or(LOOKS_AT_LEAST, |pause| pause.min(LOOKS_AT_LEAST));
        // Whether a tick came or not makes no difference.
        let _ = tokio::time::timeout(wait, self.tick.notified()).await;
    }

    pub async fn stop(&mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop cleanly");
        }
    }
}
