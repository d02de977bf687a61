//! A run that is killed, fails or is held up at any named point loses nothing and counts nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use usage_rollup::failpoint::Point;

use super::crash::{outcome, verify};
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(killed_at_each_point, failing_at_each_point, held_up_at_each_point);

/// All that is sent first arrives then, and what it comes to is closed a day later, when the rest is done.
const ARRIVES: &str = "2026-04-02T12:00:00Z";
const LATER: &str = "2026-04-03T12:00:00Z";
const SIGKILL: i32 = 9;

/// What is done one after the other: each step is done once in peace, and once for each point that it reaches.
const STEPS: [(&str, &[&str]); 9] = [
    (ARRIVES, &["ingest", "one.ndjson", "two.ndjson", "three.ndjson"]),
    (ARRIVES, &["ingest"]),
    (ARRIVES, &["compact"]),
    (LATER, &["periods", "lock", "2026-03"]),
    (LATER, &["retention"]),
    (LATER, &["ingest", "late.ndjson"]),
    (LATER, &["backfill", "--from", "2026-03-01", "--to", "2026-03-31"]),
    (LATER, &["periods", "unlock", "2026-03"]),
    (LATER, &["rollup"]),
];

/// A step that is to be done, with all that was done before, and what it comes to.
struct Step {
    before: Binary,
    command: Vec<&'static str>,
    /// How often each point is reached.
    reached: BTreeMap<&'static str, usize>,
    exports: (String, String),
    ledger: [i64; 5],
}

fn steps(on: On) -> Vec<Step> {
    let binary = Binary::new(on)
        .with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "1000")
        .with("USAGE_ROLLUP__EVENT_LOG__COMPACT_AT", "2")
        .with("USAGE_ROLLUP__EVENT_LOG__RETENTION", "1days");
    let plan = ["--events", "6000", "--services", "6", "--users", "60", "--days", "40", "--end", "2026-03-31"];
    let lines = binary.ok(&[["generate"].as_slice(), &plan].concat());
    let lines: Vec<&str> = lines.lines().collect();
    let every = |part: usize| lines.iter().skip(part).step_by(5).copied().collect::<Vec<_>>().join("\n") + "\n";
    // Each file is a commit.
    fs::write(binary.path("one.ndjson"), format!("not an event\n{}", every(0))).unwrap();
    fs::write(binary.path("two.ndjson"), every(2)).unwrap();
    fs::write(binary.path("three.ndjson"), every(3)).unwrap();
    fs::write(binary.path("late.ndjson"), every(4)).unwrap();
    fs::create_dir_all(binary.path("data/inbox")).unwrap();
    fs::write(binary.path("data/inbox/.second"), every(1)).unwrap();
    fs::rename(binary.path("data/inbox/.second"), binary.path("data/inbox/second.ndjson")).unwrap();
    let mut steps = Vec::new();
    for (now, step) in STEPS {
        let command = [["--quiet", "--now", now].as_slice(), step].concat();
        let before = binary.copied();
        let output = binary.command(&command).env("USAGE_ROLLUP_FAILPOINTS_REACHED", binary.path("reached")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{step:?}: {}", String::from_utf8_lossy(&output.stderr));
        let told = fs::read_to_string(binary.path("reached")).unwrap();
        fs::remove_file(binary.path("reached")).unwrap();
        let times = |point: &Point| (point.name(), told.lines().filter(|line| *line == point.name()).count());
        let reached = Point::ALL.iter().map(times).filter(|(_, times)| *times > 0).collect();
        let (daily, monthly, ledger) = outcome(&binary);
        verify(&binary);
        steps.push(Step { before, command, reached, exports: (daily, monthly), ledger });
    }
    steps
}

/// Does each step once more for each point, `act` being done there: the first and the last time that the point is reached, or
/// once only. Then the step is done again, and must come to the same.
fn at_each_point(on: On, act: &str, once: bool) {
    let steps = steps(on);
    let never: Vec<&str> = Point::ALL
        .iter()
        .map(|point| point.name())
        .filter(|point| !point.starts_with(super::spool::POINTS))
        .filter(|point| steps.iter().all(|step| !step.reached.contains_key(point)))
        .collect();
    assert_eq!(never, [""; 0], "no step reaches these points");
    let mut tries: Vec<(&Step, &str, usize)> = Vec::new();
    for point in Point::ALL.iter().map(|point| point.name()) {
        let reaching = steps.iter().filter_map(|step| Some((step, *step.reached.get(point)?)));
        for (step, times) in reaching.take(if once { 1 } else { steps.len() }) {
            let times = if once { BTreeSet::from([times]) } else { BTreeSet::from([1, times]) };
            tries.extend(times.into_iter().map(|time| (step, point, time)));
        }
    }
    // Those that are held up wait for nothing but the clock.
    let rest = Mutex::new(tries.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..if act == "stall" { 8 } else { 2 } {
            scope.spawn(|| {
                loop {
                    let next = rest.lock().unwrap().next();
                    let Some((step, point, time)) = next else { return };
                    try_at(step, point, time, act);
                }
            });
        }
    });
}

fn try_at(step: &Step, point: &str, time: usize, act: &str) {
    let told = format!("{:?} at {point}, time {time}: {act}", step.command);
    let binary = step.before.copied();
    let began = Instant::now();
    let plan = format!("{point}#{time}={act}");
    let output = binary.command(&step.command).env("USAGE_ROLLUP_FAILPOINT", plan).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match act {
        "kill" => assert_eq!(output.status.signal(), Some(SIGKILL), "{told}: {said}"),
        "stall" => {
            assert!(output.status.success(), "{told}: {said}");
            assert!(began.elapsed() >= Duration::from_secs(2), "{told}");
        }
        // What is done can't be put away, say: that is told, and is no reason to fail.
        _ if output.status.success() => assert!(said.contains("a test had it fail"), "{told}: {said}"),
        _ => {
            assert_eq!(output.status.code(), Some(1), "{told}: {said}");
            assert!(said.contains("a test had it fail"), "{told}: {said}");
        }
    }
    if act != "stall" {
        let again = binary.run(&step.command);
        assert!(again.status.success(), "{told}, and again: {}", String::from_utf8_lossy(&again.stderr));
    }
    verify(&binary);
    let (daily, monthly, ledger) = outcome(&binary);
    assert!(daily == step.exports.0, "{told}: daily rows differ");
    assert!(monthly == step.exports.1, "{told}: monthly rows differ");
    // Where all was done already, the lines were read again: copies, and the bad one.
    assert_eq!(ledger[1..4], step.ledger[1..4], "{told}");
}

fn killed_at_each_point(on: On) {
    at_each_point(on, "kill", on == On::Postgres);
}

fn failing_at_each_point(on: On) {
    at_each_point(on, "fail", on == On::Postgres);
}

fn held_up_at_each_point(on: On) {
    at_each_point(on, "stall", true);
}
