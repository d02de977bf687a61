use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Completions for a shell, on standard output
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: Shell,
}

impl Args {
    pub fn run(self) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "usage-rollup", &mut script);
        super::output::print(&String::from_utf8(script)?)?;
        Ok(Outcome::Done)
    }
}
