//! What operators and their tools ask of a running process: metrics (docs/metrics.md), whether it is ready, and whether the
//! installation is healthy. The only user of the Prometheus client.

mod asked;
mod files;
mod health;
mod page;
mod process;
mod ready;
mod requests;
mod told;

use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

pub use health::{Health, Lost, Remark};
pub use requests::{NO_OPERATION, Requests};

use crate::jobs::Reading;
use asked::{Asked, Keep};
use told::Answers;

/// The media type of [`Observer::metrics`].
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the store and the file system told is good for so long, and for longer where asking took long: so however often
/// anybody asks, that takes a twentieth of the time at the most.
const KEEP_ANSWERS: Keep = Keep { at_least: Duration::from_secs(5), times_as_long: 20 };
/// Probes come every few seconds, from several places.
const KEEP_READY: Keep = Keep { at_least: Duration::from_millis(500), times_as_long: 1 };
/// Who asks is told that the store does not answer, after so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a process tells of itself.
#[derive(Debug)]
pub struct Observer {
    pub requests: Requests,
    answers: Asked<Answers>,
    ready: Asked<bool>,
}

impl Observer {
    /// With the operations whose requests are counted.
    #[must_use]
    pub fn new(operations: Vec<&'static str>) -> Self {
        let requests = Requests::new(operations);
        Self { requests, answers: Asked::new(KEEP_ANSWERS), ready: Asked::new(KEEP_READY) }
    }

    /// All metrics, in Prometheus' text format: of this process, and of the installation where it is open and answers.
    pub async fn metrics(&self, of: Option<&Reading>) -> String {
        let answers = match of {
            Some(reading) => self.answers.answer(PATIENCE, || Answers::ask(reading.clone())).await,
            None => None,
        };
        let mut registry = Registry::default();
        let scrape = Scrape { process: process::Process::now(), requests: self.requests.counted() };
        registry.register_collector(Box::new(scrape));
        if let Some(reading) = of {
            registry.register_collector(Box::new(told::Told::new(reading, answers)));
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a string takes whatever is written to it");
        text
    }
}

/// What a process knows without asking anybody.
#[derive(Debug)]
struct Scrape {
    process: process::Process,
    requests: Vec<requests::Counted>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut page = page::Page::new(encoder);
        page.info("usage_rollup_build", "The version that runs.", ("version", env!("CARGO_PKG_VERSION")))?;
        self.process.tell(&mut page)?;
        requests::tell(&self.requests, &mut page)
    }
}
