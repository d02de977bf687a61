//! ExportUsage: all rows of a range that the caller may see, as CSV or NDJSON, streamed. It is ours: the original has nothing like
//! it. Services that are Blocked or Provisioning are left out, as in lists.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use crate::api::Call;
use crate::api::about::{self, About, Gives, Kind, Param};
use crate::api::encoding::{Encoder, Encoding};
use crate::api::error::ApiError;
use crate::api::reply::Reply;
use crate::model::{PeriodType, UsageRow};
use crate::store::{ServiceFilter, StoreError};
use crate::usage::bulk::{Bulk, Wanted};
use crate::usage::export;

pub(in crate::api) static ABOUT: About = About {
    summary: "All rows of a range that the caller may see, by service, then period; without services that are Blocked or Provisioning.",
    takes: &[
        about::PERIOD_TYPE,
        Param::optional("From", Kind::Past, "A day of the first period. Without it: the first there is."),
        Param::optional(
            "To",
            Kind::Past,
            "A day of the last period. Without it: today's. Before From: there are no rows.",
        ),
        Param::optional("ServiceGuid", Kind::Guids, "Only these services."),
        Param::default("Format", Kind::Word(&FORMATS), "csv", "The form of rows."),
        Param::optional(
            "Cursor",
            Kind::Cursor,
            "Only what follows this row, the last that came when an export was cut off; CSV has no header then.",
        ),
        about::AS_OF,
    ],
    gives: Gives::Rows,
};
const FORMATS: [&str; 2] = ["csv", "ndjson"];

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, .. } = call;
    let wanted = Wanted {
        period_type: params.period_type("PeriodType").unwrap_or(PeriodType::Daily),
        from: params.day("From", api.zone),
        to: params.day("To", api.zone),
        services: params.guids("ServiceGuid").unwrap_or_default(),
        scope: principal.narrow(ServiceFilter { with_usage_only: true, ..ServiceFilter::default() }),
        behind: params.cursor("Cursor"),
    };
    let format = params.word("Format", &FORMATS).unwrap_or("csv");
    let as_of = params.date_time("AsOf");
    params.finish()?;

    let begins = format == "csv" && wanted.behind.is_none();
    let rows = api.reports(as_of)?.bulk(wanted).await?;
    let is_csv = format == "csv";
    let content_type = if is_csv { "text/csv" } else { "application/x-ndjson" };
    let body = move |encoding| Body::from_stream(encoded(rows, is_csv, begins, encoding));
    Ok(Reply::stream(content_type, Box::new(body)).saved_as(format!("ExportUsage.{format}")))
}

/// What is left to be sent.
struct Rest {
    rows: Bulk,
    encoder: Encoder,
    head: Option<String>,
}

/// An error cuts the answer off, so that nobody takes it for whole.
fn encoded(
    rows: Bulk,
    is_csv: bool,
    begins: bool,
    encoding: Encoding,
) -> impl stream::Stream<Item = Result<Bytes, Cut>> + Send {
    let head = begins.then(export::csv_header);
    let first = Encoder::new(encoding).map(|encoder| Some(Rest { rows, encoder, head }));
    stream::try_unfold(first, move |rest| async move {
        let Some(Rest { mut rows, mut encoder, head }) = rest? else { return Ok(None) };
        // In a task of its own: a client that hangs up cancels no statement.
        let (rows, page) = tokio::spawn(async move {
            let page = rows.next().await;
            (rows, page)
        })
        .await?;
        if let Some(head) = head {
            encoder.write(head.as_bytes())?;
        }
        let Some(page) = page.inspect_err(|error| tracing::error!(?error, "an export is cut off"))? else {
            return Ok(Some((Bytes::from(encoder.finish()?), Ok(None))));
        };
        encoder.write(&written(&page, is_csv)?)?;
        Ok(Some((Bytes::from(encoder.take()?), Ok(Some(Rest { rows, encoder, head: None })))))
    })
}

fn written(rows: &[UsageRow], is_csv: bool) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if is_csv { export::write_csv(rows, &mut out) } else { export::write_ndjson(rows, &mut out) }.map(|()| out)
}

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Encoding(#[from] std::io::Error),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}
