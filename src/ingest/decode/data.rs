//! The known members of `data` (`spec/events.md`, Types), by the table in [`EventType::members`].

use std::borrow::Cow;

use uuid::Uuid;

use super::envelope::GUID_EXPECTED;
use super::json::Json;
use super::{Rejection, service_patch};
use crate::model::{
    Attachment, EventData, EventType, Feature, GroupType, Instant, Member, MemberKind, VoidTarget, parse_guid,
};

/// The greatest integer that every JSON reader can hold exactly.
const MAX_COUNT: u64 = 1 << 53;

/// Reads `data` of this type into `data`, which is empty.
pub(super) fn decode<'a>(
    event_type: EventType,
    json: &mut Json<'a>,
    data: &mut EventData<'a>,
) -> Result<(), Rejection> {
    if json.peek() != Some(b'{') {
        return Err(Rejection::new(super::Reason::InvalidData, "data", "expected an object"));
    }
    if event_type == EventType::ServiceUpdated {
        data.patch = Some(service_patch::decode(json)?);
        return Ok(());
    }
    let mut members = Members { data, voided_source: None, voided_id: None, voided_time: None };
    let rules = event_type.members();
    let (mut seen, mut present) = (0_u16, 0_u16);
    json.object(|json, name| {
        let Some(index) = rules.iter().position(|rule| rule.name == name) else {
            return Ok(json.skip()?);
        };
        let bit = 1 << index;
        if seen & bit != 0 {
            return Err(Rejection::data(name, "given twice"));
        }
        seen |= bit;
        if json.peek() == Some(b'n') {
            json.literal()?;
            return Ok(());
        }
        present |= bit;
        members.read(json, name, rules[index].member)
    })?;
    for (index, rule) in rules.iter().enumerate() {
        if rule.required && present & (1 << index) == 0 {
            return Err(Rejection::data(rule.name, "missing"));
        }
    }
    members.finish();
    Ok(())
}

/// The members as they are met: the target of a void is whole only at the end.
struct Members<'d, 'a> {
    data: &'d mut EventData<'a>,
    voided_source: Option<Cow<'a, str>>,
    voided_id: Option<Cow<'a, str>>,
    voided_time: Option<Instant>,
}

impl<'a> Members<'_, 'a> {
    fn read(&mut self, json: &mut Json<'a>, name: &str, member: Member) -> Result<(), Rejection> {
        let data = &mut *self.data;
        match member.kind() {
            MemberKind::Guid => *guid_slot(data, member) = Some(read_guid(json, name)?),
            MemberKind::Count => *count_slot(data, member) = Some(read_count(json, name)?),
            MemberKind::Text => *text_slot(data, member) = Some(read_text(json, name)?),
            MemberKind::GuidList => data.recipient_user_guids = Some(read_guids(json, name)?),
            MemberKind::Attachments => data.attachments = Some(read_attachments(json)?),
            MemberKind::Flag => data.is_alias = Some(read_flag(json, name)?),
            MemberKind::Feature => {
                data.feature = Some(read_name(json, name, Feature::from_name, "a feature of the specification")?);
            }
            MemberKind::GroupType => {
                data.group_type = Some(read_name(json, name, GroupType::from_name, "Professional or Guest")?);
            }
            MemberKind::Identifier => {
                let identifier = read_text(json, name)?;
                if identifier.is_empty() || identifier.len() > 256 {
                    return Err(Rejection::data(name, "expected 1 to 256 bytes"));
                }
                let slot = if member == Member::VoidedId { &mut self.voided_id } else { &mut self.voided_source };
                *slot = Some(identifier);
            }
            MemberKind::Time => {
                let time = Instant::parse_rfc3339(&read_text(json, name)?);
                self.voided_time = Some(time.ok_or_else(|| Rejection::data(name, "expected RFC 3339 with an offset"))?);
            }
        }
        Ok(())
    }

    fn finish(self) {
        if let (Some(source), Some(id), Some(time)) = (self.voided_source, self.voided_id, self.voided_time) {
            self.data.voided = Some(VoidTarget { source, id, time });
        }
    }
}

fn guid_slot<'d>(data: &'d mut EventData<'_>, member: Member) -> &'d mut Option<Uuid> {
    match member {
        Member::MessageGuid => &mut data.message_guid,
        Member::AttachmentGuid => &mut data.attachment_guid,
        Member::GroupGuid => &mut data.group_guid,
        Member::InvitedByUserGuid => &mut data.invited_by_user_guid,
        _ => &mut data.user_guid,
    }
}

fn count_slot<'d>(data: &'d mut EventData<'_>, member: Member) -> &'d mut Option<u64> {
    match member {
        Member::RecipientCount => &mut data.recipient_count,
        Member::SizeBytes => &mut data.size_bytes,
        _ => &mut data.quantity,
    }
}

fn text_slot<'d, 'a>(data: &'d mut EventData<'a>, member: Member) -> &'d mut Option<Cow<'a, str>> {
    match member {
        Member::GroupName => &mut data.group_name,
        Member::EmailAddress => &mut data.email_address,
        Member::FirstName => &mut data.first_name,
        Member::LastName => &mut data.last_name,
        Member::InvitedByEmailAddress => &mut data.invited_by_email_address,
        _ => &mut data.toolbar_version,
    }
}

pub(super) fn read_text<'a>(json: &mut Json<'a>, name: &str) -> Result<Cow<'a, str>, Rejection> {
    if json.peek() != Some(b'"') {
        return Err(Rejection::data(name, "expected a string"));
    }
    Ok(json.string()?)
}

pub(super) fn read_guid(json: &mut Json<'_>, name: &str) -> Result<Uuid, Rejection> {
    parse_guid(&read_text(json, name)?).ok_or_else(|| Rejection::data(name, GUID_EXPECTED))
}

/// Reads an integer as `spec/events.md` (Envelope) wants it: `0|[1-9][0-9]*`, at most 2^53.
pub(super) fn read_count(json: &mut Json<'_>, name: &str) -> Result<u64, Rejection> {
    let expected =
        || Rejection::data(name, "expected an integer from 0 through 2^53, written without sign, fraction or exponent");
    if !json.peek().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return Err(expected());
    }
    let spelt = json.number()?;
    let count = spelt.parse().ok().filter(|count| *count <= MAX_COUNT);
    count.filter(|_| spelt.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(expected)
}

fn read_flag(json: &mut Json<'_>, name: &str) -> Result<bool, Rejection> {
    let flag = if matches!(json.peek(), Some(b't' | b'f')) { json.literal()? } else { None };
    flag.ok_or_else(|| Rejection::data(name, "expected true or false"))
}

pub(super) fn read_name<T>(
    json: &mut Json<'_>,
    name: &str,
    from_name: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<T, Rejection> {
    from_name(&read_text(json, name)?).ok_or_else(|| Rejection::data(name, format!("expected {expected}")))
}

fn read_guids(json: &mut Json<'_>, name: &str) -> Result<Vec<Uuid>, Rejection> {
    expect_array(json, name)?;
    let mut guids = Vec::new();
    json.array(|json| {
        guids.push(read_guid(json, name)?);
        Ok::<_, Rejection>(())
    })?;
    Ok(guids)
}

fn read_attachments(json: &mut Json<'_>) -> Result<Vec<Attachment>, Rejection> {
    const NAMES: [&str; 2] = ["attachmentGuid", "sizeBytes"];
    expect_array(json, "attachments")?;
    let mut attachments = Vec::new();
    json.array(|json| {
        if json.peek() != Some(b'{') {
            return Err(Rejection::data("attachments", "expected objects"));
        }
        let (mut seen, mut attachment_guid, mut size_bytes) = ([false; 2], None, None);
        json.object(|json, name| {
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                return Ok(json.skip()?);
            };
            if std::mem::replace(&mut seen[index], true) {
                return Err(Rejection::data(&format!("attachments.{name}"), "given twice"));
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

fn expect_array(json: &mut Json<'_>, name: &str) -> Result<(), Rejection> {
    if json.peek() == Some(b'[') { Ok(()) } else { Err(Rejection::data(name, "expected an array")) }
}
