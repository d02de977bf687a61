//! The OpenAPI 3.1 document. What it allows is accepted and what it does not allow is refused, but for other spellings of names, dates
//! and GUIDs, which clients of the original use (`spec/api.md`, section 6, rules 3, 4 and 11).

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, Header, InfoBuilder, OpenApiBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, ResponsesBuilder, Schema,
};

use super::{answered, dates, full_path};
use crate::api::about::{Gives, Kind, Need, Param};
use crate::api::format::Format;
use crate::api::routes::{ROUTES, Route};
use crate::api::wire::document::{Kind as MemberKind, Member, Type};
use crate::api::wire::response_status::ERROR_RESPONSE;
use crate::model::Day;

const GUID: &str = "^[0-9a-f]{32}$";
/// In parameters dashes may be there, and nothing is no value.
const GUID_OR_NOTHING: &str = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$";
const GUID_IN_PATH: &str = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$";

/// The statuses that an operation may answer with instead of its document.
const ERRORS: [(&str, &str); 10] = [
    ("400", "A parameter is malformed, is missing, or makes no sense."),
    ("401", "There is no valid key."),
    ("403", "Outside the key's scope, or the service is Blocked or Provisioning."),
    ("404", "There is nothing of that GUID."),
    ("405", "The route takes GET, HEAD and OPTIONS."),
    ("413", "The body is too large; no operation reads one."),
    ("414", "Path and query are too long."),
    ("429", "Too many requests with this key."),
    ("500", "The request failed; the log says why, under the request's id."),
    ("503", "The store can't be reached at the moment."),
];

/// The document of the reports, on a day.
pub(super) fn reports(today: Day) -> Vec<u8> {
    let paths = ROUTES.iter().fold(PathsBuilder::new(), |paths, route| {
        paths.path(full_path(route.path), PathItem::new(HttpMethod::Get, operation(route, today)))
    });
    let components = ERRORS.iter().fold(ComponentsBuilder::new(), |components, (status, meaning)| {
        components.response(error_name(status), error(status, meaning))
    });
    document(
        "Usage reports of a multi-tenant secure-messaging platform. /api/docs is the same for people.",
        paths,
        answered(),
        components,
    )
}

/// A document of these paths, which give these types. `components` are those that they name besides.
pub(super) fn document(
    description: &str,
    paths: PathsBuilder,
    given: impl IntoIterator<Item = &'static Type>,
    components: ComponentsBuilder,
) -> Vec<u8> {
    let mut types = BTreeMap::new();
    collect(&ERROR_RESPONSE, &mut types);
    given.into_iter().for_each(|of| collect(of, &mut types));
    let components =
        types.into_values().fold(components, |components, of| components.schema(of.name, schema(object(of))));
    let components = components
        .security_scheme("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()))
        .security_scheme("basic", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build()))
        .security_scheme("header", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-ss-id"))));
    let requirements = ["bearer", "basic", "header"].map(|name| SecurityRequirement::new(name, [""; 0]));
    let info = InfoBuilder::new().title("usage-rollup").version(env!("CARGO_PKG_VERSION"));
    let document = OpenApiBuilder::new()
        .info(info.description(Some(description)).build())
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some(requirements))
        .build();
    document.to_json().expect("strings can be written as JSON").into_bytes()
}

fn operation(route: &Route, today: Day) -> utoipa::openapi::path::Operation {
    let common = [
        text_parameter(
            "format",
            "The format, before `Accept`: json, xml, csv or jsv. Any other is not looked at.",
            json!({"type": "string"}),
        ),
        text_parameter("callback", "The function that gets the document, as JSONP.", json!({"type": "string"})),
    ];
    let own = route.about.takes.iter().map(|param| parameter(param, today));
    // Rows have formats of their own.
    let common = common.into_iter().filter(|_| !matches!(route.about.gives, Gives::Rows));
    let responses = ERRORS.iter().fold(ResponsesBuilder::new(), |responses, (status, _)| {
        responses.response(*status, RefOr::Ref(Ref::from_response_name(error_name(status))))
    });
    OperationBuilder::new()
        .operation_id(Some(route.operation))
        .summary(Some(route.about.summary))
        .parameters(Some(own.chain(common).collect::<Vec<Parameter>>()))
        .responses(responses.response("200", success(route.about.gives)).build())
        .build()
}

fn text_parameter(name: &str, meaning: &str, allowed: Json) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(meaning))
        .schema(Some(schema(allowed)))
        .build()
}

fn parameter(param: &Param, today: Day) -> Parameter {
    let place = if param.need == Need::Path { ParameterIn::Path } else { ParameterIn::Query };
    let is_required = matches!(param.need, Need::Path | Need::Required);
    let mut allowed = match param.kind {
        Kind::Guid if param.need == Need::Path => json!({"type": "string", "pattern": GUID_IN_PATH}),
        Kind::Guid => json!({"type": "string", "pattern": GUID_OR_NOTHING}),
        Kind::Guids => json!({"type": "string", "pattern": "^([0-9a-fA-F]{32}(,[0-9a-fA-F]{32})*)?$"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Integer(least, most) => {
            json!({"oneOf": [{"type": "integer", "minimum": least, "maximum": most}, {"type": "string", "maxLength": 0}]})
        }
        Kind::Choice(choice) => json!({"oneOf": [
            {"type": "string", "enum": or_nothing(choice.values)},
            {"type": "integer", "minimum": 0, "maximum": choice.values.len() - 1},
        ]}),
        Kind::Word(words) => json!({"type": "string", "enum": or_nothing(words)}),
        Kind::DateTime => json!({"type": "string", "pattern": dates::any()}),
        Kind::Past => json!({"type": "string", "pattern": dates::through(today)}),
        Kind::Cursor => {
            json!({"type": "string", "pattern": "^([0-9a-f]{32}:20[0-2][0-9]-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8]))?$"})
        }
    };
    if let (Need::Default(default), Some(members)) = (param.need, allowed.as_object_mut()) {
        let default =
            if matches!(param.kind, Kind::Integer(..)) { json!(default.parse::<i64>().ok()) } else { json!(default) };
        members.insert("default".to_owned(), default);
    }
    if let (Need::Required, Some(members)) = (param.need, allowed.as_object_mut()) {
        members.insert("minLength".to_owned(), json!(1));
    }
    let parameter = ParameterBuilder::new()
        .name(param.name)
        .parameter_in(place)
        .required(if is_required { Required::True } else { Required::False })
        .description(Some(param.meaning))
        .schema(Some(schema(allowed)));
    parameter.build()
}

/// Nothing is no value, as if the parameter were not there.
fn or_nothing(values: &[&'static str]) -> Vec<&'static str> {
    values.iter().copied().chain([""]).collect()
}

fn success(gives: Gives) -> Response {
    let header = |meaning: &str| {
        Header::builder().schema(Some(schema(json!({"type": "string"})))).description(Some(meaning)).build()
    };
    let request_id = header("The request's id, which the log has too.");
    let response = ResponseBuilder::new().header("X-Request-Id", request_id);
    let (response, of) = match gives {
        Gives::Rows => {
            let text = || ContentBuilder::new().schema(Some(schema(json!({"type": "string"})))).build();
            let response = response.description("Rows, sorted by service, then period.");
            return response.content("text/csv", text()).content("application/x-ndjson", text()).build();
        }
        Gives::Document(of) => (response, of),
        Gives::Report(of) => {
            let standing = response
                .header(
                    "X-Usage-State",
                    header("How final the numbers are: open, settling, closed, restated, locked, or none."),
                )
                .header("ETag", header("Tells this representation from all others."));
            (standing, of)
        }
    };
    let text = || ContentBuilder::new().schema(Some(schema(json!({"type": "string"})))).build();
    let json = Content::new(Some(RefOr::Ref(Ref::from_schema_name(of.name))));
    let others = [Format::Xml, Format::Csv, Format::Jsv, Format::jsonp("")];
    others
        .iter()
        .fold(response.description(of.name).content("application/json", json), |response, format| {
            response.content(format.content_type(), text())
        })
        .build()
}

/// A header of an answer.
pub(super) fn text_header() -> Header {
    Header::builder().schema(Some(schema(json!({"type": "string"})))).build()
}

pub(super) fn error(status: &str, meaning: &str) -> Response {
    let response = ResponseBuilder::new()
        .description(meaning)
        .header("X-Request-Id", text_header())
        .content("application/json", Content::new(Some(RefOr::Ref(Ref::from_schema_name(ERROR_RESPONSE.name)))));
    match status {
        "401" => response.header("WWW-Authenticate", text_header()).build(),
        "405" => response.header("Allow", text_header()).build(),
        "429" | "503" => response.header("Retry-After", text_header()).build(),
        _ => response.build(),
    }
}

fn error_name(status: &str) -> String {
    format!("Error{status}")
}

/// A type and those that it holds, by name.
fn collect(of: &'static Type, types: &mut BTreeMap<&'static str, &'static Type>) {
    if types.insert(of.name, of).is_some() {
        return;
    }
    for member in of.all_members() {
        if let MemberKind::Object(inner) | MemberKind::List(inner) = member.kind {
            collect(inner, types);
        }
    }
}

fn object(of: &Type) -> Json {
    let members: Vec<&Member> = of.all_members().collect();
    let name = |member: &Member| crate::api::format::camel_case(member.name).collect::<String>();
    let properties: serde_json::Map<String, Json> =
        members.iter().map(|member| (name(member), held(&member.kind))).collect();
    let required: Vec<String> = members.iter().filter(|member| member.always).map(|member| name(member)).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn held(kind: &MemberKind) -> Json {
    match kind {
        MemberKind::Text => json!({"type": "string"}),
        MemberKind::Guid => json!({"type": "string", "pattern": GUID}),
        MemberKind::DateTime => json!({"type": "string", "format": "date-time"}),
        MemberKind::Flag => json!({"type": "boolean"}),
        MemberKind::Double => json!({"type": "number", "format": "double"}),
        MemberKind::Integer => json!({"type": "integer", "format": "int64"}),
        MemberKind::Choice(choice) => json!({"type": "string", "title": choice.name, "enum": choice.values}),
        MemberKind::Object(of) => reference(of.name),
        MemberKind::List(of) => json!({"type": "array", "items": reference(of.name)}),
    }
}

/// The schema of this name.
pub(super) fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A schema as utoipa has it.
pub(super) fn schema(text: Json) -> RefOr<Schema> {
    serde_json::from_value(text).expect("it is a schema")
}
