//! A server that is not there, or not for writing.

use std::fs;
use std::process::Stdio;

use super::daemon::{Lines, Running, ask, eventually, get, printed};
use super::stores::{Durable, PASSWORD, Server, free_port};
use super::support::Binary;

const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
const TINY: &str = include_str!("../golden/tiny/events.ndjson");
const POSTGRES: &str = include_str!("../../docs/postgresql.md");
const DAILY: [&str; 3] = ["export", "--period-type", "daily"];

fn usage() -> String {
    format!("/api/services/{SERVICE}/serviceusage?PeriodType=Daily&Period=2026-02-01")
}

fn without_keys(binary: Binary) -> Binary {
    binary.with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0").with("USAGE_ROLLUP__API__AUTH", "off")
}

fn is_told_to_come_back(address: &str) {
    let answer = ask(address, &usage(), "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 5") && answer.contains(r#""errorCode":"ServiceUnavailable""#), "{answer}");
}

/// The used events of the file, with other identities.
fn more_events(number: u32) -> String {
    TINY.replace(r#""id":""#, &format!(r#""id":"{number}-"#))
}

#[test]
fn the_daemon_waits_for_a_server_and_finds_it_again_after_it_was_away() {
    let server = Server::start(Durable::No);
    server.stop();
    let binary = without_keys(Binary::at(&server.url("postgres")));
    let told = binary.fails(1, &["rollup"]);
    let named = format!("tests:********@localhost:{}/postgres: ", server.port);
    assert!(told.contains(&named) && told.contains("refused"), "{told}");

    let mut daemon = Running(binary.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    let waiting = log.with("waiting for the store");
    assert!(waiting.contains(&named) && waiting.contains("refused") && !waiting.contains(PASSWORD), "{waiting}");
    let address = waiting.split_once("api=http://").unwrap().1.to_owned();
    is_told_to_come_back(&address);

    server.start_again();
    log.with("started");
    assert_eq!(get(&address, &usage(), "").unwrap().0, 404);
    let drop_into_inbox = |name: &str, events: &str| {
        fs::write(binary.path(name), events).unwrap();
        fs::rename(binary.path(name), binary.path("data/inbox").join(name)).unwrap();
    };
    fs::write(binary.path("directory.csv"), format!("serviceGuid,name\n{SERVICE},Acme\n")).unwrap();
    binary.ok(&["services", "import", "directory.csv"]);
    fs::create_dir_all(binary.path("data/inbox")).unwrap();
    drop_into_inbox("one.ndjson", TINY);
    let messages = |at_least: i64| {
        eventually("the row is served", || {
            let (status, body) = get(&address, &usage(), "")?;
            let row: serde_json::Value = serde_json::from_str(&body).unwrap();
            let messages = row["totalMessageCount"].as_i64().unwrap_or_default();
            (status == 200 && messages >= at_least).then_some(messages)
        })
    };
    let before = messages(1);

    server.stop();
    is_told_to_come_back(&address);
    drop_into_inbox("two.ndjson", &more_events(2));
    // A job that was under way may have failed of its lost connection before; and requests are told of, too.
    let failed = std::iter::repeat_with(|| log.with("the job failed")).find(|line| line.contains("refused")).unwrap();
    assert!(failed.contains(&named[..named.len() - 2]), "{failed}");
    server.start_again();
    assert!(messages(before + 1) > before);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_daemon_that_waits_can_be_stopped_and_one_that_waits_for_nothing_ends() {
    let away = without_keys(Binary::at(&format!("postgres://nobody@127.0.0.1:{}/nothing", free_port())));
    for command in ["run", "serve"] {
        let mut daemon = Running(away.command(&[command]).stderr(Stdio::piped()).spawn().unwrap());
        printed(daemon.0.stderr.take().unwrap(), "api=http://");
        assert_eq!(daemon.stop().0, Some(0));
    }
    // Time alone does not make a password right.
    let url = super::stores::server().url("postgres").replace("tests:", "nobody:");
    assert!(without_keys(Binary::at(&url)).fails(1, &["run"]).contains("password authentication failed"));
}

#[test]
fn select_is_enough_to_read_also_on_a_replica() {
    let server = Server::start(Durable::No);
    server.sql("postgres", "CREATE DATABASE usage");
    let url = server.url("usage");
    let writer = Binary::at(&url);
    let told = writer.fails(1, &DAILY);
    assert!(told.contains("has version 0 of the schema, and this program needs"), "{told}");
    fs::write(writer.path("events.ndjson"), TINY).unwrap();
    fs::write(writer.path("directory.csv"), format!("serviceGuid,name\n{SERVICE},Acme\n")).unwrap();
    writer.ok(&["ingest", "events.ndjson"]);
    writer.ok(&["services", "import", "directory.csv"]);

    // As the documentation has it.
    for statement in POSTGRES.split("```sql\n").nth(1).unwrap().split("```").next().unwrap().split_inclusive(";\n") {
        server.sql("usage", &statement.replace("ROLE usage ", "ROLE tests "));
    }
    let standby = free_port();
    let reader_at = |port: u16| format!("postgres://usage_reader:change%20me@localhost:{port}/usage");
    let on_replica = without_keys(Binary::at(&reader_at(standby)));
    let mut serving = Running(on_replica.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap());
    let address = printed(serving.0.stderr.take().unwrap(), "api=http://");
    is_told_to_come_back(&address);
    server.start_standby(standby);
    let (status, body) =
        eventually("it is answered", || get(&address, &usage(), "").filter(|(status, _)| *status != 503));
    assert!(status == 200 && body.contains(r#""name":"Acme""#), "{status} {body}");
    assert_eq!(serving.stop().0, Some(0));

    let exported = writer.ok(&DAILY);
    assert!(exported.lines().count() > 1);
    let as_owner = url.replace(&format!(":{}/", server.port), &format!(":{standby}/"));
    for reader in [Binary::at(&reader_at(server.port)), on_replica, Binary::at(&as_owner)] {
        assert_eq!(reader.ok(&DAILY), exported);
        assert!(reader.ok(&["services", "list"]).contains("Acme"));
        assert!(!reader.ok(&["dead-letters", "list"]).is_empty());
        assert!(reader.run(&["status", "--json"]).stdout.starts_with(b"{"));
        assert!(!reader.path("data").exists(), "whoever reads leaves nothing behind");
        let told = reader.fails(1, &["rollup"]);
        assert!(told.contains("read-only") || told.contains("permission denied"), "{told}");
    }
}
