use std::path::Path;

use anyhow::Context as _;
use indicatif::{HumanBytes, HumanCount};

use super::output::{print, print_json};
use super::{Options, Outcome};
use crate::ingest::source::inbox;
use crate::jobs::Reading;
use crate::store::Status;

/// What is stored, how fresh it is, and what is pending or wrong; exit code 1 if the pipeline is unhealthy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.reading().await?;
        let status = installation.store.status(installation.now()).await?;
        let lost = Lost { commits: installation.lost_commits().await?, segments: installation.lost_segments()? };
        let problems = problems(&installation, &status, &lost);
        if self.json {
            let mut value = serde_json::to_value(&status).context("the status can't be written as JSON")?;
            value["lost_commits"] = lost.commits.into();
            value["lost_segments"] = lost.segments.into();
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

/// What the database does not know of its own data directory, since an older copy took its place.
struct Lost {
    commits: i64,
    segments: usize,
}

/// What keeps the rows from being right and fresh. Rejected lines, conflicts and negative storage are warnings only.
fn problems(installation: &Reading, status: &Status, lost: &Lost) -> Vec<String> {
    let mut problems = Vec::new();
    if lost.commits > 0 {
        problems.push(format!(
            "the database is older than its data directory, and lacks the last {} commits that were made from here; put the newest copy of the database back, or run `usage-rollup orphans adopt`, which brings back what the event log has of them",
            lost.commits
        ));
    }
    if lost.segments > 0 {
        problems.push(format!(
            "{} segments are not known to the database, for it was put back to an older state; run `usage-rollup orphans adopt` to have them in the log again, or move them out of orphans/lost",
            lost.segments
        ));
    }
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

fn text(installation: &Reading, status: &Status, problems: &[String]) -> String {
    let ledger = &status.ledger;
    let day = |day: Option<i32>| day.map_or_else(|| "-".to_owned(), |day| crate::model::Day(day).to_string());
    let days = format!("days {} to {}", day(status.first_day), day(status.last_day));
    let through = status.rows_through.as_deref().unwrap_or("-");
    let mut lines = vec![
        format!(
            "Reporting in {}, as of {}",
            installation.config.reporting.timezone.name(),
            installation.now().to_rfc3339_seconds()
        ),
        String::new(),
    ];
    let mut line = |name: &str, number: i64, more: String| {
        lines.push(format!("  {name:<14}{:>15}   {more}", count(number).to_string()).trim_end().to_owned());
    };
    let counted = [("counted", ledger.counted), ("voided", ledger.voided), ("conflicting", ledger.conflicting)];
    line("lines read", ledger.lines, String::new());
    line("  stored", ledger.stored, counted.map(|(name, number)| format!("{name} {}", count(number))).join(", "));
    line("  duplicate", ledger.duplicate, String::new());
    line("  rejected", ledger.rejected, String::new());
    line("inputs", status.inputs, format!("{} being read, {} failed", status.inputs_reading, status.inputs_failed));
    line("segments", status.segments, format!("{}, {days}", HumanBytes(status.segment_bytes.unsigned_abs())));
    if status.bare_lines > 0 {
        line("  bare lines", status.bare_lines, "their contents were dropped (event_log.retention)".to_owned());
    }
    line("services", status.services, String::new());
    line("rows", status.daily_rows + status.monthly_rows, {
        format!("{} daily, {} monthly, through {through}", count(status.daily_rows), count(status.monthly_rows))
    });
    line("API keys", status.active_keys, String::new());
    lines.push(format!("  last computed {:>21}", status.computed_at.as_deref().unwrap_or("never")));
    lines.push(String::new());
    let mut warn = |number: i64, what: &str| {
        if number > 0 {
            lines.push(format!("  note: {} {what}", count(number)));
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
        status.pending_rows,
        &format!(
            "rows of {} services in locked months wait for these to be unlocked (usage-rollup periods list)",
            count(status.pending_services)
        ),
    );
    warn(
        status.services_without_entry,
        "services have events but no directory entry: the API answers 404 (usage-rollup services import)",
    );
    warn(
        waiting_files(&installation.config.ingest.inbox),
        "file(s) wait in the inbox, for the writer to rest or for the last line to end with a newline",
    );
    for problem in problems {
        lines.push(format!("  PROBLEM: {problem}"));
    }
    lines.push(if problems.is_empty() { "Everything is rolled up.\n".to_owned() } else { String::new() });
    lines.join("\n")
}

/// An inbox that is not there, or can't be read, holds nothing to tell of here: the daemon tells.
fn waiting_files(inbox: &Path) -> i64 {
    let found = if inbox.is_dir() { inbox::look(inbox).unwrap_or_default() } else { inbox::Found::default() };
    i64::try_from(found.waiting.len()).unwrap_or(i64::MAX)
}

fn count(number: i64) -> HumanCount {
    HumanCount(number.unsigned_abs())
}
