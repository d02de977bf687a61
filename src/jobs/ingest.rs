//! Ingest: everything that the sources hold goes into the event log, and what that touched is rolled up.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context as _;
use serde::Serialize;
use tokio::runtime::Handle;

use super::rollup::rollup_leased;
use super::{Installation, Run, erase};
use crate::ingest::decode::Decoder;
use crate::ingest::source::inbox::AfterCommit;
use crate::ingest::source::{FileSource, Source, inbox};
use crate::ingest::{IngestError, IngestRules, Pipeline, Reading, Summary, spool};
use crate::model::Erased;
use crate::store::{Input, InputKind, InputState, Lease, Ledger};

/// What an ingest run came to: the ledger of its inputs, as a whole, also of what an earlier run had read of them.
#[derive(Debug, Default, Serialize)]
pub struct IngestReport {
    pub files: usize,
    pub lines: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub rejected: i64,
    pub rows_written: u64,
    /// Inputs that could not be read to their end, and why.
    #[serde(skip)]
    pub failed: Vec<(String, io::Error)>,
}

/// What to ingest.
#[derive(Debug)]
pub enum Wanted {
    Sources(Vec<Source>),
    /// Every whole file of the inbox, and what was sent to us.
    Waiting,
}

/// Reads what is wanted into the event log and rolls up what is dirty then.
///
/// # Errors
/// When the lease can't be had, writing fails, or the run was interrupted. Inputs that can't be read are in the report.
pub async fn ingest(installation: &Installation, run: &Run, wanted: Wanted) -> anyhow::Result<IngestReport> {
    let lease = installation.begin(run, "ingest").await?;
    let done = Box::pin(ingest_leased(installation, run, &lease, wanted)).await;
    installation.end(&lease, done).await
}

async fn ingest_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    wanted: Wanted,
) -> anyhow::Result<IngestReport> {
    let sources = match wanted {
        Wanted::Sources(sources) => sources,
        // Only whoever holds the lease may look: another writer would take the same files.
        Wanted::Waiting => waiting_sources(installation).await?,
    };
    let readings = readings(installation, sources).await?;
    let files = readings.len();
    let inputs: Vec<i64> = readings.iter().map(|reading| reading.input.id).collect();
    let is_unread = |reading: &Reading| reading.input.state == InputState::Reading;
    let unread: Vec<Reading> = readings.into_iter().filter(is_unread).collect();
    let erased = erase::arriving(installation, run, lease).await?;
    let summary = read(installation, run, lease, &unread, erased)?;
    let rolled_up = rollup_leased(installation, run, lease).await?;
    // A run without inputs has an empty ledger, not everybody's.
    let ledger = if inputs.is_empty() { Ledger::default() } else { installation.store.ledger(Some(&inputs)).await? };
    installation.store.end_run(lease, &inputs).await?;
    Ok(IngestReport {
        files,
        lines: ledger.lines,
        stored: ledger.stored,
        duplicate: ledger.duplicate,
        rejected: ledger.rejected,
        rows_written: rolled_up.rows_written,
        failed: summary.failed,
    })
}

/// Whether there is anything to be taken, in the inbox or of what was sent to us. With `settled`, files that were written in place a moment ago are
/// given the time to show whether they still grow.
///
/// # Errors
/// When the inbox or the spool can't be read.
pub async fn anything_waits(installation: &Installation, settled: bool) -> anyhow::Result<bool> {
    if settled && !look(installation)?.waiting.is_empty() {
        tokio::time::sleep(inbox::QUIET).await;
    }
    Ok(!sealed(installation)?.is_empty() || !look(installation)?.ready.is_empty())
}

fn look(installation: &Installation) -> anyhow::Result<inbox::Found> {
    let dir = &installation.config.ingest.inbox;
    inbox::look(dir).with_context(|| format!("cannot look through the inbox {}", dir.display()))
}

fn sealed(installation: &Installation) -> anyhow::Result<Vec<PathBuf>> {
    let data_dir = &installation.data_dir;
    spool::sealed(data_dir).with_context(|| format!("cannot look through the spool {}", spool::dir(data_dir).display()))
}

/// The files of the inbox and of the spool that are whole. Those that were committed before, by a run that was cut short afterwards, are put
/// away; those that could not be read, and did not change since, are left alone.
async fn waiting_sources(installation: &Installation) -> anyhow::Result<Vec<Source>> {
    let found = look(installation)?;
    for path in &found.waiting {
        tracing::debug!(path = %path.display(), "the file is still growing, or its last line lacks its end");
    }
    let mut sources = Vec::new();
    let sent = sealed(installation)?.into_iter().map(|path| FileSource::find(&path, InputKind::Inbox));
    for file in sent.collect::<io::Result<Vec<FileSource>>>()?.into_iter().chain(found.ready) {
        let source = Source::File(file);
        let signature = source.signature().unwrap_or_default();
        let before = installation.store.last_reading(&source.name(), source.kind(), &signature).await?;
        match before.map(|input| input.state) {
            Some(InputState::Done) => put_away(installation, &source),
            Some(InputState::Failed) => {
                tracing::debug!(path = source.name(), "the file could not be read before and has not changed");
            }
            Some(InputState::Reading) | None => sources.push(source),
        }
    }
    Ok(sources)
}

/// Gives each source its number in the ledger. Where an earlier run was cut short, this one goes on: a file is read from
/// where that had come to, and not at all where that had come to its end.
async fn readings(installation: &Installation, sources: Vec<Source>) -> anyhow::Result<Vec<Reading>> {
    let mut next_id = installation.store.next_input_id().await?;
    let mut readings: Vec<Reading> = Vec::with_capacity(sources.len());
    for source in sources {
        let signature = source.signature();
        let cut_short = match &signature {
            Some(signature) => installation.store.readings_cut_short(&source.name(), source.kind(), signature).await?,
            None => Vec::new(),
        };
        // A file may be named twice.
        let is_free = |input: &Input| !readings.iter().any(|reading| reading.input.id == input.id);
        let input = cut_short.into_iter().find(is_free).unwrap_or_else(|| {
            next_id += 1;
            Input {
                id: next_id - 1,
                name: source.name(),
                kind: source.kind(),
                state: InputState::Reading,
                signature: signature.unwrap_or_default(),
                next_offset: 0,
                next_line: 1,
                lines: 0,
                accepted: 0,
                rejected: 0,
            }
        });
        readings.push(Reading { source, input });
    }
    Ok(readings)
}

/// Runs the pipeline, and puts the inbox's files away as their last line is committed.
fn read(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    readings: &[Reading],
    erased: Erased,
) -> anyhow::Result<Summary> {
    let rules = rules(installation, erased);
    let handle = Handle::current();
    std::thread::scope(|scope| {
        // The pipeline borrows the lease, and blocks: it has a thread of its own for as long as it runs.
        let pipeline = scope.spawn(|| {
            installation.threads.install(|| {
                Pipeline {
                    rules: &rules,
                    log: &installation.log,
                    commit: &|commit| {
                        let now = installation.now();
                        handle.block_on(installation.store.commit_log(lease, &commit, now))?;
                        for input in commit.inputs.iter().filter(|input| input.state == InputState::Done) {
                            if let (InputKind::Inbox, Some(source)) = (input.kind, of_input(readings, input)) {
                                put_away(installation, source);
                            }
                        }
                        Ok(())
                    },
                    progress: &*run.progress,
                    interrupted: &run.interrupted,
                    spare: &Mutex::default(),
                }
                .run(readings)
            })
        });
        tokio::task::block_in_place(|| pipeline.join())
    })
    .map_err(|_| anyhow::anyhow!("the ingest pipeline panicked"))?
    .map_err(|error| match error {
        IngestError::Interrupted => super::JobError::Interrupted.into(),
        other => anyhow::Error::from(other),
    })
}

fn rules(installation: &Installation, erased: Erased) -> IngestRules {
    let ingest = &installation.config.ingest;
    IngestRules {
        decoder: Decoder::for_now(ingest, installation.now()),
        erased,
        max_line_bytes: ingest.max_line_bytes,
        events_per_commit: ingest.events_per_commit,
    }
}

pub(super) fn decoder(installation: &Installation) -> Decoder {
    Decoder::for_now(&installation.config.ingest, installation.now())
}

fn of_input<'r>(readings: &'r [Reading], input: &Input) -> Option<&'r Source> {
    readings.iter().find(|reading| reading.input.id == input.id).map(|reading| &reading.source)
}

/// A file that can't be put away is told of and left: it is known to be done, and tried again at the next look. One that was
/// written to since it was found is left too, and read anew: what was read of it before are copies then.
fn put_away(installation: &Installation, source: &Source) {
    let Source::File(file) = source else { return };
    let path = &file.path;
    if FileSource::find(path, file.kind).is_ok_and(|now| now.signature != file.signature) {
        tracing::warn!(path = %path.display(), "a file of the inbox was written to while it was read; it is read again");
        return;
    }
    // Whoever sent it has it still.
    let spool = spool::dir(&installation.data_dir).canonicalize();
    let is_spooled = spool.is_ok_and(|spool| path.starts_with(spool));
    let after = if is_spooled { AfterCommit::Delete } else { installation.config.ingest.after_commit };
    if let Err(error) = inbox::put_away(path, after) {
        tracing::warn!(path = %path.display(), %error, "cannot put away a file that is done");
    }
}
