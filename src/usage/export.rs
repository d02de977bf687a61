//! Rows in bulk, as CSV, NDJSON or Parquet: the same columns in each (`spec/cli.md`, export).

use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use futures_util::{Stream, StreamExt as _};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use thiserror::Error;

use crate::model::{Instant, UsageRow};
use crate::store::{RowFilter, Store, StoreError};

/// The columns behind ServiceGuid, PeriodType and Period; the order is that of [`crate::model::Numbers`].
const NUMBERS: [&str; 13] = [
    "TotalUserCount",
    "ProUserCount",
    "GuestUserCount",
    "DisabledUserCount",
    "UnregisteredUserCount",
    "FeatureUsageSecureMessagingGateway",
    "FeatureUsageSecureMessagingPlus",
    "FeatureUsageDataLeakPrevention",
    "FeatureUsageSecureLargeFiles",
    "FeatureUsageSecureForms",
    "TotalMessageCount",
    "TotalAttachmentCount",
    "AttachmentStorageUsage",
];
const KEYS: [&str; 3] = ["ServiceGuid", "PeriodType", "Period"];
const ROWS_PER_BATCH: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    Csv,
    Ndjson,
    Parquet,
}

#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the export")]
    Write(#[from] io::Error),
    #[error("cannot write the export")]
    Parquet(#[from] parquet::errors::ParquetError),
}

/// Writes the rows of a filter, sorted by service and period, in constant memory.
///
/// # Errors
/// When the store fails, or `out` can't be written.
pub async fn export(
    store: &Store,
    filter: &RowFilter,
    format: ExportFormat,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    write_all(store.usage_rows(filter, None), format, out).await
}

/// Writes the same rows as they stood at an instant; without those that were not closed then and have changed since, for such
/// versions are not kept (`spec/usage.md`, law 9).
///
/// # Errors
/// When the store fails, or `out` can't be written.
pub async fn export_as_of(
    store: &Store,
    filter: &RowFilter,
    instant: Instant,
    format: ExportFormat,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let commit = store.commit_as_of(instant).await?;
    write_all(store.usage_rows(filter, Some(commit)), format, out).await
}

async fn write_all(
    rows: impl Stream<Item = Result<UsageRow, StoreError>>,
    format: ExportFormat,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let mut writer = Writer::new(format, out)?;
    let mut batches = pin!(rows.ready_chunks(ROWS_PER_BATCH));
    while let Some(rows) = batches.next().await {
        writer.write(&rows.into_iter().collect::<Result<Vec<UsageRow>, StoreError>>()?)?;
    }
    writer.finish()
}

enum Writer<'a> {
    Csv(&'a mut (dyn Write + Send)),
    Ndjson(&'a mut (dyn Write + Send)),
    Parquet(Box<ArrowWriter<&'a mut (dyn Write + Send)>>),
}

impl<'a> Writer<'a> {
    fn new(format: ExportFormat, out: &'a mut (dyn Write + Send)) -> Result<Self, ExportError> {
        Ok(match format {
            ExportFormat::Csv => {
                out.write_all(csv_header().as_bytes())?;
                Self::Csv(out)
            }
            ExportFormat::Ndjson => Self::Ndjson(out),
            ExportFormat::Parquet => {
                let compression = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(compression).build();
                Self::Parquet(Box::new(ArrowWriter::try_new(out, Arc::new(schema()), Some(properties))?))
            }
        })
    }

    fn write(&mut self, rows: &[UsageRow]) -> Result<(), ExportError> {
        match self {
            Self::Csv(out) => write_csv(rows, out)?,
            Self::Ndjson(out) => write_ndjson(rows, out)?,
            Self::Parquet(writer) => writer.write(&batch(rows))?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ExportError> {
        if let Self::Parquet(writer) = self {
            writer.close()?;
        }
        Ok(())
    }
}

/// The first line of CSV.
#[must_use]
pub fn csv_header() -> String {
    format!("{},{}\n", KEYS.join(","), NUMBERS.join(","))
}

/// # Errors
/// When `out` can't be written.
pub fn write_csv(rows: &[UsageRow], out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    for row in rows {
        write!(out, "{},{},{}", row.service.simple(), row.period_type.name(), row.period)?;
        for number in row.numbers.0 {
            write!(out, ",{number}")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// # Errors
/// When `out` can't be written.
pub fn write_ndjson(rows: &[UsageRow], out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    for row in rows {
        let (service, period_type, period) = (row.service.simple(), row.period_type.name(), row.period);
        write!(out, r#"{{"ServiceGuid":"{service}","PeriodType":"{period_type}","Period":"{period}""#)?;
        for (name, number) in NUMBERS.iter().zip(row.numbers.0) {
            write!(out, r#","{name}":{number}"#)?;
        }
        out.write_all(b"}\n")?;
    }
    Ok(())
}

fn schema() -> Schema {
    let keys = KEYS.iter().map(|name| Field::new(*name, DataType::Utf8, false));
    let numbers = NUMBERS.iter().map(|name| Field::new(*name, DataType::Int64, false));
    Schema::new(keys.chain(numbers).collect::<Vec<Field>>())
}

fn batch(rows: &[UsageRow]) -> RecordBatch {
    let texts =
        |of: &dyn Fn(&UsageRow) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
    let mut columns = vec![
        texts(&|row| row.service.simple().to_string()),
        texts(&|row| row.period_type.name().to_owned()),
        texts(&|row| row.period.to_string()),
    ];
    for index in 0..NUMBERS.len() {
        columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.numbers.0[index]))));
    }
    RecordBatch::try_new(Arc::new(schema()), columns).expect("the columns are those of the schema")
}
