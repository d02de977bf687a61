//! Ctrl-C and SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// So long may what is under way take to end when the daemon is asked to stop. What takes longer waits for a server that does not
/// answer: it may wait for ever.
const STOPS_WITHIN: Duration = Duration::from_secs(25);

/// A flag that is set when the process is asked to stop. Asked again, it stops at once: nothing is lost by that either.
pub(super) fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    tokio::spawn(async move {
        let Ok(mut asked) = Asked::listen() else { return };
        asked.next().await;
        set.store(true, Ordering::Relaxed);
        asked.next().await;
        std::process::exit(1);
    });
    flag
}

/// Cancelled when the daemon is asked to stop. It ends by itself then; asked again, or where that takes too long, it is ended as by a
/// kill, by which nothing is lost either.
pub(super) fn stop() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        let Ok(mut asked) = Asked::listen() else { return };
        asked.next().await;
        cancelled.cancel();
        if tokio::time::timeout(STOPS_WITHIN, asked.next()).await.is_ok() {
            tracing::warn!("asked again to stop: what is under way is cut off, and is done anew after the next start");
        } else {
            tracing::error!(
                waited = ?STOPS_WITHIN,
                "what is under way does not end, as where the store's server does not answer; it is cut off, and is done anew \
                 after the next start"
            );
        }
        std::process::exit(1);
    });
    stop
}

/// Both signals. One that comes while nobody waits for the next is not missed.
struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
