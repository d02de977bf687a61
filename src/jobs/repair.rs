//! Repairing what verifying found, as far as the event log can tell what is right: wrong facts are forgotten and folded anew,
//! wrong rows are drawn anew, by the code that makes them always; then everything is verified again.

use serde::Serialize;

use super::rollup::rollup_leased;
use super::verify::{Fixes, Scope, Verified, note, verify_leased};
use super::{Installation, Run};
use crate::event_log::EventLogError;
use crate::model::Reason;
use crate::store::{Lease, RollupCommit, ServiceRows};

/// Facts first, and then the ledger, which they are counted into.
const ROUNDS: usize = 2;

/// What repairing did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repaired {
    /// Services whose facts were made anew, and those whose rows alone were.
    pub facts: usize,
    pub rows: usize,
    pub inputs: usize,
    pub voids: usize,
    /// Files that were moved aside.
    pub orphans: usize,
    pub rows_written: u64,
    /// Why something was left as it is.
    pub left: Vec<String>,
}

/// Verifies, repairs what recomputing can repair, and verifies again: what is left is what that finds.
///
/// # Errors
/// As for verifying and rolling up.
pub async fn repair(installation: &Installation, run: &Run, scope: &Scope) -> anyhow::Result<(Verified, Repaired)> {
    let lease = installation.lease_as_it_is(run).await?;
    installation.claim()?;
    let mut verified = Box::pin(verify_leased(installation, run, &lease, scope)).await?;
    let mut repaired = Repaired::default();
    for _ in 0..ROUNDS {
        let repairing = Repairing { installation, run, lease: &lease };
        if !Box::pin(repairing.repair(&mut verified, &mut repaired)).await? {
            break;
        }
        verified = Box::pin(verify_leased(installation, run, &lease, scope)).await?;
    }
    note(installation, scope, &verified).await;
    repaired.left = left(&verified);
    Ok((verified, repaired))
}

struct Repairing<'a> {
    installation: &'a Installation,
    run: &'a Run,
    lease: &'a Lease,
}

impl Repairing<'_> {
    /// Does what can be done, and tells whether anything was.
    async fn repair(&self, verified: &mut Verified, repaired: &mut Repaired) -> anyhow::Result<bool> {
        let store = &self.installation.store;
        let Fixes { mut facts, rows, gone, ledger, voids, has_orphans } = std::mem::take(&mut verified.fixes);
        // What can't be read can't be made anew, and whose facts it holds is not known.
        if !verified.unreadable.is_empty() {
            facts.clear();
        }
        // Facts move the ledger, so it is looked at again behind them.
        let ledger = if facts.is_empty() { ledger } else { Vec::new() };
        if has_orphans {
            repaired.orphans += self.installation.clean_up(self.lease).await?;
        }
        let today = self.installation.today();
        let is_drawn = |service| facts.iter().chain(&rows).any(|fix| fix.service == service);
        for (service, gone) in gone.into_iter().filter(|(service, _)| is_drawn(*service)) {
            let rows = vec![ServiceRows { service, stored: None, reason: Reason::Backfill, gone, rows: Vec::new() }];
            let commit = RollupCommit { rows, ..RollupCommit::default() };
            repaired.rows_written += store.commit_rollup(self.lease, &commit, today, self.installation.clock).await?;
        }
        // Before anything is folded.
        store.mend_voids(self.lease, &voids.0, &voids.1).await?;
        repaired.voids += voids.0.len() + voids.1.len();
        for fix in &facts {
            self.run.check()?;
            store.forget_facts(self.lease, fix).await?;
        }
        for fix in &rows {
            self.run.check()?;
            store.mark_to_draw(self.lease, fix).await?;
        }
        store.mend_ledger(self.lease, &ledger).await?;
        repaired.facts += facts.len();
        repaired.rows += rows.len();
        repaired.inputs += ledger.len();
        if !(facts.is_empty() && rows.is_empty()) {
            match Box::pin(rollup_leased(self.installation, self.run, self.lease)).await {
                Ok(report) => repaired.rows_written += report.rows_written,
                // Verifying again names what could not be read.
                Err(error) if error.chain().any(<dyn std::error::Error>::is::<EventLogError>) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(has_orphans
            || !(voids.0.is_empty() && voids.1.is_empty() && facts.is_empty() && rows.is_empty() && ledger.is_empty()))
    }
}

/// What to do about what is left.
fn left(verified: &Verified) -> Vec<String> {
    use crate::audit::Subject::{Input, Segment};
    let mut left = Vec::new();
    let any = |is: fn(&crate::audit::Subject) -> bool| verified.differences.named.iter().any(|of| is(&of.subject));
    if any(|subject| matches!(subject, Segment { .. })) {
        left.push(
            "a segment is damaged or missing: restore its file from a backup, or read its inputs again into a new data \
             directory; until then the days in it stay as they were rolled up last, and no facts are made anew"
                .to_owned(),
        );
    }
    if any(|subject| matches!(subject, Input { .. })) {
        left.push(
            "the ledger has rejected lines, or inputs, that nothing else tells of: restore the database from a backup"
                .to_owned(),
        );
    }
    left
}
