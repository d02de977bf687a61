//! The columns of a segment. `docs/event-log.md` describes them for readers with DuckDB or Polars.

use std::sync::{Arc, LazyLock};

use arrow_schema::extension::Uuid as UuidExtension;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

pub(super) const GUID_BYTES: i32 = 16;

/// The schema that every segment has.
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
        Field::new("id", DataType::Utf8, false),
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

/// Which columns a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// What rollup folds.
    Rollup,
    /// All of them: what makes an event's content.
    All,
}

impl Columns {
    pub(super) fn mask(self, parquet: &SchemaDescriptor) -> ProjectionMask {
        const ROLLUP: [&str; 14] = [
            "service_guid",
            "time",
            "source",
            "id",
            "type",
            "user_guid",
            "size_bytes",
            "feature",
            "quantity",
            "group_type",
            "service_patch",
            "input",
            "line",
            "is_copy",
        ];
        match self {
            Self::All => ProjectionMask::all(),
            Self::Rollup => {
                let wanted = |index: &usize| {
                    let path = parquet.column(*index).path().string();
                    ROLLUP.contains(&path.as_str()) || path.starts_with("attachments.") && path.ends_with(".size_bytes")
                };
                ProjectionMask::leaves(parquet, (0..parquet.num_columns()).filter(wanted))
            }
        }
    }
}

/// How segments are encoded: small first, for they are kept for years, and readable by every common Parquet reader.
pub(super) fn properties() -> WriterProperties {
    const ROWS_PER_GROUP: usize = 131_072;
    let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("usage-rollup ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("service_guid"), EnabledStatistics::Page)
        .set_column_statistics_enabled(ColumnPath::from("time"), EnabledStatistics::Page)
        .set_sorting_columns(None::<Vec<SortingColumn>>);
    for never_repeats in ["id", "message_guid", "attachment_guid", "voided_id"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(never_repeats), false);
    }
    for nearly_rises in ["time", "line"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(nearly_rises), false)
            .set_column_encoding(ColumnPath::from(nearly_rises), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}
