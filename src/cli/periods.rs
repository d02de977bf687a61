use indicatif::HumanCount;
use serde_json::json;

use super::output::{print, print_json, table};
use super::{Options, Outcome};
use crate::jobs;
use crate::model::Day;
use crate::store::LockedMonth;

/// Closing the books: months whose rows must not change any more
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lock a month that has ended and whose rows are closed: they stay as they are
    ///
    /// What has arrived is rolled up first. What arrives later for the month is stored and waits to be shown (periods list);
    /// gauges of later months take it into account.
    Lock {
        /// The month, such as 2026-03
        #[arg(value_name = "MONTH", value_parser = parse_month)]
        month: Day,
    },
    /// Unlock a month, and restate its rows with what has arrived meanwhile
    Unlock {
        /// The month, such as 2026-03
        #[arg(value_name = "MONTH", value_parser = parse_month)]
        month: Day,
    },
    /// The months that are locked, and how many rows wait for them to be unlocked
    List {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// Reads a month as its first day; a date selects its month.
fn parse_month(text: &str) -> Result<Day, String> {
    let day = text.parse().or_else(|_| format!("{text}-01").parse::<Day>());
    day.map(Day::month).map_err(|_| format!("'{text}' is not a month; expected YYYY-MM"))
}

fn name(month: Day) -> String {
    month.date().format("%Y-%m").to_string()
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        match self.action {
            Action::Lock { month } => {
                let installation = options.existing_installation().await?;
                let locked = jobs::lock_month(&installation, &options.run("periods lock"), month).await?;
                print_json(&json!({ "month": name(month), "locked": true, "was_locked": !locked }))?;
                installation.store.close().await;
            }
            Action::Unlock { month } => {
                let installation = options.existing_installation().await?;
                let written = jobs::unlock_month(&installation, &options.run("periods unlock"), month).await?;
                let (was_locked, written) = (written.is_some(), written.unwrap_or_default());
                let unlocked = json!({
                    "month": name(month), "locked": false, "was_locked": was_locked, "rows_written": written,
                });
                print_json(&unlocked)?;
                installation.store.close().await;
            }
            Action::List { json } => list(options, json).await?,
        }
        Ok(Outcome::Done)
    }
}

async fn list(options: &Options, json: bool) -> anyhow::Result<()> {
    let store = options.reading().await?.store;
    let months = store.locked_months().await?;
    store.close().await;
    let mut table = table(["month", "locked at", "pending rows", "pending services"]);
    for LockedMonth { month, locked_at, pending_rows, pending_services } in months {
        if json {
            print_json(&json!({
                "month": name(month),
                "lockedAt": locked_at.to_rfc3339_seconds(),
                "pendingRows": pending_rows,
                "pendingServices": pending_services,
            }))?;
            continue;
        }
        let count = |number: i64| HumanCount(number.unsigned_abs()).to_string();
        table.add_row([name(month), locked_at.to_rfc3339_seconds(), count(pending_rows), count(pending_services)]);
    }
    if json { Ok(()) } else { print(&format!("{}\n", table.trim_fmt())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_named_by_itself_or_by_any_of_its_days() {
        for text in ["2026-03", "2026-03-01", "2026-03-31"] {
            assert_eq!(parse_month(text).map(name).as_deref(), Ok("2026-03"));
        }
        for text in ["2026", "2026-13", "2026-3", "March", ""] {
            assert!(parse_month(text).is_err(), "{text}");
        }
    }
}
