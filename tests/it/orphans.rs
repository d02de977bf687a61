//! An older copy of the database beside a newer event log: it is noticed, and what the log has beyond it comes back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::backup::{damage, files};
use super::stores::{On, on_each_store, server};
use super::support::Binary;

on_each_store!(
    what_an_older_database_does_not_know_is_set_aside_and_adopted,
    inputs_that_were_read_again_meanwhile_count_once,
    inputs_are_told_apart_though_their_numbers_came_again,
    what_is_no_whole_segment_is_refused_and_named,
    segments_of_another_directory_are_adopted,
    a_newer_database_that_is_put_back_needs_nothing,
    what_an_older_database_would_remove_is_kept,
);

const NOW: &str = "2026-04-02T00:00:00Z";
const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";

/// A database that was put aside, to be put back later.
struct Saved<'a> {
    binary: &'a Binary,
    name: String,
}

impl<'a> Saved<'a> {
    fn now(binary: &'a Binary, on: On, name: &str) -> Self {
        let saved = match on {
            On::Sqlite => {
                fs::copy(binary.path("data/usage.db"), binary.path(name)).unwrap();
                name.to_owned()
            }
            On::Postgres => {
                let copy = format!("{}_{name}", binary.database());
                server().sql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {}", binary.database()));
                copy
            }
        };
        Self { binary, name: saved }
    }

    fn put_back(&self, on: On) {
        match on {
            On::Sqlite => {
                fs::copy(self.binary.path(&self.name), self.binary.path("data/usage.db")).unwrap();
            }
            On::Postgres => {
                let to = self.binary.database();
                server().sql("postgres", &format!("DROP DATABASE {to} WITH (FORCE)"));
                server().sql("postgres", &format!("CREATE DATABASE {to} TEMPLATE {}", self.name));
            }
        }
    }
}

fn at<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [["--now", NOW].as_slice(), args].concat()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn line(id: &str, time: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}","subject":"{SERVICE}","time":"{time}","data":{data}}}"#
    ) + "\n"
}

fn used(id: &str, day: &str) -> String {
    line(id, &format!("2026-03-{day}T10:00:00Z"), "feature.used", r#"{"feature":"SecureForms","quantity":3}"#)
}

/// Ingests these lines as a file of this name.
fn ingest(binary: &Binary, name: &str, lines: &[String]) -> Value {
    fs::write(binary.path(name), lines.concat()).unwrap();
    json(&binary.ok(&[["--quiet"].as_slice(), &at(&["ingest", name])].concat()))
}

fn rows(binary: &Binary) -> String {
    ["daily", "monthly"].map(|period_type| binary.ok(&at(&["export", "--period-type", period_type]))).concat()
}

fn status(binary: &Binary) -> Value {
    json(&String::from_utf8(binary.run(&at(&["status", "--json"])).stdout).unwrap())
}

fn ledger(binary: &Binary) -> [i64; 7] {
    let ledger = status(binary)["ledger"].clone();
    ["lines", "stored", "duplicate", "rejected", "counted", "voided", "conflicting"]
        .map(|name| ledger[name].as_i64().unwrap())
}

fn is_well(binary: &Binary) {
    let verified = binary.run(&at(&["verify"]));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let status = status(binary);
    assert_eq!(status["healthy"], true, "{status}");
    let [lines, stored, duplicate, rejected, counted, voided, conflicting] = ledger(binary);
    assert_eq!((lines, stored), (stored + duplicate + rejected, counted + voided + conflicting));
}

fn orphans(binary: &Binary) -> Vec<(String, PathBuf)> {
    let listed = binary.ok(&["orphans", "list", "--json"]);
    let listed = listed.lines().map(json);
    listed.map(|of| (of["kind"].as_str().unwrap().to_owned(), PathBuf::from(of["path"].as_str().unwrap()))).collect()
}

fn adopt(binary: &Binary, paths: &[&Path], code: i32) -> Value {
    let paths: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let output = binary.run(&[at(&["--quiet", "orphans", "adopt", "--json"]), paths].concat());
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    json(&String::from_utf8(output.stdout).unwrap())
}

/// Two times of which the second is lost.
fn with_lost_time(on: On) -> Binary {
    let binary = Binary::new(on);
    ingest(&binary, "early.ndjson", &[used("e1", "01"), used("e2", "02"), "not json\n".to_owned()]);
    binary
}

fn lost_time(binary: &Binary) {
    let user = r#"{"userGuid":"00000000000000000000000000000001","groupType":"Professional"}"#;
    ingest(binary, "late-1.ndjson", &[used("l1", "01"), used("l2", "03"), used("l2", "03")]);
    let void = r#"{"source":"/s","id":"e2","time":"2026-03-02T10:00:00Z"}"#;
    let more = [
        line("v1", "2026-03-04T10:00:00Z", "event.voided", void),
        line("u1", "2026-03-02T11:00:00Z", "user.registered", user),
        // In conflict with the one of the early file.
        line("e1", "2026-03-03T10:00:00Z", "feature.used", r#"{"feature":"SecureForms","quantity":9}"#),
    ];
    ingest(binary, "late-2.ndjson", &more);
}

fn what_an_older_database_does_not_know_is_set_aside_and_adopted(on: On) {
    let binary = with_lost_time(on);
    let saved = Saved::now(&binary, on, "saved");
    lost_time(&binary);
    let (before, ledger_before) = (rows(&binary), ledger(&binary));
    let lost = files(&binary.path("data/events")).len();
    saved.put_back(on);

    // Nobody has written yet.
    let told = binary.run(&at(&["status"]));
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("the database is older than its data directory") && told.contains("orphans adopt"), "{told}");
    let output = binary.run(&at(&["rollup"]));
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("ERROR") && told.contains("the database is older than its data directory"), "{told}");
    assert_ne!(rows(&binary), before);
    let found = orphans(&binary);
    assert!(!found.is_empty() && found.iter().all(|(kind, _)| kind == "lost"), "{found:?}");
    let left = status(&binary);
    assert_eq!((&left["healthy"], left["lost_segments"].as_u64()), (&Value::from(false), Some(found.len() as u64)));
    assert_eq!(files(&binary.path("data/events")).len() + found.len(), lost);
    // What is left is what the database knows.
    let verified = binary.run(&at(&["verify"]));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let adopted = adopt(&binary, &[], 0);
    let outcomes: Vec<&Value> = adopted["files"].as_array().unwrap().iter().map(|file| &file["outcome"]).collect();
    assert_eq!(outcomes, vec!["adopted"; found.len()]);
    assert_eq!(rows(&binary), before);
    is_well(&binary);
    assert_eq!(ledger(&binary), ledger_before);
    assert_eq!(orphans(&binary), []);

    // Nothing is adopted twice, and nothing was deleted.
    assert_eq!(adopt(&binary, &[], 0)["files"], Value::Array(Vec::new()));
    let kept: Vec<PathBuf> =
        files(&binary.path("data/orphans")).into_iter().map(|path| binary.path("data/orphans").join(path)).collect();
    assert_eq!(kept.len(), found.len());
    for path in &kept {
        assert_eq!(adopt(&binary, &[path], 0)["files"][0]["outcome"], "already-adopted");
    }
    assert_eq!((rows(&binary), ledger(&binary)), (before.clone(), ledger_before));

    // The same happens again.
    saved.put_back(on);
    binary.ok(&at(&["orphans", "adopt"]));
    assert_eq!(rows(&binary), before);
    is_well(&binary);
}

fn inputs_that_were_read_again_meanwhile_count_once(on: On) {
    let binary = with_lost_time(on);
    let saved = Saved::now(&binary, on, "saved");
    lost_time(&binary);
    let (before, ledger_before) = (rows(&binary), ledger(&binary));
    saved.put_back(on);
    binary.ok(&at(&["ingest", "late-2.ndjson", "late-1.ndjson"]));
    assert_eq!((rows(&binary), ledger(&binary)), (before.clone(), ledger_before));
    adopt(&binary, &[], 0);
    assert_eq!(rows(&binary), before);
    is_well(&binary);
    let after = ledger(&binary);
    assert_eq!(after[1], ledger_before[1], "what is stored is stored once");
    assert_eq!(after[2], ledger_before[2] + 6, "each line of the lost time is there twice");
}

/// What `explain` tells of where events stood.
fn places(binary: &Binary, day: &str) -> Vec<String> {
    let period = format!("2026-03-{day}");
    let args = [
        "explain",
        "--service",
        SERVICE,
        "--period",
        &period,
        "--field",
        "feature_usage_secure_forms",
        "--format",
        "json",
    ];
    let answer = json(&binary.ok(&at(&args)));
    let mut places = Vec::new();
    collect_inputs(&answer, &mut places);
    places.sort();
    places.dedup();
    places
}

fn collect_inputs(value: &Value, places: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let (Some(name), Some(line)) = (members.get("input"), members.get("line")) {
                places.push(format!("{}:{line}", name.as_str().unwrap()));
            }
            members.values().for_each(|value| collect_inputs(value, places));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_inputs(value, places)),
        _ => {}
    }
}

fn inputs_are_told_apart_though_their_numbers_came_again(on: On) {
    let binary = with_lost_time(on);
    let saved = Saved::now(&binary, on, "saved");
    lost_time(&binary);
    saved.put_back(on);
    // It gets the number that late-1.ndjson had.
    ingest(&binary, "other.ndjson", &[used("o1", "03"), used("o1", "03"), used("o2", "03")]);
    adopt(&binary, &[], 0);
    is_well(&binary);
    let told = places(&binary, "03");
    for line in 1..=3 {
        assert!(told.iter().any(|place| place.ends_with(&format!("/other.ndjson:{line}"))), "{told:?}");
    }
    let adopted: Vec<&String> = told.iter().filter(|place| place.contains(".parquet#2:")).collect();
    assert_eq!(adopted.len(), 2, "late-1.ndjson, lines 2 and 3: {told:?}");
    let inputs = "SELECT name || ' ' || kind || ' ' || lines || ' ' || accepted || ' ' || duplicate FROM inputs WHERE id > 1 ORDER BY id";
    let inputs = binary.sql(inputs);
    assert!(inputs[0].ends_with("/other.ndjson file 3 3 1"), "{inputs:?}");
    assert!(inputs[1].ends_with(".parquet#2 adopted 3 3 1"), "{inputs:?}");
    assert!(inputs[2].ends_with(".parquet#3 adopted 3 3 0"), "{inputs:?}");
}

fn what_is_no_whole_segment_is_refused_and_named(on: On) {
    let binary = with_lost_time(on);
    let saved = Saved::now(&binary, on, "saved");
    lost_time(&binary);
    let before = rows(&binary);
    saved.put_back(on);
    binary.ok(&at(&["--quiet", "rollup"]));
    let found: Vec<PathBuf> = orphans(&binary).into_iter().map(|(_, path)| path).collect();
    assert_eq!(found.len(), 2);
    let whole = fs::read(binary.path(found[0].to_str().unwrap())).unwrap();
    damage(&binary.path(found[0].to_str().unwrap()));
    let foreign = [
        ("text.parquet", b"no segment".to_vec()),
        ("cut.parquet", whole[..whole.len() - 9].to_vec()),
        ("empty.parquet", Vec::new()),
    ];
    for (name, content) in &foreign {
        fs::write(binary.path(name), content).unwrap();
    }
    binary.ok(&at(&["export", "--period-type", "daily", "--format", "parquet", "--output", "rows.parquet"]));
    let live = PathBuf::from("data/events").join(files(&binary.path("data/events")).pop_first().unwrap());
    let others = ["text.parquet", "cut.parquet", "empty.parquet", "rows.parquet", "none.parquet"].map(PathBuf::from);
    let paths: Vec<&Path> = others.iter().chain([&live]).chain(&found).map(PathBuf::as_path).collect();

    let adopted = adopt(&binary, &paths, 1);

    let reasons: Vec<(&str, &str, &str)> = adopted["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let text = |name: &str| file[name].as_str().unwrap_or_default();
            (text("path"), text("outcome"), text("reason"))
        })
        .collect();
    for ((_, outcome, reason), expected) in reasons.iter().zip([
        "no segment of an event log: it is no Parquet file",
        "it is damaged",
        "no segment of an event log: it is no Parquet file",
        "no segment of an event log: its footer has no hashes of pages",
        "cannot open it",
        "it is the segment",
        "it is damaged",
    ]) {
        assert_eq!(*outcome, "refused", "{reasons:?}");
        assert!(reason.contains(expected), "{expected}: {reasons:?}");
    }
    assert_eq!(reasons[7].1, "adopted", "{reasons:?}");
    assert_ne!(rows(&binary), before);
    assert_eq!(orphans(&binary), [("lost".to_owned(), found[0].clone())]);
    assert_eq!(status(&binary)["healthy"], false);

    fs::write(binary.path(found[0].to_str().unwrap()), whole).unwrap();
    adopt(&binary, &[], 0);
    assert_eq!(rows(&binary), before);
    is_well(&binary);
}

fn segments_of_another_directory_are_adopted(on: On) {
    let binary = with_lost_time(on);
    let saved = binary.path("saved");
    binary.ok(&at(&["--quiet", "backup", "--to", saved.to_str().unwrap()]));
    lost_time(&binary);
    let restored = Binary::new(on);
    restored.ok(&at(&["--quiet", "restore", "--from", saved.to_str().unwrap()]));
    let all = files(&binary.path("data/events"));
    let known = files(&saved.join("events"));
    let new: Vec<PathBuf> = all.difference(&known).map(|path| binary.path("data/events").join(path)).collect();
    adopt(&restored, &new.iter().map(PathBuf::as_path).collect::<Vec<&Path>>(), 0);
    assert_eq!(rows(&restored), rows(&binary));
    assert_eq!(ledger(&restored), ledger(&binary));
    is_well(&restored);
    is_well(&binary);
    assert_eq!(files(&binary.path("data/events")), all, "they stay where they are");
}

fn a_newer_database_that_is_put_back_needs_nothing(on: On) {
    let binary = with_lost_time(on);
    let old = Saved::now(&binary, on, "old");
    lost_time(&binary);
    let (newest, before) = (Saved::now(&binary, on, "newest"), rows(&binary));
    old.put_back(on);
    assert_eq!(status(&binary)["healthy"], false);
    newest.put_back(on);
    is_well(&binary);
    binary.ok(&at(&["rollup"]));
    assert_eq!((rows(&binary), orphans(&binary)), (before, Vec::new()));
    is_well(&binary);
}

/// Whoever merges segments notes the new one as a file to be removed before it takes the place of others. A database of that
/// moment knows nothing of what came then.
fn what_an_older_database_would_remove_is_kept(on: On) {
    let binary = with_lost_time(on);
    let saved = Saved::now(&binary, on, "saved");
    let known = files(&binary.path("data/events"));
    lost_time(&binary);
    let before = rows(&binary);
    saved.put_back(on);
    for path in files(&binary.path("data/events")).difference(&known) {
        let id = path.file_stem().unwrap().to_str().unwrap();
        let id = if on == On::Sqlite { format!("x'{id}'") } else { format!("'{id}'::uuid") };
        binary.sql(&format!("INSERT INTO discarded_segments (segment_id, path) VALUES ({id}, '{}')", path.display()));
    }
    binary.ok(&at(&["--quiet", "rollup"]));
    assert_eq!(orphans(&binary).len(), 2);
    adopt(&binary, &[], 0);
    assert_eq!(rows(&binary), before);
    is_well(&binary);
}
