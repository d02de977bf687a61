//! The report of users by month (`spec/api.md`, section 4, and section 6, rule 17).

use super::document::{Kind, Member, Object, Type, Value, WITH_RESPONSE_STATUS};
use super::page::{self, Page};
use super::service::STATUS;
use super::value;
use crate::model::{Day, Service};
use crate::usage::user_counts::{ServiceUserCounts, UserCountReport, UserCounts};

static PERIOD_STAT: Type = Type {
    name: "PeriodStat",
    members: &[
        Member::always("Period", Kind::DateTime),
        Member::always("Total", Kind::Integer),
        Member::always("PercentageChanged", Kind::Double),
    ],
    base: None,
};
static RECORD: Type = Type {
    name: "PeriodServiceUserCountRecord",
    members: &[
        Member::always("ServiceGuid", Kind::Guid),
        Member::if_set("ServiceCode", Kind::Text),
        Member::always("ServiceStatus", Kind::Choice(&STATUS)),
        Member::always("CreatedOn", Kind::DateTime),
        Member::if_set("TrialEndDate", Kind::DateTime),
        Member::if_set("ReferenceId", Kind::Text),
        Member::if_set("CollectionName", Kind::Text),
        Member::if_set("ResellerName", Kind::Text),
        Member::if_set("CompanyName", Kind::Text),
        Member::if_set("CompanyCity", Kind::Text),
        Member::if_set("CompanyPostalCode", Kind::Text),
        Member::if_set("PrimaryDomain", Kind::Text),
        Member::always("ProUserCounts", Kind::List(&PERIOD_STAT)),
        Member::always("GuestUserCounts", Kind::List(&PERIOD_STAT)),
    ],
    base: None,
};
const MEMBERS: [Member; 9] = {
    let [size, pages, total, number, results] = page::members(&RECORD);
    [
        Member::always("StartPeriod", Kind::DateTime),
        Member::always("EndPeriod", Kind::DateTime),
        Member::always("TotalPeriodProUserCounts", Kind::List(&PERIOD_STAT)),
        Member::always("TotalPeriodGuestUserCounts", Kind::List(&PERIOD_STAT)),
        size,
        pages,
        total,
        number,
        results,
    ]
};
pub(in crate::api) static PAGED_RESPONSE: Type =
    Type { name: "GetServiceUserCountReportPagedResponse", members: &MEMBERS, base: Some(&WITH_RESPONSE_STATUS) };

/// The report of these months, which come one after the other.
pub(in crate::api) fn paged_response<'a>(page: Page, months: &[Day], report: &'a UserCountReport) -> Object<'a> {
    let [pro, guest] = stats(months, &report.totals);
    let records = report.services.iter().map(|of_service| record(months, of_service)).collect();
    let bounds = [months.first(), months.last()].map(|month| Value::of(month.map(|month| value::midnight(*month))));
    let values = bounds.into_iter().chain([pro, guest]).chain(page.values(&RECORD, records));
    Object::new(&PAGED_RESPONSE, values.collect()).with_response_status()
}

fn record<'a>(months: &[Day], of_service: &'a ServiceUserCounts) -> Object<'a> {
    let ServiceUserCounts { service, counts, .. } = of_service;
    let Service { service_code, trial_end_date, reference_id, collection_name, reseller_name, .. } = service;
    let company = service.company.as_ref();
    let text = |text: &'a Option<String>| Value::of(text.as_ref());
    let of_company = |member: fn(&'a crate::model::Company) -> &'a Option<String>| {
        Value::of(company.and_then(|company| member(company).as_ref()))
    };
    let [pro, guest] = stats(months, counts);
    let values = vec![
        service.service_guid.into(),
        text(service_code),
        service.status().name().into(),
        value::created_on(service).into(),
        Value::of(trial_end_date.as_deref().and_then(value::directory_date)),
        text(reference_id),
        text(collection_name),
        text(reseller_name),
        of_company(|company| &company.name),
        of_company(|company| &company.city),
        of_company(|company| &company.postal_code),
        text(&service.primary_domain),
        pro,
        guest,
    ];
    Object::new(&RECORD, values)
}

/// A figure for each month, of Professional users, and of guests.
fn stats<'a>(months: &[Day], counts: &UserCounts) -> [Value<'a>; 2] {
    let of = |count: fn(&[i64; 2]) -> i64| {
        let count = |month: Day| counts.get(&month).map_or(0, count);
        let stat = |month: &Day| {
            let (total, before) = (count(*month), count(month.previous().month()));
            let values = vec![value::midnight(*month).into(), total.into(), Value::Double(changed(before, total))];
            Object::new(&PERIOD_STAT, values)
        };
        Value::List(&PERIOD_STAT, months.iter().map(stat).collect())
    };
    [of(|[pro, _]| *pro), of(|[_, guest]| *guest)]
}

/// By how many hundredths a number is more than the one before it.
#[expect(clippy::cast_precision_loss, reason = "nobody has so many users")]
fn changed(before: i64, now: i64) -> f64 {
    match (before, now) {
        (0, 0) => 0.0,
        (0, _) => 100.0,
        _ => (now - before) as f64 * 100.0 / before as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_hundredths_of_the_month_before() {
        let told =
            [(0, 0), (0, 7), (4, 5), (8, 0), (3, 4), (5, 5)].map(|(before, now)| changed(before, now).to_string());
        assert_eq!(told, ["0", "100", "25", "-100", "33.333333333333336", "0"]);
    }
}
