//! An installation that is only read, by a role that may do no more, or on a replica.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::user_usage::KnownLines;
use super::{Installation, LOCK_FILE, belonging, must_be_in};
use crate::clock::Clock;
use crate::config::Config;
use crate::event_log::EventLogDir;
use crate::model::{Day, Instant};
use crate::store::{Store, is_locked, last_commit_from};

/// One installation without its threads: no job can run on it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub data_dir: PathBuf,
    pub config: Arc<Config>,
    pub clock: Clock,
    pub store: Store,
    pub log: EventLogDir,
    /// What reports of users have read.
    pub(super) user_lines: KnownLines,
}

impl From<&Installation> for Reading {
    fn from(of: &Installation) -> Self {
        let Installation { data_dir, config, clock, store, .. } = of.clone();
        Self::new(data_dir, config, clock, store)
    }
}

impl Reading {
    /// One whose store is open.
    #[must_use]
    pub fn new(data_dir: PathBuf, config: Arc<Config>, clock: Clock, store: Store) -> Self {
        let log = EventLogDir::at(&data_dir);
        Self { data_dir, config, clock, store, log, user_lines: KnownLines::default() }
    }

    /// Opens an installation that is there, and changes nothing.
    ///
    /// # Errors
    /// When its database can't be opened, has another version's schema, or its rows are in another time zone.
    pub async fn open(data_dir: &Path, config: Config, clock: Clock) -> anyhow::Result<Self> {
        let store = Store::open_to_read(&config.store.url).await?;
        belonging::check(data_dir, &store, &config.store.url).await?;
        if let Some(stored) = store.zone().await? {
            must_be_in(stored, &config)?;
        }
        Ok(Self::new(data_dir.to_owned(), Arc::new(config), clock, store))
    }

    /// How many commits were made from the data directory that the database does not have: more than none where it is an older
    /// copy, and nobody has written to it yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lost_commits(&self) -> anyhow::Result<i64> {
        // In this order, for commits are made meanwhile.
        let from_here = last_commit_from(&self.data_dir.join(LOCK_FILE));
        Ok(self.store.last_commit().await?.map_or(0, |last| (from_here - last).max(0)))
    }

    /// Whether anybody writes from this data directory just now; none where that can't be told, as from another machine.
    #[must_use]
    pub fn is_being_written(&self) -> Option<bool> {
        is_locked(&self.data_dir.join(LOCK_FILE))
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The current day of the reporting zone.
    #[must_use]
    pub fn today(&self) -> Day {
        self.config.reporting.timezone.day_of(self.now())
    }
}
