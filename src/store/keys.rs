//! API keys: who may ask for what. The key itself is never stored, only its hash.

use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::db::Row;
use super::{Result, Store};
use crate::model::Instant;

/// What a key may see (`spec/api.md`, Who may see what).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    SuperUser,
    Partner,
    Reseller,
    Service,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::SuperUser, Self::Partner, Self::Reseller, Self::Service];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SuperUser => "SuperUser",
            Self::Partner => "Partner",
            Self::Reseller => "Reseller",
            Self::Service => "Service",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("'{text}' is not a role; expected SuperUser, Partner, Reseller or Service"))
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// The partner, reseller or service that the role is for; none for a SuperUser.
    pub scope: Option<Uuid>,
    /// BLAKE3 of the key.
    pub key_hash: [u8; 32],
    pub expires_at: Option<Instant>,
}

/// A key as it is listed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub scope: Option<Uuid>,
    pub created_at: String,
    pub expires_at: Option<Instant>,
    pub revoked_at: Option<String>,
}

impl ApiKey {
    /// Whether the key opens anything at this instant.
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }
}

impl Store {
    /// Keeps a new key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_key(&self, key: &NewApiKey, now: Instant) -> Result<()> {
        self.db
            .writer
            .sql(
                "INSERT INTO api_keys (id, name, role, scope, key_hash, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&key.id)
            .bind(&key.name)
            .bind(key.role.name())
            .bind(key.scope)
            .bind(key.key_hash.as_slice())
            .bind(now)
            .bind(key.expires_at)
            .execute()
            .await?;
        Ok(())
    }

    /// All keys, in order of creation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys(&self) -> Result<Vec<ApiKey>> {
        let rows = self.db.readers.sql("SELECT * FROM api_keys ORDER BY created_at, id").all().await?;
        rows.iter().map(key).collect()
    }

    /// The key with this hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_by_hash(&self, hash: [u8; 32]) -> Result<Option<Arc<ApiKey>>> {
        let read = async || {
            let with_hash = self.db.readers.sql("SELECT * FROM api_keys WHERE key_hash = $1");
            let found = with_hash.bind(hash.as_slice()).optional().await?;
            found.as_ref().map(key).transpose().map(|key| key.map(Arc::new))
        };
        self.recent.keys.answer(&self.db, hash, read).await
    }

    /// Makes a key worthless from now on; false where there is no such key, or it was revoked before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, id: &str, now: Instant) -> Result<bool> {
        let revoke = self.db.writer.sql("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
        Ok(revoke.bind(id).bind(now).execute().await? == 1)
    }
}

fn key(row: &Row) -> Result<ApiKey> {
    Ok(ApiKey {
        id: row.get("id")?,
        name: row.get("name")?,
        role: row.parsed("role")?,
        scope: row.get("scope")?,
        created_at: row.get::<Instant>("created_at")?.to_rfc3339_seconds(),
        expires_at: row.get("expires_at")?,
        revoked_at: row.get::<Option<Instant>>("revoked_at")?.map(Instant::to_rfc3339_seconds),
    })
}
