//! Results: to standard output, or to a file that is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use comfy_table::{Table, presets};
use serde::Serialize;

/// Where a result goes.
pub(super) enum Output {
    Stdout(BufWriter<io::Stdout>),
    File { writer: BufWriter<File>, unfinished: PathBuf, path: PathBuf },
}

impl Output {
    /// # Errors
    /// When the file can't be created.
    pub fn to(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(BufWriter::new(io::stdout()))) };
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
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, value)?;
    Ok(writeln!(stdout)?)
}

/// A table without lines, to be filled.
pub(super) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Prints a result as text.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

/// Whether the reader of our output went away, which is no failure of ours.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_json = || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        cause.downcast_ref::<io::Error>().map(io::Error::kind).or_else(of_json) == Some(io::ErrorKind::BrokenPipe)
    })
}
