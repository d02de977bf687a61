//! Rejected lines, kept whole with their reason until they are replayed.

use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};

use super::batch::Insert;
use super::{Result, Store, StoreError, count, text_of};
use crate::ingest::decode::{Reason, Rejection};
use crate::model::Instant;

/// A rejected line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub input: i64,
    /// Counting from 1, blank lines included.
    pub line: u64,
    /// Where the line begins, in bytes of decompressed text.
    pub offset: u64,
    pub rejection: Rejection,
    /// The line without its ending; its first 64 KiB where it is too long.
    pub content: Vec<u8>,
    /// The length of the whole line in bytes.
    pub length: u64,
    /// BLAKE3 of the whole line.
    pub hash: [u8; 32],
}

/// A dead letter as it is listed and replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    pub id: i64,
    pub input_name: String,
    pub rejected_at: String,
    pub letter: DeadLetter,
}

impl Store {
    /// Dead letters in order of arrival, a page at a time: those after `after`, of one reason or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letters(&self, reason: Option<Reason>, after: i64, limit: i64) -> Result<Vec<StoredDeadLetter>> {
        let rows = sqlx::query(
            "SELECT d.id, i.name, d.rejected_at, d.input_id, d.line, d.byte_offset, d.reason, d.member, d.detail, d.content,
                 d.length, d.hash
             FROM dead_letters d JOIN inputs i ON i.id = d.input_id
             WHERE d.id > $1 AND ($2 IS NULL OR d.reason = $2) ORDER BY d.id LIMIT $3",
        )
        .bind(after)
        .bind(reason.map(Reason::code))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(stored).collect()
    }
}

fn stored(row: &sqlx::sqlite::SqliteRow) -> Result<StoredDeadLetter> {
    let unsigned = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    let code: &str = row.try_get("reason")?;
    let reason = Reason::from_code(code).ok_or_else(|| StoreError::inconsistent(format!("the reason {code}")))?;
    Ok(StoredDeadLetter {
        id: row.try_get("id")?,
        input_name: row.try_get("name")?,
        rejected_at: row.try_get("rejected_at")?,
        letter: DeadLetter {
            input: row.try_get("input_id")?,
            line: unsigned("line")?,
            offset: unsigned("byte_offset")?,
            rejection: Rejection { reason, member: row.try_get("member")?, detail: row.try_get("detail")? },
            content: row.try_get("content")?,
            length: unsigned("length")?,
            hash: row.try_get::<&[u8], _>("hash")?.try_into().map_err(StoreError::inconsistent)?,
        },
    })
}

pub(super) async fn insert(connection: &mut SqliteConnection, letters: &[DeadLetter], now: Instant) -> Result<()> {
    static LETTERS: Insert = Insert::new(
        "INSERT INTO dead_letters
            (input_id, line, byte_offset, reason, member, detail, content, length, hash, rejected_at)",
        10,
        "",
    );
    let rejected_at: Arc<str> = text_of(now).into();
    LETTERS
        .all(connection, letters, |values, letter| {
            values
                .push(letter.input)
                .push(letter.line.cast_signed())
                .push(letter.offset.cast_signed())
                .push(letter.rejection.reason.code())
                .push(letter.rejection.member.as_str())
                .push(letter.rejection.detail.as_str())
                .push(letter.content.as_slice())
                .push(letter.length.cast_signed())
                .push(letter.hash.as_slice())
                .push(rejected_at.clone());
        })
        .await
}

/// Takes replayed letters out, and moves their lines from the rejected to the accepted ones of the inputs they came in.
pub(super) async fn remove(connection: &mut SqliteConnection, ids: &[i64]) -> Result<()> {
    for id in ids {
        let input: Option<i64> = sqlx::query_scalar("DELETE FROM dead_letters WHERE id = $1 RETURNING input_id")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
        let input = input.ok_or_else(|| StoreError::inconsistent(format!("dead letter {id} was replayed twice")))?;
        let moved = sqlx::query("UPDATE inputs SET accepted = accepted + 1, rejected = rejected - 1 WHERE id = $1")
            .bind(input)
            .execute(&mut *connection)
            .await?;
        if count(moved.rows_affected())? != 1 {
            return Err(StoreError::inconsistent(format!("dead letter {id} has no input")));
        }
    }
    Ok(())
}
