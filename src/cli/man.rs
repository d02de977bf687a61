use clap::CommandFactory as _;

use super::{Cli, Outcome};

/// The manual page, on standard output
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub fn run() -> anyhow::Result<Outcome> {
        let mut command = Cli::command();
        command.build();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        // The subcommands follow in the same page, so that one `man` shows them all.
        for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            clap_mangen::Man::new(subcommand.clone()).render_synopsis_section(&mut page)?;
            clap_mangen::Man::new(subcommand.clone()).render_description_section(&mut page)?;
            clap_mangen::Man::new(subcommand.clone()).render_options_section(&mut page)?;
        }
        super::output::print(&String::from_utf8(page)?)?;
        Ok(Outcome::Done)
    }
}
