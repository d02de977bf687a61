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
    insta::assert_snapshot!(text, @"");
    assert_eq!(code, Some(0));
}

fn what_is_late_is_named_with_what_to_do(on: On) {
    let binary = with_tiny(on);
    let inbox = binary.path("data/inbox");
    fs::create_dir_all(&inbox).unwrap();
    fs::write(binary.path("data/inbox/more.ndjson"), TINY).unwrap();
    fs::write(binary.path("data/inbox/growing.ndjson"), "not whole").unwrap();
    // By a clock that is far ahead, everything has waited for long.
    let later = "2100-01-01T00:20:00Z";
    eventually("the file has rested", || problems(&binary, later).contains("in the inbox: 1 file,").then_some(()));
    let (code, text) = told(&binary, later);
    assert_eq!(code, Some(1));
    let since = text.split("the first since ").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    let text = text.split("\nStored").next().unwrap().replace(&since, "…");
    insta::assert_snapshot!(text, @"");
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
    insta::assert_snapshot!(problems(&binary, NOW), @"");
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
    insta::assert_snapshot!(problems(&binary, NOW), @"");
    binary.ok(&at(NOW, &["rollup"]));
    assert_eq!(told(&binary, NOW).0, Some(0));
}

fn what_verifying_found_is_known_until_it_is_verified_again(on: On) {
    let binary = with_tiny(on);
    binary.sql("UPDATE service_usage SET event_count = event_count + 1 WHERE period = '2026-02-01' AND period_type = 'Daily' RETURNING 'done'");
    binary.fails(1, &at(NOW, &["verify"]));
    insta::assert_snapshot!(problems(&binary, NOW), @"");
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
