//! `ServiceUsage`.

use serde::Serialize;

use super::value;
use crate::model::{Company, Contact, Numbers, Service};
use crate::usage;

/// What the original's DateTime is where it was never set.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ServiceUsage<'a> {
    service_guid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_domain: Option<&'a str>,
    created_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial_end_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_date: Option<String>,
    initial_term: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection_guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<WireContact<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    company: Option<WireCompany<'a>>,
    period_type: &'static str,
    period: String,
    total_user_count: i64,
    pro_user_count: i64,
    guest_user_count: i64,
    disabled_user_count: i64,
    unregistered_user_count: i64,
    feature_usage_secure_messaging_gateway: i64,
    feature_usage_secure_messaging_plus: i64,
    feature_usage_data_leak_prevention: i64,
    feature_usage_secure_large_files: i64,
    feature_usage_secure_forms: i64,
    total_message_count: i64,
    total_attachment_count: i64,
    attachment_storage_usage: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireContact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WireCompany<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_province: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<&'a str>,
}

impl<'a> From<&'a usage::ServiceUsage> for ServiceUsage<'a> {
    fn from(usage: &'a usage::ServiceUsage) -> Self {
        let usage::ServiceUsage { service, period_type, period, row } = usage;
        let numbers = row.as_ref().map_or_else(Numbers::default, |row| row.numbers);
        let [total, pro, guest, disabled, unregistered, features @ .., messages, attachments, storage] = numbers.0;
        let [gateway, plus, leaks, files, forms] = features;
        let Service { contact, company, .. } = &**service;
        let date = |text: &Option<String>| text.as_deref().and_then(value::directory_date);
        Self {
            service_guid: value::guid(service.service_guid),
            name: service.name.as_deref(),
            status: service.status().name(),
            service_code: service.service_code.as_deref(),
            reference_id: service.reference_id.as_deref(),
            primary_domain: service.primary_domain.as_deref(),
            created_on: date(&service.created_on).unwrap_or_else(|| NEVER.to_owned()),
            trial_end_date: date(&service.trial_end_date),
            effective_date: date(&service.effective_date),
            initial_term: service.initial_term.unwrap_or(0),
            collection_guid: service.collection_guid.map(value::guid),
            collection_name: service.collection_name.as_deref(),
            client_guid: service.client_guid.map(value::guid),
            contact: contact.as_ref().map(WireContact::from),
            company: company.as_ref().map(WireCompany::from),
            period_type: period_type.name(),
            period: value::day(*period),
            total_user_count: total,
            pro_user_count: pro,
            guest_user_count: guest,
            disabled_user_count: disabled,
            unregistered_user_count: unregistered,
            feature_usage_secure_messaging_gateway: gateway,
            feature_usage_secure_messaging_plus: plus,
            feature_usage_data_leak_prevention: leaks,
            feature_usage_secure_large_files: files,
            feature_usage_secure_forms: forms,
            total_message_count: messages,
            total_attachment_count: attachments,
            attachment_storage_usage: storage,
        }
    }
}

impl<'a> From<&'a Contact> for WireContact<'a> {
    fn from(contact: &'a Contact) -> Self {
        Self {
            name: contact.name.as_deref(),
            email: contact.email.as_deref(),
            phone_number: contact.phone_number.as_deref(),
        }
    }
}

impl<'a> From<&'a Company> for WireCompany<'a> {
    fn from(company: &'a Company) -> Self {
        Self {
            name: company.name.as_deref(),
            address: company.address.as_deref(),
            city: company.city.as_deref(),
            state_province: company.state_province.as_deref(),
            postal_code: company.postal_code.as_deref(),
            country: company.country.as_deref(),
            website: company.website.as_deref(),
        }
    }
}
