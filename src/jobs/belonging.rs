//! Which data directory belongs to which store: both know the installation's name. With another's store, all segments would
//! be taken for orphans.

use std::fs;
use std::io;
use std::path::Path;
use std::slice;

use anyhow::Context as _;
use uuid::Uuid;

use super::{JobError, LOCK_FILE};
use crate::durable;
use crate::event_log::EventLogDir;
use crate::store::{Store, StoreUrl, forget_commits};

/// This file is there while a backup is restored.
pub(super) const RESTORING: &str = "restoring";
const FILE: &str = "installation";

/// Sees to it that a data directory and a store belong together from now on, if they may. Gives the store's name.
pub(super) async fn settle(
    data_dir: &Path,
    log: &EventLogDir,
    store: &Store,
    url: &StoreUrl,
) -> anyhow::Result<String> {
    let here = names_in(data_dir)?;
    if let Some(there) = store.installation().await?
        && here.contains(&there)
    {
        return Ok(there);
    }
    let live = store.live_paths().await?;
    let nothing_is_stored = live.is_empty() && !log.has_segments()?;
    // From before installations had names.
    let are_these = here.is_empty() && live.iter().any(|path| log.path_of(path).exists());
    if !nothing_is_stored && !are_these {
        return Err(other(data_dir, url));
    }
    // The store first: a kill in between leaves a store that has a name and no segments.
    let name = store.settle_installation(&new_name()).await?;
    let lock_file = data_dir.join(LOCK_FILE);
    forget_commits(&lock_file).with_context(|| format!("cannot write {}", lock_file.display()))?;
    write_names(data_dir, slice::from_ref(&name))?;
    Ok(name)
}

/// Whoever only reads needs no data directory; but where there is one, it must not be another's.
pub(super) async fn check(data_dir: &Path, store: &Store, url: &StoreUrl) -> anyhow::Result<()> {
    let here = names_in(data_dir)?;
    match store.installation().await? {
        Some(there) if !here.is_empty() && !here.contains(&there) => Err(other(data_dir, url)),
        _ => Ok(()),
    }
}

/// Before a writer goes on: after a copy, the directory belongs to that one of the two stores that is written to first. The
/// other would not know what is new, and take it for orphans. The caller holds the lease.
pub(super) fn claim(data_dir: &Path, name: &str, url: &StoreUrl) -> anyhow::Result<()> {
    if still_belongs(data_dir, name, url)? == 1 { Ok(()) } else { write_names(data_dir, &[name.to_owned()]) }
}

/// Whether the directory has not gone with a copy since it was opened; and to how many stores it belongs.
pub(super) fn still_belongs(data_dir: &Path, name: &str, url: &StoreUrl) -> anyhow::Result<usize> {
    let here = names_in(data_dir)?;
    if here.iter().any(|known| known == name) { Ok(here.len()) } else { Err(other(data_dir, url)) }
}

/// Has the directory belong to a copy, too, that is about to be made. Gives the name that it is to have. The caller holds the
/// lease; a copy that is never finished leaves a name that nobody has.
pub(super) fn expect_copy(data_dir: &Path) -> anyhow::Result<String> {
    let mut names = names_in(data_dir)?;
    let name = new_name();
    names.push(name.clone());
    write_names(data_dir, &names)?;
    Ok(name)
}

/// Has a directory belong to the store of this name alone.
pub(super) fn name(data_dir: &Path, name: &str) -> anyhow::Result<()> {
    write_names(data_dir, &[name.to_owned()])
}

pub(super) fn new_name() -> String {
    Uuid::now_v7().simple().to_string()
}

fn other(data_dir: &Path, url: &StoreUrl) -> anyhow::Error {
    JobError::OtherInstallation { data_dir: data_dir.to_owned(), store: url.to_string() }.into()
}

/// One, but for the time between a copy and the first who writes to it or to its original.
fn names_in(data_dir: &Path) -> anyhow::Result<Vec<String>> {
    if data_dir.join(RESTORING).exists() {
        return Err(JobError::RestoreCutShort { data_dir: data_dir.to_owned() }.into());
    }
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Under a name of its own first, for two processes may open a new installation at once.
fn write_names(data_dir: &Path, names: &[String]) -> anyhow::Result<()> {
    let unfinished = data_dir.join(format!("{FILE}.{}", std::process::id()));
    let lines = names.join("\n") + "\n";
    let written = durable::write(&unfinished, lines.as_bytes());
    let written = written.and_then(|()| durable::rename(&unfinished, &data_dir.join(FILE)));
    written.with_context(|| format!("cannot write {}", data_dir.join(FILE).display()))
}
