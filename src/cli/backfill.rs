use indicatif::HumanCount;
use serde_json::{Value, json};
use uuid::Uuid;

use super::output::{print, print_json, table};
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::jobs::{self, BackfillPlan, PlannedRow};
use crate::model::{Day, Numbers};
use crate::rollup::DraftRow;

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
    /// Print which rows would change, from what to what, and write nothing
    #[arg(long)]
    plan: bool,
    /// Do it only if the plan is still the one with this digest
    #[arg(long, value_name = "DIGEST", conflicts_with = "plan")]
    apply: Option<String>,
    /// The plan as one JSON object a line, the last one with its digest, instead of a table
    #[arg(long, requires = "plan")]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let (from, to, services) = (self.from, self.to, self.services.as_slice());
        if to < from {
            return Err(WrongUsage(format!("--to {to} lies before --from {from}; nothing was done")).into());
        }
        let installation = options.existing_installation().await?;
        let run = options.run("backfill");
        if self.plan {
            let plan = jobs::plan_backfill(&installation, &run, from, to, services).await?;
            if self.json { print_lines(&plan)? } else { print(&text(&plan))? }
        } else {
            let report = match &self.apply {
                None => jobs::backfill(&installation, &run, from, to, services).await?,
                Some(digest) => jobs::backfill_as_planned(&installation, &run, from, to, services, digest).await?,
            };
            print_json(&json!({ "partitions": report.partitions, "rows_written": report.rows_written }))?;
        }
        installation.store.close().await;
        Ok(Outcome::Done)
    }
}

/// What differs, by its column: before, and after; null where there is no row.
fn fields(row: &PlannedRow) -> Vec<(&'static str, Value, Value)> {
    let values = |row: &DraftRow| -> Vec<Value> {
        let numbers = row.numbers.0.iter().chain([&row.event_count]).map(|number| Value::from(*number));
        numbers.chain([format!("{:032x}", row.input_digest.0).into(), row.clamped.into()]).collect()
    };
    let (before, after) = (row.before.as_ref().map(values), row.after.as_ref().map(values));
    let names = Numbers::COLUMNS.into_iter().chain(["event_count", "input_digest", "clamped"]).enumerate();
    let value = |of: &Option<Vec<Value>>, place: usize| of.as_ref().map_or(Value::Null, |of| of[place].clone());
    let of_both = names.map(|(place, name)| (name, value(&before, place), value(&after, place)));
    of_both.filter(|(_, before, after)| before != after).collect()
}

fn change(row: &PlannedRow) -> &'static str {
    match (&row.before, &row.after) {
        (None, _) => "appears",
        (_, None) => "vanishes",
        _ => "changes",
    }
}

fn print_lines(plan: &BackfillPlan) -> anyhow::Result<()> {
    for row in &plan.rows {
        let fields: Vec<_> = fields(row)
            .into_iter()
            .map(|(field, before, after)| json!({ "field": field, "before": before, "after": after }))
            .collect();
        print_json(&json!({
            "serviceGuid": row.service.simple().to_string(),
            "periodType": row.period_type.name(),
            "period": row.period.to_string(),
            "change": change(row),
            "fields": fields,
        }))?;
    }
    let (rows, held_back) = (plan.rows.len(), plan.held_back);
    print_json(&json!({
        "partitions": plan.partitions, "rows": rows, "heldBack": held_back, "digest": plan.digest(),
    }))
}

fn text(plan: &BackfillPlan) -> String {
    let mut table = table(["service", "type", "period", "", "field", "before", "after"]);
    for row in &plan.rows {
        for (field, before, after) in fields(row) {
            let shown = |value: Value| match value {
                Value::Null => "none".to_owned(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            table.add_row([
                row.service.simple().to_string(),
                row.period_type.name().to_owned(),
                row.period.to_string(),
                change(row).to_owned(),
                field.to_owned(),
                shown(before),
                shown(after),
            ]);
        }
    }
    let count = |number: usize| HumanCount(number as u64);
    let (rows, partitions, digest) = (count(plan.rows.len()), count(plan.partitions), plan.digest());
    let listed = (!plan.rows.is_empty()).then(|| format!("{}\n", table.trim_fmt()));
    let held_back = (plan.held_back > 0)
        .then(|| format!("{} rows of locked months would wait for these to be unlocked.", count(plan.held_back)));
    let told = format!("{rows} rows would change; {partitions} days would be recomputed. Nothing was written.");
    let lines = [listed, held_back, Some(told), Some(format!("To do just this: --apply {digest}\n"))];
    lines.into_iter().flatten().collect::<Vec<String>>().join("\n")
}
