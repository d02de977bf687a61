use indicatif::HumanCount;

use super::output::{print, print_json, table};
use super::{Options, Outcome, WrongUsage};
use crate::config::{ConfigError, Layers};
use crate::jobs;
use crate::store::{Copied, StoreUrl};

/// The database behind an installation
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Copy everything into an empty database, of the same kind or the other, with history, keys and ledger
    ///
    /// The event log stays where it is: set store.url to the new database afterwards, and keep the data directory. Nobody
    /// can write to either database meanwhile. A copy that is cut short leaves nothing behind.
    Copy {
        /// The database that is in use: sqlite:PATH or postgres://USER@HOST/DATABASE
        #[arg(long, value_name = "URL")]
        from: String,
        /// An empty one; SQLite's file is created
        #[arg(long, value_name = "URL")]
        to: String,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let Action::Copy { from, to, json } = self.action;
        let layers = options.layers()?;
        let [from, to] = [store_url(options, &layers, from, "--from")?, store_url(options, &layers, to, "--to")?];
        if from.to_string() == to.to_string() {
            return Err(WrongUsage(format!("--from and --to are the same database, {from}")).into());
        }
        let copied = jobs::copy_store(&options.data_dir, &from, &to, options.clock().now(), options.wait).await?;
        for other in &copied.others {
            tracing::warn!(table = other, "this table is none of the store's, and was not copied");
        }
        if json {
            print_json(&copied)?;
        } else {
            print(&text(&copied, &to))?;
        }
        Ok(Outcome::Done)
    }
}

/// Reads a URL as if it were `store.url`, so with the password that is configured for a server.
fn store_url(options: &Options, layers: &Layers, url: String, option: &str) -> Result<StoreUrl, ConfigError> {
    let mut layers = layers.clone();
    if !url.starts_with("postgres") {
        layers.set("store.password_file", String::new(), option)?;
    }
    layers.set("store.url", url, option)?;
    Ok(options.configure(&layers)?.store.url)
}

fn text(copied: &Copied, to: &StoreUrl) -> String {
    let mut table = table(["table", "rows"]);
    for of in &copied.tables {
        table.add_row([of.table.to_owned(), HumanCount(of.rows.unsigned_abs()).to_string()]);
    }
    format!("{}\n\nAll rows are there. To use them, set store.url to {to}.\n", table.trim_fmt())
}
