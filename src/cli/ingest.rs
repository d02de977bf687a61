use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::output::print_json;
use super::{Options, Outcome};
use crate::ingest::source::{FileSource, Source};
use crate::jobs::{self, IngestReport, Wanted};
use crate::store::InputKind;

/// Ingest these files, or everything the inbox holds now, and roll up what that touched
///
/// Files hold CloudEvents as NDJSON, plain, gzip or zstd; `-` is standard input. A file is always read whole; only a run
/// that was cut short goes on where it stopped. Ends with one JSON object on standard output.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Event files; `-` is standard input; none: the inbox
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a IngestReport,
    seconds: f64,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let installation = options.installation().await?;
        let mut unreadable = 0;
        let wanted = if self.files.is_empty() {
            jobs::anything_waits(&installation, true).await?;
            Wanted::Waiting
        } else {
            let found = self.files.iter().filter_map(|path| match find(path) {
                Ok(source) => Some(source),
                Err(error) => {
                    eprintln!("usage-rollup: cannot read {}: {error}", path.display());
                    unreadable += 1;
                    None
                }
            });
            Wanted::Sources(found.collect())
        };
        let report = jobs::ingest(&installation, &options.run("ingest"), wanted).await?;
        for (name, error) in &report.failed {
            eprintln!("usage-rollup: cannot read {name} to its end: {error}; the lines before that are stored");
        }
        print_json(&Printed { report: &report, seconds: (started.elapsed().as_secs_f64() * 1e3).round() / 1e3 })?;
        installation.store.close().await;
        Ok(if unreadable == 0 && report.failed.is_empty() { Outcome::Done } else { Outcome::BadNews })
    }
}

fn find(path: &std::path::Path) -> std::io::Result<Source> {
    if path.as_os_str() == "-" { Ok(Source::Stdin) } else { FileSource::find(path, InputKind::File).map(Source::File) }
}
