use anyhow::Context as _;

use super::output::{print, print_json};
use super::{Options, Outcome};
use crate::jobs::Installation;
use crate::store::Status;

/// What is stored, how fresh it is, and what is pending or wrong; exit code 1 if the pipeline is unhealthy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.existing_installation().await?;
        let now = installation.now().to_rfc3339_seconds();
        let status = installation.store.status(&now).await?;
        let problems = problems(&installation, &status);
        if self.json {
            let mut value = serde_json::to_value(&status).context("the status can't be written as JSON")?;
            value["healthy"] = problems.is_empty().into();
            value["problems"] = problems.clone().into();
            print_json(&value)?;
        } else {
            print(&text(&installation, &status, &problems))?;
        }
        installation.store.close().await;
        Ok(if problems.is_empty() { Outcome::Done } else { Outcome::BadNews })
    }
}

/// What keeps the rows from being right and fresh. Rejected lines, conflicts and negative storage are warnings only.
fn problems(installation: &Installation, status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    if status.inputs_failed > 0 {
        problems.push(format!(
            "{} inputs could not be read to their end; mend the files and ingest them again",
            status.inputs_failed
        ));
    }
    if status.dirty_partitions + status.dirty_services > 0 {
        problems.push(format!(
            "{} days and {} services wait to be rolled up; run `usage-rollup rollup`, or let the daemon do it",
            status.dirty_partitions, status.dirty_services
        ));
    }
    let today = installation.today().to_string();
    if status.daily_rows > 0 && status.rows_through.as_ref().is_some_and(|through| *through < today) {
        problems.push(format!("rows do not reach today, {today}; run `usage-rollup rollup`, or start the daemon"));
    }
    problems
}

fn text(installation: &Installation, status: &Status, problems: &[String]) -> String {
    let ledger = &status.ledger;
    let day = |day: Option<i32>| day.map_or_else(|| "-".to_owned(), |day| crate::model::Day(day).to_string());
    let mut lines = vec![
        format!(
            "Reporting in {}, as of {}",
            installation.config.reporting.timezone.name(),
            installation.now().to_rfc3339_seconds()
        ),
        String::new(),
        format!("  lines read      {:>14}", ledger.lines),
        format!(
            "    stored        {:>14}   counted {}, voided {}, conflicting {}",
            ledger.stored, ledger.counted, ledger.voided, ledger.conflicting
        ),
        format!("    duplicate     {:>14}", ledger.duplicate),
        format!("    rejected      {:>14}", ledger.rejected),
        format!(
            "  inputs          {:>14}   {} being read, {} failed",
            status.inputs, status.inputs_reading, status.inputs_failed
        ),
        format!(
            "  event log       {:>14}   bytes in {} segments, days {} to {}",
            status.segment_bytes,
            status.segments,
            day(status.first_day),
            day(status.last_day)
        ),
        format!("  services        {:>14}", status.services),
        format!(
            "  rows            {:>14}   daily, {} monthly, through {}",
            status.daily_rows,
            status.monthly_rows,
            status.rows_through.as_deref().unwrap_or("-")
        ),
        format!("  last computed   {:>20}", status.computed_at.as_deref().unwrap_or("never")),
        String::new(),
    ];
    let mut warn = |count: i64, what: &str| {
        if count > 0 {
            lines.push(format!("  note: {count} {what}"));
        }
    };
    for (reason, letters) in &status.dead_letters {
        warn(*letters, &format!("rejected lines: {reason} (usage-rollup dead-letters list --reason {reason})"));
    }
    warn(ledger.conflicting, "events conflict with an earlier event of the same identity, and do not count");
    warn(
        status.clamped_rows,
        "daily rows show a number that is not the exact sum: storage below zero, or beyond 2^63 - 1",
    );
    warn(
        status.services_without_entry,
        "services have events but no directory entry: the API answers 404 (usage-rollup services import)",
    );
    for problem in problems {
        lines.push(format!("  PROBLEM: {problem}"));
    }
    lines.push(if problems.is_empty() { "Everything is rolled up.\n".to_owned() } else { String::new() });
    lines.join("\n")
}
