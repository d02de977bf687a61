//! What is stored, how fresh it is, and what waits or is wrong.

use serde::Serialize;

use super::db::{Integers, Row, Spelled};
use super::{Result, Store};
use crate::model::Instant;

/// Where lines ended (`spec/events.md`): `lines = stored + duplicate + rejected`, `stored = counted + voided + conflicting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    pub lines: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub rejected: i64,
    pub counted: i64,
    pub voided: i64,
    pub conflicting: i64,
}

/// The state of an installation.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub ledger: Ledger,
    /// Rejected lines that were not replayed, by reason.
    pub dead_letters: Vec<(String, i64)>,
    pub inputs: i64,
    pub inputs_reading: i64,
    pub inputs_failed: i64,
    pub segments: i64,
    pub segment_bytes: i64,
    /// Lines whose contents were dropped (`event_log.retention`).
    pub bare_lines: i64,
    pub first_day: Option<i32>,
    pub last_day: Option<i32>,
    pub dirty_partitions: i64,
    pub dirty_services: i64,
    pub services: i64,
    pub daily_rows: i64,
    pub monthly_rows: i64,
    pub rows_through: Option<String>,
    pub computed_at: Option<String>,
    /// Daily rows whose numbers are cut: storage below zero, or a sum beyond 2^63 − 1.
    pub clamped_rows: i64,
    pub locked_months: i64,
    /// Rows of locked months that would be otherwise if these were not locked, and the services that they are of.
    pub pending_rows: i64,
    pub pending_services: i64,
    /// Services with events but no directory entry.
    pub services_without_entry: i64,
    pub active_keys: i64,
}

/// The sums of the ledger over some inputs.
macro_rules! sums {
    ($where:literal) => {
        concat!(
            "SELECT CAST(coalesce(sum(lines), 0) AS bigint) AS lines,
                 CAST(coalesce(sum(accepted), 0) AS bigint) AS accepted,
                 CAST(coalesce(sum(rejected), 0) AS bigint) AS rejected,
                 CAST(coalesce(sum(duplicate), 0) AS bigint) AS duplicate,
                 CAST(coalesce(sum(voided), 0) AS bigint) AS voided,
                 CAST(coalesce(sum(conflicting), 0) AS bigint) AS conflicting FROM inputs",
            $where
        )
    };
}

impl Ledger {
    /// From the sums over some inputs.
    pub(super) fn of(sums: &Row) -> Result<Self> {
        let number = |column| sums.get::<i64>(column);
        let (accepted, duplicate) = (number("accepted")?, number("duplicate")?);
        let (voided, conflicting) = (number("voided")?, number("conflicting")?);
        let stored = accepted - duplicate;
        let counted = stored - voided - conflicting;
        Ok(Self {
            lines: number("lines")?,
            stored,
            duplicate,
            rejected: number("rejected")?,
            counted,
            voided,
            conflicting,
        })
    }
}

impl Store {
    /// The ledger of some inputs, or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger(&self, inputs: Option<&[i64]>) -> Result<Ledger> {
        static OF_SOME: Spelled = Spelled::new(sums!(" WHERE id {in integers $1}"));
        let sums = match inputs {
            None => self.db.readers.sql(sums!("")),
            Some(inputs) => self.db.readers.sql(&OF_SOME).bind(Integers(inputs)),
        };
        Ledger::of(&sums.one().await?)
    }

    /// Everything that `status` tells.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, now: Instant) -> Result<Status> {
        let row = self.db.exports.sql(include_str!("status.sql")).bind(now).one().await?;
        let number = |column| row.get::<i64>(column);
        Ok(Status {
            ledger: self.ledger(None).await?,
            dead_letters: self.dead_letters_by_reason().await?,
            inputs: number("inputs")?,
            inputs_reading: number("inputs_reading")?,
            inputs_failed: number("inputs_failed")?,
            segments: number("segments")?,
            segment_bytes: number("segment_bytes")?,
            bare_lines: number("bare_lines")?,
            first_day: row.get("first_day")?,
            last_day: row.get("last_day")?,
            dirty_partitions: number("dirty_partitions")?,
            dirty_services: number("dirty_services")?,
            services: number("services")?,
            daily_rows: number("daily_rows")?,
            monthly_rows: number("monthly_rows")?,
            rows_through: row.get("rows_through")?,
            computed_at: row.get::<Option<Instant>>("computed_at")?.map(Instant::to_rfc3339_seconds),
            clamped_rows: number("clamped_rows")?,
            locked_months: number("locked_months")?,
            pending_rows: number("pending_rows")?,
            pending_services: number("pending_services")?,
            services_without_entry: number("services_without_entry")?,
            active_keys: number("active_keys")?,
        })
    }
}
