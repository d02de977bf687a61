//! Results: to standard output, or to a file that is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use comfy_table::{Table, presets};
use serde::Serialize;
use thiserror::Error;

/// Where a result goes.
pub(super) enum Output {
    Stdout(BufWriter<Stdout>),
    File { writer: BufWriter<File>, unfinished: PathBuf, path: PathBuf },
}

impl Output {
    /// # Errors
    /// When the file can't be created.
    pub fn to(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(BufWriter::new(Stdout))) };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let unfinished = path.with_file_name(name);
        let file = File::create(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
        Ok(Self::File { writer: BufWriter::new(file), unfinished, path: path.to_owned() })
    }

    /// Puts a file in its place.
    pub fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut writer) => Ok(writer.flush()?),
            Self::File { mut writer, unfinished, path } => {
                writer.flush()?;
                fs::rename(&unfinished, &path).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File { writer, .. } => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File { writer, .. } => writer.flush(),
        }
    }
}

/// Prints a result as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(Stdout.write_all(&line)?)
}

/// Prints a result as one line of JSON, or else as text.
pub(super) fn print_as(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    if json { print_json(value) } else { print(&text()) }
}

/// A table without lines, to be filled.
pub(super) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Prints a result as text.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    Ok(Stdout.write_all(text.as_bytes())?)
}

/// Whether the reader of our output went away, which is no failure of ours. Other pipes break, too: a database's, for one.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_ours = |error: &io::Error| error.get_ref().and_then(|inner| inner.downcast_ref::<StdoutError>()).is_some();
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.into_iter().any(|cause| cause.kind() == io::ErrorKind::BrokenPipe && is_ours(cause))
}

/// Standard output, which tells its errors apart from all others.
pub(super) struct Stdout;

#[derive(Debug, Error)]
#[error("cannot write to standard output: {0}")]
struct StdoutError(io::Error);

impl Stdout {
    fn told<T>(done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| io::Error::new(error.kind(), StdoutError(error)))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::told(io::stdout().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::told(io::stdout().lock().flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pipe_of_our_output_may_break() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let ours = Stdout::told::<()>(Err(broken())).unwrap_err();
        assert!(is_broken_pipe(&anyhow::Error::from(ours).context("cannot print")));
        assert!(!is_broken_pipe(&anyhow::Error::from(broken())));
    }
}
