//! The inbox: a directory into which files are dropped. A file is taken once it was renamed into place, or once it has
//! stopped growing and its last line is whole. After its commit it is moved to `done/` or deleted.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::FileSource;
use super::compression::is_compressed;
use crate::store::InputKind;

/// A file that was written in place counts as whole when nothing was written for so long.
pub const QUIET: Duration = Duration::from_secs(2);

/// What happens to a file after its commit (`ingest.after_commit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterCommit {
    Move,
    Delete,
}

/// What the inbox holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Ready to be read, by name.
    pub ready: Vec<FileSource>,
    /// Still growing, or without the end of their last line.
    pub waiting: Vec<PathBuf>,
}

/// Looks through the inbox, which is created where it is missing. Hidden files and directories are left alone.
///
/// # Errors
/// When the directory can't be read.
pub fn look(inbox: &Path) -> io::Result<Found> {
    fs::create_dir_all(inbox)?;
    let mut paths = fs::read_dir(inbox)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    let mut found = Found::default();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || !path.is_file() {
            continue;
        }
        match FileSource::find(&path, InputKind::Inbox) {
            Ok(source) if is_whole(&path)? => found.ready.push(source),
            Ok(_) => found.waiting.push(path),
            // Somebody took it away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A rename changes the inode's time but not the content's; what is written in place has both alike.
fn is_whole(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    let renamed = (metadata.ctime(), metadata.ctime_nsec()) > (metadata.mtime(), metadata.mtime_nsec());
    if renamed {
        return Ok(true);
    }
    let quiet = metadata.modified()?.elapsed().is_ok_and(|age| age >= QUIET);
    Ok(quiet && ends_its_last_line(path)?)
}

fn ends_its_last_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    if head.is_empty() || is_compressed(&head) {
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
    use std::time::SystemTime;

    use super::*;

    fn write(path: &Path, content: &str, age: Duration) {
        fs::write(path, content).unwrap();
        let epoch_age = fs::metadata(path).unwrap().modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let modified = SystemTime::UNIX_EPOCH + epoch_age.checked_sub(age).unwrap();
        File::open(path).unwrap().set_modified(modified).unwrap();
    }

    #[test]
    fn waits_for_files_that_are_being_written_and_takes_those_renamed_into_place() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = dir.path();
        write(&inbox.join("growing.ndjson"), "{}\n", Duration::ZERO);
        write(&inbox.join(".hidden"), "{}\n", Duration::from_secs(60));
        fs::create_dir(inbox.join("done")).unwrap();
        fs::write(inbox.join(".partial"), "{} no newline at the end").unwrap();
        // File systems tell times apart by a tick of the kernel's clock.
        while fs::write(inbox.join(".tick"), "").is_ok()
            && fs::metadata(inbox.join(".tick")).unwrap().modified().unwrap()
                == fs::metadata(inbox.join(".partial")).unwrap().modified().unwrap()
        {}
        fs::rename(inbox.join(".partial"), inbox.join("renamed.ndjson")).unwrap();

        let found = look(inbox).unwrap();

        let names = |paths: Vec<&PathBuf>| -> Vec<String> {
            paths.into_iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(found.ready.iter().map(|source| &source.path).collect()), ["renamed.ndjson"]);
        assert!(names(found.waiting.iter().collect()).contains(&"growing.ndjson".to_owned()));
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
