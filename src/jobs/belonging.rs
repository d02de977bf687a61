//! Which data directory belongs to which store: both know the installation's name. With another's store, all segments would
//! be taken for orphans.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use uuid::Uuid;

use super::JobError;
use crate::event_log::EventLogDir;
use crate::store::{Store, StoreUrl};

const FILE: &str = "installation";

/// Sees to it that a data directory and a store belong together from now on, if they may.
pub(super) async fn settle(data_dir: &Path, log: &EventLogDir, store: &Store, url: &StoreUrl) -> anyhow::Result<()> {
    let (here, there) = (name_in(data_dir)?, store.installation().await?);
    if here.is_some() && here == there {
        return Ok(());
    }
    let live = store.live_paths().await?;
    let nothing_is_stored = live.is_empty() && !log.has_segments()?;
    // From before installations had names.
    let are_these = here.is_none() && live.iter().any(|path| log.path_of(path).exists());
    if !nothing_is_stored && !are_these {
        return Err(other(data_dir, url));
    }
    // The store first: a kill in between leaves a store that has a name and no segments.
    let name = store.settle_installation(&Uuid::now_v7().simple().to_string()).await?;
    write_name(data_dir, &name).with_context(|| format!("cannot write {}", data_dir.join(FILE).display()))
}

/// Whoever only reads needs no data directory; but where there is one, it must not be another's.
pub(super) async fn check(data_dir: &Path, store: &Store, url: &StoreUrl) -> anyhow::Result<()> {
    match name_in(data_dir)? {
        Some(here) if store.installation().await?.is_some_and(|there| there != here) => Err(other(data_dir, url)),
        _ => Ok(()),
    }
}

fn other(data_dir: &Path, url: &StoreUrl) -> anyhow::Error {
    JobError::OtherInstallation { data_dir: data_dir.to_owned(), store: url.to_string() }.into()
}

fn name_in(data_dir: &Path) -> anyhow::Result<Option<String>> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Under a name of its own first, for two processes may open a new installation at once.
fn write_name(data_dir: &Path, name: &str) -> io::Result<()> {
    let unfinished = data_dir.join(format!("{FILE}.{}", std::process::id()));
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    fs::rename(&unfinished, data_dir.join(FILE))
}
