use super::{Options, Outcome, reload, signals};
use crate::daemon;
use crate::jobs::Reading;

/// The API alone, over an installation that another process writes
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let layers = options.layers()?;
        let (config, clock) = (options.configure(&layers)?, options.clock());
        reload::when_asked(options, layers);
        config.store.url.must_exist()?;
        let listener = daemon::listen(&config)?;
        let open = async || Reading::open(&options.data_dir, config.clone(), clock).await;
        daemon::serve(&config, clock, listener, signals::stop(), open).await?;
        Ok(Outcome::Done)
    }
}
