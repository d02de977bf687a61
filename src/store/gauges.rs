//! What metrics and `status` ask of the store: little, and nothing that grows with the rows.

use super::db::{Pool as Connections, Row, Transaction};
use super::{InputKind, JobOutcome, Ledger, Result, Store, StoreError, Verification};
use crate::event_log::Segment;
use crate::model::{Day, Instant};

/// How an installation stands.
#[derive(Clone, Debug)]
pub struct Gauges {
    pub sources: Vec<SourceGauges>,
    /// Rejected lines that were not replayed, by reason.
    pub dead_letters: Vec<(String, i64)>,
    pub segments: i64,
    pub segment_bytes: i64,
    pub dirty_partitions: i64,
    pub dirty_services: i64,
    /// The last day that has rows.
    pub rows_through: Option<Day>,
    pub inputs_failed: i64,
    pub locked_months: i64,
    /// Rows of locked months that would be otherwise if these were not locked.
    pub pending_rows: i64,
    /// Versions of closed rows that others followed.
    pub restatements: i64,
    /// The number of the last lease, and of the last commit.
    pub epoch: i64,
    pub commits: i64,
    pub jobs: Vec<LastRun>,
    pub verification: Option<Verification>,
}

/// What came from the inputs of one kind.
#[derive(Clone, Debug)]
pub struct SourceGauges {
    pub kind: String,
    pub ledger: Ledger,
    /// When lines of one were last committed.
    pub committed_at: Option<Instant>,
    /// The last UTC day of which an event was in them.
    pub newest_day: Option<Day>,
}

/// How a job ran last.
#[derive(Clone, Debug)]
pub struct LastRun {
    /// Later runs have higher ones.
    pub id: i64,
    pub job: String,
    /// What it was scheduled for; none where somebody asked for it.
    pub period: Option<Instant>,
    /// Its number among the runs that were tried for that period, from 1 on.
    pub attempt: i64,
    pub started_at: Instant,
    pub ended_at: Option<Instant>,
    /// None where it still runs, or was killed.
    pub outcome: Option<JobOutcome>,
    /// Whether nobody has taken the lease since it began, so that it may still run.
    pub is_latest: bool,
    /// Which of its runs was the last that ended well, and when.
    pub done_id: Option<i64>,
    pub done_at: Option<Instant>,
}

/// The connections of one pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub name: &'static str,
    pub connections: u32,
    pub idle: usize,
}

/// Where in the settings the newest day of each kind of input stands.
const NEWEST_DAY: &str = "newest_day.";

impl Store {
    /// How the installation stands.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gauges(&self) -> Result<Gauges> {
        let row = self.db.readers.sql(include_str!("gauges.sql")).one().await?;
        let number = |column| row.get::<i64>(column);
        let day = |text: String| text.parse::<Day>().map_err(StoreError::inconsistent);
        Ok(Gauges {
            sources: self.source_gauges().await?,
            dead_letters: self.dead_letters_by_reason().await?,
            segments: number("segments")?,
            segment_bytes: number("segment_bytes")?,
            dirty_partitions: number("dirty_partitions")?,
            dirty_services: number("dirty_services")?,
            rows_through: row.get::<Option<String>>("rows_through")?.map(day).transpose()?,
            inputs_failed: number("inputs_failed")?,
            locked_months: number("locked_months")?,
            pending_rows: number("pending_rows")?,
            restatements: number("restatements")?,
            epoch: number("epoch")?,
            commits: number("commits")?,
            jobs: self.last_runs().await?,
            verification: self.verification().await?,
        })
    }

    /// What came in, by kind of source.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn source_gauges(&self) -> Result<Vec<SourceGauges>> {
        let by_kind = "SELECT kind, CAST(sum(lines) AS bigint) AS lines, CAST(sum(accepted) AS bigint) AS accepted,
                 CAST(sum(rejected) AS bigint) AS rejected, CAST(sum(duplicate) AS bigint) AS duplicate,
                 CAST(sum(voided) AS bigint) AS voided, CAST(sum(conflicting) AS bigint) AS conflicting,
                 max(changed_at) AS committed_at
             FROM inputs GROUP BY kind ORDER BY kind";
        let mut sources = Vec::new();
        for row in &self.db.readers.sql(by_kind).all().await? {
            let kind: String = row.get("kind")?;
            let newest_day = self.setting(&format!("{NEWEST_DAY}{kind}")).await?;
            let newest_day =
                newest_day.map(|day| day.parse().map(Day).map_err(StoreError::inconsistent)).transpose()?;
            sources.push(SourceGauges {
                ledger: Ledger::of(row)?,
                committed_at: row.get("committed_at")?,
                newest_day,
                kind,
            });
        }
        Ok(sources)
    }

    /// Rejected lines that were not replayed, by reason.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letters_by_reason(&self) -> Result<Vec<(String, i64)>> {
        let reasons = "SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY reason";
        let reasons = self.db.readers.sql(reasons).all().await?;
        reasons.iter().map(|row| Ok((row.get("reason")?, row.get("letters")?))).collect()
    }

    /// How each job ran last, by its name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_runs(&self) -> Result<Vec<LastRun>> {
        // By its index, for a busy daemon's runs are many.
        let last = "WITH RECURSIVE jobs (job) AS (
                 SELECT min(job) FROM job_runs
                 UNION ALL SELECT (SELECT min(job) FROM job_runs WHERE job > jobs.job) FROM jobs WHERE job IS NOT NULL)
             SELECT r.id, r.job, r.period, r.attempt, r.started_at, r.ended_at, r.outcome,
                 r.id = (SELECT epoch FROM lease) AS is_latest, d.id AS done_id, d.ended_at AS done_at
             FROM jobs JOIN job_runs r ON r.id = (SELECT max(id) FROM job_runs l WHERE l.job = jobs.job)
             LEFT JOIN job_runs d ON d.id = (SELECT id FROM job_runs l WHERE l.job = jobs.job AND l.outcome = 'done'
                 ORDER BY id DESC LIMIT 1)
             ORDER BY r.job";
        let runs = self.db.readers.sql(last).all().await?;
        let run = |row: &Row| {
            let outcome: Option<&str> = row.get("outcome")?;
            Ok(LastRun {
                id: row.get("id")?,
                job: row.get("job")?,
                period: row.get("period")?,
                attempt: row.get("attempt")?,
                started_at: row.get("started_at")?,
                ended_at: row.get("ended_at")?,
                outcome: outcome.and_then(|name| JobOutcome::ALL.into_iter().find(|outcome| outcome.name() == name)),
                is_latest: row.get("is_latest")?,
                done_id: row.get("done_id")?,
                done_at: row.get("done_at")?,
            })
        };
        runs.iter().map(run).collect()
    }

    /// Whether the database answers, and its schema is the one that this version needs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_our_schema(&self) -> Result<bool> {
        Ok(self.schema().await? == self.db.readers.schema())
    }

    /// The pools as they are now.
    #[must_use]
    pub fn pools(&self) -> Vec<Pool> {
        let pool = |name, pool: &Connections| Pool { name, connections: pool.size(), idle: pool.num_idle() };
        let mut pools = vec![pool("writer", &self.db.writer), pool("readers", &self.db.readers)];
        if self.db.has_exports_apart() {
            pools.push(pool("exports", &self.db.exports));
        }
        pools
    }
}

/// Notes the newest day of a batch for the kinds of its inputs.
pub(super) async fn note_newest_day(
    transaction: &mut Transaction,
    kinds: impl IntoIterator<Item = InputKind>,
    segments: &[Segment],
) -> Result<()> {
    let days = segments.iter().flat_map(|segment| &segment.partitions).map(|partition| partition.day);
    let Some(newest) = days.max() else { return Ok(()) };
    let note = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE
             SET value = excluded.value WHERE CAST(settings.value AS bigint) < CAST(excluded.value AS bigint)";
    let mut kinds: Vec<&'static str> = kinds.into_iter().map(InputKind::name).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let note = transaction.sql(note).bind(format!("{NEWEST_DAY}{kind}"));
        note.bind(newest.0.to_string()).execute().await?;
    }
    Ok(())
}
