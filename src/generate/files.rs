//! A plan's lines as a directory of files.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::stream::Stream;
use super::{Plan, write_lines};

/// Lines in a file at most: about 400 MB, so that several can be read at a time.
pub const EVENTS_PER_FILE: u64 = 1_000_000;

/// Writes the lines of [`write`](super::write) to `events-0001.ndjson` and so on in `dir`, which is created if need be,
/// and returns the paths. A file gets its name once it is complete, so that a watcher of `dir` never reads half of one.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if the plan is impossible, [`ErrorKind::AlreadyExists`] if one of the files exists (before
/// anything is written), and whatever the file system fails with.
pub fn write_files(plan: &Plan, dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<Vec<PathBuf>> {
    write_files_of(plan, dir, EVENTS_PER_FILE, progress)
}

/// The same with a limit of its own, which must not be 0.
pub(super) fn write_files_of(
    plan: &Plan,
    dir: &Path,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let first_day = plan.first_day()?;
    fs::create_dir_all(dir)?;
    let files = plan.events.div_ceil(limit);
    for number in 1..=files {
        refuse_existing(&path_of(dir, number))?;
    }
    let mut stream = Stream::new(plan, first_day);
    let mut lines = 0;
    let mut paths = Vec::new();
    for number in 1..=files {
        let path = path_of(dir, number);
        let temporary = path.with_extension("ndjson.partial");
        let written = write_file(&mut stream, limit, &temporary, &path, &mut lines, progress);
        if written.is_err() {
            // What matters is the first error; a file left behind is overwritten by the next attempt.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        paths.push(path);
    }
    Ok(paths)
}

fn write_file(
    stream: &mut Stream,
    limit: u64,
    temporary: &Path,
    path: &Path,
    lines: &mut u64,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    write_lines(stream, limit, &mut File::create(temporary)?, lines, progress)?;
    refuse_existing(path)?;
    fs::rename(temporary, path)
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("events-{number:04}.ndjson"))
}

fn refuse_existing(path: &Path) -> Result<()> {
    if fs::exists(path)? {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{} exists and is not overwritten", path.display())));
    }
    Ok(())
}
