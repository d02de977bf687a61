//! Damage of every kind is found and named, nothing panics, and what the event log can tell is brought back.

use std::fs;
use std::path::PathBuf;

use usage_rollup::jobs::{self, Scope, Verified};
use usage_rollup::model::{Numbers, PeriodType};

use super::crash::parts;
use super::stores::{On, on_each_store};
use super::support::{Engine, run};

on_each_store!(
    async a_changed_number_of_a_row_is_named_and_repaired,
    rows_that_are_lost_or_should_not_be_are_named_and_repaired,
    changed_facts_are_named_and_repaired,
    a_changed_ledger_is_named_and_repaired,
    voids_that_are_lost_or_invented_are_named_and_repaired,
    what_waits_is_pending_and_no_difference,
    a_scope_leaves_the_rest_alone,
);

const NOW: &str = "2026-02-08T12:00:00Z";
const ONE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";

async fn engine(on: On) -> Engine {
    let engine = Engine::new(on, NOW, &[("reporting.timezone", "America/New_York")]).await;
    engine.ingest(&[fs::read("tests/golden/tiny/events.ndjson").unwrap()]).await;
    engine.ingest(&[fs::read("tests/golden/tiny/events.ndjson").unwrap()]).await;
    engine
}

async fn verify(engine: &Engine) -> Verified {
    jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap()
}

/// What verifying names, one difference a line.
async fn differences(engine: &Engine) -> Vec<String> {
    verify(engine).await.differences.named.iter().map(ToString::to_string).collect()
}

async fn exported(engine: &Engine) -> [String; 2] {
    [engine.export(PeriodType::Daily).await, engine.export(PeriodType::Monthly).await]
}

/// Changes something, finds that it is named, and that repairing brings back exactly what was there.
async fn is_named_and_repaired(engine: &Engine, change: &str, expected: &[&str]) {
    let (rows, ledger) = (exported(engine).await, engine.ledger().await);
    engine.change(change).await;
    let named = differences(engine).await;
    for name in expected {
        assert!(named.iter().any(|named| named.contains(name)), "{name} after {change}: {named:#?}");
    }
    let (verified, repaired) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean(), "{change}: {repaired:?} {:#?}", verified.differences);
    assert_eq!(repaired.left, [""; 0]);
    assert_eq!(exported(engine).await, rows, "{change}");
    assert_eq!(engine.ledger().await, ledger, "{change}");
}

async fn a_changed_number_of_a_row_is_named_and_repaired(on: On) {
    let engine = engine(on).await;
    for (period_type, period) in [("Daily", "2026-02-02"), ("Monthly", "2026-02-01")] {
        let (others, digest) = match on {
            On::Sqlite => (format!("service_guid = '{ONE}'"), "x'00000000000000000000000000000001'"),
            On::Postgres => (format!("service_guid = '{ONE}'::uuid"), "'\\x00000000000000000000000000000001'"),
        };
        let row = format!("period_type = '{period_type}' AND period = '{period}' AND {others}");
        for (column, at) in Numbers::COLUMNS.iter().zip(0..) {
            // The database itself holds that the users add up.
            let set = match at {
                0 => "total_user_count = total_user_count + 1, pro_user_count = pro_user_count + 1".to_owned(),
                1..5 => format!("{column} = {column} + 1, total_user_count = total_user_count + 1"),
                _ => format!("{column} = {column} + 1"),
            };
            let name = format!("{period_type} row of {period}: {column}: expected");
            is_named_and_repaired(&engine, &format!("UPDATE service_usage SET {set} WHERE {row}"), &[&name]).await;
        }
        for (column, set) in [
            ("event_count", "event_count = event_count + 1".to_owned()),
            ("input_digest", format!("input_digest = {digest}")),
            ("clamped", "clamped = NOT clamped".to_owned()),
        ] {
            let name = format!("{period_type} row of {period}: {column}: expected");
            is_named_and_repaired(&engine, &format!("UPDATE service_usage SET {set} WHERE {row}"), &[&name]).await;
        }
    }
}

async fn rows_that_are_lost_or_should_not_be_are_named_and_repaired(on: On) {
    let engine = engine(on).await;
    let lost = "DELETE FROM service_usage WHERE period_type = 'Daily' AND period = '2026-02-03'";
    is_named_and_repaired(&engine, lost, &["Daily row of 2026-02-03: row: expected a row, found none"]).await;
    let lost = "DELETE FROM service_usage WHERE period = '2026-02-08'";
    is_named_and_repaired(&engine, lost, &["Daily row of 2026-02-08: row: expected a row, found none"]).await;
    for (from, to) in [("2026-02-08", "2026-02-09"), ("2026-01-31", "2020-01-01")] {
        let moved =
            format!("UPDATE service_usage SET period = '{to}' WHERE period_type = 'Daily' AND period = '{from}'");
        let named = format!("Daily row of {to}: row: expected none, found revision 1");
        is_named_and_repaired(&engine, &moved, &[&named]).await;
    }
    for column in ["rows_from", "rows_through", "first_day"] {
        let name = column.replace('_', " ");
        for to in [format!("{column} + 1"), format!("{column} - 1"), "NULL".to_owned(), "2147483647".to_owned()] {
            let moved = format!("UPDATE service_progress SET {column} = {to} WHERE first_day IS NOT NULL");
            engine.change(&moved).await;
            let verified = verify(&engine).await;
            let named = verified.differences.named.iter().any(|of| of.field.contains(&name) || of.field == "row");
            assert!(named || verified.pending.services > 0, "{moved}: {:#?}", verified.differences);
            let (verified, _) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
            assert!(verified.is_clean(), "{moved}: {:#?}", verified.differences);
            jobs::rollup(&engine.installation, &run()).await.unwrap();
        }
    }
    is_named_and_repaired(&engine, "DELETE FROM service_progress", &["first day: expected"]).await;
}

/// The bytes of a blob, and how a statement spells them with one byte flipped.
fn flipped(on: On, hex: &str, at: usize, bit: u8) -> String {
    let mut bytes: Vec<u8> =
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect();
    bytes[at] ^= 1 << bit;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    on.blob(&hex.concat())
}

async fn changed_facts_are_named_and_repaired(on: On) {
    let engine = engine(on).await;
    let blobs = [
        ("service_spans", "facts", "service "),
        ("users", "history", ", user "),
        ("service_progress", "held", "service "),
        ("service_progress", "newest_span", "service "),
        ("service_progress", "recent_users", "service "),
    ];
    for (table, column, names) in blobs {
        let hex = if on == On::Sqlite { format!("lower(hex({column}))") } else { format!("encode({column}, 'hex')") };
        let first = engine.view(&format!("SELECT {hex} FROM {table} ORDER BY length({column}) DESC LIMIT 1")).await;
        let blob = &first[0];
        let is_it = format!("{hex} = '{blob}'");
        // On a server each change takes a connection of its own.
        let step = if on == On::Sqlite { 1 } else { 5 };
        for at in (0..blob.len() / 2).step_by(step) {
            let bit = u8::try_from(at % 8).unwrap();
            let value = flipped(on, blob, at, bit);
            let set = format!("UPDATE {table} SET {column} = {value} WHERE {is_it}");
            // Repairing takes longer than finding.
            if at % 7 == 0 {
                is_named_and_repaired(&engine, &set, &[names]).await;
                continue;
            }
            engine.change(&set).await;
            let named = differences(&engine).await;
            assert!(named.iter().any(|named| named.contains(names)), "{set}: {named:#?}");
            let value = on.blob(blob);
            let found = flipped(on, blob, at, bit);
            engine.change(&format!("UPDATE {table} SET {column} = {value} WHERE {column} = {found}")).await;
        }
        is_named_and_repaired(&engine, &format!("DELETE FROM {table} WHERE {is_it}"), &["service "]).await;
    }
    let moved = "UPDATE service_spans SET span = span + 1";
    is_named_and_repaired(&engine, moved, &["facts of 2026-02-01"]).await;
}

async fn a_changed_ledger_is_named_and_repaired(on: On) {
    let engine = engine(on).await;
    for column in ["duplicate", "voided", "conflicting"] {
        let change = format!("UPDATE inputs SET {column} = {column} + 1 WHERE id = 1");
        is_named_and_repaired(&engine, &change, &[&format!("): {column}: expected")]).await;
    }
    let change = "UPDATE inputs SET accepted = accepted + 1, lines = lines + 1 WHERE id = 2";
    is_named_and_repaired(&engine, change, &["input 2 (", "): accepted: expected 18, found 19"]).await;

    // What nothing else tells of is left as it is.
    engine.change("DELETE FROM dead_letters WHERE input_id = 1 AND line = 20").await;
    let (verified, repaired) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
    let named: Vec<String> = verified.differences.named.iter().map(ToString::to_string).collect();
    assert!(named.len() == 1 && named[0].ends_with("rejected: expected 2, found 3"), "{named:?}");
    assert_eq!(repaired.left.len(), 1);
}

async fn voids_that_are_lost_or_invented_are_named_and_repaired(on: On) {
    let engine = engine(on).await;
    is_named_and_repaired(&engine, "DELETE FROM voids", &["expected one, as in the event log, found none"]).await;
    let moved = "UPDATE voids SET target_time = target_time + 1";
    is_named_and_repaired(&engine, moved, &["expected none, as in the event log, found one"]).await;
}

async fn what_waits_is_pending_and_no_difference(on: On) {
    let engine = engine(on).await;
    let nobody = if on == On::Sqlite { "x''" } else { "''::bytea" };
    engine
        .change(&format!(
            "INSERT INTO dirty_partitions (day, service_guid) SELECT DISTINCT day, {nobody} FROM segment_partitions WHERE day % 2 = 0"
        ))
        .await;
    engine.change("UPDATE service_progress SET dirty_from = first_day + 1").await;
    engine.change("UPDATE service_usage SET total_message_count = 7 WHERE period = '2026-02-03'").await;
    let verified = verify(&engine).await;
    assert!(verified.is_clean(), "{:#?}", verified.differences);
    assert!(verified.pending.days > 0 && verified.pending.services == 2, "{:?}", verified.pending);
    jobs::rollup(&engine.installation, &run()).await.unwrap();
    let verified = verify(&engine).await;
    assert!(verified.is_clean() && verified.pending.days == 0 && verified.pending.services == 0);
}

async fn a_scope_leaves_the_rest_alone(on: On) {
    let engine = engine(on).await;
    engine.change("UPDATE service_usage SET total_message_count = 7 WHERE period = '2026-02-03'").await;
    let day = |text: &str| Some(text.parse().unwrap());
    let find = async |scope: Scope| {
        let verified = jobs::verify(&engine.installation, &run(), &scope).await.unwrap();
        verified.differences.count()
    };
    assert_eq!(find(Scope::default()).await, 2);
    assert_eq!(find(Scope { services: vec![ONE.parse().unwrap()], ..Scope::default() }).await, 1);
    assert_eq!(find(Scope { from: day("2026-02-04"), ..Scope::default() }).await, 0);
    assert_eq!(find(Scope { from: day("2026-02-03"), to: day("2026-02-03"), ..Scope::default() }).await, 2);
    assert_eq!(find(Scope { to: day("2026-02-02"), ..Scope::default() }).await, 0);
}

/// The segments on disk, with their paths in the catalog.
fn segments(engine: &Engine) -> Vec<(String, PathBuf)> {
    let files = engine.installation.log.files().unwrap();
    files.into_iter().map(|path| (path.clone(), engine.installation.log.path_of(&path))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_flipped_byte_of_a_segment_is_found() {
    let engine = engine(On::Sqlite).await;
    let segments = segments(&engine);
    for (part, round) in parts(7).take(1_000).zip(0_usize..) {
        let (path, file) = &segments[round % segments.len()];
        let whole = fs::read(file).unwrap();
        let mut damaged = whole.clone();
        let at = whole.len() * part as usize / (1 << 24);
        damaged[at] ^= 1 << (round % 8);
        fs::write(file, damaged).unwrap();
        let named = differences(&engine).await;
        let name = format!("segment {path}: hash: expected");
        assert!(named.iter().any(|named| named.contains(&name)), "byte {at}: {named:#?}");
        // Nothing else is taken for wrong, for what can't be read is taken as it is.
        assert!(named.iter().all(|named| named.contains(path)), "byte {at}: {named:#?}");
        fs::write(file, whole).unwrap();
    }
    assert_eq!(differences(&engine).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_cut_and_unknown_files_are_named_and_only_the_latter_moved_aside() {
    let engine = engine(On::Sqlite).await;
    let (path, file) = segments(&engine).remove(0);
    let whole = fs::read(&file).unwrap();
    for length in [0, 1, 7, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        let named = differences(&engine).await;
        assert!(
            named.contains(&format!("segment {path}: bytes: expected {}, found {length}", whole.len())),
            "{named:#?}"
        );
    }
    fs::remove_file(&file).unwrap();
    // While a segment is away, facts are not forgotten: nothing could make them anew. Rows are drawn all the same.
    let rows = exported(&engine).await;
    engine.change("UPDATE service_usage SET total_message_count = 7 WHERE period = '2026-02-03'").await;
    let (verified, repaired) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
    let named: Vec<String> = verified.differences.named.iter().map(ToString::to_string).collect();
    assert!(named.len() == 1 && named[0].starts_with(&format!("segment {path}: file: expected")), "{named:#?}");
    assert!(!verified.unreadable.is_empty() && repaired.rows == 2 && repaired.left.len() == 1, "{repaired:?}");
    assert_eq!(exported(&engine).await, rows);
    fs::write(&file, whole).unwrap();

    let stray = engine.installation.log.path_of("2026-02-01/stray.parquet");
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, b"stray").unwrap();
    let named = differences(&engine).await;
    assert_eq!(
        named,
        ["file 2026-02-01/stray.parquet: file: expected none that the catalog does not know, found a file"]
    );
    let (verified, repaired) = jobs::repair(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean() && repaired.orphans == 1 && !stray.exists());
    assert!(engine.installation.data_dir.join("orphans/2026-02-01/stray.parquet").exists());
}
