use super::output::{print, table};
use super::{Options, Outcome};
use crate::store::without_password;

/// The configuration in force
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Every setting, its value, and where that came from
    Show,
    /// Whether the configuration is valid
    Check,
}

impl Args {
    pub fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let layers = options.layers()?;
        options.configure(&layers)?;
        match self.action {
            Action::Check => print("the configuration is valid\n")?,
            Action::Show => {
                let mut table = table(["setting", "value", "from"]);
                for (key, setting) in layers.iter() {
                    table.add_row([key, &without_password(&setting.value), &setting.origin]);
                }
                print(&format!("{}\n", table.trim_fmt()))?;
            }
        }
        Ok(Outcome::Done)
    }
}
