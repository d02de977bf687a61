//! The pages at which the original tells of its operations: an index, and one for each operation and format.

use maud::{DOCTYPE, Markup, html};

use super::{full_path, sample};
use crate::api::about::{Gives, Need, Param};
use crate::api::format::Format;
use crate::api::routes::{ROUTES, Route};
use crate::api::wire::document::{Kind, Member, Type};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #ddd;\
vertical-align:top}pre{background:#f4f4f4;padding:1rem;overflow:auto}code{background:#f4f4f4}a{color:#0645ad}h2{margin-top:2.5rem}";
const FORMATS: [&str; 4] = ["json", "xml", "csv", "jsv"];

/// A page of ours: nothing in it comes from elsewhere.
pub(super) fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

pub(super) fn index() -> Markup {
    let body = html! {
        h1 { "Operations" }
        p { a href="/api/docs" { "Reference" } " · " a href="/api/openapi.json" { "OpenAPI" } }
        table {
            @for route in ROUTES {
                tr {
                    td { b { (route.operation) } }
                    @for format in FORMATS {
                        td { a href={ "/api/" (format) "/metadata?op=" (route.operation) } { (format.to_uppercase()) } }
                    }
                    td { code { "GET " (full_path(route.path)) } }
                }
            }
        }
    };
    page("Operations", &body)
}

pub(super) fn operation(route: &Route, format: &str) -> Markup {
    let body = html! {
        p { a href="/api/metadata" { "All operations" } }
        h1 { (route.operation) }
        (described(route))
        h3 { "Example" }
        p { "As " (format.to_uppercase()) "; other formats by a suffix of the path, " code { "?format=" } " or " code { "Accept" } "." }
        pre { "GET /api/" (format) "/reply/" (route.operation) " HTTP/1.1\nAuthorization: Bearer KEY\n" }
        @if let Gives::Document(of) | Gives::Report(of) = route.about.gives {
            @if let Some(format) = Format::named(format) {
                pre { "HTTP/1.1 200 OK\nContent-Type: " (format.content_type()) "\n\n" (String::from_utf8_lossy(&format.write(&sample::of(of)))) }
            }
        }
    };
    page(route.operation, &body)
}

/// What an operation is, takes and gives.
pub(super) fn described(route: &Route) -> Markup {
    html! {
        p { (route.about.summary) }
        table {
            tr { th { "Route" } td { code { "GET " (full_path(route.path)) } } }
            tr { th { "By name" } td { code { "GET /api/{json,xml,csv,jsv}/reply/" (route.operation) } " and " code { "GET /api/" (route.operation) } } }
        }
        @if !route.about.takes.is_empty() {
            h3 { "Parameters" }
            table {
                tr { th { "Name" } th { "In" } th { "Type" } th { "Default" } th { "Meaning" } }
                @for param in route.about.takes { (parameter(param)) }
            }
        }
        @match route.about.gives {
            Gives::Document(of) | Gives::Report(of) => { h3 { (of.name) } (members(of)) }
            Gives::Rows => p { "Answers rows as CSV or NDJSON." }
        }
    }
}

fn parameter(param: &Param) -> Markup {
    let (place, default) = match param.need {
        Need::Path => ("path", "required"),
        Need::Required => ("query", "required"),
        Need::Optional => ("query", ""),
        Need::Default(default) => ("query", default),
    };
    html! {
        tr { td { code { (param.name) } } td { (place) } td { (param.kind.name()) } td { (default) } td { (param.meaning) } }
    }
}

pub(super) fn members(of: &Type) -> Markup {
    html! {
        table {
            tr { th { "Member" } th { "Type" } th { "Present" } }
            @for member in of.all_members() {
                tr { td { code { (member.name) } } td { (held(member)) } td { @if member.always { "always" } @else { "if set" } } }
            }
        }
    }
}

fn held(member: &Member) -> Markup {
    let link = |of: &Type| html! { a href={ "/api/docs#" (of.name) } { (of.name) } };
    match &member.kind {
        Kind::Text => html! { "string" },
        Kind::Guid => html! { "Guid" },
        Kind::DateTime => html! { "DateTime" },
        Kind::Flag => html! { "boolean" },
        Kind::Double => html! { "double" },
        Kind::Integer => html! { "integer" },
        Kind::Choice(choice) => html! { (choice.name) ": " (choice.values.join(", ")) },
        Kind::Object(of) => link(of),
        Kind::List(of) => html! { "list of " (link(of)) },
    }
}
