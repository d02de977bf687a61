//! One line of any bytes: no panic, and what is JSON is what `serde_json` says.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use usage_rollup::ingest::decode::{Decoder, Reason};
use usage_rollup::model::{Instant, content};

fuzz_target!(|line: &[u8]| {
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let decoded = decoder.decode(line);
    match (serde_json::from_slice::<serde_json::Value>(line), &decoded) {
        (Ok(_), Err(rejection)) if rejection.reason == Reason::InvalidJson => {
            assert!(rejection.detail.starts_with("nested deeper"), "{rejection}");
        }
        (Err(error), Ok(_)) => {
            // The grammar has numbers of any size, and depth is counted from another end.
            let text = error.to_string();
            assert!(text.starts_with("number out of range") || text.starts_with("recursion limit"), "{error}");
        }
        _ => {}
    }
    if let Ok(event) = decoded {
        // What tells one content from another is made of every event.
        assert!(!content(event.event_type, &event.data).is_empty());
    }
});
