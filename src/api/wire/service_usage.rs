//! `ServiceUsage`, and the responses that it comes in.

use super::document::{Object, RESPONSE_STATUS, Type, Value};
use super::service::first_members;
use super::{page, value};
use crate::model::{Company, Contact, Numbers};
use crate::usage;

static SERVICE_USAGE: Type = Type {
    name: "ServiceUsage",
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
        "CollectionName",
        "ClientGuid",
        "Contact",
        "Company",
        "PeriodType",
        "Period",
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
    ],
};
static CONTACT: Type = Type { name: "Contact", members: &["Name", "Email", "PhoneNumber"] };
static COMPANY: Type = Type {
    name: "Company",
    members: &["Name", "Address", "City", "StateProvince", "PostalCode", "Country", "Website"],
};
static RESPONSE: Type = Type { name: "ServiceUsageResponse", members: &[RESPONSE_STATUS] };
static PAGED_RESPONSE: Type = Type { name: "ServiceUsagePagedResponse", members: &page::MEMBERS };

/// `ServiceUsageResponse`: it declares its status, and inherits every member of the usage.
pub(in crate::api) fn response(usage: &usage::ServiceUsage) -> Object<'_> {
    Object::new(&RESPONSE, vec![Value::Null]).inherits(service_usage(usage))
}

/// `ServiceUsagePagedResponse`.
pub(in crate::api) fn paged_response(page: page::Page, usages: &[usage::ServiceUsage]) -> Object<'_> {
    page.of(&PAGED_RESPONSE, &SERVICE_USAGE, usages.iter().map(service_usage).collect())
}

fn service_usage(usage: &usage::ServiceUsage) -> Object<'_> {
    let usage::ServiceUsage { service, period_type, period, row } = usage;
    let mut values = Vec::with_capacity(SERVICE_USAGE.members.len());
    values.extend(first_members(service));
    values.extend([
        Value::of(service.collection_name.as_ref()),
        Value::of(service.client_guid),
        Value::of(service.contact.as_ref().map(contact)),
        Value::of(service.company.as_ref().map(company)),
        period_type.name().into(),
        value::midnight(*period).into(),
    ]);
    // The numbers come in the same order as the members.
    let numbers = row.as_ref().map_or_else(Numbers::default, |row| row.numbers);
    values.extend(numbers.0.map(Value::Integer));
    Object::new(&SERVICE_USAGE, values)
}

fn contact(contact: &Contact) -> Object<'_> {
    let texts = [&contact.name, &contact.email, &contact.phone_number];
    Object::new(&CONTACT, texts.map(|text| Value::of(text.as_ref())).into())
}

fn company(company: &Company) -> Object<'_> {
    let Company { name, address, city, state_province, postal_code, country, website } = company;
    let texts = [name, address, city, state_province, postal_code, country, website];
    Object::new(&COMPANY, texts.map(|text| Value::of(text.as_ref())).into())
}
