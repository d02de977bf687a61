//! What the store and the file system tell, as metrics.

use std::fmt::Result;
use std::sync::Arc;
use std::time::{Duration, Instant as Timer};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::files::Files;
use super::page::Page;
use crate::jobs::Reading;
use crate::store::{Gauges, JobOutcome, Pool, RunsMeasured, Verification};

/// What was answered at one time.
#[derive(Debug)]
pub(super) struct Answers {
    gauges: Gauges,
    lost_commits: i64,
    files: Files,
    took: Duration,
}

impl Answers {
    /// None where the store does not answer.
    pub async fn ask(reading: Reading) -> Option<Self> {
        let began = Timer::now();
        let asked = async {
            let (gauges, lost_commits) = (reading.store.gauges().await?, reading.lost_commits().await?);
            let files = tokio::task::spawn_blocking(move || Files::of(&reading)).await??;
            anyhow::Ok(Self { gauges, lost_commits, files, took: began.elapsed() })
        };
        asked.await.inspect_err(|error| tracing::warn!(error = format!("{error:#}"), "metrics lack the store's")).ok()
    }
}

/// One scrape of an installation.
#[derive(Debug)]
pub(super) struct Told {
    answers: Option<Arc<Answers>>,
    pools: Vec<Pool>,
    runs: Vec<RunsMeasured>,
    running: Duration,
    rows_written: u64,
    holds_lease: bool,
    leases_lost: u64,
}

impl Told {
    pub fn new(reading: &Reading, answers: Option<Arc<Answers>>) -> Self {
        let meters = reading.store.meters();
        Self {
            answers,
            pools: reading.store.pools(),
            runs: meters.runs(),
            running: meters.running().map(|(_, running)| running).unwrap_or_default(),
            rows_written: meters.rows_written(),
            holds_lease: meters.holds_lease(),
            leases_lost: meters.leases_lost(),
        }
    }
}

impl Collector for Told {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let page = &mut Page::new(encoder);
        page.gauge("usage_rollup_store_up", "Whether the store answered.", i64::from(self.answers.is_some()))?;
        self.tell_of_process(page)?;
        let Some(answers) = self.answers.as_deref() else { return Ok(()) };
        tell_of_sources(&answers.gauges, page)?;
        tell_of_store(answers, page)?;
        tell_of_jobs(&answers.gauges, page)?;
        if let Some(verification) = &answers.gauges.verification {
            tell_of_verification(verification, page)?;
        }
        tell_of_files(&answers.files, page)
    }
}

impl Told {
    /// What this process did, and not what others do beside it.
    fn tell_of_process(&self, page: &mut Page<'_>) -> Result {
        let of_pools =
            |value: fn(&Pool) -> i64| self.pools.iter().map(move |pool| ([("pool", pool.name)], value(pool)));
        page.gauges(
            "usage_rollup_store_connections",
            "Open connections to the store, by pool.",
            of_pools(|pool| pool.connections.into()),
        )?;
        page.gauges(
            "usage_rollup_store_idle_connections",
            "Connections to the store that nobody uses, by pool.",
            of_pools(|pool| i64::try_from(pool.idle).unwrap_or(i64::MAX)),
        )?;
        page.gauge("usage_rollup_lease_held", "Whether this process writes just now.", i64::from(self.holds_lease))?;
        page.counter("usage_rollup_lease_losses", "Leases that another writer took away.", self.leases_lost)?;
        page.counter("usage_rollup_rows_written", "Rows written: new, changed and removed.", self.rows_written)?;
        page.gauge(
            "usage_rollup_job_running_seconds",
            "How long the job has run that this process runs; 0 where it runs none.",
            self.running.as_secs_f64(),
        )?;
        let outcomes = self.runs.iter().flat_map(|runs| {
            let labels = |outcome: JobOutcome| [("job_name", runs.job.as_str()), ("outcome", outcome.name())];
            runs.outcomes.iter().map(move |(outcome, count)| (labels(*outcome), *count))
        });
        page.counters("usage_rollup_job_runs", "Runs that this process ended, by job and outcome.", outcomes)?;
        page.histograms(
            "usage_rollup_job_duration_seconds",
            "How long these runs took, by job.",
            self.runs.iter().map(|runs| (("job_name", runs.job.as_str()), &runs.durations)),
        )
    }
}

fn tell_of_sources(gauges: &Gauges, page: &mut Page<'_>) -> Result {
    let fates = gauges.sources.iter().flat_map(|source| {
        let ledger = source.ledger;
        let fates = [
            ("counted", ledger.counted),
            ("voided", ledger.voided),
            ("conflicting", ledger.conflicting),
            ("duplicate", ledger.duplicate),
            ("rejected", ledger.rejected),
        ];
        fates.map(|(fate, lines)| ([("source", source.kind.as_str()), ("fate", fate)], lines))
    });
    page.gauges("usage_rollup_lines", "Lines that were read, by kind of source and by what became of them.", fates)?;
    let reasons = gauges.dead_letters.iter().map(|(reason, lines)| ([("reason", reason.as_str())], *lines));
    page.gauges("usage_rollup_dead_letters", "Rejected lines that were not replayed, by reason.", reasons)?;
    let sources = || gauges.sources.iter().map(|source| ([("source", source.kind.as_str())], source));
    page.gauges(
        "usage_rollup_last_input_timestamp_seconds",
        "When lines were last committed, by kind of source.",
        sources().filter_map(|(labels, source)| Some((labels, source.committed_at?.seconds()))),
    )?;
    page.gauges(
        "usage_rollup_newest_event_day_timestamp_seconds",
        "The start of the last UTC day of which there is an event, by kind of source.",
        sources().filter_map(|(labels, source)| Some((labels, source.newest_day?.utc_start().seconds()))),
    )?;
    page.gauge("usage_rollup_inputs_failed", "Inputs that could not be read to their end.", gauges.inputs_failed)
}

fn tell_of_store(answers: &Answers, page: &mut Page<'_>) -> Result {
    let gauges = &answers.gauges;
    page.gauge(
        "usage_rollup_dirty_partitions",
        "UTC days that wait to be rolled up, whole or in part.",
        gauges.dirty_partitions,
    )?;
    page.gauge("usage_rollup_dirty_services", "Services whose rows wait to be drawn.", gauges.dirty_services)?;
    if let Some(day) = gauges.rows_through {
        let help = "The last day that has rows, as the start of that date in UTC.";
        page.gauge("usage_rollup_rows_through_timestamp_seconds", help, day.utc_start().seconds())?;
    }
    page.gauge("usage_rollup_segments", "Segments of the event log.", gauges.segments)?;
    page.gauge("usage_rollup_segment_bytes", "Bytes of these.", gauges.segment_bytes)?;
    page.gauge("usage_rollup_locked_months", "Months that are locked.", gauges.locked_months)?;
    page.gauge("usage_rollup_pending_rows", "Rows of locked months that wait for these.", gauges.pending_rows)?;
    page.gauge("usage_rollup_restatements", "Closed rows that were replaced, each time.", gauges.restatements)?;
    page.gauge("usage_rollup_lease_epoch", "How often the lease was taken, by anybody.", gauges.epoch)?;
    page.gauge("usage_rollup_last_commit", "The number of the last commit.", gauges.commits)?;
    page.gauge("usage_rollup_lost_commits", "Commits that an older database does not know.", answers.lost_commits)?;
    page.gauge("usage_rollup_scrape_duration_seconds", "How long asking for these took.", answers.took.as_secs_f64())
}

fn tell_of_jobs(gauges: &Gauges, page: &mut Page<'_>) -> Result {
    let jobs = || gauges.jobs.iter().map(|run| ([("job_name", run.job.as_str())], run));
    page.gauges(
        "usage_rollup_job_last_success_timestamp_seconds",
        "When a run of the job last ended well, in any process.",
        jobs().filter_map(|(labels, run)| Some((labels, run.done_at?.seconds()))),
    )?;
    page.gauges(
        "usage_rollup_job_last_failed",
        "Whether the last run of the job failed, in any process.",
        jobs().map(|(labels, run)| (labels, i64::from(run.outcome == Some(JobOutcome::Failed)))),
    )
}

fn tell_of_verification(verification: &Verification, page: &mut Page<'_>) -> Result {
    let at = verification.at().seconds();
    page.gauge("usage_rollup_verify_timestamp_seconds", "When anything was last verified.", at)?;
    page.gauge(
        "usage_rollup_verify_differences",
        "Differences that verifying found, until the same is verified without.",
        verification.differences(),
    )?;
    page.gauge(
        "usage_rollup_verify_unreadable_days",
        "Days that verifying could not read, until it could.",
        verification.unreadable_days(),
    )
}

fn tell_of_files(files: &Files, page: &mut Page<'_>) -> Result {
    page.gauge("usage_rollup_inbox_files", "Files that wait in the inbox.", files.inbox.files)?;
    page.gauge("usage_rollup_inbox_bytes", "Bytes of these.", files.inbox.bytes)?;
    if let Some(since) = files.inbox.since() {
        let seconds = since.seconds();
        page.gauge("usage_rollup_inbox_oldest_timestamp_seconds", "When the one came that waits longest.", seconds)?;
    }
    page.gauge("usage_rollup_spool_bytes", "Bytes that were sent here and wait to be ingested.", files.spool.bytes)?;
    if let Some(since) = files.spool.since() {
        let seconds = since.seconds();
        page.gauge(
            "usage_rollup_spool_oldest_timestamp_seconds",
            "When the file was last written to that waits longest.",
            seconds,
        )?;
    }
    let orphans = [("cut_short", files.cut_short), ("lost", files.lost)];
    page.gauges(
        "usage_rollup_orphan_segments",
        "Segments that were moved aside: their batch was cut short, or an older database does not know them.",
        orphans.map(|(kind, segments)| ([("kind", kind)], segments)),
    )?;
    if let Some(disk) = files.disk {
        page.gauge("usage_rollup_disk_bytes", "Size of the data directory's file system.", disk.bytes)?;
        page.gauge("usage_rollup_disk_free_bytes", "Bytes of that which are free.", disk.free)?;
    }
    Ok(())
}
