//! The daemon: jobs on their schedules, and the API, until it is asked to stop.

mod scheduler;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::config::ApiAuth;
use crate::jobs::{self, Installation, Run, Wanted};

use scheduler::Ticks;

/// How long a job waits for another process that writes, before it leaves the work to its next turn.
const LEASE_WAIT: Duration = Duration::from_secs(10);

/// Opens the address that the API listens on.
///
/// # Errors
/// When it is taken, or is not this machine's.
pub async fn listen(installation: &Installation) -> anyhow::Result<TcpListener> {
    let address = installation.config.api.listen;
    let hint = "another program may be using it; api.listen sets another one";
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; {hint}"))
}

/// The API over an installation. Where no key opens it yet, the log says how to make one.
///
/// # Errors
/// When the store fails.
pub async fn api(installation: &Installation) -> anyhow::Result<Api> {
    let config = &installation.config;
    if config.api.auth == ApiAuth::Keys && installation.store.keys().await?.is_empty() {
        tracing::warn!(
            "every request gets 401, because there is no API key yet; `usage-rollup keys create --role SuperUser` makes one"
        );
    }
    Ok(Api::new(installation.store.clone(), installation.clock, config.reporting.timezone, &config.api))
}

/// Runs jobs and API until `stop` is cancelled; a job that is under way stops between commits, and requests are answered.
///
/// # Errors
/// When the schedules can't be kept. A job that fails is logged, and tried again at its next turn.
pub async fn run(installation: Installation, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = Ticks::start(&installation.config.schedule).await?;
    // Asked for a free port (0), the system chose one.
    let address = listener.local_addr().context("the API listens nowhere")?;
    let api = tokio::spawn(api::serve(listener, api(&installation).await?, stop.clone().cancelled_owned()));
    tracing::info!(inbox = %installation.config.ingest.inbox.display(), api = %format!("http://{address}"), "started");
    let interrupted = Arc::new(AtomicBool::new(false));
    let stopping = tokio::spawn({
        let (stop, interrupted) = (stop.clone(), interrupted.clone());
        async move {
            stop.cancelled().await;
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let run = Run { purpose: "run", wait: LEASE_WAIT, interrupted, progress: Arc::new(|_| {}) };
    // Only waiting is ever cancelled, never a job: one that is cut off within a statement would leave a connection undefined.
    while let Some(job) = tokio::select! { job = ticks.next() => Some(job), () = stop.cancelled() => None } {
        let outcome = match job {
            Job::Ingest => ingest(&installation, &run).await,
            Job::Rollup => rollup(&installation, &run).await,
        };
        match outcome {
            Ok(()) => {}
            Err(_) if stop.is_cancelled() => break,
            Err(error) => tracing::error!(
                job = job.name(),
                error = format!("{error:#}"),
                "the job failed; it is tried again at its next turn"
            ),
        }
    }
    tracing::info!("stopping");
    ticks.stop().await;
    stopping.await?;
    api.await?;
    installation.store.close().await;
    Ok(())
}

/// The jobs that run on schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Ingest,
    Rollup,
}

impl Job {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Rollup => "rollup",
        }
    }
}

async fn ingest(installation: &Installation, run: &Run) -> anyhow::Result<()> {
    if !jobs::inbox_holds_files(installation, false).await? {
        return Ok(());
    }
    let report = jobs::ingest(installation, run, Wanted::Inbox).await?;
    if report.files == 0 {
        return Ok(());
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
    Ok(())
}

async fn rollup(installation: &Installation, run: &Run) -> anyhow::Result<()> {
    let report = jobs::rollup(installation, run).await?;
    if report.rows_written > 0 {
        tracing::info!(partitions = report.partitions, rows_written = report.rows_written, "rolled up");
    }
    Ok(())
}
