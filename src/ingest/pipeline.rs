//! The pipeline: pieces are read while others are decoded, decoded events gather into a batch, and full batches become
//! segments and one commit each while the next one fills. Synchronous: it runs on the rayon pool, and the commit is handed in.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use rayon::prelude::*;
use thiserror::Error;

use super::chunk::{self, Decoded};
use super::decode::Decoder;
use super::lines::{Piece, Pieces};
use super::source::Source;
use crate::event_log::{EventLogDir, EventLogError, PackedEvents, SegmentWriter};
use crate::model::Erased;
use crate::store::{Input, InputState, LogCommit, StoreError};

/// A batch is committed when it holds so many bytes of input, however few events these are.
const BYTES_PER_COMMIT: usize = 128 << 20;
/// So many pieces are decoded together: enough that threads seldom wait for each other.
const PIECES_PER_THREAD: usize = 2;
/// Small inputs share a commit, but so many at the most.
const INPUTS_PER_COMMIT: usize = 1_024;
/// So many batches are written at once, while another one fills: a writer waits for the disk, and for its turn to commit.
const WRITERS: usize = 2;

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
    /// Whose personal data is masked.
    pub erased: Erased,
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
        if threads == 1 {
            let writer = SegmentWriter::new(self.log.clone(), 1);
            let mut write = |batch| self.write(&writer, batch).and_then(|commit| Ok((self.commit)(commit)?));
            return self.read_all(readings, &mut write);
        }
        // Writing waits for the disk and for the commit, and none of the pool's threads may: it has threads of its own.
        // Nothing queues: a batch is handed over when a writer is free, so no more than one for each of them and the one that
        // fills are held.
        let (full, batches) = sync_channel(0);
        let batches = Arc::new(Mutex::new(batches));
        std::thread::scope(|scope| {
            let write = |batches: Arc<_>| self.write_batches(&batches, threads.div_ceil(WRITERS));
            let start = |batches: Arc<_>| scope.spawn(move || write(batches));
            let writers: Vec<_> = std::iter::repeat_n(batches, WRITERS).map(start).collect();
            let mut turns = Turn::all();
            let mut hand_over = move |batch| {
                let turn = turns.next().ok_or(IngestError::Interrupted)?;
                full.send((batch, turn)).map_err(|_| IngestError::Interrupted)
            };
            let read = self.read_all(readings, &mut hand_over);
            drop(hand_over);
            let join = |writer: ScopedJoinHandle<_>| writer.join().unwrap_or_else(|panic| resume_unwind(panic));
            let written = writers.into_iter().map(join).fold(Ok(()), Result::and);
            // Where writing failed, reading could only notice that nobody takes batches any more.
            written.and(read)
        })
    }

    /// Reads all inputs, and hands over batches as they fill.
    fn read_all(&self, readings: &[Reading], hand_over: HandOver) -> Result<Summary, IngestError> {
        let mut summary = Summary::default();
        let mut progress = Progress::default();
        let mut batches = Batches { filling: Batch::default(), hand_over };
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
                chunk::decode(piece, id, self.rules, spare)
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

    /// Writes batches as they come, and commits them in that order, so that checkpoints only move forward.
    fn write_batches(&self, batches: &Mutex<Receiver<(Batch, Turn)>>, threads: usize) -> Result<(), IngestError> {
        let writer = SegmentWriter::new(self.log.clone(), threads);
        loop {
            let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((batch, turn)) = next else { return Ok(()) };
            let commit = self.write(&writer, batch)?;
            // Where the batch before was not committed, whoever wrote it says why.
            if turn.before.recv().is_err() {
                return Ok(());
            }
            (self.commit)(commit)?;
            _ = turn.after.send(());
        }
    }

    /// Makes a batch's events durable; what is left to be done is the commit.
    fn write(&self, writer: &SegmentWriter, Batch { events, mut commit, .. }: Batch) -> Result<LogCommit, IngestError> {
        commit.segments = writer.write(&events)?;
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        commit.voids.sort_unstable();
        commit.voids.dedup();
        Ok(commit)
    }
}

/// A batch's turn to be committed: after the one before it, and not at all where that was not.
struct Turn {
    before: Receiver<()>,
    after: SyncSender<()>,
}

impl Turn {
    /// One turn after the other; nobody waits for the first.
    fn all() -> impl Iterator<Item = Self> {
        let (start, mut before) = sync_channel(1);
        _ = start.send(());
        std::iter::from_fn(move || {
            let (after, next) = sync_channel(1);
            Some(Self { before: std::mem::replace(&mut before, next), after })
        })
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

/// Takes a full batch, when there is room for it.
type HandOver<'h> = &'h mut dyn FnMut(Batch) -> Result<(), IngestError>;

/// The batch that fills, and where full ones go.
struct Batches<'h> {
    filling: Batch,
    hand_over: HandOver<'h>,
}

impl Batches<'_> {
    /// Hands over the batch with everything that it holds.
    fn hand_over(&mut self) -> Result<(), IngestError> {
        let batch = std::mem::take(&mut self.filling);
        if batch.commit.inputs.is_empty() { Ok(()) } else { (self.hand_over)(batch) }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ingest::source::FileSource;
    use crate::model::Instant;
    use crate::store::InputKind;

    fn lines(count: usize) -> String {
        let line = |number| {
            format!(
                r#"{{"specversion":"1.0","id":"{number}","source":"/s","type":"feature.used","subject":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","time":"2026-03-02T01:00:00Z","data":{{"feature":"SecureForms"}}}}"#
            ) + "\n"
        };
        (0..count).map(line).collect()
    }

    /// Reads so many files, one a commit, on so many threads, where the commit with this number fails. Gives what was
    /// committed, and how it ended.
    fn run(files: i64, threads: usize, failing: i64) -> (Vec<i64>, Result<Summary, IngestError>) {
        let home = tempfile::tempdir().unwrap();
        let log = EventLogDir::open(home.path()).unwrap();
        let reading = |id: i64| {
            let path = home.path().join(id.to_string());
            std::fs::write(&path, lines(20)).unwrap();
            let source = Source::File(FileSource::find(&path, InputKind::File).unwrap());
            let input = Input {
                id,
                name: source.name(),
                kind: InputKind::File,
                state: InputState::Reading,
                signature: String::new(),
                next_offset: 0,
                next_line: 1,
                lines: 0,
                accepted: 0,
                rejected: 0,
            };
            Reading { source, input }
        };
        let readings: Vec<Reading> = (0..files).map(reading).collect();
        let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
        let rules = IngestRules { decoder, erased: Erased::default(), max_line_bytes: 1 << 20, events_per_commit: 1 };
        let committed = Mutex::new(Vec::new());
        let commit = |commit: LogCommit| {
            let id = commit.inputs.last().unwrap().id;
            if id == failing {
                return Err(StoreError::LeaseLost { ours: 1, found: 2 });
            }
            committed.lock().unwrap().push(id);
            Ok(())
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let ended = pool.install(|| {
            Pipeline {
                rules: &rules,
                log: &log,
                commit: &commit,
                progress: &|_| {},
                interrupted: &AtomicBool::new(false),
                spare: &Mutex::default(),
            }
            .run(&readings)
        });
        (committed.into_inner().unwrap(), ended)
    }

    #[test]
    fn batches_are_committed_in_order_and_none_behind_one_that_failed() {
        for threads in [1, 2, 4] {
            let (committed, ended) = run(30, threads, 100);
            // That a file is done is told by the commit behind its lines.
            assert_eq!(committed, (0..30).chain([29]).collect::<Vec<i64>>());
            ended.unwrap();

            let (committed, ended) = run(30, threads, 11);
            assert_eq!(committed, (0..11).collect::<Vec<i64>>());
            assert!(matches!(ended, Err(IngestError::Store(StoreError::LeaseLost { .. }))), "{ended:?}");
        }
    }
}
