//! Per-user reports, as clients meet them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::api::{ACME, BLOCKED, INGESTED, World, fill};
use super::stores::{On, on_each_store};

on_each_store!(
    async users_come_with_what_they_did_in_the_period,
    users_are_filtered_and_come_by_page,
    one_user_is_told_also_without_a_deed,
    what_can_not_be_told_of_users_is_refused,
);

const ANNA: &str = "00000000000000000000000000000011";
const BEN: &str = "00000000000000000000000000000012";
const CARA: &str = "00000000000000000000000000000013";

fn event(id: &str, kind: &str, time: &str, data: &Value) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/users", "type": kind, "subject": ACME, "time": time, "data": data}).to_string()
}

/// Anna, who is a Professional, invites Cara, and they write to each other and to Ben, who is a guest.
async fn world(on: On) -> World {
    let world = World::new(on).await;
    let invited = json!({
        "userGuid": CARA, "groupType": "Guest", "groupName": "Friends", "groupGuid": "000000000000000000000000000000ee",
        "emailAddress": "cara@b.example", "firstName": "Cara", "lastName": "=Sum(1)",
        "invitedByUserGuid": ANNA, "invitedByEmailAddress": "anna@a.example",
    });
    let message = |number: u8, from: &str, to: &[&str], sizes: &[u64]| {
        let guid = |prefix: u8| format!("{prefix:02x}{number:030x}");
        let attachments: Vec<Value> =
            sizes.iter().map(|size| json!({"attachmentGuid": guid(0xa0), "sizeBytes": size})).collect();
        json!({"messageGuid": guid(0xb0), "userGuid": from, "recipientUserGuids": to, "attachments": attachments})
    };
    let lines = [
        event(
            "u1",
            "user.updated",
            "2026-03-02T10:00:00Z",
            &json!({"userGuid": ANNA, "emailAddress": "anna@a.example", "isAlias": true}),
        ),
        event("u2", "user.invited", "2026-03-02T11:00:00Z", &invited),
        event("u3", "user.registered", "2026-03-03T10:00:00Z", &json!({"userGuid": CARA})),
        event("u4", "user.loggedIn", "2026-03-03T10:01:00Z", &json!({"userGuid": CARA, "toolbarVersion": "7.1"})),
        event("m1", "message.sent", "2026-03-03T11:00:00Z", &message(1, ANNA, &[CARA, BEN, CARA], &[10, 20])),
        event("m2", "message.sent", "2026-03-03T12:00:00Z", &message(2, CARA, &[ANNA], &[])),
        event("m2", "message.sent", "2026-03-03T12:00:00Z", &message(2, CARA, &[ANNA], &[])),
        event(
            "r1",
            "message.retrieved",
            "2026-03-03T13:00:00Z",
            &json!({"messageGuid": "b0000000000000000000000000000002", "userGuid": ANNA}),
        ),
        event("m3", "message.sent", "2026-03-03T14:00:00Z", &message(3, CARA, &[BEN], &[])),
        event(
            "v3",
            "event.voided",
            "2026-03-03T15:00:00Z",
            &json!({"source": "/users", "id": "m3", "time": "2026-03-03T14:00:00Z"}),
        ),
    ];
    fill(world.dir.path(), &world.config, INGESTED, &(lines.join("\n") + "\n")).await;
    world
}

fn users(query: &str) -> String {
    format!("/api/services/{ACME}/users/usage?{query}")
}

async fn users_come_with_what_they_did_in_the_period(on: On) {
    let world = Box::pin(world(on)).await;
    let answer = world.get(&users("")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let numbers = |sent: u8, received: u8, attachments: u8, size: u16, accepted: u8| {
        format!(
            r#""totalMessagesSent":{sent},"totalMessagesReceived":{received},"totalAttachmentsCount":{attachments},"totalAttachmentsSize":{size},"totalInvitationsSent":0,"totalInvitationsAccepted":{accepted}"#
        )
    };
    let anna = format!(
        r#"{{"userGuid":"{ANNA}","emailAddress":"anna@a.example","isAlias":true,"status":"Active","createdOn":"2026-03-02T08:00:00Z","registeredOn":"2026-03-02T08:00:00Z","groupType":"Professional",{},"lastMsgSent":"2026-03-03T11:00:00Z","lastMsgRetrieved":"2026-03-03T13:00:00Z","lastActivity":"2026-03-03T13:00:00Z"}}"#,
        numbers(2, 1, 3, 1030, 1)
    );
    let ben = format!(
        r#"{{"userGuid":"{BEN}","isAlias":false,"status":"Active","createdOn":"2026-03-02T09:00:00Z","groupType":"Guest",{},"lastActivity":"2026-03-03T11:00:00Z"}}"#,
        numbers(0, 1, 0, 0, 0)
    );
    let cara = format!(
        r#"{{"userGuid":"{CARA}","emailAddress":"cara@b.example","isAlias":false,"firstName":"Cara","lastName":"=Sum(1)","status":"Active","createdOn":"2026-03-02T11:00:00Z","registeredOn":"2026-03-03T10:00:00Z","lastLogin":"2026-03-03T10:01:00Z","groupName":"Friends","groupType":"Guest","groupGuid":"000000000000000000000000000000ee",{},"lastToolbarVersion":"7.1","invitedByEmailAddress":"anna@a.example","lastMsgSent":"2026-03-03T12:00:00Z","lastActivity":"2026-03-03T12:00:00Z"}}"#,
        numbers(1, 1, 0, 0, 0)
    );
    let expected = format!(
        r#"{{"pageSize":25,"totalPages":1,"totalItems":3,"currentPage":1,"results":[{anna},{ben},{cara}],"periodType":"Daily","period":"2026-03-03T00:00:00Z","serviceGuid":"{ACME}"}}"#
    );
    assert_eq!(answer.body, expected);
    assert!(answer.header("x-usage-state").is_some() && answer.header("etag").is_some());
    // Each by itself is the same.
    for (user, usage) in [(ANNA, anna), (BEN, ben), (CARA, cara)] {
        let one = world.get(&format!("/api/services/{ACME}/users/{user}/usage")).await;
        let head = format!(r#"{{"serviceGuid":"{ACME}","periodType":"Daily","period":"2026-03-03T00:00:00Z","usage":"#);
        assert_eq!(one.body, format!("{head}{usage}}}"));
    }
    let csv = world.get(&users("format=csv&pageSize=1&page=3")).await.body;
    assert!(csv.contains("'=Sum(1)") && csv.lines().count() == 2, "{csv}");
    let month = world.get(&users("periodType=Monthly")).await.json();
    assert_eq!(month["results"][0]["totalInvitationsSent"], 1);
}

async fn users_are_filtered_and_come_by_page(on: On) {
    let world = Box::pin(world(on)).await;
    let told = async |query: &str| -> Vec<String> {
        let list = world.get(&users(query)).await.json();
        let users = list["results"].as_array().unwrap_or_else(|| panic!("{query}: {list}"));
        users.iter().map(|user| user["userGuid"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        ("userGroupType=professional", vec![ANNA]),
        ("userGroupType=Guest", vec![BEN, CARA]),
        ("userGroupType=1&userStatus=0", vec![BEN, CARA]),
        ("userStatus=Disabled", vec![]),
        ("userGroupGuid=000000000000000000000000000000ee", vec![CARA]),
        ("pageSize=2", vec![ANNA, BEN]),
        ("pageSize=2&page=2", vec![CARA]),
        ("page=9", vec![]),
        ("period=2026-03-02", vec![ANNA, BEN, CARA]),
        ("period=2026-03-01", vec![]),
    ] {
        assert_eq!(told(query).await, expected, "{query}");
    }
    // The file of the event log is all that is needed: also for what waits to be rolled up.
    let disabled = event("d", "user.disabled", "2026-03-03T16:00:00Z", &json!({"userGuid": BEN})) + "\n";
    fill(world.dir.path(), &world.config, INGESTED, &disabled).await;
    assert_eq!(told("userStatus=Disabled").await, [BEN]);
}

async fn one_user_is_told_also_without_a_deed(on: On) {
    let world = Box::pin(world(on)).await;
    let quiet = world.get(&format!("/api/services/{ACME}/users/{CARA}/usage?period=2026-03-04")).await.json();
    assert_eq!((&quiet["usage"]["totalMessagesSent"], &quiet["usage"]["firstName"]), (&json!(0), &json!("Cara")));
    let missing = world.get(&format!("/api/services/{ACME}/users/{CARA}/usage?period=2026-03-01")).await.error();
    assert!(missing.starts_with("404 ") && missing.contains("there is no user"), "{missing}");
}

async fn what_can_not_be_told_of_users_is_refused(on: On) {
    let world = World::new(on).await;
    for (path, status, told) in [
        (users("asOf=2026-03-04"), "400 ", "leave AsOf out"),
        (users("userStatus=Sleepy"), "400 ", "'Sleepy' is an Invalid value for 'UserStatus'"),
        (users("period=2026-03-05"), "400 ", "in the future"),
        (format!("/api/services/{BLOCKED}/users/usage"), "403 ", "Blocked"),
        (format!("/api/services/{BLOCKED}/users/{ANNA}/usage"), "403 ", "Blocked"),
        (format!("/api/services/{}/users/usage", "7".repeat(32)), "404 ", "there is no service"),
    ] {
        let error = world.get(&path).await.error();
        assert!(error.starts_with(status) && error.contains(told), "{path}: {error}");
    }
}
