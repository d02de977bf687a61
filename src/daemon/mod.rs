//! The daemon: jobs on their schedules, and the API, until it is asked to stop.

mod front;
mod schedule;
#[cfg(test)]
mod simulation;
mod systemd;
mod ticker;
mod timetable;
mod work;

use std::io;
use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::api::Door;
use crate::clock::Clock;
use crate::config::Config;
use crate::ingest::spool::{self, Spool};
use crate::jobs::{Installation, Reading};

use front::Front;
use systemd::Pulse;
use work::work;

pub use systemd::{reloaded, reloading};

/// So many connections may come at once; the system's own limit is often as large. One that finds no room tries again after a second.
const BACKLOG: u32 = 4_096;

/// Opens the address that the API listens on, unless systemd has.
///
/// # Errors
/// When it is taken, or is not this machine's.
pub fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.api.listen;
    let passed = systemd::listener().context("what systemd has passed is no listener on TCP")?;
    if let Some(listener) = passed {
        if listener.local_addr().is_ok_and(|passed| passed != address) {
            tracing::warn!(%address, "api.listen means nothing: systemd has opened another address");
        }
        return Ok(listener);
    }
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
    let telling = systemd::tell_of_the_stop(&stop);
    let front = Front::start(config, clock, listener)?;
    if let Some(reading) = front.open(open, &stop).await? {
        front.answer_from(reading.clone()).await?;
        tracing::info!(api = %format!("http://{}", front.address), "started");
        let pulse = Pulse::new();
        // There is no loop that could stand still.
        pulse.beat(true);
        tokio::spawn(systemd::keep_alive(front.address, reading.store.clone(), pulse, stop.clone()));
        tokio::spawn(systemd::tell_freshness(reading.store.clone(), stop.clone()));
        systemd::ready();
        stop.cancelled().await;
        front.end().await?;
        reading.store.close().await;
    }
    Ok(telling.await?)
}

fn open_spool(installation: &Installation) -> anyhow::Result<Spool> {
    let (data_dir, most) = (&installation.data_dir, installation.config.ingest.max_spool_bytes);
    Spool::open(data_dir, most).with_context(|| format!("cannot open the spool {}", spool::dir(data_dir).display()))
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
    let telling = systemd::tell_of_the_stop(&stop);
    let front = Front::start(config, clock, listener)?;
    if let Some(installation) = front.open(open, &stop).await? {
        let spool = open_spool(&installation)?;
        // Before anybody is let in, who would be told that this server takes none.
        front.take_events(Door::new(spool.clone(), installation.config.ingest.clone()));
        front.answer_from(Reading::from(&installation)).await?;
        let inbox = installation.config.ingest.inbox.display();
        tracing::info!(%inbox, api = %format!("http://{}", front.address), "started");
        let pulse = Pulse::new();
        tokio::spawn(systemd::keep_alive(front.address, installation.store.clone(), pulse.clone(), stop.clone()));
        tokio::spawn(systemd::tell_freshness(installation.store.clone(), stop.clone()));
        systemd::ready();
        Box::pin(work(&installation, spool.clone(), &pulse, &stop)).await?;
        front.end().await?;
        spool.seal().await?;
        installation.store.close().await;
    }
    Ok(telling.await?)
}
