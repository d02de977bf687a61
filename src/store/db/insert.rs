//! Many rows in few statements.

use std::borrow::Cow;

use futures_util::future::join;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::super::{Result, StoreError};
use super::postgres::Arrays;
use super::text::PerDialect;
use super::value::Value;
use super::{Dialect, Transaction, postgres, sqlite};

/// An `INSERT` of rows: the table, its columns, and what follows the values. Values that many rows share are sent once.
pub struct Insert {
    table: &'static str,
    shared: &'static [&'static str],
    columns: Cow<'static, [&'static str]>,
    tail: Cow<'static, str>,
    /// Whether the tail is all of the statement, with `{rows}` where the rows belong.
    is_whole: bool,
    /// By the statement's size, as far as that makes a difference.
    texts: [PerDialect; sqlite::INSERT_SIZES.len()],
}

impl Insert {
    pub const fn new(table: &'static str, columns: &'static [&'static str], tail: &'static str) -> Self {
        let texts = [const { PerDialect::new() }; sqlite::INSERT_SIZES.len()];
        Self { table, shared: &[], columns: Cow::Borrowed(columns), tail: Cow::Borrowed(tail), is_whole: false, texts }
    }

    /// The same, with columns that groups of rows share, and of texts that are not constant.
    pub fn made(
        table: &'static str,
        shared: &'static [&'static str],
        columns: Vec<&'static str>,
        tail: String,
    ) -> Self {
        Self { shared, columns: columns.into(), tail: tail.into(), ..Self::new(table, &[], "") }
    }

    /// A statement that holds rows which are sent with it against others: they are the table `{rows}` in its text.
    pub fn of_rows(shared: &'static [&'static str], columns: Vec<&'static str>, statement: String) -> Self {
        Self { is_whole: true, ..Self::made("", shared, columns, statement) }
    }

    /// Inserts all items; `bind` adds a row's values in the order of the columns.
    pub async fn all<T>(
        &'static self,
        transaction: &mut Transaction,
        items: &[T],
        bind: impl FnMut(&mut Values, &T),
    ) -> Result<()> {
        self.groups(transaction, std::iter::once(items), |_, _| (), bind).await.map(|_| ())
    }

    /// Inserts all items of all groups, and tells how many rows were written. `bind_shared` adds what the rows of a group
    /// share, from one of its items. While the database works on a statement, the values of the next one are bound.
    pub async fn groups<'t, T: 't>(
        &'static self,
        transaction: &mut Transaction,
        groups: impl Iterator<Item = &'t [T]>,
        mut bind_shared: impl FnMut(&mut Values, &T),
        mut bind: impl FnMut(&mut Values, &T),
    ) -> Result<u64> {
        let dialect = transaction.dialect();
        let statements = groups.flat_map(|group| self.statements(dialect, group));
        let mut statements = statements.map(|(text, items)| {
            let mut values = Values::new(dialect, self.shared.len(), items.len(), self.columns.len());
            if let Some(first) = items.first() {
                bind_shared(&mut values, first);
            }
            for item in items {
                bind(&mut values, item);
            }
            values.finish().map(|values| (text, values))
        });
        let (mut next, mut written) = (statements.next(), 0);
        while let Some(statement) = next {
            let (text, values) = statement?;
            let running = transaction.insert(text, values);
            let (done, bound) = join(running, async { statements.next() }).await;
            written += done?;
            next = bound;
        }
        Ok(written)
    }

    /// Divides items among statements.
    fn statements<'t, T>(
        &'static self,
        dialect: Dialect,
        items: &'t [T],
    ) -> impl Iterator<Item = (&'static str, &'t [T])> {
        let mut rest = items;
        std::iter::from_fn(move || {
            let (place, size) = match dialect {
                Dialect::Sqlite => sqlite::insert_size(rest.len())?,
                Dialect::Postgres => (0, postgres::insert_size(rest.len())?),
            };
            let (items, after) = rest.split_at(size);
            rest = after;
            Some((self.texts[place].get(dialect, || self.text(dialect, size)), items))
        })
    }

    fn text(&self, dialect: Dialect, rows: usize) -> String {
        if self.is_whole {
            let rows = match dialect {
                Dialect::Sqlite => sqlite::rows_as_table(self.shared, &self.columns, rows),
                Dialect::Postgres => postgres::rows_as_table(self.shared, &self.columns),
            };
            return self.tail.replace("{rows}", &rows);
        }
        let values = match dialect {
            Dialect::Sqlite => sqlite::rows_to_insert(self.shared.len(), self.columns.len(), rows),
            Dialect::Postgres => postgres::rows_to_insert(self.shared.len(), self.columns.len()),
        };
        let columns = [self.shared, &self.columns].concat().join(", ");
        format!("INSERT INTO {} ({columns}) {values} {}", self.table, self.tail)
    }
}

/// The values of the rows of one statement.
pub struct Values {
    encoded: Encoded,
    failed: Option<BoxDynError>,
}

/// What a statement that inserts is sent with.
pub(super) enum Encoded {
    Sqlite(SqliteArguments),
    Postgres(Arrays),
}

impl Values {
    fn new(dialect: Dialect, shared: usize, rows: usize, columns: usize) -> Self {
        let encoded = match dialect {
            Dialect::Sqlite => {
                let mut arguments = SqliteArguments::default();
                sqlx::Arguments::reserve(&mut arguments, shared + rows * columns, 0);
                Encoded::Sqlite(arguments)
            }
            Dialect::Postgres => Encoded::Postgres(Arrays::new(shared, columns)),
        };
        Self { encoded, failed: None }
    }

    pub fn push<'q>(&mut self, value: impl Value<'q>) -> &mut Self {
        let pushed = match &mut self.encoded {
            Encoded::Sqlite(arguments) => sqlx::Arguments::add(arguments, value),
            Encoded::Postgres(arrays) => arrays.push(value),
        };
        if let Err(error) = pushed {
            self.fail(error);
        }
        self
    }

    /// The statement is not sent: the first error is what comes of it.
    pub(super) fn fail(&mut self, error: BoxDynError) {
        self.failed.get_or_insert(error);
    }

    fn finish(self) -> Result<Encoded> {
        self.failed.map_or(Ok(self.encoded), |error| Err(StoreError::from(sqlx::Error::Encode(error))))
    }
}

impl Transaction {
    async fn insert(&mut self, text: &'static str, values: Encoded) -> Result<u64> {
        Ok(match (self, values) {
            (Self::Sqlite(on), Encoded::Sqlite(arguments)) => {
                sqlx::query_with(text, arguments).execute(&mut **on).await?.rows_affected()
            }
            (Self::Postgres(on), Encoded::Postgres(arrays)) => {
                sqlx::query_with(text, arrays.finish()?).execute(&mut **on).await?.rows_affected()
            }
            _ => unreachable!("values are encoded for the transaction that takes them"),
        })
    }
}
