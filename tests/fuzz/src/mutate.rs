//! Changes of inputs, each given by a number: what plain tests have in place of a fuzzer.

use serde_json::{Map, Value};

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

/// Texts that have broken programs.
const TEXTS: [&str; 22] = [
    "",
    " ",
    "\0",
    "a\nb\r\n",
    "\u{202e}\u{2066}txt",
    "\u{1b}[31mred",
    "<!channel> <https://evil.example|ok> *b* _i_ `c`",
    "../../../etc/passwd",
    "-1",
    "1e999",
    "null",
    "*",
    "**********************************a",
    "${aws:username}",
    "arn:aws:iam::123456789012:root",
    "sha256:zz",
    "2026-13-45T99:99:99Z",
    "-9999-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "NaN",
    "\u{feff}x",
    "é\u{301}\u{1f600}",
];

const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "1.5",
    "1e308",
    "-1e308",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "1e-400",
];

/// The input, changed in one to four places, and not longer than `most` bytes.
pub fn mutated(input: &str, most: usize, random: &mut Random) -> String {
    let mut text = input.to_owned();
    for _ in 0..=random.below(4) {
        text = match serde_json::from_str::<Value>(&text) {
            Ok(mut value) if random.below(5) > 0 => {
                change(&mut value, random);
                value.to_string()
            }
            _ => change_text(&text, random),
        };
        if text.len() > most {
            let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
    }
    text
}

/// The input with one list or text in it as long as `most` bytes allow: what takes long.
pub fn grown(input: &str, most: usize, random: &mut Random) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(input) else {
        return input.repeat((most / input.len().max(1)).max(1));
    };
    let room = most.saturating_sub(input.len());
    let mut places = 0;
    count(&value, &mut places);
    let mut place = random.below(places);
    at(&mut value, &mut place, &mut |value| match value {
        Value::Array(list) if !list.is_empty() => {
            let size = list.iter().map(|item| item.to_string().len() + 1).sum::<usize>().max(1);
            let all = list.clone();
            for number in 0..(room / size).min(200_000) {
                list.extend(all.iter().cloned().map(|item| numbered(item, number)));
            }
        }
        Value::Object(members) => {
            let all: Vec<(String, Value)> = members
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let size = members.len().max(1) * 8 + Value::Object(members.clone()).to_string().len();
            for number in 0..(room / size).min(20_000) {
                members.extend(
                    all.iter()
                        .map(|(name, value)| (format!("{name}{number}"), value.clone())),
                );
            }
        }
        Value::String(text) => *text = text.repeat(room / text.len().max(1) + 1),
        other => *other = Value::Array(vec![Value::Array(Vec::new()); room / 3]),
    });
    let text = value.to_string();
    if text.len() <= most { text } else { input.to_owned() }
}

/// Items of a list that are equal are often taken for one.
fn numbered(item: Value, number: usize) -> Value {
    match item {
        Value::String(text) if text.len() < 200 => Value::String(format!("{text}{number}")),
        Value::Object(mut members) => {
            if let Some((_, Value::String(text))) = members.iter_mut().next() {
                text.push_str(&number.to_string());
            }
            Value::Object(members)
        }
        other => other,
    }
}

fn count(value: &Value, places: &mut usize) {
    *places += 1;
    match value {
        Value::Array(list) => list.iter().for_each(|item| count(item, places)),
        Value::Object(members) => members.values().for_each(|item| count(item, places)),
        _ => {}
    }
}

/// Does something with the value at a place, counted from the outermost.
fn at(value: &mut Value, place: &mut usize, act: &mut impl FnMut(&mut Value)) -> bool {
    if *place == 0 {
        act(value);
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|item| at(item, place, act)),
        Value::Object(members) => members.values_mut().any(|item| at(item, place, act)),
        _ => false,
    }
}

fn change(value: &mut Value, random: &mut Random) {
    let mut places = 0;
    count(value, &mut places);
    let mut place = random.below(places);
    let (kind, number) = (random.below(12), random.below(1 << 16));
    at(value, &mut place, &mut |value| {
        let text = || TEXTS.get(number % TEXTS.len()).copied().unwrap_or_default();
        match kind {
            0 => *value = Value::Null,
            1 => *value = Value::Bool(number % 2 == 0),
            2 => {
                let digits = NUMBERS.get(number % NUMBERS.len()).copied().unwrap_or("0");
                *value = serde_json::from_str(digits).unwrap_or(Value::Null);
            }
            3 => *value = Value::String(text().to_owned()),
            4 => *value = Value::String(text().repeat(number % 300)),
            5 => *value = Value::Array(vec![value.take()]),
            6 => {
                let mut members = Map::new();
                members.insert(text().to_owned(), value.take());
                *value = Value::Object(members);
            }
            7 => (0..number % 100).for_each(|_| *value = Value::Array(vec![value.take()])),
            _ => change_inside(value, number, text()),
        }
    });
}

/// Takes something out of a value, doubles it, or renames it.
fn change_inside(value: &mut Value, number: usize, text: &str) {
    match value {
        Value::Array(list) if !list.is_empty() => {
            let place = number % list.len();
            match number % 3 {
                0 => drop(list.remove(place)),
                1 => list.extend(list.get(place).cloned()),
                _ => list.reverse(),
            }
        }
        Value::Object(members) if !members.is_empty() => {
            let name = members.keys().nth(number % members.len()).cloned().unwrap_or_default();
            if let Some(taken) = members.remove(&name)
                && !number.is_multiple_of(3)
            {
                members.insert(
                    if number % 3 == 1 {
                        text.to_owned()
                    } else {
                        name.to_uppercase()
                    },
                    taken,
                );
            }
        }
        Value::String(old) => {
            let middle = old
                .char_indices()
                .map(|(at, _)| at)
                .nth(number % old.len().max(1))
                .unwrap_or(0);
            old.insert_str(middle, text);
        }
        Value::Number(old) => {
            let digits = format!("{old}0");
            *value = serde_json::from_str(&digits).unwrap_or(Value::Null);
        }
        other => *other = Value::String(text.to_owned()),
    }
}

/// Changes a text as bytes, and keeps what is UTF-8 of it.
fn change_text(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = random.below(characters.len() + 1);
    let end = (place + random.below(40)).min(characters.len());
    match random.below(6) {
        0 => characters.truncate(place),
        1 => drop(characters.drain(place..end)),
        2 => {
            let part: Vec<char> = characters.get(place..end).unwrap_or_default().to_vec();
            characters.extend(part);
        }
        3 => {
            let piece = TEXTS.get(random.below(TEXTS.len())).copied().unwrap_or_default();
            characters.splice(place..place, piece.chars());
        }
        4 => {
            let mark = ['"', '{', '}', '[', ']', ',', ':', '\\', '<', '%', '/', '@'];
            let mark = mark.get(random.below(mark.len())).copied().unwrap_or('"');
            match characters.get_mut(place) {
                Some(character) => *character = mark,
                None => characters.push(mark),
            }
        }
        _ => {
            if let Some(character) = characters.get_mut(place) {
                *character = char::from_u32(u32::from(*character) ^ (1 << random.below(7))).unwrap_or('\u{fffd}');
            }
        }
    }
    characters.into_iter().collect()
}
