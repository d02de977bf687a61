//! `status`: what is fresh, what is late, what is wrong, and what to do about it.

use std::fs;

use serde_json::Value;

use super::daemon::eventually;
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(
    what_is_well_is_told_first_and_what_to_note_after_it,
    what_is_late_is_named_with_what_to_do,
    a_job_that_failed_is_told_until_it_is_done_with,
    a_run_that_was_cut_short_leaves_what_is_late,
    what_verifying_found_is_known_until_it_is_verified_again,
    json_tells_the_same,
);

const NOW: &str = "2026-02-05T12:00:00Z";
const TINY: &str = include_str!("../golden/tiny/events.ndjson");

fn at<'a>(now: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [["--now", now, "--quiet"].as_slice(), args].concat()
}

fn with_tiny(on: On) -> Binary {
    let binary = Binary::new(on);
    fs::write(binary.path("events.ndjson"), TINY).unwrap();
    binary.ok(&at(NOW, &["ingest", "events.ndjson"]));
    binary
}

/// What `status` tells as text, without sizes, and its exit code.
fn told(binary: &Binary, now: &str) -> (Option<i32>, String) {
    let output = binary.run(&at(now, &["status"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let without_sizes = text.lines().map(|line| {
        let line = line.split(" B, days").next().unwrap_or(line);
        match line {
            line if line.starts_with("  disk ") => "  disk          …".to_owned(),
            line if line.starts_with("  segments ") => format!(
                "{}…",
                line.split("KiB")
                    .next()
                    .unwrap_or(line)
                    .trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
            ),
            line => line.to_owned(),
        }
    });
    (output.status.code(), without_sizes.collect::<Vec<String>>().join("\n"))
}

fn json(binary: &Binary, now: &str) -> Value {
    serde_json::from_slice(&binary.run(&at(now, &["status", "--json"])).stdout).unwrap()
}

/// The advice between these titles.
fn problems(binary: &Binary, now: &str) -> String {
    let (_, text) = told(binary, now);
    let from = text.find("\nLate:").or_else(|| text.find("\nWrong:")).unwrap_or(text.len());
    let to = text.find("\nTo be noted:").or_else(|| text.find("\nStored")).unwrap_or(text.len());
    text.get(from..to).unwrap_or_default().trim().to_owned()
}

fn what_is_well_is_told_first_and_what_to_note_after_it(on: On) {
    let binary = with_tiny(on);
    let (code, text) = told(&binary, NOW);
    insta::assert_snapshot!(text, @r#"
    Rows reach 2026-02-05 (today); the last were computed at 2026-02-05T12:00:00Z.
    Lines last came in by:
      file        0s ago, events through 2026-02-04
    Jobs last ran:
      ingest      0s ago, done

    To be noted:
      rejected, invalid_data: 1 line
        (see them with "usage-rollup dead-letters list --reason invalid_data")
      rejected, invalid_json: 1 line
        (see them with "usage-rollup dead-letters list --reason invalid_json")
      rejected, unknown_type: 1 line
        (see them with "usage-rollup dead-letters list --reason unknown_type")
      4 daily rows show a number that is not the exact sum: storage below zero, or beyond 2^63 - 1
        (see why with "usage-rollup explain --service GUID --period DATE --field NAME")
      1 services have events but no directory entry: the API answers 404
        (tell of them with "usage-rollup services import FILE")

    Stored, reporting in UTC, as of 2026-02-05T12:00:00Z:
      lines read                 21
        stored                   17   counted 16, voided 1, conflicting 0
        duplicate                 1
        rejected                  3
      inputs                      1   0 being read, 0 failed
      segments…
      services                    2
      rows                       14   11 daily, 3 monthly, through 2026-02-05
      API keys                    0
      disk          …

    Everything is rolled up, and nothing is late or wrong.
    "#);
    assert_eq!(code, Some(0));
}

fn what_is_late_is_named_with_what_to_do(on: On) {
    let binary = with_tiny(on);
    let inbox = binary.path("data/inbox");
    fs::create_dir_all(&inbox).unwrap();
    fs::write(binary.path("data/inbox/more.ndjson"), TINY).unwrap();
    fs::write(binary.path("data/inbox/growing.ndjson"), "not whole").unwrap();
    fs::create_dir_all(binary.path("data/spool")).unwrap();
    fs::write(binary.path("data/spool/sent.ndjson"), TINY).unwrap();
    // By a clock that is far ahead, everything has waited for long.
    let later = "2100-01-01T00:20:00Z";
    eventually("the file has rested", || problems(&binary, later).contains("in the inbox: 1 file,").then_some(()));
    let (code, text) = told(&binary, later);
    assert_eq!(code, Some(1));
    let text = text.split("\nStored").next().unwrap();
    let mut pieces = text.split("the first since ");
    let mut text = pieces.next().unwrap().to_owned();
    text.extend(pieces.map(|piece| format!("the first since …\n{}", piece.split_once('\n').unwrap().1)));
    insta::assert_snapshot!(text, @r#"
    Rows reach 2026-02-05 (not today); the last were computed at 2026-02-05T12:00:00Z.
    Lines last came in by:
      file        73years 10months ago, events through 2026-02-04
    Jobs last ran:
      ingest      73years 10months ago, done
    In the inbox: 2 (5.26 KiB).
    Sent, and to be ingested: 1 (5.26 KiB).

    Late:
      rows do not reach today, 2100-01-01
        (start the daemon, or bring them up to today, with "usage-rollup run" or "usage-rollup rollup")
      in the inbox: 1 file, the first since …
        (start the daemon, or take them once, with "usage-rollup run" or "usage-rollup ingest")
      sent, and not ingested: 1 file, the first since …
        (start the daemon, or take them once, with "usage-rollup run" or "usage-rollup ingest")

    To be noted:
      in the inbox, not whole yet: 1 file
        (it waits for the writer to rest, or for the last line to end with a newline)
      rejected, invalid_data: 1 line
        (see them with "usage-rollup dead-letters list --reason invalid_data")
      rejected, invalid_json: 1 line
        (see them with "usage-rollup dead-letters list --reason invalid_json")
      rejected, unknown_type: 1 line
        (see them with "usage-rollup dead-letters list --reason unknown_type")
      4 daily rows show a number that is not the exact sum: storage below zero, or beyond 2^63 - 1
        (see why with "usage-rollup explain --service GUID --period DATE --field NAME")
      1 services have events but no directory entry: the API answers 404
        (tell of them with "usage-rollup services import FILE")
    "#);
    // A day that has just begun is not late.
    let (code, text) = told(&binary, "2026-02-06T00:10:00Z");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("rows do not reach today, 2026-02-06"), "{text}");
    assert_eq!(told(&binary, "2026-02-06T00:20:00Z").0, Some(1));
}

fn a_job_that_failed_is_told_until_it_is_done_with(on: On) {
    let binary = with_tiny(on);
    let fails = "UPDATE job_runs SET outcome = 'failed' WHERE id = (SELECT max(id) FROM job_runs) RETURNING job";
    binary.sql(fails);
    let files_wait = |wait: bool| {
        fs::create_dir_all(binary.path("data/inbox")).unwrap();
        let (there, away) = (binary.path("data/inbox/more.ndjson"), binary.path("more.ndjson"));
        if wait { fs::write(&there, TINY).unwrap() } else { fs::rename(&there, away).unwrap() }
    };
    insta::assert_snapshot!(problems(&binary, NOW), @r#"
    Wrong:
      the last `ingest` failed; it began at 2026-02-05T12:00:00Z
        (the log says why; try again with "usage-rollup ingest")
    "#);
    assert_eq!(told(&binary, NOW).0, Some(1));
    // What an ingest was to do is done once all is rolled up, and nothing waits to be taken.
    binary.ok(&at(NOW, &["rollup"]));
    assert_eq!(problems(&binary, NOW), "");
    files_wait(true);
    eventually("the file has rested", || problems(&binary, NOW).contains("the last `ingest` failed").then_some(()));
    files_wait(false);
    assert_eq!(told(&binary, NOW).0, Some(0));
    binary.sql(fails);
    assert!(problems(&binary, NOW).contains("the last `rollup` failed"));
    binary.ok(&at(NOW, &["rollup"]));
    assert_eq!(told(&binary, NOW).0, Some(0));
    // An ingest ends in a rollup.
    binary.sql(fails);
    binary.ok(&at(NOW, &["ingest", "more.ndjson"]));
    assert_eq!(problems(&binary, NOW), "");
}

fn a_run_that_was_cut_short_leaves_what_is_late(on: On) {
    let binary = with_tiny(on);
    let service = match on {
        On::Sqlite => "x''",
        On::Postgres => "''::bytea",
    };
    binary.sql(&format!("INSERT INTO dirty_partitions (day, service_guid) VALUES (20485, {service}) RETURNING 'done'"));
    let (code, text) = told(&binary, NOW);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("to be rolled up: 1 day, 0 services") && text.contains("Nothing is late or wrong."),
        "{text}"
    );
    assert_eq!(told(&binary, "2026-02-05T12:20:00Z").0, Some(1), "for too long");
    binary.sql(
        "UPDATE job_runs SET outcome = NULL, ended_at = NULL WHERE id = (SELECT max(id) FROM job_runs) RETURNING job",
    );
    insta::assert_snapshot!(problems(&binary, NOW), @r#"
    Late:
      to be rolled up: 1 day, 0 services
        (let the daemon do it, or "usage-rollup rollup")
    "#);
    binary.ok(&at(NOW, &["rollup"]));
    assert_eq!(told(&binary, NOW).0, Some(0));
}

fn what_verifying_found_is_known_until_it_is_verified_again(on: On) {
    let binary = with_tiny(on);
    binary.sql("UPDATE service_usage SET event_count = event_count + 1 WHERE period = '2026-02-01' AND period_type = 'Daily' RETURNING 'done'");
    binary.fails(1, &at(NOW, &["verify"]));
    insta::assert_snapshot!(problems(&binary, NOW), @r#"
    Wrong:
      verifying found 1 difference between store and event log, last at 2026-02-05T12:00:00Z
        (see them, and make them anew from the event log, with "usage-rollup verify" or "usage-rollup verify --repair")
    "#);
    binary.ok(&at(NOW, &["verify", "--from", "2026-02-02"]));
    assert_eq!(json(&binary, NOW)["healthy"], false, "that day was not looked at");
    binary.ok(&at(NOW, &["verify", "--repair"]));
    let status = json(&binary, NOW);
    assert_eq!((&status["healthy"], &status["verification"]["differences"]), (&true.into(), &0.into()), "{status}");
    assert_eq!(status["verification"]["at"], NOW);
}

fn json_tells_the_same(on: On) {
    let binary = with_tiny(on);
    let mut status = json(&binary, NOW);
    status["segment_bytes"] = "…".into();
    status["disk"] = "…".into();
    insta::assert_snapshot!("status_json", serde_json::to_string_pretty(&status).unwrap());
}
