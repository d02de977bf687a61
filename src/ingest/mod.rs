//! From sources to the event log: read, decode in parallel, write segments, commit.

pub mod decode;
pub mod source;
pub mod spool;

mod chunk;
mod lines;
mod pipeline;

pub use pipeline::{IngestError, IngestRules, Pipeline, Progress, Reading, Summary};
