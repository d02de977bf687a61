//! SearchServiceStatusChanges: when the services that the caller may see changed their status, by page.

use crate::api::Call;
use crate::api::about::{self, About, Gives, Kind, Param};
use crate::api::error::ApiError;
use crate::api::reply::{Reply, Standing};
use crate::api::wire::page::Page;
use crate::api::wire::status_change;
use crate::store::{Listed, ServiceFilter};
use crate::usage::status_changes::Changed;

pub(in crate::api) static ABOUT: About = About {
    summary: "When the services that the caller may see changed their status, by page, each with yesterday's numbers.",
    takes: &[
        about::PAGE,
        about::PAGE_SIZE,
        Param::optional("ServiceGuid", Kind::Guid, "Only this service."),
        Param::optional("ResellerGuid", Kind::Guid, "Only services of this reseller."),
        Param::optional("PartnerGuid", Kind::Guid, "Only services of this partner."),
        Param::optional(
            "ChangedByUserGuid",
            Kind::Guid,
            "Only changes by this user: none, for events don't tell who made them.",
        ),
        Param::optional("ChangedByUserEmail", Kind::Text, "As ChangedByUserGuid."),
        Param::optional("ChangedAfterDateTime", Kind::DateTime, "Only changes then or later."),
        Param::optional("ChangedBeforeDateTime", Kind::DateTime, "Only changes then or earlier."),
        about::AS_OF,
    ],
    gives: Gives::Report(&status_change::PAGED_RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let page = params.page();
    let filter = ServiceFilter {
        partner: params.guid("PartnerGuid"),
        reseller: params.guid("ResellerGuid"),
        service: params.guid("ServiceGuid"),
        ..ServiceFilter::default()
    };
    let is_by_somebody = params.guid("ChangedByUserGuid").is_some() | params.text("ChangedByUserEmail").is_some();
    let changed =
        Changed { from: params.date_time("ChangedAfterDateTime"), to: params.date_time("ChangedBeforeDateTime") };
    let as_of = params.date_time("AsOf");
    params.finish()?;

    let reports = api.reports(as_of)?;
    let list = match principal.narrow(filter) {
        Some(filter) if !is_by_somebody => reports.status_changes(&filter, changed, page.window()).await?,
        _ => Listed { items: Vec::new(), total: 0 },
    };
    let standing = Standing::of_rows(list.items.iter().filter_map(|change| change.usage.row.as_ref()));
    let response = status_change::paged_response(Page { total: list.total, ..page }, &list.items);
    Ok(Reply::new(&format, &response).with_standing(standing))
}
