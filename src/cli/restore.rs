use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};

use super::output::print_as;
use super::{Options, Outcome};
use crate::jobs::{self, Restored};

/// Make an installation of a backup, in an empty data directory and the empty store that is configured
///
/// The store may be of the other kind than the one that was backed up. Each file is checked first. What is restored is an
/// installation of its own: its directory does not go with the store that was backed up.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let config = options.configure(&options.layers()?)?;
        let run = options.run("restore");
        let restored = jobs::restore(&options.data_dir, &config, options.clock(), &run, &self.from).await?;
        print_as(self.json, &restored, || text(&restored))?;
        Ok(Outcome::Done)
    }
}

fn text(restored: &Restored) -> String {
    format!(
        "Restored as of {}: {} segments with {}. `usage-rollup verify` compares everything with the event log.\n",
        restored.taken_at,
        HumanCount(restored.segments as u64),
        HumanBytes(restored.segment_bytes),
    )
}
