//! `ServiceStatusChange`, and the response that it comes in. What events don't tell is null: jurisdiction, branding, and who made
//! the change in which operation.

use super::document::{Kind, Member, Object, Type, Value, WITH_RESPONSE_STATUS};
use super::page::{self, Page};
use super::service::STATUS;
use super::service_usage::{SERVICE_USAGE, service_usage};
use super::value;
use crate::usage::status_changes::StatusChange;

static CHANGE: Type = Type {
    name: "ServiceStatusChange",
    members: &[
        Member::always("ServiceGuid", Kind::Guid),
        Member::if_set("ServiceName", Kind::Text),
        Member::if_set("ServiceCode", Kind::Text),
        Member::if_set("PrimaryDomain", Kind::Text),
        Member::if_set("Jurisdiction", Kind::Text),
        Member::if_set("Branding", Kind::Object(&BRANDING)),
        Member::always("ServiceUsage", Kind::Object(&SERVICE_USAGE)),
        Member::always("CreatedOn", Kind::DateTime),
        Member::if_set("ResellerGuid", Kind::Guid),
        Member::if_set("ResellerName", Kind::Text),
        Member::if_set("PartnerGuid", Kind::Guid),
        Member::if_set("PartnerName", Kind::Text),
        Member::if_set("OperationGuid", Kind::Guid),
        Member::always("ServiceStatusChangeGuid", Kind::Guid),
        Member::always("Status", Kind::Choice(&STATUS)),
        Member::always("ChangedOn", Kind::DateTime),
        Member::if_set("ChangedByUserGuid", Kind::Guid),
        Member::if_set("ChangedByUserEmailAddress", Kind::Text),
    ],
    base: None,
};
/// A map in the original.
static BRANDING: Type = Type { name: "Branding", members: &[], base: None };
pub(in crate::api) static PAGED_RESPONSE: Type =
    Type { name: "ServiceStatusChangesResponse", members: &page::members(&CHANGE), base: Some(&WITH_RESPONSE_STATUS) };

/// `ServiceStatusChangesResponse`.
pub(in crate::api) fn paged_response(page: Page, changes: &[StatusChange]) -> Object<'_> {
    page.of(&PAGED_RESPONSE, &CHANGE, changes.iter().map(change).collect())
}

fn change(change: &StatusChange) -> Object<'_> {
    let StatusChange { guid, status, changed_on, usage } = change;
    let service = &usage.service;
    let values = vec![
        service.service_guid.into(),
        Value::of(service.name.as_ref()),
        Value::of(service.service_code.as_ref()),
        Value::of(service.primary_domain.as_ref()),
        Value::Null,
        Value::Null,
        service_usage(usage).into(),
        value::created_on(service).into(),
        Value::of(service.reseller_guid),
        Value::of(service.reseller_name.as_ref()),
        Value::of(service.partner_guid),
        Value::of(service.partner_name.as_ref()),
        Value::Null,
        (*guid).into(),
        status.name().into(),
        changed_on.to_utc().into(),
        Value::Null,
        Value::Null,
    ];
    Object::new(&CHANGE, values)
}
