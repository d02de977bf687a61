//! What verifying reads: the catalog, the ledger, and facts and rows as they are stored, by ranges of services. What can't be
//! understood is told where it stands, and costs nothing else.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::db::{ByDialect, Row, Shown};
use super::{Lease, Result, Store, decode, log, usage};
use crate::event_log::Segment;
use crate::model::{Day, Gauges, PeriodType, UsageRow};
use crate::rollup::{RecentUsers, Services, SpanFacts, SpanStart, UserHistory, VoidMark};

/// What is stored of a service. Where something can't be understood, there is told why.
#[derive(Debug, Default)]
pub struct StoredState {
    pub progress: Option<Result<StoredProgress, String>>,
    pub spans: BTreeMap<Day, Result<SpanFacts, String>>,
    pub users: BTreeMap<Uuid, Result<UserHistory, String>>,
    pub rows: Vec<Result<UsageRow, String>>,
}

/// A service as a whole, column by column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredProgress {
    pub first_day: Option<Day>,
    pub rows_from: Option<Day>,
    pub rows_through: Option<Day>,
    pub dirty_from: Option<Day>,
    pub held: Gauges,
    pub newest: Option<SpanStart>,
}

/// An input's part of the ledger, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedInput {
    pub id: i64,
    pub name: String,
    pub lines: i64,
    pub accepted: i64,
    pub rejected: i64,
    /// Copies, voided and conflicting lines.
    pub uncounted: [i64; 3],
    pub dead_letters: i64,
}

impl StoredState {
    /// The first and the last day that have a row.
    #[must_use]
    pub fn daily_rows(&self) -> Option<(Day, Day)> {
        let days = || self.rows.iter().flatten().filter(|row| row.period_type == PeriodType::Daily);
        days().map(|row| row.period).min().zip(days().map(|row| row.period).max())
    }
}

impl Store {
    /// All live segments with their days, by path.
    ///
    /// # Errors
    /// When the database fails, or the catalog is damaged.
    pub async fn catalog(&self) -> Result<Vec<Segment>> {
        let segments =
            "SELECT id, path, rows AS segment_rows, bytes, hash, end_at, end_hash FROM segments ORDER BY path";
        let segments = self.db.exports.sql(segments).all().await?;
        let mut segments = segments.iter().map(log::segment).collect::<Result<Vec<Segment>>>()?;
        let places: HashMap<Uuid, usize> = segments.iter().zip(0..).map(|(segment, at)| (segment.id, at)).collect();
        let partitions =
            "SELECT segment_id, day, first_row, rows, bare FROM segment_partitions ORDER BY segment_id, first_row";
        let mut partitions = self.db.exports.sql(partitions).stream();
        while let Some(row) = partitions.try_next().await? {
            if let Some(at) = places.get(&row.get::<Uuid>("segment_id")?) {
                segments[*at].partitions.push(log::partition(&row)?);
            }
        }
        Ok(segments)
    }

    /// All voids that are known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_voids(&self) -> Result<Vec<VoidMark>> {
        let voids = "SELECT service_guid, target_time, source, id FROM voids ORDER BY target_day, service_guid";
        self.db.exports.sql(voids).stream().and_then(async |row| log::void(&row)).try_collect().await
    }

    /// All inputs, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audited_inputs(&self) -> Result<Vec<AuditedInput>> {
        let inputs = self.db.exports.sql(
            "SELECT i.id, i.name, i.lines, i.accepted, i.rejected, i.duplicate, i.voided, i.conflicting,
                 CAST(coalesce(d.letters, 0) AS bigint) AS letters
             FROM inputs i LEFT JOIN
                 (SELECT input_id, count(*) AS letters FROM dead_letters GROUP BY input_id) d ON d.input_id = i.id
             ORDER BY i.id",
        );
        let input = |row: &Row| {
            Ok(AuditedInput {
                id: row.get("id")?,
                name: row.get("name")?,
                lines: row.get("lines")?,
                accepted: row.get("accepted")?,
                rejected: row.get("rejected")?,
                uncounted: [row.get("duplicate")?, row.get("voided")?, row.get("conflicting")?],
                dead_letters: row.get("letters")?,
            })
        };
        inputs.all().await?.iter().map(input).collect()
    }

    /// The spans that any service has facts of, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spans_with_facts(&self) -> Result<Vec<Day>> {
        let spans = self.db.exports.sql("SELECT DISTINCT span FROM service_spans ORDER BY span");
        spans.all().await?.iter().map(|row| row.get("span")).collect()
    }

    /// Everything that is stored of these services in these spans; with it comes what is stored of services that no event
    /// names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stored_states(&self, services: &Services, spans: &[Day]) -> Result<BTreeMap<Uuid, StoredState>> {
        let mut states: BTreeMap<Uuid, StoredState> = BTreeMap::new();
        let (first, last) = (*services.start(), *services.end());
        let progress =
            "SELECT service_guid, first_day, rows_from, rows_through, dirty_from, held, newest_span, recent_users
             FROM service_progress
             WHERE service_guid BETWEEN $1 AND $2";
        let mut recent: Vec<(Uuid, RecentUsers)> = Vec::new();
        let mut found = self.db.exports.sql(progress).bind(first).bind(last).stream();
        while let Some(row) = found.try_next().await? {
            let service = row.get("service_guid")?;
            let users = row.get("recent_users").and_then(decode);
            let progress = progress_of(&row).and_then(|progress| {
                recent.push((service, users?));
                Ok(progress)
            });
            states.entry(service).or_default().progress = Some(understood(progress));
        }
        for span in spans {
            let facts = "SELECT service_guid, facts FROM service_spans
                 WHERE span = $1 AND service_guid BETWEEN $2 AND $3";
            let mut found = self.db.exports.sql(facts).bind(*span).bind(first).bind(last).stream();
            while let Some(row) = found.try_next().await? {
                let facts = understood(row.get("facts").and_then(decode));
                states.entry(row.get("service_guid")?).or_default().spans.insert(*span, facts);
            }
        }
        let users = "SELECT service_guid, user_guid, history FROM users WHERE service_guid BETWEEN $1 AND $2";
        let mut found = self.db.exports.sql(users).bind(first).bind(last).stream();
        while let Some(row) = found.try_next().await? {
            let history = understood(row.get("history").and_then(decode));
            states.entry(row.get("service_guid")?).or_default().users.insert(row.get("user_guid")?, history);
        }
        for (service, recent) in recent {
            let users = &mut states.entry(service).or_default().users;
            for (user, history) in recent.into_histories() {
                if history.is_empty() {
                    users.remove(&user);
                } else {
                    users.insert(user, Ok(history));
                }
            }
        }
        for period_type in [PeriodType::Daily, PeriodType::Monthly] {
            let rows = self.db.exports.sql(&ROWS).bind(period_type.name());
            let mut found = rows.bind(Shown::from(first)).bind(Shown::from(last)).stream();
            while let Some(row) = found.try_next().await? {
                let of_service = states.entry(row.shown_guid(0)?).or_default();
                let period = || row.get::<&str>(2).unwrap_or_default().to_owned();
                let read = understood(usage::usage_row(&row));
                let read = read.map_err(|problem| format!("{} row of {}: {problem}", period_type.name(), period()));
                of_service.rows.push(read);
            }
        }
        Ok(states)
    }

    /// Makes sure that nobody has taken the lease meanwhile.
    ///
    /// # Errors
    /// When somebody has, or the database fails.
    pub async fn still_leased(&self, lease: &Lease) -> Result<()> {
        self.begin_leased(lease).await.map(drop)
    }
}

pub(super) fn progress_of(row: &Row) -> Result<StoredProgress> {
    Ok(StoredProgress {
        first_day: row.get("first_day")?,
        rows_from: row.get("rows_from")?,
        rows_through: row.get("rows_through")?,
        dirty_from: row.get("dirty_from")?,
        held: decode(row.get("held")?)?,
        newest: decode(row.get("newest_span")?)?,
    })
}

/// What was found, or what is wrong with it.
fn understood<T>(found: Result<T>) -> Result<T, String> {
    found.map_err(|error| match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

/// As for an export, of services from one through another. In SQLite rows are kept by period.
static ROWS: ByDialect = ByDialect {
    sqlite: "WITH RECURSIVE periods (period) AS MATERIALIZED (
                 SELECT min(period) FROM service_usage WHERE period_type = $1
                 UNION ALL
                 SELECT (SELECT min(period) FROM service_usage WHERE period_type = $1 AND period > periods.period)
                 FROM periods WHERE period IS NOT NULL)
             SELECT u.* FROM periods p CROSS JOIN service_usage u
             ON u.period_type = $1 AND u.period = p.period AND u.service_guid BETWEEN $2 AND $3
             WHERE p.period IS NOT NULL",
    postgres: "SELECT * FROM service_usage WHERE period_type = $1 AND service_guid BETWEEN $2 AND $3",
};
