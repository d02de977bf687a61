//! The identities of rows alone, for whoever looks for the same one on another day.

use std::ops::Range;

use super::block::{Block, Id, named, places};
use super::page::ColumnPages;
use super::{PageError, leaf};
use crate::event_log::{EventLogError, OpenSegment};

impl OpenSegment {
    /// Calls `take` with each of these rows, in order: the place of its source in `sources`, to which new ones are added, its
    /// id, and the texts in which ids stand that are no GUIDs.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn identities(
        &self,
        rows: Range<usize>,
        sources: &mut Vec<String>,
        mut take: impl FnMut(&[String], u32, &Id, &str),
    ) -> Result<(), EventLogError> {
        self.checked(|| {
            let mut block = Block::default();
            for group in self.pages_of(&rows) {
                let (mut of_sources, names) = ColumnPages::open(self, &group, leaf("source"))?;
                let names = named(names, places(sources))?;
                let (mut guids, _) = ColumnPages::open(self, &group, leaf("id_guid"))?;
                let (mut texts, _) = ColumnPages::open(self, &group, leaf("id"))?;
                for page in group.pages {
                    block.read_identities(&mut of_sources, &names, (&mut guids, &mut texts), page.len())?;
                    for row in page.start.max(rows.start)..page.end.min(rows.end) {
                        let at = row - page.start;
                        take(sources, block.sources[at], &block.ids[at], &block.texts);
                    }
                }
            }
            Ok::<(), PageError>(())
        })
    }
}
