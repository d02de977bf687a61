//! Replay: rejected lines are decoded again, as the configuration is now. A line that is valid now goes into the event log
//! under the input and line that it first came in with, so each input's ledger still adds up.

use serde::Serialize;

use super::ingest::decoder;
use super::rollup::rollup_leased;
use super::{Installation, Run, erase};
use crate::event_log::{PackedEvents, SegmentWriter};
use crate::ingest::decode::Reason;
use crate::rollup::VoidMark;
use crate::store::{Lease, LogCommit, StoredDeadLetter};

/// Dead letters are replayed and committed so many at a time.
const LETTERS_TOGETHER: i64 = 4_096;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ReplayReport {
    /// Lines that are in the event log now.
    pub replayed: u64,
    /// Lines that are still rejected.
    pub rejected: u64,
    pub rows_written: u64,
}

/// Replays the dead letters of one reason, or all of them, and rolls up what that touched.
///
/// # Errors
/// When the lease can't be had, or writing fails; what was committed before stays.
pub async fn replay(installation: &Installation, run: &Run, reason: Option<Reason>) -> anyhow::Result<ReplayReport> {
    let lease = installation.begin(run, "dead-letters replay").await?;
    let done = Box::pin(replay_leased(installation, run, &lease, reason)).await;
    installation.end(&lease, done).await
}

async fn replay_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    reason: Option<Reason>,
) -> anyhow::Result<ReplayReport> {
    let decoder = decoder(installation);
    let erased = erase::arriving(installation, run, lease).await?;
    let mut report = ReplayReport::default();
    let mut after = 0;
    loop {
        run.check()?;
        let letters = installation.store.dead_letters(reason, after, LETTERS_TOGETHER).await?;
        let Some(last) = letters.last() else { break };
        after = last.id;
        let mut packs = Vec::new();
        let mut commit = LogCommit::default();
        // Of a line that was too long only the beginning was kept.
        for StoredDeadLetter { id, letter, .. } in
            letters.iter().filter(|letter| letter.letter.rejection.reason != Reason::LineTooLong)
        {
            let Ok(event) = decoder.decode(&letter.content) else { continue };
            let mut pack = PackedEvents::of_input(letter.input, letter.content.len());
            pack.push(erased.masked(&event).as_ref().unwrap_or(&event), letter.line);
            packs.push(pack);
            commit.replayed.push(*id);
            commit.voids.extend(VoidMark::of(&event));
        }
        report.replayed += commit.replayed.len() as u64;
        report.rejected += (letters.len() - commit.replayed.len()) as u64;
        if commit.replayed.is_empty() {
            continue;
        }
        let log = installation.log.clone();
        commit.segments = installation
            .on_threads(move || SegmentWriter::new(log, rayon::current_num_threads()).write(&packs))
            .await??;
        installation.store.commit_log(lease, &commit, installation.now()).await?;
    }
    report.rows_written = rollup_leased(installation, run, lease).await?.rows_written;
    Ok(report)
}
