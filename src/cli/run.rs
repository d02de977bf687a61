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
        daemon::run(&config, clock, listener, signals::stop(), open).await?;
        Ok(Outcome::Done)
    }
}
