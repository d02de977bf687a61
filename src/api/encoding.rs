//! Compression, as the client asks for it (RFC 9110, section 12.5.3).

use std::io::{self, Write as _};

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// What fits into one packet gains nothing.
const WORTH_IT: usize = 1_400;
const ZSTD_LEVEL: i32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The one that the client weighs most; of equals the one that we like best.
    pub fn accepted(headers: &HeaderMap) -> Self {
        if !headers.contains_key(ACCEPT_ENCODING) {
            return Self::Identity;
        }
        let lists = || headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
        let ranges = || lists().flat_map(|list| list.split(',')).map(range);
        let weight =
            |name: &str| ranges().find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, weight)| weight);
        let of_any = weight("*").unwrap_or(0);
        let gzip = weight("gzip").or_else(|| weight("x-gzip")).unwrap_or(of_any);
        let zstd = weight("zstd").unwrap_or(of_any);
        // It is acceptable unless it is ruled out, but whoever names another one wants that.
        let identity = weight("identity").unwrap_or(0);
        if zstd > 0 && zstd >= gzip && zstd >= identity {
            Self::Zstd
        } else if gzip > 0 && gzip >= identity {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    /// The one for a body that is there as a whole.
    pub fn for_length(self, length: usize) -> Self {
        if length < WORTH_IT { Self::Identity } else { self }
    }

    /// As `Content-Encoding` has it; nothing for a body as it is.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    pub fn encode(self, body: Vec<u8>) -> io::Result<Vec<u8>> {
        if self == Self::Identity {
            return Ok(body);
        }
        let mut encoder = Encoder::new(self)?;
        encoder.write(&body)?;
        encoder.finish()
    }
}

/// A range and its weight in thousandths.
fn range(text: &str) -> (&str, u16) {
    let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = parameters.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight =
        weight.map_or(Some(1.0), |(_, text)| text.trim().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
    let thousandths = weight.map_or(0, |weight| (weight * 1000.0) as u16);
    (name.trim(), thousandths)
}

/// Encodes a body bit by bit.
pub(super) enum Encoder {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Identity => Self::Identity(Vec::new()),
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(4))),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    /// Everything so far, which a client can decode.
    pub fn take(&mut self) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(match self {
            Self::Identity(out) => out,
            Self::Gzip(out) => {
                out.flush()?;
                out.get_mut()
            }
            Self::Zstd(out) => {
                out.flush()?;
                out.get_mut()
            }
        }))
    }

    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity(out) => Ok(out),
            Self::Gzip(out) => out.finish(),
            Self::Zstd(out) => out.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_heaviest_encoding_wins() {
        for (accept, expected) in [
            ("", Encoding::Identity),
            ("gzip, deflate, br, zstd", Encoding::Zstd),
            ("GZIP", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("zstd;q=0.5, gzip;q=0.8", Encoding::Gzip),
            ("gzip ; q=0", Encoding::Identity),
            ("*", Encoding::Zstd),
            ("zstd;q=0, *", Encoding::Gzip),
            ("identity, gzip;q=0.1", Encoding::Identity),
            ("gzip;q=nan, zstd;q=2", Encoding::Identity),
            ("br, deflate", Encoding::Identity),
            (";q=1,,=;", Encoding::Identity),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(Encoding::accepted(&headers), expected, "{accept}");
        }
        assert_eq!(Encoding::accepted(&HeaderMap::new()), Encoding::Identity);
    }
}
