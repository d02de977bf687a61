//! Segments that no catalog knows any more. What they must be is told nowhere but in themselves: a file is taken for a segment
//! if its pages, each of which has its hash in the footer, fill it without a gap, and hold as many rows as the footer says.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;

use super::checked::{CheckedFile, has_page_hashes};
use super::decode::Corrupt;
use super::files::FileHash;
use super::schema::Layout;
use super::{EventLogError, LogLine, OpenSegment};

/// A file that was found to be a segment.
pub struct UnknownSegment {
    pub file: FileHash,
    path: PathBuf,
    open: OpenSegment,
}

impl UnknownSegment {
    /// Opens a file, and finds out whether it is a segment.
    ///
    /// # Errors
    /// When it can't be read, is none, or is damaged.
    pub fn open(path: &Path) -> Result<Self, EventLogError> {
        let hash = FileHash::of(path)?;
        let file = File::open(path).map_err(EventLogError::io("open", path))?;
        let damaged = |detail: String| EventLogError::Damaged { path: path.to_owned(), detail };
        let foreign = |detail: &str| EventLogError::Foreign { path: path.to_owned(), detail: detail.to_owned() };
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        guarded(path, || {
            let found = ArrowReaderMetadata::load(&file, options.clone()).map_err(|error| {
                if starts_as_parquet(&file) { damaged(error.to_string()) } else { foreign("it is no Parquet file") }
            })?;
            if !has_page_hashes(found.metadata()) {
                return Err(foreign("its footer has no hashes of pages"));
            }
            let layout = Layout::of_columns(found.metadata().file_metadata().schema_descr().num_columns());
            let layout = layout.ok_or_else(|| foreign("it has other columns"))?;
            let options = options.with_schema(layout.arrow());
            let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), options);
            let metadata = metadata.map_err(|_| foreign("it has other columns"))?;
            let checked = CheckedFile::new(file, hash.bytes, metadata.metadata());
            let checked = checked.map_err(|Corrupt(detail)| damaged(detail.to_owned()))?;
            if !checked.is_filled_by_pages() {
                return Err(damaged("its pages do not lie where the footer says".to_owned()));
            }
            let open = OpenSegment::of(path.to_owned(), Arc::new(checked), metadata, layout);
            Ok(Self { file: hash, path: path.to_owned(), open })
        })
    }

    /// How many lines each input has here, by the number that the input had.
    ///
    /// # Errors
    /// When a page is not what was written.
    pub fn lines_by_input(&self) -> Result<BTreeMap<i64, u64>, EventLogError> {
        guarded(&self.path, || self.open.lines_by_input())
    }

    /// Calls `take` with each line, in the log's order.
    ///
    /// # Errors
    /// When a page is not what was written, or what `take` returns.
    pub fn read(&self, mut take: impl FnMut(LogLine<'_>) -> Result<(), EventLogError>) -> Result<(), EventLogError> {
        let mut rows = 0;
        guarded(&self.path, || {
            self.open.read_lines(|line| {
                rows += 1;
                take(line)
            })
        })?;
        if rows == self.open.rows() {
            return Ok(());
        }
        Err(self.damaged(&format!("{rows} of its {} rows could be read", self.open.rows())))
    }

    /// Says what is wrong with it.
    #[must_use]
    pub fn damaged(&self, detail: &str) -> EventLogError {
        EventLogError::Damaged { path: self.path.clone(), detail: detail.to_owned() }
    }
}

/// No hash says that a footer is the one that was written, and some others make the parquet crate panic.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, EventLogError>) -> Result<T, EventLogError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let detail = "its footer makes no sense".to_owned();
        Err(EventLogError::Damaged { path: path.to_owned(), detail })
    })
}

fn starts_as_parquet(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && &magic == b"PAR1"
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{EventLogDir, PackedEvents, SegmentWriter};
    use super::*;
    use crate::model::{Event, EventData, EventType, Feature, Instant, content};

    fn segment(dir: &Path) -> PathBuf {
        let log = EventLogDir::open(dir).unwrap();
        let packs: Vec<PackedEvents> = (7..9)
            .map(|input| {
                let mut pack = PackedEvents::of_input(input, 0);
                for number in 0..30 {
                    let data = EventData {
                        feature: Some(Feature::ALL[0]),
                        quantity: Some(number),
                        user_guid: (number % 3 == 0).then(|| Uuid::from_u128(number.into())),
                        ..EventData::default()
                    };
                    let event = Event {
                        service: Uuid::from_u128(u128::from(number % 4)),
                        time: Instant::from_nanos(number.cast_signed() * 1_000_000_000_000),
                        source: "/s".into(),
                        id: format!("{input}-{number}").into(),
                        event_type: EventType::FeatureUsed,
                        data,
                    };
                    pack.push(&event, number + 1);
                }
                pack
            })
            .collect();
        let written = SegmentWriter::new(log.clone(), 1).write(&packs).unwrap();
        log.path_of(&written[0].path)
    }

    fn told(path: &Path) -> Result<Vec<String>, EventLogError> {
        let (unknown, mut told) = (UnknownSegment::open(path)?, Vec::new());
        let lines = unknown.lines_by_input()?;
        unknown.read(|LogLine { event, input, line, .. }| {
            let content = content(event.event_type, &event.data);
            told.push(format!(
                "{} {:?} {} {} {content} {input}:{line}",
                event.service, event.time, event.source, event.id
            ));
            Ok(())
        })?;
        assert_eq!(lines.values().sum::<u64>(), told.len() as u64);
        Ok(told)
    }

    /// A flipped bit may be one that says nothing, as of who wrote the file. It never changes what is read.
    #[test]
    fn no_flipped_bit_and_no_cut_changes_what_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = segment(home.path());
        let (whole, expected) = (std::fs::read(&path).unwrap(), told(&path).unwrap());
        assert_eq!(expected.len(), 60);
        let changed = home.path().join("changed.parquet");
        let (mut found, mut harmless) = (0, 0);
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&changed, &bytes).unwrap();
            match told(&changed) {
                Err(EventLogError::Damaged { .. } | EventLogError::Foreign { .. }) => found += 1,
                Err(error) => panic!("{error}"),
                Ok(read) => {
                    assert_eq!(read, expected, "byte {at}");
                    harmless += 1;
                }
            }
            if at % 150 == 0 {
                std::fs::write(&changed, &whole[..at]).unwrap();
                assert!(told(&changed).is_err(), "cut at {at}");
            }
        }
        assert!(found > 500 && harmless < found, "{found} found, {harmless} harmless");
    }
}
