//! What the store keeps by difference: marks, totals, the ledger, and states that change by themselves.

use std::time::Duration;

use usage_rollup::jobs;
use usage_rollup::model::{Day, Instant, PeriodType, RowState};
use usage_rollup::rollup::VoidMark;
use usage_rollup::store::{Ledger, LogCommit};
use uuid::Uuid;

use super::support::{Engine, run};

const ONE: &str = "3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10";
const OTHER: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

fn used(service: &str, id: &str, time: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"feature.used","subject":"{service}","time":"{time}","data":{{"feature":"SecureForms"}}}}"#
    )
}

fn lines(events: &[String]) -> Vec<u8> {
    events.join("\n").into_bytes()
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn service(text: &str) -> Uuid {
    text.parse().unwrap()
}

async fn standing(engine: &Engine, of: &str, period_type: PeriodType, period: &str) -> Option<(RowState, i64, i64)> {
    let row = engine.installation.store.usage_row(service(of), period_type, day(period)).await.unwrap();
    row.map(|row| (row.state, row.revision, row.event_count))
}

async fn roll_at(engine: &mut Engine, now: &str) {
    engine.installation.clock = now.parse().unwrap();
    jobs::rollup(&engine.installation, &run()).await.unwrap();
}

/// Takes an event back without a line that says so, and before any rollup.
async fn mark_void(engine: &Engine, of: &str, id: &str, time: &str) {
    let (store, now) = (&engine.installation.store, engine.installation.now());
    let lock = engine.installation.data_dir.join("writer.lock");
    let lease = store.lease(&lock, "test", now, Duration::from_secs(9)).await.unwrap();
    let time = Instant::parse_rfc3339(time).unwrap();
    let void = VoidMark { service: service(of), time, source: "/s".to_owned(), id: id.to_owned() };
    store.commit_log(&lease, &LogCommit { voids: vec![void], ..LogCommit::default() }, now).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_recomputes_its_service_alone_and_the_ledger_adds_up() {
    let engine = Engine::new("2026-03-03T12:00:00Z", &[]).await;
    let event = |service, id| used(service, id, "2026-03-02T01:00:00Z");
    let events = [event(ONE, "a"), event(ONE, "a"), event(ONE, "b"), event(OTHER, "a"), event(OTHER, "a")];
    engine.ingest(&[lines(&events)]).await;
    let before = Ledger { lines: 5, stored: 3, duplicate: 2, counted: 3, ..Ledger::default() };
    assert_eq!(engine.ledger().await, before);

    mark_void(&engine, ONE, "a", "2026-03-02T01:00:00Z").await;
    let dirty = engine.installation.store.dirty_partitions().await.unwrap();
    assert_eq!(dirty.len(), 1);
    assert_eq!((dirty[0].day, &dirty[0].services), (day("2026-03-02"), &Some(vec![service(ONE)])));
    jobs::rollup(&engine.installation, &run()).await.unwrap();
    assert_eq!(engine.ledger().await, Ledger { counted: 2, voided: 1, ..before });
    let row = |of| standing(&engine, of, PeriodType::Daily, "2026-03-02");
    assert_eq!(row(ONE).await.map(|row| (row.1, row.2)), Some((2, 1)));
    assert_eq!(row(OTHER).await.map(|row| (row.1, row.2)), Some((1, 1)));

    // The day as a whole, with more of what is not counted.
    engine.ingest(&[lines(&[event(OTHER, "a"), event(ONE, "a"), event(OTHER, "b")])]).await;
    let after = Ledger { lines: 8, stored: 4, duplicate: 4, counted: 3, voided: 1, ..before };
    assert_eq!(engine.ledger().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_begin_where_the_first_event_is_left() {
    let engine = Engine::new("2026-03-03T12:00:00Z", &[]).await;
    let times = ["2026-01-10T01:00:00Z", "2026-01-10T02:00:00Z", "2026-03-02T01:00:00Z"];
    let events = times.map(|time| used(ONE, time, time));
    engine.ingest(&[lines(&events)]).await;
    let first = || async {
        let export = engine.export(PeriodType::Daily).await;
        let row = export.lines().nth(1).map(|row| row.split(',').nth(2).unwrap_or_default().to_owned());
        row.unwrap_or_default()
    };
    for (time, expected) in times.into_iter().zip(["2026-01-10", "2026-03-02", ""]) {
        mark_void(&engine, ONE, time, time).await;
        jobs::rollup(&engine.installation, &run()).await.unwrap();
        assert_eq!(first().await, expected);
    }
    assert_eq!(engine.export(PeriodType::Monthly).await.lines().count(), 1, "nothing counts any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_change_when_they_are_due() {
    let mut engine = Engine::new("2026-03-03T12:00:00Z", &[]).await;
    let event = |id| used(ONE, id, "2026-03-03T01:00:00Z");
    engine.ingest(&[lines(&[event("a")])]).await;
    let daily = (PeriodType::Daily, "2026-03-03");
    let monthly = (PeriodType::Monthly, "2026-03-01");
    for (now, of_day, of_month) in [
        ("2026-03-03T23:59:59Z", RowState::Open, RowState::Open),
        ("2026-03-04T00:00:00Z", RowState::Settling, RowState::Open),
        ("2026-03-04T02:00:00Z", RowState::Closed, RowState::Open),
        ("2026-04-01T01:59:59Z", RowState::Closed, RowState::Settling),
        ("2026-04-01T02:00:00Z", RowState::Closed, RowState::Closed),
    ] {
        roll_at(&mut engine, now).await;
        let state = |(period_type, period)| standing(&engine, ONE, period_type, period);
        assert_eq!(state(daily).await.map(|row| row.0), Some(of_day), "the day at {now}");
        assert_eq!(state(monthly).await.map(|row| row.0), Some(of_month), "the month at {now}");
    }
    engine.ingest(&[lines(&[event("b")])]).await;
    let state = |(period_type, period)| standing(&engine, ONE, period_type, period);
    assert_eq!(state(daily).await, Some((RowState::Restated, 2, 2)));
    assert_eq!(state(monthly).await, Some((RowState::Restated, 2, 2)));
    assert_eq!(standing(&engine, ONE, PeriodType::Daily, "2026-04-01").await, Some((RowState::Open, 1, 0)));
}
