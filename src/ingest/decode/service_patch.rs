//! `data` of `service.updated`: a merge patch of the directory entry, of which only known members are kept.

use serde_json::{Map, Value};

use super::Rejection;
use super::data::{read_count, read_guid, read_name, read_text};
use super::json::Json;
use crate::model::{Day, Instant, Patch, ServiceStatus};

#[derive(Clone, Copy)]
enum Form {
    Text,
    Status,
    Date,
    Count,
    Guid,
    Object(&'static [(&'static str, Form)]),
}

const CONTACT: &[(&str, Form)] = &[("name", Form::Text), ("email", Form::Text), ("phoneNumber", Form::Text)];

const COMPANY: &[(&str, Form)] = &[
    ("name", Form::Text),
    ("address", Form::Text),
    ("city", Form::Text),
    ("stateProvince", Form::Text),
    ("postalCode", Form::Text),
    ("country", Form::Text),
    ("website", Form::Text),
];

/// The members that `service.updated` may set.
const SERVICE: &[(&str, Form)] = &[
    ("name", Form::Text),
    ("status", Form::Status),
    ("serviceCode", Form::Text),
    ("referenceId", Form::Text),
    ("primaryDomain", Form::Text),
    ("createdOn", Form::Date),
    ("trialEndDate", Form::Date),
    ("effectiveDate", Form::Date),
    ("initialTerm", Form::Count),
    ("collectionGuid", Form::Guid),
    ("collectionName", Form::Text),
    ("clientGuid", Form::Guid),
    ("resellerGuid", Form::Guid),
    ("resellerName", Form::Text),
    ("partnerGuid", Form::Guid),
    ("partnerName", Form::Text),
    ("contact", Form::Object(CONTACT)),
    ("company", Form::Object(COMPANY)),
];

pub(super) fn decode(json: &mut Json<'_>) -> Result<Patch, Rejection> {
    Ok(Patch::from_members(&members(json, SERVICE)?))
}

fn members(json: &mut Json<'_>, known: &[(&str, Form)]) -> Result<Map<String, Value>, Rejection> {
    let mut members = Map::new();
    json.object(|json, name| {
        let Some((_, form)) = known.iter().find(|(known, _)| *known == name) else {
            return Ok(json.skip()?);
        };
        if members.contains_key(name) {
            return Err(Rejection::data(name, "given twice"));
        }
        let value = value(json, name, *form)?;
        members.insert(name.to_owned(), value);
        Ok(())
    })?;
    Ok(members)
}

fn value(json: &mut Json<'_>, name: &str, form: Form) -> Result<Value, Rejection> {
    if json.peek() == Some(b'n') {
        json.literal()?;
        return Ok(Value::Null);
    }
    Ok(match form {
        Form::Text => read_text(json, name)?.into(),
        Form::Status => read_name(json, name, ServiceStatus::from_name, "a service status")?.name().into(),
        Form::Count => read_count(json, name)?.into(),
        Form::Guid => read_guid(json, name)?.simple().to_string().into(),
        Form::Date => {
            let text = read_text(json, name)?;
            if Instant::parse_rfc3339(&text).is_none() && text.parse::<Day>().is_err() {
                return Err(Rejection::data(name, "expected RFC 3339 with an offset, or YYYY-MM-DD"));
            }
            text.into()
        }
        Form::Object(known) if json.peek() == Some(b'{') => members(json, known)?.into(),
        Form::Object(_) => return Err(Rejection::data(name, "expected an object")),
    })
}
