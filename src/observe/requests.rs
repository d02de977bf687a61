//! Requests of the API by operation and status. What is counted is never a path: of those there are as many as services.

use std::fmt::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::page::Page;
use crate::meters::{Durations, Measured};

/// Where a request was answered before anybody knew what it was for.
pub const NO_OPERATION: &str = "none";
/// Upper bounds in seconds: most answers take less than a millisecond, and none should take seconds.
const BOUNDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;

/// Counts requests, at the cost of some additions.
#[derive(Debug)]
pub struct Requests(Vec<OfOperation>);

#[derive(Debug)]
struct OfOperation {
    name: &'static str,
    /// By status, from the first on.
    answers: Box<[AtomicU64]>,
    durations: Durations,
}

/// The requests of an operation that there were.
#[derive(Debug)]
pub(super) struct Counted {
    operation: &'static str,
    answers: Vec<(u16, u64)>,
    durations: Measured,
}

impl Requests {
    pub(super) fn new(operations: Vec<&'static str>) -> Self {
        let of = |name| OfOperation {
            name,
            answers: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            durations: Durations::new(BOUNDS),
        };
        Self([NO_OPERATION].into_iter().chain(operations).map(of).collect())
    }

    /// Counts a request that was answered. An operation that is not known counts as none.
    pub fn add(&self, operation: &'static str, status: u16, took: Duration) {
        let of_operation = self.0.iter().find(|of| of.name == operation).unwrap_or(&self.0[0]);
        if let Some(answers) = of_operation.answers.get(usize::from(status.saturating_sub(FIRST_STATUS))) {
            answers.fetch_add(1, Ordering::Relaxed);
        }
        of_operation.durations.add(took);
    }

    pub(super) fn counted(&self) -> Vec<Counted> {
        let counted = self.0.iter().map(|of| {
            let answers =
                (FIRST_STATUS..).zip(&of.answers).map(|(status, count)| (status, count.load(Ordering::Relaxed)));
            let answers = answers.filter(|(_, count)| *count > 0).collect();
            Counted { operation: of.name, answers, durations: of.durations.measured() }
        });
        counted.filter(|counted| counted.durations.count > 0).collect()
    }
}

pub(super) fn tell(counted: &[Counted], page: &mut Page<'_>) -> Result {
    let answers = counted.iter().flat_map(|of| {
        let labels = |status: u16| [("operation", of.operation.to_owned()), ("status", status.to_string())];
        of.answers.iter().map(move |(status, count)| (labels(*status), *count))
    });
    page.counters("usage_rollup_api_requests", "Requests that were answered, by operation and status.", answers)?;
    page.histograms(
        "usage_rollup_api_request_duration_seconds",
        "How long requests took until their answer began, by operation.",
        counted.iter().map(|of| (("operation", of.operation), &of.durations)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_by_operation_and_status_and_nothing_else() {
        let requests = Requests::new(vec!["Ping", "GetService"]);
        for (operation, status) in [("Ping", 200), ("Ping", 503), ("Ping", 200), ("/api/x", 404), (NO_OPERATION, 999)] {
            requests.add(operation, status, Duration::from_millis(1));
        }
        let counted = requests.counted();
        let told: Vec<_> = counted.iter().map(|of| (of.operation, &of.answers[..], of.durations.count)).collect();
        assert_eq!(told, [("none", [(404, 1)].as_slice(), 2), ("Ping", &[(200, 2), (503, 1)], 3)]);
    }
}
