//! A kill at any moment leaves the backup before or the new one, and a restore goes on.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use super::backup::{backup, beside, restore};
use super::crash::{INGEST, NOW, outcome, parts, verify, with_events};
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(
    a_backup_that_is_killed_is_the_one_before_or_the_new_one,
    a_restore_that_is_killed_goes_on_and_nothing_else_is_done_meanwhile,
);

const ROUNDS: usize = 8;

fn a_backup_that_is_killed_is_the_one_before_or_the_new_one(on: On) {
    let binary = with_events(Binary::new(on));
    binary.ok(&["--quiet", "--now", NOW, "ingest", "first.ndjson"]);
    let before = outcome(&binary);
    backup(&binary, &binary.path("before"));
    binary.ok(&INGEST);
    let after = outcome(&binary);
    let copy = |number: usize| {
        let dir = binary.path(&format!("saved-{number}"));
        let copied = std::process::Command::new("cp").arg("-a").arg(binary.path("before")).arg(&dir).status().unwrap();
        assert!(copied.success());
        dir
    };
    let started = Instant::now();
    backup(&binary, &copy(ROUNDS));
    let takes = started.elapsed();
    let mut told = [0, 0];
    for (number, part) in parts(21).take(ROUNDS).enumerate() {
        let dir = copy(number);
        let args = ["--quiet", "--now", NOW, "backup", "--to", dir.to_str().unwrap()];
        let mut child = binary.command(&args).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * part / (1 << 24));
        child.kill().unwrap();
        child.wait().unwrap();
        let restored = Binary::new(on);
        restore(&restored, &dir);
        verify(&restored);
        let found = outcome(&restored);
        assert!(found == before || found == after, "killed after {part} / 2^24 of {takes:?}");
        told[usize::from(found == after)] += 1;
        // The next one ends what this has begun.
        backup(&binary, &dir);
        let restored = Binary::new(on);
        restore(&restored, &dir);
        assert_eq!(outcome(&restored), after);
        fs::remove_dir_all(dir).unwrap();
    }
    println!("{} times the one before, {} times the new one", told[0], told[1]);
}

fn a_restore_that_is_killed_goes_on_and_nothing_else_is_done_meanwhile(on: On) {
    let binary = with_events(Binary::new(on));
    binary.ok(&INGEST);
    let undisturbed = outcome(&binary);
    let saved = binary.path("saved");
    backup(&binary, &saved);
    let restored = beside(on, &binary);
    let started = Instant::now();
    restore(&restored, &saved);
    let takes = started.elapsed();
    let mut cut_short = 0;
    for part in parts(22).take(ROUNDS) {
        restored.reset();
        let args = ["--quiet", "--now", NOW, "restore", "--from", saved.to_str().unwrap()];
        let mut child = restored.command(&args).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * part / (1 << 24));
        child.kill().unwrap();
        child.wait().unwrap();
        if restored.path("data/restoring").exists() {
            cut_short += 1;
            for args in [["rollup"].as_slice(), &["backup", "--to", "other"], &["status"]] {
                let told = restored.fails(1, args);
                let is_refused = told.contains("run the same `usage-rollup restore` again");
                // There may be no database yet.
                assert!(
                    is_refused || told.contains("there is no database at") || told.contains("of the schema"),
                    "{args:?}: {told}"
                );
            }
        }
        if restored.path("data/restoring").exists() || !restored.path("data/installation").exists() {
            restore(&restored, &saved);
        }
        assert_eq!(outcome(&restored), undisturbed);
        verify(&restored);
    }
    assert!(cut_short > 0, "no kill came while it restored");
    println!("{cut_short} of {ROUNDS} were cut short");
}
