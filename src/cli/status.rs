use std::time::Duration;

use anyhow::Context as _;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use super::output::{print, print_json};
use super::{Options, Outcome};
use crate::ingest::source::inbox::Waiting;
use crate::model::{Day, Instant};
use crate::observe::{Health, Remark};
use crate::store::{JobOutcome, SourceGauges};

/// What is stored, how fresh it is, and what is late or wrong; exit code 1 if the pipeline is unhealthy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.reading().await?;
        let health = Health::of(&installation).await?;
        if self.json {
            print_json(&object(&health)?)?;
        } else {
            print(&text(&health, installation.config.reporting.timezone.name()))?;
        }
        installation.store.close().await;
        Ok(if health.is_healthy() { Outcome::Done } else { Outcome::BadNews })
    }
}

fn object(health: &Health) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(&health.status).context("the status can't be written as JSON")?;
    let instant = |instant: Option<Instant>| instant.map(Instant::to_rfc3339_seconds);
    value["lost_commits"] = health.lost.commits.into();
    value["lost_segments"] = health.lost.segments.into();
    value["healthy"] = health.is_healthy().into();
    value["problems"] = health.wrong.iter().chain(&health.late).map(sentence).collect();
    value["late"] = json!(health.late);
    value["wrong"] = json!(health.wrong);
    value["notes"] = json!(health.notes);
    let waiting = |of: &Waiting| json!({ "files": of.files, "bytes": of.bytes, "since": instant(of.since()) });
    value["inbox"] = waiting(&health.files.inbox);
    value["spool"] = waiting(&health.files.spool);
    let sources = health.sources.iter().map(|source| {
        json!({
            "kind": source.kind,
            "ledger": source.ledger,
            "committed_at": instant(source.committed_at),
            "newest_day": source.newest_day.map(|day| day.to_string()),
        })
    });
    value["sources"] = sources.collect();
    let jobs = health.runs.iter().map(|run| {
        json!({
            "job": run.job,
            "started_at": instant(Some(run.started_at)),
            "ended_at": instant(run.ended_at),
            "outcome": run.outcome.map(JobOutcome::name),
            "done_at": instant(run.done_at),
        })
    });
    value["jobs"] = jobs.collect();
    value["verification"] = health.verification.as_ref().map_or(Value::Null, |verification| {
        json!({
            "at": instant(Some(verification.at())),
            "differences": verification.differences(),
            "unreadable_days": verification.unreadable_days(),
        })
    });
    value["disk"] = health.files.disk.map_or(Value::Null, |disk| json!({ "bytes": disk.bytes, "free": disk.free }));
    Ok(value)
}

/// A remark on one line.
fn sentence(remark: &Remark) -> String {
    let commands: Vec<String> = remark.commands.iter().map(|command| format!("`{command}`")).collect();
    format!("{}; {} {}", remark.what, remark.advice, commands.join(" or ")).trim_end().to_owned()
}

/// First what is fresh, then what is late and what is wrong, each with what to do about it, and last what is stored.
fn text(health: &Health, zone: &str) -> String {
    let mut lines = freshness(health);
    for (title, remarks) in [("Late", &health.late), ("Wrong", &health.wrong), ("To be noted", &health.notes)] {
        if remarks.is_empty() {
            continue;
        }
        lines.extend([String::new(), format!("{title}:")]);
        for Remark { what, advice, commands } in remarks {
            lines.push(format!("  {what}"));
            let commands: Vec<String> = commands.iter().map(|command| format!("\"{command}\"")).collect();
            lines.push(format!("    ({})", format!("{advice} {}", commands.join(" or ")).trim_end()));
        }
    }
    lines.extend([String::new(), format!("Stored, reporting in {zone}, as of {}:", health.now.to_rfc3339_seconds())]);
    lines.extend(stored(health));
    lines.push(String::new());
    lines.push(match (health.late.len(), health.wrong.len()) {
        (0, 0) if health.status.dirty_partitions + health.status.dirty_services > 0 => {
            "Nothing is late or wrong.\n".to_owned()
        }
        (0, 0) => "Everything is rolled up, and nothing is late or wrong.\n".to_owned(),
        (late, wrong) => format!("{late} late, {wrong} wrong: see above.\n"),
    });
    lines.join("\n")
}

fn freshness(health: &Health) -> Vec<String> {
    let status = &health.status;
    // Two units are as exact as anybody reads.
    let ago = |then: Instant| {
        let seconds = u64::try_from(health.now.seconds() - then.seconds()).unwrap_or(0);
        let whole = humantime::format_duration(Duration::from_secs(seconds)).to_string();
        format!("{} ago", whole.split(' ').take(2).collect::<Vec<&str>>().join(" "))
    };
    let mut lines = Vec::new();
    lines.push(match (&status.rows_through, &status.computed_at) {
        (Some(through), Some(computed_at)) => {
            let which = if *through == health.today.to_string() { "today" } else { "not today" };
            format!("Rows reach {through} ({which}); the last were computed at {computed_at}.")
        }
        _ => "There are no rows yet.".to_owned(),
    });
    let newest = |source: &SourceGauges| {
        let day = source.newest_day.map_or(String::new(), |day| format!(", events through {day}"));
        source.committed_at.map(|at| format!("  {:<11} {}{day}", source.kind, ago(at)))
    };
    let sources: Vec<String> = health.sources.iter().filter_map(newest).collect();
    if !sources.is_empty() {
        lines.push("Lines last came in by:".to_owned());
        lines.extend(sources);
    }
    if !health.runs.is_empty() {
        lines.push("Jobs last ran:".to_owned());
        lines.extend(health.runs.iter().map(|run| {
            let outcome = match run.outcome {
                Some(outcome) => outcome.name(),
                None if run.is_latest => "under way, or cut short",
                None => "cut short",
            };
            format!("  {:<11} {}, {outcome}", run.job, ago(run.ended_at.unwrap_or(run.started_at)))
        }));
    }
    for (place, waiting) in [("In the inbox", health.files.inbox), ("Sent, and to be ingested", health.files.spool)] {
        if waiting.files > 0 {
            lines.push(format!("{place}: {} ({}).", HumanCount(waiting.files), HumanBytes(waiting.bytes)));
        }
    }
    lines
}

fn stored(health: &Health) -> Vec<String> {
    let (status, ledger) = (&health.status, &health.status.ledger);
    let day = |day: Option<i32>| day.map_or_else(|| "-".to_owned(), |day| Day(day).to_string());
    let days = format!("days {} to {}", day(status.first_day), day(status.last_day));
    let through = status.rows_through.as_deref().unwrap_or("-");
    let mut lines = Vec::new();
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
    if let Some(disk) = health.files.disk {
        lines.push(format!("  disk          {} free of {}", HumanBytes(disk.free), HumanBytes(disk.bytes)));
    }
    lines
}

fn count(number: i64) -> HumanCount {
    HumanCount(number.unsigned_abs())
}
