//! A segment with bytes changed, of which the catalog says that its end is right: it is read as it was, or is damaged.
#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use usage_rollup::event_log::{
    BlockReader, EventLogDir, EventLogError, PackedEvents, Segment, SegmentReader, SegmentWriter,
};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::Instant;
use uuid::Uuid;

struct Original {
    dir: PathBuf,
    segment: Segment,
    content: Vec<u8>,
}

const EVENT: &str = r#"{"specversion":"1.0","id":"NUMBER","source":"/s","type":"message.sent","subject":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","time":"2026-03-02T01:00:00Z","data":{"messageGuid":"50c187fcce174b4e8837b8a3d261a7ab","userGuid":"b02b61c4a3d74628ace66fa2fd5166e6"}}"#;

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
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

fuzz_target!(|changes: Vec<(u16, u8)>| {
    let Original { dir, segment, content } = &*ORIGINAL;
    let log = EventLogDir::at(dir);
    let (mut changed, mut segment) = (content.clone(), segment.clone());
    for (at, byte) in &changes {
        // Most of a segment is its pages, and most that can go wrong is in its end.
        let at = changed.len() - 1 - usize::from(*at) % changed.len();
        changed[at] ^= byte;
    }
    segment.id = Uuid::from_u128(u128::from(std::process::id()));
    segment.path = format!("mixed/{}.parquet", segment.id);
    let end = usize::try_from(segment.end.at).unwrap();
    segment.end.hash = *blake3::hash(&changed[end..]).as_bytes();
    fs::write(log.path_of(&segment.path), &changed).unwrap();
    let read = || -> Result<usize, EventLogError> {
        let open = SegmentReader::new(log.clone()).open(&segment)?;
        let mut rows = 0;
        open.read_all(|batch| {
            rows += batch.num_rows();
            Ok::<(), EventLogError>(())
        })?;
        let (mut sources, mut block) = (Vec::new(), Default::default());
        let mut reader = BlockReader::new(&open, 0..rows.min(open.rows()));
        while reader.next(&mut sources, &mut block)? {}
        Ok(rows)
    };
    let rows = read();
    if changed == *content {
        assert_eq!(rows.unwrap(), 3_000);
    }
});
