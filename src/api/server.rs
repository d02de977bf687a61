//! Connections: what `axum::serve` has no bounds for is bounded here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Api, router};
use crate::config;

/// Open files that are left to everything else: the store, segments, logs.
const OTHER_FILES: usize = 256;
/// So long may a client take nothing of what is sent to it.
#[cfg(target_os = "linux")]
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// Requests that are under way when the shutdown begins may take so long to end.
const DRAIN: Duration = Duration::from_secs(10);
/// A listener that fails, as it does when no file descriptor is free, is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// What connections are bounded by.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    connections: usize,
    idle: Duration,
    header_bytes: usize,
}

impl Bounds {
    #[must_use]
    pub fn new(config: &config::Api) -> Self {
        Self {
            connections: config.max_connections.min(files().saturating_sub(OTHER_FILES).max(1)),
            idle: config.idle_timeout,
            header_bytes: config.max_header_bytes,
        }
    }
}

/// How many files this process may have open, after it has asked for as many as it may.
fn files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, all).is_ok() { limit.maximum } else { limit.current };
    in_force.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Serves the API on `listener` until `shutdown` completes, then lets the requests that are under way end.
pub async fn serve(
    listener: TcpListener,
    api: impl Into<Arc<Api>>,
    bounds: Bounds,
    shutdown: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(router(api));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle)
        .max_header_size(bounds.header_bytes)
        .max_buf_size(2 * bounds.header_bytes);
    let (graceful, ending) = (GracefulShutdown::new(), CancellationToken::new());
    let room = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Takes what has ended out of the set.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let (builder, service, watcher) = (builder.clone(), service.clone(), graceful.watcher());
        let ending = ending.clone();
        connections.spawn(async move {
            // One that has not sent anything yet takes no buffers, and is not waited for.
            let has_sent = tokio::select! {
                () = ending.cancelled() => false,
                sent = tokio::time::timeout(bounds.idle, stream.readable()) => matches!(sent, Ok(Ok(()))),
            };
            if has_sent {
                // Apart, so that one that has sent nothing is small.
                let connection = Box::pin(watcher.watch(builder.serve_connection(TokioIo::new(stream), service)));
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    ending.cancel();
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off connections that did not end in time");
    }
}

/// The next connection and its place among the many; none where the listener failed.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written at once, and as a whole: waiting for more to send gains nothing.
            let _ = stream.set_nodelay(true);
            #[cfg(target_os = "linux")]
            let _ = rustix::net::sockopt::set_tcp_user_timeout(
                &stream,
                WRITE_TIMEOUT.as_millis().try_into().unwrap_or(u32::MAX),
            );
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_AGAIN).await;
            None
        }
    }
}
