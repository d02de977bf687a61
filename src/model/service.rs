//! The service directory: what `service.updated` tells of a service (`spec/events.md`; names as in `spec/api.md`, section 4).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::event::names;

names! {
    /// In the published order (`spec/api.md`, section 3).
    ServiceStatus {
        Blocked = "Blocked",
        AccountCancelled = "AccountCancelled",
        AccountSuspended = "AccountSuspended",
        Provisioning = "Provisioning",
        TrialExpired = "TrialExpired",
        TrialActive = "TrialActive",
        DemoAccount = "DemoAccount",
        CertifiedSecure = "CertifiedSecure",
    }
}

impl ServiceStatus {
    /// The status of this name: a service that was never told its own is an ordinary one.
    #[must_use]
    pub fn of(name: Option<&str>) -> Self {
        name.and_then(Self::from_name).unwrap_or(Self::CertifiedSecure)
    }

    /// Whether GetServiceUsage refuses the service and lists leave it out (`spec/api.md`, sections 1 and 6).
    #[must_use]
    pub const fn hides_usage(self) -> bool {
        matches!(self, Self::Blocked | Self::Provisioning)
    }
}

/// A validated merge patch of a service's directory entry: the known members only, in canonical form (JCS). A member that
/// is `null` is kept, for it clears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch(String);

impl Patch {
    /// Takes a document that holds known members of the right types and nothing else; `serde_json`'s maps are sorted.
    #[must_use]
    pub fn from_members(members: &Map<String, Value>) -> Self {
        Self(serde_json::to_string(members).expect("JSON of strings, integers and nulls can be written"))
    }

    /// Takes back what [`Patch::canonical`] gave.
    #[must_use]
    pub fn from_canonical(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.0
    }
}

/// A service's directory entry after all patches. Dates are text as they were sent; [`crate::api`] gives them their form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    #[serde(skip)]
    pub service_guid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_end_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection_guid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_guid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reseller_guid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reseller_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_guid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Company>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Company {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_province: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
}

impl Service {
    /// The status, which every answer must have.
    #[must_use]
    pub fn status(&self) -> ServiceStatus {
        ServiceStatus::of(self.status.as_deref())
    }

    /// The entry that these patches make, applied in this order (RFC 7396).
    ///
    /// # Errors
    /// When a patch is not what [`Patch::from_members`] lets through: the store is damaged.
    pub fn from_patches<'a>(guid: Uuid, patches: impl IntoIterator<Item = &'a str>) -> Result<Self, serde_json::Error> {
        let mut document = Value::Object(Map::new());
        for patch in patches {
            merge(&mut document, serde_json::from_str(patch)?);
        }
        Ok(Self { service_guid: guid, ..serde_json::from_value(document)? })
    }
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(entries) = target else { return };
    for (name, value) in members {
        if value.is_null() {
            entries.remove(&name);
        } else {
            merge(entries.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_merge_in_order_and_null_clears() {
        let service = Service::from_patches(
            Uuid::from_u128(1),
            [
                r#"{"name":"Acme","status":"TrialActive","contact":{"name":"Ann","email":"ann@acme.example"}}"#,
                r#"{"status":"Blocked","contact":{"email":null,"phoneNumber":"1"}}"#,
                r#"{"name":null}"#,
            ],
        )
        .unwrap();
        assert_eq!(service.name, None);
        assert_eq!(service.status(), ServiceStatus::Blocked);
        let contact = service.contact.unwrap();
        assert_eq!(
            (contact.name.as_deref(), contact.email, contact.phone_number.as_deref()),
            (Some("Ann"), None, Some("1"))
        );
    }
}
