//! Contents as the log tells them, against the canonical text of the specification: lines share the one exactly if they
//! share the other, also across batches.

use std::collections::HashMap;

use proptest::prelude::*;
use usage_rollup::event_log::{EventLogDir, EventLogError, EventRows, PackedEvents, SegmentReader, SegmentWriter};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::{Instant, Masks, content};

use super::random_events;

/// The log's bytes and the canonical text of each line that is accepted, of batches that are written one after the other.
fn contents(batches: &[&[String]]) -> Vec<(Vec<u8>, String)> {
    let home = tempfile::tempdir().unwrap();
    let dir = EventLogDir::open(home.path()).unwrap();
    let (writer, reader) = (SegmentWriter::new(dir.clone(), 1), SegmentReader::new(dir));
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let (mut bytes, mut texts) = (Vec::new(), Vec::new());
    for lines in batches {
        let mut pack = PackedEvents::of_input(1, 0);
        let events =
            lines.iter().zip(1..).filter_map(|(line, number)| Some((decoder.decode(line.as_bytes()).ok()?, number)));
        events.for_each(|(event, number)| pack.push(&event, number));
        for segment in writer.write(&[pack]).unwrap() {
            let rows: Vec<usize> = (0..usize::try_from(segment.rows).unwrap()).collect();
            let segment = reader.open(&segment).unwrap();
            segment.contents(&rows, &Masks::new([7; 32]), |content| bytes.push(content.to_vec())).unwrap();
            let take = segment.read_rows::<EventLogError>(&rows, |batch| {
                texts.extend(EventRows::new(batch).iter().map(|event| content(event.event_type, &event.data)));
                Ok(())
            });
            take.unwrap();
        }
    }
    assert_eq!(bytes.len(), texts.len());
    bytes.into_iter().zip(texts).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn bytes_are_the_same_exactly_where_canonical_contents_are(
        lines in random_events::lines(true),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        // Some lines come in both batches.
        let batches = [&lines[..to.index(lines.len() + 1)], &lines[from.index(lines.len() + 1)..]];
        let contents = contents(&batches);
        let by_bytes: HashMap<&[u8], &str> = contents.iter().map(|(bytes, text)| (&bytes[..], &text[..])).collect();
        let by_text: HashMap<&str, &[u8]> = contents.iter().map(|(bytes, text)| (&text[..], &bytes[..])).collect();
        for (bytes, text) in &contents {
            prop_assert_eq!((by_bytes[&bytes[..]], by_text[&text[..]]), (&text[..], &bytes[..]));
        }
    }
}
