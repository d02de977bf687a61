//! After an erasure no file of the data directory, and no row of the database, has a byte of what was erased (`docs/erasure.md`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use usage_rollup::event_log::UnknownSegment;

use super::backup::{backup, files, restore};
use super::crash::parts;
use super::stores::{On, on_each_store, server};
use super::support::Binary;

on_each_store!(
    nothing_of_an_erased_user_is_left_and_nothing_comes_back,
    a_kill_while_a_user_is_erased_leaves_nothing_half_done,
    what_is_left_to_be_done_is_named,
    a_backup_of_before_is_erased_once_it_is_restored,
);

const NOW: &str = "2026-04-02T00:00:00Z";
const ZOE: &str = "20e00000-0000-4000-8000-000000000001";
const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
const SECRETS: [&str; 5] = ["zoe.quixote@example.org", "z.quixote@example.net", "Zoëlla", "Quixotini", "Quixotissima"];

fn at<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [["--quiet", "--now", NOW].as_slice(), args].concat()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn line(id: &str, day: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}","subject":"{SERVICE}","time":"2026-03-{day}T10:00:00Z","data":{data}}}"#
    ) + "\n"
}

fn lines() -> String {
    let [first, second, name, family, other] = SECRETS;
    let invited = |name: &str| {
        format!(
            r#"{{"userGuid":"{ZOE}","groupType":"Professional","emailAddress":"{first}","firstName":"{name}","lastName":"{family}"}}"#
        )
    };
    let bob = "b0b00000000040008000000000000001";
    let mut all = vec![
        line("1", "01", "user.invited", &invited(name)),
        line("1", "01", "user.invited", &invited(name)),
        // In conflict with the ones above, and before them in order.
        line("1", "01", "user.invited", &invited("A Zoëlla")),
        line("2", "02", "user.registered", &format!(r#"{{"userGuid":"{ZOE}"}}"#)),
        line(
            "3",
            "03",
            "user.updated",
            &format!(r#"{{"userGuid":"{ZOE}","emailAddress":"{second}","lastName":"{other}"}}"#),
        ),
        line(
            "4",
            "03",
            "user.invited",
            &format!(
                r#"{{"userGuid":"{bob}","groupType":"Guest","firstName":"Bob","emailAddress":"bob@example.org","invitedByUserGuid":"{ZOE}","invitedByEmailAddress":"{first}"}}"#
            ),
        ),
        line(
            "5",
            "04",
            "user.invited",
            &format!(r#"{{"userGuid":"{bob}","groupType":"Guest","invitedByEmailAddress":"{second}"}}"#),
        ),
        line(
            "6",
            "04",
            "message.sent",
            &format!(r#"{{"messageGuid":"{bob}","userGuid":"{ZOE}","recipientUserGuids":["{bob}"]}}"#),
        ),
        // Rejected ones: by a member, by their form, with the address alone, and one that is right once a type is known.
        line("7", "05", "user.updated", &format!(r#"{{"userGuid":"{ZOE}","emailAddress":"{first}","lastName":7}}"#)),
        format!("{{\"userGuid\":\"{}\",\"firstName\":\"{name}\"\n", ZOE.to_uppercase()),
        format!("bounced: <{second}>\n"),
        line("8", "05", "com.acme.updated", &format!(r#"{{"userGuid":"{ZOE}","emailAddress":"{first}"}}"#)),
        "nobody's line\n".to_owned(),
    ];
    all.extend(
        (0..200).map(|number| line(&format!("f{number}"), "02", "feature.used", r#"{"feature":"SecureForms"}"#)),
    );
    all.concat()
}

fn binary(on: On) -> Binary {
    let binary = Binary::new(on);
    fs::write(binary.path("events.ndjson"), lines()).unwrap();
    binary.ok(&at(&["ingest", "events.ndjson"]));
    // A rejected line that went into the log, and left its bytes where it was.
    let config = binary.path("types.toml");
    fs::write(&config, "[ingest.types]\n\"com.acme.updated\" = \"user.updated\"\n").unwrap();
    let replayed =
        binary.command(&at(&["--config", config.to_str().unwrap(), "dead-letters", "replay"])).output().unwrap();
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    binary
}

fn seen(binary: &Binary) -> BTreeMap<&'static str, String> {
    let ledger = json(&String::from_utf8(binary.run(&at(&["status", "--json"])).stdout).unwrap())["ledger"].to_string();
    let verified = binary.run(&at(&["verify"]));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    BTreeMap::from([
        ("daily", binary.ok(&at(&["export", "--period-type", "daily"]))),
        ("monthly", binary.ok(&at(&["export", "--period-type", "monthly"]))),
        ("ledger", ledger),
    ])
}

/// Where one of the secrets stands: in a file as it is, in an event of a segment, or in a row.
fn found(binary: &Binary, on: On) -> Vec<String> {
    let mut found = Vec::new();
    let data = binary.path("data");
    for file in files(&data) {
        let bytes = fs::read(data.join(&file)).unwrap();
        let mut texts = vec![bytes];
        if let Ok(segment) = UnknownSegment::open(&data.join(&file)) {
            segment
                .read(|line| {
                    texts.push(format!("{:?}", line.event).into_bytes());
                    Ok(())
                })
                .unwrap();
        }
        for text in texts {
            found.extend(secrets_in(&text).map(|secret| format!("{secret} in {}", file.display())));
        }
    }
    if on == On::Postgres {
        let tables = binary.sql("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'");
        assert!(tables.len() > 15);
        for table in tables {
            // Bytes as they are, and as PostgreSQL shows them.
            let rows = server().sql(binary.database(), &format!("SELECT t::text FROM {table} t"));
            let hex = |secret: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<String>>().concat();
            found.extend(
                SECRETS
                    .iter()
                    .filter(|secret| rows.contains(*secret) || rows.contains(&hex(secret)))
                    .map(|secret| format!("{secret} in {table}")),
            );
        }
    }
    found
}

fn secrets_in(text: &[u8]) -> impl Iterator<Item = &'static str> {
    SECRETS.into_iter().filter(|secret| memchr::memmem::find(text, secret.as_bytes()).is_some())
}

fn erase(binary: &Binary, code: i32) -> Value {
    let output = binary.run(&at(&["users", "erase", "--json", ZOE]));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    json(&String::from_utf8(output.stdout).unwrap())
}

fn nothing_of_an_erased_user_is_left_and_nothing_comes_back(on: On) {
    let binary = binary(on);
    // What a batch left that was cut short, and what is adopted.
    let segment = files(&binary.path("data/events")).pop_first().unwrap();
    let orphan = "data/events/mixed/00000000000070008000000000000001.parquet";
    fs::create_dir_all(binary.path("data/events/mixed")).unwrap();
    fs::copy(binary.path("data/events").join(&segment), binary.path(orphan)).unwrap();
    binary.ok(&at(&["rollup"]));
    assert_eq!(files(&binary.path("data/orphans")).len(), 1);
    let before = seen(&binary);
    assert!(!found(&binary, on).is_empty());

    let nobody = binary.run(&at(&["users", "erase", "00000000000000000000000000000009"]));
    assert_eq!(nobody.status.code(), Some(1));
    let told = String::from_utf8(nobody.stdout).unwrap();
    assert_eq!(told, "Nothing that is stored names the user 00000000000000000000000000000009.\n");

    let report = erase(&binary, 0);
    assert_eq!(
        (report["lines"].as_u64(), report["deadLetters"].as_u64(), report["orphans"].as_u64()),
        (Some(7), Some(3), Some(1))
    );
    assert_eq!(found(&binary, on), [""; 0]);
    assert_eq!(seen(&binary), before);
    let erased = json(&binary.ok(&["users", "erased", "--json"]));
    assert_eq!((erased["user"].as_str(), erased["endedAt"].as_str()), (Some(ZOE.replace('-', "").as_str()), Some(NOW)));
    let letters: Vec<Value> = binary.ok(&["dead-letters", "list"]).lines().map(json).collect();
    let masked = letters
        .iter()
        .filter(|letter| letter["content"] == "" && letter["detail"] == "the line named a user who was erased");
    assert_eq!((letters.len(), masked.count()), (4, 3));
    assert_eq!(json(&binary.ok(&at(&["dead-letters", "replay"])))["replayed"], 0);

    // Everything comes again: copies, as ever, and as masked.
    let again = json(&binary.ok(&at(&["ingest", "events.ndjson"])));
    assert_eq!((again["stored"].as_u64(), again["rejected"].as_u64()), (Some(0), Some(5)), "{again}");
    assert_eq!(found(&binary, on), [""; 0]);
    let after = seen(&binary);
    assert_eq!((&after["daily"], &after["monthly"]), (&before["daily"], &before["monthly"]));
    assert_eq!(erase(&binary, 0)["lines"], 0);
    assert_eq!(seen(&binary), after);
}

fn a_kill_while_a_user_is_erased_leaves_nothing_half_done(on: On) {
    let original = binary(on);
    let before = seen(&original);
    let saved = original.path("saved");
    backup(&original, &saved);
    let started = Instant::now();
    erase(&original, 0);
    let takes = started.elapsed();
    let mut cut_short = 0;
    for (part, comes_again) in parts(31).take(8).zip([true, false].into_iter().cycle()) {
        let binary = Binary::new(on);
        fs::write(binary.path("events.ndjson"), lines()).unwrap();
        restore(&binary, &saved);
        let mut child = binary.command(&at(&["users", "erase", ZOE])).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * part / (1 << 24));
        child.kill().unwrap();
        child.wait().unwrap();
        let erased = binary.ok(&["users", "erased", "--json"]);
        cut_short += u32::from(erased.contains("\"endedAt\":null"));
        assert_eq!(seen(&binary), before, "killed after {part} / 2^24 of {takes:?}");
        if comes_again {
            // Those who were noted are masked first.
            binary.ok(&at(&["ingest", "events.ndjson"]));
            let after = seen(&binary);
            assert_eq!((&after["daily"], &after["monthly"]), (&before["daily"], &before["monthly"]));
        }
        erase(&binary, 0);
        assert_eq!(found(&binary, on), [""; 0]);
        let after = seen(&binary);
        assert_eq!((&after["daily"], &after["monthly"]), (&before["daily"], &before["monthly"]));
    }
    println!("{cut_short} of 8 were cut short");
}

fn what_is_left_to_be_done_is_named(on: On) {
    let binary = Binary::new(on);
    let inbox = binary.path("data/inbox");
    fs::create_dir_all(&inbox).unwrap();
    fs::write(inbox.join("events.ndjson"), zstd::encode_all(lines().as_bytes(), 1).unwrap()).unwrap();
    binary.ok(&at(&["ingest"]));
    let done = inbox.join("done/events.ndjson");
    assert!(done.exists());
    let report = erase(&binary, 1);
    let left = report["left"].as_array().unwrap();
    assert!(
        left.len() == 1 && left[0].as_str().unwrap().contains("done/events.ndjson names an erased user: remove it"),
        "{left:?}"
    );
    assert!(done.exists(), "it is the operator's");
    fs::remove_file(done).unwrap();
    assert_eq!(erase(&binary, 0)["lines"], 0);
    assert_eq!(found(&binary, on), [""; 0]);
}

fn a_backup_of_before_is_erased_once_it_is_restored(on: On) {
    let original = binary(on);
    let (before, saved) = (seen(&original), original.path("saved"));
    backup(&original, &saved);
    erase(&original, 0);
    let kept =
        |dir: &Path| files(dir).iter().any(|file| secrets_in(&fs::read(dir.join(file)).unwrap()).next().is_some());
    assert!(kept(&saved), "a backup keeps what it holds");
    let restored = Binary::new(on);
    restore(&restored, &saved);
    assert_eq!(restored.ok(&["users", "erased", "--json"]), "");
    erase(&restored, 0);
    assert_eq!(found(&restored, on), [""; 0]);
    assert_eq!(seen(&restored), before);
    // One of after is as it is.
    backup(&original, &saved);
    assert!(!kept(&saved));
}
