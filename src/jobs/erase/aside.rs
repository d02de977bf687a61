//! What is not in the event log: files that were set aside, rejected lines, and inputs that are done.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::super::off_runtime;
use super::Erasing;
use crate::event_log::{EventLogDir, EventLogError, LinesByInput, LogLine, SegmentWriter, UnknownSegment};
use crate::ingest::source::decompressed;
use crate::model::Erased;

/// Dead letters are looked through so many at a time: they may have 64 KiB each.
pub(super) const LETTERS_TOGETHER: i64 = 512;
/// Inputs that are done are looked through by blocks, which share so many bytes: what names a user is shorter.
const BLOCK: usize = 1 << 20;
const SHARED: usize = 1 << 10;

impl Erasing<'_> {
    /// Masks segments that were set aside. Of those that are adopted the rows are in the log, so they may go.
    pub(super) async fn files_aside(&mut self) -> anyhow::Result<()> {
        for (path, is_adopted) in self.installation.log.files_aside()? {
            self.run.check()?;
            let (log, erased, of) = (self.installation.log.clone(), self.erased.clone(), path.clone());
            let masked = self.installation.on_threads(move || mask_file(&log, &of, is_adopted, &erased)).await?;
            match masked {
                Ok(is_masked) => self.report.orphans += usize::from(is_masked),
                Err(error) => self.report.left.push(format!("{error}: remove it if it may name an erased user")),
            }
        }
        Ok(())
    }

    /// Forgets rejected lines that name them.
    pub(super) async fn dead_letters(&mut self) -> anyhow::Result<()> {
        let store = &self.installation.store;
        let mut after = 0;
        loop {
            self.run.check()?;
            let letters = store.dead_letters(None, after, LETTERS_TOGETHER).await?;
            let Some(last) = letters.last() else { return Ok(()) };
            after = last.id;
            let named = letters.iter().filter(|letter| self.erased.are_named_in(&letter.letter.content));
            let ids: Vec<i64> = named.map(|letter| letter.id).collect();
            if !ids.is_empty() {
                store.mask_dead_letters(self.lease, &ids).await?;
                self.report.dead_letters += ids.len() as u64;
            }
        }
    }

    /// Names the inputs that were put away and name them: they are the operator's, and nothing is made of them any more.
    pub(super) async fn done_files(&mut self) -> anyhow::Result<()> {
        let done = self.installation.config.ingest.inbox.join("done");
        if !done.is_dir() {
            return Ok(());
        }
        let entries = fs::read_dir(&done).with_context(|| format!("cannot list {}", done.display()))?;
        for entry in entries {
            self.run.check()?;
            let path = entry.with_context(|| format!("cannot list {}", done.display()))?.path();
            let (erased, of) = (self.erased.clone(), path.clone());
            match off_runtime(move || names(&of, &erased)).await? {
                Ok(false) => {}
                Ok(true) => self.report.left.push(format!("{} names an erased user: remove it", path.display())),
                Err(error) => {
                    let left =
                        format!("cannot read {} ({error}): remove it if it may name an erased user", path.display());
                    self.report.left.push(left);
                }
            }
        }
        Ok(())
    }
}

/// Whether a file held anything that was masked.
fn mask_file(log: &EventLogDir, path: &Path, is_adopted: bool, erased: &Erased) -> Result<bool, EventLogError> {
    let orphan = UnknownSegment::open(path)?;
    let (mut lines, mut is_masked) = (LinesByInput::default(), false);
    orphan.read(|line| {
        let masked = erased.masked(&line.event);
        is_masked |= masked.is_some();
        lines.push(&LogLine { event: masked.unwrap_or(line.event), ..line });
        Ok(())
    })?;
    if !is_masked {
        return Ok(false);
    }
    let packs = if is_adopted { Vec::new() } else { lines.take() };
    let masked = SegmentWriter::new(log.clone(), 1).stage(&packs)?;
    log.replace_aside(path, &masked)?;
    Ok(true)
}

fn names(path: &Path, erased: &Erased) -> io::Result<bool> {
    let mut text = decompressed(File::open(path)?)?;
    let mut block = Vec::with_capacity(BLOCK + SHARED);
    loop {
        let kept = block.len().min(SHARED);
        block.drain(..block.len() - kept);
        if text.by_ref().take(BLOCK as u64).read_to_end(&mut block)? == 0 {
            return Ok(false);
        }
        if erased.are_named_in(&block) {
            return Ok(true);
        }
    }
}
