//! SIGHUP: the configuration is read anew. What can be changed while we run is, and the rest is named.

use tokio::signal::unix::{SignalKind, signal};

use super::Options;
use crate::config::{Config, ConfigError, Layers};
use crate::{daemon, telemetry};

/// Keys that take effect at once.
const RELOADED: [&str; 1] = ["log.filter"];

/// Reads the configuration anew whenever it is asked for; `in_force` is what the process was started with.
pub(super) fn when_asked(options: &Options, in_force: Layers) {
    let options = options.clone();
    tokio::spawn(async move {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        while hangup.recv().await.is_some() {
            daemon::reloading();
            daemon::reloaded(&match reload(&options, &in_force) {
                Ok(()) => "the configuration was read anew".to_owned(),
                Err(error) => {
                    tracing::error!(%error, "the configuration was read anew and can't be; the one in force stays");
                    format!("the configuration can't be read anew: {error}")
                }
            });
        }
    });
}

fn reload(options: &Options, in_force: &Layers) -> Result<(), ConfigError> {
    let layers = options.layers()?;
    let config = Config::from_layers(&layers, &options.data_dir)?;
    if !options.quiet {
        telemetry::set_filter(&config.log.filter);
    }
    let waits: Vec<&str> = layers.changed_from(in_force).filter(|key| !RELOADED.contains(key)).collect();
    if waits.is_empty() {
        tracing::info!(log_filter = config.log.filter, "the configuration was read anew");
    } else {
        tracing::warn!(
            log_filter = config.log.filter,
            restart_for = waits.join(", "),
            "the configuration was read anew; some of what has changed takes a restart"
        );
    }
    Ok(())
}
