use serde::Serialize;
use uuid::Uuid;

use super::output::{print, print_json, table};
use super::services::parse_guid;
use super::{Options, Outcome, WrongUsage};
use crate::api::new_key;
use crate::jobs::Installation;
use crate::model::{Day, Instant};
use crate::store::{NewApiKey, Role};

/// API keys
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a key; it is printed once, and never shown again
    Create {
        /// SuperUser, Partner, Reseller or Service
        #[arg(long)]
        role: Role,
        /// The partner, reseller or service that the key is for
        #[arg(long, value_name = "GUID", value_parser = parse_guid)]
        scope: Option<Uuid>,
        /// The first day, in UTC, on which it is no longer valid, or an instant in RFC 3339
        #[arg(long, value_name = "DATE", value_parser = parse_expiry)]
        expires: Option<Instant>,
        /// What the key is for, for your own memory
        #[arg(long, default_value = "")]
        name: String,
    },
    /// The keys, without their secrets
    List,
    /// Make a key worthless from now on
    Revoke { id: String },
}

/// What `create` prints, in this order.
#[derive(Serialize)]
struct Created<'a> {
    id: &'a str,
    key: &'a str,
    role: &'a str,
    scope: Option<String>,
    expires: Option<String>,
}

fn parse_expiry(text: &str) -> Result<Instant, String> {
    let day = text.parse::<Day>().map(Day::utc_start).ok();
    day.or_else(|| Instant::parse_rfc3339(text))
        .ok_or_else(|| format!("'{text}' is not a date; expected YYYY-MM-DD or RFC 3339"))
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let installation = options.installation().await?;
        let outcome = match self.action {
            Action::Create { role, scope, expires, name } => create(&installation, role, scope, expires, name).await,
            Action::List => list(&installation).await,
            Action::Revoke { id } => revoke(&installation, &id).await,
        };
        installation.store.close().await;
        outcome
    }
}

async fn create(
    installation: &Installation,
    role: Role,
    scope: Option<Uuid>,
    expires_at: Option<Instant>,
    name: String,
) -> anyhow::Result<Outcome> {
    match (role, scope) {
        (Role::SuperUser, Some(_)) => {
            return Err(WrongUsage("a SuperUser key sees everything; leave --scope out".to_owned()).into());
        }
        (Role::Partner | Role::Reseller | Role::Service, None) => {
            let whose = role.name();
            return Err(WrongUsage(format!("a {whose} key needs --scope, the {whose}'s GUID")).into());
        }
        _ => {}
    }
    let (key, key_hash) = new_key();
    let new = NewApiKey { id: Uuid::now_v7().simple().to_string(), name, role, scope, key_hash, expires_at };
    installation.store.create_key(&new, installation.now()).await?;
    print_json(&Created {
        id: &new.id,
        key: &key,
        role: role.name(),
        scope: scope.map(|guid| guid.simple().to_string()),
        expires: expires_at.map(Instant::to_rfc3339_seconds),
    })?;
    Ok(Outcome::Done)
}

async fn list(installation: &Installation) -> anyhow::Result<Outcome> {
    let mut table = table(["id", "name", "role", "scope", "created", "expires", "state"]);
    for key in installation.store.keys().await? {
        let state = match &key.revoked_at {
            Some(at) => format!("revoked {at}"),
            None if key.is_valid(installation.now()) => "valid".to_owned(),
            None => "expired".to_owned(),
        };
        table.add_row([
            key.id,
            key.name,
            key.role.name().to_owned(),
            key.scope.map(|guid| guid.simple().to_string()).unwrap_or_default(),
            key.created_at,
            key.expires_at.map(Instant::to_rfc3339_seconds).unwrap_or_default(),
            state,
        ]);
    }
    print(&format!("{}\n", table.trim_fmt()))?;
    Ok(Outcome::Done)
}

async fn revoke(installation: &Installation, id: &str) -> anyhow::Result<Outcome> {
    if installation.store.revoke_key(id, installation.now()).await? {
        return Ok(Outcome::Done);
    }
    eprintln!("usage-rollup: there is no valid key {id}; `usage-rollup keys list` shows them");
    Ok(Outcome::BadNews)
}
