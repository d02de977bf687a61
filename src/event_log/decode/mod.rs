//! Reading segments for rollup: the counterpart of `encode`. Pages are decoded straight into blocks of plain columns, of
//! those columns alone that rollup looks at; and, where copies have to be told from conflicts, into the contents of rows.

mod bits;
mod block;
mod cells;
mod contents;
mod identities;
mod lines;
mod page;

use std::ops::{Range, RangeInclusive};
use std::sync::LazyLock;

use parquet::errors::ParquetError;

pub use block::{Block, BlockReader, Id, IdRead};
use page::ColumnPages;

use super::schema::parquet_schema;
use super::{EventLogError, OpenSegment};

/// A page or dictionary that is not as this program writes them. The file's hash was checked, so it is a mistake of the
/// program that wrote it.
#[derive(Debug)]
pub(super) struct Corrupt(pub &'static str);

/// What can go wrong with a page.
#[derive(Debug)]
pub(super) enum PageError {
    Corrupt(Corrupt),
    Parquet(ParquetError),
}

/// Rows of a segment that follow each other and belong to one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRun {
    pub service: u128,
    /// Numbered within the segment.
    pub rows: Range<usize>,
}

impl OpenSegment {
    /// The services of these rows, in order. `is_wanted` tells whether any of the services from one through another are; pages
    /// without any are passed by.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn service_runs(
        &self,
        rows: Range<usize>,
        is_wanted: impl Fn(&RangeInclusive<u128>) -> bool,
    ) -> Result<Vec<ServiceRun>, EventLogError> {
        self.checked(|| {
            let mut runs: Vec<ServiceRun> = Vec::new();
            let column = leaf("service_guid");
            for mut group in self.pages_of(&rows) {
                let services = self.services_of(&group)?;
                let Some(first) = services.iter().position(&is_wanted) else { continue };
                let last = services.iter().rposition(&is_wanted).unwrap_or(first);
                group = GroupPages { first: group.first + first, pages: group.pages[first..=last].to_vec(), ..group };
                let (mut pages, dictionary) = ColumnPages::open(self, &group, column)?;
                let dictionary = dictionary.ok_or(Corrupt("services without a dictionary"))?;
                let services = dictionary.guids()?;
                for page in group.pages {
                    let mut row = page.start;
                    pages.next()?.required(page.len())?.indices(services.len(), |index, times| {
                        let here = row.max(rows.start)..(row + times).min(rows.end);
                        row += times;
                        if here.is_empty() {
                            return;
                        }
                        let service = u128::from_be_bytes(services[index]);
                        match runs.last_mut() {
                            Some(last) if last.service == service => last.rows.end = here.end,
                            _ => runs.push(ServiceRun { service, rows: here }),
                        }
                    })?;
                }
            }
            runs.retain(|run| is_wanted(&(run.service..=run.service)));
            Ok(runs)
        })
    }

    /// The first service of each page that holds any of these rows, and how many rows the page holds.
    ///
    /// # Errors
    /// When the segment's end does not tell.
    pub fn services_by_page(&self, rows: &Range<usize>) -> Result<Vec<(u128, usize)>, EventLogError> {
        self.checked(|| {
            let mut firsts = Vec::new();
            for group in self.pages_of(rows) {
                let services = self.services_of(&group)?;
                firsts.extend(services.iter().zip(&group.pages).map(|(of, page)| (*of.start(), page.len())));
            }
            Ok(firsts)
        })
    }
}

/// Pages of a row group that follow each other.
pub(super) struct GroupPages {
    pub group: usize,
    /// The first of the pages, counted within the row group.
    pub first: usize,
    /// Which rows of the segment each of them holds, of every column.
    pub pages: Vec<Range<usize>>,
}

/// The number of a column in the file.
pub(super) fn leaf(path: &str) -> usize {
    static PATHS: LazyLock<Vec<String>> =
        LazyLock::new(|| parquet_schema().columns().iter().map(|column| column.path().string()).collect());
    PATHS.iter().position(|known| known == path).expect("the column is in the schema")
}

impl From<Corrupt> for PageError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<ParquetError> for PageError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(Corrupt(what)) => f.write_str(what),
            Self::Parquet(error) => error.fmt(f),
        }
    }
}
