//! Importing the service directory: each entry becomes a `service.updated` event at now (`spec/cli.md`).

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::ingest::{Wanted, decoder, ingest};
use super::{IngestReport, Installation, Run};
use crate::ingest::source::Source;
use crate::store::InputKind;

const EVENT_SOURCE: &str = "/usage-rollup/services-import";

#[derive(Debug, Error)]
pub enum ImportError {
    #[error("{file}, entry {entry}: {problem}; nothing was imported")]
    BadEntry { file: String, entry: usize, problem: String },
}

/// Appends the entries of a file, NDJSON or CSV, to the event log as `service.updated` events, all or none.
///
/// # Errors
/// When the file can't be read, an entry is not valid, or ingest fails.
pub async fn import_services(installation: &Installation, run: &Run, file: &Path) -> anyhow::Result<IngestReport> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let entries = if text.trim_start().starts_with('{') { ndjson(text) } else { csv(text) };
    let decoder = decoder(installation);
    let time = installation.now().to_rfc3339_seconds();
    let mut lines = String::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let bad = |problem: String| ImportError::BadEntry { file: name.clone(), entry: index + 1, problem };
        let line = event(entry.map_err(bad)?, &time).map_err(bad)?.to_string();
        decoder.decode(line.as_bytes()).map_err(|rejection| bad(rejection.to_string()))?;
        lines.push_str(&line);
        lines.push('\n');
    }
    // The events take the road of every other event: a file, read into the log.
    let mut events = tempfile_in(&installation.data_dir)?;
    events.1.write_all(lines.as_bytes())?;
    let source = crate::ingest::source::FileSource::find(&events.0, InputKind::Import)?;
    let report = ingest(installation, run, Wanted::Sources(vec![Source::File(source)])).await;
    std::fs::remove_file(&events.0)?;
    report
}

fn tempfile_in(dir: &Path) -> anyhow::Result<(std::path::PathBuf, std::fs::File)> {
    let path = dir.join(format!("services-import-{}.ndjson", Uuid::now_v7().simple()));
    let file = std::fs::File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok((path, file))
}

type Entry = Result<Map<String, Value>, String>;

fn ndjson(text: &str) -> Vec<Entry> {
    let entry = |line: &str| serde_json::from_str(line).map_err(|error| error.to_string());
    text.lines().filter(|line| !line.trim().is_empty()).map(entry).collect()
}

/// Columns are named like the members; those of `contact` and `company` with a dot. Empty cells are absent members.
fn csv(text: &str) -> Vec<Entry> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return vec![Err(error.to_string())],
    };
    reader
        .records()
        .map(|record| {
            let record = record.map_err(|error| error.to_string())?;
            let mut entry = Map::new();
            for (header, cell) in headers.iter().zip(&record).filter(|(_, cell)| !cell.is_empty()) {
                let value = match header {
                    "initialTerm" => cell
                        .parse::<u64>()
                        .map(Value::from)
                        .map_err(|_| format!("initialTerm is '{cell}'; expected an integer"))?,
                    _ => Value::from(cell),
                };
                match header.split_once('.') {
                    None => _ = entry.insert(header.to_owned(), value),
                    Some((object, member)) => {
                        let object = entry.entry(object).or_insert_with(|| Value::Object(Map::new()));
                        object[member] = value;
                    }
                }
            }
            Ok(entry)
        })
        .collect()
}

fn event(mut entry: Map<String, Value>, time: &str) -> Result<Value, String> {
    let service = entry.remove("serviceGuid").ok_or("serviceGuid is missing")?;
    let id = Uuid::now_v7().to_string();
    Ok(json!({
        "specversion": "1.0", "id": id, "source": EVENT_SOURCE, "type": "service.updated",
        "subject": service, "time": time, "data": entry,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_ndjson_make_the_same_entries() {
        let from_csv = csv("serviceGuid,name,initialTerm,contact.name,status\n1,\"Acme, Inc\",12,Ann,\n");
        let from_ndjson = ndjson(
            "{\"serviceGuid\":\"1\",\"name\":\"Acme, Inc\",\"initialTerm\":12,\"contact\":{\"name\":\"Ann\"}}\n\n",
        );
        assert_eq!(from_csv, from_ndjson);
    }
}
