//! The commits of a rollup: facts and the rows that are drawn from them, and that a day is done.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::{
    Lease, Result, RowsWritten, ServiceFacts, ServiceRows, Store, directory, draw, facts, history, reach, rows,
};
use crate::clock::Clock;
use crate::failpoint::Point;
use crate::model::Day;
use crate::rollup::PatchEvent;

/// What some services come to, ready to replace what they came to before.
#[derive(Debug, Default)]
pub struct RollupCommit {
    /// Sorted by service.
    pub facts: Vec<ServiceFacts>,
    /// By partition and service.
    pub patches: BTreeMap<(Day, Uuid), Vec<PatchEvent>>,
    /// Sorted by service. A service whose facts have changed, but that has no rows here, waits to be drawn.
    pub rows: Vec<ServiceRows>,
}

impl Store {
    /// Replaces services' facts and rows, which reach `today`: all or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_rollup(
        &self,
        lease: &Lease,
        commit: &RollupCommit,
        today: Day,
        clock: Clock,
    ) -> Result<RowsWritten> {
        reach(Point::RollupBegun)?;
        let mut transaction = self.begin_leased(lease).await?;
        let drawn: HashSet<Uuid> = commit.rows.iter().map(|rows| rows.service).collect();
        facts::replace(&mut transaction, &commit.facts, &drawn, today).await?;
        reach(Point::FactsReplaced)?;
        directory::replace_patches(&mut transaction, &commit.patches).await?;
        let row_commit = rows::RowCommit { number: transaction.number(), run: transaction.job(), at: clock.now() };
        let written = rows::write(&mut transaction, &commit.rows, row_commit).await?;
        reach(Point::RowsWritten)?;
        let noted: HashSet<Uuid> = commit.facts.iter().map(ServiceFacts::service).collect();
        draw::note(&mut transaction, drawn.difference(&noted).copied().collect(), today).await?;
        if written > 0 {
            // Asked for again: writing takes a while, in which readers saw what was there before.
            history::note_commit(&mut transaction, row_commit.number, clock.now()).await?;
        }
        transaction.commit_at(Point::RollupReady).await?;
        self.meters.wrote_rows(written);
        reach(Point::RollupCommitted)?;
        Ok(written)
    }

    /// Notes that days are recomputed.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn clear_dirty(&self, lease: &Lease, days: impl IntoIterator<Item = Day>) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        for day in days {
            transaction.sql("DELETE FROM dirty_partitions WHERE day = $1").bind(day).execute().await?;
        }
        transaction.commit_at(Point::DirtyReady).await?;
        reach(Point::DirtyCleared)
    }
}
