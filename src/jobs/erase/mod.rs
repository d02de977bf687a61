//! Erasure: the e-mail addresses and names of a user go, from the event log, from dead letters and from files that were set
//! aside, and no number changes by it (`docs/erasure.md`).
//!
//! What was begun is done before anything else arrives: an event that comes again is masked, and must meet its masked self.

mod aside;
mod find;
mod piece;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::replace::stay_bare;
use super::{Installation, Run};
use crate::event_log::{EventLogError, LogLine, Segment, SegmentReader};
use crate::model::{Day, Erased};
use crate::store::Lease;
use find::Found;
use piece::{Piece, Staged};

/// What an erasure did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasureReport {
    pub users: Vec<Uuid>,
    /// GUIDs that nothing names which is stored. They are not noted.
    pub nobody: Vec<Uuid>,
    /// Segments that were written anew, and lines that were masked there.
    pub segments: usize,
    pub lines: u64,
    pub dead_letters: u64,
    /// Files that had been set aside, and were written anew or removed.
    pub orphans: usize,
    /// What is left to be done, and why.
    pub left: Vec<String>,
}

/// Erases these users' personal data.
///
/// # Errors
/// When the lease can't be had, the store fails, or the run was interrupted; then the same, or the next one that writes events, goes
/// on with it.
pub async fn erase_users(installation: &Installation, run: &Run, users: &[Uuid]) -> anyhow::Result<ErasureReport> {
    let lease = installation.begin(run, "users erase").await?;
    let done = Box::pin(erase_leased(installation, run, &lease, users)).await;
    installation.end(&lease, done).await
}

/// Whose events are masked as they arrive. An erasure that was cut short is done first.
pub(super) async fn arriving(installation: &Installation, run: &Run, lease: &Lease) -> anyhow::Result<Erased> {
    let users = installation.store.erased_users().await?;
    if users.iter().any(|user| user.ended_at.is_none()) {
        tracing::info!("going on with an erasure that was cut short");
        let report = Box::pin(Erasing::new(installation, run, lease).await?.finish()).await?;
        for left in report.left {
            tracing::error!("an erasure left something: {left}");
        }
    }
    Ok(installation.store.erased().await?)
}

async fn erase_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    users: &[Uuid],
) -> anyhow::Result<ErasureReport> {
    let store = &installation.store;
    let before = store.erased().await?;
    let found = Found::in_installation(installation, run, users).await?;
    let is_known = |user: &Uuid| before.has(*user) || found.users.contains(user);
    let (known, nobody): (Vec<Uuid>, Vec<Uuid>) = users.iter().copied().partition(is_known);
    if known.is_empty() {
        return Ok(ErasureReport { nobody, ..ErasureReport::default() });
    }
    let hashing = Erased::new(store.masks().await?, HashSet::new(), HashSet::new());
    let emails: Vec<[u8; 32]> = found.emails.iter().map(|address| hashing.email(address)).collect();
    store.begin_erasure(lease, &known, &emails, installation.now()).await?;
    let report = Erasing::new(installation, run, lease).await?.finish().await?;
    Ok(ErasureReport { users: known, nobody, ..report })
}

/// One erasure, of all users who are noted.
struct Erasing<'a> {
    installation: &'a Installation,
    run: &'a Run,
    lease: &'a Lease,
    erased: Arc<Erased>,
    reader: Arc<SegmentReader>,
    report: ErasureReport,
}

impl<'a> Erasing<'a> {
    async fn new(installation: &'a Installation, run: &'a Run, lease: &'a Lease) -> anyhow::Result<Self> {
        let erased = Arc::new(installation.store.erased().await?);
        let reader = Arc::new(SegmentReader::new(installation.log.clone()));
        Ok(Self { installation, run, lease, erased, reader, report: ErasureReport::default() })
    }

    async fn finish(mut self) -> anyhow::Result<ErasureReport> {
        let store = &self.installation.store;
        let catalog = store.catalog().await?;
        for piece in self.pieces(&catalog).await? {
            self.run.check()?;
            self.rewrite(piece).await?;
        }
        self.files_aside().await?;
        self.dead_letters().await?;
        store.end_erasure(self.lease, self.installation.now()).await?;
        if store.scrub().await? {
            self.report.left.push(
                "somebody reads from the database, which may hold old pages until that ends: run the same command again"
                    .to_owned(),
            );
        }
        self.done_files().await?;
        Ok(self.report)
    }

    /// Divides what has to be masked by days: rows that are compared with each other are of the same one, so each piece is right
    /// by itself.
    async fn pieces(&mut self, catalog: &[Segment]) -> anyhow::Result<Vec<Piece>> {
        let mut pieces: Vec<Piece> = Vec::new();
        for segment in catalog {
            self.run.check()?;
            let (reader, erased, of) = (self.reader.clone(), self.erased.clone(), segment.clone());
            match self.installation.on_threads(move || masked_days(&reader, &of, &erased)).await? {
                Err(error) => self.report.left.push(format!("{error}; run the same command again then")),
                Ok(days) if days.is_empty() => {}
                Ok(days) => {
                    let shares_day = |piece: &mut Piece| !piece.days.is_disjoint(&days);
                    let together: Vec<Piece> = pieces.extract_if(.., shares_day).collect();
                    let mut piece = Piece { days, segments: vec![segment.clone()] };
                    for other in together {
                        piece.days.extend(other.days);
                        piece.segments.extend(other.segments);
                    }
                    pieces.push(piece);
                }
            }
        }
        Ok(pieces)
    }

    /// Puts masked segments in the place of those of a piece, in one commit.
    async fn rewrite(&mut self, piece: Piece) -> anyhow::Result<()> {
        let Installation { store, log, .. } = self.installation;
        let mut ranks: BTreeMap<Day, _> = BTreeMap::new();
        for day in &piece.days {
            ranks.insert(*day, store.content_orders(*day).await?);
        }
        let holds = |segment: &&Segment| segment.partitions.iter().any(|of| piece.days.contains(&of.day));
        // As they are now: a segment of several days may have been written anew for another piece.
        let near: Vec<Segment> = store.catalog().await?.into_iter().filter(|segment| holds(&segment)).collect();
        let (reader, erased, of) = (self.reader.clone(), self.erased.clone(), log.clone());
        let staged = self.installation.on_threads(move || piece.stage(&near, &ranks, &reader, &erased, &of)).await??;
        let Staged { old, mut new, orders, masked, written } = staged;
        stay_bare(&old, &mut new);
        let check = move |new: &[Segment], reader: &SegmentReader| Ok(written.is_in(new, reader)?);
        self.installation.replace(self.lease, &old, &new, &orders, check).await?;
        self.report.segments += old.len();
        self.report.lines += masked;
        Ok(())
    }
}

/// The days of those rows of a segment that are to be masked.
fn masked_days(reader: &SegmentReader, segment: &Segment, erased: &Erased) -> Result<BTreeSet<Day>, EventLogError> {
    let mut days = BTreeSet::new();
    reader.open(segment)?.read_lines(|LogLine { event, .. }| {
        if erased.masked(&event).is_some() {
            days.insert(Day::utc_of(event.time));
        }
        Ok::<_, EventLogError>(())
    })?;
    Ok(days)
}
