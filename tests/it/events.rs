//! Events that are sent to a daemon: each form, each answer, and nothing that was acknowledged is lost or counted twice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::daemon::{Lines, Running, eventually};
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(
    what_is_sent_in_any_form_gives_the_rows_of_a_file,
    each_event_is_answered_for,
    what_was_acknowledged_counts_once_however_often_the_daemon_is_killed,
    what_was_sent_does_not_hurry_the_inbox,
);

const TINY: &str = include_str!("../golden/tiny/events.ndjson");
pub const NOW: &str = "2026-03-10T00:00:00Z";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
pub const NDJSON: &str = "application/x-ndjson";

/// A daemon, the address that it listens on, and a key of a SuperUser.
pub struct Server {
    pub running: Running,
    pub address: String,
    pub key: String,
}

impl Server {
    pub fn start(binary: &Binary) -> Self {
        Self::of(&mut binary.command(&["--now", NOW, "run"]), || key(binary, &["--role", "SuperUser"])).0
    }

    /// That of a command which becomes a daemon, and its log; there is a key once it has started.
    pub fn of(command: &mut Command, key: impl FnOnce() -> String) -> (Self, Lines) {
        let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
        let log = Lines::of(running.0.stderr.take().unwrap());
        let started = log.with("api=http://");
        let address = started.split("api=http://").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let server = Self { running, address, key: key() };
        eventually("it takes events", || (server.post(NDJSON, "", "").0 == 202).then_some(()));
        (server, log)
    }

    pub fn post(&self, content_type: &str, headers: &str, body: &str) -> (u16, String) {
        post(&self.address, &self.key, content_type, headers, body.as_bytes()).unwrap()
    }
}

pub fn key(binary: &Binary, of: &[&str]) -> String {
    printed_key(&binary.ok(&[&["keys", "create"], of].concat()))
}

/// The key in what `keys create` prints.
pub fn printed_key(printed: &str) -> String {
    let key: Value = serde_json::from_str(printed).unwrap();
    key["key"].as_str().unwrap().to_owned()
}

/// Status and body of a POST; none where the server went away.
fn post(address: &str, key: &str, content_type: &str, headers: &str, body: &[u8]) -> Option<(u16, String)> {
    let answer = send(address, "POST", key, content_type, headers, body)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The whole answer to a request; none where the server went away.
pub fn send(address: &str, method: &str, key: &str, content_type: &str, headers: &str, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} /api/events HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    // It may answer before it has read all.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

fn new(on: On) -> Binary {
    Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0")
}

pub fn exported(binary: &Binary) -> [String; 2] {
    ["daily", "monthly"].map(|of| binary.ok(&["--now", NOW, "export", "--period-type", of]))
}

/// The rows that one `ingest` of these lines gives.
pub fn expected(lines: &str) -> [String; 2] {
    let binary = Binary::new(On::Sqlite);
    std::fs::write(binary.path("events.ndjson"), lines).unwrap();
    binary.ok(&["--quiet", "--now", NOW, "ingest", "events.ndjson"]);
    exported(&binary)
}

pub fn verify(binary: &Binary) {
    let verify = binary.ok(&["--now", NOW, "verify"]);
    assert!(verify.contains("Everything is as the event log has it."), "{verify}");
}

/// A line as headers and body.
fn binary_mode(line: &str) -> Option<(String, String)> {
    let event: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
    let attributes = event.iter().filter(|(name, _)| *name != "data" && *name != "datacontenttype");
    let headers = attributes.map(|(name, value)| Some(format!("ce-{}: {}\r\n", name.to_lowercase(), value.as_str()?)));
    Some((headers.collect::<Option<String>>()?, event.get("data")?.to_string()))
}

fn what_is_sent_in_any_form_gives_the_rows_of_a_file(on: On) {
    let binary = new(on);
    let mut server = Server::start(&binary);
    let mut forms = [0; 4];
    for (line, number) in TINY.lines().filter(|line| !line.trim().is_empty()).zip(0..) {
        let form = number % 4;
        let (status, body) = match (form, binary_mode(line)) {
            (0, _) => server.post(STRUCTURED, "", &line.replacen(',', ",\n\t", 1)),
            (1, _) => server.post(BATCH, "", &format!("[{line},\n{line}]")),
            (2, Some((headers, data))) => server.post("application/json", &headers, &data),
            _ => server.post(NDJSON, "", &format!("{line}\r\n\r\n{line}")),
        };
        let rejected = status == 400 && body.contains("\"accepted\":0");
        assert!(status == 202 || rejected, "{form}: {status} {body} {line}");
        forms[form] += usize::from(status == 202);
    }
    assert!(forms.iter().all(|sent| *sent > 0), "{forms:?}");
    let spool = binary.path("data/spool");
    let empty = || std::fs::read_dir(&spool).unwrap().next().is_none();
    eventually("what was sent is ingested", || empty().then_some(()));
    assert_eq!(server.running.stop().0, Some(0));
    // It may have been stopped before it had rolled up.
    binary.ok(&["--quiet", "--now", NOW, "rollup"]);
    assert_eq!(exported(&binary), expected(TINY));
    assert!(!binary.path("data/inbox/done").exists(), "what was sent is not kept");
    verify(&binary);
}

pub fn event(service: u8, id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"message.sent","subject":"{service:032x}","time":"2026-03-01T00:00:00Z","data":{{"messageGuid":"{:032x}","userGuid":"{:032x}"}}}}"#,
        7, 8
    )
}

fn each_event_is_answered_for(on: On) {
    let binary = new(on)
        .with("USAGE_ROLLUP__INGEST__MAX_POST_BYTES", "20000")
        .with("USAGE_ROLLUP__INGEST__MAX_SPOOL_BYTES", "2000")
        .with("USAGE_ROLLUP__SCHEDULE__INGEST", "0 0 0 1 1 *");
    let server = Server::start(&binary);
    let of_service = key(&binary, &["--role", "Service", "--scope", &format!("{:032x}", 1)]);
    let of_partner = key(&binary, &["--role", "Partner", "--scope", &format!("{:032x}", 1)]);
    let (one, other) = (event(1, "one"), event(2, "other"));
    let bad = one.replace("message.sent", "message.lost").replace("one", "bad");
    let with = |key: &str, content_type: &str, headers: &str, body: &str| {
        let (status, body) = post(&server.address, key, content_type, headers, body.as_bytes()).unwrap();
        format!("{status} {body}")
    };
    let superuser = server.key.as_str();
    let long = event(1, "long").replace('}', " }").repeat(100);
    let answers = [
        with(superuser, STRUCTURED, "", &one),
        with(superuser, BATCH, "", &format!("[{one}, {bad}, 7, {{}}]")),
        with(superuser, STRUCTURED, "", &bad),
        with(superuser, STRUCTURED, "", "{"),
        with(superuser, BATCH, "", &one),
        with(superuser, BATCH, "", "[]"),
        with(&of_service, NDJSON, "", &format!("{one}\n{other}\n")),
        with(&of_service, STRUCTURED, "", &other),
        with(&of_partner, STRUCTURED, "", &one),
        with("ur_no", STRUCTURED, "", &one),
        with(superuser, "text/plain", "", &one),
        with(superuser, STRUCTURED, "Content-Encoding: br\r\n", &one),
        with(superuser, NDJSON, "", &long),
        with(superuser, NDJSON, "", &vec![one.as_str(); 20].join("\n")),
    ];
    insta::assert_snapshot!("answers", answers.join("\n"));
    let full =
        send(&server.address, "POST", superuser, NDJSON, "", vec![one.as_str(); 20].join("\n").as_bytes()).unwrap();
    assert!(full.to_lowercase().contains("\r\nretry-after: "), "{full}");
    let get = send(&server.address, "GET", superuser, NDJSON, "", b"").unwrap();
    assert!(get.starts_with("HTTP/1.1 405") && get.contains("POST, OPTIONS"), "{get}");
    let asked =
        send(&server.address, "OPTIONS", superuser, NDJSON, "WebHook-Request-Origin: a.example\r\n", b"").unwrap();
    assert!(
        asked.contains("webhook-allowed-origin: a.example") && asked.contains("webhook-allowed-rate: *"),
        "{asked}"
    );
}

/// A file that was just dropped is given the time to show that it is whole, also where something that was sent waits.
fn what_was_sent_does_not_hurry_the_inbox(on: On) {
    let binary = new(on);
    for dir in ["data/spool", "data/inbox"] {
        std::fs::create_dir_all(binary.path(dir)).unwrap();
        std::fs::write(binary.path(dir).join("1.ndjson"), event(1, dir) + "\n").unwrap();
    }
    let report: Value = serde_json::from_str(&binary.ok(&["--quiet", "--now", NOW, "ingest"])).unwrap();
    assert_eq!((&report["files"], &report["stored"]), (&2.into(), &2.into()), "{report}");
    assert!(binary.path("data/inbox/done/1.ndjson").exists() && !binary.path("data/spool/1.ndjson").exists());
}

fn what_was_acknowledged_counts_once_however_often_the_daemon_is_killed(on: On) {
    const SENDERS: usize = 8;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", &port.to_string());
    let key = key(&binary, &["--role", "SuperUser"]);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = || {
        let daemon = binary.command(&["--quiet", "--now", NOW, "run"]).stderr(Stdio::null()).spawn().unwrap();
        Running(daemon)
    };
    let sent: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (stop, acknowledged, key, binary_address) = (&stop, &acknowledged, &key, port.to_string());
                scope.spawn(move || {
                    let mut sent = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let event = event(u8::try_from(sender % 3).unwrap() + 1, &format!("{sender}-{}", sent.len()));
                        // Until it is acknowledged: it may have been kept before.
                        while post(&binary_address, key, STRUCTURED, "", event.as_bytes())
                            .is_none_or(|(status, _)| status != 202)
                        {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        sent.push(event);
                    }
                    sent
                })
            })
            .collect();
        let mut daemon = start();
        for round in 1..=6 {
            let so_many = acknowledged.load(Ordering::Relaxed) + 40 * round;
            eventually("events are acknowledged", || (acknowledged.load(Ordering::Relaxed) >= so_many).then_some(()));
            daemon.0.kill().unwrap();
            daemon.0.wait().unwrap();
            daemon = start();
        }
        stop.store(true, Ordering::Relaxed);
        let sent = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        assert_eq!(daemon.stop().0, Some(0));
        sent
    });
    // What the daemon had no turn for.
    binary.ok(&["--quiet", "--now", NOW, "ingest"]);
    assert_eq!(exported(&binary), expected(&sent.join("\n")), "of {} events", sent.len());
    let stored = binary.sql("SELECT CAST(sum(accepted - duplicate) AS text) FROM inputs");
    assert_eq!(stored, [sent.len().to_string()]);
}
