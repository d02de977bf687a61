//! Facts were kept by month once. A store that has them so still is brought over when it is opened.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::db::Transaction;
use super::facts::{StoredSpan, replace_spans};
use super::{Result, Store, decode, encode};
use crate::model::Day;
use crate::rollup::SpanFacts;

/// The setting that stands as long as facts are kept by month: the migration that begins it sets it.
const FACTS_BY_MONTH: &str = "facts_by_month";

/// So many services' facts are cut up at a time, to bound what they take in memory.
const SERVICES_AT_A_TIME: i64 = 1_000;

impl Store {
    /// Cuts months' facts into spans, all or none. What can't be read stays as it is, for verifying to tell.
    pub(super) async fn split_months(&self) -> Result<()> {
        if self.setting(FACTS_BY_MONTH).await?.is_none() {
            return Ok(());
        }
        let mut transaction = self.db.writer.begin().await?;
        // Of several processes that open the store at once, the others wait here, and find that it is done.
        let done = transaction.sql("DELETE FROM settings WHERE name = $1").bind(FACTS_BY_MONTH).execute().await?;
        if done == 0 {
            return Ok(());
        }
        for row in transaction.sql("SELECT DISTINCT span FROM service_spans ORDER BY span").all().await? {
            split_month(&mut transaction, row.get("span")?).await?;
        }
        Ok(transaction.commit().await?)
    }
}

async fn split_month(transaction: &mut Transaction, month: Day) -> Result<()> {
    let these = "SELECT service_guid, facts FROM service_spans WHERE span = $1 AND service_guid >= $2
         ORDER BY service_guid LIMIT $3";
    let mut next = Some(Uuid::nil());
    while let Some(from) = next {
        let rows = transaction.sql(these).bind(month).bind(from).bind(SERVICES_AT_A_TIME).all().await?;
        let mut spans: Vec<(Day, Uuid, Option<Vec<u8>>)> = Vec::new();
        next = None;
        for row in &rows {
            let service: Uuid = row.get("service_guid")?;
            next = service.as_u128().checked_add(1).map(Uuid::from_u128);
            let facts = row.get("facts").and_then(decode::<SpanFacts>);
            let Some(facts) = facts.ok().filter(SpanFacts::is_of_events) else { continue };
            let facts: BTreeMap<Day, SpanFacts> = facts.by_span();
            // What stood under the month's first day is replaced by its first span, if that has any.
            spans.extend((!facts.contains_key(&month)).then_some((month, service, None)));
            for (span, facts) in &facts {
                spans.push((*span, service, Some(encode(facts)?)));
            }
        }
        let spans: Vec<StoredSpan> = spans.iter().map(|(span, of, facts)| (*span, *of, facts.as_deref())).collect();
        replace_spans(transaction, spans).await?;
    }
    Ok(())
}
