//! Every route, in all its forms, asked by every kind of principal.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use usage_rollup::api;
use usage_rollup::store::Role;
use uuid::Uuid;

use super::api::{ACME, INGESTED, PARTNER, RESELLER, World, instant, request};
use super::stores::{On, on_each_store};

on_each_store!(async every_route_answers_every_principal_as_its_role_has_it, hidden_resellers_are_as_if_they_were_not);

/// In the order of the columns of [`EXPECTED`].
const PRINCIPALS: [&str; 12] = [
    "SuperUser",
    "Partner, in scope",
    "Partner, out of scope",
    "Reseller, in scope",
    "Reseller, out of scope",
    "Service, in scope",
    "Service, out of scope",
    "Service, without a scope",
    "expired",
    "revoked",
    "malformed",
    "none",
];

/// By operation: the status, and of lists the total.
const EXPECTED: [(&str, [&str; 12]); 12] = [
    ("GetServiceUsage", ["200", "200", "403", "200", "403", "200", "403", "403", "401", "401", "401", "401"]),
    (
        "GetServicesUsage",
        ["200 2", "200 1", "200 0", "200 1", "200 0", "200 1", "200 0", "200 0", "401", "401", "401", "401"],
    ),
    (
        "GetResellerServiceUsage",
        ["200 1", "200 1", "403", "200 1", "403", "403", "403", "403", "401", "401", "401", "401"],
    ),
    ("GetService", ["200", "200", "403", "200", "403", "200", "403", "403", "401", "401", "401", "401"]),
    (
        "SearchServices",
        ["200 4", "200 2", "200 0", "200 1", "200 0", "200 1", "200 0", "200 0", "401", "401", "401", "401"],
    ),
    (
        "GetServiceUsersUsage",
        ["200 1", "200 1", "403", "200 1", "403", "200 1", "403", "403", "401", "401", "401", "401"],
    ),
    ("GetServiceUserUsage", ["200", "200", "403", "200", "403", "200", "403", "403", "401", "401", "401", "401"]),
    (
        "GetPartnerServiceUserCountReport",
        ["200 2", "200 2", "403", "403", "403", "403", "403", "403", "401", "401", "401", "401"],
    ),
    (
        "GetResellerServiceUserCountReport",
        ["200 1", "200 1", "403", "200 1", "403", "403", "403", "403", "401", "401", "401", "401"],
    ),
    (
        "SearchServiceStatusChanges",
        ["200 3", "200 2", "200 0", "200 1", "200 0", "200 1", "200 0", "200 0", "401", "401", "401", "401"],
    ),
    ("ExportUsage", ["200", "200", "200", "200", "200", "200", "200", "200", "401", "401", "401", "401"]),
    ("Ping", ["200", "200", "200", "200", "200", "200", "200", "200", "401", "401", "401", "401"]),
];

/// The credentials of each principal, as `Authorization` has them.
async fn credentials(world: &World) -> Vec<Option<String>> {
    let (acme, elsewhere) = (Uuid::parse_str(ACME).unwrap(), Uuid::from_u128(0xee));
    let mut keys = Vec::new();
    for (role, scope) in [
        (Role::SuperUser, None),
        (Role::Partner, Some(PARTNER)),
        (Role::Partner, Some(elsewhere)),
        (Role::Reseller, Some(RESELLER)),
        (Role::Reseller, Some(elsewhere)),
        (Role::Service, Some(acme)),
        (Role::Service, Some(elsewhere)),
        (Role::Service, None),
    ] {
        keys.push(world.key(role, scope, None).await);
    }
    keys.push(world.key(Role::SuperUser, None, Some(instant(INGESTED))).await);
    let before: BTreeSet<String> = world.store.keys().await.unwrap().into_iter().map(|key| key.id).collect();
    keys.push(world.key(Role::SuperUser, None, None).await);
    let revoked = world.store.keys().await.unwrap().into_iter().find(|key| !before.contains(&key.id)).unwrap();
    assert!(world.store.revoke_key(&revoked.id, instant(INGESTED)).await.unwrap());
    keys.push("ur_'; DROP TABLE api_keys; --".to_owned());
    keys.into_iter().map(|key| Some(format!("Bearer {key}"))).chain([None]).collect()
}

/// A route in all its forms, about [`ACME`] and [`RESELLER`].
fn forms(operation: &str, path: &str) -> Vec<String> {
    let (reseller, partner) = (RESELLER.simple().to_string(), PARTNER.simple().to_string());
    let user = Uuid::from_u128(0x11).simple().to_string();
    let path = path.replace("{ServiceGuid}", ACME).replace("{UserGuid}", &user);
    let path = path.replace("{ResellerGuid}", &reseller).replace("{PartnerGuid}", &partner);
    assert!(!path.contains('{'), "{path} has a variable that the test must fill");
    let required = if operation.ends_with("UserCountReport") { "?startPeriod=2026-02-01" } else { "" };
    let query = match operation {
        "GetServiceUsage" | "GetService" | "GetServiceUsersUsage" => format!("?ServiceGuid={ACME}"),
        "GetServiceUserUsage" => format!("?serviceGuid={ACME}&userGuid={user}"),
        "GetResellerServiceUsage" => format!("?resellerGuid={reseller}"),
        "GetResellerServiceUserCountReport" => format!("{required}&resellerGuid={reseller}"),
        "GetPartnerServiceUserCountReport" => format!("{required}&partnerGuid={partner}"),
        _ => String::new(),
    };
    // Rows have formats of their own.
    let formats: &[&str] = if operation == "ExportUsage" { &["csv"] } else { &["json", "xml", "csv", "jsv"] };
    let by_format = formats.iter().map(|format| format!("/api/{format}/reply/{operation}{query}"));
    let by_name = [format!("/api/{operation}{query}"), format!("/{operation}{query}")];
    [format!("/api/{path}{required}"), format!("/{path}/{required}"), format!("/api/api/{path}{required}")]
        .into_iter()
        .chain(by_name)
        .chain(by_format)
        .collect()
}

async fn every_route_answers_every_principal_as_its_role_has_it(on: On) {
    let world = World::with(on, &[]).await;
    let credentials = credentials(&world).await;
    assert_eq!(credentials.len(), PRINCIPALS.len());
    let expected: BTreeMap<&str, [&str; 12]> = EXPECTED.into_iter().collect();
    let served: BTreeSet<&str> = api::operations().map(|(operation, _)| operation).collect();
    assert_eq!(served, expected.keys().copied().collect(), "every route has a row");
    for (operation, path) in api::operations() {
        for form in forms(operation, path) {
            for ((principal, credentials), expected) in PRINCIPALS.iter().zip(&credentials).zip(expected[operation]) {
                let header = credentials.as_ref().map(|credentials| ("authorization", credentials.as_str()));
                let headers: Vec<(&str, &str)> = header.into_iter().collect();
                let answer = world.ask(INGESTED, request(Method::GET, &form, &headers)).await;
                let status = answer.status.as_u16();
                let told = match answer.header("content-type") {
                    Some("application/json; charset=utf-8") if expected.contains(' ') => {
                        format!("{status} {}", answer.number("totalItems"))
                    }
                    _ => status.to_string(),
                };
                assert!(expected.starts_with(&told), "{principal}: {form}: {told} {}", answer.body);
                if status == 200 {
                    continue;
                }
                answer.error();
                assert!(!answer.body.contains("Acme"), "{principal}: {form}: {}", answer.body);
            }
        }
    }
}

async fn hidden_resellers_are_as_if_they_were_not(on: On) {
    let world = World::with(on, &[("api.hide_forbidden", "true")]).await;
    let key = world.key(Role::Reseller, Some(Uuid::from_u128(0xee)), None).await;
    let list = |reseller: Uuid| format!("/api/resellers/{}/serviceusagelist", reseller.simple());
    let (known, unknown) = (RESELLER, Uuid::from_u128(0x77));
    let there = world.get_with(&key, &list(known)).await.error();
    let missing = world.get_with(&key, &list(unknown)).await.error();
    assert_eq!(there.replace(&known.simple().to_string(), &unknown.simple().to_string()), missing);
    assert!(missing.starts_with("404 ") && missing.contains("there is no reseller"), "{missing}");
}
