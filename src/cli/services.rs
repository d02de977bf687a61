use std::path::PathBuf;

use uuid::Uuid;

use super::output::{print, print_json, table};
use super::{Options, Outcome};
use crate::jobs;

/// The service directory
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Set entries from NDJSON or CSV: serviceGuid, and the members of service.updated
    ///
    /// In CSV, a column is named like its member, with a dot within contact and company (contact.email). Entries become
    /// service.updated events at now, all of them or none.
    Import { file: PathBuf },
    /// The entries, by creation
    List {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// Reads a GUID as the events have it.
pub(super) fn parse_guid(text: &str) -> Result<Uuid, String> {
    let expected = || format!("'{text}' is not a GUID; expected 32 hex digits, or 8-4-4-4-12");
    crate::model::parse_guid(text).ok_or_else(expected)
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        match self.action {
            Action::Import { file } => import(options, &file).await,
            Action::List { json } => list(options, json).await,
        }
    }
}

async fn import(options: &Options, file: &std::path::Path) -> anyhow::Result<Outcome> {
    let installation = options.installation().await?;
    let report = jobs::import_services(&installation, &options.run("services import"), file).await?;
    print_json(&serde_json::json!({ "imported": report.stored }))?;
    installation.store.close().await;
    Ok(Outcome::Done)
}

async fn list(options: &Options, json: bool) -> anyhow::Result<Outcome> {
    let installation = options.reading().await?;
    let services = installation.store.services().await?;
    if json {
        for service in &services {
            let mut entry = serde_json::to_value(service)?;
            entry["serviceGuid"] = service.service_guid.simple().to_string().into();
            print_json(&entry)?;
        }
        return Ok(Outcome::Done);
    }
    let mut table = table(["serviceGuid", "name", "status", "primaryDomain", "createdOn"]);
    for service in services {
        table.add_row([
            service.service_guid.simple().to_string(),
            service.name.clone().unwrap_or_default(),
            service.status().name().to_owned(),
            service.primary_domain.clone().unwrap_or_default(),
            service.created_on.unwrap_or_default(),
        ]);
    }
    print(&format!("{}\n", table.trim_fmt()))?;
    Ok(Outcome::Done)
}
