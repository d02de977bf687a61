//! The inbox: a directory into which files are dropped. A file is taken once it was renamed into place, or once it has
//! stopped growing and its last line is whole. After its commit it is moved to `done/` or deleted.
//!
//! What tells a rename from a write is the inode's two times. A write sets both to now; a rename moves only the time of
//! change on. But so does `chmod`, also of a file that still grows, until the next write: so the rename alone is not
//! enough, and the last write must lie [`QUIET`] back in every case. Whoever renames a file that was just written waits
//! for no more than that. A file that was written and renamed within one tick of the kernel's clock looks as if it had
//! been written in place; it is taken if its last line is whole.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::FileSource;
use super::compression::is_compressed;
use crate::failpoint::{Point, reach};
use crate::model::Instant;
use crate::store::InputKind;

/// A file may grow as long as its last write is no older than this.
pub const QUIET: Duration = Duration::from_secs(2);

/// What happens to a file after its commit (`ingest.after_commit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCommit {
    Move,
    Delete,
}

/// What the inbox holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Ready to be read, by name.
    pub ready: Vec<FileSource>,
    /// Still growing, empty, or without the end of their last line.
    pub waiting: Vec<PathBuf>,
}

/// Looks through the inbox, which is created where it is missing. Hidden files and directories are left alone.
///
/// # Errors
/// When the directory can't be read.
pub fn look(inbox: &Path) -> io::Result<Found> {
    fs::create_dir_all(inbox)?;
    look_at(inbox)
}

/// Looks through the inbox as it is: one that is not there holds nothing.
///
/// # Errors
/// When the directory can't be read.
pub fn look_at(inbox: &Path) -> io::Result<Found> {
    if !inbox.try_exists()? {
        return Ok(Found::default());
    }
    let mut paths = fs::read_dir(inbox)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut found = Found::default();
    for path in paths {
        if is_hidden(&path) || !path.is_file() {
            continue;
        }
        // The signature first: what is written after that changes it.
        match FileSource::find(&path, InputKind::Inbox).and_then(|source| Ok((source, is_whole(&path)?))) {
            Ok((source, true)) => found.ready.push(source),
            Ok((_, false)) => found.waiting.push(path),
            // Somebody took it away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What lies in the inbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    pub files: u64,
    pub bytes: u64,
    /// When the file came that waits longest: neither its name nor its content has changed since.
    pub since: Option<SystemTime>,
}

/// What lies in the inbox, ready or not, without a look into any file. An inbox that is not there holds nothing.
///
/// # Errors
/// When the directory can't be read.
pub fn waiting(inbox: &Path) -> io::Result<Waiting> {
    if !inbox.try_exists()? {
        return Ok(Waiting::default());
    }
    let paths = fs::read_dir(inbox)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    Waiting::of(paths.iter().map(PathBuf::as_path).filter(|path| !is_hidden(path)))
}

impl Waiting {
    /// What these files are. Those that are gone meanwhile, and directories, are none.
    ///
    /// # Errors
    /// When the system does not tell when one was changed.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p Path>) -> io::Result<Self> {
        let mut waiting = Self::default();
        for metadata in paths.into_iter().filter_map(|path| path.metadata().ok()).filter(Metadata::is_file) {
            let changed = Times::of(&metadata)?.changed;
            waiting.files += 1;
            waiting.bytes += metadata.len();
            waiting.since = Some(waiting.since.map_or(changed, |since| since.min(changed)));
        }
        Ok(waiting)
    }

    /// When the file came that waits longest, to the second; none where none waits.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        let since = self.since?.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).ok().map(Instant::from_seconds)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// When a file was written, and when anything of it was changed last, which includes its name.
#[derive(Clone, Copy, Debug)]
struct Times {
    written: SystemTime,
    changed: SystemTime,
}

/// What these times tell of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    MayGrow,
    /// Nothing was written for a while, and then, or long before, it was renamed, or given the times of its original.
    PutInPlace,
    /// Nothing was written for a while.
    Quiet,
}

impl Times {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        let since_1970 = Duration::new(
            u64::try_from(metadata.ctime()).unwrap_or_default(),
            u32::try_from(metadata.ctime_nsec()).unwrap_or_default(),
        );
        Ok(Self { written: metadata.modified()?, changed: SystemTime::UNIX_EPOCH + since_1970 })
    }

    fn standing(self, now: SystemTime) -> Standing {
        // The time of writing can be set to anything, the time of change can't: no write is later than that.
        let last_write = self.written.min(self.changed);
        if now.duration_since(last_write).is_ok_and(|age| age >= QUIET) {
            if self.written == self.changed { Standing::Quiet } else { Standing::PutInPlace }
        } else {
            Standing::MayGrow
        }
    }
}

fn is_whole(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    match Times::of(&file.metadata()?)?.standing(now()) {
        Standing::MayGrow => Ok(false),
        Standing::PutInPlace => Ok(true),
        Standing::Quiet => ends_its_last_line(file),
    }
}

#[expect(clippy::disallowed_methods, reason = "file systems stamp with the wall clock, whatever --now says")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// An empty file is one whose first line is still to come: a shell makes it before the program behind `>` has anything to
/// say, which may be long.
fn ends_its_last_line(mut file: File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(false);
    }
    if is_compressed(&head) {
        // Whether compressed content is whole shows when it is read.
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

/// Puts away a file whose lines are all committed.
///
/// # Errors
/// When it can't be moved or deleted.
pub fn put_away(path: &Path, after: AfterCommit) -> io::Result<()> {
    reach(Point::FilePutAway)?;
    match after {
        AfterCommit::Delete => fs::remove_file(path),
        AfterCommit::Move => {
            let done = path.parent().unwrap_or(Path::new(".")).join("done");
            fs::create_dir_all(&done)?;
            fs::rename(path, free_name(&done, path))
        }
    }
}

/// The file's own name, or that with a number where an earlier file has it.
fn free_name(done: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (1..).map(|number| done.join(format!("{name}.{number}")));
    std::iter::once(done.join(&name)).chain(numbered).find(|free| !free.exists()).unwrap_or_else(|| done.join(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn times_tell_what_may_still_grow() {
        let now = now();
        let standing = |written: SystemTime, changed| Times { written, changed }.standing(now);
        let ago = |seconds| now - seconds * SECOND;

        assert_eq!(standing(now, now), Standing::MayGrow, "just written");
        assert_eq!(standing(ago(1), now), Standing::MayGrow, "renamed, or chmod, a moment after a write");
        assert_eq!(standing(ago(2), ago(2)), Standing::Quiet, "written in place");
        assert_eq!(standing(ago(2), ago(1)), Standing::PutInPlace, "renamed");
        assert_eq!(standing(ago(1_000_000), now), Standing::PutInPlace, "renamed, or copied with its times");
        assert_eq!(standing(now + 60 * SECOND, now), Standing::MayGrow, "given a time to come, just now");
        assert_eq!(standing(now + 60 * SECOND, ago(2)), Standing::PutInPlace, "given a time to come, by the original");
        assert_eq!(standing(now + 60 * SECOND, now + 60 * SECOND), Standing::MayGrow, "the clock was set back");
    }

    #[test]
    fn takes_what_was_renamed_into_place_and_waits_for_what_is_written_there() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = dir.path();
        fs::create_dir(inbox.join("done")).unwrap();
        fs::write(inbox.join("growing.ndjson"), "{} no newline at the end").unwrap();
        fs::write(inbox.join(".partial"), "{} no newline at the end").unwrap();
        let earlier = now() - 60 * SECOND;
        File::options().write(true).open(inbox.join(".partial")).unwrap().set_modified(earlier).unwrap();
        let found = look(inbox).unwrap();
        assert_eq!((found.ready.len(), found.waiting), (0, vec![inbox.join("growing.ndjson")]));

        fs::rename(inbox.join(".partial"), inbox.join("renamed.ndjson")).unwrap();

        let found = look(inbox).unwrap();
        let ready: Vec<&PathBuf> = found.ready.iter().map(|source| &source.path).collect();
        assert_eq!(ready, [&fs::canonicalize(inbox).unwrap().join("renamed.ndjson")]);
        assert_eq!(found.waiting, [inbox.join("growing.ndjson")]);
    }

    #[test]
    fn a_file_ends_its_last_line_with_a_newline_or_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let ends = |content: &[u8]| {
            let path = dir.path().join("file");
            fs::write(&path, content).unwrap();
            ends_its_last_line(File::open(path).unwrap()).unwrap()
        };
        assert!(ends(b"{}\n") && ends(b"\n") && ends(b"\x1f\x8b\x08"));
        assert!(!ends(b"") && !ends(b"{}") && !ends(b"{}\n{"));
    }

    #[test]
    fn done_files_keep_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["first", "second"] {
            fs::write(dir.path().join("a.ndjson"), content).unwrap();
            put_away(&dir.path().join("a.ndjson"), AfterCommit::Move).unwrap();
        }
        assert_eq!(fs::read(dir.path().join("done/a.ndjson")).unwrap(), b"first");
        assert_eq!(fs::read(dir.path().join("done/a.ndjson.1")).unwrap(), b"second");
    }
}
