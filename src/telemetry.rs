//! Logs: through tracing, to standard error or to the journal.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// The form that logs have (`--log-format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
    /// Entries of the systemd journal, with their fields
    Journald,
}

/// Libraries that tell of their insides at the level at which this program tells of its work. The filter may name them.
const LIBRARIES: &str = "tokio_cron_scheduler=warn,sqlx=warn";
const IDENTIFIER: &str = "usage-rollup";

/// The filter in force.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

fn with_libraries(filter: &str) -> EnvFilter {
    EnvFilter::new(format!("{LIBRARIES},{filter}"))
}

/// Filters by this from now on, where logs flow.
pub fn set_filter(filter: &str) {
    if let Some(Err(error)) = FILTER.get().map(|in_force| in_force.reload(with_libraries(filter))) {
        tracing::warn!(%error, "the filter of logs can't be changed");
    }
}

/// Sends what is logged there from now on, in this form; in none that is named: to the journal where standard error is its,
/// and else as text to standard error. A filter that isn't one has been refused with the configuration.
pub fn start(filter: &str, format: Option<LogFormat>) {
    let filter = with_libraries(filter);
    let format = format.unwrap_or(if is_the_journal(io::stderr()) { LogFormat::Journald } else { LogFormat::Text });
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let (logs, problem) = match format {
        LogFormat::Text => (lines.boxed(), None),
        LogFormat::Json => (lines.json().boxed(), None),
        LogFormat::Journald => match journal() {
            Ok(journal) => (journal.boxed(), None),
            Err(error) => (lines.boxed(), Some(error)),
        },
    };
    let (filter, handle) = reload::Layer::new(filter);
    // A second start, in a test, leaves the first in place.
    if tracing_subscriber::registry().with(filter).with(logs).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    if let Some(error) = problem {
        tracing::warn!(%error, "the journal can't be reached; logs go to standard error as text");
    }
}

/// Fields have the names that they have in text and JSON, in capitals as the journal wants them. Levels are told as people
/// filter by them: what is informational for us is for the journal, too.
fn journal() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    let journal = tracing_journald::layer()?.with_field_prefix(None).with_priority_mappings(priorities);
    Ok(journal.with_syslog_identifier(IDENTIFIER.to_owned()))
}

/// Whether a stream is the journal's: systemd tells of it by device and inode ("Detecting an upgrade to the native protocol").
fn is_the_journal(stream: impl AsFd) -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    let of_stream = || {
        let metadata = File::from(stream.as_fd().try_clone_to_owned()?).metadata()?;
        io::Result::Ok(format!("{}:{}", metadata.dev(), metadata.ino()))
    };
    of_stream().is_ok_and(|of_stream| of_stream == told)
}
