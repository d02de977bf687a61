//! The real binary, used as a user would (`spec/cli.md`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::Value;

use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(
    ingest_reads_plain_gzip_and_zstd_by_content_and_standard_input,
    a_file_that_cannot_be_read_costs_its_neighbours_nothing,
    the_inbox_is_emptied_into_done,
    export_has_the_same_columns_in_every_format,
    dead_letters_are_kept_whole_and_replayed_under_their_own_input,
    backfill_recomputes_a_range_and_changes_nothing_that_is_right,
    a_damaged_segment_is_named_and_costs_the_other_days_nothing,
    services_are_imported_from_csv_and_ndjson_all_or_none,
    keys_are_shown_once_and_can_be_revoked,
    the_time_zone_of_an_installation_with_data_cannot_be_changed,
    a_data_directory_is_refused_with_another_installations_store,
);

const NOW: [&str; 2] = ["--now", "2026-02-05T12:00:00Z"];
const SERVICE: &str = "3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10";
const TINY: &str = include_str!("../golden/tiny/events.ndjson");

fn with_tiny(on: On) -> Binary {
    let binary = Binary::new(on);
    fs::write(binary.path("events.ndjson"), TINY).unwrap();
    binary
}

fn at<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [NOW.as_slice(), args].concat()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ingest_reads_plain_gzip_and_zstd_by_content_and_standard_input(on: On) {
    let binary = with_tiny(on);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(TINY.as_bytes()).unwrap();
    fs::write(binary.path("gzip.ndjson"), gzip.finish().unwrap()).unwrap();
    fs::write(binary.path("zstd.gz"), zstd::encode_all(TINY.as_bytes(), 3).unwrap()).unwrap();
    let expected = |stored, duplicate| {
        move |report: &Value| {
            assert_eq!(report["lines"], 21);
            assert_eq!((report["stored"].as_i64(), report["duplicate"].as_i64()), (Some(stored), Some(duplicate)));
            assert_eq!(report["rejected"], 3);
        }
    };
    expected(17, 1)(&json(&binary.ok(&at(&["ingest", "gzip.ndjson"]))));
    for file in ["zstd.gz", "events.ndjson"] {
        expected(0, 18)(&json(&binary.ok(&at(&["ingest", file]))));
    }
    let mut child = binary.command(&at(&["ingest", "-"])).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(TINY.as_bytes()).unwrap();
    let mut report = String::new();
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    assert!(child.wait().unwrap().success());
    expected(0, 18)(&json(&report));
}

fn a_file_that_cannot_be_read_costs_its_neighbours_nothing(on: On) {
    let binary = with_tiny(on);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(TINY.as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    fs::write(binary.path("cut.gz"), &whole[..whole.len() - 20]).unwrap();
    let output = binary.run(&at(&["ingest", "missing.ndjson", "cut.gz", "events.ndjson"]));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("cannot read missing.ndjson"), "{errors}");
    assert!(errors.contains("cut.gz to its end"), "{errors}");
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["stored"], 17);
    assert_eq!(binary.run(&at(&["status"])).status.code(), Some(1));
}

fn the_inbox_is_emptied_into_done(on: On) {
    let binary = with_tiny(on);
    let inbox = binary.path("data/inbox");
    fs::create_dir_all(&inbox).unwrap();
    fs::rename(binary.path("events.ndjson"), inbox.join("events.ndjson")).unwrap();
    assert_eq!(json(&binary.ok(&at(&["ingest"])))["stored"], 17);
    assert!(inbox.join("done/events.ndjson").exists());
    assert_eq!(json(&binary.ok(&at(&["ingest"])))["files"], 0);
}

fn export_has_the_same_columns_in_every_format(on: On) {
    let binary = with_tiny(on);
    binary.ok(&at(&["ingest", "events.ndjson"]));
    let export = |args: &[&str]| binary.ok(&[NOW.as_slice(), &["export", "--period-type", "daily"], args].concat());
    insta::assert_snapshot!(export(&["--service", SERVICE, "--from", "2026-02-01", "--to", "2026-02-02"]), @r"
    ServiceGuid,PeriodType,Period,TotalUserCount,ProUserCount,GuestUserCount,DisabledUserCount,UnregisteredUserCount,FeatureUsageSecureMessagingGateway,FeatureUsageSecureMessagingPlus,FeatureUsageDataLeakPrevention,FeatureUsageSecureLargeFiles,FeatureUsageSecureForms,TotalMessageCount,TotalAttachmentCount,AttachmentStorageUsage
    3f2b8c1e7d544f0a9a550d6f1f8f7a10,Daily,2026-02-01,2,1,1,0,0,0,0,0,0,0,1,2,1024
    3f2b8c1e7d544f0a9a550d6f1f8f7a10,Daily,2026-02-02,2,0,1,1,0,0,0,0,3,1,0,0,1024
    ");
    insta::assert_snapshot!(export(&["--service", SERVICE, "--from", "2026-02-02", "--to", "2026-02-02", "--format", "ndjson"]), @r#"{"ServiceGuid":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","PeriodType":"Daily","Period":"2026-02-02","TotalUserCount":2,"ProUserCount":0,"GuestUserCount":1,"DisabledUserCount":1,"UnregisteredUserCount":0,"FeatureUsageSecureMessagingGateway":0,"FeatureUsageSecureMessagingPlus":0,"FeatureUsageDataLeakPrevention":0,"FeatureUsageSecureLargeFiles":3,"FeatureUsageSecureForms":1,"TotalMessageCount":0,"TotalAttachmentCount":0,"AttachmentStorageUsage":1024}"#);
    export(&["--format", "parquet", "--output", "rows.parquet"]);
    assert!(fs::read(binary.path("rows.parquet")).unwrap().starts_with(b"PAR1"));
    let monthly = binary.ok(&at(&["export", "--period-type", "monthly", "--from", "2026-02-28", "--to", "2026-02-28"]));
    assert_eq!(monthly.lines().count(), 3, "any date selects its month: {monthly}");
}

fn dead_letters_are_kept_whole_and_replayed_under_their_own_input(on: On) {
    let binary = with_tiny(on);
    binary.ok(&at(&["ingest", "events.ndjson"]));
    let listed: Vec<Value> = binary.ok(&at(&["dead-letters", "list"])).lines().map(json).collect();
    let told: Vec<String> = listed
        .iter()
        .map(|letter| format!("{}:{} {} {}", letter["line"], letter["reason"], letter["member"], letter["detail"]))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    20:"invalid_json" "" "the line ends within a string at byte 35"
    21:"unknown_type" "type" "'message.Sent' is no type of the specification, nor mapped to one by ingest.types"
    22:"invalid_data" "data.sizeBytes" "expected an integer from 0 through 2^53, written without sign, fraction or exponent"
    "#);
    let line = TINY.lines().nth(19).unwrap();
    assert_eq!(listed[0]["content"], line);
    let offset = usize::try_from(listed[0]["offset"].as_u64().unwrap()).unwrap();
    assert!(TINY[offset..].starts_with(line));

    fs::write(binary.path("usage-rollup.toml"), "[ingest.types]\n\"message.Sent\" = \"message.retrieved\"\n").unwrap();
    let replayed = json(&binary.ok(&at(&["dead-letters", "replay", "--reason", "unknown_type"])));
    assert_eq!((&replayed["replayed"], &replayed["rejected"]), (&0.into(), &1.into()), "its data is still not valid");
    fs::write(binary.path("usage-rollup.toml"), "[ingest.types]\n\"message.Sent\" = \"service.updated\"\n").unwrap();
    let replayed = json(&binary.ok(&at(&["dead-letters", "replay", "--reason", "unknown_type"])));
    assert_eq!((&replayed["replayed"], &replayed["rejected"]), (&1.into(), &0.into()));
    let status = json(&binary.ok(&at(&["status", "--json"])));
    let ledger = |name: &str| status["ledger"][name].as_i64().unwrap();
    assert_eq!((ledger("lines"), ledger("stored"), ledger("rejected")), (21, 18, 2));
}

fn backfill_recomputes_a_range_and_changes_nothing_that_is_right(on: On) {
    let binary = with_tiny(on);
    binary.ok(&at(&["ingest", "events.ndjson"]));
    let export = || binary.ok(&at(&["export", "--period-type", "daily"]));
    let before = export();
    let backfill = ["backfill", "--from", "2026-01-01", "--to", "2026-02-28"];
    let report = json(&binary.ok(&at(&backfill)));
    assert_eq!((report["rows_written"].as_i64(), export()), (Some(0), before.clone()));
    assert!(report["partitions"].as_i64() > Some(0));
    let of_service = [backfill.as_slice(), &["--service", SERVICE]].concat();
    assert_eq!(json(&binary.ok(&at(&of_service)))["rows_written"], 0);
    assert_eq!(export(), before);
    let backwards = binary.fails(2, &at(&["backfill", "--from", "2026-02-02", "--to", "2026-02-01"]));
    assert!(backwards.contains("--to 2026-02-01 lies before --from 2026-02-02"), "{backwards}");
}

fn a_damaged_segment_is_named_and_costs_the_other_days_nothing(on: On) {
    let binary = Binary::new(on);
    let event = |day: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{day}","source":"/s","type":"feature.used","subject":"{SERVICE}","time":"{day}T12:00:00Z","data":{{"feature":"SecureForms"}}}}"#
        )
    };
    for day in ["2026-02-01", "2026-02-03"] {
        fs::write(binary.path(day), event(day)).unwrap();
    }
    binary.ok(&at(&["ingest", "2026-02-01"]));
    let folder = binary.path("data/events/2026-02-01");
    let segment = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&segment, flipped).unwrap();

    // The same line again, so that its day is dirty, and one of another day.
    let error = binary.fails(1, &at(&["ingest", "2026-02-01", "2026-02-03"]));

    assert!(error.contains("1 days can't be rolled up, the first of them 2026-02-01; all others are"), "{error}");
    assert!(error.contains("is damaged: the hash of its end is not the one in the catalog"), "{error}");
    let exported = binary.ok(&at(&["export", "--period-type", "daily", "--from", "2026-02-03", "--to", "2026-02-03"]));
    assert!(exported.contains("Daily,2026-02-03,0,0,0,0,0,0,0,0,0,1,"), "{exported}");
    fs::write(&segment, whole).unwrap();
    binary.ok(&at(&["rollup"]));
    assert_eq!(binary.run(&at(&["status"])).status.code(), Some(0));
}

fn services_are_imported_from_csv_and_ndjson_all_or_none(on: On) {
    let binary = Binary::new(on);
    fs::write(
        binary.path("a.csv"),
        format!("serviceGuid,name,status,contact.email\n{SERVICE},\"Acme, Inc\",TrialActive,ann@acme.example\n"),
    )
    .unwrap();
    assert_eq!(json(&binary.ok(&["services", "import", "a.csv"]))["imported"], 1);
    fs::write(
        binary.path("b.ndjson"),
        format!(
            "{{\"serviceGuid\":\"{SERVICE}\",\"name\":null}}\n{{\"serviceGuid\":\"{SERVICE}\",\"status\":\"Nice\"}}\n"
        ),
    )
    .unwrap();
    let error = binary.fails(1, &["services", "import", "b.ndjson"]);
    assert!(
        error.contains("b.ndjson, entry 2: invalid_data: data.status: expected a service status; nothing was imported"),
        "{error}"
    );
    let listed = json(&binary.ok(&["services", "list", "--json"]));
    assert_eq!((&listed["name"], &listed["status"]), (&"Acme, Inc".into(), &"TrialActive".into()));
    assert_eq!(listed["contact"]["email"], "ann@acme.example");
}

fn keys_are_shown_once_and_can_be_revoked(on: On) {
    let binary = Binary::new(on);
    let scope = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
    let created = json(&binary.ok(&[
        "keys",
        "create",
        "--role",
        "service",
        "--scope",
        scope,
        "--expires",
        "2099-01-01",
        "--name",
        "billing",
    ]));
    assert_eq!(
        (&created["role"], &created["scope"], &created["expires"]),
        (&"Service".into(), &scope.into(), &"2099-01-01T00:00:00Z".into())
    );
    let (id, key) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    let listed = binary.ok(&["keys", "list"]);
    assert!(listed.contains(id) && listed.contains("billing") && !listed.contains(key));
    binary.ok(&["keys", "revoke", id]);
    assert!(binary.ok(&["keys", "list"]).contains("revoked"));
    binary.fails(1, &["keys", "revoke", id]);
    binary.fails(2, &["keys", "create", "--role", "partner"]);
}

#[test]
fn wrong_usage_and_configuration_end_with_2_and_say_what_is_wrong() {
    let binary = Binary::new(On::Sqlite).with("USAGE_ROLLUP__REPORTING__TIMZONE", "UTC");
    let error = binary.fails(2, &["rollup"]);
    assert!(error.contains("USAGE_ROLLUP__REPORTING__TIMZONE: there is no setting `reporting.timzone`; did you mean `reporting.timezone`?"), "{error}");
    let binary = Binary::new(On::Sqlite);
    binary.fails(2, &["export"]);
    binary.fails(2, &["no-such-command"]);
    assert!(binary.fails(1, &["status"]).contains("there is no database at data/usage.db"));
}

fn the_time_zone_of_an_installation_with_data_cannot_be_changed(on: On) {
    let binary = with_tiny(on);
    binary.ok(&at(&["ingest", "events.ndjson"]));
    fs::write(binary.path("usage-rollup.toml"), "[reporting]\ntimezone = \"Europe/Berlin\"\n").unwrap();
    let error = binary.fails(1, &at(&["rollup"]));
    assert!(error.contains("rows of this installation are in UTC, but reporting.timezone is Europe/Berlin"), "{error}");
}

#[test]
fn generate_gives_the_same_events_for_the_same_seed() {
    let binary = Binary::new(On::Sqlite);
    let generate = |seed| binary.ok(&["generate", "--events", "500", "--seed", seed, "--end", "2026-03-31"]);
    assert_eq!(generate("7"), generate("7"));
    assert_ne!(generate("7"), generate("8"));
    assert_eq!(generate("7").lines().count(), 500);
}

#[test]
fn config_completions_and_man_are_printed() {
    let binary = Binary::new(On::Sqlite).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:9");
    assert_eq!(binary.ok(&["config", "check"]), "the configuration is valid\n");
    let shown = binary.ok(&["config", "show"]);
    let listen = shown.lines().find(|line| line.trim_start().starts_with("api.listen")).unwrap();
    assert!(listen.contains("127.0.0.1:9") && listen.contains("USAGE_ROLLUP__API__LISTEN"), "{listen}");
    assert!(binary.ok(&["completions", "bash"]).contains("usage-rollup"));
    assert!(binary.ok(&["man"]).contains(".TH usage-rollup"));
}

fn a_data_directory_is_refused_with_another_installations_store(on: On) {
    let (one, other) = (with_tiny(on), with_tiny(on));
    let ingest = at(&["ingest", "events.ndjson"]);
    one.ok(&ingest);
    other.ok(&at(&["keys", "list"]));
    // Both were used, and one has data: its directory with the other's store, and the other way round.
    let data = one.path("data").display().to_string();
    let refused = |binary: &Binary, args: &[&str]| {
        let told = binary.fails(1, &at(args));
        assert!(told.contains("are not of the same installation"), "{told}");
    };
    match on {
        // The store lies in the directory: what can happen is that it is taken away.
        On::Sqlite => {
            fs::copy(other.path("data/usage.db"), one.path("data/usage.db")).unwrap();
            fs::remove_file(one.path("data/usage.db-wal")).unwrap_or_default();
            refused(&one, &["rollup"]);
            refused(&one, &["export", "--period-type", "daily"]);
            fs::remove_file(one.path("data/usage.db")).unwrap();
            refused(&one, &ingest[2..]);
        }
        On::Postgres => {
            refused(&other, &["--data-dir", &data, "rollup"]);
            refused(&other, &["--data-dir", &data, "export", "--period-type", "daily"]);
            let events = other.path("events.ndjson").display().to_string();
            let mut elsewhere = one.command(&at(&["--data-dir", "empty", "ingest", &events]));
            assert_eq!(elsewhere.output().unwrap().status.code(), Some(1), "its events are in another directory");
            // From before directories and stores had names.
            fs::remove_file(one.path("data/installation")).unwrap();
            one.ok(&at(&["rollup"]));
            assert!(one.path("data/installation").exists());
            // The database was made anew, and the events of the old one are still here.
            one.reset_database();
            refused(&one, &["rollup"]);
        }
    }
    assert!(fs::read_dir(one.path("data/events")).unwrap().count() > 0 && !one.path("data/orphans").exists());
}
