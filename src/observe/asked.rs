//! An answer that takes work to get: it is asked for by one at a time, and kept for a while.

use std::sync::Arc;
use std::time::{Duration, Instant as Timer};

use tokio::sync::Mutex;
use tokio::time::timeout;

/// For how long an answer is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub at_least: Duration,
    /// And so many times as long as it took to get.
    pub times_as_long: u32,
}

#[derive(Debug)]
pub(super) struct Asked<T> {
    keep: Keep,
    kept: Arc<Mutex<Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    until: Option<Timer>,
    /// None where there was none to get.
    answer: Option<Arc<T>>,
}

impl<T: Send + Sync + 'static> Asked<T> {
    pub fn new(keep: Keep) -> Self {
        Self { keep, kept: Arc::new(Mutex::new(Kept { until: None, answer: None })) }
    }

    /// The answer that is kept, or else what `ask` gets; none where it gets none, or does not within `patience`. It goes on then:
    /// what is cut off within a statement would leave a connection undefined.
    pub async fn answer<F>(&self, patience: Duration, ask: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let mut kept = timeout(patience, self.kept.clone().lock_owned()).await.ok()?;
        if kept.until.is_some_and(|until| Timer::now() < until) {
            return kept.answer.clone();
        }
        let (asking, keep) = (ask(), self.keep);
        let asking = tokio::spawn(async move {
            let began = Timer::now();
            kept.answer = asking.await.map(Arc::new);
            kept.until = Some(Timer::now() + keep.at_least.max(began.elapsed() * keep.times_as_long));
            kept.answer.clone()
        });
        timeout(patience, asking).await.ok()?.ok()?
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn what_was_asked_is_kept_also_that_there_was_no_answer() {
        for first in [Some(1), None] {
            let asked = Asked::new(Keep { at_least: Duration::from_hours(1), times_as_long: 1 });
            for ask in [first, Some(2)] {
                let answer = asked.answer(Duration::from_mins(1), || async move { ask }).await;
                assert_eq!(answer.as_deref(), first.as_ref());
            }
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_long_and_one_alone_asks() {
        let asked = Asked::<u8>::new(Keep { at_least: Duration::ZERO, times_as_long: 1 });
        assert_eq!(asked.answer(AT_ONCE, pending).await, None);
        assert_eq!(asked.answer(AT_ONCE, || async { unreachable!("somebody asks already") }).await, None);
    }
}
