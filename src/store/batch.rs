//! Many rows in few statements: inserts of fixed sizes, so that few texts exist and stay prepared, lists of keys in one
//! parameter, and answers in one value.

use std::num::ParseIntError;
use std::ops::Range;
use std::str::FromStr;
use std::sync::OnceLock;

use futures_util::future::join;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteArguments;
use uuid::Uuid;

use super::{Result, StoreError};
use crate::model::Day;

/// How many rows a statement takes. Larger ones save little: a statement's program grows with its rows.
const SIZES: [usize; 3] = [128, 16, 1];

/// An `INSERT … VALUES`, as constants: its text up to the values, the number of columns, and what follows the values.
pub(super) struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<String>; 3],
}

impl Insert {
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; 3] }
    }

    /// Inserts all items; `bind` adds a row's values in the order of the columns.
    pub async fn all<T>(
        &'static self,
        connection: &mut SqliteConnection,
        items: &[T],
        bind: impl FnMut(&mut Values, &T),
    ) -> Result<()> {
        self.counted(connection, items, bind).await.map(|_| ())
    }

    /// Inserts all items, and tells how many rows were written. While the database works on a statement, the values of the
    /// next one are bound.
    pub async fn counted<T>(
        &'static self,
        connection: &mut SqliteConnection,
        items: &[T],
        mut bind: impl FnMut(&mut Values, &T),
    ) -> Result<u64> {
        let mut statements = self.statements(items).map(|(text, items)| {
            let mut values = Values::with_capacity(items.len() * self.columns);
            for item in items {
                bind(&mut values, item);
            }
            Ok::<_, StoreError>((text, values.finish()?))
        });
        let (mut next, mut written) = (statements.next(), 0);
        while let Some(statement) = next {
            let (text, arguments) = statement?;
            let running = sqlx::query_with(text, arguments).execute(&mut *connection);
            let (done, bound) = join(running, async { statements.next() }).await;
            written += done?.rows_affected();
            next = bound;
        }
        Ok(written)
    }

    /// Divides items among statements.
    fn statements<'t, T>(&'static self, items: &'t [T]) -> impl Iterator<Item = (&'static str, &'t [T])> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let (size, text) = SIZES.into_iter().zip(&self.texts).find(|(size, _)| *size <= rest.len())?;
            let (items, after) = rest.split_at(size);
            rest = after;
            Some((text.get_or_init(|| self.text(size)).as_str(), items))
        })
    }

    fn text(&self, rows: usize) -> String {
        let row = ["(", &vec!["?"; self.columns].join(","), ")"].concat();
        [self.head, " VALUES ", &vec![row; rows].join(","), " ", self.tail].concat()
    }
}

/// The values of a statement's parameters.
pub(super) struct Values {
    arguments: SqliteArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Values {
    fn with_capacity(values: usize) -> Self {
        let mut arguments = SqliteArguments::default();
        sqlx::Arguments::reserve(&mut arguments, values, 0);
        Self { arguments, failed: None }
    }

    pub fn push<'q, T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = sqlx::Arguments::add(&mut self.arguments, value) {
            self.failed.get_or_insert(error);
        }
        self
    }

    fn finish(self) -> Result<SqliteArguments> {
        self.failed.map_or(Ok(self.arguments), |error| Err(sqlx::Error::Encode(error).into()))
    }
}

/// Keys of 16 bytes each, one after the other: a whole list in one parameter, which statements cut up with `substr`.
pub(super) fn joined<'a>(keys: impl IntoIterator<Item = &'a Uuid>) -> Vec<u8> {
    keys.into_iter().flat_map(|key| *key.as_bytes()).collect()
}

/// Many rows in one value, as `CAST(group_concat(… || …, '') AS BLOB)` joins them byte by byte: a row that is handed over from
/// SQLite's thread by itself costs more than what stands in it. Keys have 16 bytes, numbers `printf('%11s', coalesce(…, ''))`,
/// and encoded values tell their own length.
pub(super) struct Joined<'a>(&'a [u8]);

impl<'a> Joined<'a> {
    /// No rows are no value.
    pub fn new(value: Option<&'a [u8]>) -> Self {
        Self(value.unwrap_or_default())
    }

    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub fn key(&mut self) -> Result<Uuid> {
        self.take(16).and_then(|bytes| Uuid::from_slice(bytes).map_err(StoreError::inconsistent))
    }

    pub fn day(&mut self) -> Result<Option<Day>> {
        Ok(self.number()?.map(Day))
    }

    pub fn number<N: FromStr<Err = ParseIntError>>(&mut self) -> Result<Option<N>> {
        let text = str::from_utf8(self.take(11)?).map_err(StoreError::inconsistent)?.trim_start();
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(StoreError::inconsistent) }
    }

    /// Where the next bytes lie in the whole, which has so many.
    pub fn place_of(&mut self, of_whole: usize, bytes: usize) -> Result<Range<usize>> {
        let from = of_whole - self.0.len();
        self.take(bytes).map(|_| from..from + bytes)
    }

    pub fn decoded<T: serde::Deserialize<'a>>(&mut self) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(self.0).map_err(StoreError::inconsistent)?;
        self.0 = rest;
        Ok(value)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(bytes).ok_or_else(|| StoreError::inconsistent("a row that ends early"))?;
        self.0 = rest;
        Ok(taken)
    }
}
