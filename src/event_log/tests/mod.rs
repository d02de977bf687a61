//! What is written is what is read: by the parquet crate's reader, which knows nothing of how pages were filled.

mod rewrite;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Block, BlockReader, EventLogDir, EventLogError, EventRows, Id, OpenSegment, PackedEvents, Segment, SegmentReader,
    SegmentWriter,
};
use crate::model::{
    Attachment, Event, EventData, EventType, Feature, GroupType, Instant, Masks, Patch, VoidTarget, content,
};

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
        segment.contents(rows, &Masks::default(), |content| contents.push(content.to_vec())).unwrap();
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
        open.contents(&(0..2_500).collect::<Vec<usize>>(), &Masks::default(), |_| ())?;
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
