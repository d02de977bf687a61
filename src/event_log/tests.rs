//! What is written is what is read: by the parquet crate's reader, which knows nothing of how pages were filled.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Block, BlockReader, EventLogDir, EventLogError, EventRows, Id, OpenSegment, PackedEvents, Segment, SegmentReader,
    SegmentWriter, WholeRows,
};
use crate::model::{Attachment, Event, EventData, EventType, Feature, GroupType, Instant, Patch, VoidTarget, content};

fn guid() -> impl Strategy<Value = Uuid> {
    prop_oneof![(0..5_u128).prop_map(Uuid::from_u128), any::<u128>().prop_map(Uuid::from_u128)]
}

/// Numbers of every width, the widest that events may have included.
fn count() -> impl Strategy<Value = u64> {
    (0..=53_u32, any::<u64>()).prop_map(|(bits, number)| if bits == 53 { 1 << 53 } else { number & ((1 << bits) - 1) })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", ".{0,40}"]
}

fn maybe_text() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    prop::option::of(text().prop_map(Cow::Owned))
}

fn data(event_type: EventType) -> BoxedStrategy<EventData<'static>> {
    let attachment =
        (guid(), count()).prop_map(|(attachment_guid, size_bytes)| Attachment { attachment_guid, size_bytes });
    match event_type {
        EventType::MessageSent => (
            guid(),
            prop::option::of(prop::collection::vec(guid(), 0..20)),
            prop::option::of(count()),
            prop::option::of(prop::collection::vec(attachment, 0..4)),
        )
            .prop_map(|(guid, recipient_user_guids, recipient_count, attachments)| EventData {
                message_guid: Some(guid),
                user_guid: Some(guid),
                recipient_user_guids,
                recipient_count,
                attachments,
                ..EventData::default()
            })
            .boxed(),
        EventType::FeatureUsed => (0..Feature::ALL.len(), prop::option::of(count()), prop::option::of(guid()))
            .prop_map(|(feature, quantity, user_guid)| EventData {
                feature: Some(Feature::ALL[feature]),
                quantity,
                user_guid,
                ..EventData::default()
            })
            .boxed(),
        EventType::UserInvited => (guid(), any::<bool>(), [maybe_text(), maybe_text()], prop::option::of(guid()))
            .prop_map(|(guid, is_guest, [group_name, email_address], invited_by_user_guid)| EventData {
                user_guid: Some(guid),
                group_type: Some(if is_guest { GroupType::Guest } else { GroupType::Professional }),
                group_name,
                email_address,
                invited_by_user_guid,
                ..EventData::default()
            })
            .boxed(),
        EventType::AttachmentPurged => (guid(), count())
            .prop_map(|(guid, size_bytes)| EventData {
                attachment_guid: Some(guid),
                size_bytes: Some(size_bytes),
                ..EventData::default()
            })
            .boxed(),
        EventType::UserLoggedIn => (guid(), maybe_text())
            .prop_map(|(guid, toolbar_version)| EventData {
                user_guid: Some(guid),
                toolbar_version,
                ..EventData::default()
            })
            .boxed(),
        EventType::ServiceUpdated => prop::option::of(prop::option::of(text()))
            .prop_map(|name| {
                let members = name.into_iter().map(|name| ("name".to_owned(), name.into()));
                EventData { patch: Some(Patch::from_members(&members.collect())), ..EventData::default() }
            })
            .boxed(),
        EventType::EventVoided => ("/[a-c]", text(), prop_oneof![any::<i64>(), 0..9_i64])
            .prop_map(|(source, id, nanos)| EventData {
                voided: Some(VoidTarget { source: source.into(), id: id.into(), time: Instant::from_nanos(nanos) }),
                ..EventData::default()
            })
            .boxed(),
        _ => (guid(), prop::option::of(any::<bool>()), maybe_text(), maybe_text())
            .prop_map(|(guid, is_alias, first_name, last_name)| EventData {
                user_guid: Some(guid),
                is_alias,
                first_name,
                last_name,
                ..EventData::default()
            })
            .boxed(),
    }
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let types = [
        EventType::MessageSent,
        EventType::AttachmentPurged,
        EventType::FeatureUsed,
        EventType::UserInvited,
        EventType::UserLoggedIn,
        EventType::UserUpdated,
        EventType::ServiceUpdated,
        EventType::EventVoided,
    ];
    let id = prop_oneof![
        guid().prop_map(|guid| guid.hyphenated().to_string()),
        guid().prop_map(|guid| guid.hyphenated().to_string().to_uppercase()),
        guid().prop_map(|guid| guid.simple().to_string()),
        ".{1,40}",
    ];
    (0..types.len(), guid(), prop_oneof![any::<i64>(), 0..9_i64], "/[a-c]", id).prop_flat_map(
        move |(kind, service, nanos, source, id)| {
            data(types[kind]).prop_map(move |data| Event {
                service,
                time: Instant::from_nanos(nanos),
                source: Cow::Owned(source.clone()),
                id: Cow::Owned(id.clone()),
                event_type: types[kind],
                data,
            })
        },
    )
}

/// An event as text, to compare events as sets: service, time, identity and content.
fn spelt(event: &Event<'_>) -> String {
    format!(
        "{} {} {} {} {}",
        event.service,
        event.time.nanos(),
        event.source,
        event.id,
        content(event.event_type, &event.data)
    )
}

fn written(events: &[Event<'_>]) -> (tempfile::TempDir, EventLogDir, Vec<Segment>) {
    let home = tempfile::tempdir().unwrap();
    let dir = EventLogDir::open(home.path()).unwrap();
    let mut pack = PackedEvents::of_input(7, 0);
    events.iter().zip(1..).for_each(|(event, line)| pack.push(event, line));
    let segments = SegmentWriter::new(dir.clone(), 2).write(&[pack]).unwrap();
    (home, dir, segments)
}

fn read(dir: EventLogDir, segments: &[Segment]) -> Vec<String> {
    let reader = SegmentReader::new(dir);
    let (mut spelt_events, mut contents) = (Vec::new(), Vec::new());
    for segment in segments {
        let open = reader.open(segment).unwrap();
        for partition in &segment.partitions {
            let first = usize::try_from(partition.first_row).unwrap();
            let rows: Vec<usize> = (first..first + usize::try_from(partition.rows).unwrap()).collect();
            let (mut folded, mut texts) = (Vec::new(), Vec::new());
            open.read_rows::<EventLogError>(&rows, |batch| {
                for event in EventRows::new(batch).iter() {
                    spelt_events.push(spelt(&event));
                    folded.push(as_rollup_sees_it(&event));
                    texts.push(content(event.event_type, &event.data));
                }
                Ok(())
            })
            .unwrap();
            assert_eq!(of_blocks(&open, first..first + rows.len()), folded);
            let third = rows.len() / 3;
            assert_eq!(of_blocks(&open, first + third..first + rows.len() - third), folded[third..rows.len() - third]);
            contents.extend(contents_of(&open, &rows).into_iter().zip(texts));
        }
    }
    assert_one_to_one(&contents);
    spelt_events
}

/// The contents of these rows, which are the same when fewer rows are asked for, with whole pages and row groups between them.
fn contents_of(segment: &OpenSegment, rows: &[usize]) -> Vec<Vec<u8>> {
    let of = |rows: &[usize]| {
        let mut contents = Vec::new();
        segment.contents(rows, |content| contents.push(content.to_vec())).unwrap();
        contents
    };
    let all = of(rows);
    for step in [3, 5_000, 140_000] {
        let some: Vec<usize> = rows.iter().copied().skip(step / 2).step_by(step).collect();
        assert!(of(&some).iter().eq(all.iter().skip(step / 2).step_by(step)));
    }
    all
}

/// Bytes are the same exactly where texts are.
fn assert_one_to_one(contents: &[(Vec<u8>, String)]) {
    let by_bytes: HashMap<&[u8], &str> = contents.iter().map(|(bytes, text)| (&bytes[..], &text[..])).collect();
    let by_text: HashMap<&str, &[u8]> = contents.iter().map(|(bytes, text)| (&text[..], &bytes[..])).collect();
    for (bytes, text) in contents {
        assert_eq!((by_bytes[&bytes[..]], by_text[&text[..]]), (&text[..], &bytes[..]));
    }
}

/// What rollup looks at of an event, as text.
fn as_rollup_sees_it(event: &Event<'_>) -> String {
    let data = &event.data;
    let attachments = data.attachments.as_deref().unwrap_or_default();
    let count = match event.event_type {
        EventType::FeatureUsed => data.quantity.unwrap_or(1),
        _ => attachments.len() as u64,
    };
    let bytes: i128 =
        attachments.iter().map(|attachment| attachment.size_bytes).chain(data.size_bytes).map(i128::from).sum();
    let user = data.user_guid.filter(|_| event.event_type.changes_users()).unwrap_or_default();
    format!(
        "{} {} {} {} {:?} {user} {:?} {:?} {count} {bytes}",
        event.service,
        event.time.nanos(),
        event.source,
        event.id,
        event.event_type,
        data.group_type,
        data.feature,
    )
}

/// The same of a run of rows, as blocks have them.
fn of_blocks(segment: &OpenSegment, rows: Range<usize>) -> Vec<String> {
    let services = segment.service_runs(rows.clone(), |_| true).unwrap();
    let mut services = services.iter().flat_map(|run| run.rows.clone().map(|_| Uuid::from_u128(run.service)));
    let mut reader = BlockReader::new(segment, rows);
    let (mut sources, mut block, mut seen) = (Vec::new(), Block::default(), Vec::new());
    while reader.next(&mut sources, &mut block).unwrap() {
        for row in block.wanted.clone() {
            let id = match block.ids[row] {
                Id::Guid(guid) => Uuid::from_bytes(guid).hyphenated().to_string(),
                Id::Text { start, length } => block.texts[start as usize..(start + length) as usize].to_owned(),
            };
            seen.push(format!(
                "{} {} {} {id} {:?} {} {:?} {:?} {} {}",
                services.next().unwrap(),
                block.times[row],
                sources[block.sources[row] as usize],
                block.types[row],
                Uuid::from_u128(block.users[row]),
                block.groups[row],
                block.features[row],
                block.counts[row],
                block.bytes[row],
            ));
        }
    }
    seen
}

fn assert_round_trip(events: &[Event<'_>]) {
    let (_home, dir, segments) = written(events);
    let mut read = read(dir, &segments);
    let mut expected: Vec<String> = events.iter().map(spelt).collect();
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read(events in prop::collection::vec(event(), 1..200)) {
        assert_round_trip(&events);
    }
}

/// Writes each batch by itself, in order of arrival: so many inputs to a batch, by turns.
fn written_in_batches(dir: &EventLogDir, batches: &[&[Event<'_>]], inputs: usize) -> Vec<Segment> {
    let mut line = 0;
    let mut write = |batch: &&[Event<'_>]| {
        let mut packs: Vec<PackedEvents> = (1..).take(inputs).map(|input| PackedEvents::of_input(input, 0)).collect();
        for (event, turn) in batch.iter().zip((0..inputs).cycle()) {
            line += 1;
            packs[turn].push(event, line);
        }
        SegmentWriter::new(dir.clone(), 1).write(&packs).unwrap()
    };
    batches.iter().flat_map(|batch| write(batch)).collect()
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
    segments.iter().for_each(|segment| dir.publish(&segment.path).unwrap());
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
        copies.iter().for_each(|copy| events.push(copy.get(&events).clone()));
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

/// Enough rows of one day for several row groups, with runs and gaps of every kind in each column.
#[test]
fn many_pages_and_row_groups_hold_what_was_written() {
    let of_row = |row: u64| {
        let sent = row.is_multiple_of(7) || (row / 3_000).is_multiple_of(2);
        let guid =
            |number: u64| Uuid::from_u128(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let data = EventData {
            message_guid: sent.then(|| guid(row)),
            user_guid: Some(guid(row % 1_000)),
            recipient_user_guids: (sent && row % 5 > 1).then(|| (0..row % 5 - 2).map(guid).collect()),
            toolbar_version: (!sent).then(|| format!("6.{}", row % 40).into()),
            ..EventData::default()
        };
        let id = if row.is_multiple_of(11) { format!("id-{row}") } else { guid(row).hyphenated().to_string() };
        Event {
            service: guid(row % 300),
            time: Instant::from_nanos(i64::try_from(row * 1_000_000).unwrap()),
            source: Cow::Borrowed(["/a", "/b", "/c"][usize::try_from(row % 3).unwrap()]),
            id: id.into(),
            event_type: if sent { EventType::MessageSent } else { EventType::UserLoggedIn },
            data,
        }
    };
    let events: Vec<Event<'_>> = (0..150_000).map(of_row).collect();
    assert_round_trip(&events);
}

#[test]
fn pages_tell_which_services_and_times_they_hold() {
    let event = |service: u128, second: i64| Event {
        service: Uuid::from_u128(service),
        time: Instant::from_seconds(second),
        source: "/s".into(),
        id: format!("{service}-{second}").into(),
        event_type: EventType::UserEnabled,
        data: EventData { user_guid: Some(Uuid::from_u128(1)), ..EventData::default() },
    };
    let events: Vec<Event<'_>> = (0..9_000).map(|row| event(row / 1_000, i64::try_from(row).unwrap())).collect();
    let (_home, dir, segments) = written(&events);
    let bytes = bytes::Bytes::from(std::fs::read(dir.path_of(&segments[0].path)).unwrap());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let ends = |column: usize| {
        let column = metadata.row_group(0).column(column);
        assert!(column.column_index_offset().is_some() && column.offset_index_offset().is_some());
        let statistics = column.statistics().unwrap();
        (statistics.min_bytes_opt().unwrap().to_vec(), statistics.max_bytes_opt().unwrap().to_vec())
    };
    assert_eq!(ends(0), (0_u128.to_be_bytes().to_vec(), 8_u128.to_be_bytes().to_vec()));
    assert_eq!(ends(1), (0_i64.to_le_bytes().to_vec(), 8_999_000_000_000_i64.to_le_bytes().to_vec()));
}

/// A flipped bit anywhere is found before anything is made of it, or makes no difference.
#[test]
fn no_flipped_bit_is_served_as_truth() {
    let event = |row: u32| Event {
        service: Uuid::from_u128(u128::from(row / 40)),
        time: Instant::from_seconds(row.into()),
        source: "/s".into(),
        id: format!("id-{row}").into(),
        event_type: EventType::UserInvited,
        data: EventData {
            user_guid: Some(Uuid::from_u128(row.into())),
            group_type: Some(GroupType::Guest),
            email_address: Some(format!("{row}@example.com").into()),
            ..EventData::default()
        },
    };
    let events: Vec<Event<'_>> = (0..2_500).map(event).collect();
    let (_home, dir, segments) = written(&events);
    let path = dir.path_of(&segments[0].path);
    let whole = std::fs::read(&path).unwrap();
    let as_read = || -> Result<Vec<String>, EventLogError> {
        let open = SegmentReader::new(dir.clone()).open(&segments[0])?;
        let mut events = Vec::new();
        open.read_rows::<EventLogError>(&(0..2_500).collect::<Vec<usize>>(), |batch| {
            events.extend(EventRows::new(batch).iter().map(|event| spelt(&event)));
            Ok(())
        })?;
        let (mut sources, mut block) = (Vec::new(), Block::default());
        let mut reader = BlockReader::new(&open, 0..2_500);
        while reader.next(&mut sources, &mut block)? {}
        open.contents(&(0..2_500).collect::<Vec<usize>>(), |_| ())?;
        Ok(events)
    };
    let expected = as_read().unwrap();
    let (mut found, step) = (0, whole.len() / 700);
    for at in (0..whole.len()).step_by(step) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, flipped).unwrap();
        match as_read() {
            Err(EventLogError::Damaged { .. }) => found += 1,
            Err(other) => panic!("{other}"),
            Ok(read) => assert_eq!(read, expected, "byte {at}"),
        }
    }
    assert!(found > 690, "{found}");
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(as_read(), Err(EventLogError::Damaged { .. })));
}
