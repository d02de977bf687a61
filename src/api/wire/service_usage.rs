//! `ServiceUsage`, and the responses that it comes in.

use super::document::{Choice, Kind, Member, Object, Type, Value, WITH_RESPONSE_STATUS};
use super::service::{STATUS, first_members};
use super::{page, response_status, value};
use crate::model::{Company, Contact, Numbers};
use crate::usage;

pub(in crate::api) static PERIOD_TYPE: Choice = Choice { name: "PeriodType", values: &["Daily", "Monthly"] };
pub(super) static SERVICE_USAGE: Type = Type {
    name: "ServiceUsage",
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
        Member::if_set("CollectionName", Kind::Text),
        Member::if_set("ClientGuid", Kind::Guid),
        Member::if_set("Contact", Kind::Object(&CONTACT)),
        Member::if_set("Company", Kind::Object(&COMPANY)),
        Member::always("PeriodType", Kind::Choice(&PERIOD_TYPE)),
        Member::always("Period", Kind::DateTime),
        Member::always("TotalUserCount", Kind::Integer),
        Member::always("ProUserCount", Kind::Integer),
        Member::always("GuestUserCount", Kind::Integer),
        Member::always("DisabledUserCount", Kind::Integer),
        Member::always("UnregisteredUserCount", Kind::Integer),
        Member::always("FeatureUsageSecureMessagingGateway", Kind::Integer),
        Member::always("FeatureUsageSecureMessagingPlus", Kind::Integer),
        Member::always("FeatureUsageDataLeakPrevention", Kind::Integer),
        Member::always("FeatureUsageSecureLargeFiles", Kind::Integer),
        Member::always("FeatureUsageSecureForms", Kind::Integer),
        Member::always("TotalMessageCount", Kind::Integer),
        Member::always("TotalAttachmentCount", Kind::Integer),
        Member::always("AttachmentStorageUsage", Kind::Integer),
    ],
    base: None,
};
static CONTACT: Type = Type {
    name: "Contact",
    members: &[
        Member::if_set("Name", Kind::Text),
        Member::if_set("Email", Kind::Text),
        Member::if_set("PhoneNumber", Kind::Text),
    ],
    base: None,
};
static COMPANY: Type = Type {
    name: "Company",
    members: &[
        Member::if_set("Name", Kind::Text),
        Member::if_set("Address", Kind::Text),
        Member::if_set("City", Kind::Text),
        Member::if_set("StateProvince", Kind::Text),
        Member::if_set("PostalCode", Kind::Text),
        Member::if_set("Country", Kind::Text),
        Member::if_set("Website", Kind::Text),
    ],
    base: None,
};
pub(in crate::api) static RESPONSE: Type =
    Type { name: "ServiceUsageResponse", members: &[response_status::MEMBER], base: Some(&SERVICE_USAGE) };
pub(in crate::api) static PAGED_RESPONSE: Type = Type {
    name: "ServiceUsagePagedResponse",
    members: &page::members(&SERVICE_USAGE),
    base: Some(&WITH_RESPONSE_STATUS),
};

/// `ServiceUsageResponse`: it declares its status, and inherits every member of the usage.
pub(in crate::api) fn response(usage: &usage::ServiceUsage) -> Object<'_> {
    Object::new(&RESPONSE, vec![Value::Null]).inherits(service_usage(usage))
}

/// `ServiceUsagePagedResponse`.
pub(in crate::api) fn paged_response(page: page::Page, usages: &[usage::ServiceUsage]) -> Object<'_> {
    page.of(&PAGED_RESPONSE, &SERVICE_USAGE, usages.iter().map(service_usage).collect())
}

pub(super) fn service_usage(usage: &usage::ServiceUsage) -> Object<'_> {
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
