//! `data` of `service.updated`: a merge patch of the directory entry, of which only known members are kept.

use serde_json::{Map, Value, json};

use super::data::{read_count, read_guid, read_name, read_text};
use super::json::{Json, Name, Order};
use super::schema::{self, Times};
use super::{Refusal, Rejection};
use crate::model::{Day, Instant, Patch, ServiceStatus};

#[derive(Clone, Copy)]
enum Form {
    Text,
    Status,
    Date,
    Count,
    Guid,
    Object(&'static [Name], &'static [Form]),
}

static CONTACT_NAMES: [Name; 3] = Name::all(["name", "email", "phoneNumber"]);
static CONTACT_FORMS: [Form; 3] = [Form::Text, Form::Text, Form::Text];

static COMPANY_NAMES: [Name; 7] =
    Name::all(["name", "address", "city", "stateProvince", "postalCode", "country", "website"]);
static COMPANY_FORMS: [Form; 7] = [Form::Text, Form::Text, Form::Text, Form::Text, Form::Text, Form::Text, Form::Text];

/// The members that `service.updated` may set.
static SERVICE_NAMES: [Name; 18] = Name::all([
    "name",
    "status",
    "serviceCode",
    "referenceId",
    "primaryDomain",
    "createdOn",
    "trialEndDate",
    "effectiveDate",
    "initialTerm",
    "collectionGuid",
    "collectionName",
    "clientGuid",
    "resellerGuid",
    "resellerName",
    "partnerGuid",
    "partnerName",
    "contact",
    "company",
]);
static SERVICE_FORMS: [Form; 18] = [
    Form::Text,
    Form::Status,
    Form::Text,
    Form::Text,
    Form::Text,
    Form::Date,
    Form::Date,
    Form::Date,
    Form::Count,
    Form::Guid,
    Form::Text,
    Form::Guid,
    Form::Guid,
    Form::Text,
    Form::Guid,
    Form::Text,
    Form::Object(&CONTACT_NAMES, &CONTACT_FORMS),
    Form::Object(&COMPANY_NAMES, &COMPANY_FORMS),
];

/// What it must be, as JSON Schema.
pub(super) fn schema(times: &Times) -> Value {
    let mut patch = object(&SERVICE_NAMES, &SERVICE_FORMS, times);
    patch["description"] = "A merge patch (RFC 7396).".into();
    patch
}

fn object(names: &[Name], forms: &[Form], times: &Times) -> Value {
    let of_form = |form: Form| match form {
        Form::Text => json!({"type": "string"}),
        Form::Status => schema::one_of(ServiceStatus::NAMES),
        Form::Date => schema::text(&times.or_date),
        Form::Count => schema::count(),
        Form::Guid => schema::guid(),
        Form::Object(names, forms) => object(names, forms, times),
    };
    schema::object(names.iter().zip(forms).map(|(name, form)| (name.text, of_form(*form), false)))
}

pub(super) fn decode(json: &mut Json<'_>) -> Result<Patch, Refusal> {
    Ok(Patch::from_members(&members(json, &SERVICE_NAMES, &SERVICE_FORMS)?))
}

fn members(json: &mut Json<'_>, names: &[Name], forms: &[Form]) -> Result<Map<String, Value>, Refusal> {
    let mut members = Map::new();
    json.object(names, &mut Order::default(), |json, index| {
        let name = names[index].text;
        if members.contains_key(name) {
            return Err(Rejection::data(name, "given twice"));
        }
        let value = value(json, name, forms[index])?;
        members.insert(name.to_owned(), value);
        Ok(())
    })?;
    Ok(members)
}

fn value(json: &mut Json<'_>, name: &str, form: Form) -> Result<Value, Refusal> {
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
        Form::Object(names, forms) if json.peek() == Some(b'{') => members(json, names, forms)?.into(),
        Form::Object(..) => return Err(Rejection::data(name, "expected an object")),
    })
}
