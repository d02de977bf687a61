//! The rooms of ARCHITECTURE.md: each outside crate has its home, and imports run one way.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The files of `src`, outside these rooms, in whose code one of the words stands.
fn found_outside(rooms: &[&str], words: &[&str]) -> Vec<String> {
    let in_room = |path: &Path| rooms.iter().any(|room| path.starts_with(Path::new("src").join(room)));
    let code = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<&str>>().join("\n")
    };
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    sources(Path::new("src"))
        .into_iter()
        .filter(|path| is_rust(path) && !in_room(path))
        .filter(|path| words.iter().any(|word| code(path).contains(word)))
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn each_outside_crate_has_its_home() {
    for (words, rooms) in [
        (["sqlx::", "use sqlx"], ["store"].as_slice()),
        (["parquet::", "use parquet"], &["event_log", "usage/export.rs"]),
        (["axum::", "use axum"], &["api"]),
        (["prometheus_client::", "use prometheus_client"], &["observe"]),
        (["procfs::", "use procfs"], &["observe"]),
        (["tracing_journald::", "use tracing_journald"], &["telemetry.rs"]),
        (["hyper::", "hyper_util::"], &["api"]),
        (["tokio_cron_scheduler::", "use tokio_cron_scheduler"], &["daemon"]),
        (["sd_notify::", "listenfd::"], &["daemon"]),
        (["croner::", "use croner"], &["config", "daemon"]),
        (["rayon::", "use rayon"], &["ingest/pipeline.rs", "jobs", "rollup/across.rs", "rollup/fold.rs"]),
        (["clap::", "use clap"], &["cli", "telemetry.rs", "usage/export.rs"]),
    ] {
        assert_eq!(found_outside(rooms, &words), [""; 0], "{words:?} outside {rooms:?}");
    }
}

#[test]
fn imports_run_one_way() {
    let rooms = ["event_log", "rollup", "store", "ingest", "usage", "audit", "jobs", "observe", "api", "daemon", "cli"];
    let inside = |room: &str, word: &str| {
        let others: Vec<&str> = rooms.iter().copied().filter(|other| *other != room).collect();
        let elsewhere = [
            others.as_slice(),
            &["model", "config", "generate", "main.rs", "lib.rs", "clock.rs", "meters.rs", "telemetry.rs"],
        ];
        found_outside(&elsewhere.concat(), &[word])
    };
    for (room, later) in [
        ("event_log", ["rollup", "store", "usage", "audit", "jobs", "observe", "api", "daemon", "cli"].as_slice()),
        ("rollup", &["store", "usage", "audit", "jobs", "observe", "api", "daemon", "cli"]),
        ("store", &["usage", "audit", "jobs", "observe", "api", "daemon", "cli"]),
        ("ingest", &["usage", "audit", "jobs", "observe", "api", "daemon", "cli"]),
        ("usage", &["audit", "jobs", "observe", "api", "daemon", "cli"]),
        ("audit", &["usage", "jobs", "observe", "api", "daemon", "cli"]),
        ("jobs", &["observe", "api", "daemon", "cli"]),
        ("observe", &["api", "daemon", "cli"]),
        ("api", &["daemon", "cli"]),
        ("daemon", &["cli"]),
    ] {
        for other in later {
            assert_eq!(inside(room, &format!("use crate::{other}")), [""; 0], "{room} uses {other}");
        }
    }
}

#[test]
fn the_core_of_rollup_knows_neither_store_nor_runtime() {
    let rest = [
        "api",
        "audit",
        "cli",
        "config",
        "daemon",
        "event_log",
        "generate",
        "ingest",
        "jobs",
        "model",
        "observe",
        "store",
        "usage",
    ];
    let files = ["main.rs", "lib.rs", "clock.rs", "telemetry.rs"];
    assert_eq!(found_outside(&[rest.as_slice(), &files].concat(), &["tokio", "sqlx", "async "]), [""; 0]);
}

#[test]
fn auditing_is_pure_but_for_reading_segments() {
    let rest = [
        "api",
        "cli",
        "config",
        "daemon",
        "event_log",
        "generate",
        "ingest",
        "jobs",
        "model",
        "observe",
        "rollup",
        "store",
    ];
    let files = ["usage", "main.rs", "lib.rs", "clock.rs", "telemetry.rs"];
    assert_eq!(found_outside(&[rest.as_slice(), &files].concat(), &["tokio", "sqlx", "async ", "rayon"]), [""; 0]);
}
