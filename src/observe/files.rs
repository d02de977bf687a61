//! What the file system tells of an installation.

use std::io;
use std::path::Path;

use crate::event_log::Orphan;
use crate::ingest::source::inbox::{self, Waiting};
use crate::ingest::spool;
use crate::jobs::Reading;

/// Files as they lie there.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub inbox: Waiting,
    /// What was sent to us, and waits to be ingested.
    pub spool: Waiting,
    /// Segments that were moved aside because their batch was cut short, and those that an older database does not know.
    pub cut_short: usize,
    pub lost: usize,
    /// Of the file system on which the data directory lies; none where there is no directory.
    pub disk: Option<Disk>,
}

#[derive(Clone, Copy, Debug)]
pub struct Disk {
    pub bytes: u64,
    /// What may be written yet, without special rights.
    pub free: u64,
}

impl Files {
    /// # Errors
    /// When a directory is there and can't be read.
    pub fn of(reading: &Reading) -> io::Result<Self> {
        let orphans = reading.log.orphans().map_err(io::Error::other)?;
        let lost = orphans.iter().filter(|(_, kind)| *kind == Orphan::Lost).count();
        Ok(Self {
            inbox: inbox::waiting(&reading.config.ingest.inbox)?,
            spool: spool::waiting(&spool::dir(&reading.data_dir))?,
            cut_short: orphans.len() - lost,
            lost,
            disk: disk_of(&reading.data_dir),
        })
    }
}

fn disk_of(path: &Path) -> Option<Disk> {
    let told = rustix::fs::statvfs(path).ok()?;
    Some(Disk { bytes: told.f_blocks * told.f_frsize, free: told.f_bavail * told.f_frsize })
}
