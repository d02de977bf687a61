//! Several lines one after the other: what is read of one must not depend on those before it, nor on the way that is tried first.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::Instant;

fuzz_target!(|text: &str| {
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let (mut lines, mut plain) = (decoder.lines(text), decoder.lines(text));
    let mut start = 0;
    for line in text.split('\n') {
        let end = start + line.len();
        let alone = decoder.decode(line.as_bytes());
        let among_others = lines.decode(start..end).cloned().map_err(|refusal| *refusal);
        assert_eq!(among_others, alone);
        if let Some((event, plain_end)) = plain.decode_plain(start) {
            assert!(plain_end <= end, "a line feed was passed");
            assert!(plain_end < end || Ok(event) == alone.as_ref());
        }
        start = end + 1;
    }
});
