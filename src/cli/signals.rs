//! Ctrl-C and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// A flag that is set when the process is asked to stop. Asked again, it stops at once: nothing is lost by that either.
pub(super) fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    tokio::spawn(async move {
        stop_asked().await;
        set.store(true, Ordering::Relaxed);
        stop_asked().await;
        std::process::exit(1);
    });
    flag
}

/// Returns when the process is asked to stop.
pub(super) async fn stop_asked() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
