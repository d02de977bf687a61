//! Restatements, locked months and plans of a backfill, as a user meets them.

use std::fs;

use serde_json::Value;
use usage_rollup::model::{Instant, PeriodType, RowState};
use usage_rollup::usage::Reports;

use super::stores::{On, on_each_store};
use super::support::{Binary, Engine};

on_each_store!(
    what_changes_a_closed_row_is_told_and_the_row_of_before_can_be_exported,
    a_row_that_was_closed_is_restated_also_when_the_clock_goes_back,
    rows_that_appear_vanish_and_come_back_are_told_and_revisions_go_on,
    a_month_is_locked_when_it_is_closed_and_what_arrives_for_it_waits,
    what_waits_for_a_locked_month_goes_on_waiting_when_an_earlier_day_changes,
    a_plan_tells_what_a_backfill_would_change_and_is_applied_if_it_is_still_that,
);

mod engine {
    use super::super::stores::on_each_store;

    on_each_store!(async as_of_follows_the_order_of_commits, reports_answer_as_of_an_instant);

    use super::{as_of_follows_the_order_of_commits, reports_answer_as_of_an_instant};
}

const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";

fn used(id: &str, time: &str, quantity: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"feature.used","subject":"{SERVICE}","time":"{time}","data":{{"feature":"SecureForms","quantity":{quantity}}}}}"#
    )
}

fn void(id: &str, time: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"void-{id}","source":"/s","type":"event.voided","subject":"{SERVICE}","time":"2026-03-02T02:00:00Z","data":{{"source":"/s","id":"{id}","time":"{time}"}}}}"#
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The binary, with a clock that each call sets.
struct Books(Binary);

impl Books {
    fn ok(&self, now: &str, args: &[&str]) -> String {
        self.0.ok(&[["--quiet", "--now", now].as_slice(), args].concat())
    }

    fn fails(&self, code: i32, now: &str, args: &[&str]) -> String {
        self.0.fails(code, &[["--quiet", "--now", now].as_slice(), args].concat())
    }

    fn ingest(&self, now: &str, events: &[String]) {
        fs::write(self.0.path("events"), events.join("\n")).unwrap();
        self.ok(now, &["ingest", "events"]);
    }

    /// The uses of a feature by period, without those that are 0.
    fn export(&self, now: &str, period_type: &str, more: &[&str]) -> Vec<String> {
        let csv = self.ok(now, &[["export", "--period-type", period_type].as_slice(), more].concat());
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[12] != "0").then(|| format!("{} {}", cells[2], cells[12]))
        };
        csv.lines().skip(1).filter_map(row).collect()
    }

    fn restatements(&self, now: &str, more: &[&str]) -> Vec<String> {
        let told = self.ok(now, &[["restatements", "--json"].as_slice(), more].concat());
        let one = |line: &str| {
            let told = json(line);
            let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(text("serviceGuid"), SERVICE);
            let fields = told["fields"].as_array().unwrap().iter();
            let fields =
                fields.map(|of| format!("{} {}->{}", of["field"].as_str().unwrap(), of["before"], of["after"]));
            format!(
                "{} {} {} {}->{} {} {} by {}: {}",
                text("periodType"),
                text("period"),
                text("change"),
                told["revisionBefore"],
                told["revisionAfter"],
                text("at"),
                text("reason"),
                text("job"),
                fields.collect::<Vec<_>>().join(", ")
            )
        };
        told.lines().map(one).collect()
    }
}

fn what_changes_a_closed_row_is_told_and_the_row_of_before_can_be_exported(on: On) {
    let books = Books(Binary::new(on));
    let day = "2026-03-02T01:00:00Z";
    books.ingest("2026-03-02T12:00:00Z", &[used("a", day, 1)]);
    // Not closed yet: no restatement.
    books.ingest("2026-03-03T01:00:00Z", &[used("b", day, 2)]);
    assert_eq!(books.restatements("2026-03-03T01:00:00Z", &[]), [""; 0]);
    books.ingest("2026-03-05T12:00:00Z", &[used("c", day, 4)]);
    books.ingest("2026-03-06T12:00:00Z", &[used("c", "2026-03-02T00:30:00Z", 8)]);
    books.ingest("2026-03-07T12:00:00Z", &[void("a", day)]);

    let now = "2026-03-08T12:00:00Z";
    let expected = [
        "Daily 2026-03-02 changed 2->3 2026-03-05T12:00:00Z late by ingest: feature_usage_secure_forms 3->7",
        "Daily 2026-03-02 changed 3->4 2026-03-06T12:00:00Z conflict by ingest: feature_usage_secure_forms 7->11",
        "Daily 2026-03-02 changed 4->5 2026-03-07T12:00:00Z void by ingest: feature_usage_secure_forms 11->10",
    ];
    assert_eq!(books.restatements(now, &[]), expected);
    assert_eq!(
        books.restatements(now, &["--service", SERVICE, "--from", "2026-03-02", "--to", "2026-03-02"]),
        expected
    );
    assert_eq!(books.restatements(now, &["--from", "2026-03-03"]), [""; 0]);
    assert_eq!(books.restatements(now, &["--service", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"]), [""; 0]);
    let table = books.ok(now, &["restatements"]);
    assert!(
        table.lines().any(|line| line.contains("feature_usage_secure_forms") && line.contains("(ingest)")),
        "{table}"
    );

    for (instant, row) in [
        ("2026-03-05T11:59:59Z", "2026-03-02 3"),
        ("2026-03-05T12:00:00Z", "2026-03-02 7"),
        ("2026-03-07T11:00:00Z", "2026-03-02 11"),
        (now, "2026-03-02 10"),
    ] {
        assert_eq!(books.export(now, "daily", &["--as-of", instant]), [row], "as of {instant}");
        assert_eq!(books.export(now, "daily", &["--as-of", instant, "--service", SERVICE]), [row], "as of {instant}");
    }
    assert_eq!(books.export(now, "daily", &["--as-of", "2026-03-01T00:00:00Z"]), [""; 0]);
    let future = books.fails(2, now, &["export", "--period-type", "daily", "--as-of", "2026-03-08T12:00:01Z"]);
    assert!(future.contains("lies in the future"), "{future}");
    books.fails(2, now, &["export", "--period-type", "daily", "--as-of", "yesterday"]);
    let jobs = books.0.sql("SELECT DISTINCT job || ' ' || outcome FROM job_runs");
    assert_eq!(jobs, ["ingest done"]);
}

/// Also where the setting by which it was closed is another one now, and the period is only just over by the clock, or not yet.
fn a_row_that_was_closed_is_restated_also_when_the_clock_goes_back(on: On) {
    for back in ["2026-03-03T01:00:00Z", "2026-03-02T23:00:00Z"] {
        let books = Books(Binary::new(on));
        let day = "2026-03-02T01:00:00Z";
        books.ingest("2026-03-02T12:00:00Z", &[used("a", day, 1)]);
        books.ok("2026-03-05T12:00:00Z", &["rollup"]);
        books.ingest(back, &[used("b", day, 2)]);
        let told = books.restatements("2026-03-05T12:00:00Z", &[]);
        assert!(told[0].contains("Daily 2026-03-02 changed 1->2"), "{told:?}");
    }
}

fn rows_that_appear_vanish_and_come_back_are_told_and_revisions_go_on(on: On) {
    let books = Books(Binary::new(on));
    let (first, early) = ("2026-03-04T01:00:00Z", "2026-03-03T01:00:00Z");
    books.ingest("2026-03-04T12:00:00Z", &[used("a", first, 1)]);
    books.ingest("2026-03-06T12:00:00Z", &[used("b", early, 2)]);
    books.ok("2026-03-07T12:00:00Z", &["rollup"]);
    books.ingest("2026-03-08T12:00:00Z", &[void("b", early)]);
    books.ingest("2026-03-09T12:00:00Z", &[used("c", early, 3)]);

    let now = "2026-03-10T12:00:00Z";
    assert_eq!(
        books.restatements(now, &["--to", "2026-03-03"]),
        [
            "Daily 2026-03-03 appeared 0->1 2026-03-06T12:00:00Z late by ingest: feature_usage_secure_forms null->2",
            "Daily 2026-03-03 vanished 1->2 2026-03-08T12:00:00Z void by ingest: feature_usage_secure_forms 2->null",
            "Daily 2026-03-03 appeared 2->3 2026-03-09T12:00:00Z late by ingest: feature_usage_secure_forms null->3",
        ]
    );
    let states = "SELECT state || ' ' || CAST(revision AS text) FROM service_usage_daily WHERE period = '2026-03-03'";
    assert_eq!(books.0.sql(states), ["restated 3"]);
    for (instant, rows) in [
        ("2026-03-05T00:00:00Z", ["2026-03-04 1"].as_slice()),
        ("2026-03-07T00:00:00Z", &["2026-03-03 2", "2026-03-04 1"]),
        ("2026-03-09T00:00:00Z", &["2026-03-04 1"]),
        (now, &["2026-03-03 3", "2026-03-04 1"]),
    ] {
        assert_eq!(books.export(now, "daily", &["--as-of", instant]), rows, "as of {instant}");
    }
    assert_eq!(books.0.sql("SELECT period FROM usage_tombstones"), [""; 0]);
}

fn a_month_is_locked_when_it_is_closed_and_what_arrives_for_it_waits(on: On) {
    let books = Books(Binary::new(on));
    let late = "2026-03-30T01:00:00Z";
    books.ingest("2026-03-31T12:00:00Z", &[used("a", "2026-03-29T01:00:00Z", 1)]);
    let open = books.fails(1, "2026-03-31T12:00:00Z", &["periods", "lock", "2026-03"]);
    assert!(open.contains("2026-03 has not ended"), "{open}");
    let settling = books.fails(1, "2026-04-01T01:00:00Z", &["periods", "lock", "2026-03"]);
    assert!(settling.contains("of 2026-03 are not closed yet"), "{settling}");
    books.fails(2, "2026-04-01T01:00:00Z", &["periods", "lock", "March"]);
    let now = "2026-04-02T12:00:00Z";
    let lock = || json(&books.ok(now, &["periods", "lock", "2026-03"]));
    assert_eq!((&lock()["was_locked"], &lock()["was_locked"]), (&false.into(), &true.into()));
    let shown = "SELECT DISTINCT state FROM service_usage_daily WHERE period < '2026-04-01'";
    assert_eq!(books.0.sql(shown), ["locked"]);

    let later = "2026-04-03T12:00:00Z";
    books.ingest(later, &[used("b", late, 2)]);
    assert_eq!(books.export(later, "daily", &[]), ["2026-03-29 1"]);
    assert_eq!(books.export(later, "monthly", &[]), ["2026-03-01 1"]);
    let listed = json(&books.ok(later, &["periods", "list", "--json"]));
    assert_eq!((&listed["month"], &listed["lockedAt"]), (&"2026-03".into(), &now.into()));
    assert_eq!((&listed["pendingRows"], &listed["pendingServices"]), (&2.into(), &1.into()));
    let table = books.ok(later, &["periods", "list"]);
    assert!(table.contains("pending rows") && table.contains("2026-03"), "{table}");
    let status = json(&books.ok(later, &["status", "--json"]));
    assert_eq!((&status["locked_months"], &status["pending_rows"]), (&1.into(), &2.into()));
    assert!(books.ok(later, &["status"]).contains("2 rows of 1 services in locked months wait"));
    // That is right as it is, and explained.
    books.ok(later, &["verify"]);
    let asked = ["explain", "--service", SERVICE, "--period", "2026-03-30", "--field", "feature_usage_secure_forms"];
    let explained = books.ok(later, &asked);
    assert!(explained.contains("(locked, revision 1") && explained.contains("differs from the events by 2: its month"));
    // Nor does a backfill change it; and it says so.
    let range = ["--from", "2026-03-01", "--to", "2026-04-03"];
    let plan = json(&books.ok(later, &[["backfill", "--plan", "--json"].as_slice(), &range].concat()));
    assert_eq!((&plan["rows"], &plan["heldBack"]), (&0.into(), &2.into()));
    // What is taken back does not wait any more.
    books.ingest(later, &[used("c", "2026-03-31T01:00:00Z", 9)]);
    assert_eq!(json(&books.ok(later, &["periods", "list", "--json"]))["pendingRows"], 3);
    books.ingest(later, &[void("c", "2026-03-31T01:00:00Z"), void("b", late)]);
    assert_eq!(json(&books.ok(later, &["periods", "list", "--json"]))["pendingRows"], 0);
    books.ingest(later, &[used("d", late, 4)]);

    let end = "2026-04-04T12:00:00Z";
    let unlocked = json(&books.ok(end, &["periods", "unlock", "2026-03"]));
    assert_eq!((&unlocked["was_locked"], &unlocked["rows_written"]), (&true.into(), &2.into()));
    assert_eq!(json(&books.ok(end, &["periods", "unlock", "2026-03"]))["was_locked"], false);
    assert_eq!(books.export(end, "monthly", &[]), ["2026-03-01 5"]);
    assert_eq!(books.export(end, "monthly", &["--as-of", later]), ["2026-03-01 1"]);
    assert_eq!(books.ok(end, &["periods", "list", "--json"]), "");
    assert_eq!(
        books.restatements(end, &[]),
        [
            "Daily 2026-03-30 changed 1->2 2026-04-04T12:00:00Z late by periods unlock: feature_usage_secure_forms 0->4",
            "Monthly 2026-03-01 changed 1->2 2026-04-04T12:00:00Z late by periods unlock: feature_usage_secure_forms 1->5",
        ]
    );
}

fn what_waits_for_a_locked_month_goes_on_waiting_when_an_earlier_day_changes(on: On) {
    let books = Books(Binary::new(on));
    books.ingest("2026-03-31T12:00:00Z", &[used("a", "2026-03-26T01:00:00Z", 1)]);
    let now = "2026-04-03T12:00:00Z";
    books.ok(now, &["periods", "lock", "2026-03"]);
    // A user that is there from the 28th on changes four days, and the month.
    let invited = format!(
        r#"{{"specversion":"1.0","id":"u","source":"/s","type":"user.invited","subject":"{SERVICE}","time":"2026-03-28T01:00:00Z","data":{{"userGuid":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","groupType":"Guest"}}}}"#
    );
    for (event, waiting) in [
        (used("b", "2026-03-30T01:00:00Z", 2), 2),
        (used("c", "2026-03-27T01:00:00Z", 4), 3),
        (invited, 6),
        (used("d", "2026-03-29T01:00:00Z", 8), 6),
    ] {
        books.ingest(now, &[event]);
        assert_eq!(json(&books.ok(now, &["periods", "list", "--json"]))["pendingRows"], waiting);
        books.ok(now, &["verify"]);
    }
    assert_eq!(json(&books.ok(now, &["periods", "unlock", "2026-03"]))["rows_written"], 6);
    assert_eq!(books.export(now, "daily", &[]), ["2026-03-26 1", "2026-03-27 4", "2026-03-29 8", "2026-03-30 2"]);
    assert_eq!(books.export(now, "monthly", &[]), ["2026-03-01 15"]);
    books.ok(now, &["verify"]);
}

fn a_plan_tells_what_a_backfill_would_change_and_is_applied_if_it_is_still_that(on: On) {
    let books = Books(Binary::new(on));
    let day = "2026-03-02T01:00:00Z";
    books.ingest("2026-03-05T12:00:00Z", &[used("a", day, 5), used("b", "2026-02-27T01:00:00Z", 1)]);
    let now = "2026-03-06T12:00:00Z";
    books.ok(now, &["rollup"]);
    let backfill = |more: &[&'static str]| -> Vec<&'static str> {
        [["backfill", "--from", "2026-03-01", "--to", "2026-03-04"].as_slice(), more].concat()
    };
    let plan = || {
        let lines: Vec<Value> = books.ok(now, &backfill(&["--plan", "--json"])).lines().map(json).collect();
        let (end, rows) = lines.split_last().unwrap();
        assert_eq!(end["rows"].as_u64(), Some(rows.len() as u64));
        (rows.to_vec(), end["digest"].as_str().unwrap().to_owned())
    };
    let (rows, nothing) = plan();
    assert_eq!(rows, [Value::Null; 0], "a day that passes is no change, either");

    let damage = |day: &str| {
        books.0.sql(&format!("UPDATE service_usage SET feature_usage_secure_forms = 7 WHERE period = '{day}'"));
    };
    damage("2026-03-02");
    let (rows, digest) = plan();
    assert_eq!(
        rows,
        [serde_json::json!({
            "serviceGuid": SERVICE, "periodType": "Daily", "period": "2026-03-02", "change": "changes",
            "fields": [{ "field": "feature_usage_secure_forms", "before": 7, "after": 5 }],
        })]
    );
    assert_eq!(plan().1, digest);
    let text = books.ok(now, &backfill(&["--plan"]));
    assert!(text.contains("feature_usage_secure_forms") && text.contains(&format!("--apply {digest}")), "{text}");
    assert_eq!(books.export(now, "daily", &["--from", "2026-03-02"]), ["2026-03-02 7"], "nothing was written");

    damage("2026-03-03");
    let apply = |digest: &str| [backfill(&["--apply"]).as_slice(), &[digest]].concat().join(" ");
    let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for old in [&digest, &nothing] {
        let args = args(&apply(old));
        let refused = books.fails(1, now, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(refused.contains("the plan has changed") && refused.contains("2 rows would change"), "{refused}");
    }
    let (_, digest) = plan();
    let args = args(&apply(&digest));
    let applied = json(&books.ok(now, &args.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(applied["rows_written"], 2);
    assert_eq!(books.export(now, "daily", &["--from", "2026-03-02"]), ["2026-03-02 5"]);
    assert_eq!(plan().1, nothing);
    assert_eq!(
        books.restatements(now, &[]),
        [
            "Daily 2026-03-02 changed 1->2 2026-03-06T12:00:00Z backfill by backfill: feature_usage_secure_forms 7->5",
            "Daily 2026-03-03 changed 1->2 2026-03-06T12:00:00Z backfill by backfill: feature_usage_secure_forms 7->0",
        ]
    );
    let both = books.fails(2, now, &backfill(&["--plan", "--apply", "x"]));
    assert!(both.contains("cannot be used with"), "{both}");
}

async fn engine_with(on: On, events: &[(&str, &str)]) -> Engine {
    let mut engine = Engine::new(on, events[0].0, &[]).await;
    for (number, (now, time)) in events.iter().enumerate() {
        engine.installation.clock = now.parse().unwrap();
        engine.ingest(&[used(&number.to_string(), time, 1).into_bytes()]).await;
    }
    engine
}

fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).unwrap()
}

/// A clock that goes back: what is said to have been then is what stood after the last commit of that time.
async fn as_of_follows_the_order_of_commits(on: On) {
    let day = "2026-03-02T01:00:00Z";
    let engine = engine_with(
        on,
        &[
            ("2026-03-02T12:00:00Z", day),
            ("2026-03-05T12:00:00Z", day),
            ("2026-03-05T11:00:00Z", day),
            ("2026-03-06T12:00:00Z", day),
        ],
    )
    .await;
    let store = &engine.installation.store;
    let service = SERVICE.parse().unwrap();
    for (at, count) in [
        ("2026-03-05T10:59:59Z", Some(1)),
        ("2026-03-05T11:00:00Z", Some(3)),
        ("2026-03-05T12:00:00Z", Some(3)),
        ("2026-03-06T12:00:00Z", Some(4)),
        ("2026-03-02T11:59:59Z", None),
        ("2026-03-05T10:59:59.999Z", Some(1)),
    ] {
        let commit = store.commit_as_of(instant(at)).await.unwrap();
        let row =
            store.usage_row_as_of(service, PeriodType::Daily, "2026-03-02".parse().unwrap(), commit).await.unwrap();
        assert_eq!(row.map(|row| row.numbers.0[9]), count, "as of {at}");
    }
}

async fn reports_answer_as_of_an_instant(on: On) {
    let day = "2026-03-02T01:00:00Z";
    let mut engine = engine_with(on, &[("2026-03-02T12:00:00Z", day), ("2026-04-03T12:00:00Z", day)]).await;
    let entry = format!(
        r#"{{"specversion":"1.0","id":"e","source":"/s","type":"service.updated","subject":"{SERVICE}","time":"{day}","data":{{"name":"A"}}}}"#
    );
    engine.ingest(&[entry.into_bytes()]).await;
    engine.installation.clock = "2026-04-04T12:00:00Z".parse().unwrap();
    let month = "2026-03-01".parse().unwrap();
    let locked = usage_rollup::jobs::lock_month(&engine.installation, &super::support::run(), month).await.unwrap();
    assert!(locked);
    let installation = &engine.installation;
    let reports = Reports::new(installation.store.clone(), installation.clock, installation.config.reporting.timezone);
    let row = async |at: Option<&str>| {
        let reports = at.map_or_else(|| reports.clone(), |at| reports.clone().as_of(instant(at)));
        let day = Some("2026-03-02".parse().unwrap());
        let usage = reports.service_usage(SERVICE.parse().unwrap(), PeriodType::Daily, day).await.unwrap();
        usage.row.map(|row| (row.state, row.revision, row.numbers.0[9]))
    };
    for (at, expected) in [
        (Some("2026-03-02T13:00:00Z"), Some((RowState::Open, 1, 1))),
        (Some("2026-03-03T01:00:00Z"), Some((RowState::Settling, 1, 1))),
        (Some("2026-03-03T02:00:00Z"), Some((RowState::Closed, 1, 1))),
        (Some("2026-04-03T12:00:00Z"), Some((RowState::Restated, 2, 2))),
        (Some("2026-04-04T12:00:00Z"), Some((RowState::Locked, 2, 2))),
        (None, Some((RowState::Locked, 2, 2))),
        (Some("2026-03-02T11:00:00Z"), None),
    ] {
        assert_eq!(row(at).await, expected, "as of {at:?}");
    }
}
