//! What is SQLite's.

use std::fs::{File, Metadata};
use std::num::ParseIntError;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous, SqliteValueRef,
};
use sqlx::{ConnectOptions as _, Connection as _, Decode, Sqlite, SqlitePool};
use uuid::Uuid;

use super::super::{Result, StoreError};
use super::lookup::{Column, Lookup};
use super::value::{AnyText, Guids, Integers, Shown, kept_as};
use super::{Pool, Pools};
use crate::model::{Day, Instant};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The primary result codes of a database that others hold, or that the system won't let us at: busy, locked, I/O error,
/// full, cannot open.
const OUT_OF_REACH: [i32; 5] = [5, 6, 10, 13, 14];

pub(super) fn is_out_of_reach(error: &dyn DatabaseError) -> bool {
    let code = error.try_downcast_ref::<SqliteError>().and_then(DatabaseError::code);
    // The primary code is the low byte of an extended one.
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| OUT_OF_REACH.contains(&(code & 0xff)))
}

/// What to do about an error whose own words do not say: SQLite has one for all that goes wrong with a file.
pub(super) fn advice(error: &dyn DatabaseError) -> Option<&'static str> {
    let code = error.try_downcast_ref::<SqliteError>().and_then(DatabaseError::code)?;
    match code.parse::<i32>().ok()? & 0xff {
        8 | 14 => Some("is the database's directory there, and may it be written to? It may be read-only"),
        10 => Some("the disk can't be read or written; where it is full, make room, and run the same command again"),
        13 => Some("the disk is full: make room, and run the same command again"),
        _ => None,
    }
}

/// SQLite has no code of its own for it.
pub(super) fn is_no_such_table(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<SqliteError>().is_some_and(|error| error.message().starts_with("no such table"))
}

/// One connection writes: SQLite has one writer, and waiting for it in line is better than failing. Most of the pages that a
/// job reads it writes then, and this connection's cache has them.
pub(super) async fn open(path: &Path) -> sqlx::Result<Pools> {
    // A statement that changes rows keeps copies of their pages while it runs, so that it can be undone: in memory here, while
    // readers, whose exports may sort more than that holds, use a file. The cache holds what a statement works on; a commit goes
    // through its tables in their order, so a page that no longer fits is written out once all the same, and the next one lies in
    // memory that is warm.
    let options_to_write =
        options(path).create_if_missing(true).pragma("temp_store", "MEMORY").pragma("cache_size", "-8192");
    let writer = pool(1).connect_with(options_to_write).await?;
    let readers = Pool::Sqlite(pool(4).connect_lazy_with(options(path)));
    Ok(Pools {
        writer: Pool::Sqlite(writer),
        exports: readers.clone(),
        readers,
        wal_index: WalIndex::of(path).map(Arc::new),
    })
}

/// Connections to a file cost nothing while they are idle, and the index of the write-ahead log stays the same one.
fn pool(connections: u32) -> SqlitePoolOptions {
    let pool = SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
    // There is no network between, so a connection that was given back is as it was.
    let pool = pool.test_before_acquire(false);
    // Where a disk is full, SQLite itself ends the transaction; sqlx then takes it for open for ever, and begins no other.
    pool.before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

/// A file that is not there is not made, and the connections are made when they are wanted.
pub(super) fn open_to_read(path: &Path) -> Pools {
    let pool = |connections| Pool::Sqlite(pool(connections).connect_lazy_with(options(path)));
    let readers = pool(4);
    Pools { writer: pool(1), exports: readers.clone(), readers, wal_index: WalIndex::of(path).map(Arc::new) }
}

/// The index of the write-ahead log, which each connection shares. SQLite changes its header as the last step of a commit,
/// which makes the commit visible to readers ("WAL-mode File Format", 2.1).
#[derive(Debug)]
pub struct WalIndex {
    path: PathBuf,
    file: Mutex<Option<Arc<File>>>,
}

/// All that were ever opened and are still there. Whoever closes a file drops all locks that the process has on it, SQLite's as
/// well: none is closed before SQLite has removed it.
static OPEN: Mutex<Vec<Arc<File>>> = Mutex::new(Vec::new());

fn open_for_good(path: &Path) -> Option<Arc<File>> {
    let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|file| is_there(file).is_some());
    let wanted = path.metadata().ok()?;
    let is_wanted = |file: &&Arc<File>| file.metadata().is_ok_and(|metadata| same(&metadata, &wanted));
    if let Some(file) = open.iter().find(is_wanted) {
        return Some(file.clone());
    }
    let file = Arc::new(File::open(path).ok()?);
    open.push(file.clone());
    Some(file)
}

fn is_there(file: &Arc<File>) -> Option<Metadata> {
    file.metadata().ok().filter(|metadata| metadata.nlink() > 0)
}

/// What is another one after each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The file goes with the last connection, and a new one may begin as the old one did.
    inode: u64,
    created: SystemTime,
    header: [u8; HEADER_BYTES],
}

const HEADER_BYTES: usize = 48;
/// In the header: whether it holds anything yet.
const IS_INITIALIZED: usize = 12;

impl WalIndex {
    /// SQLite makes it beside the file itself, not beside a link to it.
    fn of(path: &Path) -> Option<Self> {
        let mut name = path.canonicalize().ok()?.into_os_string();
        name.push("-shm");
        Some(Self { path: name.into(), file: Mutex::default() })
    }

    /// None where it can't be told, as in the middle of a change: the header is there twice.
    pub(super) fn version(&self) -> Option<Version> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = match file.as_ref().and_then(is_there) {
            Some(metadata) => metadata,
            None => is_there(file.insert(open_for_good(&self.path)?))?,
        };
        let mut both = [0; 2 * HEADER_BYTES];
        file.as_ref()?.read_exact_at(&mut both, 0).ok()?;
        let (header, again) = both.split_first_chunk::<HEADER_BYTES>()?;
        let is_whole = header == again && header[IS_INITIALIZED] == 1;
        is_whole.then_some(Version { inode: metadata.ino(), created: metadata.created().ok()?, header: *header })
    }
}

/// Pages that were freed keep what stood in them, and so does the write-ahead log. Tells whether a reader kept that from going.
pub(super) async fn scrub(pool: &SqlitePool) -> sqlx::Result<bool> {
    sqlx::raw_sql("VACUUM").execute(pool).await?;
    // How it ended comes first: 1 where it could not go through to the end.
    let ended: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
    Ok(ended != 0)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // Months' facts have 750 bytes on average, and more than 1.5 KB in busy services: a page must hold several.
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(30))
        // Rows are handed over between threads: in larger portions there are fewer wake-ups.
        .row_buffer_size(1024)
        // All sizes of all inserts, and what else there is.
        .statement_cache_capacity(256)
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "2000")
        // A long export is no slow statement, and nobody can act upon the log's saying so.
        .disable_statement_logging()
}

/// How many rows a statement inserts: fixed sizes, so that few texts exist and stay prepared. Larger ones save little: a
/// statement's program grows with its rows. With fewer sizes, what is left of a group takes several times as many statements.
pub(super) const INSERT_SIZES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// The largest size that so many rows fill, and its place.
pub(super) fn insert_size(rows: usize) -> Option<(usize, usize)> {
    INSERT_SIZES.into_iter().enumerate().find(|(_, size)| *size <= rows)
}

pub(super) fn rows_to_insert(shared: usize, columns: usize, rows: usize) -> String {
    let rows = values(columns, rows);
    if shared == 0 {
        return rows;
    }
    let shared: Vec<String> = (1..=shared).map(|number| format!("? AS shared{number}")).collect();
    // Without a condition, what follows a conflict would be read as that of a join.
    format!("SELECT * FROM (SELECT {}) CROSS JOIN ({rows}) WHERE true", shared.join(", "))
}

fn values(columns: usize, rows: usize) -> String {
    let row = ["(", &vec!["?"; columns].join(","), ")"].concat();
    ["VALUES ", &vec![row; rows].join(",")].concat()
}

/// Rows that are sent as a table with named columns.
pub(super) fn rows_as_table(shared: &[&str], columns: &[&str], rows: usize) -> String {
    let rows = values(columns.len(), rows);
    let shared: Vec<String> = shared.iter().map(|name| format!("? AS {name}")).collect();
    let columns: Vec<String> = (1..).zip(columns).map(|(number, name)| format!("column{number} AS {name}")).collect();
    let (shared, columns) = (shared.join(", "), columns.join(", "));
    format!("(SELECT * FROM (SELECT {shared}) CROSS JOIN (SELECT {columns} FROM ({rows})))")
}

/// Lists are parameters: numbers as JSON, and GUIDs one after the other, to be cut up.
pub(super) fn in_list(of_integers: bool, parameter: &str) -> String {
    if of_integers {
        return format!("IN (SELECT value FROM json_each({parameter}))");
    }
    format!("IN ({} SELECT substr({parameter}, at, 16) FROM wanted)", wanted(parameter, 16))
}

/// Where the keys of a parameter begin that has them one after the other.
fn wanted(parameter: &str, bytes: usize) -> String {
    format!(
        "WITH RECURSIVE wanted (at) AS
             (SELECT 1 UNION ALL SELECT at + {bytes} FROM wanted WHERE at + {bytes} < length({parameter}))"
    )
}

/// All rows in one value: a row that is handed over from SQLite's thread by itself costs more than what stands in it. GUIDs
/// have 16 bytes, numbers are padded, encoded values tell their own length, and that of other bytes comes before them.
pub(super) fn lookup(lookup: &Lookup) -> String {
    let Lookup { columns, table, keys, condition, .. } = lookup;
    let column = |column: &Column| match column {
        Column::Guid(name) | Column::Encoded(name) => (*name).to_owned(),
        Column::Day(name) | Column::Number(name) => format!("printf('%11s', coalesce({name}, ''))"),
        Column::Bytes(name) => format!("printf('%11s', length({name})) || {name}"),
    };
    let columns = columns.iter().map(column).collect::<Vec<String>>().join(" || ");
    let of_key = |(at, key): (usize, &&str)| format!("{key} = substr($1, at + {at}, 16)");
    let mut conditions: Vec<String> = (0..).step_by(16).zip(*keys).map(of_key).collect();
    conditions.extend((!condition.is_empty()).then(|| (*condition).to_owned()));
    let conditions = conditions.join(" AND ");
    let (with, from) = match keys.len() {
        0 => (String::new(), ""),
        of_key => (wanted("$1", of_key * 16), "wanted CROSS JOIN "),
    };
    format!("{with} SELECT CAST(group_concat({columns}, '') AS BLOB) FROM {from}{table} WHERE {conditions}")
}

/// The rows of a [`lookup`].
pub struct JoinedRows<'a>(&'a [u8]);

impl<'a> JoinedRows<'a> {
    /// No rows are no value.
    pub fn new(joined: Option<&'a [u8]>) -> Self {
        Self(joined.unwrap_or_default())
    }

    pub fn next(&self) -> bool {
        !self.0.is_empty()
    }

    pub fn guid(&mut self) -> Result<Uuid> {
        self.take(16).and_then(|bytes| Uuid::from_slice(bytes).map_err(StoreError::inconsistent))
    }

    pub fn day(&mut self) -> Result<Option<Day>> {
        Ok(self.number()?.map(Day))
    }

    pub fn decoded<T: serde::Deserialize<'a>>(&mut self) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(self.0).map_err(StoreError::inconsistent)?;
        self.0 = rest;
        Ok(value)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.number()?.unwrap_or_default();
        self.take(length)
    }

    pub fn number<N: FromStr<Err = ParseIntError>>(&mut self) -> Result<Option<N>> {
        let text = str::from_utf8(self.take(11)?).map_err(StoreError::inconsistent)?.trim_start();
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(StoreError::inconsistent) }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(bytes).ok_or_else(|| StoreError::inconsistent("a row that ends early"))?;
        self.0 = rest;
        Ok(taken)
    }
}

kept_as! { Sqlite:
    Instant as String: |instant| instant.to_rfc3339_seconds();
    AnyText<'_> as &str: |text| text.0;
    Shown<Uuid> as &str: |shown| shown.text.clone();
    Shown<Instant> as &str: |shown| shown.text.clone();
    Guids<'_> as &[u8]: |guids| guids.0.iter().flat_map(|guid| *guid.as_bytes()).collect::<Vec<u8>>();
    Integers<'_> as String: |integers| serde_json::to_string(integers.0)?;
}

impl<'r> Decode<'r, Sqlite> for Instant {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<Sqlite>>::decode(value)?;
        Self::parse_rfc3339(text).ok_or_else(|| format!("'{text}' is not an instant").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connected(path: &Path) -> SqlitePool {
        SqlitePoolOptions::new().max_connections(1).connect_with(options(path).create_if_missing(true)).await.unwrap()
    }

    /// Each commit is on the disk when it returns, as the event log's files are that it names.
    #[tokio::test]
    async fn a_commit_waits_for_the_disk() {
        let home = tempfile::tempdir().unwrap();
        let Pool::Sqlite(writer) = open(&home.path().join("usage.db")).await.unwrap().writer else { panic!() };
        let of = async |name: &str| -> String {
            let pragma = sqlx::AssertSqlSafe(format!("SELECT CAST({name} AS text) FROM pragma_{name}"));
            sqlx::query_scalar(pragma).fetch_one(&writer).await.unwrap()
        };
        assert_eq!((of("journal_mode").await.as_str(), of("synchronous").await.as_str()), ("wal", "2"));
    }

    /// As it does where a disk is full.
    #[tokio::test]
    async fn a_transaction_that_sqlite_has_ended_is_in_nobodys_way() {
        let home = tempfile::tempdir().unwrap();
        let Pool::Sqlite(writer) = open(&home.path().join("usage.db")).await.unwrap().writer else { panic!() };
        let mut ended = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *ended).await.unwrap();
        drop(ended);
        writer.begin_with("BEGIN IMMEDIATE").await.unwrap().commit().await.unwrap();
    }

    /// Also where the index that is there was made anew, with the same contents as the one before.
    #[tokio::test]
    async fn each_commit_makes_a_version_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("usage.db");
        drop(connected(&path).await);
        let (index, mut seen) = (WalIndex::of(&path).unwrap(), Vec::new());
        let mut look = || {
            let version = index.version().unwrap();
            assert!(!seen.contains(&version));
            seen.push(version);
            assert_eq!(index.version(), Some(version));
            assert_eq!(WalIndex::of(&path).unwrap().version(), Some(version));
        };
        for round in 0..5 {
            let pool = connected(&path).await;
            sqlx::raw_sql("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
            look();
            for commit in 0..5 {
                sqlx::query("INSERT INTO t VALUES ($1 + $2)").bind(round).bind(commit).execute(&pool).await.unwrap();
                look();
            }
            sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await.unwrap();
            sqlx::raw_sql("INSERT INTO t VALUES (2)").execute(&pool).await.unwrap();
            look();
            pool.close().await;
            assert_eq!(index.version(), None);
            let pool = connected(&path).await;
            sqlx::raw_sql("SELECT * FROM t").execute(&pool).await.unwrap();
            look();
            pool.close().await;
        }
    }
}
