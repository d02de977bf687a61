use std::collections::BTreeMap;

use indicatif::HumanCount;
use serde_json::json;
use uuid::Uuid;

use super::output::print_as;
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::jobs::{self, Repaired, Scope, Verified};
use crate::model::Day;

/// Recompute everything from the event log, and compare it with what is stored; exit code 1 if anything differs
///
/// Rows, digests, facts, users and totals of services, the ledger, and the files of the event log. What waits to be rolled up
/// is told, and is no difference. It holds the lease: a daemon beside it goes on to serve, and takes events in afterwards.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first day to compare, in the reporting time zone [default: the first there is]
    ///
    /// The history of the services is recomputed whole, for what is held at the end of a day rests on it. Inputs, voids and
    /// files that the catalog does not know are looked at only where everything is verified.
    #[arg(long, value_name = "DATE")]
    from: Option<Day>,
    /// The last day, included [default: the last there is]
    #[arg(long, value_name = "DATE")]
    to: Option<Day>,
    /// Only this service; may be given several times
    #[arg(long = "service", value_name = "GUID", value_parser = parse_guid)]
    services: Vec<Uuid>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Make anew from the event log what differs, as far as it can tell what is right, and verify again
    #[arg(long)]
    repair: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to < from
        {
            return Err(WrongUsage(format!("--to {to} lies before --from {from}")).into());
        }
        let installation = options.existing_installation().await?;
        let (run, scope) = (options.run("verify"), Scope { from: self.from, to: self.to, services: self.services });
        let (verified, repaired) = if self.repair {
            let (verified, repaired) = jobs::repair(&installation, &run, &scope).await?;
            (verified, Some(repaired))
        } else {
            (jobs::verify(&installation, &run, &scope).await?, None)
        };
        installation.store.close().await;
        let object = json!({ "clean": verified.is_clean(), "verified": verified, "repaired": repaired });
        print_as(self.json, &object, || text(&verified, repaired.as_ref()))?;
        Ok(if verified.is_clean() { Outcome::Done } else { Outcome::BadNews })
    }
}

fn text(verified: &Verified, repaired: Option<&Repaired>) -> String {
    let mut lines = Vec::new();
    if let Some(repaired) = repaired {
        lines.push(format!(
            "Repaired: facts of {} services, rows of {}, {} inputs, {} voids; {} files moved aside, {} rows written. Then verified:",
            count(repaired.facts as u64),
            count(repaired.rows as u64),
            count(repaired.inputs as u64),
            count(repaired.voids as u64),
            count(repaired.orphans as u64),
            count(repaired.rows_written),
        ));
    }
    let checked = &verified.checked;
    lines.push(format!(
        "Compared with the event log: {} segments with {} lines, {} services with {} rows, {} inputs",
        count(checked.segments),
        count(checked.lines),
        count(checked.services),
        count(checked.rows),
        count(checked.inputs),
    ));
    if checked.bare_lines > 0 {
        lines.push(format!(
            "  of {} lines the contents were dropped (event_log.retention); what numbers rest on is there, and was recomputed",
            count(checked.bare_lines)
        ));
    }
    let pending = &verified.pending;
    if pending.days > 0 || pending.services > 0 {
        lines.push(format!(
            "  pending: {} days and rows of {} services wait to be rolled up, and were taken as they are; run `usage-rollup rollup`",
            count(pending.days as u64),
            count(pending.services),
        ));
    }
    let mut unreadable: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (day, problem) in &verified.unreadable {
        unreadable.entry(problem).or_default().push(day);
    }
    for (problem, days) in unreadable {
        let (first, last) = (days[0], days[days.len() - 1]);
        let days = if first == last { format!("UTC day {first}") } else { format!("UTC days of {first} to {last}") };
        lines.push(format!("  {days} can't be recomputed, and were taken as they are: {problem}"));
    }
    lines.extend(verified.differences.named.iter().map(|difference| format!("  DIFFERS: {difference}")));
    if verified.differences.more > 0 {
        lines.push(format!("  and {} more", count(verified.differences.more)));
    }
    lines.extend(repaired.into_iter().flat_map(|repaired| &repaired.left).map(|left| format!("  LEFT: {left}")));
    lines.push(match verified.differences.count() {
        0 => "Everything is as the event log has it.".to_owned(),
        1 => "1 difference.".to_owned(),
        more => format!("{} differences.", count(more)),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn count(number: u64) -> HumanCount {
    HumanCount(number)
}
