//! What parameters and columns hold. Each database keeps it in its own way: a GUID is 16 bytes in SQLite and a `uuid` in
//! PostgreSQL, an instant is text or a `timestamptz`. How, their own files say.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::{Decode, Encode, Postgres, Sqlite, Type};
use uuid::Uuid;

use crate::model::{Day, Instant};

/// What can be a parameter.
pub trait Value<'q>: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> + Send {}

impl<'q, T: Encode<'q, Sqlite> + Type<Sqlite> + Encode<'q, Postgres> + Type<Postgres> + Send> Value<'q> for T {}

/// What can stand in a column.
pub trait Field<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>> Field<'r> for T {}

/// A list of GUIDs, for `{in guids $1}`.
pub struct Guids<'a>(pub Cow<'a, [Uuid]>);

impl<'a> From<&'a [Uuid]> for Guids<'a> {
    fn from(guids: &'a [Uuid]) -> Self {
        Self(guids.into())
    }
}

impl From<Vec<Uuid>> for Guids<'_> {
    fn from(guids: Vec<Uuid>) -> Self {
        Self(guids.into())
    }
}

/// A list of numbers, for `{in integers $1}`.
pub struct Integers<'a>(pub &'a [i64]);

/// Text that came from outside, and may have any character in it: PostgreSQL's own text can't hold U+0000.
pub struct AnyText<'a>(pub &'a str);

/// A value in a table that people read: text in SQLite, the type for it in PostgreSQL. The text is made once for many rows.
#[derive(Clone)]
pub struct Shown<T> {
    pub value: T,
    pub text: Arc<str>,
}

impl From<Uuid> for Shown<Uuid> {
    fn from(guid: Uuid) -> Self {
        Self { value: guid, text: guid.simple().to_string().into() }
    }
}

impl From<Instant> for Shown<Instant> {
    fn from(instant: Instant) -> Self {
        Self { value: instant, text: instant.to_rfc3339_seconds().into() }
    }
}

/// Days are numbers in both.
impl<DB: sqlx::Database> Type<DB> for Day
where
    i32: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        i32::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        i32::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database> Encode<'q, DB> for Day
where
    i32: Encode<'q, DB>,
{
    fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        self.0.encode_by_ref(buf)
    }
}

impl<'r, DB: sqlx::Database> Decode<'r, DB> for Day
where
    i32: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        i32::decode(value).map(Self)
    }
}

/// Types that a database keeps as other ones.
macro_rules! kept_as {
    ($database:ty: $($type:ty as $kept:ty: |$value:ident| $encoded:expr;)*) => {$(
        impl sqlx::Type<$database> for $type {
            fn type_info() -> <$database as sqlx::Database>::TypeInfo {
                <$kept as sqlx::Type<$database>>::type_info()
            }

            fn compatible(ty: &<$database as sqlx::Database>::TypeInfo) -> bool {
                <$kept as sqlx::Type<$database>>::compatible(ty)
            }
        }

        impl<'q> sqlx::Encode<'q, $database> for $type {
            fn encode_by_ref(
                &self,
                buf: &mut <$database as sqlx::Database>::ArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                let $value = self;
                sqlx::Encode::<$database>::encode($encoded, buf)
            }
        }
    )*};
}

pub(super) use kept_as;
