use super::output::{print, table};
use super::{Options, Outcome};

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
                    table.add_row([key, &masked(&setting.value), &setting.origin]);
                }
                print(&format!("{}\n", table.trim_fmt()))?;
            }
        }
        Ok(Outcome::Done)
    }
}

/// The value without the password that a URL may hold.
fn masked(value: &str) -> String {
    let hidden = value.split_once("://").and_then(|(scheme, rest)| {
        let (credentials, host) = rest.rsplit_once('@')?;
        let user = credentials.split(':').next().unwrap_or_default();
        Some(format!("{scheme}://{user}:********@{host}"))
    });
    hidden.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        assert_eq!(masked("postgres://me:s3cret@db/usage"), "postgres://me:********@db/usage");
        assert_eq!(masked("127.0.0.1:8080"), "127.0.0.1:8080");
    }
}
