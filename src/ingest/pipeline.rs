//! The pipeline: pieces are read while others are decoded, decoded events gather into a batch, and a full batch becomes
//! segments and one commit while the next one fills. Synchronous: it runs on the rayon pool, and the commit is handed in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use thiserror::Error;

use super::chunk::{self, Decoded};
use super::decode::Decoder;
use super::lines::{Piece, Pieces};
use super::source::Source;
use crate::event_log::{EventLogDir, EventLogError, PackedEvents, SegmentWriter};
use crate::store::{Input, InputState, LogCommit, StoreError};

/// A batch is committed when it holds so many bytes of input, however few events these are.
const BYTES_PER_COMMIT: usize = 128 << 20;
/// So many pieces are decoded together: enough that threads seldom wait for each other.
const PIECES_PER_THREAD: usize = 6;
/// Small inputs share a commit, but so many at the most.
const INPUTS_PER_COMMIT: usize = 1_024;

#[derive(Debug, Error)]
pub enum IngestError {
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("interrupted; what was committed is kept, and the same command goes on from there")]
    Interrupted,
}

/// What holds for every input.
#[derive(Clone, Debug)]
pub struct IngestRules {
    pub decoder: Decoder,
    pub max_line_bytes: usize,
    /// A batch is committed when it holds so many events.
    pub events_per_commit: usize,
}

/// A source and the reading of it that is to be done, which may have been begun before.
#[derive(Clone, Debug)]
pub struct Reading {
    pub source: Source,
    pub input: Input,
}

/// What has been read so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub lines: u64,
    pub bytes: u64,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Summary {
    /// Inputs that could not be read to their end, with the reason.
    pub failed: Vec<(String, std::io::Error)>,
}

/// Reads inputs into the event log.
pub struct Pipeline<'a> {
    pub rules: &'a IngestRules,
    pub log: &'a EventLogDir,
    /// Makes a batch part of the data.
    pub commit: &'a (dyn Fn(LogCommit) -> Result<(), StoreError> + Sync),
    pub progress: &'a (dyn Fn(Progress) + Sync),
    /// Set from outside to stop between commits.
    pub interrupted: &'a AtomicBool,
    /// Packs whose events are written; their buffers serve the next ones.
    pub spare: &'a Mutex<Vec<PackedEvents>>,
}

/// What is decoded but not committed yet.
#[derive(Default)]
struct Batch {
    events: Vec<PackedEvents>,
    rows: usize,
    bytes: usize,
    commit: LogCommit,
}

impl Pipeline<'_> {
    /// Reads all inputs, in order. An input that can't be read is noted, and the others are read all the same.
    ///
    /// # Errors
    /// When writing or committing fails, or it was interrupted; what was committed before stays.
    pub fn run(&self, readings: &[Reading]) -> Result<Summary, IngestError> {
        let threads = rayon::current_num_threads();
        // Writing waits for the disk and for the commit, and none of the pool's threads may: it has one of its own. Nothing
        // queues: a batch is handed over when the one before it is committed, so no more than two are held.
        let (full, batches) = sync_channel(0);
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || self.write_batches(&batches, threads));
            let read = self.read_all(readings, full);
            let written = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Where writing failed, reading could only notice that nobody takes batches any more.
            written.and(read)
        })
    }

    /// Reads all inputs, and hands over batches as they fill.
    fn read_all(&self, readings: &[Reading], full: SyncSender<Batch>) -> Result<Summary, IngestError> {
        let mut summary = Summary::default();
        let mut progress = Progress::default();
        let mut batches = Batches { filling: Batch::default(), full };
        for Reading { source, input } in readings {
            let mut input = input.clone();
            let read = self.read(source, &mut input, &mut batches, &mut progress)?;
            input.state = if read.is_ok() { InputState::Done } else { InputState::Failed };
            batches.filling.note(&input);
            if let Err(error) = read {
                summary.failed.push((input.name, error));
            }
            if batches.filling.is_full(self.rules.events_per_commit) {
                batches.hand_over()?;
            }
        }
        batches.hand_over()?;
        Ok(summary)
    }

    /// Reads one input to its end. The inner error is the input's, the outer one ends the run.
    fn read(
        &self,
        source: &Source,
        input: &mut Input,
        batches: &mut Batches,
        progress: &mut Progress,
    ) -> Result<std::io::Result<()>, IngestError> {
        let reader = match source.open(input.next_offset) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let mut pieces = Pieces::new(reader, input.next_offset, self.rules.max_line_bytes);
        let at_once = rayon::current_num_threads() * PIECES_PER_THREAD;
        let (mut group, mut failure) = next_group(&mut pieces, at_once);
        while !group.is_empty() {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(IngestError::Interrupted);
            }
            let id = input.id;
            let decode = |piece: &Piece| {
                let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
                chunk::decode(piece, id, &self.rules.decoder, self.rules.max_line_bytes, spare)
            };
            let (decoded, next) = rayon::join(
                || group.par_iter().map(decode).collect::<Vec<Decoded>>(),
                || if failure.is_none() { next_group(&mut pieces, at_once) } else { (Vec::new(), None) },
            );
            for piece in decoded {
                progress.lines += piece.lines;
                progress.bytes += piece.bytes as u64;
                batches.filling.take(piece, input);
            }
            (self.progress)(*progress);
            if batches.filling.is_full(self.rules.events_per_commit) {
                batches.filling.note(input);
                batches.hand_over()?;
            }
            group.drain(..).for_each(|piece| pieces.recycle(piece));
            group = next.0;
            failure = failure.or(next.1);
        }
        Ok(failure.map_or(Ok(()), Err))
    }

    /// Writes and commits batches in the order in which they come, so that checkpoints only move forward.
    fn write_batches(&self, batches: &Receiver<Batch>, threads: usize) -> Result<(), IngestError> {
        let writer = SegmentWriter::new(self.log.clone(), threads);
        for Batch { events, mut commit, .. } in batches {
            commit.segments = writer.write(&events)?;
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
            commit.voids.sort_unstable();
            commit.voids.dedup();
            (self.commit)(commit)?;
        }
        Ok(())
    }
}

fn next_group(pieces: &mut Pieces, at_once: usize) -> (Vec<Piece>, Option<std::io::Error>) {
    let mut group = Vec::with_capacity(at_once);
    while group.len() < at_once {
        match pieces.next() {
            Ok(Some(piece)) => group.push(piece),
            Ok(None) => break,
            Err(error) => return (group, Some(error)),
        }
    }
    (group, None)
}

/// The batch that fills, and where full ones go.
struct Batches {
    filling: Batch,
    full: SyncSender<Batch>,
}

impl Batches {
    /// Hands over the batch with everything that it holds, and waits until the one before it is committed.
    fn hand_over(&mut self) -> Result<(), IngestError> {
        let batch = std::mem::take(&mut self.filling);
        if batch.commit.inputs.is_empty() {
            return Ok(());
        }
        self.full.send(batch).map_err(|_| IngestError::Interrupted)
    }
}

impl Batch {
    fn is_full(&self, events_per_commit: usize) -> bool {
        self.rows >= events_per_commit
            || self.bytes >= BYTES_PER_COMMIT
            || self.commit.inputs.len() >= INPUTS_PER_COMMIT
    }

    /// Adds a decoded piece, whose lines follow those that were read of the input before.
    fn take(&mut self, mut piece: Decoded, input: &mut Input) {
        let first_line = input.next_line;
        for letter in &mut piece.dead_letters {
            letter.line += first_line;
        }
        input.lines += piece.lines;
        input.accepted += piece.events.len() as u64;
        input.rejected += piece.dead_letters.len() as u64;
        input.next_line += piece.physical_lines;
        input.next_offset = piece.end;
        self.rows += piece.events.len();
        self.bytes += piece.bytes;
        if !piece.events.is_empty() {
            piece.events.set_first_line(first_line);
            self.events.push(piece.events);
        }
        self.commit.dead_letters.append(&mut piece.dead_letters);
        self.commit.voids.append(&mut piece.voids);
    }

    /// Takes over how far an input has come.
    fn note(&mut self, input: &Input) {
        match self.commit.inputs.last_mut() {
            Some(last) if last.id == input.id => *last = input.clone(),
            _ => self.commit.inputs.push(input.clone()),
        }
    }
}
