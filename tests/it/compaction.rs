//! Segments that are merged hold what they held: no number, no answer and no byte of an export is another one.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::runtime::Runtime;
use usage_rollup::audit::explain::Field;
use usage_rollup::jobs::{self, Asked, CompactReport, Scope};
use usage_rollup::model::PeriodType;
use usage_rollup::store::{AuditedInput, Ledger};

use super::audit_laws::rows;
use super::crash::{NOW, outcome, parts, verify, with_events};
use super::laws::{Delivery, config, events_and_delivery, file};
use super::random_events;
use super::stores::{On, on_each_store};
use super::support::{Binary, Engine, run};

mod laws {
    use super::*;

    on_each_store!(merging_changes_no_number_and_no_answer,);
}

mod kills {
    use super::*;

    on_each_store!(a_kill_while_segments_are_merged_leaves_either_state_whole,);
}

on_each_store!(
    async files_that_are_to_be_removed_are_no_difference_and_go_with_the_next_writer,
    a_segment_that_is_damaged_is_left_as_it_is,
    explaining_goes_on_while_segments_are_replaced,
    days_of_a_backlog_that_are_worth_it_get_segments_of_their_own,
);

/// After which runs segments are merged, from how many on, and into how large ones.
#[derive(Clone, Debug)]
struct Merging {
    after: Vec<bool>,
    at: &'static str,
    rows: &'static str,
}

/// Few enough for several segments, without which there is nothing to merge.
const LINES_TOGETHER: usize = 6;

fn merging() -> impl Strategy<Value = Merging> {
    let after = prop::collection::vec(any::<bool>(), 5);
    (after, prop::sample::select(vec!["2", "3"]), prop::sample::select(vec!["6", "40", "262144"]))
        .prop_map(|(after, at, rows)| Merging { after, at, rows })
}

/// Everything that anybody is told of an installation, but for which segments lines lie in, and whose contents were dropped.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub exports: [String; 2],
    pub ledger: Ledger,
    inputs: Vec<AuditedInput>,
    explained: Vec<Value>,
}

pub async fn told(engine: &Engine) -> Told {
    let reading = engine.reading();
    let mut explained = Vec::new();
    for (row, number) in rows(engine).await.iter().zip(0..) {
        for (field, _) in Field::all().zip(0..).filter(|(_, at)| (number + at) % 11 == 0) {
            let (service, period_type, period) = (row.service, row.period_type, row.period);
            let asked = Asked { service, period_type, period, field, limit: 1_000, all: true };
            let mut answer = serde_json::to_value(Box::pin(jobs::explain(&reading, asked)).await.unwrap()).unwrap();
            without_segments(&mut answer);
            explained.push(answer);
        }
    }
    let inputs = engine.installation.store.audited_inputs().await.unwrap();
    Told {
        exports: [engine.export(PeriodType::Daily).await, engine.export(PeriodType::Monthly).await],
        ledger: engine.ledger().await,
        inputs: inputs.into_iter().map(|input| AuditedInput { name: String::new(), ..input }).collect(),
        explained,
    }
}

fn without_segments(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.remove("segment").is_some() {
                members.remove("row");
                // Each engine has a directory of its own.
                members.remove("input");
            }
            if members.contains_key("place") {
                members.remove("dropped");
            }
            members.values_mut().for_each(without_segments);
        }
        Value::Array(items) => items.iter_mut().for_each(without_segments),
        _ => {}
    }
}

/// A few lines of a delivery in each run, and so in a segment of their own. How many segments were merged comes with the engine.
async fn delivered(on: On, lines: &[String], delivery: &Delivery, merging: Option<&Merging>) -> (Engine, u64) {
    let rules = merging.map(|merging| [("event_log.compact_at", merging.at), ("event_log.compact_rows", merging.rows)]);
    let settings: Vec<_> = delivery.settings().into_iter().chain(rules.into_iter().flatten()).collect();
    let engine = Engine::new(on, random_events::NOW, &settings).await;
    let mut merged = 0;
    let files = delivery.runs.iter().flatten().flat_map(|numbers| numbers.chunks(LINES_TOGETHER));
    for (numbers, number) in files.zip(0_usize..) {
        engine.ingest(&[file(lines, numbers)]).await;
        if merging.is_some_and(|merging| merging.after[number % merging.after.len()]) {
            merged += compact(&engine).await.merged;
        }
    }
    if merging.is_some() {
        merged += compact(&engine).await.merged;
    }
    (engine, merged)
}

async fn compact(engine: &Engine) -> CompactReport {
    let report = jobs::compact(&engine.installation, &run(), usize::MAX).await.unwrap();
    assert!(report.unreadable.is_empty(), "{report:?}");
    let files = engine.installation.log.files().unwrap();
    let mut live: Vec<String> = engine.installation.store.live_paths().await.unwrap().into_iter().collect();
    live.sort();
    assert_eq!(files, live, "what was replaced is removed");
    assert!(engine.installation.store.discarded_files().await.unwrap().is_empty());
    report
}

/// Compaction is seen nowhere: in no row, in no ledger, in no explanation. And what was merged is what recomputing finds.
fn merging_changes_no_number_and_no_answer(on: On) {
    let runtime = Runtime::new().unwrap();
    let mut config = config(on);
    // Each case delivers everything to two engines, and asks both hundreds of questions.
    config.cases = config.cases.div_ceil(3);
    let merged_segments = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&(events_and_delivery(), merging()), |((lines, delivery), merging)| {
            runtime.block_on(async {
                let (as_it_came, _) = delivered(on, &lines, &delivery, None).await;
                let (merged, segments) = delivered(on, &lines, &delivery, Some(&merging)).await;
                merged_segments.set(merged_segments.get() + segments);
                prop_assert_eq!(told(&merged).await, told(&as_it_came).await);
                let installation = &merged.installation;
                prop_assert_eq!(jobs::has_small_segments(installation).await.unwrap(), false);
                let verified = jobs::verify(installation, &run(), &Scope::default()).await.unwrap();
                prop_assert!(verified.is_clean(), "{:#?}", verified.differences);
                prop_assert_eq!((verified.pending.days, verified.pending.services), (0, 0), "no day became dirty");
                let from = "2026-02-01".parse().unwrap();
                let backfilled = jobs::backfill(installation, &run(), from, installation.today(), &[]).await.unwrap();
                prop_assert_eq!(backfilled.rows_written, 0);
                prop_assert_eq!(told(&merged).await.inputs, told(&as_it_came).await.inputs);
                Ok(())
            })
        })
        .unwrap();
    // On a server the cases are few.
    assert!(merged_segments.get() > 0 || on == On::Postgres, "no case had anything to merge");
}

/// Events that came in many commits, and the command that takes them in once more.
pub fn in_many_commits(on: On) -> (Binary, Vec<String>) {
    let binary = with_events(Binary::new(on))
        .with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "1000")
        .with("USAGE_ROLLUP__EVENT_LOG__COMPACT_AT", "2")
        .with("USAGE_ROLLUP__EVENT_LOG__COMPACT_ROWS", "2500")
        .with("USAGE_ROLLUP__EVENT_LOG__RETENTION", "1day")
        .with("USAGE_ROLLUP__ROLLUP__SETTLE_AFTER", "0s");
    let lines = fs::read_to_string(binary.path("first.ndjson")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let mut ingest = ["--quiet", "--now", NOW, "ingest"].map(str::to_owned).to_vec();
    for (lines, number) in lines.chunks(500).zip(0..) {
        ingest.push(format!("{number}.ndjson"));
        fs::write(binary.path(&ingest[ingest.len() - 1]), lines.join("\n")).unwrap();
    }
    binary.ok(&ingest.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(segments(&binary).len() >= 12, "{:?}", segments(&binary));
    (binary, ingest)
}

pub fn segments(binary: &Binary) -> Vec<String> {
    binary.sql("SELECT path FROM segments ORDER BY path")
}

fn on_disk(binary: &Binary) -> Vec<String> {
    let events = binary.path("data/events");
    let entries = |dir: &std::path::Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries(&events).flat_map(|folder| entries(&folder).collect::<Vec<_>>());
    let mut files: Vec<String> = files.map(|file| file.strip_prefix(&events).unwrap().display().to_string()).collect();
    files.sort();
    files
}

/// Kills a job that replaces segments at random moments, and holds what is there each time against what was there before. Then it
/// is let come to its end; no file is left, and all lines are duplicates still.
pub fn kill_again_and_again(on: On, binary: &Binary, job: &str, ingest: &[String]) {
    let before = outcome(binary);
    let command = ["--quiet", "--now", NOW, job];
    let again: Vec<&str> = ingest.iter().map(String::as_str).collect();
    let time = |args: &[&str]| {
        let started = Instant::now();
        binary.ok(args);
        started.elapsed()
    };
    time(&command);
    let idle = time(&command);
    binary.ok(&again[..14]);
    let busy = time(&command).max(idle * 3 / 2);
    let discarded = || binary.sql("SELECT path FROM discarded_segments");
    let mut caught = 0;
    for (part, round) in parts(9).take(if on == On::Sqlite { 24 } else { 8 }).zip(0..) {
        // So that there is something to do, and nothing that counts.
        binary.ok(&again[..14]);
        let mut child = binary.command(&command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(idle / 2 + busy * part / (1 << 24));
        child.kill().unwrap();
        child.wait().unwrap();
        caught += usize::from(!discarded().is_empty());
        verify(binary);
        assert!(outcome(binary) == before, "killed after {part} / 2^24 of {busy:?}");
        if round % 4 == 3 {
            // The next writer removes what the log does without.
            binary.ok(&["--quiet", "--now", NOW, "rollup"]);
            assert_eq!(on_disk(binary), segments(binary));
            assert_eq!(discarded(), [""; 0]);
        }
    }
    assert!(caught > 0 || on == On::Postgres, "none was killed while files were replaced");
    binary.ok(&command);
    let report: Value = serde_json::from_str(&binary.ok(&command)).unwrap();
    assert_eq!(report["into"], 0, "all is done: {report}");
    assert_eq!(on_disk(binary), segments(binary));
    assert!(!binary.path("data/orphans").exists(), "a file was taken for an orphan");
    assert_eq!(fs::read_dir(binary.path("data/tmp")).unwrap().count(), 0);
    assert!(outcome(binary) == before);
    verify(binary);
    let report: Value = serde_json::from_str(&binary.ok(&again)).unwrap();
    assert_eq!(report["stored"], 0, "each line is a duplicate: {report}");
}

fn a_kill_while_segments_are_merged_leaves_either_state_whole(on: On) {
    let (binary, ingest) = in_many_commits(on);
    kill_again_and_again(on, &binary, "compact", &ingest);
}

/// A service's event, of a day and by number.
fn event(day: u32, number: usize) -> String {
    let of_all = r#""specversion":"1.0","source":"/s","type":"feature.used","data":{"feature":"SecureForms"}"#;
    format!(r#"{{{of_all},"subject":"{SERVICE}","id":"{number}","time":"2026-03-{day:02}T05:06:07Z"}}"#)
}

const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
const RULES: [(&str, &str); 1] = [("event_log.compact_at", "3")];

async fn with_segments(on: On, segments: usize) -> Engine {
    let engine = Engine::new(on, random_events::NOW, &RULES).await;
    for number in 0..segments {
        engine.ingest(&[event(4, number).into_bytes()]).await;
    }
    engine
}

async fn forms(engine: &Engine) -> i128 {
    let (service, period) = (SERVICE.parse().unwrap(), "2026-03-04".parse().unwrap());
    let field = "feature_usage_secure_forms".parse().unwrap();
    let asked = Asked { service, period_type: PeriodType::Daily, period, field, limit: 1_000, all: false };
    Box::pin(jobs::explain(&engine.reading(), asked)).await.unwrap().sum
}

/// As a kill between the commit and the removal leaves them, and one before the commit.
async fn files_that_are_to_be_removed_are_no_difference_and_go_with_the_next_writer(on: On) {
    let engine = with_segments(on, 2).await;
    let log = &engine.installation.log;
    let guid = |digit: &str| match on {
        On::Sqlite => format!("x'{}'", digit.repeat(32)),
        On::Postgres => format!("'{}'", digit.repeat(32)),
    };
    for (digit, path) in [("1", "2026-03-04/replaced.parquet"), ("2", "mixed/gone.parquet"), ("3", "mixed/new.parquet")]
    {
        engine.change(&format!("INSERT INTO discarded_segments VALUES ({}, '{path}')", guid(digit))).await;
    }
    fs::write(log.path_of("2026-03-04/replaced.parquet"), "replaced").unwrap();
    let staged = engine.installation.data_dir.join("tmp/new.parquet");
    fs::write(&staged, "new").unwrap();
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean(), "{:#?}", verified.differences);

    jobs::rollup(&engine.installation, &run()).await.unwrap();

    assert_eq!(log.files().unwrap().len(), 2);
    assert!(!staged.exists() && !engine.installation.data_dir.join("orphans").exists());
    assert!(engine.installation.store.discarded_files().await.unwrap().is_empty());
}

async fn a_segment_that_is_damaged_is_left_as_it_is(on: On) {
    let engine = with_segments(on, 5).await;
    let damaged = engine.installation.log.files().unwrap().remove(2);
    let file = engine.installation.log.path_of(&damaged);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[9] ^= 1;
    fs::write(&file, flipped).unwrap();

    let report = jobs::compact(&engine.installation, &run(), usize::MAX).await.unwrap();

    assert_eq!((report.merged, report.into, report.rows), (4, 1, 4));
    assert_eq!(report.unreadable.keys().collect::<Vec<_>>(), [&damaged]);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.differences.named.iter().all(|of| of.to_string().contains(&damaged)));
    fs::write(&file, whole).unwrap();
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean(), "{:#?}", verified.differences);
    assert_eq!(forms(&engine).await, 5);
}

async fn explaining_goes_on_while_segments_are_replaced(on: On) {
    let engine = with_segments(on, 2).await;
    let writing = async {
        for number in 2..40 {
            engine.ingest(&[event(4, number).into_bytes()]).await;
            jobs::compact(&engine.installation, &run(), usize::MAX).await.unwrap();
        }
    };
    let reading = async {
        let mut last = 2;
        while last < 40 {
            let sum = forms(&engine).await;
            assert!((last..=40).contains(&sum), "{sum} after {last}");
            last = sum;
        }
    };
    tokio::join!(writing, reading);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean());
}

async fn days_of_a_backlog_that_are_worth_it_get_segments_of_their_own(on: On) {
    let engine = Engine::new(on, random_events::NOW, &RULES).await;
    for batch in 0..3 {
        let of_days = |day, rows: usize| (0..rows).map(move |row| event(day, batch * 10_000 + row));
        let lines: Vec<String> = of_days(4, 4_000).chain(of_days(5, 100)).chain(of_days(6, 3_000)).collect();
        engine.ingest(&[lines.join("\n").into_bytes()]).await;
    }
    assert!(engine.installation.log.files().unwrap().iter().all(|path| path.starts_with("mixed/")));
    let exported = engine.export(PeriodType::Daily).await;

    let report = compact(&engine).await;

    assert_eq!((report.merged, report.into, report.rows), (3, 3, 21_300));
    let files = engine.installation.log.files().unwrap();
    let folders: Vec<&str> = files.iter().filter_map(|path| path.split('/').next()).collect();
    assert_eq!(folders, ["2026-03-04", "2026-03-05", "2026-03-06"]);
    assert_eq!(engine.export(PeriodType::Daily).await, exported);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean() && verified.pending.days == 0);
}
