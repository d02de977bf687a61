use super::output::print_json;
use super::{Options, Outcome};
use crate::jobs;

/// Merge small segments of the event log, without changing what is in it
///
/// The daemon does it by and by. What was merged before Ctrl-C or a kill stays so.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.existing_installation().await?;
        let report = jobs::compact(&installation, &options.run("compact"), usize::MAX).await?;
        installation.store.close().await;
        print_json(&report)?;
        Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::BadNews })
    }
}
