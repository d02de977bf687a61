//! What is PostgreSQL's.

use std::slice;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::migrate::Migrator;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgDatabaseError, PgHasArrayType, PgPoolOptions, PgTypeInfo,
    PgValueRef,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Decode, Encode, Executor as _, PgConnection, PgPool, Postgres,
    Type,
};
use uuid::Uuid;

use super::super::{Result, StoreError};
use super::lookup::{Column, Lookup};
use super::query::Row;
use super::url::Server;
use super::value::{AnyText, Field, Guids, Integers, Shown, kept_as};
use super::{Pool, Pools};
use crate::model::Instant;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// How long anyone waits for a connection: an API's client is told to come back, a job has time.
const READER_WAITS: Duration = Duration::from_secs(5);
const WRITER_WAITS: Duration = Duration::from_secs(30);
/// How long a server may take to answer who connects first.
const CONNECTING_TAKES: Duration = Duration::from_secs(10);

/// What each session begins with, where `options` in the URL does not say otherwise. The server itself ends what takes too
/// long: a statement that is cut off on our side would leave its session undefined.
const SETTINGS: [(&str, &str); 5] = [
    ("synchronous_commit", "on"),
    ("lock_timeout", "30s"),
    // A writer that was stopped within a commit must not hold the lease's row for longer than the next one waits for it.
    ("idle_in_transaction_session_timeout", "20s"),
    ("tcp_keepalives_idle", "60"),
    ("client_min_messages", "warning"),
];

/// Classes and codes of errors after which the same may succeed later: the connection broke, the server has no room, locks
/// are held, it stops or starts, a statement was ended for it took too long, or stood in a replica's way.
const OUT_OF_REACH: [&str; 8] = ["08", "53", "55P03", "57P01", "57P02", "57P03", "57014", "40001"];

pub(super) fn is_out_of_reach(error: &dyn DatabaseError) -> bool {
    let code = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code);
    code.is_some_and(|code| OUT_OF_REACH.iter().any(|known| code.starts_with(known)))
}

/// `undefined_table`
pub(super) fn is_no_such_table(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.code() == "42P01")
}

pub(super) async fn open(server: &Server) -> sqlx::Result<Pools> {
    let pool = |connections, waits| {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(waits)
            // The hook finds out, too, whether the connection is alive.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(async move { Ok(leave_transaction(connection).await.is_ok()) }))
    };
    // A pool would try for long, and not say why it failed.
    connect(&options(server, "10min")).await?.close().await?;
    let writer = pool(1, WRITER_WAITS).connect_lazy_with(options(server, "10min"));
    let readers = pool(8, READER_WAITS).connect_lazy_with(options(server, "30s"));
    let exports = pool(2, WRITER_WAITS).connect_lazy_with(options(server, "0"));
    Ok(Pools {
        writer: Pool::Postgres(writer),
        readers: Pool::Postgres(readers),
        exports: Pool::Postgres(exports),
        wal_index: None,
    })
}

/// A connection outside of any pool. Where nobody answers at all, the system would wait for minutes.
async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let nobody = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer"));
    tokio::time::timeout(CONNECTING_TAKES, options.connect()).await.map_err(nobody)?
}

/// Begins a transaction. A pool that gave up does not say why; a connection outside of it does.
pub(super) async fn begin(pool: &PgPool) -> sqlx::Result<sqlx::Transaction<'static, Postgres>> {
    match pool.begin().await {
        // In a box of its own: every job has this future inside its own, and hardly ever runs it.
        Err(sqlx::Error::PoolTimedOut) => match Box::pin(connect(&pool.connect_options())).await {
            Err(cause) => Err(cause),
            Ok(_) => Err(sqlx::Error::PoolTimedOut),
        },
        begun => begun,
    }
}

fn options(server: &Server, statement_timeout: &'static str) -> PgConnectOptions {
    let options = server.options().clone();
    let said = options.get_options().unwrap_or_default().to_owned();
    let settings = [("statement_timeout", statement_timeout)].into_iter().chain(SETTINGS);
    options.options(settings.filter(|(name, _)| !said.contains(name))).disable_statement_logging()
}

/// Ends a transaction that a connection may have been left in: where `begin` was cut off, sqlx does not know of it, and what
/// is written afterwards is lost (transact-rs/sqlx#4393). One is begun first, for the server complains of a lone ROLLBACK.
async fn leave_transaction(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.execute("BEGIN; ROLLBACK").await.map(|_| ())
}

/// Locks come before the first statement that reads, for the state that is seen is as of then.
pub(super) async fn begin_alone(pool: &PgPool, tables: &[&str]) -> sqlx::Result<sqlx::Transaction<'static, Postgres>> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    transaction.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0").await?;
    let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", tables.join(", "));
    transaction.execute(AssertSqlSafe(lock)).await?;
    Ok(transaction)
}

/// Rows that were changed keep what they were until nobody can see it any more.
pub(super) async fn scrub(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql("VACUUM FULL dead_letters").execute(pool).await.map(drop)
}

/// How many rows a statement inserts, at most: it bounds what is encoded at once.
const INSERT_SIZE: usize = 8_192;

pub(super) fn insert_size(rows: usize) -> Option<usize> {
    (rows > 0).then_some(rows.min(INSERT_SIZE))
}

/// A copied row keeps the number that the database would count itself.
pub(super) fn rows_to_insert(shared: usize, columns: usize) -> String {
    let parameters: Vec<String> = (1..=shared + columns).map(|number| format!("${number}")).collect();
    let (shared, columns) = parameters.split_at(shared);
    let selected = [shared, &["added.*".to_owned()]].concat().join(", ");
    format!("OVERRIDING SYSTEM VALUE SELECT {selected} FROM unnest({}) AS added", columns.join(", "))
}

/// Rows that are sent as a table with named columns.
pub(super) fn rows_as_table(shared: &[&str], columns: &[&str]) -> String {
    let own: Vec<String> = (1..).zip(shared).map(|(number, name)| format!("${number} AS {name}")).collect();
    let arrays: Vec<String> = (1..=columns.len()).map(|number| format!("${}", shared.len() + number)).collect();
    let (own, arrays, columns) = (own.join(", "), arrays.join(", "), columns.join(", "));
    format!("(SELECT {own}, added.* FROM unnest({arrays}) AS added ({columns}))")
}

/// Lists are parameters: arrays.
pub(super) fn in_list(parameter: &str) -> String {
    format!("= ANY ({parameter})")
}

pub(super) fn lookup(lookup: &Lookup) -> String {
    let Lookup { columns, table, keys, condition, .. } = lookup;
    let column = |column: &Column| match column {
        Column::Guid(name) | Column::Day(name) | Column::Number(name) | Column::Encoded(name) | Column::Bytes(name) => {
            *name
        }
    };
    let columns = columns.iter().map(column).collect::<Vec<&str>>().join(", ");
    let mut conditions: Vec<String> = (1..).zip(*keys).map(|(number, key)| format!("{key} = key{number}")).collect();
    conditions.extend((!condition.is_empty()).then(|| (*condition).to_owned()));
    let conditions = conditions.join(" AND ");
    let each = |before: &str| (1..=keys.len()).map(|number| format!("{before}{number}")).collect::<Vec<_>>().join(", ");
    let wanted = match keys.len() {
        0 => String::new(),
        _ => format!("unnest({}) AS wanted ({}) CROSS JOIN ", each("$"), each("key")),
    };
    format!("SELECT {columns} FROM {wanted}{table} WHERE {conditions}")
}

/// The rows of a [`lookup`].
pub struct PlainRows<'a> {
    rest: slice::Iter<'a, Row>,
    row: Option<&'a Row>,
    column: usize,
}

impl<'a> PlainRows<'a> {
    pub fn new(rows: &'a [Row]) -> Self {
        Self { rest: rows.iter(), row: None, column: 0 }
    }

    pub fn next(&mut self) -> bool {
        self.row = self.rest.next();
        self.column = 0;
        self.row.is_some()
    }

    pub fn value<T: Field<'a>>(&mut self) -> Result<T> {
        let row = self.row.ok_or_else(|| StoreError::inconsistent("a row that is not there"))?;
        let value = row.get(self.column);
        self.column += 1;
        value
    }
}

/// Rows column by column, each an array: a statement's parameters are few, whatever the rows are. What all rows share comes
/// before, each value by itself.
pub(super) struct Arrays {
    shared: PgArguments,
    shared_to_come: usize,
    columns: Vec<Array>,
    next: usize,
}

/// One column as PostgreSQL sends arrays, but for the head, which tells how many there are.
#[derive(Default)]
struct Array {
    element: Option<PgTypeInfo>,
    elements: i32,
    encoded: PgArgumentBuffer,
}

impl Arrays {
    pub fn new(shared: usize, columns: usize) -> Self {
        let columns = (0..columns).map(|_| Array::default()).collect();
        Self { shared: PgArguments::default(), shared_to_come: shared, columns, next: 0 }
    }

    /// Adds what all rows share, or else a value to the column whose turn it is.
    pub fn push<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: T) -> Result<(), BoxDynError> {
        if self.shared_to_come > 0 {
            self.shared_to_come -= 1;
            return sqlx::Arguments::add(&mut self.shared, value);
        }
        let columns = self.columns.len();
        let column = &mut self.columns[self.next];
        self.next = (self.next + 1) % columns;
        column.element.get_or_insert_with(T::type_info);
        column.elements += 1;
        let start = column.encoded.len();
        column.encoded.extend_from_slice(&(-1_i32).to_be_bytes());
        if matches!(value.encode_by_ref(&mut column.encoded)?, IsNull::No) {
            let length = i32::try_from(column.encoded.len() - start - 4)?;
            column.encoded[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    pub fn finish(self) -> Result<PgArguments> {
        let mut arguments = self.shared;
        for column in self.columns {
            sqlx::Arguments::add(&mut arguments, column).map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

/// The types that columns have, and those of arrays of them.
fn array_types() -> [(PgTypeInfo, PgTypeInfo); 7] {
    fn of<T: Type<Postgres> + PgHasArrayType>() -> (PgTypeInfo, PgTypeInfo) {
        (T::type_info(), T::array_type_info())
    }
    [of::<i64>(), of::<i32>(), of::<bool>(), of::<&str>(), of::<&[u8]>(), of::<Uuid>(), of::<DateTime<Utc>>()]
}

impl Type<Postgres> for Array {
    fn type_info() -> PgTypeInfo {
        <Vec<i64> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Array {
    fn produces(&self) -> Option<PgTypeInfo> {
        let types = array_types().into_iter().find(|(element, _)| Some(element) == self.element.as_ref());
        types.map(|(_, array)| array)
    }

    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let element = self.element.as_ref().and_then(PgTypeInfo::oid).ok_or("values of a type that has no array")?;
        // One dimension, with nulls, of this type; so many, counted from 1.
        buf.extend_from_slice(&1_i32.to_be_bytes());
        buf.extend_from_slice(&1_i32.to_be_bytes());
        buf.extend_from_slice(&element.0.to_be_bytes());
        buf.extend_from_slice(&self.elements.to_be_bytes());
        buf.extend_from_slice(&1_i32.to_be_bytes());
        buf.extend_from_slice(&self.encoded);
        Ok(IsNull::No)
    }
}

kept_as! { Postgres:
    // To the second, as in SQLite.
    Instant as DateTime<Utc>: |instant| Instant::from_seconds(instant.seconds()).to_utc();
    AnyText<'_> as &[u8]: |text| text.0.as_bytes();
    Shown<Uuid> as Uuid: |shown| shown.value;
    Shown<Instant> as Instant: |shown| shown.value;
    Guids<'_> as Vec<Uuid>: |guids| &*guids.0;
    Integers<'_> as Vec<i64>: |integers| integers.0;
}

impl<'r> Decode<'r, Postgres> for Instant {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(<DateTime<Utc> as Decode<Postgres>>::decode(value)?.into())
    }
}
