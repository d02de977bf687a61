//! The columns of a segment, filled from packed events.

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;

use super::encode::{Column, DictionaryColumn, Entries, FlagColumn, IntegerColumn, NameColumn, Packer, PlainColumn};
use super::packed::{PACKED_ATTACHMENT, PackedEvent, PackedId, PackedValue};
use super::schema::{FINGERPRINT, Layout};
use crate::model::{EventType, Feature, GroupType, Instant, Member};

/// Takes events in the log's order and gives them back as the column chunks of a row group.
pub(super) struct SegmentColumns {
    /// Rows of the page that is being filled.
    rows: usize,
    service: Option<u128>,
    service_guid: DictionaryColumn,
    time: IntegerColumn,
    source: DictionaryColumn,
    id_guid: PlainColumn,
    id: PlainColumn,
    event_type: NameColumn,
    user_guid: PlainColumn,
    message_guid: PlainColumn,
    recipient_user_guids: PlainColumn,
    recipient_count: IntegerColumn,
    attachment_guids: PlainColumn,
    attachment_sizes: IntegerColumn,
    attachment_guid: PlainColumn,
    size_bytes: IntegerColumn,
    feature: NameColumn,
    quantity: IntegerColumn,
    group_type: NameColumn,
    group_name: DictionaryColumn,
    group_guid: PlainColumn,
    email_address: PlainColumn,
    first_name: PlainColumn,
    last_name: PlainColumn,
    is_alias: FlagColumn,
    invited_by_user_guid: PlainColumn,
    invited_by_email_address: PlainColumn,
    toolbar_version: DictionaryColumn,
    voided_source: DictionaryColumn,
    voided_id: PlainColumn,
    voided_time: IntegerColumn,
    service_patch: PlainColumn,
    input: IntegerColumn,
    line: IntegerColumn,
    is_copy: FlagColumn,
    /// Of bare rows.
    fingerprint: Option<PlainColumn>,
    packer: Packer,
}

impl SegmentColumns {
    pub fn new(layout: Layout) -> Result<Self> {
        let schema = layout.parquet();
        let of = |path: &str| {
            let column = schema.columns().iter().find(|column| column.path().string() == path);
            column.expect("the column is in the schema").clone()
        };
        // Text is all that is compressed: on GUIDs, names and numbers, zstd takes a tenth of the time and gives a tenth of the
        // space.
        let guids = |path| PlainColumn::new(of(path), false);
        let text = |path| PlainColumn::new(of(path), true);
        let repeated_text = |path| DictionaryColumn::new(of(path), Entries::Texts);
        let integer = |path| IntegerColumn::new(of(path), false);
        Ok(Self {
            rows: 0,
            service: None,
            service_guid: DictionaryColumn::new(of("service_guid"), Entries::Guids),
            time: IntegerColumn::new(of("time"), true),
            source: repeated_text("source"),
            id_guid: guids("id_guid"),
            id: text("id"),
            event_type: NameColumn::new(of("type"), EventType::ALL.iter().map(|name| name.name())),
            user_guid: guids("user_guid"),
            message_guid: guids("message_guid"),
            recipient_user_guids: guids("recipient_user_guids.list.item"),
            recipient_count: integer("recipient_count"),
            // Those of bare rows are all the same.
            attachment_guids: PlainColumn::new(of("attachments.list.item.attachment_guid"), layout == Layout::Bare),
            attachment_sizes: integer("attachments.list.item.size_bytes"),
            attachment_guid: guids("attachment_guid"),
            size_bytes: integer("size_bytes"),
            feature: NameColumn::new(of("feature"), Feature::ALL.iter().map(|name| name.name())),
            quantity: integer("quantity"),
            group_type: NameColumn::new(of("group_type"), GroupType::ALL.iter().map(|name| name.name())),
            group_name: repeated_text("group_name"),
            group_guid: guids("group_guid"),
            email_address: text("email_address"),
            first_name: text("first_name"),
            last_name: text("last_name"),
            is_alias: FlagColumn::new(of("is_alias")),
            invited_by_user_guid: guids("invited_by_user_guid"),
            invited_by_email_address: text("invited_by_email_address"),
            toolbar_version: repeated_text("toolbar_version"),
            voided_source: repeated_text("voided_source"),
            voided_id: text("voided_id"),
            voided_time: integer("voided_time"),
            service_patch: text("service_patch"),
            input: integer("input"),
            line: integer("line"),
            is_copy: FlagColumn::new(of("is_copy")),
            fingerprint: (layout == Layout::Bare).then(|| guids(FINGERPRINT)),
            packer: Packer::new()?,
        })
    }

    /// `is_copy` tells that the event is the same as the one before it.
    pub fn push(&mut self, service: u128, time: Instant, event: PackedEvent<'_>, is_copy: bool) {
        let row = self.rows;
        if self.service == Some(service) {
            self.service_guid.push_again();
        } else {
            self.service = Some(service);
            self.service_guid.push(&service.to_be_bytes());
            self.service_guid.bound(&service.to_be_bytes());
        }
        self.time.push(time.nanos());
        self.source.push(event.source);
        match event.id {
            PackedId::Guid(guid) => {
                self.id_guid.levels().value(row);
                self.id_guid.push_guids(guid);
            }
            PackedId::Text(text) => {
                self.id.levels().value(row);
                self.id.push_text(text);
            }
        }
        self.event_type.push(event.event_type as u8);
        self.input.push(event.input);
        self.line.push(event.line.cast_signed());
        self.is_copy.push(is_copy);
        if let (Some(column), Some(fingerprint)) = (&mut self.fingerprint, event.fingerprint) {
            column.levels().value(row);
            column.push_guid(fingerprint);
        }
        event.for_each_member(|member, value| self.push_member(row, member, value));
        self.rows += 1;
    }

    fn push_member(&mut self, row: usize, member: Member, value: PackedValue<'_>) {
        match value {
            PackedValue::Guid(guid) => {
                let column = self.guids(member);
                column.levels().value(row);
                column.push_guid(guid);
            }
            PackedValue::Guids(guids) => {
                self.recipient_user_guids.levels().list(row, guids.len() / 16);
                self.recipient_user_guids.push_guids(guids);
            }
            PackedValue::Attachments(attachments) => self.push_attachments(row, attachments),
            PackedValue::Count(count) => {
                let column = self.counts(member);
                column.levels().value(row);
                column.push(count.cast_signed());
            }
            PackedValue::Flag(flag) => {
                self.is_alias.levels().value(row);
                self.is_alias.push(flag);
            }
            PackedValue::Name(index) => {
                let column = if member == Member::Feature { &mut self.feature } else { &mut self.group_type };
                column.levels().value(row);
                column.push(index);
            }
            PackedValue::Text(text) => self.push_text(row, member, text),
            PackedValue::Time(time) => {
                self.voided_time.levels().value(row);
                self.voided_time.push(time.nanos());
            }
        }
    }

    fn push_attachments(&mut self, row: usize, attachments: &[u8]) {
        let (attachments, _) = attachments.as_chunks::<PACKED_ATTACHMENT>();
        self.attachment_guids.levels().list(row, attachments.len());
        self.attachment_sizes.levels().list(row, attachments.len());
        for attachment in attachments {
            let (guid, size) = attachment.split_at(16);
            self.attachment_guids.push_guids(guid);
            self.attachment_sizes.push(i64::from_le_bytes(size.try_into().expect("eight bytes are left")));
        }
    }

    fn push_text(&mut self, row: usize, member: Member, text: &[u8]) {
        let repeats = match member {
            Member::GroupName => &mut self.group_name,
            Member::ToolbarVersion => &mut self.toolbar_version,
            Member::VoidedSource => &mut self.voided_source,
            _ => {
                let column = self.plain_texts(member);
                column.levels().value(row);
                return column.push_text(text);
            }
        };
        repeats.levels().value(row);
        repeats.push(text);
    }

    fn guids(&mut self, member: Member) -> &mut PlainColumn {
        match member {
            Member::MessageGuid => &mut self.message_guid,
            Member::AttachmentGuid => &mut self.attachment_guid,
            Member::GroupGuid => &mut self.group_guid,
            Member::InvitedByUserGuid => &mut self.invited_by_user_guid,
            _ => &mut self.user_guid,
        }
    }

    fn counts(&mut self, member: Member) -> &mut IntegerColumn {
        match member {
            Member::RecipientCount => &mut self.recipient_count,
            Member::SizeBytes => &mut self.size_bytes,
            _ => &mut self.quantity,
        }
    }

    fn plain_texts(&mut self, member: Member) -> &mut PlainColumn {
        match member {
            Member::EmailAddress => &mut self.email_address,
            Member::FirstName => &mut self.first_name,
            Member::LastName => &mut self.last_name,
            Member::InvitedByEmailAddress => &mut self.invited_by_email_address,
            Member::VoidedId => &mut self.voided_id,
            _ => &mut self.service_patch,
        }
    }

    /// Ends the page of every column.
    pub fn end_page(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.service = None;
        self.for_each(|column, packer| column.end_page(rows, packer))
    }

    /// Gives the column chunks of the rows since the last time, in the order of the schema, each before the next is made.
    pub fn finish(&mut self, mut take: impl FnMut(&Bytes, ColumnCloseResult) -> Result<()>) -> Result<()> {
        self.for_each(|column, packer| {
            let (chunk, closed) = column.finish(packer)?;
            take(&chunk, closed)
        })
    }

    /// In the order of the schema.
    fn for_each(&mut self, mut work: impl FnMut(&mut dyn Column, &mut Packer) -> Result<()>) -> Result<()> {
        let columns: [&mut dyn Column; 33] = [
            &mut self.service_guid,
            &mut self.time,
            &mut self.source,
            &mut self.id_guid,
            &mut self.id,
            &mut self.event_type,
            &mut self.user_guid,
            &mut self.message_guid,
            &mut self.recipient_user_guids,
            &mut self.recipient_count,
            &mut self.attachment_guids,
            &mut self.attachment_sizes,
            &mut self.attachment_guid,
            &mut self.size_bytes,
            &mut self.feature,
            &mut self.quantity,
            &mut self.group_type,
            &mut self.group_name,
            &mut self.group_guid,
            &mut self.email_address,
            &mut self.first_name,
            &mut self.last_name,
            &mut self.is_alias,
            &mut self.invited_by_user_guid,
            &mut self.invited_by_email_address,
            &mut self.toolbar_version,
            &mut self.voided_source,
            &mut self.voided_id,
            &mut self.voided_time,
            &mut self.service_patch,
            &mut self.input,
            &mut self.line,
            &mut self.is_copy,
        ];
        let fingerprint = self.fingerprint.iter_mut().map(|column| column as &mut dyn Column);
        columns.into_iter().chain(fingerprint).try_for_each(|column| work(column, &mut self.packer))
    }
}
