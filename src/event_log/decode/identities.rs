//! The identities of rows alone, for whoever looks for the same one on another day.

use std::ops::Range;

use super::block::{Block, IdRead, named, places};
use super::page::ColumnPages;
use super::{PageError, leaf};
use crate::event_log::{EventLogError, OpenSegment};

impl OpenSegment {
    /// Calls `take` with each of these rows, in order: `sources`, to which new ones are added, the place of its source there,
    /// and its id.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn identities(
        &self,
        rows: Range<usize>,
        sources: &mut Vec<String>,
        mut take: impl FnMut(&[String], u32, IdRead),
    ) -> Result<(), EventLogError> {
        self.checked(|| {
            let mut block = Block::default();
            for group in self.pages_of(&rows) {
                let (mut of_sources, names) = ColumnPages::open(self, &group, leaf("source"))?;
                let names = named(names, places(sources))?;
                let (mut guids, _) = ColumnPages::open(self, &group, leaf("id_guid"))?;
                let (mut texts, _) = ColumnPages::open(self, &group, leaf("id"))?;
                for page in group.pages {
                    let wanted = rows.start.max(page.start) - page.start..rows.end.min(page.end) - page.start;
                    block.read_sources(&mut of_sources, &names, page.len())?;
                    let guids = guids.next()?;
                    // Nearly all ids are GUIDs, so this is most of what there is to do.
                    if let Some(guids) = guids.all_guids(page.len())? {
                        texts.skip();
                        for (source, guid) in block.sources[wanted.clone()].iter().zip(&guids[wanted]) {
                            take(sources, *source, IdRead::Guid(guid));
                        }
                        continue;
                    }
                    block.read_mixed_ids(&guids, &texts.next()?, page.len())?;
                    for row in wanted {
                        take(sources, block.sources[row], block.ids[row].read(&block.texts));
                    }
                }
            }
            Ok::<(), PageError>(())
        })
    }
}
