//! Logs: through tracing, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// The form that logs have (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Libraries that tell of their insides at the level at which this program tells of its work. The filter may name them.
const LIBRARIES: &str = "tokio_cron_scheduler=warn,sqlx=warn";

/// Sends what is logged to standard error from now on. A filter that isn't one has been refused with the configuration.
pub fn start(filter: &str, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{LIBRARIES},{filter}")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start, in a test, leaves the first in place.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
