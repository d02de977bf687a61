//! Taking out what verifying found to be wrong, so that the next rollup makes it anew from the event log.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::db::{AnyText, Transaction};
use super::{Lease, Result, Store, decode, dirty, encode, facts, log};
use crate::model::{Day, Gauges};
use crate::rollup::{RecentUsers, SpanFacts, SpanStart, VoidMark};

/// An input's part of the ledger, as the event log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerFix {
    pub input: i64,
    pub accepted: i64,
    /// Copies, voided and conflicting lines.
    pub uncounted: [i64; 3],
}

/// A service whose rows must be drawn anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceFix {
    pub service: Uuid,
    /// The first day from which on they must.
    pub from: Day,
    /// The first and the last day that have a row: how far rows reach may be what is wrong.
    pub rows: Option<(Day, Day)>,
}

impl Store {
    /// Has the rows of a service drawn anew.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn mark_to_draw(&self, lease: &Lease, fix: &ServiceFix) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        mark_to_draw(&mut transaction, fix).await?;
        transaction.commit().await
    }

    /// Forgets the facts of a service, and marks all its days, so that they are folded anew. Its rows stay until they are drawn
    /// from the new facts. The ledger loses what the forgotten facts had added to it.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn forget_facts(&self, lease: &Lease, fix: &ServiceFix) -> Result<()> {
        let service = fix.service;
        let mut transaction = self.begin_leased(lease).await?;
        let mut sums: BTreeMap<i64, [i64; 3]> = BTreeMap::new();
        let spans = transaction.sql("SELECT facts FROM service_spans WHERE service_guid = $1").bind(service);
        for row in spans.all().await? {
            let Ok(facts) = row.get("facts").and_then(decode::<SpanFacts>) else { continue };
            for (input, lines) in facts.days().iter().flat_map(|day| &day.uncounted) {
                let sum = sums.entry(*input).or_default();
                let lines = [lines.duplicate, lines.voided, lines.conflicting];
                sum.iter_mut().zip(lines).for_each(|(sum, lines)| *sum = sum.wrapping_sub(lines.cast_signed()));
            }
        }
        facts::add_to_ledger(&mut transaction, sums).await?;
        for forget in ["DELETE FROM service_spans WHERE service_guid = $1", "DELETE FROM users WHERE service_guid = $1"]
        {
            transaction.sql(forget).bind(service).execute().await?;
        }
        let nothing = transaction.sql(
            "UPDATE service_progress SET first_day = NULL, held = $2, newest_span = $3, recent_users = $4
             WHERE service_guid = $1",
        );
        let (held, newest) = (encode(&Gauges::default())?, encode(&None::<SpanStart>)?);
        let recent_users = encode(&RecentUsers::default())?;
        let nothing = nothing.bind(service).bind(held.as_slice()).bind(newest.as_slice());
        nothing.bind(recent_users.as_slice()).execute().await?;
        mark_to_draw(&mut transaction, fix).await?;
        let days = transaction.sql("SELECT DISTINCT day FROM segment_partitions").all().await?;
        let marks = days.iter().map(|day| Ok((day.get("day")?, Some(service)))).collect::<Result<Vec<_>>>()?;
        dirty::insert(&mut transaction, &marks, true).await?;
        transaction.commit().await
    }

    /// Adds voids that the event log holds, and removes those that it does not.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn mend_voids(&self, lease: &Lease, add: &[VoidMark], remove: &[VoidMark]) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        for mark in remove {
            let remove = transaction.sql(
                "DELETE FROM voids
                 WHERE target_day = $1 AND service_guid = $2 AND target_time = $3 AND source = $4 AND id = $5",
            );
            let remove = remove.bind(Day::utc_of(mark.time)).bind(mark.service).bind(mark.time.nanos());
            remove.bind(AnyText(&mark.source)).bind(AnyText(&mark.id)).execute().await?;
        }
        log::insert_voids(&mut transaction, add).await?;
        transaction.commit().await
    }

    /// Sets inputs' parts of the ledger to what the event log has.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn mend_ledger(&self, lease: &Lease, fixes: &[LedgerFix]) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        for LedgerFix { input, accepted, uncounted: [duplicate, voided, conflicting] } in fixes {
            let set = transaction.sql(
                "UPDATE inputs SET accepted = $2, lines = $2 + rejected, duplicate = $3, voided = $4, conflicting = $5
                 WHERE id = $1",
            );
            set.bind(*input).bind(*accepted).bind(*duplicate).bind(*voided).bind(*conflicting).execute().await?;
        }
        transaction.commit().await
    }
}

async fn mark_to_draw(transaction: &mut Transaction, fix: &ServiceFix) -> Result<()> {
    let mark = "UPDATE service_progress SET dirty_from = $2, rows_from = $3, rows_through = $4 WHERE service_guid = $1";
    let (from, through) = fix.rows.unzip();
    transaction.sql(mark).bind(fix.service).bind(fix.from).bind(from).bind(through).execute().await?;
    Ok(())
}
