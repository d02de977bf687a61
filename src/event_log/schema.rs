//! The columns of a segment. `docs/event-log.md` describes them for readers with DuckDB or Polars.

use std::sync::{Arc, LazyLock};

use arrow_schema::extension::Uuid as UuidExtension;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::SchemaDescriptor;

use crate::model::Member;

pub(super) const GUID_BYTES: i32 = 16;

/// The schema of whole rows, whose columns every segment has.
#[must_use]
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(fields())));
    SCHEMA.clone()
}

pub(super) fn utc_nanos() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn guid(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::FixedSizeBinary(GUID_BYTES), nullable).with_extension_type(UuidExtension)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

pub(super) fn attachment_fields() -> Fields {
    vec![guid("attachment_guid", false), Field::new("size_bytes", DataType::Int64, false)].into()
}

pub(super) fn attachment_item() -> Field {
    Field::new("item", DataType::Struct(attachment_fields()), false)
}

pub(super) fn recipient_item() -> Field {
    guid("item", false)
}

fn fields() -> Vec<Field> {
    vec![
        guid("service_guid", false),
        Field::new("time", utc_nanos(), false),
        Field::new("source", DataType::Utf8, false),
        guid("id_guid", true),
        text("id"),
        Field::new("type", DataType::Utf8, false),
        guid("user_guid", true),
        guid("message_guid", true),
        Field::new("recipient_user_guids", DataType::List(Arc::new(recipient_item())), true),
        Field::new("recipient_count", DataType::Int64, true),
        Field::new("attachments", DataType::List(Arc::new(attachment_item())), true),
        guid("attachment_guid", true),
        Field::new("size_bytes", DataType::Int64, true),
        text("feature"),
        Field::new("quantity", DataType::Int64, true),
        text("group_type"),
        text("group_name"),
        guid("group_guid", true),
        text("email_address"),
        text("first_name"),
        text("last_name"),
        Field::new("is_alias", DataType::Boolean, true),
        guid("invited_by_user_guid", true),
        text("invited_by_email_address"),
        text("toolbar_version"),
        text("voided_source"),
        text("voided_id"),
        Field::new("voided_time", utc_nanos(), true),
        text("service_patch"),
        Field::new("input", DataType::Int64, false),
        Field::new("line", DataType::Int64, false),
        Field::new("is_copy", DataType::Boolean, false),
    ]
}

/// The column that a member is kept in. Its leaves are several where it is a list of more than one thing.
pub(super) const fn column_of(member: Member) -> &'static str {
    match member {
        Member::MessageGuid => "message_guid",
        Member::UserGuid => "user_guid",
        Member::RecipientUserGuids => "recipient_user_guids",
        Member::RecipientCount => "recipient_count",
        Member::Attachments => "attachments",
        Member::AttachmentGuid => "attachment_guid",
        Member::SizeBytes => "size_bytes",
        Member::Feature => "feature",
        Member::Quantity => "quantity",
        Member::GroupType => "group_type",
        Member::GroupName => "group_name",
        Member::GroupGuid => "group_guid",
        Member::EmailAddress => "email_address",
        Member::FirstName => "first_name",
        Member::LastName => "last_name",
        Member::IsAlias => "is_alias",
        Member::InvitedByUserGuid => "invited_by_user_guid",
        Member::InvitedByEmailAddress => "invited_by_email_address",
        Member::ToolbarVersion => "toolbar_version",
        Member::VoidedSource => "voided_source",
        Member::VoidedId => "voided_id",
        Member::VoidedTime => "voided_time",
        Member::Patch => "service_patch",
    }
}

/// What a bare row keeps of the content that is no longer there.
pub(super) const FINGERPRINT: &str = "fingerprint";

/// The two kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// All rows are whole.
    Whole,
    /// Rows may be bare: they have a fingerprint, in one more column behind all others.
    Bare,
}

impl Layout {
    /// The layout of a file with so many columns.
    pub fn of_columns(count: usize) -> Option<Self> {
        [Self::Whole, Self::Bare].into_iter().find(|layout| layout.parquet().num_columns() == count)
    }

    pub fn arrow(self) -> SchemaRef {
        static BARE: LazyLock<SchemaRef> = LazyLock::new(|| {
            let fingerprint = Field::new(FINGERPRINT, DataType::FixedSizeBinary(GUID_BYTES), true);
            Arc::new(Schema::new([fields(), vec![fingerprint]].concat()))
        });
        match self {
            Self::Whole => schema(),
            Self::Bare => BARE.clone(),
        }
    }

    /// The schema as Parquet has it.
    pub fn parquet(self) -> &'static SchemaDescriptor {
        static SCHEMAS: LazyLock<[SchemaDescriptor; 2]> = LazyLock::new(|| {
            [Layout::Whole, Layout::Bare].map(|layout| {
                let converted = ArrowSchemaConverter::new().convert(&layout.arrow());
                converted.expect("every type of the schema is one of Parquet's")
            })
        });
        &SCHEMAS[self as usize]
    }

    /// What a segment's footer says beyond its columns.
    pub fn properties(self) -> WriterPropertiesPtr {
        static PROPERTIES: LazyLock<[WriterPropertiesPtr; 2]> = LazyLock::new(|| {
            [Layout::Whole, Layout::Bare].map(|layout| {
                let created_by = concat!("usage-rollup ", env!("CARGO_PKG_VERSION")).to_owned();
                let mut properties = WriterProperties::builder().set_created_by(created_by).build();
                add_encoded_arrow_schema_to_metadata(&layout.arrow(), &mut properties);
                Arc::new(properties)
            })
        });
        PROPERTIES[self as usize].clone()
    }
}

/// The columns that all segments have, as Parquet has them.
pub(super) fn parquet_schema() -> &'static SchemaDescriptor {
    Layout::Whole.parquet()
}
