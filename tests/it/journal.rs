//! Logs in the systemd journal's own protocol, to a socket that stands in its place.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::stores::On;
use super::support::Binary;

/// A journal that only this program sees: the test's directory `journal` in the place of the system's. `$0` is the program.
const WITH_JOURNAL: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind journal /run/systemd/journal || exit 99
exec "$0" $1 rollup 2> told > said
"#;

/// What the journal was told by a rollup that is logged like this, one entry a datagram; and what standard error had.
fn logged(binary: &Binary, arguments: &str) -> (Vec<String>, String) {
    let path = binary.path("journal/socket");
    fs::create_dir_all(binary.path("journal")).unwrap();
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let output = binary.within_own_mounts(WITH_JOURNAL, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut entries = Vec::new();
    let mut datagram = vec![0; 65_536];
    while let Ok(length) = socket.recv(&mut datagram) {
        entries.extend((length > 0).then(|| String::from_utf8_lossy(&datagram[..length]).into_owned()));
    }
    (entries, fs::read_to_string(binary.path("told")).unwrap())
}

/// The value of a field, which stands behind its length in eight bytes, or behind an equals sign.
fn field(entry: &str, name: &str) -> Option<String> {
    let mut lines = entry.split('\n');
    while let Some(line) = lines.next() {
        if line == name {
            let with_length = lines.next()?;
            return Some(with_length.trim_start_matches(|c: char| c.is_control() || !c.is_ascii()).to_owned());
        }
        if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

#[test]
fn logs_go_to_the_journal_with_their_fields() {
    if std::env::var_os("WITHOUT_MOUNTS").is_some() {
        return;
    }
    let binary = Binary::new(On::Sqlite).with("USAGE_ROLLUP__LOG__FILTER", "usage_rollup=trace");
    fs::create_dir_all(binary.path("data/tmp")).unwrap();
    fs::create_dir_all(binary.path("data/events/2026-02-01")).unwrap();
    binary.ok(&["rollup"]);
    // A file that the catalog does not know is told of.
    fs::write(binary.path("data/events/2026-02-01/x.parquet"), "not known").unwrap();
    let (entries, told) = logged(&binary, "--log-format journald");
    let entry =
        entries.iter().find(|entry| entry.contains("moved aside a segment")).unwrap_or_else(|| panic!("{entries:?}"));
    assert_eq!(field(entry, "SYSLOG_IDENTIFIER").as_deref(), Some("usage-rollup"));
    assert_eq!(field(entry, "PRIORITY").as_deref(), Some("4"), "{entry}");
    assert!(field(entry, "PATH").is_some_and(|path| path.ends_with("x.parquet")), "{entry}");
    assert_eq!(told, "", "nothing on standard error");
}

#[test]
fn logs_go_to_the_journal_by_themselves_where_standard_error_is_its() {
    let binary = Binary::new(On::Sqlite);
    binary.ok(&["rollup"]);
    let lines = |named: &str, arguments: &[&str]| {
        let stderr = File::create(binary.path("stderr")).unwrap();
        let metadata = stderr.metadata().unwrap();
        let stream = named.replace("DEVICE", &metadata.dev().to_string()).replace("INODE", &metadata.ino().to_string());
        fs::create_dir_all(binary.path("data/events/2026-02-01")).unwrap();
        fs::write(binary.path("data/events/2026-02-01/x.parquet"), "not known").unwrap();
        let mut command: Command = binary.command(&[arguments, &["rollup"]].concat());
        assert!(command.env("JOURNAL_STREAM", stream).stderr(stderr).status().unwrap().success());
        fs::read_to_string(binary.path("stderr")).unwrap()
    };
    let is_there = std::path::Path::new("/run/systemd/journal/socket").exists();
    let warns = |told: &str| told.contains("the journal can't be reached");
    // Where no journal runs, that it was looked for shows; where one does, that nothing is on standard error.
    let told = lines("DEVICE:INODE", &[]);
    assert!(
        if is_there { told.is_empty() || warns(&told) } else { warns(&told) && told.contains("moved aside") },
        "{told}"
    );
    for (stream, arguments) in [("1:INODE", [].as_slice()), ("", &[]), ("DEVICE:INODE", &["--log-format", "text"])] {
        let told = lines(stream, arguments);
        assert!(!warns(&told) && told.contains("moved aside"), "{stream} {arguments:?}: {told}");
    }
    let told = lines("DEVICE:INODE", &["--log-format", "json"]);
    assert!(told.starts_with('{') && told.contains(r#""path":"#), "{told}");
}
