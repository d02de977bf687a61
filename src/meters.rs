//! What this process measures while it works: atomics, which cost what is measured next to nothing. `observe` tells them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long something took, each time: counted by upper bounds.
#[derive(Debug)]
pub struct Durations {
    /// In seconds, growing.
    bounds: &'static [f64],
    /// One for each bound, and one beyond the last.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

/// What [`Durations`] came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub seconds: f64,
    pub count: u64,
    /// Each bound, in seconds, with how many lie at or below it and above the one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Durations {
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().take_while(|bound| **bound < seconds).count();
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    #[must_use]
    pub fn measured(&self) -> Measured {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Measured {
            seconds: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
            count: counts.iter().sum(),
            buckets: self.bounds.iter().copied().zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_at_the_first_bound_that_it_does_not_exceed() {
        let durations = Durations::new(&[0.1, 1.0]);
        for millis in [0, 100, 101, 1_000, 5_000] {
            durations.add(Duration::from_millis(millis));
        }
        let expected = Measured { seconds: 6.201, count: 5, buckets: vec![(0.1, 2), (1.0, 2)] };
        assert_eq!(durations.measured(), expected);
    }
}
