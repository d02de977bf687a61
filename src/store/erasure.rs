//! Whose personal data was erased, and what has to be kept so that nothing else changes by it (`docs/erasure.md`).

use std::collections::HashSet;

use uuid::Uuid;

use super::db::{Insert, Integers, Row, Spelled, Transaction};
use super::dead_letters::ERASED_DETAIL;
use super::{Lease, Result, Store, StoreError, db};
use crate::model::{Day, Erased, Instant, Masks};
use crate::rollup::ContentOrders;

const KEY: &str = "erasure.key";

/// A user whose personal data was erased, or is being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedUser {
    pub user: Uuid,
    pub begun_at: Instant,
    /// None where that was cut short.
    pub ended_at: Option<Instant>,
}

/// Where a content comes among those of the same identity and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentOrder {
    pub day: Day,
    /// [`crate::model::content_key`]
    pub key: [u8; 32],
    pub rank: u32,
}

impl Store {
    /// Whose personal data is masked wherever it comes from.
    ///
    /// # Errors
    /// When the database fails, or holds something that it should not.
    pub async fn erased(&self) -> Result<Erased> {
        let users = self.db.writer.sql("SELECT user_guid FROM erased_users").all().await?;
        let emails = self.db.writer.sql("SELECT hash FROM erased_emails").all().await?;
        let hash = |row: &Row| row.get::<&[u8]>("hash")?.try_into().map_err(StoreError::inconsistent);
        let users: HashSet<Uuid> = users.iter().map(|row| row.get("user_guid")).collect::<Result<_>>()?;
        if users.is_empty() {
            return Ok(Erased::default());
        }
        let emails = emails.iter().map(hash).collect::<Result<_>>()?;
        Ok(Erased::new(self.masks().await?, users, emails))
    }

    /// What masks are made with: its key is as secret as the database, and the same for ever. It is made when it is first asked for.
    ///
    /// # Errors
    /// When the database fails, or holds something that it should not.
    pub async fn masks(&self) -> Result<Masks> {
        if let Some(masks) = self.known_masks().await? {
            return Ok(masks);
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        masks_of(&self.settle(KEY, &blake3::Hash::from(random).to_hex()).await?)
    }

    /// The same for whoever only reads: none where nothing was masked yet.
    ///
    /// # Errors
    /// When the database fails, or holds something that it should not.
    pub async fn known_masks(&self) -> Result<Option<Masks>> {
        self.setting(KEY).await?.map(|key| masks_of(&key)).transpose()
    }

    /// All users who were erased, by when that began.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erased_users(&self) -> Result<Vec<ErasedUser>> {
        let users = "SELECT user_guid, begun_at, ended_at FROM erased_users ORDER BY begun_at, user_guid";
        let user = |row: &Row| {
            Ok(ErasedUser {
                user: row.get("user_guid")?,
                begun_at: row.get("begun_at")?,
                ended_at: row.get("ended_at")?,
            })
        };
        self.db.readers.sql(users).all().await?.iter().map(user).collect()
    }

    /// Notes that the data of these users is being erased, and by which hashes their e-mail addresses are known.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn begin_erasure(&self, lease: &Lease, users: &[Uuid], emails: &[[u8; 32]], now: Instant) -> Result<()> {
        static EMAILS: Insert = Insert::new("erased_emails", &["hash"], "ON CONFLICT DO NOTHING");
        let mut transaction = self.begin_leased(lease).await?;
        for user in users {
            let begin = "INSERT INTO erased_users (user_guid, begun_at) VALUES ($1, $2)
                 ON CONFLICT (user_guid) DO UPDATE SET ended_at = NULL";
            transaction.sql(begin).bind(*user).bind(now).execute().await?;
        }
        EMAILS.all(&mut transaction, emails, |values, hash| _ = values.push(hash.as_slice())).await?;
        transaction.commit().await
    }

    /// Notes that nothing is left to be erased.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn end_erasure(&self, lease: &Lease, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let end = "UPDATE erased_users SET ended_at = $1 WHERE ended_at IS NULL";
        transaction.sql(end).bind(now).execute().await?;
        transaction.commit().await
    }

    /// Forgets what these rejected lines said. That they were rejected, where and why stays.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn mask_dead_letters(&self, lease: &Lease, ids: &[i64]) -> Result<()> {
        static MASK: Spelled =
            Spelled::new("UPDATE dead_letters SET content = $1, member = $2, detail = $3 WHERE id {in integers $4}");
        let mut transaction = self.begin_leased(lease).await?;
        let (nothing, detail) = (db::AnyText(""), db::AnyText(ERASED_DETAIL));
        let mask = transaction.sql(&MASK).bind(&[][..]).bind(nothing).bind(detail).bind(Integers(ids));
        mask.execute().await?;
        transaction.commit().await
    }

    /// In which order contents of this day come that share identity and time, as far as that is kept, by their keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn content_orders(&self, day: Day) -> Result<ContentOrders> {
        let mut reading = self.db.writer.begin_to_read().await?;
        let orders = orders_of(&mut reading, day).await?;
        reading.commit().await?;
        Ok(orders)
    }

    /// Has the database keep nothing of what was changed or removed in it. Tells whether somebody's reading stood in the way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn scrub(&self) -> Result<bool> {
        Ok(self.db.scrub().await?)
    }
}

pub(super) async fn orders_of(reading: &mut Transaction, day: Day) -> Result<ContentOrders> {
    let orders = reading.sql("SELECT key, rank FROM content_orders WHERE day = $1").bind(day);
    orders.all().await?.iter().map(order).collect()
}

pub(super) fn order(row: &Row) -> Result<([u8; 32], u32)> {
    let key = row.get::<&[u8]>("key")?.try_into().map_err(StoreError::inconsistent)?;
    Ok((key, u32::try_from(row.get::<i64>("rank")?).map_err(StoreError::inconsistent)?))
}

/// Keeps orders, with the segments that need them.
pub(super) async fn insert_orders(transaction: &mut Transaction, orders: &[ContentOrder]) -> Result<()> {
    static ORDERS: Insert = Insert::new(
        "content_orders",
        &["day", "key", "rank"],
        "ON CONFLICT (day, key) DO UPDATE SET rank = excluded.rank",
    );
    ORDERS
        .all(transaction, orders, |values, order| {
            values.push(order.day).push(order.key.as_slice()).push(i64::from(order.rank));
        })
        .await
}

fn masks_of(key: &str) -> Result<Masks> {
    Ok(Masks::new(blake3::Hash::from_hex(key).map_err(StoreError::inconsistent)?.into()))
}
