//! Where values come from: the defaults, a file, the environment, the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{ConfigBuilder, Environment, File, FileFormat, Map, Value, ValueKind};

use super::{ConfigError, DEFAULTS};

const ENVIRONMENT_PREFIX: &str = "USAGE_ROLLUP";
/// Names below it are the user's own.
const OPEN_TABLE: &str = "ingest.types";

const PASSWORD_FILE: &str = "store.password_file";
const PASSWORD_CREDENTIAL: &str = "store.password";

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub value: String,
    pub origin: String,
}

/// All settings in force, by their dotted keys.
#[derive(Clone, Debug)]
pub struct Layers {
    settings: BTreeMap<String, Setting>,
}

impl Layers {
    /// Reads the layers: defaults, then `file` or the first of the usual places, then the environment.
    ///
    /// # Errors
    /// When a file can't be read, or a key is unknown.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let defaults = collect(builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml)), "built-in default")?;
        let mut layers = Self { settings: defaults };
        if let Some(path) = file.map(Path::to_owned).or_else(usual_file) {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ConfigError::Unreadable { path: path.clone(), detail: error.to_string() })?;
            let origin = path.display().to_string();
            let read = collect(builder().add_source(File::from_str(&text, FileFormat::Toml)), &origin);
            layers.overlay(read.map_err(|error| match error {
                ConfigError::Unreadable { detail, .. } => ConfigError::Unreadable { path, detail },
                other => other,
            })?)?;
        }
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX).prefix_separator("__").separator("__");
        let mut variables = collect(builder().add_source(environment), "")?;
        for (key, setting) in &mut variables {
            setting.origin = format!("{ENVIRONMENT_PREFIX}__{}", key.to_uppercase().replace('.', "__"));
        }
        layers.overlay(variables)?;
        layers.take_credential();
        Ok(layers)
    }

    /// The password of the store, where systemd hands one in as a credential and no other is configured
    /// (`LoadCredential=store.password:…`, systemd.exec(5)).
    fn take_credential(&mut self) {
        let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return };
        let path = PathBuf::from(dir).join(PASSWORD_CREDENTIAL);
        let is_on_server = |url: &str| url.starts_with("postgres");
        if path.is_file() && self.get(PASSWORD_FILE).value.is_empty() && is_on_server(&self.get("store.url").value) {
            let origin = format!("systemd credential {PASSWORD_CREDENTIAL}");
            self.settings.insert(PASSWORD_FILE.to_owned(), Setting { value: path.display().to_string(), origin });
        }
    }

    /// The keys whose values are others than there.
    pub fn changed_from<'l>(&'l self, other: &'l Self) -> impl Iterator<Item = &'l str> {
        let value = |layers: &'l Self, key: &str| layers.settings.get(key).map(|setting| &setting.value);
        let keys = self.settings.keys().chain(other.settings.keys().filter(|key| !self.settings.contains_key(*key)));
        keys.filter(move |key| value(self, key) != value(other, key)).map(String::as_str)
    }

    /// Sets a value from the command line.
    ///
    /// # Errors
    /// When the key is unknown.
    pub fn set(&mut self, key: &str, value: String, origin: &str) -> Result<(), ConfigError> {
        self.overlay(BTreeMap::from([(key.to_owned(), Setting { value, origin: origin.to_owned() })]))
    }

    /// The settings by their keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.settings.iter().map(|(key, setting)| (key.as_str(), setting))
    }

    /// A setting that the defaults have.
    pub(super) fn get(&self, key: &str) -> &Setting {
        self.settings.get(key).unwrap_or_else(|| panic!("config/default.toml has no {key}"))
    }

    fn overlay(&mut self, layer: BTreeMap<String, Setting>) -> Result<(), ConfigError> {
        for (key, setting) in layer {
            if !self.settings.contains_key(&key) && !key.starts_with(&format!("{OPEN_TABLE}.")) {
                let nearest = self.nearest(&key);
                return Err(ConfigError::UnknownKey { key, origin: setting.origin, nearest });
            }
            self.settings.insert(key, setting);
        }
        Ok(())
    }

    /// The known key that takes the fewest changes, if they are few.
    fn nearest(&self, key: &str) -> Option<String> {
        let known = self.settings.keys().map(|known| (distance(key, known), known));
        known.min().filter(|(changes, known)| *changes <= known.len().div_ceil(3)).map(|(_, known)| known.clone())
    }
}

fn builder() -> ConfigBuilder<DefaultState> {
    config::Config::builder()
}

/// `/etc` before the working directory: the first that is there.
fn usual_file() -> Option<PathBuf> {
    ["/etc/usage-rollup/config.toml", "usage-rollup.toml"].map(PathBuf::from).into_iter().find(|path| path.is_file())
}

fn collect(builder: ConfigBuilder<DefaultState>, origin: &str) -> Result<BTreeMap<String, Setting>, ConfigError> {
    let unreadable = |error: config::ConfigError| ConfigError::Unreadable {
        path: PathBuf::from(if origin.is_empty() { "environment" } else { origin }),
        detail: error.to_string(),
    };
    let tree: Map<String, Value> = builder.build().and_then(config::Config::try_deserialize).map_err(unreadable)?;
    let mut settings = BTreeMap::new();
    flatten("", tree, origin, &mut settings);
    Ok(settings)
}

fn flatten(prefix: &str, tree: Map<String, Value>, origin: &str, settings: &mut BTreeMap<String, Setting>) {
    for (name, value) in tree {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.kind {
            ValueKind::Table(table) => flatten(&key, table, origin, settings),
            kind => {
                settings.insert(key, Setting { value: kind.to_string(), origin: origin.to_owned() });
            }
        }
    }
}

/// The edit distance of two keys.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Result<Layers, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Layers::read(Some(file.path()))
    }

    #[test]
    fn a_file_wins_over_the_defaults_and_is_named_as_the_origin() {
        let layers =
            with_file("[ingest]\nmax_line_bytes = 2048\n[ingest.types]\n\"com.Acme.sent\" = \"message.sent\"").unwrap();
        assert_eq!(layers.get("ingest.max_line_bytes").value, "2048");
        assert_eq!(layers.get("ingest.types.com.Acme.sent").value, "message.sent");
        assert_eq!(layers.get("ingest.after_commit").origin, "built-in default");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        let error = with_file("[reporting]\ntimezon = \"UTC\"").unwrap_err().to_string();
        assert!(
            error.ends_with("there is no setting `reporting.timezon`; did you mean `reporting.timezone`?"),
            "{error}"
        );
        assert!(with_file("[wholly]\ndifferent = 1").unwrap_err().to_string().ends_with("`wholly.different`"));
    }
}
