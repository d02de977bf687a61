//! Lines that are nearly events: valid ones with bytes, tokens and members changed, from a seed.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use usage_rollup::generate::{self, Plan};

use super::oracle_json::{Json, parse, quoted};
use super::random_events;

/// Numbers from a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end.max(1) as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Lines as producers write them, and lines in the many spellings of `random_events`, some of which are malformed.
pub fn originals() -> Vec<Vec<u8>> {
    let end = random_events::NOW[..10].parse().unwrap();
    let plan = Plan { events: 3_000, services: 40, users: 900, days: 20, seed: 11, end };
    let mut generated = Vec::new();
    generate::write(&plan, &mut generated, &mut |_| {}).unwrap();
    let mut lines: Vec<Vec<u8>> = generated.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let odd = random_events::lines(false).new_tree(&mut runner).unwrap().current();
        lines.extend(odd.into_iter().filter(|line| line.len() < 5_000).map(String::into_bytes));
    }
    lines
}

/// What is likely to be read wrongly.
const TOKENS: [&str; 61] = [
    "\"",
    "\\",
    "\\\"",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\u12",
    "\\x",
    "\\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\t",
    "\r",
    "  ",
    "0",
    "1",
    "-1",
    "-0",
    "01",
    "1.0",
    "1e3",
    "9007199254740992",
    "9007199254740993",
    "12345678",
    "1234567",
    "99999999999999999999",
    "1e999",
    "null",
    "true",
    "false",
    "nul",
    "{}",
    "[]",
    "\"\"",
    "{\"a\":[1,{\"b\":null}]}",
    "\"id\":\"x\",",
    "\"type\":\"user.enabled\",",
    "\"data\":{},",
    "\"userGuid\":null,",
    "\"x\":1,",
    "\u{7f}",
    "\u{e9}",
    "\u{1f600}",
    "\u{2028}",
    "%41",
    "%4",
    "%zz",
    "/",
    "-",
    "3f2b8c1e7d544f0a9a550d6f1f8f7a10",
    "3F2B8C1E-7D54-4F0A-9A55-0D6F1F8F7A10",
    "Z",
    "+05:30",
    ".123456789123",
    "\u{feff}",
];

/// One to four changes. The line holds no line feed.
pub fn mutated(original: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut line = original.to_vec();
    for _ in 0..=dice.below(4) {
        change(&mut line, dice);
    }
    for byte in &mut line {
        *byte = if *byte == b'\n' { b' ' } else { *byte };
    }
    line
}

fn change(line: &mut Vec<u8>, dice: &mut Dice) {
    if line.is_empty() {
        return;
    }
    let (at, other) = (dice.below(line.len()), dice.below(line.len()));
    let (first, last) = (at.min(other), at.max(other));
    match dice.below(14) {
        0 => line[at] ^= 1 << dice.below(8),
        1 => line[at] = u8::try_from(dice.below(256)).unwrap(),
        2 => line[at] = *dice.pick(b"\"\\{}[],:0123456789abcdefABCDEFgG-. \t@`/;Zn"),
        3 => line.insert(at, *dice.pick(b"\"\\{}[],:019afAF-. \tZ")),
        4 => drop(line.remove(at)),
        5 => line.truncate(at),
        6 => drop(line.drain(first..last.min(first + 12))),
        7 => drop(line.splice(at..at, line[first..last.min(first + 40)].to_vec())),
        8 => drop(line.splice(at..at, dice.pick(&TOKENS).bytes())),
        9 => drop(line.splice(at..(at + 1 + dice.below(6)).min(line.len()), dice.pick(&TOKENS).bytes())),
        10 => nest(line, at, dice),
        11 => respell(line, dice),
        _ => rearrange(line, dice),
    }
}

/// Puts a deeply nested value where a value may begin.
fn nest(line: &mut Vec<u8>, from: usize, dice: &mut Dice) {
    let Some(colon) = line[from..].iter().position(|byte| *byte == b':') else { return };
    let depth = 120 + dice.below(12);
    let nested = format!("{}1{},\"y\":", "[".repeat(depth), "]".repeat(depth));
    let value = from + colon + 1;
    line.splice(value..value, nested.into_bytes());
}

/// Letters in the other case, or hyphens left out.
fn respell(line: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(line.len());
    let end = (at + 36).min(line.len());
    match dice.below(3) {
        0 => line[at..end].make_ascii_uppercase(),
        1 => line[at..end].iter_mut().for_each(|byte| *byte = if *byte == b'-' { b'0' } else { *byte }),
        _ => drop(line.splice(at..end, line[at..end].iter().copied().filter(|byte| *byte != b'-').collect::<Vec<_>>())),
    }
}

/// Members in another order, twice, away, null, or renamed; in the envelope or in `data`.
fn rearrange(line: &mut Vec<u8>, dice: &mut Dice) {
    let Some(mut json) = std::str::from_utf8(line).ok().and_then(parse) else { return };
    let Json::Object(members) = &mut json else { return };
    let data = members.iter().position(|(name, _)| name == "data").filter(|_| dice.below(2) == 0);
    match data.map(|at| &mut members[at].1) {
        Some(Json::Object(inner)) => rearrange_members(inner, dice),
        _ => rearrange_members(members, dice),
    }
    let mut text = String::new();
    write(&json, &mut text, dice.below(8) == 0);
    *line = text.into_bytes();
}

fn rearrange_members(members: &mut Vec<(String, Json)>, dice: &mut Dice) {
    if members.is_empty() {
        return;
    }
    let (at, other) = (dice.below(members.len()), dice.below(members.len()));
    match dice.below(6) {
        0 => members.swap(at, other),
        1 => members.rotate_left(at),
        2 => members.insert(at, members[other].clone()),
        3 => drop(members.remove(at)),
        4 => {
            members[at].1 = [Json::Null, Json::Bool(true), Json::Number("7".to_owned()), Json::Array(vec![])]
                [dice.below(4)]
            .clone();
        }
        _ => members[at].0.push('x'),
    }
}

fn write(json: &Json, text: &mut String, spaced: bool) {
    let comma = if spaced { ", " } else { "," };
    match json {
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                write(item, text, spaced);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index > 0 { comma } else { "" });
                text.push_str(&quoted(name));
                text.push_str(if spaced { ": " } else { ":" });
                write(value, text, spaced);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.canonical()),
    }
}
