use indicatif::HumanCount;
use serde_json::json;
use uuid::Uuid;

use super::output::{print, print_as, print_json, table};
use super::services::parse_guid;
use super::{Options, Outcome};
use crate::jobs::{self, ErasureReport};

/// Users' personal data
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove the e-mail addresses and names of users from everything that is stored, for good
    ///
    /// No number changes by it. Events that come again are masked, too, and are still copies. Backups keep what they hold. Exit code
    /// 1 if nobody has such a GUID, or something is left to be done.
    Erase {
        #[arg(required = true, value_name = "GUID", value_parser = parse_guid)]
        users: Vec<Uuid>,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// The users who were erased, and when
    Erased {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        match self.action {
            Action::Erase { users, json } => erase(options, &users, json).await,
            Action::Erased { json } => list(options, json).await,
        }
    }
}

async fn erase(options: &Options, users: &[Uuid], json: bool) -> anyhow::Result<Outcome> {
    let installation = options.existing_installation().await?;
    let report = jobs::erase_users(&installation, &options.run("users erase"), users).await?;
    installation.store.close().await;
    print_as(json, &report, || text(&report))?;
    Ok(if report.nobody.is_empty() && report.left.is_empty() { Outcome::Done } else { Outcome::BadNews })
}

fn text(report: &ErasureReport) -> String {
    let mut lines: Vec<String> =
        report.nobody.iter().map(|user| format!("Nothing that is stored names the user {}.", user.simple())).collect();
    lines.extend(report.users.iter().map(|user| format!("Erased the user {}.", user.simple())));
    if !report.users.is_empty() {
        lines.push(format!(
            "Masked {} lines in {} segments, {} rejected lines, {} files that were set aside.",
            HumanCount(report.lines),
            HumanCount(report.segments as u64),
            HumanCount(report.dead_letters),
            HumanCount(report.orphans as u64),
        ));
    }
    lines.extend(report.left.iter().map(|left| format!("LEFT: {left}")));
    lines.push(String::new());
    lines.join("\n")
}

async fn list(options: &Options, json: bool) -> anyhow::Result<Outcome> {
    let store = options.reading().await?.store;
    let users = store.erased_users().await?;
    store.close().await;
    let mut listed = table(["user", "begun", "ended"]);
    for of in users {
        let (user, begun) = (of.user.simple().to_string(), of.begun_at.to_rfc3339_seconds());
        let ended = of.ended_at.map(crate::model::Instant::to_rfc3339_seconds);
        if json {
            print_json(&json!({ "user": user, "begunAt": begun, "endedAt": ended }))?;
        } else {
            listed.add_row([user, begun, ended.unwrap_or_else(|| "cut short".to_owned())]);
        }
    }
    if !json {
        print(&format!("{}\n", listed.trim_fmt()))?;
    }
    Ok(Outcome::Done)
}
