//! Two writers at once, of which one was frozen for so long that the other took over: nothing is stored twice.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::crash::{INGEST, outcome, parts, verify, with_events};
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(a_writer_that_was_frozen_past_its_lease_writes_nothing);

/// How long the second writer is given before the first one goes on: that may hold a lock of the database's own.
const ALONE: Duration = Duration::from_secs(2);

fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().unwrap();
    assert!(status.success());
}

fn start(binary: &Binary) -> Child {
    binary.command(&INGEST).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Of a process that has ended: whether it succeeded, and what it said.
fn ended(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// The file of the lock is taken away from the one that is frozen, as where the second writer is on another machine. `FREEZES=500
/// cargo test frozen` does it more often.
fn a_writer_that_was_frozen_past_its_lease_writes_nothing(on: On) {
    let rounds: usize = std::env::var("FREEZES").map_or(25, |rounds| rounds.parse().unwrap());
    let binary = with_events(Binary::new(on));
    let began = Instant::now();
    binary.ok(&INGEST);
    let takes = began.elapsed();
    let undisturbed = outcome(&binary);
    let mut fenced = 0;
    for part in parts(9).take(rounds) {
        binary.reset();
        let first = start(&binary);
        std::thread::sleep(takes * part / (1 << 24));
        signal(&first, "STOP");
        _ = fs::remove_file(binary.path("data/writer.lock"));
        let mut second = start(&binary);
        let deadline = Instant::now() + ALONE;
        while second.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&first, "CONT");
        let ended = [ended(first), ended(second)];
        for (succeeded, said) in &ended {
            let is_fenced = said.contains("another writer has taken the lease");
            fenced += usize::from(is_fenced);
            // Two that make a new installation at once, or wait for the same lock of the database, may hinder each other; and
            // what one has not finished, the other removes.
            let told = ["database", "lease", "segment", "rename into place"];
            let is_told = is_fenced || told.iter().any(|told| said.contains(told));
            assert!(*succeeded || is_told, "frozen after {part} / 2^24 of {takes:?}: {said}");
        }
        binary.ok(&INGEST);
        verify(&binary);
        let (daily, monthly, ledger) = outcome(&binary);
        assert!(daily == undisturbed.0 && monthly == undisturbed.1, "frozen after {part} / 2^24 of {takes:?}");
        // What both have read is counted once; the bad line may have been read again.
        assert_eq!(ledger[1..4], undisturbed.2[1..4], "frozen after {part} / 2^24 of {takes:?}: {ended:?}");
    }
    assert!(fenced > 0, "no writer was fenced off in {rounds} rounds");
}
