use std::path::PathBuf;

use super::output::Output;
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::model::{Day, PeriodType};
use crate::store::RowFilter;
use crate::usage::export::{ExportFormat, export};

/// Rows as CSV, NDJSON or Parquet, sorted by ServiceGuid, then Period
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long, value_name = "daily|monthly")]
    period_type: PeriodType,
    /// The first period, included; with monthly any date selects its month [default: the first there is]
    #[arg(long, value_name = "DATE")]
    from: Option<Day>,
    /// The last period, included [default: today]
    #[arg(long, value_name = "DATE")]
    to: Option<Day>,
    /// Only this service; may be given several times
    #[arg(long, value_name = "GUID", value_parser = parse_guid)]
    service: Vec<uuid::Uuid>,
    #[arg(long, default_value = "csv")]
    format: ExportFormat,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.reading().await?;
        let to = self.to.unwrap_or_else(|| installation.today());
        if self.from.is_some_and(|from| from > to) {
            return Err(WrongUsage(format!("--from {} lies after --to {to}", self.from.unwrap_or(to))).into());
        }
        let filter = RowFilter { period_type: self.period_type, from: self.from, to, services: self.service };
        let mut output = Output::to(self.output.as_deref())?;
        export(&installation.store, &filter, self.format, &mut output).await?;
        output.finish()?;
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}
