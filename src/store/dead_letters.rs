//! Rejected lines, kept whole with their reason until they are replayed.

use super::db::{AnyText, Insert, Row, Shown, Transaction};
use super::{Result, Store, StoreError, count};
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

/// What a dead letter says of itself that named an erased user.
pub(super) const ERASED_DETAIL: &str = "the line named a user who was erased";

impl DeadLetter {
    /// Without what the line said. That it was rejected, where and why stays.
    #[must_use]
    pub fn masked(self) -> Self {
        let rejection = Rejection::new(self.rejection.reason, "", ERASED_DETAIL.to_owned());
        Self { rejection, content: Vec::new(), ..self }
    }
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
        let letters = self.db.readers.sql(
            "SELECT d.id, i.name, d.rejected_at, d.input_id, d.line, d.byte_offset, d.reason, d.member, d.detail,
                 d.content, d.length, d.hash
             FROM dead_letters d JOIN inputs i ON i.id = d.input_id
             WHERE d.id > $1 AND ($2 IS NULL OR d.reason = $2) ORDER BY d.id LIMIT $3",
        );
        let rows = letters.bind(after).bind(reason.map(Reason::code)).bind(limit).all().await?;
        rows.iter().map(stored).collect()
    }
}

fn stored(row: &Row) -> Result<StoredDeadLetter> {
    let code: &str = row.get("reason")?;
    let reason = Reason::from_code(code).ok_or_else(|| StoreError::inconsistent(format!("the reason {code}")))?;
    Ok(StoredDeadLetter {
        id: row.get("id")?,
        input_name: row.get("name")?,
        rejected_at: row.get::<Instant>("rejected_at")?.to_rfc3339_seconds(),
        letter: DeadLetter {
            input: row.get("input_id")?,
            line: row.unsigned("line")?,
            offset: row.unsigned("byte_offset")?,
            rejection: Rejection { reason, member: row.any_text("member")?, detail: row.any_text("detail")? },
            content: row.get("content")?,
            length: row.unsigned("length")?,
            hash: row.get::<&[u8]>("hash")?.try_into().map_err(StoreError::inconsistent)?,
        },
    })
}

pub(super) async fn insert(transaction: &mut Transaction, letters: &[DeadLetter], now: Instant) -> Result<()> {
    static LETTERS: Insert = Insert::new(
        "dead_letters",
        &["input_id", "line", "byte_offset", "reason", "member", "detail", "content", "length", "hash", "rejected_at"],
        "",
    );
    let rejected_at = Shown::from(now);
    LETTERS
        .all(transaction, letters, |values, letter| {
            values
                .push(letter.input)
                .push(letter.line.cast_signed())
                .push(letter.offset.cast_signed())
                .push(letter.rejection.reason.code())
                .push(AnyText(&letter.rejection.member))
                .push(AnyText(&letter.rejection.detail))
                .push(letter.content.as_slice())
                .push(letter.length.cast_signed())
                .push(letter.hash.as_slice())
                .push(rejected_at.clone());
        })
        .await
}

/// Takes replayed letters out, and moves their lines from the rejected to the accepted ones of the inputs they came in.
pub(super) async fn remove(transaction: &mut Transaction, ids: &[i64]) -> Result<()> {
    for id in ids {
        let remove = transaction.sql("DELETE FROM dead_letters WHERE id = $1 RETURNING input_id");
        let removed = remove.bind(*id).optional().await?;
        let removed =
            removed.ok_or_else(|| StoreError::inconsistent(format!("dead letter {id} was replayed twice")))?;
        let accept = "UPDATE inputs SET accepted = accepted + 1, rejected = rejected - 1 WHERE id = $1";
        let moved = transaction.sql(accept).bind(removed.get::<i64>("input_id")?).execute().await?;
        if count(moved)? != 1 {
            return Err(StoreError::inconsistent(format!("dead letter {id} has no input")));
        }
    }
    Ok(())
}
