use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};

use super::output::{print, print_as, print_json, table};
use super::{Options, Outcome};
use crate::event_log::{EventLogDir, Orphan};
use crate::jobs::{self, AdoptedOrphans, Adoption, FoundOrphan};

/// Segments that the database does not know
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Those that were set aside and are not adopted
    ///
    /// Lost ones were part of the event log, and an older copy of the database took the place of the one that knew them. The
    /// others are what batches left that were cut short, whose lines were read again.
    List {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Bring their events back into the event log, and roll up what that touches
    ///
    /// Events that came in again meanwhile are copies, and count once. Files stay, in orphans/adopted; exit code 1 if one is
    /// damaged or no segment.
    Adopt {
        /// Wherever they are, as in another data directory [default: all lost ones]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        match self.action {
            Action::List { json } => list(options, json),
            Action::Adopt { paths, json } => adopt(options, paths, json).await,
        }
    }
}

fn list(options: &Options, json: bool) -> anyhow::Result<Outcome> {
    let orphans = jobs::list_orphans(&EventLogDir::at(&options.data_dir))?;
    if json {
        orphans.iter().try_for_each(print_json)?;
    } else {
        print(&listed(&orphans))?;
    }
    Ok(Outcome::Done)
}

fn listed(orphans: &[FoundOrphan]) -> String {
    if orphans.is_empty() {
        return "No segments were set aside.\n".to_owned();
    }
    let mut table = table(["path", "kind", "bytes"]);
    for orphan in orphans {
        let kind = match orphan.kind {
            Orphan::Lost => "lost",
            Orphan::CutShort => "cut short",
        };
        table.add_row([orphan.path.display().to_string(), kind.to_owned(), HumanBytes(orphan.bytes).to_string()]);
    }
    format!("{}\n", table.trim_fmt())
}

async fn adopt(options: &Options, paths: Vec<PathBuf>, json: bool) -> anyhow::Result<Outcome> {
    let installation = options.existing_installation().await?;
    let adopted = jobs::adopt_orphans(&installation, &options.run("orphans adopt"), paths).await?;
    installation.store.close().await;
    print_as(json, &adopted, || text(&adopted))?;
    let is_refused = adopted.files.iter().any(|file| matches!(file.adoption, Adoption::Refused { .. }));
    Ok(if is_refused { Outcome::BadNews } else { Outcome::Done })
}

fn text(adopted: &AdoptedOrphans) -> String {
    let mut lines: Vec<String> = adopted
        .files
        .iter()
        .map(|file| {
            let path = file.path.display();
            match &file.adoption {
                Adoption::Adopted { lines } => {
                    format!("{path}: {} lines are in the event log again", HumanCount(*lines))
                }
                Adoption::AlreadyAdopted => format!("{path}: was adopted before"),
                Adoption::Refused { reason } => format!("{path}: NOT ADOPTED, {reason}"),
            }
        })
        .collect();
    lines.push(match adopted.files.len() {
        0 => "No segments are lost.".to_owned(),
        _ => format!("{} rows written.", HumanCount(adopted.rows_written)),
    });
    lines.push(String::new());
    lines.join("\n")
}
