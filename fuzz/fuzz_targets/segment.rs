//! A segment with bytes changed: as the catalog knows it, and as one that no catalog knows.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use usage_rollup::event_log::{
    Block, BlockReader, EventLogDir, EventLogError, PackedEvents, Segment, SegmentReader, SegmentWriter, UnknownSegment,
};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::Instant;
use uuid::Uuid;

/// A file begins with `PAR1`, which is no part of a page.
const MAGIC: usize = 4;

struct Original {
    dir: PathBuf,
    segment: Segment,
    content: Vec<u8>,
}

const EVENT: &str = r#"{"specversion":"1.0","id":"NUMBER","source":"/s","type":"message.sent","subject":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","time":"2026-03-02T01:00:00Z","data":{"messageGuid":"50c187fcce174b4e8837b8a3d261a7ab","userGuid":"b02b61c4a3d74628ace66fa2fd5166e6"}}"#;

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    // The parquet crate may panic on a footer that makes no sense, which is caught (event_log::unknown). libFuzzer's own hook would
    // end the process before; what is not caught ends it all the same.
    std::panic::set_hook(Box::new(|_| ()));
    let dir = tempfile::tempdir().unwrap().keep();
    let log = EventLogDir::open(&dir).unwrap();
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let mut events = PackedEvents::of_input(1, 1 << 16);
    for number in 0..3_000_u64 {
        let line = EVENT.replace("NUMBER", &number.to_string());
        events.push(&decoder.decode(line.as_bytes()).unwrap(), number);
    }
    let segment = SegmentWriter::new(log.clone(), 1).write(&[events]).unwrap().remove(0);
    let content = fs::read(log.path_of(&segment.path)).unwrap();
    Original { dir, segment, content }
});

/// Reads every column of every row, by either way of reading.
fn read(log: &EventLogDir, segment: &Segment) -> Result<usize, EventLogError> {
    let open = SegmentReader::new(log.clone()).open(segment)?;
    let mut rows = 0;
    open.read_all(|batch| {
        rows += batch.num_rows();
        Ok::<(), EventLogError>(())
    })?;
    let (mut sources, mut block) = (Vec::new(), Block::default());
    let mut reader = BlockReader::new(&open, 0..rows);
    while reader.next(&mut sources, &mut block)? {}
    Ok(rows)
}

fuzz_target!(|changes: Vec<(u32, u8)>| {
    let Original { dir, segment, content } = &*ORIGINAL;
    let log = EventLogDir::at(dir);
    let changed = |within: Range<usize>| {
        let mut changed = content.clone();
        for (at, byte) in &changes {
            changed[within.start + *at as usize % within.len()] ^= byte;
        }
        changed
    };
    let mut of_process = segment.clone();
    of_process.id = Uuid::from_u128(u128::from(std::process::id()));
    of_process.path = format!("mixed/{}.parquet", of_process.id);
    let path = log.path_of(&of_process.path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();

    // What the catalog knows: pages that are changed are never taken for what was written.
    let pages = changed(MAGIC..usize::try_from(segment.end.at).unwrap());
    fs::write(&path, &pages).unwrap();
    match read(&log, &of_process) {
        Ok(rows) => assert_eq!((rows, &pages == content), (3_000, true)),
        Err(error) => assert!(matches!(error, EventLogError::Damaged { .. }), "{error}"),
    }
    // What nobody knows: it is a segment, or the error says why not.
    fs::write(&path, changed(0..content.len())).unwrap();
    if let Ok(unknown) = UnknownSegment::open(&path) {
        _ = unknown.read(|_| Ok(()));
    }
});
