//! The decoder against three others, on mutated lines: its own general way (which plain lines don't take), `serde_json` for
//! what is JSON, and the oracle for what is an event and which.
//!
//! `DECODE_INPUTS` asks for more inputs, `DECODE_INPUTS_FILE` keeps them as a file of lines.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use usage_rollup::ingest::decode::{Decoder, LineDecoder, Reason, Rejection};
use usage_rollup::model::{Event, EventType, content};

use super::decode_mutation::{Dice, mutated, originals};
use super::oracle_line::{self, instant};
use super::random_events::NOW;

/// So many lines are one text, as in a piece of an input: what the decoder learns from a line must not change the next.
const BATCH: usize = 64;

struct Bounds {
    earliest: DateTime<Utc>,
    latest: DateTime<Utc>,
}

fn bounds() -> Bounds {
    Bounds { earliest: instant("2000-01-01T00:00:00Z").unwrap(), latest: instant(NOW).unwrap() }
}

#[test]
fn mutated_lines_are_decoded_as_the_others_decode_them() {
    let inputs = std::env::var("DECODE_INPUTS").ok().and_then(|inputs| inputs.parse().ok()).unwrap_or(20_000_usize);
    let kept = std::env::var_os("DECODE_INPUTS_FILE").map(|path| Mutex::new(File::create(path).unwrap()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let originals = originals();
    let counts = std::thread::scope(|scope| {
        let run = |seed: usize| {
            let (originals, kept) = (&originals, &kept);
            scope.spawn(move || check_many(originals, seed as u64, inputs.div_ceil(threads * BATCH), kept.as_ref()))
        };
        let threads: Vec<_> = (0..threads).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>();
    println!(
        "{} lines: {} valid ({} of them plain), {} rejected",
        sum(|counts| counts.valid + counts.rejected),
        sum(|counts| counts.valid),
        sum(|counts| counts.plain),
        sum(|counts| counts.rejected),
    );
    assert!(sum(|counts| counts.plain) > inputs / 20, "too few lines are plain to tell anything of them");
    assert!(sum(|counts| counts.rejected) > inputs / 20, "too few lines are rejected to tell anything of them");
}

#[derive(Default)]
struct Counts {
    valid: usize,
    plain: usize,
    rejected: usize,
}

fn check_many(originals: &[Vec<u8>], seed: u64, batches: usize, kept: Option<&Mutex<File>>) -> Counts {
    let bounds = bounds();
    let decoder = Decoder::new(HashMap::new(), bounds.earliest.into(), bounds.latest.into());
    let mut dice = Dice(seed << 32);
    let mut counts = Counts::default();
    for _ in 0..batches {
        let mut draw = || {
            let original = dice.pick(originals).clone();
            if dice.below(3) == 0 { original } else { mutated(&original, &mut dice) }
        };
        let batch: Vec<Vec<u8>> = (0..BATCH).map(|_| draw()).collect();
        let joined = batch.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect::<Vec<u8>>();
        if let Some(kept) = kept {
            kept.lock().unwrap().write_all(&joined).unwrap();
        }
        check_batch(&decoder, &bounds, &batch, &mut counts);
    }
    counts
}

fn check_batch(decoder: &Decoder, bounds: &Bounds, batch: &[Vec<u8>], counts: &mut Counts) {
    let utf8: Vec<&str> = batch.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let text = format!("{}\n", utf8.join("\n"));
    let (mut lines, mut plain_lines) = (decoder.lines(&text), decoder.lines(&text));
    let mut start = 0;
    for line in batch {
        let alone = decoder.decode(line);
        if std::str::from_utf8(line).is_ok() {
            let end = start + line.len();
            let among_others = lines.decode(start..end).cloned().map_err(|refusal| *refusal);
            assert_eq!(among_others, alone, "{}", text[start..end].escape_debug());
            counts.plain += usize::from(check_plain(&mut plain_lines, start, end, &text, &alone));
            start = end + 1;
        }
        match &alone {
            Ok(_) => counts.valid += 1,
            Err(_) => counts.rejected += 1,
        }
        check_json(line, &alone);
        check_event(line, &alone, bounds);
    }
}

/// What is taken for a plain line ends where the line does, or is not one.
fn check_plain(
    lines: &mut LineDecoder<'_, '_>,
    start: usize,
    end: usize,
    text: &str,
    alone: &Result<Event<'_>, Rejection>,
) -> bool {
    let Some((event, plain_end)) = lines.decode_plain(start) else { return false };
    assert!(plain_end <= end, "a line feed was passed: {}", text[start..plain_end].escape_debug());
    if plain_end == end {
        assert_eq!(Ok(event), alone.as_ref(), "{}", text[start..end].escape_debug());
    }
    plain_end == end
}

/// Where `serde_json` reads a value, no line is invalid JSON; where it reads none, no line is an event.
fn check_json(line: &[u8], decoded: &Result<Event<'_>, Rejection>) {
    let shown = || String::from_utf8_lossy(line).escape_debug().to_string();
    match (serde_json::from_slice::<serde_json::Value>(line), decoded) {
        (Ok(_), Err(rejection)) if rejection.reason == Reason::InvalidJson => {
            assert!(rejection.detail.starts_with("nested deeper"), "{rejection}: {}", shown());
        }
        (Err(error), Ok(_)) => {
            // The grammar has numbers of any size, and depth is counted from another end.
            let text = error.to_string();
            let differs = text.starts_with("number out of range") || text.starts_with("recursion limit");
            assert!(differs, "{error}: {}", shown());
        }
        _ => {}
    }
}

fn check_event(line: &[u8], decoded: &Result<Event<'_>, Rejection>, bounds: &Bounds) {
    let shown = || String::from_utf8_lossy(line).escape_debug().to_string();
    let oracle = oracle_line::read(line, bounds.earliest, bounds.latest);
    match (decoded, oracle) {
        (Ok(event), Ok(expected)) => {
            assert_eq!(event.service.simple().to_string(), expected.service, "{}", shown());
            assert_eq!((&*event.source, &*event.id), (&*expected.source, &*expected.id), "{}", shown());
            assert_eq!(event.event_type.name(), expected.kind, "{}", shown());
            assert_eq!(event.time, expected.time.into(), "{}", shown());
            // The oracle keeps contacts and companies whole, as they are counted nowhere, and gives a void's time another form.
            if event.event_type == EventType::EventVoided {
                let void = event.data.voided.as_ref().unwrap();
                let text = |name| expected.data.text(name).unwrap_or_default();
                assert_eq!((&*void.source, &*void.id), (text("source"), text("id")), "{}", shown());
                assert_eq!(Some(void.time), instant(text("time")).map(Into::into), "{}", shown());
            } else if event.event_type != EventType::ServiceUpdated {
                let expected = format!("{}{}", expected.kind, expected.data.canonical());
                assert_eq!(content(event.event_type, &event.data), expected, "{}", shown());
            }
        }
        (Err(_), Err(_)) => {}
        (Ok(event), Err(code)) => {
            // The oracle looks closer at the form of a URI.
            let voided = event.data.voided.as_ref().map_or("/", |void| &*void.source);
            assert!([&*event.source, voided].iter().any(|source| !is_simple(source)), "oracle: {code}: {}", shown());
        }
        (Err(rejection), Ok(expected)) => {
            // The oracle looks less close at contacts, companies and the initial term.
            assert_eq!(expected.kind, "service.updated", "{rejection}: {}", shown());
        }
    }
}

fn is_simple(source: &str) -> bool {
    source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/')
}
