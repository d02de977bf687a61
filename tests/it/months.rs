//! A store whose facts are kept by month, as they were once, is brought over when it is opened, and goes on from there.

use std::collections::BTreeMap;

use usage_rollup::jobs::{self, Installation, Scope};
use usage_rollup::model::{Day, PeriodType};
use usage_rollup::rollup::{DayFacts, ServiceDay, SpanFacts};

use super::stores::{On, on_each_store};
use super::support::{Engine, run};

on_each_store!(
    async months_are_cut_up_when_the_store_is_opened,
    a_damaged_month_is_left_as_it_is_for_verifying_to_tell,
);

const NOW: &str = "2026-04-02T12:00:00Z";
const SERVICES: [&str; 3] = [
    "00000000-0000-0000-0000-000000000000",
    "3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

fn used(service: &str, day: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{day}","source":"/s","type":"feature.used","subject":"{service}","time":"{day}T12:00:00Z","data":{{"feature":"SecureForms"}}}}"#
    )
}

fn invited(service: &str, day: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"u{day}","source":"/s","type":"user.invited","subject":"{service}","time":"{day}T13:00:00Z","data":{{"userGuid":"6ba7b810-9dad-11d1-80b4-{}0000","groupType":"Guest"}}}}"#,
        day.replace('-', ""),
    )
}

/// What each service did on these days.
fn events(days: &[&str]) -> Vec<u8> {
    let of_service = |service| days.iter().flat_map(move |day| [used(service, day), invited(service, day)]);
    SERVICES.into_iter().flat_map(of_service).collect::<Vec<String>>().join("\n").into_bytes()
}

async fn facts(engine: &Engine, on: On) -> Vec<String> {
    let row = match on {
        On::Sqlite => "span || ' ' || lower(hex(service_guid)) || ' ' || lower(hex(facts))",
        On::Postgres => "span || ' ' || replace(service_guid::text, '-', '') || ' ' || encode(facts, 'hex')",
    };
    engine.view(&format!("SELECT {row} FROM service_spans ORDER BY span, service_guid")).await
}

/// Puts the store back to how it was before there were spans.
async fn keep_by_month(engine: &Engine, on: On) {
    let mut months: BTreeMap<(Day, String), Vec<SpanFacts>> = BTreeMap::new();
    for row in facts(engine, on).await {
        let [span, service, facts] = row.split(' ').collect::<Vec<&str>>().try_into().unwrap();
        let bytes = (0..facts.len() / 2).map(|at| u8::from_str_radix(&facts[at * 2..at * 2 + 2], 16).unwrap());
        let facts = postcard::from_bytes(&bytes.collect::<Vec<u8>>()).unwrap();
        months.entry((Day(span.parse::<i32>().unwrap()).month(), service.to_owned())).or_default().push(facts);
    }
    engine.change("DELETE FROM service_spans").await;
    for ((month, service), facts) in months {
        let days = facts.iter().flat_map(SpanFacts::days).cloned().collect();
        let moves = facts.iter().flat_map(SpanFacts::moves).copied().collect();
        let facts = postcard::to_stdvec(&SpanFacts::of(days, moves)).unwrap();
        let facts = hex(&facts);
        let (service, facts) = (guid(on, &service), on.blob(&facts));
        engine.change(&format!("INSERT INTO service_spans VALUES ({}, {service}, {facts})", month.0)).await;
    }
    let migration = match on {
        On::Sqlite => 8,
        On::Postgres => {
            engine.change("ALTER INDEX service_spans_pkey RENAME TO service_months_pkey").await;
            7
        }
    };
    engine.change("ALTER TABLE service_progress DROP COLUMN newest_span").await;
    engine.change("ALTER TABLE service_spans RENAME COLUMN span TO month").await;
    engine.change("ALTER TABLE service_spans RENAME TO service_months").await;
    engine.change(&format!("DELETE FROM _sqlx_migrations WHERE version = {migration}")).await;
}

/// How a statement spells a GUID.
fn guid(on: On, guid: &str) -> String {
    if on == On::Sqlite { on.blob(&guid.replace('-', "")) } else { format!("'{guid}'") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<String>>().concat()
}

async fn open_again(engine: &mut Engine) {
    let Installation { data_dir, config, clock, .. } = engine.installation.clone();
    engine.installation.store.close().await;
    engine.installation = Installation::open(&data_dir, (*config).clone(), clock).await.unwrap();
}

async fn a_damaged_month_is_left_as_it_is_for_verifying_to_tell(on: On) {
    let mut engine = Engine::new(on, NOW, &[]).await;
    engine.ingest(&[events(&["2026-03-01"])]).await;
    keep_by_month(&engine, on).await;
    // No facts at all, and facts of a day that no calendar has.
    let day = ServiceDay { day: Day(i32::MAX), partition: Day(0), facts: DayFacts::default(), uncounted: Vec::new() };
    let beyond = hex(&postcard::to_stdvec(&SpanFacts::of(vec![day], Vec::new())).unwrap());
    for (service, facts) in SERVICES.iter().zip(["ff", &beyond]) {
        let (of, facts) = (guid(on, service), on.blob(facts));
        engine.change(&format!("UPDATE service_months SET facts = {facts} WHERE service_guid = {of}")).await;
    }
    open_again(&mut engine).await;
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(!verified.is_clean());
    let (verified, _) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean(), "{:#?}", verified.differences);
}

async fn months_are_cut_up_when_the_store_is_opened(on: On) {
    let (before, after) = (
        ["2026-02-09", "2026-02-28", "2026-03-01", "2026-03-08", "2026-03-09", "2026-03-24", "2026-03-31"],
        ["2026-02-10", "2026-03-02", "2026-03-31", "2026-04-01"],
    );
    let mut engine = Engine::new(on, NOW, &[]).await;
    engine.ingest(&[events(&before)]).await;
    let as_spans = facts(&engine, on).await;
    assert_eq!(as_spans.len(), SERVICES.len() * 6, "{as_spans:#?}");
    keep_by_month(&engine, on).await;

    open_again(&mut engine).await;
    assert_eq!(facts(&engine, on).await, as_spans);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean(), "{:#?}", verified.differences);

    let never_moved = Engine::new(on, NOW, &[]).await;
    never_moved.ingest(&[events(&before)]).await;
    for later in after {
        engine.ingest(&[events(&[later])]).await;
        never_moved.ingest(&[events(&[later])]).await;
        for period_type in [PeriodType::Daily, PeriodType::Monthly] {
            assert_eq!(engine.export(period_type).await, never_moved.export(period_type).await, "{later}");
        }
        let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
        assert!(verified.is_clean(), "{later}: {:#?}", verified.differences);
    }
}
