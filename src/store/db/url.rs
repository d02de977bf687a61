//! Where a store is: `store.url`.

use std::fmt;
use std::path::{Path, PathBuf};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

use super::super::StoreError;

/// What can stand behind the question mark. Anything else is refused: a misspelt `sslmode` must not go unnoticed.
const PARAMETERS: [&str; 13] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "options",
    "application_name",
    "statement-cache-capacity",
];

/// The database of a store.
#[derive(Clone, Debug)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(Server),
}

/// A database on a PostgreSQL server, and how to get there.
#[derive(Clone)]
pub struct Server {
    options: Box<PgConnectOptions>,
    shown: String,
}

#[derive(Debug, Error)]
pub enum UrlError {
    #[error("expected sqlite:PATH, postgres://USER@HOST/DATABASE, or nothing for usage.db in the data directory")]
    Scheme,
    #[error("there is no parameter '{0}'; known are {known}", known = PARAMETERS.join(", "))]
    Parameter(String),
    #[error("{0}")]
    Unreadable(#[from] sqlx::Error),
}

impl StoreUrl {
    /// Reads a URL; an empty one is the SQLite database `default`.
    ///
    /// # Errors
    /// When it is of another database, or not a URL.
    pub fn parse(url: &str, default: &Path) -> Result<Self, UrlError> {
        match url.split_once(':') {
            None if url.is_empty() => Ok(Self::Sqlite(default.to_owned())),
            Some(("sqlite", path)) => Ok(Self::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))),
            Some(("postgres" | "postgresql", _)) => {
                let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
                let names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
                let unknown = |name: &&str| !name.is_empty() && !PARAMETERS.contains(name);
                if let Some(name) = names.into_iter().find(unknown) {
                    return Err(UrlError::Parameter(name.to_owned()));
                }
                Ok(Self::Postgres(Server { options: Box::new(url.parse()?), shown: without_password(url) }))
            }
            _ => Err(UrlError::Scheme),
        }
    }

    /// # Errors
    /// When it is a file that is not there. Whether a database is there on a server, only that can tell.
    pub fn must_exist(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(StoreError::Missing { path: path.clone() }),
            Self::Sqlite(_) | Self::Postgres(_) => Ok(()),
        }
    }

    /// Whether it is on a server, which may be away for a while.
    #[must_use]
    pub fn is_on_server(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(server) => server.shown.fmt(f),
        }
    }
}

impl Server {
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self { options: Box::new(self.options.password(password)), ..self }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }
}

/// Options have the password in them.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// A URL as it may be shown: stars instead of a password.
#[must_use]
pub fn without_password(url: &str) -> String {
    const STARS: &str = "********";
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = match rest.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:{STARS}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let mut parts = rest.split("password=");
    let mut shown = format!("{scheme}://{}", parts.next().unwrap_or_default());
    for part in parts {
        let after = part.find('&').map_or("", |at| &part[at..]);
        shown.extend(["password=", STARS, after]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://me:s3cret@db/usage", "postgres://me:********@db/usage"),
            ("postgres://me:s3:c@r/et@db/usage", "postgres://me:********@db/usage"),
            ("postgres://me@db/usage", "postgres://me@db/usage"),
            (
                "postgres://db/usage?user=me&password=s3cret&sslmode=require",
                "postgres://db/usage?user=me&password=********&sslmode=require",
            ),
            ("sqlite:usage.db", "sqlite:usage.db"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let url = StoreUrl::parse("postgres://me:s3cret@db/usage", Path::new("")).unwrap();
        let StoreUrl::Postgres(server) = url else { panic!("it is a server") };
        let server = server.with_password("0ther");
        assert_eq!(format!("{server:?} {}", StoreUrl::Postgres(server.clone())).matches("******").count(), 2);
        assert!(!format!("{server:?}").contains("0ther"));
    }

    #[test]
    fn only_known_urls_are_read() {
        let error = |url| StoreUrl::parse(url, Path::new("usage.db")).unwrap_err().to_string();
        assert!(error("mysql://x").starts_with("expected sqlite:PATH"));
        assert!(error("usage.db").starts_with("expected sqlite:PATH"));
        assert!(error("postgres://db/usage?sslmod=verify-full").starts_with("there is no parameter 'sslmod'"));
        assert!(error("postgres://db:port/usage").contains("port"));
        assert!(error("postgresql://db/usage?sslmode=maybe").contains("maybe"));
        assert_eq!(StoreUrl::parse("", Path::new("usage.db")).unwrap().to_string(), "usage.db");
    }
}
