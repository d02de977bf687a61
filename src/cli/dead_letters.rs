use serde_json::json;

use super::output::print_json;
use super::{Options, Outcome};
use crate::ingest::decode::Reason;
use crate::jobs;

/// So many are read at a time.
const PAGE: i64 = 1_000;

/// Rejected input lines
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// One JSON object a line: where the line stood, why it was rejected, and the line itself
    List {
        /// Only those of this reason, such as `invalid_data`
        #[arg(long, value_name = "CODE", value_parser = parse_reason)]
        reason: Option<Reason>,
    },
    /// Decode them again, as the configuration is now
    ///
    /// A line that is valid now goes into the event log under the input and line it came in with. Lines that were too long
    /// were not kept whole: ingest their input again.
    Replay {
        /// Only those of this reason, such as `unknown_type`
        #[arg(long, value_name = "CODE", value_parser = parse_reason)]
        reason: Option<Reason>,
    },
}

fn parse_reason(code: &str) -> Result<Reason, String> {
    let known = || Reason::ALL.map(Reason::code).join(", ");
    Reason::from_code(code).ok_or_else(|| format!("'{code}' is not a reason; expected one of {}", known()))
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        match self.action {
            Action::List { reason } => {
                let store = options.reading().await?.store;
                list(&store, reason).await?;
                store.close().await;
            }
            Action::Replay { reason } => {
                let installation = options.existing_installation().await?;
                print_json(&jobs::replay(&installation, &options.run("dead-letters replay"), reason).await?)?;
                installation.store.close().await;
            }
        }
        Ok(Outcome::Done)
    }
}

async fn list(store: &crate::store::Store, reason: Option<Reason>) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let letters = store.dead_letters(reason, after, PAGE).await?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = last.id;
        for stored in letters {
            let letter = stored.letter;
            print_json(&json!({
                "id": stored.id,
                "input": stored.input_name,
                "line": letter.line,
                "offset": letter.offset,
                "reason": letter.rejection.reason.code(),
                "member": letter.rejection.member,
                "detail": letter.rejection.detail,
                "rejectedAt": stored.rejected_at,
                "length": letter.length,
                "hash": blake3::Hash::from(letter.hash).to_hex().as_str(),
                // A line that is not UTF-8 is shown as near as can be; it is kept as it is.
                "content": String::from_utf8_lossy(&letter.content),
            }))?;
        }
    }
}
