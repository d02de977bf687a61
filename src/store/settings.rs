//! What holds for an installation as a whole, and does not change once it was settled.

use super::{Result, Store};

const ZONE: &str = "reporting.timezone";
pub(super) const INSTALLATION: &str = "installation";

impl Store {
    /// The time zone that the rows are in; none where no one has settled it yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn zone(&self) -> Result<Option<String>> {
        self.setting(ZONE).await
    }

    /// The time zone that the rows are in. It is this one from now on where no event is stored yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_zone(&self, zone: &str) -> Result<String> {
        if self.zone().await?.is_some_and(|stored| stored == zone) {
            return Ok(zone.to_owned());
        }
        let settle = "INSERT INTO settings (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE NOT EXISTS (SELECT 1 FROM segments)";
        self.db.writer.sql(settle).bind(ZONE).bind(zone).execute().await?;
        Ok(self.zone().await?.unwrap_or_else(|| zone.to_owned()))
    }

    /// The name of the installation that this store belongs to; none where it is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn installation(&self) -> Result<Option<String>> {
        self.setting(INSTALLATION).await
    }

    /// Names the installation, if nobody has: the first who does wins. What it is called now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_installation(&self, name: &str) -> Result<String> {
        self.settle(INSTALLATION, name).await
    }

    /// Settles what is to be so for ever, if nobody has. How it is now.
    pub(super) async fn settle(&self, name: &str, value: &str) -> Result<String> {
        let settle = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        self.db.writer.sql(settle).bind(name).bind(value).execute().await?;
        Ok(self.setting(name).await?.unwrap_or_else(|| value.to_owned()))
    }

    pub(super) async fn setting(&self, name: &str) -> Result<Option<String>> {
        let found = self.db.readers.sql("SELECT value FROM settings WHERE name = $1").bind(name).optional().await?;
        found.map(|row| row.get(0)).transpose()
    }
}
