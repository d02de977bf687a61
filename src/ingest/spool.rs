//! The spool: lines that were sent to us, until they are ingested. What is acknowledged is durable here, and lines that come at the
//! same time share a sync.
//!
//! One file is open and grows; sealed, it is renamed, and is an input like any other. The open one is locked for as long as its
//! process lives, so that whoever ingests knows what a process has left behind.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::source::inbox::Waiting;
use crate::durable;
use crate::failpoint::{Point, Step, reach, record};

/// In the data directory.
const DIR: &str = "spool";
const OPEN: &str = "part";
const SEALED: &str = "ndjson";
/// So many senders may wait for the disk at once.
const WAITING: usize = 1_024;
/// Lines that wait are written together up to so many bytes.
const BYTES_TOGETHER: usize = 8 << 20;
/// A file that is larger is sealed, whether it is asked for or not.
const LARGEST: u64 = 256 << 20;

#[derive(Debug, Error)]
pub enum SpoolError {
    #[error("as many bytes wait to be ingested as may, {waiting} of {most}")]
    Full { waiting: u64, most: u64 },
    #[error("too many senders wait for the disk")]
    Busy,
    #[error("the spool is closed")]
    Closed,
    #[error("cannot write to the spool")]
    Io(#[from] Arc<io::Error>),
}

/// Where lines are handed in. It is closed when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Spool {
    orders: mpsc::Sender<Order>,
    waiting: Arc<AtomicU64>,
    most: u64,
}

enum Order {
    Write { lines: Vec<u8>, done: oneshot::Sender<Result<(), SpoolError>> },
    Seal { done: oneshot::Sender<Result<(), SpoolError>> },
}

impl Spool {
    /// Opens the spool of a data directory, of which `most` bytes may wait.
    ///
    /// # Errors
    /// When the directory can't be made or read.
    pub fn open(data_dir: &Path, most: u64) -> io::Result<Self> {
        let dir = dir(data_dir);
        // Also where it is there: whoever made it may not have come to syncing its name.
        durable::create_dir(&dir)?;
        reach(Point::SpoolOpened)?;
        let waiting = Arc::new(AtomicU64::new(waiting(&dir)?.bytes));
        let (orders, of_senders) = mpsc::channel(WAITING);
        let writer = Writer { dir, waiting: waiting.clone(), file: None };
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(of_senders))?;
        Ok(Self { orders, waiting, most })
    }

    /// Keeps lines, each with its line ending, and returns when they are durable.
    ///
    /// # Errors
    /// When there is no room, or they can't be written; then none of them is sure to be kept, and some may be.
    pub async fn keep(&self, lines: Vec<u8>) -> Result<(), SpoolError> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting.saturating_add(lines.len() as u64) > self.most {
            return Err(SpoolError::Full { waiting, most: self.most });
        }
        let (done, told) = oneshot::channel();
        self.orders.try_send(Order::Write { lines, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SpoolError::Busy,
            mpsc::error::TrySendError::Closed(_) => SpoolError::Closed,
        })?;
        told.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Seals what was kept so far, so that it can be ingested.
    ///
    /// # Errors
    /// When it can't be.
    pub async fn seal(&self) -> Result<(), SpoolError> {
        let (done, told) = oneshot::channel();
        self.orders.send(Order::Seal { done }).await.map_err(|_| SpoolError::Closed)?;
        told.await.unwrap_or(Err(SpoolError::Closed))
    }
}

/// Where a data directory's spool lies.
#[must_use]
pub fn dir(data_dir: &Path) -> PathBuf {
    data_dir.join(DIR)
}

/// What waits there, open files included; nothing where nothing was ever sent.
///
/// # Errors
/// When the directory can't be read.
pub fn waiting(dir: &Path) -> io::Result<Waiting> {
    if !dir.exists() {
        return Ok(Waiting::default());
    }
    Waiting::of(files(dir)?.iter().map(PathBuf::as_path))
}

/// The sealed files of a data directory, in the order in which they were begun. Those that a process left open are sealed first: what
/// lies behind their last whole line was acknowledged to nobody.
///
/// # Errors
/// When they can't be read or renamed.
pub fn sealed(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = dir(data_dir);
    if !dir.exists() {
        return Ok(Vec::new());
    }
    for path in files(&dir)?.into_iter().filter(|path| has_extension(path, OPEN)) {
        match File::options().read(true).write(true).open(&path) {
            Ok(file) => match file.try_lock() {
                Ok(()) => seal_left(&file, &path)?,
                // Its process lives, and seals it itself.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut sealed: Vec<PathBuf> = files(&dir)?.into_iter().filter(|path| has_extension(path, SEALED)).collect();
    sealed.sort();
    Ok(sealed)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|of_path| of_path == extension)
}

fn seal_left(file: &File, path: &Path) -> io::Result<()> {
    // It may have been sealed between finding and locking it.
    if path.exists() { seal(file, path, whole_lines(file)?) } else { Ok(()) }
}

/// Cuts off what lies behind this length, durably, for nothing is cut off a sealed file; then seals it.
fn seal(file: &File, path: &Path, length: u64) -> io::Result<()> {
    if length == 0 {
        return fs::remove_file(path);
    }
    file.set_len(length)?;
    record(Step::Written(path));
    reach(Point::SpoolCut)?;
    file.sync_all()?;
    record(Step::Synced(path));
    reach(Point::SpoolReady)?;
    durable::rename(path, &path.with_extension(SEALED))
}

/// The length of a file up to the end of its last whole line.
fn whole_lines(mut file: &File) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        bytes.clear();
        file.take(end - start).read_to_end(&mut bytes)?;
        if let Some(newline) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The one thread that writes.
struct Writer {
    dir: PathBuf,
    waiting: Arc<AtomicU64>,
    file: Option<Growing>,
}

struct Growing {
    file: File,
    path: PathBuf,
    /// Up to where it is durable.
    length: u64,
}

impl Writer {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut next = None;
        while let Some(order) = next.take().or_else(|| orders.blocking_recv()) {
            match order {
                Order::Seal { done } => _ = done.send(self.seal().map_err(|error| Arc::new(error).into())),
                Order::Write { lines, done } => {
                    let (mut together, mut senders) = (lines, vec![done]);
                    // Whoever came while the last ones were synced is written with this one.
                    while together.len() < BYTES_TOGETHER {
                        match orders.try_recv() {
                            Ok(Order::Write { lines, done }) => {
                                together.extend_from_slice(&lines);
                                senders.push(done);
                            }
                            Ok(seal) => {
                                next = Some(seal);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    let written = self.write(&together).map_err(Arc::new);
                    if let (Ok(()), Some(growing)) = (&written, &self.file) {
                        record(Step::Acknowledged(&growing.path));
                    }
                    for sender in senders {
                        // Who has gone does not mind.
                        let _ = sender.send(written.clone().map_err(SpoolError::from));
                    }
                }
            }
        }
        if let Err(error) = self.seal() {
            tracing::warn!(%error, "cannot seal the spool's open file; the next start does");
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.append(lines);
        if let Err(error) = &written {
            // What is on disk of it is not known: it is sealed as far as it was known, and another file begun.
            tracing::error!(%error, "cannot write to the spool");
            let _ = self.seal();
        }
        written
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let growing = match &mut self.file {
            Some(growing) => growing,
            none => none.insert(Growing::create(&self.dir)?),
        };
        growing.append(lines)?;
        self.waiting.fetch_add(lines.len() as u64, Ordering::Relaxed);
        if growing.length >= LARGEST { self.seal() } else { Ok(()) }
    }

    fn seal(&mut self) -> io::Result<()> {
        if let Some(Growing { file, path, length }) = self.file.take() {
            seal(&file, &path, length)?;
        }
        self.waiting.store(waiting(&self.dir)?.bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Growing {
    fn create(dir: &Path) -> io::Result<Self> {
        loop {
            // Named by time, so that files come in the order in which they were begun.
            let path = dir.join(Uuid::now_v7().simple().to_string()).with_extension(OPEN);
            let file = File::create_new(&path)?;
            record(Step::Created(&path));
            reach(Point::SpoolBegun)?;
            // Somebody who ingests may have taken it for one that was left, until it is locked: then it is gone.
            if file.try_lock().is_ok() && path.exists() {
                durable::sync_dir(dir)?;
                return Ok(Self { file, path, length: 0 });
            }
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        record(Step::Written(&self.path));
        reach(Point::SpoolWritten)?;
        self.file.sync_data()?;
        record(Step::Synced(&self.path));
        reach(Point::SpoolSynced)?;
        self.length += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn content(paths: &[PathBuf]) -> String {
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn what_is_kept_is_sealed_when_it_is_asked_for_and_when_the_spool_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let spool = Spool::open(dir.path(), 1_000).unwrap();
            spool.seal().await.unwrap();
            assert_eq!(sealed(dir.path()).unwrap(), [""; 0].map(PathBuf::from), "nothing was kept");
            spool.keep(b"a\nb\n".to_vec()).await.unwrap();
            assert_eq!(sealed(dir.path()).unwrap().len(), 0, "it is open, and locked");
            spool.seal().await.unwrap();
            assert_eq!(content(&sealed(dir.path()).unwrap()), "a\nb\n");
            spool.keep(b"c\n".to_vec()).await.unwrap();
            spool.seal().await.unwrap();
            assert_eq!(content(&sealed(dir.path()).unwrap()), "a\nb\nc\n");
        });
    }

    #[test]
    fn what_a_process_left_open_is_cut_to_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(DIR)).unwrap();
        let left = |name: &str, text: &str| fs::write(dir.path().join(DIR).join(name), text).unwrap();
        left("1.part", "whole\ntorn");
        left("2.part", "torn");
        left("3.part", &format!("whole\n{}", "x".repeat(200_000)));
        left("4.part", "");
        assert_eq!(content(&sealed(dir.path()).unwrap()), "whole\nwhole\n");
        assert_eq!(files(&dir.path().join(DIR)).unwrap().len(), 2);
    }

    #[test]
    fn more_than_may_wait_is_refused_until_it_was_ingested() {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let spool = Spool::open(dir.path(), 10).unwrap();
            spool.keep(b"12345678\n".to_vec()).await.unwrap();
            let refused = spool.keep(b"12\n".to_vec()).await.unwrap_err();
            assert!(matches!(refused, SpoolError::Full { waiting: 9, most: 10 }), "{refused:?}");
            spool.seal().await.unwrap();
            for path in sealed(dir.path()).unwrap() {
                fs::remove_file(path).unwrap();
            }
            spool.seal().await.unwrap();
            spool.keep(b"12\n".to_vec()).await.unwrap();
        });
    }

    #[test]
    fn senders_at_the_same_time_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let spool = Spool::open(dir.path(), 1 << 20).unwrap();
            let senders = (0..200).map(|number| {
                let spool = spool.clone();
                tokio::spawn(async move { spool.keep(format!("{number}\n").into_bytes()).await })
            });
            for sender in senders.collect::<Vec<_>>() {
                sender.await.unwrap().unwrap();
            }
            spool.seal().await.unwrap();
        });
        let mut lines: Vec<u32> =
            content(&sealed(dir.path()).unwrap()).lines().map(|line| line.parse().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..200).collect::<Vec<u32>>());
    }
}
