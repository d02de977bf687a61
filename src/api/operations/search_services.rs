//! SearchServices: the directory entries that the caller may see, by page, whatever their status.

use crate::api::Call;
use crate::api::about::{self, About, Gives, Kind, Param};
use crate::api::error::ApiError;
use crate::api::reply::Reply;
use crate::api::wire::page::Page;
use crate::api::wire::service;
use crate::store::{Listed, ServiceFilter};
use crate::usage::services::SearchTerms;

pub(in crate::api) static ABOUT: About = About {
    summary: "The directory entries that the caller may see, by page, whatever their status. One of the terms that fits is enough.",
    takes: &[
        about::PAGE,
        about::PAGE_SIZE,
        Param::optional("Domain", Kind::Text, "Part of the primary domain, in any case."),
        Param::optional("Name", Kind::Text, "Part of the name, in any case."),
        Param::optional("Code", Kind::Text, "Part of the service code, in any case."),
        about::CREATED_AFTER,
        about::CREATED_BEFORE,
    ],
    gives: Gives::Document(&service::PAGED_RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let page = params.page();
    let terms = SearchTerms { domain: params.text("Domain"), name: params.text("Name"), code: params.text("Code") };
    let filter = ServiceFilter {
        created_from: params.date_time("CreatedAfterDateTime"),
        created_to: params.date_time("CreatedBeforeDateTime"),
        ..ServiceFilter::default()
    };
    params.finish()?;

    let list = match principal.narrow(filter) {
        Some(filter) => api.reports(None)?.services(&filter, page.window(), &terms).await?,
        None => Listed::default(),
    };
    Ok(Reply::new(&format, &service::paged_response(Page { total: list.total, ..page }, &list.items)))
}
