//! The texts of statements.

use std::sync::OnceLock;

use super::{Dialect, postgres, sqlite};

/// A statement's text in each dialect.
pub trait Text {
    fn of(self, dialect: Dialect) -> &'static str;
}

/// One text, as both databases understand it.
impl Text for &'static str {
    fn of(self, _: Dialect) -> &'static str {
        self
    }
}

/// A text for each database, where they must go different ways.
pub struct ByDialect {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

impl Text for &'static ByDialect {
    fn of(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// One text with words in braces, which each database spells its own way: `{in guids $1}` and `{in integers $1}` mean that
/// what stands before is in a list, which is a parameter.
pub struct Spelled {
    text: &'static str,
    spelled: PerDialect,
}

impl Spelled {
    pub const fn new(text: &'static str) -> Self {
        Self { text, spelled: PerDialect::new() }
    }
}

impl Text for &'static Spelled {
    fn of(self, dialect: Dialect) -> &'static str {
        self.spelled.get(dialect, || spell(self.text, dialect))
    }
}

fn spell(text: &str, dialect: Dialect) -> String {
    let mut parts = text.split('{');
    let mut spelled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (word, rest) = part.split_once('}').unwrap_or((part, ""));
        let (of, parameter) = word.rsplit_once(' ').unwrap_or((word, ""));
        let list = match dialect {
            Dialect::Sqlite => sqlite::in_list(of == "in integers", parameter),
            Dialect::Postgres => postgres::in_list(parameter),
        };
        spelled.extend([&list, rest]);
    }
    spelled
}

/// A text that is made when it is first wanted, one for each database.
pub(super) struct PerDialect([OnceLock<String>; 2]);

impl PerDialect {
    pub const fn new() -> Self {
        Self([const { OnceLock::new() }; 2])
    }

    pub fn get(&'static self, dialect: Dialect, make: impl FnOnce() -> String) -> &'static str {
        self.0[dialect as usize].get_or_init(make)
    }
}
