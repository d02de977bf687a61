//! Segments take the place of others: whatever step it is cut short at, either they or the others are the log, and the files of
//! what is not are noted to be removed.

use std::sync::Arc;

use super::Installation;
use crate::event_log::{Segment, SegmentReader};
use crate::failpoint::{Point, reach};
use crate::model::Day;
use crate::store::{ContentOrder, Lease};

/// What rows that are written anew together take of memory, packed.
pub(super) const BYTES_TOGETHER: usize = 256 << 20;

/// A day of segments that take the place of others is bare where it was in all of those.
pub(super) fn stay_bare(gone: &[Segment], new: &mut [Segment]) {
    let was_bare = |day: Day| gone.iter().flat_map(|of| &of.partitions).all(|of| of.day != day || of.is_bare);
    for partition in new.iter_mut().flat_map(|segment| &mut segment.partitions) {
        partition.is_bare = was_bare(partition.day);
    }
}

impl Installation {
    /// Puts segments, whose files are staged, in the place of others that hold the same lines. `check` holds them against what
    /// they were made of, as they are read back. `orders` are those of contents that tie and are masked now.
    pub(super) async fn replace(
        &self,
        lease: &Lease,
        gone: &[Segment],
        new: &[Segment],
        orders: &[ContentOrder],
        check: impl FnOnce(&[Segment], &SegmentReader) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        reach(Point::SegmentsStaged)?;
        self.store.announce_segments(lease, new).await?;
        let (log, staged): (_, Arc<[Segment]>) = (self.log.clone(), new.into());
        let published = self.on_threads(move || {
            staged.iter().try_for_each(|segment| log.publish(&segment.path))?;
            check(&staged, &SegmentReader::new(log))
        });
        published.await??;
        self.store.replace_segments(lease, gone, new, orders, self.now()).await?;
        self.remove_discarded(lease).await
    }
}
