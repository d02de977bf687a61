//! A store that moves: to the other database and back, with everything that is in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use sqlx::Connection as _;
use usage_rollup::jobs::{self, Installation};
use usage_rollup::model::Instant;
use usage_rollup::store::{Store, StoreUrl};

use super::stores::{Database, On, on_each_store, server};
use super::support::{Binary, Engine, run};

on_each_store!(only_an_empty_store_is_copied_to, after_a_copy_the_directory_goes_with_the_first_who_is_written_to,);

const NOW: [&str; 2] = ["--now", "2026-11-23T00:00:00Z"];
const SQLITE: &str = "sqlite:data/usage.db";
/// Another data directory, which is the first one's copy with its database.
const BESIDE: &str = "sqlite:beside/usage.db";
const TINY: &str = include_str!("../golden/tiny/events.ndjson");
/// Characters that PostgreSQL's text can't hold, in each place where any can stand.
const ODD: &str = r#"{"specversion":"1.0","id":"\u0000\u2028","source":"/s","type":"feature.used","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T01:00:00Z","data":{"feature":"SecureForms"}}
{"specversion":"1.0","id":"v","source":"/s","type":"event.voided","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{"source":"/s","id":"\u0000\u2028","time":"2026-03-02T01:00:00Z"}}
{"specversion":"1.0","id":"e","source":"/s","type":"service.updated","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{"name":"a\u0000b","partnerGuid":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}}
{"specversion":"1.0","id":"b","source":"/s","type":"feature.used\u0000","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T02:00:00Z","data":{}}
"#;

/// One data directory, and the database of it that a command is to use.
struct Moving {
    binary: Binary,
}

impl Moving {
    /// With a store in SQLite that has rows in each table.
    fn new() -> Self {
        let this = Self { binary: Binary::new(On::Sqlite) };
        for part in 0..5 {
            let name = format!("part-{part:02}.ndjson");
            fs::copy(Path::new("tests/golden/hard").join(&name), this.binary.path(&name)).unwrap();
        }
        fs::write(this.binary.path("odd.ndjson"), ODD).unwrap();
        for files in [["part-00.ndjson", "part-01.ndjson"], ["part-02.ndjson", "part-03.ndjson"]] {
            this.ok(SQLITE, &[["ingest"].as_slice(), &files].concat());
        }
        this.ok(SQLITE, &["ingest", "odd.ndjson"]);
        this.restate();
        this
    }

    /// Has rows restated, removed and held back after they were closed.
    fn restate(&self) {
        let later = |args: &[&str]| {
            let args = [["--quiet", "--now", "2026-11-23T03:00:00Z"].as_slice(), args].concat();
            let output = self.binary.command(&args).env("USAGE_ROLLUP__STORE__URL", SQLITE).output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let event = |id: &str, kind: &str, time: &str, data: &str| {
            let name = format!("{id}.ndjson");
            let of_all = r#""specversion":"1.0","source":"/r","subject":"0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f0""#;
            let line = format!(r#"{{{of_all},"id":"{id}","type":"{kind}","time":"{time}","data":{data}}}"#);
            fs::write(self.binary.path(&name), line).unwrap();
            name
        };
        let used = r#"{"feature":"SecureForms"}"#;
        let void = r#"{"source":"/r","id":"r1","time":"2026-05-01T01:00:00Z"}"#;
        let first = event("r1", "feature.used", "2026-05-01T01:00:00Z", used);
        let second = event("r2", "feature.used", "2026-05-03T01:00:00Z", used);
        self.ok(SQLITE, &["ingest", &first, &second]);
        later(&["rollup"]);
        later(&["ingest", &event("r3", "event.voided", "2026-11-01T01:00:00Z", void)]);
        later(&["periods", "lock", "2026-06"]);
        later(&["ingest", &event("r4", "feature.used", "2026-06-05T01:00:00Z", used)]);
    }

    fn run(&self, url: &str, args: &[&str]) -> Output {
        let data_dir: &[&str] = if url == BESIDE { &["--data-dir", "beside"] } else { &[] };
        let args = [["--quiet"].as_slice(), &NOW, data_dir, args].concat();
        self.binary.command(&args).env("USAGE_ROLLUP__STORE__URL", url).output().unwrap()
    }

    fn ok(&self, url: &str, args: &[&str]) -> String {
        let output = self.run(url, args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, url: &str, args: &[&str]) -> String {
        let output = self.run(url, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Copies, and gives the rows of each table.
    fn copy(&self, from: &str, to: &str) -> BTreeMap<String, i64> {
        let copied = json(&self.ok("", &["store", "copy", "--from", from, "--to", to, "--json"]));
        assert_eq!(copied["others"], Value::Array(Vec::new()), "each table is one that is copied");
        let rows = copied["tables"].as_array().unwrap().iter();
        rows.map(|of| (of["table"].as_str().unwrap().to_owned(), of["rows"].as_i64().unwrap())).collect()
    }

    /// But for how much room the disk has, which others take, too.
    fn status(&self, url: &str) -> String {
        let mut status = json(&String::from_utf8(self.run(url, &["status", "--json"]).stdout).unwrap());
        status.as_object_mut().unwrap().remove("disk");
        status.to_string()
    }

    /// What users see of a store.
    fn seen(&self, url: &str) -> Vec<String> {
        let export = |period_type, format| {
            self.ok(url, &["export", "--period-type", period_type, "--format", format, "--to", "2026-05-01"])
        };
        vec![
            export("daily", "csv"),
            export("monthly", "ndjson"),
            self.ok(url, &["keys", "list"]),
            self.ok(url, &["services", "list", "--json"]),
            self.ok(url, &["dead-letters", "list"]),
            self.status(url),
        ]
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn open(url: &str, dir: &Path) -> Store {
    let url = if url == SQLITE { format!("sqlite:{}", dir.join("data/usage.db").display()) } else { url.to_owned() };
    Store::open(&StoreUrl::parse(&url, dir).unwrap()).await.unwrap()
}

/// How many rows of a table are in one SQLite database and not in the other, for each table but those that are to differ.
async fn differences(one: &Path, other: &Path) -> Vec<(String, i64)> {
    let mut on = sqlx::SqliteConnection::connect(&format!("sqlite:{}", one.display())).await.unwrap();
    sqlx::query("ATTACH $1 AS other").bind(other.to_str().unwrap()).execute(&mut on).await.unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('lease', '_sqlx_migrations')";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut on).await.unwrap();
    let mut differences = Vec::new();
    for table in tables {
        let without = |a: &str, b: &str| format!("SELECT * FROM {a}.{table} EXCEPT SELECT * FROM {b}.{table}");
        let (gone, more) = (without("main", "other"), without("other", "main"));
        let count = format!("SELECT count(*) FROM (SELECT * FROM ({gone}) UNION ALL SELECT * FROM ({more}))");
        differences.push((table, sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut on).await.unwrap()));
    }
    differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_to_postgres_and_back_and_nothing_is_lost() {
    let (from, database) = (Moving::new(), Database::new(On::Postgres));
    let dir = from.binary.path("");
    let postgres = database.url();
    let key = |name| json(&from.ok(SQLITE, &["keys", "create", "--role", "SuperUser", "--name", name]));
    let (valid, revoked) = (key("valid"), key("revoked"));
    from.ok(SQLITE, &["keys", "revoke", revoked["id"].as_str().unwrap()]);
    // What waits to be rolled up goes, too.
    let mark = "INSERT INTO dirty_partitions (day, service_guid) VALUES (20510, x''), (20511, x'3f2b8c1e7d544f0a9a550d6f1f8f7a10')";
    let sqlite = format!("sqlite:{}", dir.join("data/usage.db").display());
    let mut on = sqlx::SqliteConnection::connect(&sqlite).await.unwrap();
    sqlx::query(mark).execute(&mut on).await.unwrap();
    // So do files that are to be removed.
    let discarded = "INSERT INTO discarded_segments VALUES (x'3f2b8c1e7d544f0a9a550d6f1f8f7a10', 'mixed/gone.parquet')";
    sqlx::query(discarded).execute(&mut on).await.unwrap();
    // And who was erased.
    for erased in [
        "INSERT INTO erased_users VALUES (x'3f2b8c1e7d544f0a9a550d6f1f8f7a10', '2026-04-02T00:00:00Z', '2026-04-02T00:00:01Z')",
        "INSERT INTO erased_emails VALUES (randomblob(32))",
        "INSERT INTO content_orders VALUES (20510, randomblob(32), 1)",
    ] {
        sqlx::query(erased).execute(&mut on).await.unwrap();
    }
    on.close().await.unwrap();
    let seen = from.seen(SQLITE);

    let copied = from.copy(SQLITE, &postgres);

    assert!(copied.values().all(|rows| *rows > 0), "the copied store has rows in each table: {copied:?}");
    assert_eq!(from.seen(&postgres), seen);
    let epochs = "SELECT epoch, commits > 0 FROM lease";
    assert_eq!(server().sql(database.name(), epochs), format!("{}|t\n", epoch(&dir, "data/usage.db").await + 1));

    assert_eq!(from.copy(&postgres, "sqlite:back.db"), copied);
    let mut differences = differences(&dir.join("data/usage.db"), &dir.join("back.db")).await;
    differences.retain(|(_, rows)| *rows > 0);
    assert_eq!(differences, [("settings".to_owned(), 2)], "a copy has a name of its own");
    assert_eq!(from.copy("sqlite:back.db", "sqlite:again.db"), copied);
    assert!(epoch(&dir, "again.db").await > epoch(&dir, "back.db").await);

    // It goes on: with its keys, its inputs, what waits, and the next number for a dead letter.
    let store = open(&postgres, &dir).await;
    let hash = |key: &Value| *blake3::hash(key["key"].as_str().unwrap().as_bytes()).as_bytes();
    let is_valid = async |key| store.key_by_hash(hash(key)).await.unwrap().unwrap().is_valid(Instant::from_nanos(0));
    assert_eq!((is_valid(&valid).await, is_valid(&revoked).await), (true, false));
    store.close().await;
    copy_dir(&dir.join("data"), &dir.join("beside"));
    let report = json(&from.ok(&postgres, &["ingest", "odd.ndjson", "part-02.ndjson"]));
    assert_eq!(report["stored"], 0, "{report}");
    assert!(report["duplicate"].as_i64() > Some(100) && report["rejected"].as_i64() > Some(0), "{report}");
    let report = json(&from.ok(&postgres, &["ingest", "part-04.ndjson"]));
    from.ok(BESIDE, &["ingest", "odd.ndjson", "part-02.ndjson"]);
    let beside = json(&from.ok(BESIDE, &["ingest", "part-04.ndjson"]));
    assert_eq!((&report["stored"], &report["duplicate"]), (&beside["stored"], &beside["duplicate"]));
    assert_eq!(from.seen(&postgres)[..4], from.seen(BESIDE)[..4]);
    from.ok(&postgres, &["verify"]);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

async fn epoch(dir: &Path, name: &str) -> i64 {
    let mut on = sqlx::SqliteConnection::connect(&format!("sqlite:{}", dir.join(name).display())).await.unwrap();
    sqlx::query_scalar("SELECT epoch FROM lease").fetch_one(&mut on).await.unwrap()
}

fn only_an_empty_store_is_copied_to(on: On) {
    let (from, database) = (Moving::new(), Database::new(on));
    let target = if on == On::Sqlite { "sqlite:other.db".to_owned() } else { database.url() };
    // Looking at a new store settles its time zone, and leaves it empty.
    from.ok(&target, &["--data-dir", "other", "rollup"]);
    from.copy(SQLITE, &target);
    let seen = from.seen(&target);
    let error = from.fails("", &["store", "copy", "--from", SQLITE, "--to", &target]);
    assert!(error.contains("the store to copy to is not empty: it has rows in inputs; nothing was changed"), "{error}");
    assert_eq!(from.seen(&target), seen);

    let same = from.run("", &["store", "copy", "--from", &target, "--to", &target]);
    assert_eq!(same.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&same.stderr).contains("are the same database"));
    let missing = from.fails("", &["store", "copy", "--from", "sqlite:none.db", "--to", &target]);
    assert!(missing.contains("there is no database at none.db"), "{missing}");
    assert!(!from.binary.path("none.db").exists());
}

fn after_a_copy_the_directory_goes_with_the_first_who_is_written_to(on: On) {
    let (from, one, other) = (Moving::new(), Database::new(on), Database::new(on));
    let target = |database: &Database, name: &str| {
        if on == On::Sqlite { format!("sqlite:{name}.db") } else { database.url() }
    };
    let (one, other) = (target(&one, "one"), target(&other, "other"));
    fs::write(from.binary.path("tiny.ndjson"), TINY).unwrap();
    let refused = |url: &str| {
        for args in [["rollup"].as_slice(), &["export", "--period-type", "daily"], &["keys", "list"]] {
            let told = from.fails(url, args);
            assert!(told.contains("are not of the same installation"), "{told}");
        }
        let told = from.fails("", &["store", "copy", "--from", url, "--to", "sqlite:third.db"]);
        assert!(told.contains("are not of the same installation"), "{told}");
    };

    // The original goes on, and the copy gets old.
    from.copy(SQLITE, &one);
    assert_eq!(from.seen(&one), from.seen(SQLITE));
    from.ok(SQLITE, &["ingest", "part-04.ndjson"]);
    refused(&one);

    // A copy goes on, and the original gets old.
    from.copy(SQLITE, &other);
    from.ok(&other, &["ingest", "tiny.ndjson"]);
    refused(SQLITE);
    from.ok(&other, &["backfill", "--from", "2026-01-01", "--to", "2026-05-01"]);
    assert!(!from.binary.path("data/orphans").exists(), "a segment was taken for an orphan");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_has_the_original_open_is_refused_once_the_copy_is_used() {
    let daemon = Engine::new(On::Sqlite, NOW[1], &[]).await;
    let Installation { data_dir, config, clock, .. } = &daemon.installation;
    let target = StoreUrl::parse("", &data_dir.join("copy.db")).unwrap();
    daemon.ingest(&[TINY.into()]).await;

    jobs::copy_store(data_dir, &config.store.url, &target, clock.now(), Duration::ZERO).await.unwrap();
    let mut config = (**config).clone();
    config.store.url = target;
    let copy = Installation::open(data_dir, config, *clock).await.unwrap();
    drop(copy.lease(&run()).await.unwrap());

    let refused = daemon.installation.lease(&run()).await.unwrap_err().to_string();
    assert!(refused.contains("are not of the same installation"), "{refused}");
}

#[test]
fn a_copy_that_is_killed_leaves_the_target_empty() {
    let (from, database) = (Moving::new(), Database::new(On::Postgres));
    let postgres = database.url();
    from.ok(&postgres, &["--data-dir", "other", "rollup"]);
    // The last table takes for ever, after all others were copied.
    from.ok(SQLITE, &["keys", "create", "--role", "SuperUser"]);
    let sql = |statement: &str| server().sql(database.name(), statement);
    sql("CREATE FUNCTION wait() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END' LANGUAGE plpgsql");
    sql("CREATE TRIGGER wait BEFORE INSERT ON api_keys FOR EACH ROW EXECUTE FUNCTION wait()");
    let copy = ["--quiet", "store", "copy", "--from", SQLITE, "--to", &postgres];
    let mut copying = from.binary.command(&copy).stdout(Stdio::null()).spawn().unwrap();
    let sleeping =
        format!("SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'", database.name());
    while sql(&sleeping).is_empty() {
        assert!(copying.try_wait().unwrap().is_none(), "the copy ended");
        std::thread::yield_now();
    }
    copying.kill().unwrap();
    copying.wait().unwrap();
    // The server would notice at the next word it says.
    sql(&format!("SELECT pg_terminate_backend(pid) FROM ({sleeping}) AS sleeping"));
    sql("DROP TRIGGER wait ON api_keys");
    assert_eq!(
        sql("SELECT (SELECT count(*) FROM inputs), (SELECT count(*) FROM service_usage), epoch FROM lease"),
        "0|0|1\n"
    );
    from.ok(SQLITE, &["rollup"]);
    from.copy(SQLITE, &postgres);
    assert_eq!(from.seen(&postgres), from.seen(SQLITE));
}

#[test]
fn a_copy_that_fails_leaves_the_target_empty() {
    let (from, database) = (Moving::new(), Database::new(On::Postgres));
    let postgres = database.url();
    from.ok(&postgres, &["--data-dir", "other", "rollup"]);
    // The last table can't be written, after all others were.
    from.ok(SQLITE, &["keys", "create", "--role", "SuperUser"]);
    server().sql(database.name(), "ALTER TABLE api_keys ADD CONSTRAINT no CHECK (false)");
    from.fails("", &["store", "copy", "--from", SQLITE, "--to", &postgres]);
    let left = "SELECT (SELECT count(*) FROM inputs), (SELECT count(*) FROM service_usage), epoch FROM lease";
    assert_eq!(server().sql(database.name(), left), "0|0|1\n");
    server().sql(database.name(), "ALTER TABLE api_keys DROP CONSTRAINT no");
    from.copy(SQLITE, &postgres);
    assert_eq!(from.seen(&postgres), from.seen(SQLITE));
}

#[test]
fn a_column_that_is_not_known_is_not_left_behind_in_silence() {
    let (from, database) = (Moving::new(), Database::new(On::Postgres));
    let postgres = database.url();
    from.copy(SQLITE, &postgres);
    server().sql(database.name(), "CREATE TABLE notes (note text)");
    let copied = json(&from.ok("", &["store", "copy", "--from", &postgres, "--to", "sqlite:one.db", "--json"]));
    assert_eq!(copied["others"], serde_json::json!(["notes"]));
    server().sql(database.name(), "ALTER TABLE voids ADD COLUMN why text");
    let error = from.fails("", &["store", "copy", "--from", &postgres, "--to", "sqlite:two.db"]);
    assert!(error.contains("the table voids has the columns") && error.contains("why text"), "{error}");
}

#[test]
fn the_one_who_holds_the_lease_is_waited_for() {
    let from = Moving::new();
    let lock = fs::File::open(from.binary.path("data/writer.lock")).unwrap();
    lock.lock().unwrap();
    let error = from.fails("", &["--wait", "1ms", "store", "copy", "--from", SQLITE, "--to", "sqlite:other.db"]);
    assert!(error.contains("holds the lease"), "{error}");
    assert!(!from.binary.path("other.db").exists());
}
