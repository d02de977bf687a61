//! Events as the columns of a segment.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder,
    TimestampNanosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use uuid::Uuid;

use super::packed::PackedEvent;
use super::schema::{GUID_BYTES, attachment_fields, attachment_item, recipient_item, schema};
use crate::model::{Attachment, Instant, Member, MemberValue};

/// Takes events and gives them back, in the same order, as one batch of the log's schema.
pub(super) struct ColumnBuilder {
    rows: usize,
    service_guid: FixedSizeBinaryBuilder,
    time: TimestampNanosecondBuilder,
    source: StringBuilder,
    id: StringBuilder,
    event_type: StringBuilder,
    user_guid: Sparse<FixedSizeBinaryBuilder>,
    message_guid: Sparse<FixedSizeBinaryBuilder>,
    recipient_user_guids: Sparse<ListBuilder<FixedSizeBinaryBuilder>>,
    recipient_count: Sparse<Int64Builder>,
    attachments: Sparse<ListBuilder<StructBuilder>>,
    attachment_guid: Sparse<FixedSizeBinaryBuilder>,
    size_bytes: Sparse<Int64Builder>,
    feature: Sparse<StringBuilder>,
    quantity: Sparse<Int64Builder>,
    group_type: Sparse<StringBuilder>,
    group_name: Sparse<StringBuilder>,
    group_guid: Sparse<FixedSizeBinaryBuilder>,
    email_address: Sparse<StringBuilder>,
    first_name: Sparse<StringBuilder>,
    last_name: Sparse<StringBuilder>,
    is_alias: Sparse<BooleanBuilder>,
    invited_by_user_guid: Sparse<FixedSizeBinaryBuilder>,
    invited_by_email_address: Sparse<StringBuilder>,
    toolbar_version: Sparse<StringBuilder>,
    voided_source: Sparse<StringBuilder>,
    voided_id: Sparse<StringBuilder>,
    voided_time: Sparse<TimestampNanosecondBuilder>,
    service_patch: Sparse<StringBuilder>,
    input: Int64Builder,
    line: Int64Builder,
    is_copy: BooleanBuilder,
}

impl ColumnBuilder {
    /// With room for so many events.
    pub fn with_capacity(rows: usize) -> Self {
        const LIKELY_TEXT: usize = 24;
        let guids = || FixedSizeBinaryBuilder::with_capacity(rows, GUID_BYTES);
        let few_guids = || FixedSizeBinaryBuilder::new(GUID_BYTES);
        let texts = || StringBuilder::with_capacity(rows, rows * LIKELY_TEXT);
        let attachments = StructBuilder::from_fields(attachment_fields(), 0);
        Self {
            rows: 0,
            service_guid: guids(),
            time: TimestampNanosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            source: texts(),
            id: texts(),
            event_type: texts(),
            user_guid: Sparse(guids()),
            message_guid: Sparse(guids()),
            recipient_user_guids: Sparse(ListBuilder::new(few_guids()).with_field(recipient_item())),
            recipient_count: Sparse::default(),
            attachments: Sparse(ListBuilder::new(attachments).with_field(attachment_item())),
            attachment_guid: Sparse(few_guids()),
            size_bytes: Sparse::default(),
            feature: Sparse::default(),
            quantity: Sparse::default(),
            group_type: Sparse::default(),
            group_name: Sparse::default(),
            group_guid: Sparse(few_guids()),
            email_address: Sparse::default(),
            first_name: Sparse::default(),
            last_name: Sparse::default(),
            is_alias: Sparse::default(),
            invited_by_user_guid: Sparse(few_guids()),
            invited_by_email_address: Sparse::default(),
            toolbar_version: Sparse::default(),
            voided_source: Sparse::default(),
            voided_id: Sparse::default(),
            voided_time: Sparse(TimestampNanosecondBuilder::new().with_timezone("UTC")),
            service_patch: Sparse::default(),
            input: Int64Builder::with_capacity(rows),
            line: Int64Builder::with_capacity(rows),
            is_copy: BooleanBuilder::with_capacity(rows),
        }
    }

    /// `is_copy` tells that the event is the same as the one before it.
    pub fn push(&mut self, service: Uuid, time: Instant, event: PackedEvent<'_>, is_copy: bool) {
        append_guid(&mut self.service_guid, service);
        self.time.append_value(time.nanos());
        self.source.append_value(event.source);
        self.id.append_value(event.id);
        self.event_type.append_value(event.event_type.name());
        self.input.append_value(event.input);
        self.line.append_value(event.line.cast_signed());
        self.is_copy.append_value(is_copy);
        event.for_each_member(|member, value| self.push_member(member, value));
        self.rows += 1;
    }

    fn push_member(&mut self, member: Member, value: MemberValue<'_>) {
        let row = self.rows;
        match value {
            MemberValue::Guid(guid) => append_guid(self.guids(member).at(row), guid),
            MemberValue::Guids(guids) => append_guids(self.recipient_user_guids.at(row), guids),
            MemberValue::Attachments(attachments) => append_attachments(self.attachments.at(row), attachments),
            MemberValue::Count(count) => self.counts(member).at(row).append_value(count.cast_signed()),
            MemberValue::Flag(flag) => self.is_alias.at(row).append_value(flag),
            MemberValue::Feature(feature) => self.feature.at(row).append_value(feature.name()),
            MemberValue::GroupType(group_type) => self.group_type.at(row).append_value(group_type.name()),
            MemberValue::Text(text) => self.texts(member).at(row).append_value(text),
            MemberValue::Time(time) => self.voided_time.at(row).append_value(time.nanos()),
        }
    }

    fn guids(&mut self, member: Member) -> &mut Sparse<FixedSizeBinaryBuilder> {
        match member {
            Member::MessageGuid => &mut self.message_guid,
            Member::AttachmentGuid => &mut self.attachment_guid,
            Member::GroupGuid => &mut self.group_guid,
            Member::InvitedByUserGuid => &mut self.invited_by_user_guid,
            _ => &mut self.user_guid,
        }
    }

    fn counts(&mut self, member: Member) -> &mut Sparse<Int64Builder> {
        match member {
            Member::RecipientCount => &mut self.recipient_count,
            Member::SizeBytes => &mut self.size_bytes,
            _ => &mut self.quantity,
        }
    }

    fn texts(&mut self, member: Member) -> &mut Sparse<StringBuilder> {
        match member {
            Member::GroupName => &mut self.group_name,
            Member::EmailAddress => &mut self.email_address,
            Member::FirstName => &mut self.first_name,
            Member::LastName => &mut self.last_name,
            Member::InvitedByEmailAddress => &mut self.invited_by_email_address,
            Member::ToolbarVersion => &mut self.toolbar_version,
            Member::VoidedSource => &mut self.voided_source,
            Member::VoidedId => &mut self.voided_id,
            _ => &mut self.service_patch,
        }
    }

    /// The events so far, in the order they were pushed.
    pub fn finish(mut self) -> RecordBatch {
        let rows = self.rows;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.service_guid.finish()),
            Arc::new(self.time.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.event_type.finish()),
            self.user_guid.finish(rows),
            self.message_guid.finish(rows),
            self.recipient_user_guids.finish(rows),
            self.recipient_count.finish(rows),
            self.attachments.finish(rows),
            self.attachment_guid.finish(rows),
            self.size_bytes.finish(rows),
            self.feature.finish(rows),
            self.quantity.finish(rows),
            self.group_type.finish(rows),
            self.group_name.finish(rows),
            self.group_guid.finish(rows),
            self.email_address.finish(rows),
            self.first_name.finish(rows),
            self.last_name.finish(rows),
            self.is_alias.finish(rows),
            self.invited_by_user_guid.finish(rows),
            self.invited_by_email_address.finish(rows),
            self.toolbar_version.finish(rows),
            self.voided_source.finish(rows),
            self.voided_id.finish(rows),
            self.voided_time.finish(rows),
            self.service_patch.finish(rows),
            Arc::new(self.input.finish()),
            Arc::new(self.line.finish()),
            Arc::new(self.is_copy.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("the builders follow the schema, and push fills them all")
    }
}

/// A column in which most events have nothing: nulls are made up for when a value comes, and at the end.
#[derive(Default)]
struct Sparse<B>(B);

impl<B: Nullable> Sparse<B> {
    /// The builder, after nulls for all rows before this one that have no value.
    fn at(&mut self, row: usize) -> &mut B {
        self.0.append_nulls(row - self.0.len());
        &mut self.0
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        ArrayBuilder::finish(self.at(rows))
    }
}

/// Arrow's builders all have this method, but share no trait for it.
trait Nullable: ArrayBuilder {
    fn append_nulls(&mut self, count: usize);
}

macro_rules! nullable {
    ($($builder:ty),*) => {
        $(impl Nullable for $builder {
            fn append_nulls(&mut self, count: usize) {
                <$builder>::append_nulls(self, count);
            }
        })*
    };
}

nullable!(
    FixedSizeBinaryBuilder,
    Int64Builder,
    StringBuilder,
    BooleanBuilder,
    TimestampNanosecondBuilder,
    ListBuilder<FixedSizeBinaryBuilder>,
    ListBuilder<StructBuilder>
);

fn append_guid(builder: &mut FixedSizeBinaryBuilder, guid: Uuid) {
    builder.append_value(guid.as_bytes()).expect("a GUID has 16 bytes");
}

fn append_guids(builder: &mut ListBuilder<FixedSizeBinaryBuilder>, guids: &[Uuid]) {
    for guid in guids {
        append_guid(builder.values(), *guid);
    }
    builder.append(true);
}

fn append_attachments(builder: &mut ListBuilder<StructBuilder>, attachments: &[Attachment]) {
    let is_schema = "the builder was made from these fields";
    for attachment in attachments {
        let item = builder.values();
        append_guid(item.field_builder(0).expect(is_schema), attachment.attachment_guid);
        let sizes = item.field_builder::<Int64Builder>(1).expect(is_schema);
        sizes.append_value(attachment.size_bytes.cast_signed());
        item.append(true);
    }
    builder.append(true);
}
