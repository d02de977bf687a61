use std::path::PathBuf;

use super::output::Output;
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::model::{Day, Instant, PeriodType};
use crate::store::RowFilter;
use crate::usage::export::{ExportFormat, export, export_as_of};

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
    /// Rows as they stood at this instant, in RFC 3339
    ///
    /// Those that were not closed then, and have changed since, are left out: such versions are not kept.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    as_of: Option<Instant>,
    #[arg(long, default_value = "csv")]
    format: ExportFormat,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn parse_instant(text: &str) -> Result<Instant, String> {
    let expected = || format!("'{text}' is not an instant; expected RFC 3339 such as 2026-03-04T05:06:07Z");
    Instant::parse_rfc3339(text).ok_or_else(expected)
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.reading().await?;
        let to = self.to.unwrap_or_else(|| installation.today());
        if self.from.is_some_and(|from| from > to) {
            return Err(WrongUsage(format!("--from {} lies after --to {to}", self.from.unwrap_or(to))).into());
        }
        if let Some(instant) = self.as_of.filter(|instant| *instant > installation.now()) {
            let (instant, now) = (instant.to_rfc3339_seconds(), installation.now().to_rfc3339_seconds());
            return Err(WrongUsage(format!("--as-of {instant} lies in the future; it is {now}")).into());
        }
        let filter = RowFilter { period_type: self.period_type, from: self.from, to, services: self.service };
        let mut output = Output::to(self.output.as_deref())?;
        match self.as_of {
            None => export(&installation.store, &filter, self.format, &mut output).await?,
            Some(instant) => {
                export_as_of(&installation.store, &filter, instant, self.format, &mut output).await?;
            }
        }
        output.finish()?;
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}
