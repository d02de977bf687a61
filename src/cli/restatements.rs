use comfy_table::Table;
use serde_json::json;
use uuid::Uuid;

use super::output::{print, print_json, table};
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::model::Day;
use crate::store::VersionFilter;
use crate::usage::restatements::{Restatement, restatements};

/// How rows changed after they were closed, field by field, when and why
///
/// Also rows that appeared below closed ones, and rows that a void removed; of these, the numbers that are not 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first day of the rows, included; of months, the one that it lies in [default: the first there is]
    #[arg(long, value_name = "DATE")]
    from: Option<Day>,
    /// The last day, included [default: today]
    #[arg(long, value_name = "DATE")]
    to: Option<Day>,
    /// Only this service; may be given several times
    #[arg(long = "service", value_name = "GUID", value_parser = parse_guid)]
    services: Vec<Uuid>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let reading = options.reading().await?;
        let to = self.to.unwrap_or_else(|| reading.today());
        // Before it no event is accepted.
        let from = self.from.unwrap_or_else(|| Day::utc_of(reading.config.ingest.earliest).previous().min(to));
        if from > to {
            return Err(WrongUsage(format!("--from {from} lies after --to {to}")).into());
        }
        let filter = VersionFilter { from, to, services: self.services };
        let mut table = table(HEADER);
        restatements(&reading.store, &filter, |restatement| -> anyhow::Result<()> {
            if self.json {
                return print_json(&object(&restatement));
            }
            add(&mut table, &restatement);
            Ok(())
        })
        .await?;
        reading.store.close().await;
        if !self.json {
            print(&format!("{}\n", table.trim_fmt()))?;
        }
        Ok(Outcome::Done)
    }
}

const HEADER: [&str; 9] = ["service", "type", "period", "field", "before", "after", "at", "reason", "run"];

fn add(table: &mut Table, restatement: &Restatement) {
    let replaced = &restatement.replaced;
    let run = match &replaced.job {
        Some(job) => format!("{} ({job})", replaced.run),
        None => replaced.run.to_string(),
    };
    let mut add = |field: &str, before: String, after: String| {
        table.add_row([
            restatement.service.simple().to_string(),
            restatement.period_type.name().to_owned(),
            restatement.period.to_string(),
            field.to_owned(),
            before,
            after,
            replaced.at.to_rfc3339_seconds(),
            replaced.reason.name().to_owned(),
            run.clone(),
        ]);
    };
    let (before, after) = (restatement.before.0.to_string(), restatement.after.0.to_string());
    match restatement.kind() {
        "appeared" => add("revision", "none".to_owned(), after),
        "vanished" => add("revision", before, format!("{after}, none")),
        _ => add("revision", before, after),
    }
    let shown = |number: Option<i64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    for change in restatement.fields() {
        add(change.field, shown(change.before), shown(change.after));
    }
}

fn object(restatement: &Restatement) -> serde_json::Value {
    let replaced = &restatement.replaced;
    let field = |change: &crate::usage::restatements::FieldChange| json!({ "field": change.field, "before": change.before, "after": change.after });
    json!({
        "serviceGuid": restatement.service.simple().to_string(),
        "periodType": restatement.period_type.name(),
        "period": restatement.period.to_string(),
        "change": restatement.kind(),
        "revisionBefore": restatement.before.0,
        "revisionAfter": restatement.after.0,
        "at": replaced.at.to_rfc3339_seconds(),
        "reason": replaced.reason.name(),
        "run": replaced.run,
        "job": replaced.job,
        "fields": restatement.fields().iter().map(field).collect::<Vec<_>>(),
    })
}
