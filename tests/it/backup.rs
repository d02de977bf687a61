//! Backups that are made while others write, and what is restored from them (`docs/backup.md`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::crash::{INGEST, NOW, outcome, verify, with_events};
use super::stores::{On, on_each_store, server};
use super::support::Binary;

on_each_store!(
    a_backup_is_restored_into_either_store_and_both_go_on,
    backups_are_made_while_events_are_ingested,
    a_daemon_goes_on_while_a_backup_is_made,
    segments_that_are_merged_while_they_are_copied_do_not_matter,
    a_backup_copies_what_is_new_and_drops_what_is_gone,
    a_damaged_backup_is_refused,
    a_damaged_segment_is_not_backed_up,
    nothing_is_overwritten,
);

/// Whoever backs up needs to read, and nothing else.
#[test]
fn a_role_that_may_only_read_makes_a_backup() {
    let binary = with_events(Binary::new(On::Postgres));
    binary.ok(&INGEST);
    let database = binary.database();
    let role = format!("{database}_backup");
    server().sql(
        database,
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'read'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"),
    );
    let url = format!("postgres://{role}:read@localhost:{}/{database}", server().port);
    let saved = binary.path("saved");
    let args = ["--quiet", "--now", NOW, "backup", "--to", saved.to_str().unwrap()];
    let output = binary.command(&args).env("USAGE_ROLLUP__STORE__URL", url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let restored = Binary::new(On::Sqlite);
    restore(&restored, &saved);
    assert_eq!(outcome(&restored), outcome(&binary));
    server().sql(database, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

const OTHER: [On; 2] = [On::Sqlite, On::Postgres];

pub fn backup(binary: &Binary, to: &Path) -> Value {
    let to = to.to_str().unwrap();
    serde_json::from_str(&binary.ok(&["--quiet", "--now", NOW, "backup", "--json", "--to", to])).unwrap()
}

pub fn restore(binary: &Binary, from: &Path) -> Value {
    let from = from.to_str().unwrap();
    serde_json::from_str(&binary.ok(&["--quiet", "--now", NOW, "restore", "--json", "--from", from])).unwrap()
}

/// An installation with nothing in it, but for the files that others ingest.
pub fn beside(on: On, other: &Binary) -> Binary {
    let binary = Binary::new(on).with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "4000");
    for name in ["first.ndjson", "second.ndjson"] {
        // As they were written, so that what was cut short goes on.
        let status = std::process::Command::new("cp").arg("-p").arg(other.path(name)).arg(binary.path(name)).status();
        assert!(status.unwrap().success());
    }
    binary
}

/// Everything below a directory, by its path there.
pub fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("backup.json")).unwrap()).unwrap()
}

/// Flips a bit in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn a_segment(dir: &Path) -> PathBuf {
    let of_log = files(dir).into_iter().find(|path| path.starts_with("events")).unwrap();
    dir.join(of_log)
}

fn a_backup_is_restored_into_either_store_and_both_go_on(on: On) {
    let original = with_events(Binary::new(on));
    original.ok(&["--quiet", "--now", NOW, "ingest", "first.ndjson"]);
    original.ok(&["keys", "create", "--role", "SuperUser", "--name", "kept"]);
    original.ok(&["--quiet", "--now", "2026-04-02T03:00:00Z", "periods", "lock", "2026-02"]);
    let at_backup = outcome(&original);
    let backed_up = backup(&original, &original.path("saved"));
    assert_eq!(backed_up["segments"].as_u64(), Some(files(&original.path("data/events")).len() as u64));
    original.ok(&INGEST);
    let later = outcome(&original);
    for on in OTHER {
        let restored = beside(on, &original);
        restore(&restored, &original.path("saved"));
        assert_eq!(outcome(&restored), at_backup);
        verify(&restored);
        for of_store in [["keys", "list"], ["periods", "list"]] {
            assert!(restored.ok(&of_store).contains(if of_store[0] == "keys" { "kept" } else { "2026-02" }));
        }
        let saved = original.path("saved");
        restored.ok(&INGEST);
        assert_eq!(outcome(&restored), later);
        verify(&restored);
        // It has a name of its own, and so backups of its own.
        let refused = restored.fails(1, &["backup", "--to", saved.to_str().unwrap()]);
        assert!(refused.contains("the backup of another installation"), "{refused}");
        backup(&restored, &restored.path("own"));
    }
    // The original goes on, too, and knows nothing of it.
    verify(&original);
    backup(&original, &original.path("saved"));
}

/// What a backup holds is a moment of the run, from which the same command goes on.
fn backups_are_made_while_events_are_ingested(on: On) {
    let binary = with_events(Binary::new(on));
    binary.ok(&INGEST);
    let undisturbed = outcome(&binary);
    binary.reset();
    binary.ok(&["rollup"]);
    let mut ingest = binary.command(&INGEST).stdout(Stdio::null()).spawn().unwrap();
    let mut backups = Vec::new();
    while ingest.try_wait().unwrap().is_none() || backups.is_empty() {
        let dir = binary.path(&format!("saved-{}", backups.len()));
        let backed_up = backup(&binary, &dir);
        backups.push((dir, backed_up["segments"].as_u64().unwrap()));
    }
    assert!(ingest.wait().unwrap().success());
    assert_eq!(outcome(&binary), undisturbed);
    let (mut restored, mut segments) = (0, BTreeSet::new());
    for (dir, of_backup) in backups {
        // One for each state of the log is enough.
        if segments.insert(of_backup) {
            let copy = beside(on, &binary);
            restore(&copy, &dir);
            copy.ok(&["--quiet", "--now", NOW, "rollup"]);
            verify(&copy);
            copy.ok(&INGEST);
            let ours = outcome(&copy);
            assert_eq!((&ours.0, &ours.1, &ours.2[..4]), (&undisturbed.0, &undisturbed.1, &undisturbed.2[..4]));
            verify(&copy);
            restored += 1;
        }
    }
    println!("{restored} backups of different states");
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn a_daemon_goes_on_while_a_backup_is_made(on: On) {
    let binary = with_events(Binary::new(on)).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let inbox = binary.path("data/inbox");
    fs::create_dir_all(&inbox).unwrap();
    let daemon = binary.command(&["--quiet", "--now", NOW, "run"]).spawn().unwrap();
    let mut daemon = Daemon(daemon);
    fs::rename(binary.path("first.ndjson"), inbox.join("first.ndjson")).unwrap();
    let done = inbox.join("done/first.ndjson");
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let mut backups = 0;
    while !done.exists() {
        assert!(daemon.0.try_wait().unwrap().is_none() && std::time::Instant::now() < deadline);
        let tried = binary.run(&["--quiet", "--now", NOW, "backup", "--to", binary.path("saved").to_str().unwrap()]);
        backups += u32::from(tried.status.success());
    }
    backup(&binary, &binary.path("saved"));
    println!("{backups} backups beside the daemon");
    let restored = Binary::new(on);
    restore(&restored, &binary.path("saved"));
    restored.ok(&["--quiet", "--now", NOW, "rollup"]);
    verify(&restored);
}

fn segments_that_are_merged_while_they_are_copied_do_not_matter(on: On) {
    let binary = with_events(Binary::new(on));
    let lines = fs::read_to_string(binary.path("first.ndjson")).unwrap();
    for part in lines.lines().take(6_000).collect::<Vec<&str>>().chunks(200) {
        fs::write(binary.path("part.ndjson"), part.join("\n")).unwrap();
        binary.ok(&["--quiet", "--now", NOW, "ingest", "part.ndjson"]);
    }
    let undisturbed = outcome(&binary);
    let before = files(&binary.path("data/events")).len();
    let mut backups = Vec::new();
    let mut merging = binary.command(&["--quiet", "--now", NOW, "compact"]).stdout(Stdio::null()).spawn().unwrap();
    loop {
        let is_last = merging.try_wait().unwrap().is_some();
        let dir = binary.path(&format!("saved-{}", backups.len()));
        backup(&binary, &dir);
        backups.push(dir);
        if is_last {
            break;
        }
    }
    assert!(files(&binary.path("data/events")).len() < before, "nothing was merged");
    for dir in &backups {
        let restored = Binary::new(on);
        restore(&restored, dir);
        assert_eq!(outcome(&restored), undisturbed);
        verify(&restored);
    }
    println!("{} backups", backups.len());
}

fn a_backup_copies_what_is_new_and_drops_what_is_gone(on: On) {
    let binary = with_events(Binary::new(on));
    let saved = binary.path("saved");
    binary.ok(&["--quiet", "--now", NOW, "ingest", "first.ndjson"]);
    let first = backup(&binary, &saved);
    assert_eq!(first["copiedSegments"], first["segments"]);
    let again = backup(&binary, &saved);
    assert_eq!((&again["copiedSegments"], &again["segments"]), (&Value::from(0), &first["segments"]));
    binary.ok(&["--quiet", "--now", NOW, "ingest", "second.ndjson"]);
    let more = backup(&binary, &saved);
    let count = |of: &Value, what: &str| of[what].as_u64().unwrap();
    assert_eq!(count(&more, "copiedSegments"), count(&more, "segments") - count(&first, "segments"));
    assert!(count(&more, "copiedBytes") < count(&more, "segmentBytes"));
    // What an earlier backup left, or one that was killed, is not there for ever.
    fs::write(saved.join("events/mixed/gone.parquet"), "gone")
        .or_else(|_| {
            fs::create_dir_all(saved.join("events/mixed"))?;
            fs::write(saved.join("events/mixed/gone.parquet"), "gone")
        })
        .unwrap();
    fs::write(saved.join("store-0.db"), "gone").unwrap();
    fs::write(saved.join("tmp/half.parquet"), "half").unwrap();
    backup(&binary, &saved);
    let manifest = manifest(&saved);
    let segments = manifest["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| format!("events/{}", segment["path"].as_str().unwrap()));
    let database = manifest["database"]["path"].as_str().unwrap().to_owned();
    let named: BTreeSet<PathBuf> =
        segments.chain([database, "backup.json".to_owned(), "backup.lock".to_owned()]).map(PathBuf::from).collect();
    assert_eq!(files(&saved), named);
}

fn a_damaged_backup_is_refused(on: On) {
    let binary = with_events(Binary::new(on));
    binary.ok(&INGEST);
    let saved = binary.path("saved");
    backup(&binary, &saved);
    let restored = Binary::new(on);
    let refused = |why: &str| {
        let told = restored.fails(1, &["--quiet", "--now", NOW, "restore", "--from", saved.to_str().unwrap()]);
        assert!(told.contains(why), "{told}");
        assert!(!restored.path("data").exists(), "nothing is begun");
    };
    let segment = a_segment(&saved);
    let whole = fs::read(&segment).unwrap();
    damage(&segment);
    refused("has not the hash that backup.json says");
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    refused(&format!("has {} bytes instead of {}", whole.len() - 1, whole.len()));
    fs::remove_file(&segment).unwrap();
    refused("cannot open");
    fs::write(&segment, whole).unwrap();
    let database = saved.join(manifest(&saved)["database"]["path"].as_str().unwrap());
    let whole = fs::read(&database).unwrap();
    damage(&database);
    refused("the backup in");
    fs::write(&database, whole).unwrap();
    let text = fs::read_to_string(saved.join("backup.json")).unwrap();
    fs::write(saved.join("backup.json"), &text[..text.len() / 2]).unwrap();
    refused("backup.json can't be understood");
    fs::write(saved.join("backup.json"), text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    refused("which is newer");
    fs::remove_file(saved.join("backup.json")).unwrap();
    refused("there is no finished backup in");
    fs::write(saved.join("backup.json"), text).unwrap();
    restore(&restored, &saved);
    verify(&restored);
}

fn a_damaged_segment_is_not_backed_up(on: On) {
    let binary = with_events(Binary::new(on));
    binary.ok(&["--quiet", "--now", NOW, "ingest", "first.ndjson"]);
    let (saved, other) = (binary.path("saved"), binary.path("other"));
    backup(&binary, &saved);
    let before = (files(&saved), fs::read(saved.join("backup.json")).unwrap());
    binary.ok(&["--quiet", "--now", NOW, "ingest", "second.ndjson"]);
    let segment = a_segment(&binary.path("data"));
    let whole = fs::read(&segment).unwrap();
    damage(&segment);
    let backup_to = |dir: &Path| binary.fails(1, &["--quiet", "--now", NOW, "backup", "--to", dir.to_str().unwrap()]);
    let told = backup_to(&other);
    assert!(told.contains("is damaged") && told.contains("restore that file from an earlier backup"), "{told}");
    fs::remove_file(&segment).unwrap();
    let told = backup_to(&other);
    assert!(told.contains("is not there, though the database names it"), "{told}");
    assert!(!other.join("backup.json").exists());
    assert_eq!((files(&saved), fs::read(saved.join("backup.json")).unwrap()), before);
    // The backup has the file, and does not read it again.
    backup(&binary, &saved);
    let restored = Binary::new(on);
    restore(&restored, &saved);
    verify(&restored);
    fs::write(&segment, whole).unwrap();
    backup(&binary, &other);
}

fn nothing_is_overwritten(on: On) {
    let binary = with_events(Binary::new(on));
    let saved = binary.path("saved");
    let to = |dir: &Path| ["--quiet", "--now", NOW, "backup", "--to", dir.to_str().unwrap()].map(str::to_owned);
    let from = |dir: &Path| ["--quiet", "--now", NOW, "restore", "--from", dir.to_str().unwrap()].map(str::to_owned);
    let fails = |of: &Binary, args: [String; 6]| of.fails(1, &args.each_ref().map(String::as_str));
    binary.ok(&["--quiet", "--now", NOW, "ingest", "first.ndjson"]);
    let told = fails(&binary, to(&binary.path("data")));
    assert!(told.contains("something that is no part of a backup"), "{told}");
    backup(&binary, &saved);
    fs::write(saved.join("notes.txt"), "mine").unwrap();
    let told = fails(&binary, to(&saved));
    assert!(told.contains("no part of a backup, notes.txt"), "{told}");
    fs::remove_file(saved.join("notes.txt")).unwrap();

    let told = fails(&binary, from(&saved));
    assert!(told.contains("the data directory data is not empty"), "{told}");
    if on == On::Postgres {
        let args = [["--data-dir", "other"].map(str::to_owned).as_slice(), &from(&saved)].concat();
        let told = binary.fails(1, &args.iter().map(String::as_str).collect::<Vec<&str>>());
        assert!(told.contains("the store to copy to is not empty"), "{told}");
        assert!(!binary.path("other").exists());
    }
    let restored = Binary::new(on);
    fs::create_dir_all(restored.path("data")).unwrap();
    fs::write(restored.path("data/notes.txt"), "mine").unwrap();
    let told = fails(&restored, from(&saved));
    assert!(told.contains("is not empty, it holds notes.txt"), "{told}");
    fs::remove_file(restored.path("data/notes.txt")).unwrap();

    let lock = fs::File::open(saved.join("backup.lock")).unwrap();
    lock.lock().unwrap();
    for told in [fails(&binary, to(&saved)), fails(&restored, from(&saved))] {
        assert!(told.contains("another process makes or restores a backup in"), "{told}");
    }
    drop(lock);
    restore(&restored, &saved);
    // A directory of one goes with no store of the other.
    if on == On::Postgres {
        fs::rename(restored.path("data"), restored.path("own")).unwrap();
        fs::rename(binary.path("data"), restored.path("data")).unwrap();
        let told = restored.fails(1, &["--now", NOW, "rollup"]);
        assert!(told.contains("are not of the same installation"), "{told}");
    }
}
