use serde_json::json;

use super::output::print_json;
use super::{Options, Outcome};
use crate::jobs;

/// Roll up everything that is dirty, and bring all rows up to today
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.installation().await?;
        let report = jobs::rollup(&installation, &options.run("rollup")).await?;
        print_json(&json!({ "partitions": report.partitions, "rows_written": report.rows_written }))?;
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}
