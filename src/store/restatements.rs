//! The versions of rows that have changed after they were closed.

use futures_util::{Stream, StreamExt as _};
use uuid::Uuid;

use super::db::{ByDialect, Guids, Row};
use super::{Result, Store, StoreError};
use crate::model::{Day, Instant, Numbers, PeriodType, Reason};

/// Of which rows; both ends are included, and of months those that the days lie in.
#[derive(Clone, Debug)]
pub struct VersionFilter {
    pub from: Day,
    pub to: Day,
    /// All services where empty.
    pub services: Vec<Uuid>,
}

/// One version of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub service: Uuid,
    pub period_type: PeriodType,
    pub period: Day,
    /// None where there was no row.
    pub numbers: Option<Numbers>,
    pub revision: i64,
    /// None where it stands.
    pub replaced: Option<Replaced>,
}

/// What ended a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub at: Instant,
    pub reason: Reason,
    /// The job's number, and its name.
    pub run: i64,
    pub job: Option<String>,
}

macro_rules! versions {
    ($of_services:literal) => {
        concat!(
            "SELECT h.service_guid, h.period_type, h.period, h.total_user_count, h.pro_user_count, h.guest_user_count,
                 h.disabled_user_count, h.unregistered_user_count, h.feature_usage_secure_messaging_gateway,
                 h.feature_usage_secure_messaging_plus, h.feature_usage_data_leak_prevention,
                 h.feature_usage_secure_large_files, h.feature_usage_secure_forms, h.total_message_count,
                 h.total_attachment_count, h.attachment_storage_usage, h.revision, h.state, h.since, h.replaced_at,
                 h.reason, h.run, (SELECT job FROM job_runs WHERE id = h.run) AS job, h.until
             FROM usage_history h WHERE ",
            changed!($of_services),
            " UNION ALL
             SELECT u.service_guid, u.period_type, u.period, u.total_user_count, u.pro_user_count, u.guest_user_count,
                 u.disabled_user_count, u.unregistered_user_count, u.feature_usage_secure_messaging_gateway,
                 u.feature_usage_secure_messaging_plus, u.feature_usage_data_leak_prevention,
                 u.feature_usage_secure_large_files, u.feature_usage_secure_forms, u.total_message_count,
                 u.total_attachment_count, u.attachment_storage_usage, u.revision, u.state, u.since, NULL, NULL, NULL, NULL, NULL
             FROM (SELECT DISTINCT h.service_guid, h.period_type, h.period FROM usage_history h WHERE ",
            changed!($of_services),
            ") c CROSS JOIN service_usage u
             WHERE u.period_type = c.period_type AND u.period = c.period AND u.service_guid = c.service_guid
             ORDER BY service_guid, period_type, period, since, until"
        )
    };
}

macro_rules! changed {
    ($of_services:literal) => {
        concat!(
            "(h.period_type = 'Daily' AND h.period BETWEEN $1 AND $2
                 OR h.period_type = 'Monthly' AND h.period BETWEEN $3 AND $4) AND ($5 OR h.service_guid ",
            $of_services,
            ")"
        )
    };
}

static VERSIONS: ByDialect = ByDialect {
    sqlite: concat!(
        "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($6)) ",
        versions!("IN (SELECT lower(hex(substr($6, at, 16))) FROM wanted)")
    ),
    postgres: versions!("= ANY ($6)"),
};

impl Store {
    /// The versions of all rows of a filter of which any is history, by service, period type and period, and each row's in
    /// order: its last one stands, or is history itself where the row is gone.
    pub fn versions<'s>(&'s self, filter: &'s VersionFilter) -> impl Stream<Item = Result<Version>> + use<'s> {
        let versions = self.db.exports.sql(&VERSIONS);
        versions
            .bind(filter.from.to_string())
            .bind(filter.to.to_string())
            .bind(filter.from.month().to_string())
            .bind(filter.to.month().to_string())
            .bind(filter.services.is_empty())
            .bind(Guids::from(filter.services.as_slice()))
            .stream()
            .map(|row| version(&row?))
    }
}

/// Columns are found by their place in the statement.
fn version(row: &Row) -> Result<Version> {
    let mut numbers = Numbers::default();
    for (number, place) in numbers.0.iter_mut().zip(3..) {
        *number = row.get::<i64>(place)?;
    }
    let reason =
        |name: &str| Reason::from_name(name).ok_or_else(|| StoreError::inconsistent(format!("the reason {name}")));
    let replaced = match row.get::<Option<Instant>>(19)? {
        None => None,
        Some(at) => Some(Replaced { at, reason: reason(row.get(20)?)?, run: row.get(21)?, job: row.get(22)? }),
    };
    Ok(Version {
        service: row.shown_guid(0)?,
        period_type: row.parsed(1)?,
        period: row.parsed(2)?,
        numbers: (row.get::<&str>(17)? != "absent").then_some(numbers),
        revision: row.get(16)?,
        replaced,
    })
}
