//! Orphans: segments that the catalog does not know. After an older copy of the database took its place, they hold what is
//! missing, and can be adopted: their rows go into the log again, by the commit that ingest makes.
//!
//! They go into segments of their own, for two reasons. The catalog must know what a file's end is, and here nothing but the file
//! itself tells. And a row tells its input by a number, which the older database may have given to another input since: each
//! input of an orphan gets a new one, so that no two are mixed up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::rollup::rollup_leased;
use super::{Installation, Reading, Run, erase};
use crate::event_log::{
    EventLogDir, EventLogError, LinesByInput, LogLine, Orphan, Segment, SegmentWriter, UnknownSegment,
};
use crate::model::Erased;
use crate::rollup::VoidMark;
use crate::store::{Input, InputKind, InputState, Lease, LogCommit};

/// A file that was set aside.
#[derive(Clone, Debug, Serialize)]
pub struct FoundOrphan {
    pub path: PathBuf,
    pub kind: Orphan,
    pub bytes: u64,
}

/// What became of the files that were to be adopted.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedOrphans {
    pub files: Vec<AdoptedFile>,
    pub rows_written: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct AdoptedFile {
    pub path: PathBuf,
    #[serde(flatten)]
    pub adoption: Adoption,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Adoption {
    /// So many lines are in the log now.
    Adopted {
        lines: u64,
    },
    /// It was before.
    AlreadyAdopted,
    Refused {
        reason: String,
    },
}

/// The files that were set aside and are not adopted.
///
/// # Errors
/// When the directory can't be read.
pub fn list_orphans(log: &EventLogDir) -> anyhow::Result<Vec<FoundOrphan>> {
    let found = log.orphans()?.into_iter().map(|(path, kind)| {
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        FoundOrphan { path, kind, bytes }
    });
    Ok(found.collect())
}

impl Reading {
    /// How many segments wait to be adopted that were part of the log.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn lost_segments(&self) -> anyhow::Result<usize> {
        Ok(self.log.orphans()?.iter().filter(|(_, kind)| *kind == Orphan::Lost).count())
    }
}

/// Adopts these files, or all that were part of the log where none are named, and rolls up what that touched. A file that can't
/// be adopted is told of, and costs the others nothing.
///
/// # Errors
/// When the lease can't be had, writing fails, or the run was interrupted; what was adopted before is.
pub async fn adopt_orphans(
    installation: &Installation,
    run: &Run,
    paths: Vec<PathBuf>,
) -> anyhow::Result<AdoptedOrphans> {
    let lease = installation.begin(run, "orphans adopt").await?;
    let done = Box::pin(adopt_leased(installation, run, &lease, paths)).await;
    installation.end(&lease, done).await
}

async fn adopt_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    mut paths: Vec<PathBuf>,
) -> anyhow::Result<AdoptedOrphans> {
    if paths.is_empty() {
        let lost = installation.log.orphans()?.into_iter().filter(|(_, kind)| *kind == Orphan::Lost);
        paths = lost.map(|(path, _)| path).collect();
    }
    let erased = Arc::new(erase::arriving(installation, run, lease).await?);
    let mut adopted = AdoptedOrphans::default();
    for path in paths {
        run.check()?;
        let adoption = adopt(installation, lease, &erased, &path).await?;
        adopted.files.push(AdoptedFile { path, adoption });
    }
    adopted.rows_written = rollup_leased(installation, run, lease).await?.rows_written;
    Ok(adopted)
}

async fn adopt(
    installation: &Installation,
    lease: &Lease,
    erased: &Arc<Erased>,
    path: &Path,
) -> anyhow::Result<Adoption> {
    let store = &installation.store;
    let from = path.to_owned();
    let orphan = match installation.on_threads(move || UnknownSegment::open(&from)).await? {
        Ok(orphan) => orphan,
        Err(error) => return refused(error),
    };
    let signature = blake3::Hash::from(orphan.file.hash).to_hex().to_string();
    if store.has_input(InputKind::Adopted, &signature).await? {
        // Also where a kill came between its commit and this.
        installation.log.put_adopted(path)?;
        return Ok(Adoption::AlreadyAdopted);
    }
    if let Some(live) = store.live_segment(&orphan.file.hash).await? {
        return Ok(Adoption::Refused { reason: format!("it is the segment {live} of the event log") });
    }
    let (first_id, log) = (store.next_input_id().await?, installation.log.clone());
    let of = erased.clone();
    let written = installation.on_threads(move || Rewriting::rewrite(&orphan, first_id, log, &of)).await?;
    let (segments, voids, inputs) = match written {
        Ok(Rewriting { segments, voids, inputs, .. }) => (segments, voids, inputs),
        Err(error @ (EventLogError::Damaged { .. } | EventLogError::Foreign { .. })) => return refused(error),
        Err(error) => return Err(error.into()),
    };
    let name = |input: i64| format!("{}#{input}", path.file_name().unwrap_or_default().to_string_lossy());
    let inputs = inputs.into_iter().map(|(before, input)| Input {
        id: input.id,
        name: name(before),
        kind: InputKind::Adopted,
        state: InputState::Done,
        signature: signature.clone(),
        next_offset: 0,
        next_line: input.last_line + 1,
        lines: input.lines,
        accepted: input.lines,
        rejected: 0,
    });
    let inputs: Vec<Input> = inputs.collect();
    let lines = inputs.iter().map(|input| input.lines).sum();
    let commit = LogCommit { inputs, segments, voids, ..LogCommit::default() };
    store.commit_log(lease, &commit, installation.now()).await?;
    installation.log.put_adopted(path)?;
    Ok(Adoption::Adopted { lines })
}

/// What is wrong with the file is the answer, and not a failure.
#[expect(clippy::unnecessary_wraps, reason = "it stands where others fail")]
fn refused(error: EventLogError) -> anyhow::Result<Adoption> {
    let reason = match error {
        EventLogError::Io { action, source, .. } => format!("cannot {action} it: {source}"),
        EventLogError::Damaged { detail, .. } => format!("it is damaged: {detail}"),
        EventLogError::Foreign { detail, .. } => format!("it is no segment of an event log: {detail}"),
        EventLogError::Encode(error) => error.to_string(),
    };
    Ok(Adoption::Refused { reason })
}

/// An input of an orphan, under its new number.
#[derive(Debug)]
struct AdoptedInput {
    id: i64,
    lines: u64,
    last_line: u64,
}

/// An orphan's rows on their way into new segments.
struct Rewriting {
    writer: SegmentWriter,
    waiting: LinesByInput,
    /// By the number that each had, which is the order in which they arrived.
    inputs: BTreeMap<i64, AdoptedInput>,
    segments: Vec<Segment>,
    voids: Vec<VoidMark>,
}

impl Rewriting {
    fn rewrite(
        orphan: &UnknownSegment,
        first_id: i64,
        log: EventLogDir,
        erased: &Erased,
    ) -> Result<Self, EventLogError> {
        let lines = orphan.lines_by_input()?;
        let input =
            |(id, (before, lines)): (i64, (&i64, &u64))| (*before, AdoptedInput { id, lines: *lines, last_line: 0 });
        let mut rewriting = Self {
            writer: SegmentWriter::new(log, rayon::current_num_threads()),
            waiting: LinesByInput::default(),
            inputs: (first_id..).zip(&lines).map(input).collect(),
            segments: Vec::new(),
            voids: Vec::new(),
        };
        orphan.read(|line| {
            let input = rewriting.inputs.get_mut(&line.input);
            let input = input.ok_or_else(|| orphan.damaged("an input comes out of nowhere"))?;
            input.last_line = input.last_line.max(line.line);
            rewriting.voids.extend(VoidMark::of(&line.event));
            let event = erased.masked(&line.event).unwrap_or(line.event);
            rewriting.waiting.push(&LogLine { event, input: input.id, ..line });
            if rewriting.waiting.is_full() { rewriting.flush() } else { Ok(()) }
        })?;
        rewriting.flush()?;
        rewriting.voids.sort_unstable();
        rewriting.voids.dedup();
        Ok(rewriting)
    }

    fn flush(&mut self) -> Result<(), EventLogError> {
        self.segments.extend(self.writer.write(&self.waiting.take())?);
        Ok(())
    }
}
