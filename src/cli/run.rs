use tokio_util::sync::CancellationToken;

use super::{Options, Outcome, reload, signals};
use crate::daemon;
use crate::jobs::Installation;

/// The daemon: takes what is dropped into the inbox, rolls it up on schedule, and serves the API
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let layers = options.layers()?;
        let (config, clock) = (options.configure(&layers)?, options.clock());
        reload::when_asked(options, layers);
        let listener = daemon::listen(&config)?;
        let open = async || Installation::open(&options.data_dir, config.clone(), clock).await;
        daemon::run(&config, clock, listener, until_asked_to_stop(), open).await?;
        Ok(Outcome::Done)
    }
}

/// Cancelled when the process is asked to stop.
pub(super) fn until_asked_to_stop() -> CancellationToken {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        signals::stop_asked().await;
        asked.cancel();
    });
    stop
}
