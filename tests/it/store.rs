//! What the store keeps by difference: marks, totals, the ledger, and states that change by themselves.

use std::time::Duration;

use usage_rollup::event_log::{Segment, SegmentEnd, SegmentPartition};
use usage_rollup::jobs::{self, Scope};
use usage_rollup::model::{Day, Instant, Numbers, PeriodType, RowState};
use usage_rollup::rollup::VoidMark;
use usage_rollup::store::{Ledger, LogCommit, NewApiKey, Role, Store};
use usage_rollup::usage::export::ExportFormat;
use uuid::Uuid;

use super::stores::{On, on_each_store};
use super::support::{Engine, run};

on_each_store!(
    async any_character_is_kept,
    what_is_read_is_as_new_as_the_last_commit,
    views_have_the_names_of_the_specification,
    a_void_recomputes_its_service_alone_and_the_ledger_adds_up,
    rows_begin_where_the_first_event_is_left,
    a_service_that_begins_tomorrow_has_no_row_today,
    states_change_when_they_are_due,
    a_thin_day_is_marked_by_service_and_a_full_one_whole,
    late_events_count_whether_the_day_is_recomputed_whole_or_for_them_alone,
);

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

async fn a_void_recomputes_its_service_alone_and_the_ledger_adds_up(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
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

async fn rows_begin_where_the_first_event_is_left(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
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

/// Events may be some minutes ahead of the clock.
async fn a_service_that_begins_tomorrow_has_no_row_today(on: On) {
    let mut engine = Engine::new(on, "2026-03-15T23:59:00Z", &[]).await;
    engine.ingest(&[lines(&[used(ONE, "1", "2026-03-16T00:03:00Z")])]).await;
    for now in ["2026-03-15T23:59:30Z", "2026-03-16T00:01:00Z"] {
        roll_at(&mut engine, now).await;
        let rows = [engine.export(PeriodType::Daily).await, engine.export(PeriodType::Monthly).await];
        let expected = usize::from(now >= "2026-03-16");
        assert_eq!(rows.map(|rows| rows.lines().count() - 1), [expected; 2], "{now}");
        let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
        assert!(verified.is_clean(), "{now}: {:#?}", verified.differences);
    }
}

async fn states_change_when_they_are_due(on: On) {
    let mut engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
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

fn segment(number: u128, day: &str, services: Option<Vec<Uuid>>) -> Segment {
    let partition = SegmentPartition { day: self::day(day), first_row: 0, rows: 9, services, is_bare: false };
    Segment {
        id: Uuid::from_u128(number),
        path: number.to_string(),
        rows: 9,
        bytes: 9,
        hash: [0; 32],
        end: SegmentEnd { at: 0, hash: [0; 32] },
        partitions: vec![partition],
    }
}

async fn a_thin_day_is_marked_by_service_and_a_full_one_whole(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
    let (store, now) = (&engine.installation.store, engine.installation.now());
    let lease =
        store.lease(&engine.installation.data_dir.join("writer.lock"), "test", now, Duration::from_secs(9)).await;
    let lease = lease.unwrap();
    let both = vec![service(ONE), service(OTHER)];
    for segments in [
        vec![segment(1, "2026-03-01", Some(both.clone())), segment(2, "2026-03-02", None)],
        vec![segment(3, "2026-03-01", Some(vec![service(ONE)])), segment(4, "2026-03-02", Some(both.clone()))],
    ] {
        store.commit_log(&lease, &LogCommit { segments, ..LogCommit::default() }, now).await.unwrap();
        let dirty = store.dirty_partitions().await.unwrap();
        let dirty: Vec<_> = dirty.into_iter().map(|dirty| (dirty.day, dirty.services)).collect();
        assert_eq!(dirty, [(day("2026-03-01"), Some(both.clone())), (day("2026-03-02"), None)]);
    }
}

async fn late_events_count_whether_the_day_is_recomputed_whole_or_for_them_alone(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
    let event = |number: u128, id: &str| used(&Uuid::from_u128(number).to_string(), id, "2026-03-02T01:00:00Z");
    // More services than a thin day has, then few, then all again: copies, and an event of each.
    engine.ingest(&[lines(&(1..=300).map(|number| event(number, "a")).collect::<Vec<_>>())]).await;
    engine.ingest(&[lines(&[event(7, "a"), event(7, "b"), event(8, "b"), event(301, "a")])]).await;
    let counted = |number: u128| {
        let of = Uuid::from_u128(number).to_string();
        let engine = &engine;
        async move { standing(engine, &of, PeriodType::Daily, "2026-03-02").await.map(|row| (row.1, row.2)) }
    };
    for (number, expected) in [(7, (2, 2)), (8, (2, 2)), (9, (1, 1)), (301, (1, 1))] {
        assert_eq!(counted(number).await, Some(expected), "service {number}");
    }
    engine.ingest(&[lines(&(1..=300).map(|number| event(number, "c")).collect::<Vec<_>>())]).await;
    for (number, expected) in [(7, (3, 3)), (8, (3, 3)), (9, (2, 2)), (301, (1, 1))] {
        assert_eq!(counted(number).await, Some(expected), "service {number}");
    }
    assert_eq!(engine.ledger().await.duplicate, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_export_the_same_bytes() {
    let events = std::fs::read("tests/golden/hard/part-04.ndjson").unwrap();
    let mut exports = Vec::new();
    for on in [On::Sqlite, On::Postgres] {
        let engine = Engine::new(on, "2026-11-23T00:00:00Z", &[("reporting.timezone", "Asia/Kolkata")]).await;
        engine.ingest(std::slice::from_ref(&events)).await;
        for period_type in [PeriodType::Daily, PeriodType::Monthly] {
            for format in [ExportFormat::Csv, ExportFormat::Ndjson, ExportFormat::Parquet] {
                exports.push(engine.export_as(period_type, format).await);
            }
        }
    }
    let (sqlite, postgres) = exports.split_at(6);
    assert!(sqlite == postgres && sqlite.iter().all(|export| export.len() > 1_000));
}

/// The characters that JSON can spell and text in a database can't always hold.
/// Answers are kept while the database stays as it is; here another connection, as another process has it, changes it.
async fn what_is_read_is_as_new_as_the_last_commit(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
    let url = &engine.installation.config.store.url;
    let key = |number: u8| NewApiKey {
        id: number.to_string(),
        name: String::new(),
        role: Role::SuperUser,
        scope: None,
        key_hash: [number; 32],
        expires_at: None,
    };
    let now = engine.installation.now();
    let mut reader = Store::open_to_read(url).await.unwrap();
    for number in 0..20 {
        let id = number.to_string();
        let count = i64::from(number);
        let (entry, row) = (
            reader.service(service(ONE)).await.unwrap(),
            reader.usage_row(service(ONE), PeriodType::Daily, day("2026-03-02")).await.unwrap(),
        );
        assert_eq!(entry.is_some(), number > 0);
        assert_eq!(row.map_or(0, |row| row.event_count), count);
        assert_eq!(reader.key_by_hash([number; 32]).await.unwrap(), None);
        let renamed = format!(
            r#"{{"specversion":"1.0","id":"u{id}","source":"/s","type":"service.updated","subject":"{ONE}","time":"2026-03-02T00:00:{id:0>2}Z","data":{{"name":"{id}"}}}}"#
        );
        engine.ingest(&[lines(&[used(ONE, &id, "2026-03-02T01:00:00Z"), renamed])]).await;
        engine.installation.store.create_key(&key(number), now).await.unwrap();
        for again in 0..2 {
            let entry = reader.service(service(ONE)).await.unwrap().unwrap();
            assert_eq!(entry.name.as_deref(), Some(id.as_str()), "{again}");
            let row = reader.usage_row(service(ONE), PeriodType::Daily, day("2026-03-02")).await.unwrap().unwrap();
            assert_eq!(row.event_count, count + 1, "{again}");
            assert!(reader.key_by_hash([number; 32]).await.unwrap().unwrap().is_valid(now));
        }
        engine.installation.store.revoke_key(&id, now).await.unwrap();
        assert!(!reader.key_by_hash([number; 32]).await.unwrap().unwrap().is_valid(now));
        if number % 5 == 0 {
            reader.close().await;
            reader = Store::open_to_read(url).await.unwrap();
        }
    }
}

async fn any_character_is_kept(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
    let odd = r#"{"specversion":"1.0","id":"\u0000\u2028","source":"/s","type":"feature.used","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T01:00:00Z","data":{"feature":"SecureForms"}}"#;
    let void = r#"{"specversion":"1.0","id":"v","source":"/s","type":"event.voided","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{"source":"/s","id":"\u0000\u2028","time":"2026-03-02T01:00:00Z"}}"#;
    let entry = r#"{"specversion":"1.0","id":"e","source":"/s","type":"service.updated","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{"name":"a\u0000b"}}"#;
    let bad = r#"{"specversion":"1.0","id":"b","source":"/s","type":"feature.used\u0000","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{}}"#;
    let report = engine.ingest(&[lines(&[odd, void, entry, bad].map(str::to_owned))]).await;
    assert_eq!((report.stored, report.rejected), (3, 1));
    assert_eq!(engine.ledger().await.voided, 1);
    let store = &engine.installation.store;
    assert_eq!(store.service(service(ONE)).await.unwrap().unwrap().name.as_deref(), Some("a\0b"));
    let letters = store.dead_letters(None, 0, 9).await.unwrap();
    assert_eq!(letters[0].letter.content, bad.as_bytes());
    assert_eq!(
        engine.view("SELECT name FROM service_directory").await,
        [if on == On::Sqlite { "a\0b" } else { "a\u{fffd}b" }]
    );
}

async fn views_have_the_names_of_the_specification(on: On) {
    let engine = Engine::new(on, "2026-03-03T12:00:00Z", &[]).await;
    let entry = r#"{"specversion":"1.0","id":"e","source":"/s","type":"service.updated","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{"name":"Acme","initialTerm":12,"partnerGuid":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","contact":{"phoneNumber":"1"},"company":{"stateProvince":"X"}}}"#;
    engine.ingest(&[lines(&[used(ONE, "a", "2026-03-02T01:00:00Z"), entry.to_owned()])]).await;
    for (view, rows) in [("service_usage_daily", 2), ("service_usage_monthly", 1)] {
        let numbers = Numbers::COLUMNS.map(|column| format!("CAST({column} AS text)")).join(" || ',' || ");
        let found = engine.view(&format!("SELECT period || ' ' || {numbers} FROM {view} ORDER BY period")).await;
        assert_eq!(found.len(), rows);
        let period = if rows == 2 { "2026-03-02" } else { "2026-03-01" };
        assert_eq!(found[0], format!("{period} 0,0,0,0,0,0,0,0,0,1,0,0,0"));
    }
    let directory = engine
        .view(
            "SELECT replace(CAST(service_guid AS text), '-', '') || ' ' || name || ' ' || status || ' ' || created_on
                 || ' ' || CAST(initial_term AS text) || ' ' || replace(CAST(partner_guid AS text), '-', '') || ' '
                 || contact_phone_number || ' ' || company_state_province FROM service_directory",
        )
        .await;
    assert_eq!(
        directory,
        [
            "3f2b8c1e7d544f0a9a550d6f1f8f7a10 Acme CertifiedSecure 2026-03-02T02:00:00Z 12 6ba7b8109dad11d180b400c04fd430c8 1 X"
        ]
    );
}
