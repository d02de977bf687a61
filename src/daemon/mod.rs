//! The daemon: jobs on their schedules, and the API, until it is asked to stop.

mod front;
mod scheduler;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::jobs::{self, Installation, Reading, Run, Wanted};

use front::Front;
use scheduler::Ticks;

/// How long a job waits for another process that writes, before it leaves the work to its next turn.
const LEASE_WAIT: Duration = Duration::from_secs(10);
/// So many connections may come at once; the system's own limit is often as large. One that finds no room tries again after a second.
const BACKLOG: u32 = 4_096;
/// So many merges at a turn: what arrives meanwhile waits for no more than some seconds.
const MERGES_A_TURN: usize = 4;

/// Opens the address that the API listens on.
///
/// # Errors
/// When it is taken, or is not this machine's.
pub fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.api.listen;
    let hint = "another program may be using it; api.listen sets another one";
    bind(address).with_context(|| format!("cannot listen on {address}; {hint}"))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections are not forgotten yet is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Runs the API alone until `stop` is cancelled. A server that is not there is waited for.
///
/// # Errors
/// When the store can't be opened for another reason.
pub async fn serve(
    config: &Config,
    clock: Clock,
    listener: TcpListener,
    stop: CancellationToken,
    open: impl AsyncFn() -> anyhow::Result<Reading>,
) -> anyhow::Result<()> {
    let front = Front::start(config, clock, listener)?;
    if let Some(reading) = front.open(open, &stop).await? {
        front.answer_from(reading.clone()).await?;
        tracing::info!(api = %format!("http://{}", front.address), "started");
        stop.cancelled().await;
        front.end().await?;
        reading.store.close().await;
    }
    Ok(())
}

/// Runs jobs and API until `stop` is cancelled; a job that is under way stops between commits, and requests are answered. A
/// server that is not there is waited for.
///
/// # Errors
/// When the store can't be opened for another reason, or the schedules can't be kept. A job that fails is logged, and tried
/// again at its next turn.
pub async fn run(
    config: &Config,
    clock: Clock,
    listener: TcpListener,
    stop: CancellationToken,
    open: impl AsyncFn() -> anyhow::Result<Installation>,
) -> anyhow::Result<()> {
    let front = Front::start(config, clock, listener)?;
    if let Some(installation) = front.open(open, &stop).await? {
        front.answer_from(Reading::from(&installation)).await?;
        let inbox = installation.config.ingest.inbox.display();
        tracing::info!(%inbox, api = %format!("http://{}", front.address), "started");
        Box::pin(work(&installation, &stop)).await?;
        front.end().await?;
        installation.store.close().await;
    }
    Ok(())
}

/// Runs the jobs at their turns until `stop` is cancelled.
async fn work(installation: &Installation, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut ticks = Ticks::start(&installation.config.schedule).await?;
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
            Job::Ingest => ingest(installation, &run).await,
            Job::Rollup => rollup(installation, &run).await,
            Job::Compact => compact(installation, &run).await,
            Job::Retention => retention(installation, &run).await,
        };
        match outcome {
            Ok(()) => {}
            Err(_) if stop.is_cancelled() => break,
            Err(error) => tracing::error!(
                job = job.name(),
                store = %installation.config.store.url,
                error = format!("{error:#}"),
                "the job failed; it is tried again at its next turn"
            ),
        }
    }
    tracing::info!("stopping");
    ticks.stop().await;
    Ok(stopping.await?)
}

/// The jobs that run on schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Ingest,
    Rollup,
    Compact,
    Retention,
}

impl Job {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Rollup => "rollup",
            Self::Compact => "compact",
            Self::Retention => "retention",
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

async fn compact(installation: &Installation, run: &Run) -> anyhow::Result<()> {
    if !jobs::has_small_segments(installation).await? {
        return Ok(());
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
    Ok(())
}

async fn retention(installation: &Installation, run: &Run) -> anyhow::Result<()> {
    if jobs::plan_retention(installation).await?.segments == 0 {
        return Ok(());
    }
    let report = jobs::retention(installation, run).await?;
    for (segment, error) in &report.unreadable {
        tracing::warn!(segment, %error, "a segment can't be read, and stays as it is; run `usage-rollup verify`");
    }
    tracing::info!(days = report.days.len(), lines = report.lines, "dropped the contents of old events");
    Ok(())
}
