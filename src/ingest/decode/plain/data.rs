//! `data` of a plain line.

use std::borrow::Cow;

use uuid::Uuid;

use super::super::data::SHAPES;
use super::super::lines::Memory;
use super::cursor::Cursor;
use super::is_known;
use crate::model::{Attachment, EventData, EventType, Feature, GroupType, Member};

/// Reads `data` of this type into `data`, which is empty.
#[inline]
pub(super) fn decode<'a>(
    event_type: EventType,
    cursor: &mut Cursor<'a>,
    data: &mut EventData<'a>,
    memory: &mut Memory,
) -> Option<()> {
    if matches!(event_type, EventType::ServiceUpdated | EventType::EventVoided) {
        return None;
    }
    let shape = &SHAPES[event_type as usize];
    let names = shape.names();
    let (mut seen, mut place) = (0_u16, 0);
    cursor.byte(b'{')?;
    loop {
        let guess = memory.data[event_type as usize].guess(place);
        if let Some(name) = names.get(guess)
            && cursor.lead(name)
        {
            let bit = 1 << guess;
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            member(shape.rules[guess].member, cursor, data, memory)?;
            place = guess + 1;
        } else {
            match cursor.find(names) {
                Some(index) => {
                    memory.data[event_type as usize].learn(place, index);
                    continue;
                }
                None => cursor.skip_unknown(2, |name| is_known(names, name))?,
            }
        }
        if !cursor.comma(b'}')? {
            break;
        }
    }
    (shape.required & !seen == 0).then_some(())
}

#[inline]
fn member<'a>(member: Member, cursor: &mut Cursor<'a>, data: &mut EventData<'a>, memory: &mut Memory) -> Option<()> {
    match member {
        Member::MessageGuid => data.message_guid = Some(cursor.guid()?),
        Member::UserGuid => data.user_guid = Some(cursor.guid()?),
        Member::AttachmentGuid => data.attachment_guid = Some(cursor.guid()?),
        Member::GroupGuid => data.group_guid = Some(cursor.guid()?),
        Member::InvitedByUserGuid => data.invited_by_user_guid = Some(cursor.guid()?),
        Member::RecipientUserGuids => {
            let guids = data.recipient_user_guids.insert(std::mem::take(&mut memory.guids));
            read_guids(cursor, guids)?;
        }
        Member::Attachments => {
            let attachments = data.attachments.insert(std::mem::take(&mut memory.attachments));
            read_attachments(cursor, attachments)?;
        }
        Member::RecipientCount => data.recipient_count = Some(cursor.integer()?),
        Member::SizeBytes => data.size_bytes = Some(cursor.integer()?),
        Member::Quantity => data.quantity = Some(cursor.integer()?),
        Member::Feature => data.feature = Some(Feature::from_name(cursor.text()?)?),
        Member::GroupType => data.group_type = Some(GroupType::from_name(cursor.text()?)?),
        Member::IsAlias => {
            let is_alias = cursor.literal(b"true").is_some();
            if !is_alias {
                cursor.literal(b"false")?;
            }
            data.is_alias = Some(is_alias);
        }
        Member::GroupName => data.group_name = Some(Cow::Borrowed(cursor.text()?)),
        Member::EmailAddress => data.email_address = Some(Cow::Borrowed(cursor.text()?)),
        Member::FirstName => data.first_name = Some(Cow::Borrowed(cursor.text()?)),
        Member::LastName => data.last_name = Some(Cow::Borrowed(cursor.text()?)),
        Member::InvitedByEmailAddress => data.invited_by_email_address = Some(Cow::Borrowed(cursor.text()?)),
        Member::ToolbarVersion => data.toolbar_version = Some(Cow::Borrowed(cursor.text()?)),
        Member::VoidedSource | Member::VoidedId | Member::VoidedTime | Member::Patch => return None,
    }
    Some(())
}

#[inline]
fn read_guids(cursor: &mut Cursor<'_>, guids: &mut Vec<Uuid>) -> Option<()> {
    cursor.byte(b'[')?;
    loop {
        guids.push(cursor.guid()?);
        if !cursor.comma(b']')? {
            return Some(());
        }
    }
}

#[inline(never)]
fn read_attachments(cursor: &mut Cursor<'_>, attachments: &mut Vec<Attachment>) -> Option<()> {
    cursor.byte(b'[')?;
    loop {
        let attachment = if cursor.literal(b"{\"attachmentGuid\":").is_some() {
            let attachment_guid = cursor.guid()?;
            cursor.literal(b",\"sizeBytes\":")?;
            Attachment { attachment_guid, size_bytes: cursor.integer()? }
        } else {
            cursor.literal(b"{\"sizeBytes\":")?;
            let size_bytes = cursor.integer()?;
            cursor.literal(b",\"attachmentGuid\":")?;
            Attachment { attachment_guid: cursor.guid()?, size_bytes }
        };
        cursor.byte(b'}')?;
        attachments.push(attachment);
        if !cursor.comma(b']')? {
            return Some(());
        }
    }
}
