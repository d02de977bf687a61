//! The formats that a document can be written in, and which of them a request wants (`spec/api.md`, section 6, rule 13;
//! `spec/servicestack-wire.md`). One file a format; all write the same documents.

mod csv;
mod json;
mod jsv;
mod xml;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use chrono::{DateTime, SecondsFormat, Timelike as _, Utc};

use super::wire::document::Object;

pub(super) const JSON_TYPE: &str = "application/json; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
    Csv,
    Jsv,
    /// JSON as an argument of this function.
    Jsonp(String),
}

impl Format {
    /// By the name that a suffix, a route or `?format=` has.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            "csv" => Some(Self::Csv),
            "jsv" => Some(Self::Jsv),
            _ => None,
        }
    }

    /// JSON for this function. Characters that could make anything else of its name become `_`.
    pub fn jsonp(callback: &str) -> Self {
        let is_safe = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '_';
        Self::Jsonp(callback.chars().map(|letter| if is_safe(letter) { letter } else { '_' }).collect())
    }

    /// By `?format=`: the text may hold more than the name, as in a media type.
    pub fn in_query(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let named = ["json", "xml", "jsv"].into_iter().find(|name| text.contains(name));
        Self::named(named.unwrap_or(&text))
    }

    /// By `Accept`, as the original reads it: the server's preference counts, not the weights.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let types: Vec<String> = lists
            .flat_map(|list| list.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .collect();
        let accepts = |media_type: &str| types.iter().any(|accepted| accepted == media_type);
        // What is for people to look at is JSON here.
        if accepts("text/html") || accepts("application/json") {
            Self::Json
        } else if accepts("application/xml") || accepts("text/xml") {
            Self::Xml
        } else if accepts("application/jsv") || accepts("text/jsv") {
            Self::Jsv
        } else if !accepts("*/*") && accepts("text/csv") {
            Self::Csv
        } else {
            Self::Json
        }
    }

    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Json => JSON_TYPE,
            Self::Xml => "application/xml",
            Self::Csv => "text/csv",
            Self::Jsv => "application/jsv",
            Self::Jsonp(_) => "text/javascript",
        }
    }

    pub fn write(&self, document: &Object<'_>) -> Vec<u8> {
        match self {
            Self::Json => json::write(document),
            Self::Xml => xml::write(document),
            Self::Csv => csv::write(document),
            Self::Jsv => jsv::write(document),
            Self::Jsonp(callback) => [callback.as_bytes(), b"(", &json::write(document), b")"].concat(),
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`.
fn date_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same, or the date alone where that says all.
fn shortest_date_time(time: DateTime<Utc>) -> String {
    if time.num_seconds_from_midnight() == 0 { time.format("%Y-%m-%d").to_string() } else { date_time(time) }
}

/// A member's name in camel case.
pub(super) fn camel_case(name: &str) -> impl Iterator<Item = char> {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use chrono::TimeZone as _;
    use uuid::Uuid;

    use super::*;
    use crate::api::wire::document::{Kind, Member, RESPONSE_STATUS, Type, Value, WITH_RESPONSE_STATUS};

    static ITEM: Type = Type {
        name: "Item",
        members: &[
            Member::always("Guid", Kind::Guid),
            Member::if_set("Name", Kind::Text),
            Member::always("On", Kind::DateTime),
            Member::always("At", Kind::DateTime),
            Member::always("Count", Kind::Integer),
            Member::always("Inner", Kind::Object(&INNER)),
        ],
        base: None,
    };
    static INNER: Type = Type {
        name: "Inner",
        members: &[Member::always("Text", Kind::Text), Member::if_set("Other", Kind::Text)],
        base: None,
    };
    static LIST: Type = Type {
        name: "ListResponse",
        members: &[Member::always("Total", Kind::Integer), Member::always("Results", Kind::List(&ITEM))],
        base: Some(&WITH_RESPONSE_STATUS),
    };
    static ONE: Type =
        Type { name: "OneResponse", members: &[Member::if_set(RESPONSE_STATUS, Kind::Text)], base: Some(&ITEM) };

    fn item(name: &str) -> Object<'_> {
        let at = |hour| Utc.with_ymd_and_hms(2026, 3, 4, hour, 0, 0).unwrap();
        let inner = Object::new(&INNER, vec!["a,b".into(), Value::Null]);
        let name = if name.is_empty() { Value::Null } else { name.into() };
        let guid = Uuid::from_u128(0xab);
        Object::new(&ITEM, vec![guid.into(), name, at(0).into(), at(10).into(), 7_i64.into(), inner.into()])
    }

    fn list(items: Vec<Object<'_>>) -> Object<'_> {
        Object::new(&LIST, vec![2_u64.into(), Value::List(&ITEM, items)]).with_response_status()
    }

    fn written(format: &str, document: &Object<'_>) -> String {
        String::from_utf8(Format::named(format).unwrap().write(document)).unwrap()
    }

    const HOSTILE: &str = "\"<é>&\r\n\u{0}{x}";

    #[test]
    fn json_leaves_nulls_out_and_keeps_the_order() {
        assert_eq!(
            written("json", &list(vec![item(HOSTILE), item("")])),
            concat!(
                r#"{"total":2,"results":[{"guid":"000000000000000000000000000000ab","name":"\"<é>&\r\n\u0000{x}","#,
                r#""on":"2026-03-04T00:00:00Z","at":"2026-03-04T10:00:00Z","count":7,"inner":{"text":"a,b"}},"#,
                r#"{"guid":"000000000000000000000000000000ab","on":"2026-03-04T00:00:00Z","at":"2026-03-04T10:00:00Z","count":7,"inner":{"text":"a,b"}}]}"#,
            )
        );
        assert_eq!(written("json", &list(vec![])), r#"{"total":2,"results":[]}"#);
    }

    #[test]
    fn jsv_quotes_what_would_be_misread_and_shortens_dates() {
        assert_eq!(
            written("jsv", &list(vec![item("plain text"), item(HOSTILE)])),
            concat!(
                "{total:2,results:[{guid:000000000000000000000000000000ab,name:plain text,on:2026-03-04,",
                "at:2026-03-04T10:00:00Z,count:7,inner:{text:\"a,b\"}},",
                "{guid:000000000000000000000000000000ab,name:\"\"\"<é>&\r\n\u{0}{x}\",on:2026-03-04,",
                "at:2026-03-04T10:00:00Z,count:7,inner:{text:\"a,b\"}}]}",
            )
        );
    }

    #[test]
    fn csv_has_a_line_for_each_result_and_its_columns_also_without() {
        let header = "Guid,Name,On,At,Count,Inner\r\n";
        assert_eq!(written("csv", &list(vec![])), header);
        assert_eq!(
            written("csv", &list(vec![item("say \"x\""), item("")])),
            [
                header,
                "000000000000000000000000000000ab,\"say \"\"x\"\"\",2026-03-04,2026-03-04T10:00:00Z,7,\"{text:\"\"a,b\"\"}\"\r\n",
                "000000000000000000000000000000ab,,2026-03-04,2026-03-04T10:00:00Z,7,\"{text:\"\"a,b\"\"}\"\r\n",
            ]
            .concat()
        );
        let one = Object::new(&ONE, vec![Value::Null]).inherits(item("[x]"));
        let line =
            "000000000000000000000000000000ab,\"[x]\",2026-03-04,2026-03-04T10:00:00Z,7,\"{text:\"\"a,b\"\"}\"\r\n";
        assert_eq!(written("csv", &one), [header, line].concat());
    }

    #[test]
    fn xml_sorts_members_base_first_and_tells_nulls() {
        let head = concat!(
            r#"<?xml version="1.0" encoding="utf-8"?><OneResponse xmlns:i="http://www.w3.org/2001/XMLSchema-instance" "#,
            r#"xmlns="http://schemas.servicestack.net/types">"#,
        );
        let one = Object::new(&ONE, vec![Value::Null]).inherits(item(HOSTILE));
        assert_eq!(
            written("xml", &one),
            [
                head,
                "<At>2026-03-04T10:00:00Z</At><Count>7</Count><Guid>00000000-0000-0000-0000-0000000000ab</Guid>",
                r#"<Inner><Other i:nil="true"/><Text>a,b</Text></Inner><Name>"&lt;é&gt;&amp;&#xD;"#,
                "\n\u{fffd}{x}</Name><On>2026-03-04T00:00:00Z</On>",
                r#"<ResponseStatus i:nil="true"/></OneResponse>"#,
            ]
            .concat()
        );
        let listed = written("xml", &list(vec![item("")]));
        assert!(listed.contains(r#"<ResponseStatus i:nil="true"/><Results><Item><At>"#), "{listed}");
        assert!(
            listed.contains(r#"<Name i:nil="true"/>"#) && listed.ends_with("</Results><Total>2</Total></ListResponse>")
        );
    }

    #[test]
    fn a_callback_gets_json_and_nothing_else_of_its_name() {
        let format = Format::jsonp("a.b_1(alert)é");
        assert_eq!(
            String::from_utf8(format.write(&list(vec![]))).unwrap(),
            "a.b_1_alert__({\"total\":2,\"results\":[]})"
        );
    }

    #[test]
    fn the_query_names_a_format_loosely_and_accept_by_the_servers_preference() {
        assert_eq!(Format::in_query("application/XML"), Some(Format::Xml));
        assert_eq!(
            (Format::in_query("CSV"), Format::in_query("text/csv"), Format::in_query("x")),
            (Some(Format::Csv), None, None)
        );
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("text/csv, */*", Format::Json),
            ("text/csv;q=1, application/xml;q=0.1", Format::Xml),
            ("application/xml, application/json;q=0.1", Format::Json),
            ("TEXT/JSV ; q=1", Format::Jsv),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Json),
            ("image/png", Format::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Format::accepted(&headers), format, "{accept}");
        }
    }
}
