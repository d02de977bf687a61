//! `Service`: a directory entry, and the responses that it comes in.

use super::document::{Choice, Kind, Member, Object, Type, Value, WITH_RESPONSE_STATUS};
use super::{page, response_status, value};
use crate::model;

pub(in crate::api) static STATUS: Choice = Choice { name: "ServiceStatus", values: model::ServiceStatus::NAMES };
static SERVICE: Type = Type {
    name: "Service",
    members: &[
        Member::always("ServiceGuid", Kind::Guid),
        Member::if_set("Name", Kind::Text),
        Member::always("Status", Kind::Choice(&STATUS)),
        Member::if_set("ServiceCode", Kind::Text),
        Member::if_set("ReferenceId", Kind::Text),
        Member::if_set("PrimaryDomain", Kind::Text),
        Member::always("CreatedOn", Kind::DateTime),
        Member::if_set("TrialEndDate", Kind::DateTime),
        Member::if_set("EffectiveDate", Kind::DateTime),
        Member::always("InitialTerm", Kind::Integer),
        Member::if_set("CollectionGuid", Kind::Guid),
        Member::if_set("ClientGuid", Kind::Guid),
        Member::if_set("ResellerGuid", Kind::Guid),
        Member::if_set("ResellerName", Kind::Text),
        Member::if_set("PartnerGuid", Kind::Guid),
        Member::if_set("PartnerName", Kind::Text),
    ],
    base: None,
};
pub(in crate::api) static RESPONSE: Type =
    Type { name: "ServiceResponse", members: &[response_status::MEMBER], base: Some(&SERVICE) };
pub(in crate::api) static PAGED_RESPONSE: Type =
    Type { name: "ServicesPagedResponse", members: &page::members(&SERVICE), base: Some(&WITH_RESPONSE_STATUS) };

/// The response of GetService: its status, then the members of the service.
pub(in crate::api) fn response(of: &model::Service) -> Object<'_> {
    Object::new(&RESPONSE, vec![Value::Null]).inherits(service(of))
}

/// `ServicesPagedResponse`.
pub(in crate::api) fn paged_response(page: page::Page, services: &[model::Service]) -> Object<'_> {
    page.of(&PAGED_RESPONSE, &SERVICE, services.iter().map(service).collect())
}

fn service(service: &model::Service) -> Object<'_> {
    let mut values = Vec::from(first_members(service));
    values.extend([
        Value::of(service.client_guid),
        Value::of(service.reseller_guid),
        Value::of(service.reseller_name.as_ref()),
        Value::of(service.partner_guid),
        Value::of(service.partner_name.as_ref()),
    ]);
    Object::new(&SERVICE, values)
}

/// The members that a service's entry and its usage begin with, from `ServiceGuid` through `CollectionGuid`.
pub(super) fn first_members(service: &model::Service) -> [Value<'_>; 11] {
    let date = |text: &Option<String>| Value::of(text.as_deref().and_then(value::directory_date));
    [
        service.service_guid.into(),
        Value::of(service.name.as_ref()),
        service.status().name().into(),
        Value::of(service.service_code.as_ref()),
        Value::of(service.reference_id.as_ref()),
        Value::of(service.primary_domain.as_ref()),
        value::created_on(service).into(),
        date(&service.trial_end_date),
        date(&service.effective_date),
        service.initial_term.unwrap_or(0).into(),
        Value::of(service.collection_guid),
    ]
}
