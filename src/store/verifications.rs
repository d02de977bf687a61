//! What verifying found lately: until the same is verified again and is clean, it is known.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Result, Store, StoreError};
use crate::model::{Day, Instant};

/// Beyond so many, the oldest are forgotten: by then the store is long known to be wrong.
const FINDINGS: usize = 32;
const VERIFICATION: &str = "verification";

/// When anything was verified last, and what is known to be wrong since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// In seconds since 1970.
    at: i64,
    pub findings: Vec<Finding>,
}

/// What verifying a part of the store found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub from: Option<Day>,
    pub to: Option<Day>,
    /// All where none are named.
    pub services: Vec<Uuid>,
    pub differences: u64,
    /// Days that could not be read.
    pub unreadable_days: u64,
}

impl Verification {
    #[must_use]
    pub fn at(&self) -> Instant {
        Instant::from_seconds(self.at)
    }

    #[must_use]
    pub fn differences(&self) -> u64 {
        self.findings.iter().map(|finding| finding.differences).sum()
    }

    #[must_use]
    pub fn unreadable_days(&self) -> u64 {
        self.findings.iter().map(|finding| finding.unreadable_days).sum()
    }

    fn add(&mut self, found: Finding, now: Instant) {
        self.at = now.seconds();
        self.findings.retain(|before| !found.covers(before));
        if found.differences + found.unreadable_days > 0 {
            self.findings.push(found);
        }
        let beyond = self.findings.len().saturating_sub(FINDINGS);
        self.findings.drain(..beyond);
    }
}

impl Finding {
    /// Whether all that the other one was about was looked at here.
    fn covers(&self, other: &Self) -> bool {
        let reaches_back = self.from.is_none_or(|from| other.from.is_some_and(|other| from <= other));
        let reaches_on = self.to.is_none_or(|to| other.to.is_some_and(|other| other <= to));
        let has = |service| self.services.contains(service);
        let has_services = self.services.is_empty() || !other.services.is_empty() && other.services.iter().all(has);
        reaches_back && reaches_on && has_services
    }
}

impl Store {
    /// What verifying found lately; none where nothing was ever verified.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verification(&self) -> Result<Option<Verification>> {
        let noted = self.setting(VERIFICATION).await?;
        noted.map(|noted| serde_json::from_str(&noted).map_err(StoreError::inconsistent)).transpose()
    }

    /// Notes what verifying found.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_verification(&self, found: Finding, now: Instant) -> Result<()> {
        let mut verification = self.verification().await?.unwrap_or_default();
        verification.add(found, now);
        let noted = serde_json::to_string(&verification).map_err(StoreError::inconsistent)?;
        let note = "INSERT INTO settings (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        // No commit of the lease's: of what is verified nothing changes.
        self.db.writer.sql(note).bind(VERIFICATION).bind(noted).execute().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_known_until_all_of_it_is_verified_again() {
        let (first, last) = (Some(Day(1)), Some(Day(9)));
        let found = |from, to, services: &[u128], differences| Finding {
            from,
            to,
            services: services.iter().map(|service| Uuid::from_u128(*service)).collect(),
            differences,
            unreadable_days: 0,
        };
        let mut verification = Verification::default();
        let mut after = |found| {
            verification.add(found, Instant::from_seconds(7));
            verification.differences()
        };
        assert_eq!(after(found(first, last, &[1, 2], 3)), 3);
        assert_eq!(after(found(first, last, &[3], 0)), 3, "another service");
        assert_eq!(after(found(first, last, &[1], 0)), 3, "one of two");
        assert_eq!(after(found(Some(Day(2)), last, &[], 0)), 3, "not its first day");
        assert_eq!(after(found(first, last, &[2, 1], 1)), 1, "again");
        assert_eq!(after(found(None, None, &[3], 5)), 6);
        assert_eq!(after(found(None, last, &[], 0)), 5, "the other one reaches further");
        assert_eq!(after(found(None, None, &[], 0)), 0);
        assert_eq!(verification.at(), Instant::from_seconds(7));
    }
}
