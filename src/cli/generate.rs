use std::path::PathBuf;

use super::output::Output;
use super::{Options, Outcome};
use crate::generate::{Plan, write, write_files};
use crate::model::Day;

/// Sample events, the same for the same arguments
///
/// Services of very different sizes, working hours and weekends, users who join, change and leave, 1 % redelivery, late
/// events and voids.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Lines to write
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    #[arg(long, default_value_t = 50)]
    services: u32,
    #[arg(long, default_value_t = 2_000)]
    users: u32,
    /// How many days the events span
    #[arg(long, default_value_t = 92)]
    days: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The last day [default: yesterday, in UTC]
    #[arg(long, value_name = "DATE")]
    end: Option<Day>,
    /// Write files of up to a million lines into this directory instead of standard output
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Args {
    pub fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let end = self.end.unwrap_or_else(|| Day::utc_of(options.clock().now()).previous());
        let plan = Plan {
            events: self.events,
            services: self.services,
            users: self.users,
            days: self.days,
            seed: self.seed,
            end: end.date(),
        };
        if let Some(dir) = self.output {
            let files = write_files(&plan, &dir, &mut |_| {})?;
            if !options.quiet {
                eprintln!("wrote {} events to {} files in {}", plan.events, files.len(), dir.display());
            }
        } else {
            let mut out = Output::to(None)?;
            write(&plan, &mut out, &mut |_| {})?;
            out.finish()?;
        }
        Ok(Outcome::Done)
    }
}
