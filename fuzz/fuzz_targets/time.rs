//! Instants: what is read is what chrono reads, whatever date came before.
#![no_main]

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use usage_rollup::model::{Instant, LastDate};

fuzz_target!(|texts: (&str, &str)| {
    let mut last = LastDate::default();
    _ = Instant::parse_rfc3339_near(texts.0, &mut last);
    let read = Instant::parse_rfc3339(texts.1);
    assert_eq!(Instant::parse_rfc3339_near(texts.1, &mut last), read);
    if let Some((form, [])) = texts.1.as_bytes().split_first_chunk::<24>()
        && let Some(quickly) = Instant::parse_utc_millis(form, &mut last)
    {
        assert_eq!(Some(quickly), read);
    }
    // What chrono takes besides, spaces and leap seconds, is no instant here; all else is the same.
    if let (Some(read), Ok(expected)) = (read, texts.1.parse::<DateTime<chrono::FixedOffset>>()) {
        assert_eq!(read, expected.with_timezone(&Utc).into());
    }
});
