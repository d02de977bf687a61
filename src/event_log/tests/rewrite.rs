//! What is written anew holds what was there, and anything else is found.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::{
    EventLogDir, EventLogError, EventRows, PackedEvents, Segment, SegmentReader, SegmentWriter, WholeRows,
};
use super::{event, spelt};
use crate::model::{Event, EventData, EventType, Instant};

/// Writes each batch by itself, in order of arrival: so many inputs to a batch, by turns.
fn written_in_batches(dir: &EventLogDir, batches: &[&[Event<'_>]], inputs: usize) -> Vec<Segment> {
    let mut line = 0;
    let write = |batch: &&[Event<'_>]| {
        let mut packs: Vec<PackedEvents> = (1..).take(inputs).map(|input| PackedEvents::of_input(input, 0)).collect();
        for (event, turn) in batch.iter().zip((0..inputs).cycle()) {
            line += 1;
            packs[turn].push(event, line);
        }
        SegmentWriter::new(dir.clone(), 1).write(&packs).unwrap()
    };
    batches.iter().flat_map(write).collect()
}

fn whole_rows(dir: &EventLogDir, segments: &[Segment]) -> WholeRows {
    let reader = SegmentReader::new(dir.clone());
    let mut rows = WholeRows::within(usize::MAX);
    for segment in segments {
        assert!(rows.add(&reader.open(segment).unwrap()).unwrap());
    }
    rows
}

fn written_anew(dir: &EventLogDir, rows: &WholeRows) -> Vec<Segment> {
    let segments = SegmentWriter::new(dir.clone(), 1).stage(rows.packs()).unwrap();
    assert!(segments.iter().all(|segment| !dir.path_of(&segment.path).exists()));
    for segment in &segments {
        dir.publish(&segment.path).unwrap();
    }
    segments
}

/// All rows of segments, each as text with its input and line, in order.
fn lines_of(dir: &EventLogDir, segments: &[Segment]) -> Vec<String> {
    let reader = SegmentReader::new(dir.clone());
    let mut lines = Vec::new();
    for segment in segments {
        let take = |batch: &arrow_array::RecordBatch| {
            let rows = EventRows::new(batch);
            lines.extend(rows.iter().zip(rows.places()).map(|(event, place)| format!("{} {place:?}", spelt(&event))));
            Ok::<(), EventLogError>(())
        };
        reader.open(segment).unwrap().read_all(take).unwrap();
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_that_are_written_anew_are_the_rows_that_were(
        mut events in prop::collection::vec(event(), 1..120),
        copies in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        inputs in 1..4_usize,
    ) {
        let home = tempfile::tempdir().unwrap();
        let dir = EventLogDir::open(home.path()).unwrap();
        for copy in copies {
            events.push(copy.get(&events).clone());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len())).chain([0, events.len()]).collect();
        cuts.sort_unstable();
        let batches: Vec<&[Event<'_>]> = cuts.windows(2).map(|cut| &events[cut[0]..cut[1]]).collect();
        let segments = written_in_batches(&dir, &batches, inputs);
        let rows = whole_rows(&dir, &segments);
        let anew = written_anew(&dir, &rows);
        rows.are_in(&anew, &SegmentReader::new(dir.clone())).unwrap();
        let (mut before, mut after) = (lines_of(&dir, &segments), lines_of(&dir, &anew));
        // Written anew once more, nothing moves any more.
        let again = written_anew(&dir, &whole_rows(&dir, &anew));
        prop_assert_eq!(&lines_of(&dir, &again), &after);
        before.sort();
        after.sort();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn what_was_not_written_as_it_was_is_found() {
    let event = |number: i64, name: &'static str| Event {
        service: Uuid::from_u128(1),
        time: Instant::from_seconds(number),
        source: "/s".into(),
        id: number.to_string().into(),
        event_type: EventType::UserUpdated,
        data: EventData { user_guid: Some(Uuid::from_u128(2)), first_name: Some(name.into()), ..EventData::default() },
    };
    let home = tempfile::tempdir().unwrap();
    let dir = EventLogDir::open(home.path()).unwrap();
    let events: Vec<Event<'_>> = (0..9).map(|number| event(number, "a")).collect();
    let rows = whole_rows(&dir, &written_in_batches(&dir, &[&events[..4], &events[4..]], 1));
    let is_held_by = |segments: &[Segment]| rows.are_in(segments, &SegmentReader::new(dir.clone())).is_ok();
    assert!(is_held_by(&written_anew(&dir, &rows)));
    assert!(!is_held_by(&[]));
    let written = |events: &[Event<'_>]| written_in_batches(&dir, &[events], 1);
    assert!(is_held_by(&written(&events)));
    assert!(!is_held_by(&written(&events[1..])), "a row is missing");
    assert!(!is_held_by(&[written(&events), written(&events[..1])].concat()), "a row is there twice");
    let mut changed = events.clone();
    changed[3] = event(3, "b");
    assert!(!is_held_by(&written(&changed)), "a member is another one");
    changed[3] = event(2, "a");
    assert!(!is_held_by(&written(&changed)), "a row is another one");
    let from_other = written_in_batches(&dir, &[&events], 2);
    assert!(!is_held_by(&from_other), "a row has another input");
    let mut misplaced = written(&events);
    misplaced[0].partitions[0].day = misplaced[0].partitions[0].day.next();
    assert!(!is_held_by(&misplaced), "the catalog has another day");
    let few = WholeRows::within(10).add(&SegmentReader::new(dir.clone()).open(&misplaced[0]).unwrap());
    assert!(!few.unwrap(), "they take more memory than they may");
}
