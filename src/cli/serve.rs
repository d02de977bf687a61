use super::run::until_asked_to_stop;
use super::{Options, Outcome};
use crate::{api, daemon};

/// The API alone, over an installation that another process writes
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.existing_installation().await?;
        let listener = daemon::listen(&installation).await?;
        let api = daemon::api(&installation).await?;
        api::serve(listener, api, until_asked_to_stop().cancelled_owned()).await;
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}
