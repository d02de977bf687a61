//! Jobs: where the asynchronous store meets the synchronous pipeline and rollup core. One file a job.

mod backfill;
mod backup;
mod belonging;
mod close;
mod compact;
mod copy;
mod draw;
mod erase;
mod explain;
mod import;
mod ingest;
mod merge;
mod orphans;
mod periods;
mod plan;
mod reading;
mod repair;
mod replace;
mod replay;
mod restore;
mod retention;
mod rollup;
mod sample;
mod user_usage;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use thiserror::Error;

pub use backfill::{PlanChanged, backfill, backfill_as_planned, plan_backfill};
pub use backup::{BackedUp, BackupError, back_up};
pub use close::{CloseReport, close_period};
pub use compact::{CompactReport, compact, has_small_segments};
pub use copy::copy_store;
pub use erase::{ErasureReport, erase_users};
pub use explain::{Asked, explain};
pub use import::{ImportError, import_services};
pub use ingest::{IngestReport, Wanted, anything_waits, ingest};
pub use orphans::{AdoptedFile, AdoptedOrphans, Adoption, FoundOrphan, adopt_orphans, list_orphans};
pub use periods::{PeriodError, lock_month, unlock_month};
pub use plan::{BackfillPlan, PlannedRow};
pub use reading::Reading;
pub use repair::{Repaired, repair};
pub use replay::{ReplayReport, replay};
pub use restore::{RestoreError, Restored, restore};
pub use retention::{RetentionReport, WouldChange, plan_retention, retention};
pub use rollup::{RollupReport, is_rollup_due, rollup};
pub use sample::{Sampled, verify_sample};
pub use user_usage::user_usage;
pub use verify::{Checked, Pending, Scope, Verified, verify};

use crate::clock::Clock;
use crate::config::Config;
use crate::durable;
use crate::event_log::{EventLogDir, Orphan};
use crate::failpoint::{Point, reach};
use crate::ingest::Progress;
use crate::model::{Day, Instant, Masks};
use crate::store::{JobEnd, JobOutcome, Lease, LeaseError, Store};

/// In the data directory: who holds it locked may write.
const LOCK_FILE: &str = "writer.lock";
/// How far the threads that read, decode and fold stand back (`nice(2)`): behind the store's connection, which all work waits
/// for in the end and which would get its turn too late among them, and behind the API.
const NICENESS: i32 = 10;

/// One installation: a data directory with its store and event log, and how it is configured.
#[derive(Clone)]
pub struct Installation {
    pub data_dir: PathBuf,
    pub config: Arc<Config>,
    pub clock: Clock,
    pub store: Store,
    pub log: EventLogDir,
    /// What contents are compared under.
    masks: Masks,
    /// What its store is called: the directory must belong to it still.
    name: String,
    /// For decoding and folding.
    threads: Arc<ThreadPool>,
    /// For merging and drawing, while others are folded.
    merge_threads: Arc<ThreadPool>,
    /// Whether what an earlier writer left behind has been set aside.
    is_clean: Arc<AtomicBool>,
}

/// How a command wants its jobs run.
#[derive(Clone)]
pub struct Run {
    /// The command, for whoever waits for the lease.
    pub purpose: &'static str,
    /// What the jobs are scheduled for; none where somebody asked for them.
    pub period: Option<Instant>,
    /// How long to wait for the lease.
    pub wait: Duration,
    pub interrupted: Arc<AtomicBool>,
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

#[derive(Debug, Error)]
pub enum JobError {
    #[error(
        "the rows of this installation are in {stored}, but reporting.timezone is {configured}; set it back to {stored}, or ingest the events into a new --data-dir"
    )]
    OtherZone { stored: String, configured: String },
    #[error(
        "the data directory {data_dir} and the store {store} are not of the same installation; set store.url to the store that this directory was used with last, or --data-dir to that store's"
    )]
    OtherInstallation { data_dir: PathBuf, store: String },
    #[error(
        "a backup is being restored into {data_dir}, or that was cut short: run the same `usage-rollup restore` again"
    )]
    RestoreCutShort { data_dir: PathBuf },
    #[error("interrupted; what was committed is kept, and the same command goes on from there")]
    Interrupted,
    #[error("{job} is done for {}", period.to_rfc3339_seconds())]
    PeriodDone { job: &'static str, period: Instant },
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl JobError {
    /// Whether time alone may mend it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Lease(LeaseError::Held { .. }) => true,
            Self::Lease(LeaseError::Store(error)) => error.is_out_of_reach(),
            _ => false,
        }
    }
}

impl Installation {
    /// Opens an installation, and makes it where there is none.
    ///
    /// # Errors
    /// When its directory or database can't be opened, its rows are in another time zone, or it is not that
    /// directory's.
    pub async fn open(data_dir: &Path, config: Config, clock: Clock) -> anyhow::Result<Self> {
        durable::create_dir(data_dir)
            .with_context(|| format!("cannot create the data directory {}", data_dir.display()))?;
        let store = Store::open(&config.store.url).await?;
        let log = EventLogDir::open(data_dir)?;
        let name = belonging::settle(data_dir, &log, &store, &config.store.url).await?;
        must_be_in(store.settle_zone(config.reporting.timezone.name()).await?, &config)?;
        let masks = store.masks().await?;
        let threads = |name: &'static str, niceness: i32| {
            let threads = ThreadPoolBuilder::new().num_threads(config.rollup.threads);
            // Where the system does not allow it, all goes as it would without.
            let threads = threads.start_handler(move |_| _ = rustix::process::nice(niceness));
            let threads = threads.thread_name(move |index| format!("{name}-{index}")).build();
            threads.map(Arc::new).context("cannot start the threads for rolling up")
        };
        let (fold_threads, merge_threads) = (threads("fold", NICENESS)?, threads("merge", 0)?);
        Ok(Self {
            log,
            masks,
            name,
            data_dir: data_dir.to_owned(),
            config: Arc::new(config),
            clock,
            store,
            threads: fold_threads,
            merge_threads,
            is_clean: Arc::default(),
        })
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The current day of the reporting zone.
    #[must_use]
    pub fn today(&self) -> Day {
        self.config.reporting.timezone.day_of(self.now())
    }

    /// Takes the lease. Files that the log does without are removed; and the first time, and after a failure, what was left
    /// behind unfinished is set aside.
    ///
    /// # Errors
    /// When somebody else holds it for longer than the run waits, or the directory went with a copy of this store.
    pub async fn lease(&self, run: &Run) -> anyhow::Result<Lease> {
        let lease = self.take_lease(run).await?;
        self.claim()?;
        if lease.lost_commits() > 0 {
            self.set_aside_lost(&lease).await?;
        } else if self.is_clean.load(Ordering::Relaxed) {
            self.remove_discarded(&lease).await?;
        } else {
            self.clean_up(&lease).await?;
            self.is_clean.store(true, Ordering::Relaxed);
        }
        Ok(lease)
    }

    /// Removes the files that the log does without, sets aside those that the catalog does not know, and tells how many that
    /// were.
    async fn clean_up(&self, lease: &Lease) -> anyhow::Result<usize> {
        if lease.lost_commits() > 0 {
            return self.set_aside_lost(lease).await;
        }
        self.remove_discarded(lease).await?;
        self.set_aside(lease, Orphan::CutShort).await
    }

    /// Sets aside what an older copy of the database does not know: segments that were part of the log. What it would have
    /// removed is set aside with them, for the log may rest on it by now.
    async fn set_aside_lost(&self, lease: &Lease) -> anyhow::Result<usize> {
        let segments = self.set_aside(lease, Orphan::Lost).await?;
        tracing::error!(
            lost_commits = lease.lost_commits(),
            segments,
            store = %self.config.store.url,
            "the database is older than its data directory: it lacks the last commits that were made from here. Segments that \
             it does not know are in orphans/lost; `usage-rollup orphans adopt` brings them back"
        );
        self.store.forget_discarded(lease, &self.store.discarded_files().await?).await?;
        lease.accept_loss();
        Ok(segments)
    }

    /// Moves files aside that the catalog does not know. A writer that was frozen, and lost the lease meanwhile, must not take
    /// those of the other one for such: so files are listed first, then the catalog is read, and the lease asked for last.
    async fn set_aside(&self, lease: &Lease, kind: Orphan) -> anyhow::Result<usize> {
        let found = self.log.found()?;
        let live = self.store.live_paths().await?;
        self.store.must_hold(lease).await?;
        let orphans = self.log.clean_up(found, &live, kind)?;
        for orphan in &orphans {
            tracing::warn!(path = %orphan.display(), "moved aside a segment that the catalog does not know");
        }
        Ok(orphans.len())
    }

    /// Removes the files of segments that were replaced, or were to replace others and did not come to it.
    async fn remove_discarded(&self, lease: &Lease) -> anyhow::Result<()> {
        let files = self.store.discarded_files().await?;
        if files.is_empty() {
            return Ok(());
        }
        // What another writer notes is about to lie in its place.
        self.store.must_hold(lease).await?;
        self.log.remove(&files.iter().map(|file| file.path.clone()).collect::<Vec<String>>())?;
        reach(Point::FilesRemoved)?;
        Ok(self.store.forget_discarded(lease, &files).await?)
    }

    /// Takes the lease for a job, claims the period that it is for, and notes that it has begun.
    async fn begin(&self, run: &Run, job: &'static str) -> anyhow::Result<Lease> {
        let lease = self.lease(run).await?;
        let may_run = self.store.begin_job(&lease, job, run.period, self.now()).await?;
        match run.period {
            Some(period) if !may_run => Err(JobError::PeriodDone { job, period }.into()),
            _ => Ok(lease),
        }
    }

    /// Notes how a job has ended, and hands on what it came to. Where noting it fails, too, the first failure is what counts.
    async fn end<T: Serialize>(&self, lease: &Lease, done: anyhow::Result<T>) -> anyhow::Result<T> {
        let outcome = match &done {
            Ok(_) => JobOutcome::Done,
            Err(error) if error.is::<JobError>() => JobOutcome::Interrupted,
            Err(_) => JobOutcome::Failed,
        };
        if done.is_err() {
            // It may have left something behind.
            self.is_clean.store(false, Ordering::Relaxed);
        }
        let counts = done.as_ref().ok().and_then(counts);
        let error = done.as_ref().err().map(|error| format!("{error:#}"));
        let end = JobEnd { outcome, counts: counts.as_deref(), error: error.as_deref() };
        let noted = self.store.end_job(lease, end, self.now()).await;
        let done = done?;
        noted?;
        Ok(done)
    }

    /// Takes the lease so that nobody else writes, and leaves what lies about where it is.
    async fn lease_as_it_is(&self, run: &Run) -> anyhow::Result<Lease> {
        let lease = self.take_lease(run).await?;
        belonging::still_belongs(&self.data_dir, &self.name, &self.config.store.url)?;
        Ok(lease)
    }

    async fn take_lease(&self, run: &Run) -> Result<Lease, JobError> {
        let lock_file = self.data_dir.join(LOCK_FILE);
        self.store.lease(&lock_file, run.purpose, self.now(), run.wait).await.map_err(JobError::Lease)
    }

    /// Before the first write under such a lease.
    fn claim(&self) -> anyhow::Result<()> {
        belonging::claim(&self.data_dir, &self.name, &self.config.store.url)
    }

    /// How many threads work at once.
    fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Runs synchronous work on the threads for folding, off the runtime's.
    async fn on_threads<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        run_on(self.threads.clone(), work).await
    }

    /// Runs synchronous work on the threads for merging, off the runtime's.
    async fn on_merge_threads<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        run_on(self.merge_threads.clone(), work).await
    }
}

/// The numbers of a report, as a job's row keeps them.
fn counts<T: Serialize>(report: &T) -> Option<String> {
    let serde_json::Value::Object(mut members) = serde_json::to_value(report).ok()? else { return None };
    members.retain(|_, member| member.is_number());
    Some(serde_json::Value::Object(members).to_string())
}

/// # Errors
/// When the rows are not in the zone that is configured.
fn must_be_in(stored: String, config: &Config) -> Result<(), JobError> {
    let configured = config.reporting.timezone.name();
    if stored == configured { Ok(()) } else { Err(JobError::OtherZone { stored, configured: configured.to_owned() }) }
}

/// Runs synchronous work off the runtime's threads.
async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a worker thread panicked")
}

async fn run_on<T: Send + 'static>(
    threads: Arc<ThreadPool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    off_runtime(move || threads.install(work)).await
}

impl Run {
    /// # Errors
    /// When it was interrupted.
    fn check(&self) -> Result<(), JobError> {
        if self.interrupted.load(Ordering::Relaxed) { Err(JobError::Interrupted) } else { Ok(()) }
    }
}
