//! What systemd is told and gives (sd_notify(3), sd_listen_fds(3)). Where the daemon was not started by it, nothing happens here.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Timer};

use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ticker::LOOKS_AT_LEAST;
use crate::model::Instant;
use crate::store::{Gauges, Store};

/// The loop of jobs looks at least so often, but for when it is at work.
const LOOP_STANDS_STILL: Duration = LOOKS_AT_LEAST.saturating_mul(4);
/// The state is told so often: asking for it takes some statements.
const TELLS_EVERY: Duration = Duration::from_secs(10);
/// While it starts, systemd is asked so often for so much more time.
const ASKS_EVERY: Duration = Duration::from_secs(20);
const MORE_TIME: Duration = Duration::from_mins(1);

/// Whether systemd knows that we are ready: before that, nothing but being ready may say so.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Whether the loop of jobs goes on.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Timer,
    /// Milliseconds until its last beat.
    last: AtomicU64,
    is_at_work: AtomicBool,
}

impl Pulse {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Timer::now(), last: AtomicU64::new(0), is_at_work: AtomicBool::new(false) })
    }

    /// The loop begins to wait, or to work.
    pub fn beat(&self, is_at_work: bool) {
        let since_start = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since_start, Ordering::Relaxed);
        self.is_at_work.store(is_at_work, Ordering::Relaxed);
    }

    /// A job may take as long as it takes.
    fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.is_at_work.load(Ordering::Relaxed) || self.started.elapsed().saturating_sub(last) < LOOP_STANDS_STILL
    }
}

/// The listener that systemd has opened for us, if any.
///
/// # Errors
/// When what it has passed is none.
pub(super) fn listener() -> io::Result<Option<TcpListener>> {
    let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

/// Keeps systemd from giving up on a start that takes long: a new version may bring a large store up to date, and a server
/// may be away for hours.
pub(super) async fn still_starting() -> Infallible {
    let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
    loop {
        tell(&[NotifyState::ExtendTimeoutUsec(more)]);
        tokio::time::sleep(ASKS_EVERY).await;
    }
}

pub(super) fn opens_store() {
    tell(&[NotifyState::Status("opening the store")]);
}

pub(super) fn waits_for_store() {
    tell(&[NotifyState::Status("waiting for the store")]);
}

pub(super) fn ready() {
    IS_READY.store(true, Ordering::Relaxed);
    tell(&[NotifyState::Ready, NotifyState::Status("started")]);
}

/// Tells when the daemon begins to stop, whatever it is at. Who ends first must wait for this.
pub(super) fn tell_of_the_stop(stop: &CancellationToken) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    })
}

/// The configuration is about to be read anew.
pub fn reloading() {
    if IS_READY.load(Ordering::Relaxed)
        && let Ok(now) = NotifyState::monotonic_usec_now()
    {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The configuration was read anew, and how that ended.
pub fn reloaded(how: &str) {
    if IS_READY.load(Ordering::Relaxed) {
        tell(&[NotifyState::Ready, NotifyState::Status(how)]);
    }
}

/// Tells how fresh the numbers are, for `systemctl status`, until `stop` is cancelled.
pub(super) async fn tell_freshness(store: Store, stop: CancellationToken) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    loop {
        let told = match store.gauges().await {
            Ok(gauges) => freshness(&gauges),
            Err(error) => format!("the store can't be asked: {error}"),
        };
        if stop.is_cancelled() {
            return;
        }
        tell(&[NotifyState::Status(&told)]);
        stop.run_until_cancelled(tokio::time::sleep(TELLS_EVERY)).await;
    }
}

fn freshness(gauges: &Gauges) -> String {
    let through = gauges.rows_through.map_or_else(|| "no rows yet".to_owned(), |day| format!("rows through {day}"));
    let last = gauges.sources.iter().filter_map(|source| source.committed_at).max();
    let last = last.map_or_else(String::new, |at| format!("; last input {}", Instant::to_rfc3339_seconds(at)));
    let waits = match (gauges.dirty_partitions, gauges.dirty_services) {
        (0, 0) => "nothing waits".to_owned(),
        (days, services) => format!("{days} days and {services} services wait to be rolled up"),
    };
    format!("{through}{last}; {waits}")
}

/// Tells the watchdog that we live, for as long as we do, until `stop` is cancelled: our own API answers, the store answers or is known
/// to be away, and the loop of jobs goes on.
pub(super) async fn keep_alive(address: SocketAddr, store: Store, pulse: Arc<Pulse>, stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let half = interval / 2;
    while !stop.is_cancelled() {
        match tokio::time::timeout(half, what_stands_still(address, &store, &pulse)).await {
            Ok(None) => tell(&[NotifyState::Watchdog]),
            Ok(Some(what)) => tracing::error!(what, "the daemon does not live; systemd is not told that it does"),
            Err(_) => tracing::error!("the daemon does not answer itself; systemd is not told that it lives"),
        }
        stop.run_until_cancelled(tokio::time::sleep(half / 2)).await;
    }
}

async fn what_stands_still(address: SocketAddr, store: &Store, pulse: &Pulse) -> Option<&'static str> {
    if !pulse.is_alive() {
        return Some("the loop of jobs");
    }
    if !answers(address).await {
        return Some("the API");
    }
    // A server that is away is no reason to start anew.
    match store.last_commit().await {
        Err(error) if !error.is_out_of_reach() => Some("the store"),
        _ => None,
    }
}

/// Whether our own API takes a connection and answers on it.
async fn answers(address: SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let ask = async {
        let mut stream = TcpStream::connect((ip, address.port())).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        io::Result::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot tell systemd");
    }
}
