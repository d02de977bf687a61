//! Decoded events waiting to be written: packed, because many of them wait, and indexed by what orders them.

use uuid::Uuid;

use super::{Fingerprint, LogLine};
use crate::model::{Event, EventType, Instant, Member, MemberKind, MemberValue, canonical_guid};

/// A packed event is its line's number, the length of its body, and the body.
const LENGTH_AT: usize = 8;
const BODY_AT: usize = 12;

/// A GUID and a size.
pub(super) const PACKED_ATTACHMENT: usize = 24;

/// Events of one input, in order of arrival.
#[derive(Debug, Default)]
pub struct PackedEvents {
    input: i64,
    /// Added to the line numbers, which count from the piece that was decoded.
    first_line: u64,
    /// Whether any of them is bare.
    is_bare: bool,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where an event begins, and in which order it comes.
#[derive(Clone, Copy, Debug)]
struct Place {
    service: u128,
    time: Instant,
    start: u32,
}

/// What orders the events of the log, but for source and id; and where in which pack the event begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub service: u128,
    pub time: Instant,
    pub pack: u32,
    pub start: u32,
    pub length: u32,
}

/// An event's `id` as it is packed.
#[derive(Clone, Copy)]
pub(super) enum PackedId<'a> {
    /// It spells this GUID in the canonical form.
    Guid(&'a [u8; 16]),
    Text(&'a [u8]),
}

impl PackedId<'_> {
    /// As the event spells it.
    pub fn text(self) -> Vec<u8> {
        match self {
            Self::Guid(guid) => Uuid::from_bytes(*guid).hyphenated().to_string().into_bytes(),
            Self::Text(text) => text.to_vec(),
        }
    }
}

/// An event, read where it is packed.
pub(super) struct PackedEvent<'a> {
    pub source: &'a [u8],
    pub id: PackedId<'a>,
    pub event_type: EventType,
    /// That of the content which is no longer there.
    pub fingerprint: Option<&'a [u8; 16]>,
    pub input: i64,
    pub line: u64,
    /// Everything but where it stood: two events of a service and instant are copies if these bytes are the same.
    pub body: &'a [u8],
    /// Which members are present: a bit for each of the type's.
    present: u16,
    members: Bytes<'a>,
}

impl PackedEvents {
    /// No events yet, of the input numbered `input`; there is room for what a text of so many bytes is likely to hold.
    #[must_use]
    pub fn of_input(input: i64, text_bytes: usize) -> Self {
        let mut events = Self::default();
        events.reuse(input, text_bytes);
        events
    }

    /// Forgets its events, and begins anew with those of this input. Buffers are used again, which spares the system a page
    /// at a time.
    pub fn reuse(&mut self, input: i64, text_bytes: usize) {
        const LIKELY_LINE: usize = 256;
        self.input = input;
        self.first_line = 0;
        self.is_bare = false;
        self.bytes.clear();
        self.places.clear();
        self.bytes.reserve(text_bytes / 2);
        self.places.reserve(text_bytes / LIKELY_LINE);
    }

    /// Adds an event, which stood on this line.
    ///
    /// # Panics
    /// When a pack holds 4 GiB; it holds what one piece of an input does.
    pub fn push(&mut self, event: &Event<'_>, line: u64) {
        self.push_as(event, line, None);
    }

    /// Adds a line of the log, which may be bare.
    ///
    /// # Panics
    /// As [`Self::push`].
    pub fn push_line(&mut self, line: &LogLine<'_>) {
        self.push_as(&line.event, line.line, line.fingerprint);
    }

    fn push_as(&mut self, event: &Event<'_>, line: u64, fingerprint: Option<Fingerprint>) {
        let start = u32::try_from(self.bytes.len()).expect("a pack has fewer than 2^32 bytes");
        self.places.push(Place { service: event.service.as_u128(), time: event.time, start });
        let begins = self.bytes.len();
        self.bytes.extend_from_slice(&line.to_le_bytes());
        self.bytes.extend_from_slice(&[0; BODY_AT - LENGTH_AT]);
        self.bytes.push(event.event_type as u8);
        push_text(&mut self.bytes, &event.source);
        if let Some(guid) = canonical_guid(event.id.as_bytes()) {
            self.bytes.push(1);
            self.bytes.extend_from_slice(guid.as_bytes());
        } else {
            self.bytes.push(0);
            push_text(&mut self.bytes, &event.id);
        }
        self.bytes.push(fingerprint.is_some().into());
        self.bytes.extend(fingerprint.iter().flat_map(|Fingerprint(bytes)| bytes));
        self.is_bare |= fingerprint.is_some();
        let present_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        let mut present = 0_u16;
        for (index, rule) in event.event_type.members().iter().enumerate() {
            if let Some(value) = event.data.get(rule.member) {
                present |= 1 << index;
                push_value(&mut self.bytes, value);
            }
        }
        self.bytes[present_at..present_at + 2].copy_from_slice(&present.to_le_bytes());
        let length = u32::try_from(self.bytes.len() - begins - BODY_AT).expect("a line has fewer than 2^32 bytes");
        self.bytes[begins + LENGTH_AT..begins + BODY_AT].copy_from_slice(&length.to_le_bytes());
    }

    /// Moves the line numbers of all events.
    pub fn set_first_line(&mut self, first_line: u64) {
        self.first_line = first_line;
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn is_bare(&self) -> bool {
        self.is_bare
    }

    /// How many bytes its events take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(self.places.as_slice())
    }

    pub(super) fn keys(&self, pack: u32) -> impl Iterator<Item = Key> + '_ {
        let end = u32::try_from(self.bytes.len()).expect("a pack has fewer than 2^32 bytes");
        let ends = self.places.iter().skip(1).map(|place| place.start).chain([end]);
        self.places.iter().zip(ends).map(move |(place, end)| Key {
            service: place.service,
            time: place.time,
            pack,
            start: place.start,
            length: end - place.start,
        })
    }

    /// The bytes of an event, by where it begins and how long it is.
    #[inline]
    pub(super) fn bytes_of(&self, start: u32, length: u32) -> &[u8] {
        &self.bytes[start as usize..][..length as usize]
    }

    /// Reads the bytes of one of these events.
    pub(super) fn read<'b>(&self, bytes: &'b [u8]) -> PackedEvent<'b> {
        let line = u64::from_le_bytes(Bytes(bytes).take()) + self.first_line;
        let body = &bytes[BODY_AT..];
        let mut bytes = Bytes(body);
        PackedEvent {
            line,
            body,
            event_type: EventType::ALL[usize::from(bytes.byte())],
            source: bytes.list(1),
            id: bytes.id(),
            fingerprint: (bytes.byte() != 0).then(|| bytes.guid()),
            input: self.input,
            present: u16::from_le_bytes(bytes.take()),
            members: bytes,
        }
    }

    /// The event there.
    pub(super) fn get(&self, start: u32, length: u32) -> PackedEvent<'_> {
        self.read(self.bytes_of(start, length))
    }
}

/// A member's value as it is packed.
#[derive(Clone, Copy)]
pub(super) enum PackedValue<'a> {
    Guid(&'a [u8; 16]),
    /// 16 bytes each.
    Guids(&'a [u8]),
    /// [`PACKED_ATTACHMENT`] bytes each: the GUID, and the size in the order of little-endian bytes.
    Attachments(&'a [u8]),
    Count(u64),
    Flag(bool),
    /// The place of a name in its set.
    Name(u8),
    Text(&'a [u8]),
    Time(Instant),
}

impl<'a> PackedEvent<'a> {
    /// Calls `take` with each member that is present, in the order of the type's table.
    pub fn for_each_member(mut self, mut take: impl FnMut(Member, PackedValue<'a>)) {
        let bytes = &mut self.members;
        let mut present = self.present;
        let rules = self.event_type.members();
        while present != 0 {
            let member = rules[present.trailing_zeros() as usize].member;
            present &= present - 1;
            let value = match member.kind() {
                MemberKind::Guid => PackedValue::Guid(bytes.guid()),
                MemberKind::GuidList => PackedValue::Guids(bytes.list(16)),
                MemberKind::Attachments => PackedValue::Attachments(bytes.list(PACKED_ATTACHMENT)),
                MemberKind::Count => PackedValue::Count(u64::from_le_bytes(bytes.take())),
                MemberKind::Flag => PackedValue::Flag(bytes.byte() != 0),
                MemberKind::Feature | MemberKind::GroupType => PackedValue::Name(bytes.byte()),
                MemberKind::Text | MemberKind::Identifier => PackedValue::Text(bytes.list(1)),
                MemberKind::Time => PackedValue::Time(Instant::from_nanos(i64::from_le_bytes(bytes.take()))),
            };
            take(member, value);
        }
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a line has fewer than 2^32 bytes");
    bytes.extend(length.to_le_bytes());
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn push_value(bytes: &mut Vec<u8>, value: MemberValue<'_>) {
    match value {
        MemberValue::Guid(guid) => bytes.extend_from_slice(guid.as_bytes()),
        MemberValue::Guids(guids) => {
            push_length(bytes, guids.len());
            for guid in guids {
                bytes.extend_from_slice(guid.as_bytes());
            }
        }
        MemberValue::Attachments(attachments) => {
            push_length(bytes, attachments.len());
            for attachment in attachments {
                bytes.extend_from_slice(attachment.attachment_guid.as_bytes());
                bytes.extend_from_slice(&attachment.size_bytes.to_le_bytes());
            }
        }
        MemberValue::Count(count) => bytes.extend_from_slice(&count.to_le_bytes()),
        MemberValue::Flag(flag) => bytes.push(u8::from(flag)),
        MemberValue::Feature(feature) => bytes.push(feature as u8),
        MemberValue::GroupType(group_type) => bytes.push(group_type as u8),
        MemberValue::Text(text) => push_text(bytes, text),
        MemberValue::Time(time) => bytes.extend_from_slice(&time.nanos().to_le_bytes()),
    }
}

/// What is left to be read of packed bytes.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let (taken, rest) = self.0.split_first_chunk().expect("what was packed is whole");
        self.0 = rest;
        *taken
    }

    fn guid(&mut self) -> &'a [u8; 16] {
        let (guid, rest) = self.0.split_first_chunk().expect("what was packed is whole");
        self.0 = rest;
        guid
    }

    fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn length(&mut self) -> usize {
        u32::from_le_bytes(self.take()) as usize
    }

    fn split(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn id(&mut self) -> PackedId<'a> {
        if self.byte() == 0 {
            return PackedId::Text(self.list(1));
        }
        let (guid, rest) = self.0.split_first_chunk().expect("what was packed is whole");
        self.0 = rest;
        PackedId::Guid(guid)
    }

    /// Items of so many bytes each, behind their number.
    fn list(&mut self, item: usize) -> &'a [u8] {
        let items = self.length();
        self.split(items * item)
    }
}
