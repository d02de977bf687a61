use serde_json::json;
use uuid::Uuid;

use super::output::print_json;
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::jobs;
use crate::model::Day;

/// Recompute a range of days from the event log
///
/// Rows that come out as they are keep their revision. A run that was cut short is gone on with by the next rollup.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first day, in the reporting time zone
    #[arg(long, value_name = "DATE")]
    from: Day,
    /// The last day, included
    #[arg(long, value_name = "DATE")]
    to: Day,
    /// Only this service; may be given several times
    #[arg(long = "service", value_name = "GUID", value_parser = parse_guid)]
    services: Vec<Uuid>,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        if self.to < self.from {
            let (from, to) = (self.from, self.to);
            return Err(WrongUsage(format!("--to {to} lies before --from {from}; nothing was done")).into());
        }
        let installation = options.existing_installation().await?;
        let run = options.run("backfill");
        let report = jobs::backfill(&installation, &run, self.from, self.to, &self.services).await?;
        print_json(&json!({ "partitions": report.partitions, "rows_written": report.rows_written }))?;
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}
