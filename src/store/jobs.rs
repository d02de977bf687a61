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

/// How a run has ended.
#[derive(Clone, Copy, Debug)]
pub struct JobEnd<'a> {
    pub outcome: JobOutcome,
    pub counts: Option<&'a str>,
    pub error: Option<&'a str>,
}

impl Store {
    /// Claims a job's period, where the run is for one, and notes that the job which holds this lease has begun. Tells whether
    /// it may: a period that is done is not begun again.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn begin_job(&self, lease: &Lease, job: &str, period: Option<Instant>, now: Instant) -> Result<bool> {
        let mut transaction = self.begin_leased(lease).await?;
        let tried = transaction.sql(
            "SELECT count(*) AS runs, count(CASE WHEN outcome = 'done' THEN 1 END) AS done
             FROM job_runs WHERE job = $1 AND period = $2",
        );
        let tried = tried.bind(job).bind(period).one().await?;
        if tried.get::<i64>("done")? > 0 {
            return Ok(false);
        }
        let begin = transaction
            .sql("INSERT INTO job_runs (id, job, period, attempt, started_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(lease.epoch())
            .bind(job)
            .bind(period)
            .bind(tried.get::<i64>("runs")? + 1)
            .bind(now);
        begin.execute().await?;
        transaction.commit().await?;
        self.meters.job_begun(job);
        reach(Point::JobBegun)?;
        Ok(true)
    }

    /// Notes that it has ended.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn end_job(&self, lease: &Lease, end: JobEnd<'_>, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let note = transaction
            .sql("UPDATE job_runs SET ended_at = $2, outcome = $3, counts = $4, error = $5 WHERE id = $1")
            .bind(lease.epoch())
            .bind(now)
            .bind(end.outcome.name())
            .bind(end.counts)
            .bind(end.error);
        note.execute().await?;
        transaction.commit_at(Point::JobDone).await?;
        self.meters.job_ended(end.outcome);
        Ok(())
    }

    /// The last period for which this job is done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_period(&self, job: &str) -> Result<Option<Instant>> {
        let last = "SELECT max(period) AS period FROM job_runs WHERE job = $1 AND outcome = 'done'";
        self.db.readers.sql(last).bind(job).one().await?.get("period")
    }

    /// Forgets runs that began before an instant, but for each job's last one and last one that was done, those that changed
    /// rows whose history is kept, and what tells that periods were closed and numbers verified. Tells how many.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn forget_runs(&self, lease: &Lease, before: Instant) -> Result<u64> {
        let mut transaction = self.begin_leased(lease).await?;
        let forget = transaction.sql(
            "DELETE FROM job_runs WHERE started_at < $1 AND job NOT IN ('day-close', 'month-close', 'verify')
                 AND id NOT IN (SELECT max(id) FROM job_runs GROUP BY job)
                 AND id NOT IN (SELECT max(id) FROM job_runs WHERE outcome = 'done' GROUP BY job)
                 AND id NOT IN (SELECT run FROM usage_history)",
        );
        let forgotten = forget.bind(before).execute().await?;
        transaction.commit().await?;
        Ok(forgotten)
    }
}
