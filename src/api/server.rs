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

use super::{Api, router};

/// For the whole of a request's head, and for how long a connection may idle between requests.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Request line and headers together. The longest honest request has a few hundred bytes.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
/// Requests that are under way when the shutdown begins may take so long to end.
const DRAIN: Duration = Duration::from_secs(10);
/// A listener that fails, as it does when no file descriptor is free, is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Serves the API on `listener` until `shutdown` completes, then lets the requests that are under way end.
pub async fn serve(listener: TcpListener, api: impl Into<Arc<Api>>, shutdown: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router(api));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(2 * MAX_HEADER_BYTES);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service.clone()));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
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
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_AGAIN).await;
            None
        }
    }
}
