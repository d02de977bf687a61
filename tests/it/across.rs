//! Conflicts across days: a producer that stamps a new time on a retry is not counted twice (`spec/events.md`, Conflict).

use usage_rollup::model::PeriodType;

use super::stores::{On, on_each_store};
use super::support::Engine;

on_each_store!(
    async a_retry_on_a_later_day_counts_once_whichever_came_first,
    the_window_is_inclusive_and_what_does_not_count_still_conflicts,
);

const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
const NOW: &str = "2026-03-20T12:00:00Z";

fn event(id: &str, kind: &str, time: &str, data: &str) -> Vec<u8> {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}","subject":"{SERVICE}","time":"{time}","data":{data}}}"#
    )
    .into_bytes()
}

fn used(id: &str, time: &str) -> Vec<u8> {
    event(id, "feature.used", time, r#"{"feature":"SecureForms"}"#)
}

/// How many uses each of these days has, and how many events conflict.
async fn uses(engine: &Engine, days: &[&str]) -> (Vec<i64>, i64) {
    let mut uses = Vec::new();
    for day in days {
        let service = SERVICE.parse().unwrap();
        let row = engine.installation.store.usage_row(service, PeriodType::Daily, day.parse().unwrap()).await.unwrap();
        uses.push(row.map_or(0, |row| row.numbers.0[9]));
    }
    (uses, engine.ledger().await.conflicting)
}

async fn a_retry_on_a_later_day_counts_once_whichever_came_first(on: On) {
    let days = ["2026-03-02", "2026-03-03"];
    let sent = used("a", "2026-03-02T23:59:59Z");
    let retried = used("a", "2026-03-03T00:00:01Z");
    for order in [[&sent, &retried], [&retried, &sent]] {
        let engine = Engine::new(on, NOW, &[]).await;
        engine.ingest(&[order[0].clone()]).await;
        assert_eq!(uses(&engine, &days).await.1, 0);
        engine.ingest(&[order[1].clone()]).await;
        assert_eq!(uses(&engine, &days).await, (vec![1, 0], 1));

        let target = r#"{"source":"/s","id":"a","time":"2026-03-02T23:59:59Z"}"#;
        engine.ingest(&[event("v", "event.voided", "2026-03-05T00:00:00Z", target)]).await;
        assert_eq!(uses(&engine, &days).await, (vec![0, 1], 0), "what was taken back no longer precedes");
    }
}

async fn the_window_is_inclusive_and_what_does_not_count_still_conflicts(on: On) {
    let days = ["2026-03-02", "2026-03-09", "2026-03-16"];
    let engine = Engine::new(on, NOW, &[]).await;
    engine.ingest(&[used("a", "2026-03-16T01:00:00.000000001Z"), used("a", "2026-03-02T01:00:00Z")]).await;
    assert_eq!(uses(&engine, &days).await, (vec![1, 0, 1], 0));
    // It conflicts with the first, seven days before it, and is just too far from the last.
    engine.ingest(&[used("a", "2026-03-09T01:00:00Z")]).await;
    assert_eq!(uses(&engine, &days).await, (vec![1, 0, 1], 1));
    // This one does not count, and yet the last is a retry of it.
    engine.ingest(&[used("a", "2026-03-09T01:00:00.000000001Z")]).await;
    assert_eq!(uses(&engine, &days).await, (vec![1, 0, 0], 3));
}
