//! The sections: one typed and validated value a key.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::{ConfigError, Layers};
use crate::ingest::source::inbox::AfterCommit;
use crate::model::{EventType, Instant, Zone};
use crate::store::{StoreUrl, without_password};

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: Store,
    pub reporting: Reporting,
    pub ingest: Ingest,
    pub event_log: EventLog,
    pub rollup: Rollup,
    pub api: Api,
    pub schedule: Schedule,
    pub status: Status,
    pub log: LogSection,
}

#[derive(Clone, Debug)]
pub struct Store {
    pub url: StoreUrl,
}

#[derive(Clone, Debug)]
pub struct Reporting {
    pub timezone: Zone,
}

#[derive(Clone, Debug)]
pub struct Ingest {
    pub inbox: PathBuf,
    pub after_commit: AfterCommit,
    pub earliest: Instant,
    pub max_future: Duration,
    pub identity_window: Duration,
    pub max_line_bytes: usize,
    pub events_per_commit: usize,
    pub max_post_bytes: usize,
    pub max_spool_bytes: u64,
    pub types: HashMap<String, EventType>,
}

#[derive(Clone, Debug)]
pub struct EventLog {
    pub compact_at: usize,
    pub compact_rows: u64,
    /// None: contents are kept for ever.
    pub retention: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Rollup {
    pub threads: usize,
    pub rows_together: usize,
    pub settle_after: Duration,
}

#[derive(Clone, Debug)]
pub struct Api {
    pub listen: SocketAddr,
    pub auth: ApiAuth,
    pub metrics: MetricsAccess,
    pub hide_forbidden: bool,
    pub cors_origins: Vec<String>,
    /// None: requests are not counted.
    pub requests_per_second: Option<NonZeroU32>,
    pub requests_at_once: NonZeroU32,
    pub max_connections: usize,
    pub idle_timeout: Duration,
    pub max_header_bytes: usize,
    pub max_target_bytes: usize,
    pub max_body_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiAuth {
    Keys,
    Off,
}

/// Who may read metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    Open,
    Keys,
    Off,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub ingest: Cron,
    pub rollup: Cron,
    pub day_close: Cron,
    pub month_close: Cron,
    pub compact: Cron,
    pub retention: Cron,
    pub verify: Cron,
}

#[derive(Clone, Debug)]
pub struct Status {
    pub late_after: Duration,
}

#[derive(Clone, Debug)]
pub struct LogSection {
    pub filter: String,
}

impl Ingest {
    /// As events are compared by it.
    #[must_use]
    pub fn identity_window_nanos(&self) -> i64 {
        i64::try_from(self.identity_window.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl Config {
    /// Validates the settings; `data_dir` is where paths that are not set lie.
    ///
    /// # Errors
    /// When a value can't be: the error names the key, where it came from and what was expected.
    pub fn from_layers(layers: &Layers, data_dir: &Path) -> Result<Self, ConfigError> {
        let config = Self {
            store: Store { url: store_url(layers, data_dir)? },
            reporting: Reporting { timezone: parse(layers, "reporting.timezone")? },
            ingest: Ingest {
                inbox: path_or(layers, "ingest.inbox", &data_dir.join("inbox")),
                after_commit: check(layers, "ingest.after_commit", after_commit)?,
                earliest: check(layers, "ingest.earliest", earliest)?,
                max_future: check(layers, "ingest.max_future", duration)?,
                identity_window: check(layers, "ingest.identity_window", duration)?,
                max_line_bytes: check(layers, "ingest.max_line_bytes", |text| within(text, 1_024..=16_777_216))?,
                events_per_commit: check(layers, "ingest.events_per_commit", |text| within(text, 1_000..=4_000_000))?,
                max_post_bytes: check(layers, "ingest.max_post_bytes", |text| within(text, 1_024..=268_435_456))?,
                max_spool_bytes: check(layers, "ingest.max_spool_bytes", |text| {
                    within(text, 1_024..=1_099_511_627_776)
                })? as u64,
                types: types(layers)?,
            },
            event_log: EventLog {
                compact_at: check(layers, "event_log.compact_at", |text| within(text, 2..=1_000_000))?,
                compact_rows: check(layers, "event_log.compact_rows", |text| within(text, 2..=4_000_000))? as u64,
                retention: check(layers, "event_log.retention", |text| {
                    (!text.is_empty()).then(|| duration(text)).transpose()
                })?,
            },
            rollup: Rollup {
                threads: parse(layers, "rollup.threads")?,
                rows_together: check(layers, "rollup.rows_together", |text| within(text, 1..=1_000_000_000))?,
                settle_after: check(layers, "rollup.settle_after", duration)?,
            },
            api: Api {
                listen: parse(layers, "api.listen")?,
                auth: check(layers, "api.auth", auth)?,
                metrics: check(layers, "api.metrics", metrics)?,
                hide_forbidden: parse(layers, "api.hide_forbidden")?,
                cors_origins: check(layers, "api.cors_origins", origins)?,
                requests_per_second: check(layers, "api.requests_per_second", |text| within(text, 0..=1_000_000))
                    .map(|number| u32::try_from(number).ok().and_then(NonZeroU32::new))?,
                requests_at_once: parse(layers, "api.requests_at_once")?,
                max_connections: check(layers, "api.max_connections", |text| within(text, 1..=1_000_000))?,
                idle_timeout: check(layers, "api.idle_timeout", idle_timeout)?,
                max_header_bytes: check(layers, "api.max_header_bytes", |text| within(text, 8_192..=1_048_576))?,
                max_target_bytes: check(layers, "api.max_target_bytes", |text| within(text, 256..=65_536))?,
                max_body_bytes: check(layers, "api.max_body_bytes", |text| within(text, 0..=1_073_741_824))? as u64,
            },
            schedule: Schedule {
                ingest: check(layers, "schedule.ingest", cron)?,
                rollup: check(layers, "schedule.rollup", cron)?,
                day_close: check(layers, "schedule.day_close", cron)?,
                month_close: check(layers, "schedule.month_close", cron)?,
                compact: check(layers, "schedule.compact", cron)?,
                retention: check(layers, "schedule.retention", cron)?,
                verify: check(layers, "schedule.verify", cron)?,
            },
            status: Status { late_after: check(layers, "status.late_after", duration)? },
            log: LogSection { filter: check(layers, "log.filter", log_filter)? },
        };
        if config.api.auth == ApiAuth::Off && !config.api.listen.ip().is_loopback() {
            let problem = "without keys the API listens on a loopback address only, such as 127.0.0.1:8080";
            return Err(bad(layers, "api.listen", problem));
        }
        Ok(config)
    }
}

fn bad(layers: &Layers, key: &str, problem: impl Display) -> ConfigError {
    let setting = layers.get(key);
    ConfigError::BadValue {
        key: key.to_owned(),
        origin: setting.origin.clone(),
        value: format!("'{}'", without_password(&setting.value)),
        problem: problem.to_string(),
    }
}

fn check<T>(layers: &Layers, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
    read(&layers.get(key).value).map_err(|problem| bad(layers, key, problem))
}

fn parse<T: FromStr<Err: Display>>(layers: &Layers, key: &str) -> Result<T, ConfigError> {
    check(layers, key, |text| text.parse().map_err(|error: T::Err| error.to_string()))
}

fn path_or(layers: &Layers, key: &str, default: &Path) -> PathBuf {
    let value = &layers.get(key).value;
    if value.is_empty() { default.to_owned() } else { PathBuf::from(value) }
}

fn store_url(layers: &Layers, data_dir: &Path) -> Result<StoreUrl, ConfigError> {
    let default = data_dir.join("usage.db");
    let url = check(layers, "store.url", |url| StoreUrl::parse(url, &default).map_err(|error| error.to_string()))?;
    match (url, layers.get("store.password_file").value.as_str()) {
        (url, "") => Ok(url),
        (StoreUrl::Postgres(server), path) => {
            let unreadable = |error| bad(layers, "store.password_file", format!("cannot read it: {error}"));
            let password = std::fs::read_to_string(path).map_err(unreadable)?;
            Ok(StoreUrl::Postgres(server.with_password(password.trim_end_matches(['\r', '\n']))))
        }
        (StoreUrl::Sqlite(_), _) => {
            Err(bad(layers, "store.password_file", "a SQLite database takes no password; set store.url to a server's"))
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; expected a duration such as 90s, 24h or 7days"))
}

fn idle_timeout(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(1)..=Duration::from_hours(1);
    duration(text).and_then(|time| {
        bounds.contains(&time).then_some(time).ok_or_else(|| "expected a duration from 1s to 1h".to_owned())
    })
}

/// A browser sends its origin exactly so: scheme and host in lower case, no path, no slash behind.
fn origins(text: &str) -> Result<Vec<String>, String> {
    let origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte))
        };
        let expected = || {
            format!(
                "'{text}' is no origin; expected a scheme and a host, such as https://reports.example.com, with commas between several"
            )
        };
        host.filter(|host| is_host(host)).map(|_| text.to_owned()).ok_or_else(expected)
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(origin).collect()
}

fn earliest(text: &str) -> Result<Instant, String> {
    let earliest = Instant::parse_rfc3339(text).filter(|instant| instant.nanos() != i64::MIN);
    earliest.ok_or_else(|| "expected RFC 3339, not before 1678, such as 2000-01-01T00:00:00Z".to_owned())
}

fn within(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let expected = || format!("expected a number from {} to {}", range.start(), range.end());
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(expected)
}

fn after_commit(text: &str) -> Result<AfterCommit, String> {
    match text {
        "move" => Ok(AfterCommit::Move),
        "delete" => Ok(AfterCommit::Delete),
        _ => Err("expected move or delete".to_owned()),
    }
}

fn auth(text: &str) -> Result<ApiAuth, String> {
    match text {
        "keys" => Ok(ApiAuth::Keys),
        "off" => Ok(ApiAuth::Off),
        _ => Err("expected keys or off".to_owned()),
    }
}

fn metrics(text: &str) -> Result<MetricsAccess, String> {
    match text {
        "open" => Ok(MetricsAccess::Open),
        "keys" => Ok(MetricsAccess::Keys),
        "off" => Ok(MetricsAccess::Off),
        _ => Err("expected open, keys or off".to_owned()),
    }
}

fn cron(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Required).build();
    parser.parse(text).map_err(|error| format!("{error}; expected cron with seconds, such as 0 */5 * * * *"))
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = tracing_subscriber::EnvFilter::try_new(text);
    filter.map(|_| text.to_owned()).map_err(|error| format!("{error}; expected a level such as info"))
}

fn types(layers: &Layers) -> Result<HashMap<String, EventType>, ConfigError> {
    let mapped = layers.iter().filter_map(|(key, setting)| Some((key, key.strip_prefix("ingest.types.")?, setting)));
    mapped
        .map(|(key, name, setting)| {
            let event_type = EventType::from_name(&setting.value);
            let known = || bad(layers, key, "it is no event type of the specification, such as message.sent");
            Ok((name.to_owned(), event_type.ok_or_else(known)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Result<Config, String> {
        let mut layers = Layers::read(Some(Path::new("config/default.toml"))).unwrap();
        layers.set(key, value.to_owned(), "--test").unwrap();
        Config::from_layers(&layers, Path::new("data")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let config = with("rollup.threads", "0").unwrap();
        assert_eq!(config.store.url.to_string(), "data/usage.db");
        assert_eq!(config.ingest.identity_window, Duration::from_hours(7 * 24));
        assert_eq!(config.ingest.max_future, Duration::from_hours(24));
        assert_eq!(config.rollup.settle_after, Duration::from_hours(2));
        assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn a_bad_value_is_named_with_its_origin_and_what_was_expected() {
        let cases = [
            ("reporting.timezone", "Mars/Olympus"),
            ("ingest.max_future", "soon"),
            ("ingest.earliest", "2000"),
            ("ingest.max_line_bytes", "12"),
            ("rollup.threads", "-1"),
            ("api.listen", "8080"),
            ("api.auth", "maybe"),
            ("api.metrics", "yes"),
            ("api.cors_origins", "https://a.example, *"),
            ("api.requests_at_once", "0"),
            ("api.idle_timeout", "0s"),
            ("schedule.ingest", "* * * * *"),
            ("store.url", "mysql://x"),
            ("store.url", "postgres://me:s3cret@db:port/usage"),
            ("store.password_file", "secret"),
            ("ingest.after_commit", "burn"),
        ];
        let errors: Vec<String> = cases.iter().map(|(key, value)| with(key, value).unwrap_err()).collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        --test: `reporting.timezone` is 'Mars/Olympus', which can't be: 'Mars/Olympus' is not a time zone; expected an IANA name such as UTC or America/New_York
        --test: `ingest.max_future` is 'soon', which can't be: expected number at 0; expected a duration such as 90s, 24h or 7days
        --test: `ingest.earliest` is '2000', which can't be: expected RFC 3339, not before 1678, such as 2000-01-01T00:00:00Z
        --test: `ingest.max_line_bytes` is '12', which can't be: expected a number from 1024 to 16777216
        --test: `rollup.threads` is '-1', which can't be: invalid digit found in string
        --test: `api.listen` is '8080', which can't be: invalid socket address syntax
        --test: `api.auth` is 'maybe', which can't be: expected keys or off
        --test: `api.metrics` is 'yes', which can't be: expected open, keys or off
        --test: `api.cors_origins` is 'https://a.example, *', which can't be: '*' is no origin; expected a scheme and a host, such as https://reports.example.com, with commas between several
        --test: `api.requests_at_once` is '0', which can't be: number would be zero for non-zero type
        --test: `api.idle_timeout` is '0s', which can't be: expected a duration from 1s to 1h
        --test: `schedule.ingest` is '* * * * *', which can't be: Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are optional.; expected cron with seconds, such as 0 */5 * * * *
        --test: `store.url` is 'mysql://x', which can't be: expected sqlite:PATH, postgres://USER@HOST/DATABASE, or nothing for usage.db in the data directory
        --test: `store.url` is 'postgres://me:********@db:port/usage', which can't be: error with configuration: invalid port number
        --test: `store.password_file` is 'secret', which can't be: a SQLite database takes no password; set store.url to a server's
        --test: `ingest.after_commit` is 'burn', which can't be: expected move or delete
        ");
    }

    #[test]
    fn without_keys_the_api_stays_on_this_machine() {
        let mut layers = Layers::read(Some(Path::new("config/default.toml"))).unwrap();
        layers.set("api.auth", "off".to_owned(), "--test").unwrap();
        layers.set("api.listen", "0.0.0.0:80".to_owned(), "--test").unwrap();
        let error = Config::from_layers(&layers, Path::new("data")).unwrap_err().to_string();
        assert!(error.contains("loopback"), "{error}");
    }
}
