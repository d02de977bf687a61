//! Facts: users' histories, services' months and totals, how far their rows reach, and where the lines of each input ended.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::batch::{Insert, Joined, joined};
use super::{Result, Store, decode, encode};
use crate::model::Day;
use crate::rollup::{MergedService, MergedUsers, MonthFacts, MonthKey, ServiceTotals, UserHistory, UserKey};

/// Keys are looked up so many at a time, to bound what an answer takes in memory.
const KEYS_AT_A_TIME: usize = 2_000;

/// What is stored of a service as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredService {
    pub totals: ServiceTotals,
    /// The first and the last day that have a row.
    pub rows: Option<(Day, Day)>,
    /// The first day whose rows must be drawn anew, whatever changes.
    pub dirty_from: Option<Day>,
}

/// A service's facts as they are stored, where they changed. None stands for what holds nothing any more.
#[derive(Debug)]
pub struct ServiceFacts {
    service: Uuid,
    users: Vec<(Uuid, Option<Vec<u8>>)>,
    months: Vec<(Day, Option<Vec<u8>>)>,
    first_day: Option<Day>,
    held: Vec<u8>,
    dirty_from: Option<Day>,
    uncounted: BTreeMap<i64, [i64; 3]>,
}

impl ServiceFacts {
    /// # Errors
    /// When something can't be encoded.
    pub fn encode(users: &MergedUsers, merged: &MergedService) -> Result<Self> {
        let user = |(user, history): &(Uuid, UserHistory)| {
            Ok((*user, if history.is_empty() { None } else { Some(encode(history)?) }))
        };
        let month = |month: &Day| {
            let facts = merged.months.get(month).filter(|facts| !facts.is_empty());
            Ok((*month, facts.map(encode).transpose()?))
        };
        Ok(Self {
            service: merged.service,
            users: users.histories.iter().map(user).collect::<Result<_>>()?,
            months: merged.changed.iter().map(month).collect::<Result<_>>()?,
            held: encode(&merged.totals.held)?,
            first_day: merged.totals.first_day,
            dirty_from: merged.dirty_from,
            uncounted: merged.uncounted.clone(),
        })
    }

    /// Whether there is anything to store.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !(self.users.is_empty() && self.months.is_empty())
    }
}

/// Months' facts as they are stored. Decoded they take several times as much, so that is done service by service.
#[derive(Debug, Default)]
pub struct EncodedMonths {
    found: Vec<Vec<u8>>,
    /// In which of these, and where.
    places: BTreeMap<(Uuid, Day), (usize, Range<usize>)>,
}

impl EncodedMonths {
    fn add(&mut self, month: Day, found: Vec<u8>) -> Result<()> {
        let mut rows = Joined::new(Some(&found));
        while !rows.is_at_end() {
            let service = rows.key()?;
            let length = rows.number::<usize>()?.unwrap_or_default();
            let facts = rows.place_of(found.len(), length)?;
            self.places.insert((service, month), (self.found.len(), facts));
        }
        self.found.push(found);
        Ok(())
    }

    /// What is here of a service, by month.
    ///
    /// # Errors
    /// When the database holds something else.
    pub fn of(&self, service: Uuid) -> Result<BTreeMap<Day, MonthFacts>> {
        let all = self.places.range((service, Day(i32::MIN))..=(service, Day(i32::MAX)));
        all.map(|((_, month), (found, at))| Ok((*month, decode(&self.found[*found][at.clone()])?))).collect()
    }
}

impl Store {
    /// Those of these services that are known. Of the others nothing is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stored_services(&self, services: &[Uuid]) -> Result<HashMap<Uuid, StoredService>> {
        let mut stored = HashMap::with_capacity(services.len());
        for keys in services.chunks(KEYS_AT_A_TIME) {
            let found: Option<Vec<u8>> = sqlx::query_scalar(
                "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($1))
                 SELECT CAST(group_concat(service_guid || printf('%11s%11s%11s%11s', coalesce(first_day, ''),
                     coalesce(rows_from, ''), coalesce(rows_through, ''), coalesce(dirty_from, '')) || held, '') AS BLOB)
                 FROM wanted CROSS JOIN service_progress ON service_guid = substr($1, at, 16)",
            )
            .bind(joined(keys))
            .fetch_one(&self.writer)
            .await?;
            let mut rows = Joined::new(found.as_deref());
            while !rows.is_at_end() {
                let (service, of_service) = stored_service(&mut rows)?;
                stored.insert(service, of_service);
            }
        }
        Ok(stored)
    }

    /// The histories of those of these users that have one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_histories(&self, users: &[UserKey]) -> Result<HashMap<UserKey, UserHistory>> {
        let mut histories = HashMap::with_capacity(users.len());
        for keys in users.chunks(KEYS_AT_A_TIME) {
            let found: Option<Vec<u8>> = sqlx::query_scalar(
                "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 32 FROM wanted WHERE at + 32 < length($1))
                 SELECT CAST(group_concat(service_guid || user_guid || history, '') AS BLOB)
                 FROM wanted CROSS JOIN users ON service_guid = substr($1, at, 16) AND user_guid = substr($1, at + 16, 16)",
            )
            .bind(joined(keys.iter().flat_map(|(service, user)| [service, user])))
            .fetch_one(&self.writer)
            .await?;
            let mut rows = Joined::new(found.as_deref());
            while !rows.is_at_end() {
                histories.insert((rows.key()?, rows.key()?), rows.decoded()?);
            }
        }
        Ok(histories)
    }

    /// The facts of those of these months, which are sorted, that have any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn month_facts(&self, months: &[MonthKey]) -> Result<EncodedMonths> {
        let mut facts = EncodedMonths::default();
        let chunks = months.chunk_by(|a, b| a.0 == b.0).flat_map(|month| month.chunks(KEYS_AT_A_TIME));
        for keys in chunks {
            let month = keys[0].0;
            let found: Option<Vec<u8>> = sqlx::query_scalar(
                "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($1))
                 SELECT CAST(group_concat(service_guid || printf('%11s', length(facts)) || facts, '') AS BLOB)
                 FROM wanted CROSS JOIN service_months ON month = $2 AND service_guid = substr($1, at, 16)",
            )
            .bind(joined(keys.iter().map(|(_, service)| service)))
            .bind(month.0)
            .fetch_one(&self.writer)
            .await?;
            facts.add(month, found.unwrap_or_default())?;
        }
        Ok(facts)
    }

    /// The last month of which any facts are stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_month(&self) -> Result<Option<Day>> {
        let last: Option<i32> =
            sqlx::query_scalar("SELECT max(month) FROM service_months").fetch_one(&self.writer).await?;
        Ok(last.map(Day))
    }
}

/// A service as it is joined: its GUID, the days, and what it holds.
pub(super) fn stored_service(row: &mut Joined) -> Result<(Uuid, StoredService)> {
    let service = row.key()?;
    let [first_day, rows_from, rows_through, dirty_from] = [row.day()?, row.day()?, row.day()?, row.day()?];
    let totals = ServiceTotals { first_day, held: row.decoded()? };
    Ok((service, StoredService { totals, rows: rows_from.zip(rows_through), dirty_from }))
}

/// Replaces services' facts.
pub(super) async fn replace(connection: &mut SqliteConnection, services: &[ServiceFacts]) -> Result<()> {
    replace_users(connection, services).await?;
    replace_months(connection, services).await?;
    replace_totals(connection, services).await?;
    move_ledger(connection, services).await
}

async fn replace_users(connection: &mut SqliteConnection, services: &[ServiceFacts]) -> Result<()> {
    static USERS: Insert = Insert::new("INSERT OR REPLACE INTO users (service_guid, user_guid, history)", 3, "");
    let all = services.iter().flat_map(|of| of.users.iter().map(|(user, history)| (of.service, *user, history)));
    let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|(_, _, history)| history.is_some());
    for (service, user, _) in gone {
        sqlx::query("DELETE FROM users WHERE service_guid = $1 AND user_guid = $2")
            .bind(service.as_bytes().as_slice())
            .bind(user.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    USERS
        .all(connection, &kept, |values, (service, user, history)| {
            values.push(service.as_bytes().as_slice()).push(user.as_bytes().as_slice()).push(history.as_deref());
        })
        .await
}

async fn replace_months(connection: &mut SqliteConnection, services: &[ServiceFacts]) -> Result<()> {
    static MONTHS: Insert = Insert::new("INSERT OR REPLACE INTO service_months (month, service_guid, facts)", 3, "");
    let all = services.iter().flat_map(|of| of.months.iter().map(|(month, facts)| (*month, of.service, facts)));
    let (mut kept, gone): (Vec<_>, Vec<_>) = all.partition(|(_, _, facts)| facts.is_some());
    for (month, service, _) in gone {
        sqlx::query("DELETE FROM service_months WHERE month = $1 AND service_guid = $2")
            .bind(month.0)
            .bind(service.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    kept.sort_by_key(|(month, service, _)| (*month, *service));
    MONTHS
        .all(connection, &kept, |values, (month, service, facts)| {
            values.push(month.0).push(service.as_bytes().as_slice()).push(facts.as_deref());
        })
        .await
}

async fn replace_totals(connection: &mut SqliteConnection, services: &[ServiceFacts]) -> Result<()> {
    static PROGRESS: Insert = Insert::new(
        "INSERT INTO service_progress (service_guid, first_day, held, dirty_from)",
        4,
        "ON CONFLICT DO UPDATE SET first_day = excluded.first_day, held = excluded.held,
            dirty_from = coalesce(min(dirty_from, excluded.dirty_from), dirty_from, excluded.dirty_from)",
    );
    PROGRESS
        .all(connection, services, |values, of| {
            values
                .push(of.service.as_bytes().as_slice())
                .push(of.first_day.map(|day| day.0))
                .push(of.held.as_slice())
                .push(of.dirty_from.map(|day| day.0));
        })
        .await
}

/// Adds to the inputs' ledger by how much the numbers of lines that are not counted have changed.
async fn move_ledger(connection: &mut SqliteConnection, services: &[ServiceFacts]) -> Result<()> {
    let mut sums: BTreeMap<i64, [i64; 3]> = BTreeMap::new();
    for (input, lines) in services.iter().flat_map(|of| &of.uncounted) {
        sums.entry(*input).or_default().iter_mut().zip(lines).for_each(|(sum, lines)| *sum += lines);
    }
    for (input, [duplicate, voided, conflicting]) in sums {
        sqlx::query(
            "UPDATE inputs SET duplicate = duplicate + $2, voided = voided + $3, conflicting = conflicting + $4 WHERE id = $1",
        )
        .bind(input)
        .bind(duplicate)
        .bind(voided)
        .bind(conflicting)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
