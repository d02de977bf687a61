//! Facts: users' histories, services' months, and where the lines of each input ended.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Lease, Result, Store, decode, directory, encode, guid, insert_all};
use crate::model::{Day, Gauges};
use crate::rollup::{InputCounts, MergedMonths, MonthFacts, MonthKey, PatchEvent, UserHistory, UserKey};

/// Keys are looked up so many at a time: two parameters each.
const KEYS_AT_A_TIME: usize = 10_000;

/// What recomputed partitions come to, ready to replace what they came to before.
#[derive(Debug, Default)]
pub struct FactsCommit {
    pub partitions: Vec<Day>,
    pub users: BTreeMap<UserKey, UserHistory>,
    pub months: MergedMonths,
    /// By partition and service.
    pub patches: BTreeMap<(Day, Uuid), Vec<PatchEvent>>,
    /// By partition and input.
    pub inputs: BTreeMap<(Day, i64), InputCounts>,
}

impl Store {
    /// The histories of those of these users that have one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_histories(&self, users: &[UserKey]) -> Result<HashMap<UserKey, UserHistory>> {
        let mut histories = HashMap::new();
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&self.readers).await?;
        if !any {
            return Ok(histories);
        }
        for keys in users.chunks(KEYS_AT_A_TIME) {
            let mut query = wanted(keys, |mut row, (service, user)| {
                row.push_bind(service.as_bytes().to_vec()).push_bind(user.as_bytes().to_vec());
            });
            query.push("SELECT service_guid, user_guid, history FROM wanted CROSS JOIN users ON service_guid = a AND user_guid = b");
            for row in query.build().fetch_all(&self.readers).await? {
                let key = (guid(&row, "service_guid")?, guid(&row, "user_guid")?);
                histories.insert(key, decode(row.try_get("history")?)?);
            }
        }
        Ok(histories)
    }

    /// The facts of those of these months that have any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn month_facts(&self, months: &[MonthKey]) -> Result<HashMap<MonthKey, MonthFacts>> {
        let mut facts = HashMap::new();
        for keys in months.chunks(KEYS_AT_A_TIME) {
            let mut query = wanted(keys, |mut row, (service, month)| {
                row.push_bind(service.as_bytes().to_vec()).push_bind(month.0);
            });
            query.push("SELECT service_guid, month, facts FROM wanted CROSS JOIN service_months ON service_guid = a AND month = b");
            for row in query.build().fetch_all(&self.readers).await? {
                let key = (guid(&row, "service_guid")?, Day(row.try_get("month")?));
                facts.insert(key, decode(row.try_get("facts")?)?);
            }
        }
        Ok(facts)
    }

    /// Replaces what these partitions came to, marks the rows that may change, and clears the partitions' dirty marks: all
    /// or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_facts(&self, lease: &Lease, commit: &FactsCommit) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let connection = &mut *transaction;
        replace_users(connection, &commit.users).await?;
        replace_months(connection, &commit.months.months).await?;
        mark_dirty(connection, &commit.months.dirty_from).await?;
        directory::replace_patches(connection, &commit.patches).await?;
        replace_inputs(connection, &commit.partitions, &commit.inputs).await?;
        for day in &commit.partitions {
            sqlx::query("DELETE FROM dirty_partitions WHERE day = $1").bind(day.0).execute(&mut *connection).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Begins a query whose table `wanted (a, b)` holds these keys.
fn wanted<K>(
    keys: &[K],
    push: impl FnMut(sqlx::query_builder::Separated<'_, Sqlite, &'static str>, &K),
) -> sqlx::QueryBuilder<Sqlite> {
    let mut query = sqlx::QueryBuilder::new("WITH wanted (a, b) AS (");
    query.push_values(keys, push);
    query.push(") ");
    query
}

async fn replace_users(connection: &mut SqliteConnection, users: &BTreeMap<UserKey, UserHistory>) -> Result<()> {
    let (gone, kept): (Vec<_>, Vec<_>) = users.iter().partition(|(_, history)| history.is_empty());
    for ((service, user), _) in gone {
        sqlx::query("DELETE FROM users WHERE service_guid = $1 AND user_guid = $2")
            .bind(service.as_bytes().as_slice())
            .bind(user.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    let encoded = kept.into_iter().map(|(key, history)| Ok((*key, encode(history)?))).collect::<Result<Vec<_>>>()?;
    let insert = "INSERT INTO users (service_guid, user_guid, history) ";
    insert_all(
        connection,
        insert,
        3,
        &encoded,
        |mut row, ((service, user), history)| {
            row.push_bind(service.as_bytes().to_vec()).push_bind(user.as_bytes().to_vec()).push_bind(history.clone());
        },
        " ON CONFLICT DO UPDATE SET history = excluded.history",
    )
    .await
}

/// Stores the months' facts. What is held at their ends follows when their rows are drawn: until then it is nothing.
async fn replace_months(connection: &mut SqliteConnection, months: &BTreeMap<MonthKey, MonthFacts>) -> Result<()> {
    let (gone, kept): (Vec<_>, Vec<_>) = months.iter().partition(|(_, facts)| facts.is_empty());
    for ((service, month), _) in gone {
        sqlx::query("DELETE FROM service_months WHERE service_guid = $1 AND month = $2")
            .bind(service.as_bytes().as_slice())
            .bind(month.0)
            .execute(&mut *connection)
            .await?;
    }
    let closing = encode(&Gauges::default())?;
    let encode_month = |(key, facts): (&MonthKey, &MonthFacts)| Ok((*key, facts.first_day(), encode(facts)?));
    let encoded = kept.into_iter().map(encode_month).collect::<Result<Vec<_>>>()?;
    let insert = "INSERT INTO service_months (service_guid, month, first_day, facts, closing) ";
    insert_all(
        connection,
        insert,
        5,
        &encoded,
        |mut row, ((service, month), first_day, facts)| {
            row.push_bind(service.as_bytes().to_vec())
                .push_bind(month.0)
                .push_bind(first_day.map(|day| day.0))
                .push_bind(facts.clone())
                .push_bind(closing.clone());
        },
        " ON CONFLICT DO UPDATE SET first_day = excluded.first_day, facts = excluded.facts",
    )
    .await
}

async fn mark_dirty(connection: &mut SqliteConnection, dirty_from: &BTreeMap<Uuid, Day>) -> Result<()> {
    let dirty: Vec<(Uuid, Day)> = dirty_from.iter().map(|(service, day)| (*service, *day)).collect();
    let insert = "INSERT INTO service_progress (service_guid, dirty_from) ";
    insert_all(
        connection,
        insert,
        2,
        &dirty,
        |mut row, (service, day)| {
            row.push_bind(service.as_bytes().to_vec()).push_bind(day.0);
        },
        " ON CONFLICT DO UPDATE SET dirty_from = min(coalesce(dirty_from, excluded.dirty_from), excluded.dirty_from)",
    )
    .await
}

async fn replace_inputs(
    connection: &mut SqliteConnection,
    partitions: &[Day],
    inputs: &BTreeMap<(Day, i64), InputCounts>,
) -> Result<()> {
    for day in partitions {
        sqlx::query("DELETE FROM partition_inputs WHERE day = $1").bind(day.0).execute(&mut *connection).await?;
    }
    let said = |counts: &InputCounts| counts.duplicate + counts.voided + counts.conflicting > 0;
    let counts: Vec<_> = inputs.iter().filter(|(_, counts)| said(counts)).collect();
    let insert = "INSERT INTO partition_inputs (day, input_id, duplicate, voided, conflicting) ";
    insert_all(
        connection,
        insert,
        5,
        &counts,
        |mut row, ((day, input), counts)| {
            row.push_bind(day.0)
                .push_bind(*input)
                .push_bind(counts.duplicate.cast_signed())
                .push_bind(counts.voided.cast_signed())
                .push_bind(counts.conflicting.cast_signed());
        },
        "",
    )
    .await
}
