//! The daemon and the demo, as real processes: what is dropped into the inbox is served soon after.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stores::{On, on_each_store};
use super::support::{Binary, terminate};

on_each_store!(what_is_dropped_into_the_inbox_is_served_soon_after, the_demo_prints_a_request_that_is_answered,);

const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
const TINY: &str = include_str!("../golden/tiny/events.ndjson");
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that ends with the test, also with one that fails.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Asks it to stop, and gives its exit code and how long it took.
    pub fn stop(&mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        terminate(&self.0);
        let status = eventually("it ends", || self.0.try_wait().unwrap());
        (status.code(), asked.elapsed())
    }
}

pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What follows `before`, up to white space or a quote, in the first line that has it.
pub fn printed(output: impl std::io::Read + Send + 'static, before: &'static str) -> String {
    let line = Lines::of(output).with(before);
    let rest = line.split_once(before).unwrap().1;
    rest.split(|c: char| c.is_whitespace() || c == '\'').next().unwrap_or_default().to_owned()
}

/// The lines that a process prints, as they come. All are read, so that it never waits for room in the pipe.
pub struct Lines(Receiver<String>);

impl Lines {
    pub fn of(output: impl std::io::Read + Send + 'static) -> Self {
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The test may have seen enough.
                let _ = sender.send(line);
            }
        });
        Self(lines)
    }

    /// The next line with this in it.
    pub fn with(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.0.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("nothing with {text:?} was printed: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

/// Status and body of a GET; none where nobody listens.
pub fn get(address: &str, path: &str, headers: &str) -> Option<(u16, String)> {
    let answer = ask(address, path, headers)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The answer to a GET as it comes.
pub fn ask(address: &str, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Some(answer)
}

fn what_is_dropped_into_the_inbox_is_served_soon_after(on: On) {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let mut daemon = Running(binary.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap());
    let address = printed(daemon.0.stderr.take().unwrap(), "api=http://");

    let key: Value = serde_json::from_str(&binary.ok(&["keys", "create", "--role", "SuperUser"])).unwrap();
    let header = format!("Authorization: Bearer {}\r\n", key["key"].as_str().unwrap());
    let path = format!("/api/services/{SERVICE}/serviceusage?PeriodType=Daily&Period=2026-02-01");
    assert_eq!(get(&address, &path, "").unwrap().0, 401);
    assert_eq!(get(&address, &path, &header).unwrap().0, 404);
    fs::write(binary.path("directory.csv"), format!("serviceGuid,name\n{SERVICE},Acme\n")).unwrap();
    binary.ok(&["services", "import", "directory.csv"]);
    fs::write(binary.path("events.ndjson"), TINY).unwrap();
    fs::rename(binary.path("events.ndjson"), binary.path("data/inbox/events.ndjson")).unwrap();

    let report: Value = eventually("the row is served", || {
        let (status, body) = get(&address, &path, &header)?;
        assert_eq!(status, 200, "{body}");
        let report: Value = serde_json::from_str(&body).unwrap();
        (report["totalUserCount"] == 2).then_some(report)
    });

    assert_eq!((&report["name"], &report["attachmentStorageUsage"]), (&"Acme".into(), &1024.into()));
    let put_away = binary.path("data/inbox/done/events.ndjson");
    eventually("the file is put away", || put_away.exists().then_some(()));
    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

fn the_demo_prints_a_request_that_is_answered(on: On) {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let mut demo = Running(binary.command(&["demo", "--data-dir", "demo"]).stdout(Stdio::piped()).spawn().unwrap());
    let url = printed(demo.0.stdout.take().unwrap(), "curl 'http://");
    let (address, path) = url.split_once('/').unwrap();

    // The line is printed before the API has its store, and until then it answers 503.
    let answer = || get(address, &format!("/{path}"), "").filter(|(status, _)| *status != 503);
    let (status, body) = eventually("it is answered", answer);

    assert_eq!(status, 200, "{body}");
    let report: Value = serde_json::from_str(&body).unwrap();
    assert!(report["totalMessageCount"].as_i64().unwrap() > 0, "{report}");
    assert_eq!(demo.stop().0, Some(0));
}
