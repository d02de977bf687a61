//! The whole reference on one page.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{answered, events, metadata};
use crate::api::events::{ANSWER, OPERATION};
use crate::api::routes::ROUTES;
use crate::api::wire::document::{Kind, Type};
use crate::api::wire::response_status::ERROR_RESPONSE;

pub(super) fn page() -> Markup {
    let body = html! {
        h1 { "API reference" }
        p {
            "Send an API key with each request, as " code { "Authorization: Bearer KEY" } ", as the password of Basic, or as "
            code { "X-ss-id" } ". " code { "usage-rollup keys create" } " makes one. "
            a href="/api/openapi.json" { "OpenAPI" } " · " a href="/api/metadata" { "Operations by format" }
        }
        p {
            "Names of parameters match in any case; what is empty or unknown is not looked at. Dates are "
            code { "2026-03-04" } " or " code { "2026-03-04T05:06:07Z" } ". Documents come as JSON, XML, CSV or JSV: by a suffix of the path, "
            code { "?format=" } " or " code { "Accept" } "; " code { "?callback=" } " makes it JSONP."
        }
        ul {
            @for route in ROUTES { li { a href={ "#" (route.operation) } { (route.operation) } } }
            li { a href={ "#" (OPERATION) } { (OPERATION) } }
        }
        @for route in ROUTES {
            h2 id=(route.operation) { (route.operation) }
            (metadata::described(route))
        }
        (events::described())
        h2 { "Types" }
        @for of in inner_types().values() {
            h3 id=(of.name) { (of.name) }
            (metadata::members(of))
        }
    };
    metadata::page("API reference", &body)
}

/// Types that are members of others, and what errors are told in.
fn inner_types() -> BTreeMap<&'static str, &'static Type> {
    let mut types = BTreeMap::from([(ERROR_RESPONSE.name, &ERROR_RESPONSE)]);
    let mut open: Vec<&'static Type> = answered().chain([&ERROR_RESPONSE, &ANSWER]).collect();
    while let Some(of) = open.pop() {
        for member in of.all_members() {
            if let Kind::Object(inner) | Kind::List(inner) = member.kind
                && types.insert(inner.name, inner).is_none()
            {
                open.push(inner);
            }
        }
    }
    types
}
