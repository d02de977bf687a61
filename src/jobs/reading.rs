//! An installation that is only read, by a role that may do no more, or on a replica.

use std::path::Path;
use std::sync::Arc;

use super::{belonging, must_be_in};
use crate::clock::Clock;
use crate::config::Config;
use crate::event_log::EventLogDir;
use crate::model::{Day, Instant};
use crate::store::Store;

/// One installation without its threads: no job can run on it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub store: Store,
    pub log: EventLogDir,
}

impl Reading {
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
        Ok(Self { config: Arc::new(config), clock, store, log: EventLogDir::at(data_dir) })
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
