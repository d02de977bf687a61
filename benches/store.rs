//! ServiceUsage rows written a second: by the real store, new, unchanged and changed, beside a bare bulk insert of the same
//! rows into an equal table of the same database. On SQLite, and on a PostgreSQL server of its own where one is installed.

use std::time::{Duration, Instant as Timer};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::runtime::Runtime;
use usage_rollup::clock::Clock;
use usage_rollup::model::{Day, IdentityHash, Instant, Numbers, PeriodType, Reason, RowState};
use usage_rollup::rollup::DraftRow;
use usage_rollup::store::{Lease, RollupCommit, RowFate, ServiceRows, Store, StoreUrl};
use uuid::Uuid;

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "it is the tests' file, and only starts the server here"
)]
#[path = "../tests/it/stores.rs"]
mod stores;

const SERVICES: u128 = 5_000;
const DAYS: i32 = 10;
const ROWS: usize = 50_000;
const FIRST: Day = Day(20_500);
const NOW: Instant = Instant::from_seconds(20_520 * 86_400);
const COLUMNS: usize = 24;
/// What the store's own connection has, so that nothing but the statements differs.
const SQLITE_CACHE: &str = "-32768";

/// The rows of all services, with as many messages as told.
fn commit(messages: i64) -> RollupCommit {
    let row = |period| {
        let mut numbers = Numbers([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4_096]);
        numbers.0[10] = messages;
        let draft = DraftRow {
            period_type: PeriodType::Daily,
            period,
            numbers,
            event_count: messages,
            input_digest: IdentityHash(messages.unsigned_abs().into()),
            clamped: false,
        };
        let closes_at = period.next().utc_start().plus_seconds(7_200);
        (draft, RowFate { is_new: true, state: RowState::Closed, end: period.next().utc_start(), closes_at })
    };
    let of_service = |service| ServiceRows {
        service: Uuid::from_u128(service << 64 | service),
        stored: None,
        reason: Reason::Late,
        gone: Vec::new(),
        rows: FIRST.through(Day(FIRST.0 + DAYS - 1)).map(row).collect(),
    };
    RollupCommit { rows: (1..=SERVICES).map(of_service).collect(), ..RollupCommit::default() }
}

/// A row as a plain client has it, its values ready to be bound.
struct Plain {
    period: String,
    service: Uuid,
    service_text: String,
    draft: DraftRow,
    closes_at: Instant,
}

fn plain(commit: &RollupCommit) -> Vec<Plain> {
    let of_service = |of: &ServiceRows| {
        let service = of.service;
        let row = move |(draft, fate): &(DraftRow, RowFate)| Plain {
            period: draft.period.to_string(),
            service,
            service_text: service.simple().to_string(),
            draft: *draft,
            closes_at: fate.closes_at,
        };
        of.rows.iter().map(row).collect::<Vec<_>>()
    };
    let mut rows: Vec<Plain> = commit.rows.iter().flat_map(of_service).collect();
    rows.sort_by_key(|row| row.draft.period);
    rows
}

/// A database with an open store, and a connection of our own.
struct Bench {
    name: &'static str,
    runtime: Runtime,
    store: Store,
    lease: Lease,
    bare: Bare,
}

enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Bare {
    async fn run(&mut self, statement: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        match self {
            Self::Sqlite(on) => query.execute(on).await.map(|_| ()),
            Self::Postgres(on) => query.execute(on).await.map(|_| ()),
        }
        .expect("the database takes it");
    }

    /// One transaction; multi-row VALUES of 128 rows on SQLite, one UNNEST of all on PostgreSQL.
    async fn insert(&mut self, rows: &[Plain], statement: &str) {
        match self {
            Self::Sqlite(on) => insert_sqlite(on, rows, statement).await,
            Self::Postgres(on) => insert_postgres(on, rows).await,
        }
        .expect("the database takes it");
    }
}

async fn insert_sqlite(on: &mut SqliteConnection, rows: &[Plain], statement: &str) -> sqlx::Result<()> {
    let mut transaction = on.begin_with("BEGIN IMMEDIATE").await?;
    let computed_at = NOW.to_rfc3339_seconds();
    for rows in rows.chunks(SQLITE_ROWS) {
        let text = if rows.len() == SQLITE_ROWS { statement.to_owned() } else { sqlite_statement(rows.len()) };
        let mut query = sqlx::query(AssertSqlSafe(text));
        for row in rows {
            query = query.bind(&row.service_text).bind("Daily").bind(&row.period);
            for number in row.draft.numbers.0 {
                query = query.bind(number);
            }
            let digest = row.draft.input_digest.0.to_be_bytes().to_vec();
            query = query.bind(row.draft.event_count).bind(digest).bind(row.draft.clamped).bind(1_i64).bind("closed");
            query = query.bind(&computed_at).bind(row.closes_at.to_rfc3339_seconds()).bind(1_i64);
        }
        query.execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn insert_postgres(on: &mut PgConnection, rows: &[Plain]) -> sqlx::Result<()> {
    let parameters: Vec<String> = (1..=COLUMNS).map(|number| format!("${number}")).collect();
    let statement = format!("INSERT INTO bare SELECT * FROM unnest({})", parameters.join(", "));
    let all = rows.len();
    let mut query = sqlx::query(AssertSqlSafe(statement))
        .bind(rows.iter().map(|row| row.service).collect::<Vec<_>>())
        .bind(vec!["Daily"; all])
        .bind(rows.iter().map(|row| row.period.as_str()).collect::<Vec<_>>());
    for column in 0..Numbers::COLUMNS.len() {
        query = query.bind(rows.iter().map(|row| row.draft.numbers.0[column]).collect::<Vec<_>>());
    }
    query
        .bind(rows.iter().map(|row| row.draft.event_count).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.draft.input_digest.0.to_be_bytes().to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.draft.clamped).collect::<Vec<_>>())
        .bind(vec![1_i64; all])
        .bind(vec!["closed"; all])
        .bind(vec![NOW.to_utc(); all])
        .bind(rows.iter().map(|row| row.closes_at.to_utc()).collect::<Vec<_>>())
        .bind(vec![1_i64; all])
        .execute(on)
        .await
        .map(|_| ())
}

/// As the store has it.
const SQLITE_ROWS: usize = 128;

fn sqlite_statement(rows: usize) -> String {
    let row = format!("({})", vec!["?"; COLUMNS].join(","));
    format!("INSERT INTO bare VALUES {}", vec![row; rows].join(","))
}

impl Bench {
    /// A new store, with an equal table without rows beside its own.
    fn new(name: &'static str, url: &str, home: &std::path::Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (store, lease, bare) = runtime.block_on(async {
            let at = StoreUrl::parse(url, &home.join("usage.db")).expect("a URL");
            let store = Store::open(&at).await.expect("a new database");
            let lease = store.lease(&home.join(name), "bench", NOW, Duration::ZERO).await.expect("nobody else writes");
            let bare = match at {
                StoreUrl::Sqlite(path) => Bare::Sqlite(equal_in_sqlite(&path).await.expect("the store's file")),
                StoreUrl::Postgres(_) => {
                    let mut bare = Bare::Postgres(PgConnection::connect(url).await.expect("the store's server"));
                    bare.run("CREATE TABLE bare (LIKE service_usage INCLUDING ALL)").await;
                    bare
                }
            };
            (store, lease, bare)
        });
        Self { name, runtime, store, lease, bare }
    }

    fn empty(&mut self) {
        let statement = match self.bare {
            Bare::Sqlite(_) => {
                "DELETE FROM service_usage; DELETE FROM usage_history; DELETE FROM state_changes; DELETE FROM bare"
            }
            Bare::Postgres(_) => "TRUNCATE service_usage, usage_history, state_changes, bare; CHECKPOINT",
        };
        self.runtime.block_on(self.bare.run(statement));
    }

    fn write(&self, commit: &RollupCommit) -> (Duration, u64) {
        let started = Timer::now();
        let written = self.store.commit_rollup(&self.lease, commit, Day::utc_of(NOW), Clock::Fixed(NOW));
        let written = self.runtime.block_on(written).expect("the store takes it");
        (started.elapsed(), written)
    }

    fn insert_bare(&mut self, rows: &[Plain], statement: &str) -> Duration {
        let started = Timer::now();
        self.runtime.block_on(self.bare.insert(rows, statement));
        started.elapsed()
    }
}

async fn equal_in_sqlite(path: &std::path::Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", SQLITE_CACHE)
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "2000");
    let mut on = SqliteConnection::connect_with(&options).await?;
    let schema = "SELECT sql FROM sqlite_schema WHERE tbl_name = 'service_usage' AND sql IS NOT NULL ORDER BY rootpage";
    let schema: Vec<String> = sqlx::query_scalar(schema).fetch_all(&mut on).await?;
    for statement in schema {
        let statement = statement.replace("service_usage", "bare");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut on).await?;
    }
    Ok(on)
}

fn rows(criterion: &mut Criterion, bench: &mut Bench) {
    let mut group = criterion.benchmark_group(format!("row write, {}", bench.name));
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    let (one, other) = (commit(1), commit(2));
    let (plain, statement) = (plain(&one), sqlite_statement(SQLITE_ROWS));
    let sum = |times: u64, mut timed: Box<dyn FnMut() -> Duration + '_>| (0..times).map(|_| timed()).sum::<Duration>();
    group.bench_function("bare bulk insert", |bencher| {
        bencher.iter_custom(|times| {
            let timed = || {
                bench.empty();
                bench.insert_bare(&plain, &statement)
            };
            sum(times, Box::new(timed))
        });
    });
    group.bench_function("new", |bencher| {
        bencher.iter_custom(|times| {
            let timed = || {
                bench.empty();
                let (took, written) = bench.write(&one);
                assert_eq!(written, ROWS as u64);
                took
            };
            sum(times, Box::new(timed))
        });
    });
    bench.empty();
    bench.write(&one);
    group.bench_function("unchanged", |bencher| {
        bencher.iter_custom(|times| {
            let timed = || {
                let (took, written) = bench.write(&one);
                assert_eq!(written, 0);
                took
            };
            sum(times, Box::new(timed))
        });
    });
    let mut turn = 0;
    group.bench_function("changed", |bencher| {
        bencher.iter_custom(|times| {
            let timed = || {
                turn += 1;
                let (took, written) = bench.write(if turn % 2 == 1 { &other } else { &one });
                assert_eq!(written, ROWS as u64);
                took
            };
            sum(times, Box::new(timed))
        });
    });
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let home = tempfile::tempdir().expect("a temporary directory");
    rows(criterion, &mut Bench::new("SQLite", "", home.path()));
    if stores::programs().is_none() {
        eprintln!("PostgreSQL is not installed here: rows are written on SQLite alone");
        return;
    }
    let server = stores::Server::start(stores::Durable::Yes);
    server.sql("postgres", "CREATE DATABASE bench");
    rows(criterion, &mut Bench::new("PostgreSQL", &server.url("bench"), home.path()));
}

criterion_group!(benches, all);
criterion_main!(benches);
