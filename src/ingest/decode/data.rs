//! The known members of `data` (`spec/events.md`, Types), by the table in [`EventType::members`].

use std::borrow::Cow;

use uuid::Uuid;

use super::envelope::{GUID_EXPECTED, MAX_IDENTIFIER_BYTES};
use super::json::{Json, Name, Order};
use super::lines::Memory;
use super::{Reason, Refusal, Rejection, service_patch};
use crate::model::{
    Attachment, EventData, EventType, Feature, GroupType, Instant, LastDate, Member, MemberRule, VoidTarget, parse_guid,
};

/// The greatest integer that every JSON reader can hold exactly.
pub(super) const MAX_COUNT: u64 = 1 << 53;
/// No type has more members.
const MAX_MEMBERS: usize = 9;

/// [`EventType::members`] as they are looked for.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub rules: &'static [MemberRule],
    names: [Name; MAX_MEMBERS],
    /// A bit for each that must be there.
    pub required: u16,
}

impl Shape {
    #[inline]
    pub fn names(&self) -> &[Name] {
        &self.names[..self.rules.len()]
    }
}

/// By type.
pub(super) static SHAPES: [Shape; EventType::ALL.len()] = {
    let mut shapes = [Shape { rules: &[], names: Name::all([""; MAX_MEMBERS]), required: 0 }; EventType::ALL.len()];
    let mut at = 0;
    while at < shapes.len() {
        let shape = &mut shapes[at];
        shape.rules = EventType::ALL[at].members();
        let mut index = 0;
        while index < shape.rules.len() {
            shape.names[index] = Name::new(shape.rules[index].name);
            shape.required |= (shape.rules[index].required as u16) << index;
            index += 1;
        }
        at += 1;
    }
    shapes
};

/// Reads `data` of this type into `data`, which is empty.
#[inline]
pub(super) fn decode<'a>(
    event_type: EventType,
    json: &mut Json<'a>,
    data: &mut EventData<'a>,
    memory: &mut Memory,
) -> Result<(), Refusal> {
    if json.peek() != Some(b'{') {
        return Err(Rejection::new(Reason::InvalidData, "data", "expected an object").into());
    }
    if event_type == EventType::ServiceUpdated {
        data.patch = Some(service_patch::decode(json)?);
        return Ok(());
    }
    let shape = &SHAPES[event_type as usize];
    let (rules, required) = (shape.rules, shape.required);
    let mut order = memory.data[event_type as usize];
    let mut members = Members { data, memory, voided_source: None, voided_id: None, voided_time: None };
    let (mut seen, mut present) = (0_u16, 0_u16);
    json.object(shape.names(), &mut order, |json, index| {
        let rule = &rules[index];
        let bit = 1 << index;
        if seen & bit != 0 {
            return Err(Rejection::data(rule.name, "given twice"));
        }
        seen |= bit;
        if json.peek() == Some(b'n') {
            json.literal()?;
            return Ok(());
        }
        present |= bit;
        members.read(json, rule.name, rule.member)
    })?;
    if let Some(missing) = (0..rules.len()).find(|index| required & !present & (1 << index) != 0) {
        return Err(Rejection::data(rules[missing].name, "missing"));
    }
    if event_type == EventType::EventVoided {
        members.finish();
    }
    memory.data[event_type as usize] = order;
    Ok(())
}

/// The members as they are met: the target of a void is whole only at the end.
struct Members<'d, 'a> {
    data: &'d mut EventData<'a>,
    memory: &'d mut Memory,
    voided_source: Option<Cow<'a, str>>,
    voided_id: Option<Cow<'a, str>>,
    voided_time: Option<Instant>,
}

impl<'a> Members<'_, 'a> {
    #[inline]
    fn read(&mut self, json: &mut Json<'a>, name: &str, member: Member) -> Result<(), Refusal> {
        let data = &mut *self.data;
        match member {
            Member::MessageGuid => data.message_guid = Some(read_guid(json, name)?),
            Member::UserGuid => data.user_guid = Some(read_guid(json, name)?),
            Member::AttachmentGuid => data.attachment_guid = Some(read_guid(json, name)?),
            Member::GroupGuid => data.group_guid = Some(read_guid(json, name)?),
            Member::InvitedByUserGuid => data.invited_by_user_guid = Some(read_guid(json, name)?),
            Member::RecipientUserGuids => {
                data.recipient_user_guids = Some(read_guids(json, name, std::mem::take(&mut self.memory.guids))?);
            }
            Member::Attachments => {
                let empty = std::mem::take(&mut self.memory.attachments);
                data.attachments = Some(read_attachments(json, &mut self.memory.attachment, empty)?);
            }
            Member::RecipientCount => data.recipient_count = Some(read_count(json, name)?),
            Member::SizeBytes => data.size_bytes = Some(read_count(json, name)?),
            Member::Quantity => data.quantity = Some(read_count(json, name)?),
            Member::IsAlias => data.is_alias = Some(read_flag(json, name)?),
            Member::Feature => {
                data.feature = Some(read_name(json, name, Feature::from_name, "a feature of the specification")?);
            }
            Member::GroupType => {
                data.group_type = Some(read_name(json, name, GroupType::from_name, "Professional or Guest")?);
            }
            Member::GroupName => data.group_name = Some(read_text(json, name)?),
            Member::EmailAddress => data.email_address = Some(read_text(json, name)?),
            Member::FirstName => data.first_name = Some(read_text(json, name)?),
            Member::LastName => data.last_name = Some(read_text(json, name)?),
            Member::InvitedByEmailAddress => data.invited_by_email_address = Some(read_text(json, name)?),
            Member::ToolbarVersion => data.toolbar_version = Some(read_text(json, name)?),
            Member::VoidedSource => self.voided_source = Some(read_identifier(json, name)?),
            Member::VoidedId => self.voided_id = Some(read_identifier(json, name)?),
            Member::VoidedTime => self.voided_time = Some(read_time(json, name, &mut self.memory.date)?),
            Member::Patch => {}
        }
        Ok(())
    }

    fn finish(self) {
        if let (Some(source), Some(id), Some(time)) = (self.voided_source, self.voided_id, self.voided_time) {
            self.data.voided = Some(VoidTarget { source, id, time });
        }
    }
}

#[inline]
pub(super) fn read_text<'a>(json: &mut Json<'a>, name: &str) -> Result<Cow<'a, str>, Refusal> {
    if json.peek() != Some(b'"') {
        return Err(Rejection::data(name, "expected a string"));
    }
    Ok(json.string()?)
}

#[inline]
pub(super) fn read_guid(json: &mut Json<'_>, name: &str) -> Result<Uuid, Refusal> {
    match json.hyphenated_guid() {
        Some(guid) => Ok(guid),
        None => read_odd_guid(json, name),
    }
}

#[inline(never)]
fn read_odd_guid(json: &mut Json<'_>, name: &str) -> Result<Uuid, Refusal> {
    parse_guid(&read_text(json, name)?).ok_or_else(|| Rejection::data(name, GUID_EXPECTED))
}

fn read_identifier<'a>(json: &mut Json<'a>, name: &str) -> Result<Cow<'a, str>, Refusal> {
    let identifier = read_text(json, name)?;
    if identifier.is_empty() || identifier.len() > MAX_IDENTIFIER_BYTES {
        return Err(Rejection::data(name, "expected 1 to 256 bytes"));
    }
    Ok(identifier)
}

fn read_time(json: &mut Json<'_>, name: &str, last: &mut LastDate) -> Result<Instant, Refusal> {
    let time = Instant::parse_rfc3339_near(&read_text(json, name)?, last);
    time.ok_or_else(|| Rejection::data(name, "expected RFC 3339 with an offset"))
}

/// Reads an integer as `spec/events.md` (Envelope) wants it: `0|[1-9][0-9]*`, at most 2^53.
#[inline]
pub(super) fn read_count(json: &mut Json<'_>, name: &str) -> Result<u64, Refusal> {
    match json.plain_integer() {
        Some(count) => Ok(count),
        None => read_odd_count(json, name),
    }
}

#[inline(never)]
fn read_odd_count(json: &mut Json<'_>, name: &str) -> Result<u64, Refusal> {
    let expected =
        || Rejection::data(name, "expected an integer from 0 through 2^53, written without sign, fraction or exponent");
    if !json.peek().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return Err(expected());
    }
    let spelt = json.number()?;
    let count = spelt.parse().ok().filter(|count| *count <= MAX_COUNT);
    count.filter(|_| spelt.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(expected)
}

fn read_flag(json: &mut Json<'_>, name: &str) -> Result<bool, Refusal> {
    let flag = if matches!(json.peek(), Some(b't' | b'f')) { json.literal()? } else { None };
    flag.ok_or_else(|| Rejection::data(name, "expected true or false"))
}

pub(super) fn read_name<T>(
    json: &mut Json<'_>,
    name: &str,
    from_name: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<T, Refusal> {
    from_name(&read_text(json, name)?).ok_or_else(|| Rejection::data(name, format!("expected {expected}")))
}

fn read_guids(json: &mut Json<'_>, name: &str, mut guids: Vec<Uuid>) -> Result<Vec<Uuid>, Refusal> {
    expect_array(json, name)?;
    json.array(|json| {
        json.peek();
        guids.push(read_guid(json, name)?);
        Ok::<_, Refusal>(())
    })?;
    Ok(guids)
}

fn read_attachments(
    json: &mut Json<'_>,
    order: &mut Order,
    mut attachments: Vec<Attachment>,
) -> Result<Vec<Attachment>, Refusal> {
    static NAMES: [Name; 2] = Name::all(["attachmentGuid", "sizeBytes"]);
    expect_array(json, "attachments")?;
    json.array(|json| {
        if json.peek() != Some(b'{') {
            return Err(Rejection::data("attachments", "expected objects"));
        }
        let (mut seen, mut attachment_guid, mut size_bytes) = ([false; 2], None, None);
        json.object(&NAMES, order, |json, index| {
            if std::mem::replace(&mut seen[index], true) {
                return Err(Rejection::data(&format!("attachments.{}", NAMES[index].text), "given twice"));
            }
            if json.peek() == Some(b'n') {
                json.literal()?;
            } else if index == 0 {
                attachment_guid = Some(read_guid(json, "attachments.attachmentGuid")?);
            } else {
                size_bytes = Some(read_count(json, "attachments.sizeBytes")?);
            }
            Ok(())
        })?;
        let missing = |name| Rejection::data(name, "missing");
        attachments.push(Attachment {
            attachment_guid: attachment_guid.ok_or_else(|| missing("attachments.attachmentGuid"))?,
            size_bytes: size_bytes.ok_or_else(|| missing("attachments.sizeBytes"))?,
        });
        Ok(())
    })?;
    Ok(attachments)
}

fn expect_array(json: &mut Json<'_>, name: &str) -> Result<(), Refusal> {
    if json.peek() == Some(b'[') { Ok(()) } else { Err(Rejection::data(name, "expected an array")) }
}
