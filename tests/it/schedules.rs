//! The daemon's runs, as their rows tell them: periods are claimed, missed ones made up for in order, and failures told.

use std::process::Stdio;

use usage_rollup::clock::Clock;
use usage_rollup::jobs::{self, JobError, Run};
use usage_rollup::model::{Instant, PeriodType};
use usage_rollup::store::JobOutcome;

use super::daemon::{Lines, Running, eventually};
use super::stores::{On, on_each_store};
use super::support::{Binary, Engine, run};

on_each_store!(days_that_ended_while_the_daemon_was_down_are_closed_in_order, what_a_night_finds_is_told,);

mod runs {
    use super::*;

    on_each_store!(async a_period_is_done_once, runs_that_are_old_are_forgotten_but_for_the_last,);
}

const TINY: &str = include_str!("../golden/tiny/events.ndjson");

fn at(text: &str) -> Instant {
    Instant::parse_rfc3339(text).unwrap()
}

fn for_period(period: &str) -> Run {
    Run { period: Some(at(period)), ..run() }
}

fn with_tiny(on: On) -> Binary {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    std::fs::write(binary.path("events.ndjson"), TINY).unwrap();
    binary.ok(&["--quiet", "--now", "2026-02-03T12:00:00Z", "ingest", "events.ndjson"]);
    binary
}

fn done(binary: &Binary, job: &str) -> Vec<String> {
    binary
        .sql(&format!("SELECT CAST(id AS text) FROM job_runs WHERE job = '{job}' AND outcome = 'done' ORDER BY period"))
}

fn days_that_ended_while_the_daemon_was_down_are_closed_in_order(on: On) {
    let binary = with_tiny(on);
    for (now, days) in [
        ("2026-02-03T12:00:00Z", 1),
        ("2026-02-03T12:00:00Z", 1),
        ("2026-02-08T01:59:59Z", 5),
        ("2026-03-02T02:00:00Z", 28),
    ] {
        let mut daemon = Running(binary.command(&["--quiet", "--now", now, "run"]).spawn().unwrap());
        eventually(&format!("{days} days are closed by {now}"), || {
            (done(&binary, "day-close").len() >= days).then_some(())
        });
        // What comes last in a round has come, too.
        eventually("the night's verification is done", || (!done(&binary, "verify").is_empty()).then_some(()));
        daemon.stop();
        let runs: Vec<i64> = done(&binary, "day-close").iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(runs.len(), days, "by {now}");
        assert!(runs.is_sorted(), "{runs:?}");
    }
    assert_eq!(done(&binary, "month-close").len(), 2, "January, and February when it had settled");
    let last = "SELECT counts FROM job_runs WHERE job = 'day-close' AND outcome = 'done' ORDER BY period DESC LIMIT 1";
    let counts: serde_json::Value = serde_json::from_str(&binary.sql(last)[0]).unwrap();
    assert!(counts["rows"].as_i64().unwrap() > 0, "{counts}");
}

fn what_a_night_finds_is_told(on: On) {
    let binary = with_tiny(on).with("USAGE_ROLLUP__SCHEDULE__VERIFY", "* * * * * *");
    let mut daemon =
        Running(binary.command(&["--now", "2026-02-03T12:00:00Z", "run"]).stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    log.with("verified");
    binary.sql("UPDATE service_usage SET total_message_count = total_message_count + 1 WHERE period = '2026-02-01'");
    let told = log.with("what is stored is not what the event log comes to");
    assert!(told.contains("differences="), "{told}");
    daemon.stop();
    let found =
        binary.sql("SELECT counts FROM job_runs WHERE job = 'verify' AND outcome = 'done' ORDER BY id DESC LIMIT 1");
    let counts: serde_json::Value = serde_json::from_str(&found[0]).unwrap();
    assert!(counts["differences"].as_i64().unwrap() > 0, "{counts}");
}

async fn a_period_is_done_once(on: On) {
    let mut engine = Engine::new(on, "2026-02-03T12:00:00Z", &[]).await;
    engine.ingest(&[TINY.as_bytes().to_vec()]).await;
    let close = async |engine: &Engine, period: &str| {
        jobs::close_period(&engine.installation, &for_period(period), PeriodType::Daily, "2026-02-02".parse().unwrap())
            .await
    };
    let interrupted = Run { interrupted: std::sync::Arc::new(true.into()), ..for_period("2026-02-03T00:00:00Z") };
    // The first try is cut short, the second one is done.
    engine.change("UPDATE service_progress SET dirty_from = first_day").await;
    let day = "2026-02-02".parse().unwrap();
    let error = jobs::close_period(&engine.installation, &interrupted, PeriodType::Daily, day).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(JobError::Interrupted)), "{error:#}");
    assert_eq!(engine.installation.store.last_period("day-close").await.unwrap(), None);
    let report = close(&engine, "2026-02-03T00:00:00Z").await.unwrap();
    assert!(report.rows > 0);

    let again = close(&engine, "2026-02-03T00:00:00Z").await.unwrap_err();

    assert!(matches!(again.downcast_ref(), Some(JobError::PeriodDone { .. })), "{again:#}");
    let last = engine.installation.store.last_runs().await.unwrap();
    let closed = last.iter().find(|run| run.job == "day-close").unwrap();
    assert_eq!((closed.attempt, closed.outcome), (2, Some(JobOutcome::Done)));
    assert_eq!(closed.period, Some(at("2026-02-03T00:00:00Z")));
    assert_eq!(engine.installation.store.last_period("day-close").await.unwrap(), closed.period);
    // Another period is another run.
    engine.installation.clock = Clock::Fixed(at("2026-02-04T12:00:00Z"));
    close(&engine, "2026-02-04T00:00:00Z").await.unwrap();
}

async fn runs_that_are_old_are_forgotten_but_for_the_last(on: On) {
    let mut engine = Engine::new(on, "2026-02-03T12:00:00Z", &[]).await;
    engine.ingest(&[TINY.as_bytes().to_vec()]).await;
    jobs::rollup(&engine.installation, &run()).await.unwrap();
    jobs::rollup(&engine.installation, &run()).await.unwrap();
    engine.installation.clock = Clock::Fixed(at("2026-12-03T12:00:00Z"));

    jobs::close_period(&engine.installation, &run(), PeriodType::Daily, "2026-12-02".parse().unwrap()).await.unwrap();

    let left = engine.view("SELECT job FROM job_runs ORDER BY id").await;
    assert_eq!(left, ["ingest", "rollup", "day-close"]);
}
