//! A server that crashes again and again, and one that ends a job's statement.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::crash::{INGEST, NOW, outcome, parts, verify, with_events};
use super::daemon::eventually;
use super::stores::{Database, Durable, On, Server, server};
use super::support::Binary;

const ROLLUP: [&str; 4] = ["--quiet", "--now", NOW, "rollup"];

/// The files of the event log, by their paths in the catalog.
fn segments_on_disk(events: &Path) -> BTreeSet<String> {
    let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let files = entries(events).into_iter().flat_map(|folder| entries(&folder));
    files.map(|file| file.strip_prefix(events).unwrap().display().to_string()).collect()
}

/// `RESTARTS=50 cargo test restarts` makes more of them.
#[test]
fn a_server_that_crashes_again_and_again_loses_nothing_and_counts_nothing_twice() {
    let wanted: u32 = std::env::var("RESTARTS").map_or(6, |restarts| restarts.parse().unwrap());
    let server = Server::start(Durable::No);
    server.sql("postgres", "CREATE DATABASE usage");
    let binary = with_events(Binary::at(&server.url("usage")));
    let started = Instant::now();
    binary.ok(&INGEST);
    let takes = started.elapsed();
    let undisturbed = outcome(&binary);

    let (mut restarts, mut broken, mut moments) = (0, 0, parts(5));
    while restarts < wanted {
        fs::remove_dir_all(binary.path("data")).unwrap();
        server.sql("postgres", "DROP DATABASE usage WITH (FORCE)");
        server.sql("postgres", "CREATE DATABASE usage");
        // Each try is cut short, until one has come to its end.
        let mut report = None;
        for command in [INGEST.as_slice(), &INGEST, &ROLLUP, &INGEST, &ROLLUP] {
            let part = moments.next().unwrap();
            let child = binary.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(takes * part / (1 << 24));
            server.restart();
            restarts += 1;
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(0) if command == INGEST => report = Some(output.stdout),
                Some(0) => {}
                Some(1) => {
                    broken += 1;
                    assert!(told.contains("database"), "it says what failed: {told}");
                }
                code => panic!("{code:?}: {told}"),
            }
            if report.is_some() {
                break;
            }
        }
        let report = report.unwrap_or_else(|| binary.ok(&INGEST).into_bytes());
        let report: Value = serde_json::from_slice(&report).unwrap();
        let mut expected = undisturbed.clone();
        // A run that was cut short after its last commit is not gone on with: its lines are read again, also the bad one.
        let found = outcome(&binary);
        if report["stored"] == 0 {
            expected.2[4] = found.2[4];
        }
        assert!(found == expected, "after {restarts} restarts: {report}, {:?} instead of {:?}", found.2, expected.2);
        verify(&binary);
        let sums = server.sql(
            "usage",
            "SELECT count(*) FROM inputs WHERE lines <> accepted + rejected OR accepted < duplicate + voided + conflicting",
        );
        assert_eq!(sums, "0\n");
        let catalog = server.sql("usage", "SELECT path FROM segments");
        let catalog: BTreeSet<String> = catalog.lines().map(str::to_owned).collect();
        assert_eq!(segments_on_disk(&binary.path("data/events")), catalog);
    }
    println!("{restarts} restarts, {broken} commands that failed and were run again; one takes {takes:?}");
    assert!(broken > 0, "no restart came while a command worked");
}

#[test]
fn a_job_whose_statement_took_too_long_fails_clearly_and_the_next_run_completes() {
    let undisturbed = with_events(Binary::new(On::Sqlite));
    undisturbed.ok(&INGEST);
    let database = Database::new(On::Postgres);
    let impatient = format!("{}?options=-c%20statement_timeout%3D1s", database.url());
    let binary = with_events(Binary::at(&impatient));
    binary.ok(&["keys", "list"]);
    // Somebody else holds what the facts are written to.
    let mut other = Command::new("psql")
        .args(["-X", "-q", "-d", &database.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut statements = other.stdin.take().unwrap();
    statements.write_all(b"BEGIN; LOCK TABLE service_spans IN ACCESS EXCLUSIVE MODE;\n").unwrap();
    statements.flush().unwrap();
    let is_locked = "SELECT 1 FROM pg_locks WHERE relation = 'service_spans'::regclass AND granted AND mode = 'AccessExclusiveLock'";
    eventually("the table is locked", || (server().sql(database.name(), is_locked) == "1\n").then_some(()));

    let told = binary.fails(1, &INGEST);
    assert!(told.contains("canceling statement due to statement timeout"), "{told}");

    drop(statements);
    other.wait().unwrap();
    binary.ok(&INGEST);
    assert_eq!(outcome(&binary), outcome(&undisturbed));
    verify(&binary);
}
