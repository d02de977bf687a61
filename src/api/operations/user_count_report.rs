//! Both reports of users by month: they differ in whose services they are about (`spec/api.md`, section 6, rule 17).

use uuid::Uuid;

use super::owner::Owner;
use crate::api::Call;
use crate::api::about::{self, Kind, Param};
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::{Reply, Standing};
use crate::api::wire::page::Page;
use crate::api::wire::user_count_report;
use crate::model::Day;

/// So many months are reported at most: twenty years, for each service and in all.
const MOST_MONTHS: usize = 240;

pub(super) const fn takes(owner: Param) -> [Param; 6] {
    [
        owner,
        Param::required("StartPeriod", Kind::Past, "A day of the first month."),
        Param::optional(
            "EndPeriod",
            Kind::Past,
            "A day of the last month, at most 240 months in all. Without it: today's, in UTC.",
        ),
        about::PAGE,
        about::PAGE_SIZE,
        about::AS_OF,
    ]
}

pub(super) async fn handle(
    call: Call,
    name: &'static str,
    owner: impl Fn(Uuid) -> Owner + Send,
) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let guid = params.guid(name);
    let (start, end) = (params.day("StartPeriod", api.zone), params.day("EndPeriod", api.zone));
    let page = params.page();
    let as_of = params.date_time("AsOf");
    params.finish()?;
    let (guid, start) = (required(guid, name)?, required(start, "StartPeriod")?);

    let reports = api.reports(as_of)?;
    let services = owner(guid).services_in_sight(&reports, &principal).await?;
    // No type could tell what makes no sense here, so it is looked at behind what is not there.
    let months = months(start, end, Day::utc_of(api.clock.now()))?;
    let report = reports.user_counts(&services, page.window(), &months).await?;
    let standing = Standing::of_rows(report.rows());
    let response = user_count_report::paged_response(Page { total: report.total, ..page }, &months, &report);
    Ok(Reply::new(&format, &response).with_standing(standing))
}

/// The months from that of one day through that of another, or through this one.
fn months(start: Day, end: Option<Day>, today: Day) -> Result<Vec<Day>, ApiError> {
    let (start, this_month) = (start.month(), today.month());
    let end = end.map_or(this_month, Day::month);
    for (name, month) in [("StartPeriod", start), ("EndPeriod", end)] {
        if month > this_month {
            let message = format!("the month {month} is in the future; this one began on {this_month}");
            return Err(ApiError::argument(name, message));
        }
    }
    if start > end {
        return Err(ApiError::argument("StartPeriod", format!("StartPeriod, {start}, is after EndPeriod, {end}")));
    }
    let all = std::iter::successors(Some(start), |month| Some(month.next_month())).take_while(|month| *month <= end);
    let months: Vec<Day> = all.take(MOST_MONTHS + 1).collect();
    if months.len() > MOST_MONTHS {
        let message = format!("from {start} through {end} are more than {MOST_MONTHS} months; ask for fewer at a time");
        return Err(ApiError::argument("StartPeriod", message));
    }
    Ok(months)
}
