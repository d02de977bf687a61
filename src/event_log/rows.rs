//! Typed access to the columns of a batch that was read from a segment.

use std::borrow::Cow;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{
    Array as _, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use uuid::Uuid;

use super::Fingerprint;
use super::schema::FINGERPRINT;
use crate::model::{Attachment, Event, EventData, EventType, Feature, GroupType, Instant, Patch, VoidTarget};

/// A column by its name, in whatever type it has; absent columns are a mistake in the program, not in the data.
struct Column;

impl Column {
    fn guids<'a>(batch: &'a RecordBatch, name: &str) -> &'a FixedSizeBinaryArray {
        Self::of(batch, name).as_fixed_size_binary()
    }

    fn texts<'a>(batch: &'a RecordBatch, name: &str) -> &'a StringArray {
        Self::of(batch, name).as_string()
    }

    fn integers<'a>(batch: &'a RecordBatch, name: &str) -> &'a Int64Array {
        Self::of(batch, name).as_primitive::<Int64Type>()
    }

    fn times<'a>(batch: &'a RecordBatch, name: &str) -> &'a TimestampNanosecondArray {
        Self::of(batch, name).as_primitive::<TimestampNanosecondType>()
    }

    fn flags<'a>(batch: &'a RecordBatch, name: &str) -> &'a BooleanArray {
        Self::of(batch, name).as_boolean()
    }

    fn lists<'a>(batch: &'a RecordBatch, name: &str) -> &'a ListArray {
        Self::of(batch, name).as_list()
    }

    fn of<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn arrow_array::Array {
        batch.column_by_name(name).unwrap_or_else(|| panic!("the column {name} was not asked for"))
    }
}

/// A line of the log: an event, and where it stood.
#[derive(Clone, Debug)]
pub struct LogLine<'a> {
    pub event: Event<'a>,
    /// What there is of a content that is no longer there; none where it is whole.
    pub fingerprint: Option<Fingerprint>,
    pub input: i64,
    pub line: u64,
}

/// The rows of a batch with all columns, as events.
pub struct EventRows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> EventRows<'a> {
    #[must_use]
    pub fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    pub fn iter(&self) -> impl Iterator<Item = Event<'a>> + '_ {
        (0..self.batch.num_rows()).map(|row| self.event(row))
    }

    /// For each row: the input that its line came in with, and that line's number.
    pub fn places(&self) -> impl Iterator<Item = (i64, u64)> + 'a {
        let (inputs, lines) = (Column::integers(self.batch, "input"), Column::integers(self.batch, "line"));
        inputs.values().iter().copied().zip(lines.values().iter().map(|line| line.cast_unsigned()))
    }

    /// For each row: what it has of a content that is no longer there; none where it is whole.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Option<Fingerprint>> {
        let Some(column) = self.batch.column_by_name(FINGERPRINT) else { return vec![None; self.batch.num_rows()] };
        let of = |bytes: Option<&[u8]>| bytes.and_then(|bytes| bytes.try_into().ok()).map(Fingerprint);
        column.as_fixed_size_binary().iter().map(of).collect()
    }

    /// All that there is of each row.
    pub fn lines(&self) -> impl Iterator<Item = LogLine<'a>> + '_ {
        let kept = self.fingerprints().into_iter().zip(self.places());
        let line = |(event, (fingerprint, (input, line)))| LogLine { event, fingerprint, input, line };
        self.iter().zip(kept).map(line)
    }

    /// For each row: whether it is marked as a copy of the one before it.
    pub(super) fn marks(&self) -> impl Iterator<Item = bool> + 'a {
        Column::flags(self.batch, "is_copy").values().iter()
    }

    fn event(&self, row: usize) -> Event<'a> {
        Event {
            service: self.guid("service_guid", row).unwrap_or_default(),
            time: Instant::from_nanos(Column::times(self.batch, "time").value(row)),
            source: self.text("source", row).unwrap_or_default(),
            id: self.id(row),
            event_type: self
                .text("type", row)
                .and_then(|name| EventType::from_name(&name))
                .expect("a type of the schema"),
            data: self.data(row),
        }
    }

    fn id(&self, row: usize) -> Cow<'a, str> {
        self.guid("id_guid", row)
            .map_or_else(|| self.text("id", row).unwrap_or_default(), |guid| Cow::Owned(guid.hyphenated().to_string()))
    }

    fn data(&self, row: usize) -> EventData<'a> {
        EventData {
            message_guid: self.guid("message_guid", row),
            user_guid: self.guid("user_guid", row),
            recipient_user_guids: self.recipients(row),
            recipient_count: self.count("recipient_count", row),
            attachments: self.attachments(row),
            attachment_guid: self.guid("attachment_guid", row),
            size_bytes: self.count("size_bytes", row),
            feature: self.text("feature", row).and_then(|name| Feature::from_name(&name)),
            quantity: self.count("quantity", row),
            group_type: self.text("group_type", row).and_then(|name| GroupType::from_name(&name)),
            group_name: self.text("group_name", row),
            group_guid: self.guid("group_guid", row),
            email_address: self.text("email_address", row),
            first_name: self.text("first_name", row),
            last_name: self.text("last_name", row),
            is_alias: self.flag("is_alias", row),
            invited_by_user_guid: self.guid("invited_by_user_guid", row),
            invited_by_email_address: self.text("invited_by_email_address", row),
            toolbar_version: self.text("toolbar_version", row),
            voided: self.voided(row),
            patch: self.text("service_patch", row).map(|text| Patch::from_canonical(text.into_owned())),
        }
    }

    fn guid(&self, name: &str, row: usize) -> Option<Uuid> {
        let column = Column::guids(self.batch, name);
        column.is_valid(row).then(|| guid(column.value(row)))
    }

    fn text(&self, name: &str, row: usize) -> Option<Cow<'a, str>> {
        let column = Column::texts(self.batch, name);
        column.is_valid(row).then(|| Cow::Borrowed(column.value(row)))
    }

    fn count(&self, name: &str, row: usize) -> Option<u64> {
        let column = Column::integers(self.batch, name);
        column.is_valid(row).then(|| column.value(row).cast_unsigned())
    }

    fn flag(&self, name: &str, row: usize) -> Option<bool> {
        let column = Column::flags(self.batch, name);
        column.is_valid(row).then(|| column.value(row))
    }

    fn recipients(&self, row: usize) -> Option<Vec<Uuid>> {
        let column = Column::lists(self.batch, "recipient_user_guids");
        column.is_valid(row).then(|| {
            let guids = column.value(row);
            guids.as_fixed_size_binary().iter().flatten().map(guid).collect()
        })
    }

    fn attachments(&self, row: usize) -> Option<Vec<Attachment>> {
        let column = Column::lists(self.batch, "attachments");
        column.is_valid(row).then(|| {
            let items = column.value(row);
            let items = items.as_struct();
            let guids = items.column(0).as_fixed_size_binary();
            let sizes = items.column(1).as_primitive::<Int64Type>();
            let pairs = guids.iter().flatten().zip(sizes.values());
            pairs
                .map(|(bytes, size)| Attachment { attachment_guid: guid(bytes), size_bytes: size.cast_unsigned() })
                .collect()
        })
    }

    fn voided(&self, row: usize) -> Option<VoidTarget<'a>> {
        Some(VoidTarget {
            source: self.text("voided_source", row)?,
            id: self.text("voided_id", row)?,
            time: Instant::from_nanos(Column::times(self.batch, "voided_time").value(row)),
        })
    }
}

fn guid(bytes: &[u8]) -> Uuid {
    Uuid::from_slice(bytes).expect("a GUID column's values have 16 bytes")
}
