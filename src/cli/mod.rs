//! The command line: one file a command (`spec/cli.md`).

mod backfill;
mod backup;
mod compact;
mod completions;
mod config;
mod dead_letters;
mod demo;
mod explain;
mod export;
mod generate;
mod ingest;
mod keys;
mod man;
mod orphans;
mod output;
mod periods;
mod progress;
mod reload;
mod restatements;
mod restore;
mod retention;
mod rollup;
mod run;
mod serve;
mod services;
mod signals;
mod status;
mod store;
mod users;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Layers};
use crate::jobs::{Installation, Reading, Run};
use crate::store::advice;
use crate::telemetry::{self, LogFormat};

const DEFAULT_DATA_DIR: &str = "data";

/// Turns raw usage events into daily and monthly ServiceUsage rows, and serves them.
#[derive(Debug, Parser)]
#[command(name = "usage-rollup", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Configuration file [default: /etc/usage-rollup/config.toml or ./usage-rollup.toml, if there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the database, the event log and the inbox lie
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
    /// The form of the log [default: journald where standard error is the journal's, else text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// No progress, and no log below warnings
    #[arg(long, short, global = true)]
    quiet: bool,
    /// A fixed clock for reporting, in RFC 3339, to reproduce a run
    #[arg(long, global = true, value_name = "INSTANT")]
    now: Option<Clock>,
    /// How long to wait for another writer
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Serve(serve::Args),
    Ingest(ingest::Args),
    Rollup(rollup::Args),
    Backfill(backfill::Args),
    Compact(compact::Args),
    Verify(verify::Args),
    Explain(explain::Args),
    Export(export::Args),
    Restatements(restatements::Args),
    Retention(retention::Args),
    Periods(periods::Args),
    Services(services::Args),
    Keys(keys::Args),
    DeadLetters(dead_letters::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Orphans(orphans::Args),
    Users(users::Args),
    Status(status::Args),
    Store(store::Args),
    Generate(generate::Args),
    Config(config::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// How a command ended, where it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It ran, and the answer is bad news.
    BadNews,
}

/// Runs the command line, and tells the outcome by exit code: 0 done, 1 bad news or failure, 2 wrong usage or
/// configuration.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::BadNews) => ExitCode::from(1),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("usage-rollup: {error:#}");
            if let Some(what_to_do) = error.chain().find_map(advice) {
                eprintln!("{what_to_do}");
            }
            let is_usage = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<WrongUsage>());
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

/// What was asked for can't be asked for; clap can't know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

impl Cli {
    fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let options = self.options;
        runtime.block_on(async {
            match self.command {
                Command::Demo(args) => Box::pin(args.run(&options)).await,
                Command::Run(args) => Box::pin(args.run(&options)).await,
                Command::Serve(args) => args.run(&options).await,
                Command::Ingest(args) => args.run(&options).await,
                Command::Rollup(args) => args.run(&options).await,
                Command::Backfill(args) => args.run(&options).await,
                Command::Compact(args) => Box::pin(args.run(&options)).await,
                Command::Verify(args) => Box::pin(args.run(&options)).await,
                Command::Explain(args) => Box::pin(args.run(&options)).await,
                Command::Export(args) => args.run(&options).await,
                Command::Restatements(args) => args.run(&options).await,
                Command::Retention(args) => Box::pin(args.run(&options)).await,
                Command::Periods(args) => Box::pin(args.run(&options)).await,
                Command::Services(args) => args.run(&options).await,
                Command::Keys(args) => args.run(&options).await,
                Command::DeadLetters(args) => args.run(&options).await,
                Command::Backup(args) => Box::pin(args.run(&options)).await,
                Command::Restore(args) => Box::pin(args.run(&options)).await,
                Command::Orphans(args) => Box::pin(args.run(&options)).await,
                Command::Users(args) => Box::pin(args.run(&options)).await,
                Command::Status(args) => args.run(&options).await,
                Command::Store(args) => args.run(&options).await,
                Command::Generate(args) => args.run(&options),
                Command::Config(args) => args.run(&options),
                Command::Completions(args) => args.run(),
                Command::Man(man::Args {}) => man::Args::run(),
            }
        })
    }
}

impl Options {
    fn clock(&self) -> Clock {
        self.now.unwrap_or(Clock::System)
    }

    fn layers(&self) -> Result<Layers, ConfigError> {
        Layers::read(self.config.as_deref())
    }

    /// The configuration in force; logs begin to flow as it says.
    fn configure(&self, layers: &Layers) -> Result<Config, ConfigError> {
        let config = Config::from_layers(layers, &self.data_dir)?;
        telemetry::start(if self.quiet { "warn" } else { &config.log.filter }, self.log_format);
        Ok(config)
    }

    /// Opens the installation, and makes it where there is none.
    async fn installation(&self) -> anyhow::Result<Installation> {
        let config = self.configure(&self.layers()?)?;
        Installation::open(&self.data_dir, config, self.clock()).await
    }

    /// Opens an installation that is there already, to read it.
    async fn reading(&self) -> anyhow::Result<Reading> {
        let config = self.configure(&self.layers()?)?;
        Reading::open(&self.data_dir, config, self.clock()).await
    }

    /// Opens an installation that is there already.
    async fn existing_installation(&self) -> anyhow::Result<Installation> {
        let config = self.configure(&self.layers()?)?;
        config.store.url.must_exist()?;
        Installation::open(&self.data_dir, config, self.clock()).await
    }

    /// How this command runs jobs: Ctrl-C and SIGTERM stop it between commits.
    fn run(&self, purpose: &'static str) -> Run {
        let progress = progress::Reporter::new(self.quiet);
        Run {
            purpose,
            period: None,
            wait: self.wait,
            interrupted: signals::interrupted(),
            progress: Arc::new(move |so_far| progress.show(so_far)),
        }
    }
}
