use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};

use super::output::print_as;
use super::{Options, Outcome};
use crate::jobs::{self, BackedUp};

/// Copy database and event log into a directory, while others write
///
/// The directory is empty, or holds an earlier backup: then only new segments are copied, and that backup is the one that is
/// there until the new one is whole.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let reading = options.reading().await?;
        let backed_up = jobs::back_up(&reading, &options.run("backup"), &self.to).await?;
        reading.store.close().await;
        print_as(self.json, &backed_up, || text(&backed_up))?;
        Ok(Outcome::Done)
    }
}

fn text(backed_up: &BackedUp) -> String {
    format!(
        "Backed up as of {}: a database of {}, {} segments with {}; of these {} are new, with {}.\n",
        backed_up.taken_at,
        HumanBytes(backed_up.database_bytes),
        HumanCount(backed_up.segments as u64),
        HumanBytes(backed_up.segment_bytes),
        HumanCount(backed_up.copied_segments as u64),
        HumanBytes(backed_up.copied_bytes),
    )
}
