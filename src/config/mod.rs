//! The configuration: layers, of which later ones win, and sections that validate themselves (`spec/cli.md`).

mod layers;
mod sections;

use std::path::PathBuf;

use thiserror::Error;

pub use layers::{Layers, Setting};
pub use sections::{
    Api, ApiAuth, Config, EventLog, Ingest, LogSection, MetricsAccess, Reporting, Rollup, Schedule, Status, Store,
};

/// The built-in defaults, which are also the documentation of every key.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {detail}")]
    Unreadable { path: PathBuf, detail: String },
    #[error("{origin}: there is no setting `{key}`{}", nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default())]
    UnknownKey { key: String, origin: String, nearest: Option<String> },
    #[error("{origin}: `{key}` is {value}, which can't be: {problem}")]
    BadValue { key: String, origin: String, value: String, problem: String },
}
