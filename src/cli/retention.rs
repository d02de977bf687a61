use super::output::print_json;
use super::{Options, Outcome};
use crate::jobs;

/// Drop the contents of events that are old enough, as `event_log.retention` says
///
/// Only of days all whose months are locked. What numbers rest on stays, and what tells copies; see docs/retention.md. The daemon
/// does it once a day.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Tell which days and how many lines that would be, and drop nothing
    #[arg(long)]
    plan: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.existing_installation().await?;
        let report = if self.plan {
            jobs::plan_retention(&installation).await?
        } else {
            jobs::retention(&installation, &options.run("retention")).await?
        };
        installation.store.close().await;
        print_json(&report)?;
        Ok(if report.unreadable.is_empty() { Outcome::Done } else { Outcome::BadNews })
    }
}
