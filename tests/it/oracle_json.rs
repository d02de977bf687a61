//! A strict, naive JSON parser and the canonical form (RFC 8785) of what it reads. It keeps what the
//! rules of `spec/events.md` ask about and other parsers hide: members that came twice, the spelling of a
//! number, lone surrogates and depth.

/// A JSON value with everything kept that the rules ask about: how a number was spelled, and which
/// members came twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The deepest nesting that is accepted (events.md, "Envelope"): the outermost object is at depth 1.
const DEEPEST: usize = 128;

/// One JSON value (RFC 8259) with nothing but white space around it.
#[must_use]
pub fn parse(text: &str) -> Option<Json> {
    let mut parser = Parser { rest: text };
    let value = parser.value(0)?;
    parser.space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes this token, after white space, if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        for (token, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if self.take(token) {
                return Some(value);
            }
        }
        if self.take("\"") {
            return self.string().map(Json::Text);
        }
        let object = self.take("{");
        if !object && !self.take("[") {
            return self.number();
        }
        if depth == DEEPEST {
            return None;
        }
        let end = if object { "}" } else { "]" };
        let (mut items, mut members) = (Vec::new(), Vec::new());
        let mut more = !self.take(end);
        while more {
            if object {
                let name = if self.take("\"") {
                    self.string()?
                } else {
                    return None;
                };
                let value = if self.take(":") {
                    self.value(depth + 1)?
                } else {
                    return None;
                };
                members.push((name, value));
            } else {
                items.push(self.value(depth + 1)?);
            }
            more = self.take(",");
            if !more && !self.take(end) {
                return None;
            }
        }
        Some(if object { Json::Object(members) } else { Json::Array(items) })
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`, kept as it is spelled.
    fn number(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let whole_fits = digits(whole) && (whole == "0" || !whole.starts_with('0'));
        (whole_fits && digits(fraction) && digits(exponent)).then(|| Json::Number(number.to_owned()))
    }

    /// The rest of a string whose opening quote was taken.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let c = self.next()?;
            match c {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                _ => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                if (0xd800..0xdc00).contains(&first) {
                    let paired = self.next()? == '\\' && self.next()? == 'u';
                    let second = if paired { self.unit()? } else { return None };
                    return char::decode_utf16([first, second]).next()?.ok();
                }
                char::from_u32(u32::from(first))?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }
}

impl Json {
    /// The values of every member of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&Json> {
        let Json::Object(members) = self else {
            return Vec::new();
        };
        members.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The text of a member, if it is there.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [Json::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value of an integer member, if it is there.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i128> {
        match self.all(name)[..] {
            [Json::Number(number)] => number.parse().ok(),
            _ => None,
        }
    }

    /// The sizes of the attachments of a message.
    #[must_use]
    pub fn attachment_sizes(&self) -> Vec<i128> {
        match self.all("attachments")[..] {
            [Json::Array(items)] => items.iter().filter_map(|item| item.integer("sizeBytes")).collect(),
            _ => Vec::new(),
        }
    }

    /// RFC 8785 (JCS) text; numbers are integers here, so their spelling is their canonical form.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Number(number) => number.clone(),
            Json::Text(text) => quoted(text),
            Json::Array(items) => {
                format!("[{}]", items.iter().map(Json::canonical).collect::<Vec<_>>().join(","))
            }
            Json::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
                let texts = sorted.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.canonical()));
                format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// A string in its canonical spelling (RFC 8785).
#[must_use]
pub fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '\0'..='\u{1f}' => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
