//! What jobs have run: one durable row each, whose number is the epoch of the lease that the job held.

use super::{Lease, Result, Store, reach};
use crate::failpoint::Point;
use crate::model::Instant;

/// How a job ended. One that was killed has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    Done,
    Failed,
    Interrupted,
}

impl JobOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Interrupted];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Store {
    /// Notes that the job which holds this lease has begun.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn begin_job(&self, lease: &Lease, job: &str, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let begin = transaction.sql("INSERT INTO job_runs (id, job, started_at) VALUES ($1, $2, $3)");
        begin.bind(lease.epoch()).bind(job).bind(now).execute().await?;
        transaction.commit().await?;
        self.meters.job_begun(job);
        reach(Point::JobBegun)
    }

    /// Notes that it has ended.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn end_job(&self, lease: &Lease, outcome: JobOutcome, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let end = transaction.sql("UPDATE job_runs SET ended_at = $2, outcome = $3 WHERE id = $1");
        end.bind(lease.epoch()).bind(now).bind(outcome.name()).execute().await?;
        transaction.commit_at(Point::JobDone).await?;
        self.meters.job_ended(outcome);
        Ok(())
    }
}
