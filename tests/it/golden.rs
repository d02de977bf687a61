//! The golden data of the specification, through the engine, equal to the byte.

use std::fs;
use std::path::Path;

use super::oracle;
use super::stores::{On, on_each_store};
use super::support::Engine;
use usage_rollup::model::PeriodType;

on_each_store!(
    async tiny,
    hard_at_once_on_1_2_and_8_threads,
    hard_file_by_file_backwards,
    hard_in_new_york,
);

const NOW: &str = "2026-11-23T00:00:00Z";
const HARD: [&str; 6] =
    ["part-00.ndjson", "part-01.ndjson", "part-02.ndjson", "part-03.ndjson", "part-04.ndjson", "part-02.ndjson"];

fn read(set: &str, name: &str) -> String {
    fs::read_to_string(Path::new("tests/golden").join(set).join(name)).unwrap()
}

fn inputs(set: &str, names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| fs::read(Path::new("tests/golden").join(set).join(name)).unwrap()).collect()
}

/// Rows and ledger must be what the golden data says; `rows` is the directory of the expected rows.
async fn check(engine: &Engine, set: &str, rows: &str, from: &str, to: &str) {
    for (period_type, file) in [(PeriodType::Daily, "daily.csv"), (PeriodType::Monthly, "monthly.csv")] {
        let exported = oracle::cut(&engine.export(period_type).await, from, to);
        assert_eq!(exported, read(set, &format!("{rows}/{file}")), "{set} {rows} {file}");
    }
    let counts: serde_json::Value = serde_json::from_str(&read(set, &format!("{rows}/counts.json"))).unwrap();
    let ledger = engine.ledger().await;
    let expected = |name: &str, found: i64| {
        if let Some(count) = counts.get(name) {
            assert_eq!(count.as_i64(), Some(found), "{set} {name}");
        }
    };
    expected("lines", ledger.lines);
    expected("stored", ledger.stored);
    expected("duplicate", ledger.duplicate);
    expected("rejected", ledger.rejected);
    expected("voided", ledger.voided);
    expected("conflicting", ledger.conflicting);
}

async fn tiny(on: On) {
    let engine = Engine::new(on, NOW, &[]).await;
    engine.ingest(&inputs("tiny", &["events.ndjson"])).await;
    check(&engine, "tiny", "expected", "2026-01-01", "2026-02-05").await;
}

async fn hard_at_once_on_1_2_and_8_threads(on: On) {
    for threads in ["1", "2", "8"] {
        let engine = Engine::new(on, NOW, &[("rollup.threads", threads)]).await;
        engine.ingest(&inputs("hard", &HARD)).await;
        check(&engine, "hard", "expected", "2025-01-01", "2026-04-30").await;
    }
}

async fn hard_file_by_file_backwards(on: On) {
    let engine = Engine::new(on, NOW, &[("ingest.events_per_commit", "1000")]).await;
    for input in inputs("hard", &HARD).into_iter().rev() {
        engine.ingest(&[input]).await;
    }
    check(&engine, "hard", "expected", "2025-01-01", "2026-04-30").await;
}

async fn hard_in_new_york(on: On) {
    let engine = Engine::new(on, NOW, &[("reporting.timezone", "America/New_York")]).await;
    let mut files = inputs("hard", &HARD);
    files.rotate_left(3);
    engine.ingest(&files[..2]).await;
    engine.ingest(&files[2..]).await;
    check(&engine, "hard", "expected-New_York", "2025-01-01", "2026-04-30").await;
}
