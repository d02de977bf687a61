//! `Service`: a directory entry, and the responses that it comes in.

use super::document::{Object, RESPONSE_STATUS, Type, Value};
use super::{page, value};
use crate::model;

static SERVICE: Type = Type {
    name: "Service",
    members: &[
        "ServiceGuid",
        "Name",
        "Status",
        "ServiceCode",
        "ReferenceId",
        "PrimaryDomain",
        "CreatedOn",
        "TrialEndDate",
        "EffectiveDate",
        "InitialTerm",
        "CollectionGuid",
        "ClientGuid",
        "ResellerGuid",
        "ResellerName",
        "PartnerGuid",
        "PartnerName",
    ],
};
static RESPONSE: Type = Type { name: "ServiceResponse", members: &[RESPONSE_STATUS] };
static PAGED_RESPONSE: Type = Type { name: "ServicesPagedResponse", members: &page::MEMBERS };

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
