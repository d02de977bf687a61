//! What whoever audits a segment asks of its lines: how many there are, from which inputs they came, and where those of one
//! type stand.

use std::collections::BTreeMap;
use std::ops::Range;

use super::page::ColumnPages;
use super::{Corrupt, leaf};
use crate::event_log::{EventLogError, OpenSegment};
use crate::model::EventType;

impl OpenSegment {
    /// How many lines each input has here.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn lines_by_input(&self) -> Result<BTreeMap<i64, u64>, EventLogError> {
        self.checked(|| {
            let mut lines = BTreeMap::new();
            let mut inputs = Vec::new();
            for group in self.pages_of(&(0..self.rows())) {
                let (mut pages, _) = ColumnPages::open(self, &group, leaf("input"))?;
                for page in &group.pages {
                    pages.next()?.required(page.len())?.integers(&mut inputs)?;
                    // Lines of one input stand side by side, as a rule.
                    for run in inputs.chunk_by(|a, b| a == b) {
                        *lines.entry(run[0]).or_default() += run.len() as u64;
                    }
                }
            }
            Ok(lines)
        })
    }

    /// The numbers of those of these rows that are of one type, in order.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn rows_of_type(&self, rows: &Range<usize>, wanted: EventType) -> Result<Vec<usize>, EventLogError> {
        self.checked(|| {
            let mut found = Vec::new();
            for group in self.pages_of(rows) {
                let (mut pages, dictionary) = ColumnPages::open(self, &group, leaf("type"))?;
                let types = dictionary.ok_or(Corrupt("types without a dictionary"))?;
                let types = types.texts()?;
                let Some(wanted) = types.iter().position(|name| *name == wanted.name()) else { continue };
                for page in &group.pages {
                    let mut row = page.start;
                    pages.next()?.required(page.len())?.indices(types.len(), |index, times| {
                        if index == wanted {
                            found.extend(row.max(rows.start)..(row + times).min(rows.end));
                        }
                        row += times;
                    })?;
                }
            }
            Ok(found)
        })
    }
}
