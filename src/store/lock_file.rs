//! The lock file of a data directory. Who holds it locked may write; and it remembers which commit was made last from there, so
//! that a database which is older than its directory is noticed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// It begins with a number of so many digits and the end of that line. Who holds it stands behind, for people.
const DIGITS: usize = 20;
const HOLDER_AT: u64 = DIGITS as u64 + 1;

/// A lock file that is held.
#[derive(Clone, Debug)]
pub(super) struct LockFile(Arc<File>);

/// The number of the last commit that was made from a data directory, as far as its lock file knows; 0 where it does not.
#[must_use]
pub fn last_commit_from(lock_file: &Path) -> i64 {
    File::open(lock_file).map_or(0, |file| number_in(&file))
}

/// Whether anybody holds a lock file; none where it can't be told.
#[must_use]
pub fn is_locked(lock_file: &Path) -> Option<bool> {
    match File::open(lock_file).ok()?.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Has a lock file know of no commits: its directory is a new store's.
///
/// # Errors
/// When it is there and can't be changed.
pub fn forget_commits(lock_file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).open(lock_file) {
        Ok(file) => file.set_len(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl LockFile {
    /// Says who holds it.
    pub fn held_by(locked: File, holder: &str) -> io::Result<Self> {
        // Never without its number, whenever this is cut short.
        write_number(&locked, number_in(&locked))?;
        locked.write_all_at(holder.as_bytes(), HOLDER_AT)?;
        locked.set_len(HOLDER_AT + holder.len() as u64)?;
        Ok(Self(Arc::new(locked)))
    }

    pub fn last_commit(&self) -> i64 {
        number_in(&self.0)
    }

    /// Notes a commit that was made. A higher number stays until it is [`set`](Self::set): what is lost is not dealt with yet.
    pub fn note(&self, commit: i64) {
        if commit > self.last_commit() {
            self.set(commit);
        }
    }

    pub fn set(&self, commit: i64) {
        // The commit is made, and this is a help against a mistake: no reason to fail.
        if let Err(error) = write_number(&self.0, commit) {
            tracing::warn!(%error, "cannot note the last commit in the lock file");
        }
    }
}

fn number_in(file: &File) -> i64 {
    let mut digits = [0; DIGITS];
    let text = file.read_exact_at(&mut digits, 0).ok().and_then(|()| str::from_utf8(&digits).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn write_number(file: &File, number: i64) -> io::Result<()> {
    file.write_all_at(format!("{number:0DIGITS$}\n").as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> File {
        OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path).unwrap()
    }

    #[test]
    fn the_last_commit_is_remembered_by_whoever_holds_it_next() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("writer.lock");
        assert_eq!(last_commit_from(&path), 0);
        forget_commits(&path).unwrap();
        // As versions wrote it that knew of no commits.
        std::fs::write(&path, "`usage-rollup ingest` (process 4711)").unwrap();
        let first = LockFile::held_by(open(&path), "`usage-rollup rollup` (process 1)").unwrap();
        assert_eq!(first.last_commit(), 0);
        first.note(7);
        first.note(5);
        let second = LockFile::held_by(open(&path), "nobody").unwrap();
        assert_eq!((second.last_commit(), last_commit_from(&path)), (7, 7));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "00000000000000000007\nnobody");
        second.set(6);
        assert_eq!(last_commit_from(&path), 6);
        forget_commits(&path).unwrap();
        assert_eq!(last_commit_from(&path), 0);
    }
}
