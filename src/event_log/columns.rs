//! Events as the columns of a segment.

use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use std::sync::Arc;
use uuid::Uuid;

use super::schema::{GUID_BYTES, attachment_fields, attachment_item, recipient_item, schema};
use crate::model::{Attachment, Event, Feature, GroupType, Instant};

/// Takes events and gives them back, in the same order, as one batch of the log's schema.
pub(super) struct ColumnBuilder {
    service_guid: FixedSizeBinaryBuilder,
    time: TimestampNanosecondBuilder,
    source: StringBuilder,
    id: StringBuilder,
    event_type: StringBuilder,
    user_guid: FixedSizeBinaryBuilder,
    message_guid: FixedSizeBinaryBuilder,
    recipient_user_guids: ListBuilder<FixedSizeBinaryBuilder>,
    recipient_count: Int64Builder,
    attachments: ListBuilder<StructBuilder>,
    attachment_guid: FixedSizeBinaryBuilder,
    size_bytes: Int64Builder,
    feature: StringBuilder,
    quantity: Int64Builder,
    group_type: StringBuilder,
    group_name: StringBuilder,
    group_guid: FixedSizeBinaryBuilder,
    email_address: StringBuilder,
    first_name: StringBuilder,
    last_name: StringBuilder,
    is_alias: BooleanBuilder,
    invited_by_user_guid: FixedSizeBinaryBuilder,
    invited_by_email_address: StringBuilder,
    toolbar_version: StringBuilder,
    voided_source: StringBuilder,
    voided_id: StringBuilder,
    voided_time: TimestampNanosecondBuilder,
    service_patch: StringBuilder,
    input: Int64Builder,
    line: Int64Builder,
}

impl Default for ColumnBuilder {
    fn default() -> Self {
        let guids = || FixedSizeBinaryBuilder::new(GUID_BYTES);
        let times = || TimestampNanosecondBuilder::new().with_timezone("UTC");
        Self {
            service_guid: guids(),
            time: times(),
            source: StringBuilder::new(),
            id: StringBuilder::new(),
            event_type: StringBuilder::new(),
            user_guid: guids(),
            message_guid: guids(),
            recipient_user_guids: ListBuilder::new(guids()).with_field(recipient_item()),
            recipient_count: Int64Builder::new(),
            attachments: ListBuilder::new(StructBuilder::from_fields(attachment_fields(), 0))
                .with_field(attachment_item()),
            attachment_guid: guids(),
            size_bytes: Int64Builder::new(),
            feature: StringBuilder::new(),
            quantity: Int64Builder::new(),
            group_type: StringBuilder::new(),
            group_name: StringBuilder::new(),
            group_guid: guids(),
            email_address: StringBuilder::new(),
            first_name: StringBuilder::new(),
            last_name: StringBuilder::new(),
            is_alias: BooleanBuilder::new(),
            invited_by_user_guid: guids(),
            invited_by_email_address: StringBuilder::new(),
            toolbar_version: StringBuilder::new(),
            voided_source: StringBuilder::new(),
            voided_id: StringBuilder::new(),
            voided_time: times(),
            service_patch: StringBuilder::new(),
            input: Int64Builder::new(),
            line: Int64Builder::new(),
        }
    }
}

impl ColumnBuilder {
    /// Adds an event that stood on line `line` of the input numbered `input`.
    pub(super) fn push(&mut self, event: &Event<'_>, input: i64, line: u64) {
        let data = &event.data;
        push_guid(&mut self.service_guid, Some(event.service));
        self.time.append_value(event.time.nanos());
        self.source.append_value(&event.source);
        self.id.append_value(&event.id);
        self.event_type.append_value(event.event_type.name());
        push_guid(&mut self.user_guid, data.user_guid);
        push_guid(&mut self.message_guid, data.message_guid);
        push_recipients(&mut self.recipient_user_guids, data.recipient_user_guids.as_deref());
        self.recipient_count.append_option(data.recipient_count.map(u64::cast_signed));
        push_attachments(&mut self.attachments, data.attachments.as_deref());
        push_guid(&mut self.attachment_guid, data.attachment_guid);
        self.size_bytes.append_option(data.size_bytes.map(u64::cast_signed));
        self.feature.append_option(data.feature.map(Feature::name));
        self.quantity.append_option(data.quantity.map(u64::cast_signed));
        self.group_type.append_option(data.group_type.map(GroupType::name));
        self.group_name.append_option(data.group_name.as_deref());
        push_guid(&mut self.group_guid, data.group_guid);
        self.email_address.append_option(data.email_address.as_deref());
        self.first_name.append_option(data.first_name.as_deref());
        self.last_name.append_option(data.last_name.as_deref());
        self.is_alias.append_option(data.is_alias);
        push_guid(&mut self.invited_by_user_guid, data.invited_by_user_guid);
        self.invited_by_email_address.append_option(data.invited_by_email_address.as_deref());
        self.toolbar_version.append_option(data.toolbar_version.as_deref());
        let voided = data.voided.as_ref();
        self.voided_source.append_option(voided.map(|target| &target.source));
        self.voided_id.append_option(voided.map(|target| &target.id));
        self.voided_time.append_option(voided.map(|target| Instant::nanos(target.time)));
        self.service_patch.append_option(data.patch.as_ref().map(|patch| patch.canonical()));
        self.input.append_value(input);
        self.line.append_value(line.cast_signed());
    }

    /// The events so far, in the order they were pushed.
    pub(super) fn finish(mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.service_guid.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.event_type.finish()),
            Arc::new(self.user_guid.finish()),
            Arc::new(self.message_guid.finish()),
            Arc::new(self.recipient_user_guids.finish()),
            Arc::new(self.recipient_count.finish()),
            Arc::new(self.attachments.finish()),
            Arc::new(self.attachment_guid.finish()),
            Arc::new(self.size_bytes.finish()),
            Arc::new(self.feature.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.group_type.finish()),
            Arc::new(self.group_name.finish()),
            Arc::new(self.group_guid.finish()),
            Arc::new(self.email_address.finish()),
            Arc::new(self.first_name.finish()),
            Arc::new(self.last_name.finish()),
            Arc::new(self.is_alias.finish()),
            Arc::new(self.invited_by_user_guid.finish()),
            Arc::new(self.invited_by_email_address.finish()),
            Arc::new(self.toolbar_version.finish()),
            Arc::new(self.voided_source.finish()),
            Arc::new(self.voided_id.finish()),
            Arc::new(self.voided_time.finish()),
            Arc::new(self.service_patch.finish()),
            Arc::new(self.input.finish()),
            Arc::new(self.line.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("the builders follow the schema, and push fills them all")
    }
}

fn push_guid(builder: &mut FixedSizeBinaryBuilder, guid: Option<Uuid>) {
    match guid {
        Some(guid) => builder.append_value(guid.as_bytes()).expect("a GUID has 16 bytes"),
        None => builder.append_null(),
    }
}

fn push_recipients(builder: &mut ListBuilder<FixedSizeBinaryBuilder>, guids: Option<&[Uuid]>) {
    for guid in guids.unwrap_or_default() {
        push_guid(builder.values(), Some(*guid));
    }
    builder.append(guids.is_some());
}

fn push_attachments(builder: &mut ListBuilder<StructBuilder>, attachments: Option<&[Attachment]>) {
    let is_schema = "the builder was made from these fields";
    for attachment in attachments.unwrap_or_default() {
        let item = builder.values();
        push_guid(item.field_builder(0).expect(is_schema), Some(attachment.attachment_guid));
        item.field_builder::<Int64Builder>(1).expect(is_schema).append_value(attachment.size_bytes.cast_signed());
        item.append(true);
    }
    builder.append(attachments.is_some());
}
