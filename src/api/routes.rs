//! Every route on one page, and how a path finds its own (`spec/api.md`, sections 1 and 6, rules 10 to 12 and 14).

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::routing::get;
use percent_encoding::percent_decode_str;

use super::about::About;
use super::error::ApiError;
use super::format::Format;
use super::operations::{
    export_usage, get_partner_service_user_count_report, get_reseller_service_usage,
    get_reseller_service_user_count_report, get_service, get_service_usage, get_service_user_usage,
    get_service_users_usage, get_services_usage, ping, search_service_status_changes, search_services,
};
use super::reply::Reply;
use super::{Api, Call, operators};

/// The routes, below the prefix `/api`: the operation, its path, and the file of `operations` that answers it. The method of
/// all of them is GET.
pub(super) static ROUTES: &[Route] = &[
    Route::new("GetServiceUsage", "services/{ServiceGuid}/serviceusage", &get_service_usage::ABOUT, |call| {
        Box::pin(get_service_usage::handle(call))
    }),
    Route::new("GetServiceUsersUsage", "services/{ServiceGuid}/users/usage", &get_service_users_usage::ABOUT, |call| {
        Box::pin(get_service_users_usage::handle(call))
    }),
    Route::new(
        "GetServiceUserUsage",
        "services/{ServiceGuid}/users/{UserGuid}/usage",
        &get_service_user_usage::ABOUT,
        |call| Box::pin(get_service_user_usage::handle(call)),
    ),
    Route::new("GetServicesUsage", "services/usage", &get_services_usage::ABOUT, |call| {
        Box::pin(get_services_usage::handle(call))
    }),
    Route::new(
        "GetResellerServiceUsage",
        "resellers/{ResellerGuid}/serviceusagelist",
        &get_reseller_service_usage::ABOUT,
        |call| Box::pin(get_reseller_service_usage::handle(call)),
    ),
    Route::new(
        "GetPartnerServiceUserCountReport",
        "partners/{PartnerGuid}/serviceusercountreport",
        &get_partner_service_user_count_report::ABOUT,
        |call| Box::pin(get_partner_service_user_count_report::handle(call)),
    ),
    Route::new(
        "GetResellerServiceUserCountReport",
        "resellers/{ResellerGuid}/serviceusercountreport",
        &get_reseller_service_user_count_report::ABOUT,
        |call| Box::pin(get_reseller_service_user_count_report::handle(call)),
    ),
    Route::new("GetService", "services/{ServiceGuid}", &get_service::ABOUT, |call| Box::pin(get_service::handle(call))),
    Route::new("SearchServiceStatusChanges", "services/status", &search_service_status_changes::ABOUT, |call| {
        Box::pin(search_service_status_changes::handle(call))
    }),
    Route::new("SearchServices", "services", &search_services::ABOUT, |call| Box::pin(search_services::handle(call))),
    Route::new("ExportUsage", "export", &export_usage::ABOUT, |call| Box::pin(export_usage::handle(call))),
    Route::new("Ping", "ping", &ping::ABOUT, |call| Box::pin(ping::handle(call))),
];

/// What operators ask for, beside the API.
pub(super) fn for_operators() -> Router<Arc<Api>> {
    Router::new()
        .route("/healthz", get(operators::health))
        .route("/readyz", get(operators::readiness))
        .route("/metrics", get(operators::metrics))
}

/// What every route above takes, as the header `Allow` has it. Beside them there is `POST events` ([`super::events`]), which has neither
/// parameters nor formats, and the pages about the API ([`super::tell`]).
pub(super) const ALLOW: &str = "GET, HEAD, OPTIONS";

/// The answer of an operation that is under way.
type Handled = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send>>;

#[derive(Debug)]
pub(super) struct Route {
    pub operation: &'static str,
    pub path: &'static str,
    pub about: &'static About,
    pub handler: fn(Call) -> Handled,
}

impl Route {
    const fn new(
        operation: &'static str,
        path: &'static str,
        about: &'static About,
        handler: fn(Call) -> Handled,
    ) -> Self {
        Self { operation, path, about, handler }
    }
}

/// A route that was found, with what stands in the path for its variables.
#[derive(Debug)]
pub(super) struct Found<'r> {
    pub route: &'r Route,
    pub variables: Vec<(&'static str, String)>,
    /// The format that a suffix of the path names, which nothing overrules.
    pub suffix: Option<Format>,
    /// The format that a segment of the path names.
    pub format: Option<Format>,
}

/// A client may hold the base URL with the prefix and add it once more.
const PREFIX: &str = "api";
const PREFIXES: usize = 2;

/// Finds the route of a request. HEAD goes where GET goes, and OPTIONS may be asked of any route.
///
/// # Errors
/// When no route has this path, or the one that has it takes another method.
pub(super) fn find<'r>(routes: &'r [Route], method: &Method, path: &str) -> Result<Found<'r>, ApiError> {
    let mut segments = below_prefix(path);
    let segments = segments.as_mut_slice();
    let suffix = segments.last_mut().and_then(take_suffix);
    // Fewer variables win, so that literals beat them.
    let by_path = routes
        .iter()
        .filter_map(|route| {
            Some(Found { route, variables: variables(route.path, segments)?, suffix: None, format: None })
        })
        .min_by_key(|found| found.variables.len());
    let found = by_path.or_else(|| by_name(routes, segments)).ok_or(ApiError::NoSuchRoute)?;
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Err(ApiError::MethodNotAllowed(ALLOW));
    }
    Ok(Found { suffix, ..found })
}

/// The segments of a path behind the prefix. They are split first: a slash that is escaped is part of its segment.
pub(super) fn below_prefix(path: &str) -> Vec<String> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut segments: Vec<String> =
        segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect();
    let prefixes = segments.iter().take(PREFIXES).take_while(|segment| segment.eq_ignore_ascii_case(PREFIX)).count();
    segments.drain(..prefixes);
    segments
}

/// Takes a suffix that names a format off the last segment.
fn take_suffix(segment: &mut String) -> Option<Format> {
    let (name, suffix) = segment.rsplit_once('.')?;
    let (format, length) = (Format::named(suffix)?, name.len());
    segment.truncate(length);
    Some(format)
}

/// What stands for a template's variables in a path that fits it.
fn variables(template: &'static str, segments: &[String]) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&'static str> = template.split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut variables = Vec::new();
    for (part, segment) in parts.into_iter().zip(segments) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => variables.push((name, segment.clone())),
            None if part.eq_ignore_ascii_case(segment) => {}
            None => return None,
        }
    }
    Some(variables)
}

/// The routes that ServiceStack has by itself: `json/reply/{Op}`, the same for other formats, and `{Op}` alone, as
/// today's clients have it. All their
/// parameters are in the query.
fn by_name<'r>(routes: &'r [Route], segments: &[String]) -> Option<Found<'r>> {
    let (format, operation) = match segments {
        [operation] => (None, operation),
        [format, reply, operation] if reply.eq_ignore_ascii_case("reply") => {
            (Some(Format::named(&format.to_ascii_lowercase())?), operation)
        }
        _ => return None,
    };
    let route = routes.iter().find(|route| route.operation.eq_ignore_ascii_case(operation))?;
    Some(Found { route, variables: Vec::new(), suffix: None, format })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn route(operation: &'static str, path: &'static str) -> Route {
        Route::new(operation, path, &ping::ABOUT, |call| Box::pin(ping::handle(call)))
    }

    /// With a variable before the literals that it must give way to.
    static TABLE: &[Route] = &[
        route("GetService", "services/{ServiceGuid}"),
        route("GetServicesUsage", "services/usage"),
        route("GetServiceUsage", "services/{ServiceGuid}/serviceusage"),
        route("GetServiceUserUsage", "services/{ServiceGuid}/users/{UserGuid}/usage"),
        route("Ping", "ping"),
    ];

    fn look(method: &Method, path: &str) -> String {
        match find(TABLE, method, path) {
            Ok(found) => {
                let variables = found.variables.iter().map(|(name, value)| format!(" {name}={value}"));
                let formats = [("suffix", found.suffix), ("format", found.format)];
                let formats = formats.into_iter().filter_map(|(from, format)| Some(format!(" {from}={:?}", format?)));
                format!("{}{}", found.route.operation, variables.chain(formats).collect::<String>())
            }
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn a_path_finds_its_route_in_every_spelling() {
        for (path, expected) in [
            ("/api/services/usage", "GetServicesUsage"),
            ("/api/SERVICES/Usage/", "GetServicesUsage"),
            ("/services/usage", "GetServicesUsage"),
            ("/api/api/services/usage", "GetServicesUsage"),
            ("/API/Api//services///usage//", "GetServicesUsage"),
            ("/api/services/42", "GetService ServiceGuid=42"),
            ("/api/services/42/ServiceUsage", "GetServiceUsage ServiceGuid=42"),
            ("/api/services/a%2Fb%20+%FF/serviceusage", "GetServiceUsage ServiceGuid=a/b +\u{fffd}"),
            ("/api/services/usage/serviceusage", "GetServiceUsage ServiceGuid=usage"),
            ("/services/1/users/2/usage", "GetServiceUserUsage ServiceGuid=1 UserGuid=2"),
            ("/api/GetServiceUsage", "GetServiceUsage"),
            ("/GETSERVICEUSAGE/", "GetServiceUsage"),
            ("/api/api/getserviceusage", "GetServiceUsage"),
            ("/api/json/reply/GetServiceUsage", "GetServiceUsage format=Json"),
            ("/JSON/Reply/getServiceUsage", "GetServiceUsage format=Json"),
            ("/api/api/json/reply/Ping", "Ping format=Json"),
            ("/api/Xml/reply/Ping", "Ping format=Xml"),
            ("/csv/reply/Ping.jsv/", "Ping suffix=Jsv format=Csv"),
            ("/api/ping.csv", "Ping suffix=Csv"),
            ("/api/services/42.json", "GetService ServiceGuid=42 suffix=Json"),
            ("/api/services/4.2", "GetService ServiceGuid=4.2"),
            ("/api/services/usage.xml", "GetServicesUsage suffix=Xml"),
            ("/api/p%69ng", "Ping"),
        ] {
            assert_eq!(look(&Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for path in [
            "",
            "/",
            "/api",
            "/api/api",
            "/api/api/api/ping",
            "/api/services",
            "/api/html/reply/Ping",
            "/api/JSON.xml/reply/Ping",
            "/api/ping.html",
            "/api/ping.JSON",
            "/api/services/1/2/3",
            "/api/json/reply",
            "/api/json/reply/Nothing",
            "/api/json/oneway/Ping",
            "*",
            "/api/services%2Fusage",
            "/%",
            "/%zz",
            "/\u{130}",
        ] {
            assert_eq!(look(&Method::GET, path), "NoSuchRoute", "{path}");
        }
    }

    #[test]
    fn a_route_takes_get_head_and_options() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert_eq!(look(&method, "/api/ping"), "Ping");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
            assert!(look(&method, "/api/json/reply/ping").starts_with("MethodNotAllowed"));
            assert_eq!(look(&method, "/api/pong"), "NoSuchRoute");
        }
    }

    #[test]
    fn operations_have_one_route_each() {
        let names: std::collections::BTreeSet<String> =
            ROUTES.iter().map(|route| route.operation.to_lowercase()).collect();
        assert_eq!(names.len(), ROUTES.len());
    }
}
