//! A kill at any moment loses nothing and counts nothing twice.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stores::{On, on_each_store};
use super::support::{Binary, terminate};

on_each_store!(
    kills_of_ingest_first_series,
    kills_of_ingest_second_series,
    kills_of_ingest_third_series,
    kills_of_ingest_fourth_series,
    a_run_that_is_cut_short_goes_on_where_it_stopped,
);

pub const NOW: &str = "2026-04-02T00:00:00Z";
const ROUNDS: usize = 13;

/// What a data directory holds, as far as a crash must not change it.
pub fn outcome(binary: &Binary) -> (String, String, [i64; 5]) {
    let export = |period_type| binary.ok(&["--now", NOW, "export", "--period-type", period_type]);
    let status = status(binary).unwrap();
    assert_eq!(status["healthy"], true, "{status}");
    let ledger =
        ["stored", "counted", "voided", "conflicting", "rejected"].map(|name| status["ledger"][name].as_i64().unwrap());
    (export("daily"), export("monthly"), ledger)
}

/// Law 7: what is stored is what was sent.
pub fn verify(binary: &Binary) {
    let output = binary.run(&["--now", NOW, "verify"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What `status` tells; none where there is no database yet.
fn status(binary: &Binary) -> Option<Value> {
    serde_json::from_slice(&binary.run(&["--now", NOW, "status", "--json"]).stdout).ok()
}

fn binary_with_events(on: On) -> Binary {
    with_events(Binary::new(on))
}

/// Puts events into the test's directory, for [`INGEST`] to take in several commits.
pub fn with_events(binary: Binary) -> Binary {
    let binary = binary.with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "4000");
    let plan = ["--events", "30000", "--services", "20", "--users", "300", "--days", "40", "--end", "2026-03-31"];
    let lines = binary.ok(&[["generate"].as_slice(), &plan].concat());
    let (first, second) = lines.split_at(lines.len() / 2);
    let cut = first.rfind('\n').unwrap() + 1;
    fs::write(binary.path("first.ndjson"), &first[..cut]).unwrap();
    fs::write(binary.path("second.ndjson"), format!("not an event\n{}{second}", &first[cut..])).unwrap();
    binary
}

pub const INGEST: [&str; 6] = ["--quiet", "--now", NOW, "ingest", "first.ndjson", "second.ndjson"];

/// Moments of something that takes a while, in parts of 2^24 of it: any, but the same for the same seed.
pub fn parts(seed: u64) -> impl Iterator<Item = u32> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(next(&seed), next).map(|state| u32::try_from(state >> 40).unwrap())
}

/// Kills an ingest after a random part of the time that one takes, runs it again, and holds what comes out against a run
/// that nobody disturbed.
fn kill_at_random_moments(on: On, seed: u64) {
    let binary = binary_with_events(on);
    let started = Instant::now();
    binary.ok(&INGEST);
    let takes = started.elapsed();
    let undisturbed = outcome(&binary);
    for part in parts(seed).take(ROUNDS) {
        binary.reset();
        let mut child = binary.command(&INGEST).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * part / (1 << 24));
        child.kill().unwrap();
        child.wait().unwrap();
        let all_was_done = status(&binary).is_some_and(|status| status["healthy"] == true);
        let report: Value = serde_json::from_str(&binary.ok(&INGEST)).unwrap();
        let mut expected = undisturbed.clone();
        // A run that came to its end before the kill is not gone on with: its lines were all read again, also the bad one.
        if all_was_done && report["stored"] == 0 {
            expected.2[4] *= 2;
        }
        assert!(outcome(&binary) == expected, "killed after {part} / 2^24 of {takes:?}: {report}");
        verify(&binary);
    }
}

fn kills_of_ingest_first_series(on: On) {
    kill_at_random_moments(on, 1);
}

fn kills_of_ingest_second_series(on: On) {
    kill_at_random_moments(on, 2);
}

fn kills_of_ingest_third_series(on: On) {
    kill_at_random_moments(on, 3);
}

fn kills_of_ingest_fourth_series(on: On) {
    kill_at_random_moments(on, 4);
}

/// Asked politely, it stops between commits, says so, and the same command goes on.
fn a_run_that_is_cut_short_goes_on_where_it_stopped(on: On) {
    let binary = binary_with_events(on);
    binary.ok(&INGEST);
    let undisturbed = outcome(&binary);
    binary.reset();
    let mut child = binary.command(&INGEST).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let has_begun = || status(&binary).is_some_and(|status| status["segments"].as_i64().unwrap_or_default() > 0);
    while !has_begun() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {}
    // One that has come to its end and was waited for is no longer there to be asked.
    if child.try_wait().unwrap().is_none() {
        terminate(&child);
    }
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        return; // It was quicker than the signal.
    }
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("interrupted; what was committed is kept, and the same command goes on from there"),
        "{told}"
    );

    let report: Value = serde_json::from_str(&binary.ok(&INGEST)).unwrap();

    assert_eq!(outcome(&binary), undisturbed);
    verify(&binary);
    let sum = ["stored", "duplicate", "rejected"].map(|name| report[name].as_i64().unwrap()).iter().sum::<i64>();
    assert_eq!(report["lines"].as_i64(), Some(sum));
}
