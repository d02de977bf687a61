//! Sending events, which is no operation of the original: it takes a body, and has neither formats nor a name in paths.
//!
//! It has a document of its own, `events/openapi.json`, so that whoever tries all that the document of the reports tells of stores
//! nothing.

use maud::{Markup, html};
use serde_json::{Value as Json, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, Required, Response, ResponseBuilder, ResponsesBuilder,
};

use super::{dates, full_path, metadata, openapi};
use crate::api::events::about::{ANSWERS, BODY, FORMS, HEADERS, Holds, REFUSALS, SUMMARY};
use crate::api::events::{ANSWER, OPERATION, PATH};
use crate::api::wire::response_status::ERROR_RESPONSE;
use crate::ingest::decode::schema::{self, Times};
use crate::model::{Day, Instant};

/// The schema of an event.
const EVENT: &str = "Event";

/// The document, on a day, of a server that takes events from an instant on.
pub(super) fn document(earliest: Instant, today: Day) -> Vec<u8> {
    let paths = PathsBuilder::new().path(full_path(PATH), PathItem::new(HttpMethod::Post, operation()));
    let components = ComponentsBuilder::new().schema(EVENT, openapi::schema(event(earliest, today)));
    let description = "Sending usage events (CloudEvents). /api/docs is the same for people.";
    openapi::document(description, paths, [&ANSWER], components)
}

/// What an event must be that is sent on a day.
fn event(earliest: Instant, today: Day) -> Json {
    // The first year of which no instant is too early.
    let first_year =
        (1970..9999).find(|year| Instant::parse_rfc3339(&format!("{year}-01-01T00:00:00Z")) >= Some(earliest));
    schema::event(&Times {
        of_events: dates::instant_before(first_year.unwrap_or(i32::MAX), today),
        any: dates::instant(),
        or_date: dates::date_or_instant(),
    })
}

fn operation() -> Operation {
    let body = FORMS.iter().fold(RequestBodyBuilder::new(), |body, (content_type, holds, _)| {
        let schema = match holds {
            Holds::Event => openapi::reference(EVENT),
            Holds::Events => json!({"type": "array", "items": openapi::reference(EVENT)}),
            Holds::Lines => json!({"type": "string"}),
        };
        body.content(*content_type, ContentBuilder::new().schema(Some(openapi::schema(schema))).build())
    });
    let told = ANSWERS.iter().map(|(status, meaning)| (*status, answer(status, meaning)));
    let refused = REFUSALS.iter().map(|(status, meaning)| (*status, openapi::error(status, meaning)));
    let responses = told
        .chain(refused)
        .fold(ResponsesBuilder::new(), |responses, (status, response)| responses.response(status, response));
    OperationBuilder::new()
        .operation_id(Some(OPERATION))
        .summary(Some(SUMMARY))
        .parameters(Some(HEADERS.map(header)))
        .request_body(Some(body.description(Some(BODY)).required(Some(Required::True)).build()))
        .responses(responses.build())
        .build()
}

fn header(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("An attribute in binary mode; otherwise it is not looked at."))
        .schema(Some(openapi::schema(json!({"type": "string"}))))
        .build()
}

fn answer(status: &str, meaning: &str) -> Response {
    let content = match status {
        // A body that can't be told apart is refused as a whole.
        "400" => json!({"anyOf": [openapi::reference(ANSWER.name), openapi::reference(ERROR_RESPONSE.name)]}),
        _ => openapi::reference(ANSWER.name),
    };
    ResponseBuilder::new()
        .description(meaning)
        .header("X-Request-Id", openapi::text_header())
        .content("application/json", Content::new(Some(openapi::schema(content))))
        .build()
}

/// The same, to be read.
pub(super) fn described() -> Markup {
    html! {
        h2 id=(OPERATION) { (OPERATION) }
        p { (SUMMARY) }
        table { tr { th { "Route" } td { code { "POST " (full_path(PATH)) } } } }
        h3 { "Body" }
        p { (BODY) }
        table {
            tr { th { "Content type" } th { "Body" } }
            @for (content_type, _, holds) in FORMS { tr { td { code { (content_type) } } td { (holds) } } }
            tr { td { code { "application/json" } } td { "the data of an event, with the headers " code { (HEADERS.join(", ")) } } }
        }
        h3 { "Answers" }
        table {
            tr { th { "Status" } th { "Document" } th { "Meaning" } }
            @for (status, meaning) in ANSWERS { tr { td { (status) } td { (ANSWER.name) } td { (meaning) } } }
            @for (status, meaning) in REFUSALS { tr { td { (status) } td { (ERROR_RESPONSE.name) } td { (meaning) } } }
        }
        h3 { (ANSWER.name) }
        (metadata::members(&ANSWER))
    }
}
