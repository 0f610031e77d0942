//! The form of a document: members, types and words, by the JSON Schema in `docs/policy.schema.json`. The rules' own reader
//! checks the meaning of the values.

use guard_core::text::line;
use serde_json::Value;

use crate::{
    located::{Kind, Node, Place, whole},
    policy::check::{Found, MAX_PROBLEMS},
};

/// Walks a document together with its schema, and notes the parts that have no place there.
pub(super) struct Walk<'a> {
    schema: &'a Value,
    root: &'a Node,
    found: Vec<Found>,
}

impl<'a> Walk<'a> {
    /// The mistakes in the form of `root`, the first [`MAX_PROBLEMS`].
    pub(super) fn all(schema: &'a Value, root: &'a Node) -> Vec<Found> {
        let mut walk = Self {
            schema,
            root,
            found: Vec::new(),
        };
        walk.node(schema, root, Vec::new());
        walk.found
    }

    fn found(&mut self, place: &Place, problem: String, member: Option<&str>) {
        if self.found.len() >= MAX_PROBLEMS {
            return;
        }
        let path = self.root.path(place);
        let path = match (path.is_empty(), member) {
            (_, None) => path,
            (true, Some(member)) => member.to_owned(),
            (false, Some(member)) => format!("{path}.{member}"),
        };
        self.found.push(Found {
            place: place.clone(),
            path,
            problem,
            offset: self.root.at(place).map_or(0, |node| node.offset),
        });
    }

    /// The schema itself, where it only names another one.
    fn resolve(&self, schema: &'a Value) -> (&'a Value, Option<&'a str>) {
        let Some(name) = schema.get("$ref").and_then(Value::as_str) else {
            return (schema, None);
        };
        let name = name.rsplit('/').next().unwrap_or_default();
        let found = self.schema.get("$defs").and_then(|defs| defs.get(name));
        (found.unwrap_or(&Value::Null), Some(name))
    }

    fn node(&mut self, schema: &'a Value, node: &'a Node, place: Place) {
        let (schema, name) = self.resolve(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            let fits = options.iter().find(|option| {
                let (option, _) = self.resolve(option);
                kind_of(option).is_none_or(|kind| is(kind, node))
            });
            match fits {
                Some(option) => self.node(option, node, place),
                None => self.found(&place, "This has another type than it should.".to_owned(), None),
            }
            return;
        }
        if let Some(kind) = kind_of(schema)
            && !is(kind, node)
        {
            let problem = self.wrong_type(kind, schema, node, &place);
            self.found(&place, problem, None);
            return;
        }
        match &node.kind {
            Kind::Array(items) => {
                if let Some(of) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.node(of, item, inside(&place, index));
                    }
                }
            }
            Kind::Object(members) => self.object(schema, members, &place),
            Kind::Plain(value) => self.word(schema, name, value, &place),
        }
    }

    fn word(&mut self, schema: &'a Value, name: Option<&str>, value: &Value, place: &Place) {
        if let (Some(words), Some(text)) = (schema.get("enum").and_then(Value::as_array), value.as_str()) {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            if !words.is_empty() && !words.contains(&text) {
                let noun = noun(name);
                let shown = guard_core::text::line(text, 40);
                let problem = match nearest(text, words.iter().copied()) {
                    Some(near) if words.len() > 4 || near.eq_ignore_ascii_case(text) => {
                        format!("\"{shown}\" is no {noun}. Did you mean {near}?")
                    }
                    _ => format!("\"{shown}\" is no {noun}. Use {}.", either(&words)),
                };
                self.found(place, problem, None);
            }
        }
        if schema.get("format").and_then(Value::as_str) == Some("date")
            && let Some(text) = value.as_str()
            && text.parse::<jiff::civil::Date>().is_err() | (text.len() != 10)
        {
            self.found(place, date_problem(text), None);
        }
        // A number that Rust's types have no room for; other limits are the rules' own.
        if kind_of(schema) == Some("integer") && value.as_u64().is_none_or(|number| number > u32::MAX.into()) {
            let limit = |name| schema.get(name).and_then(Value::as_u64);
            let (least, most) = (
                limit("minimum").unwrap_or(0),
                limit("maximum").unwrap_or(u32::MAX.into()),
            );
            self.found(place, format!("{value} is not between {least} and {most}."), None);
        }
    }

    fn object(&mut self, schema: &'a Value, members: &'a [(String, Node)], place: &Place) {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let names = schema
            .get("propertyNames")
            .and_then(|names| names.get("enum"))
            .and_then(Value::as_array);
        let mut meant: Vec<&str> = Vec::new();
        for (index, (key, node)) in members.iter().enumerate() {
            let here = inside(place, index);
            let shown = guard_core::text::line(key, 40);
            if members.iter().take(index).any(|(earlier, _)| earlier == key) {
                self.key(&here, format!("{shown} stands there twice."));
            } else if let Some(of) = known.and_then(|known| known.get(key)) {
                self.node(of, node, here);
            } else if let Some(names) = names
                && !names.iter().any(|name| name == key)
            {
                let words: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                let problem = match nearest(key, words.iter().copied()) {
                    Some(near) => format!("{shown} is no severity. Did you mean {near}?"),
                    None => format!("{shown} is no severity. Use {}.", either(&words)),
                };
                self.key(&here, problem);
            } else if let Some(of) = others {
                self.node(of, node, here);
            } else {
                let given = |name: &&String| !members.iter().any(|(other, _)| other == *name);
                let free = known.into_iter().flat_map(|known| known.keys()).filter(given);
                let problem = match nearest(key, free.map(String::as_str)) {
                    Some(near) => {
                        meant.push(near);
                        format!("{shown} is no member. Did you mean {near}?")
                    }
                    None => {
                        let all: Vec<&str> = known
                            .into_iter()
                            .flat_map(|known| known.keys())
                            .map(String::as_str)
                            .collect();
                        format!("{shown} is no member here. Members are {}.", all.join(", "))
                    }
                };
                self.key(&here, problem);
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = name.as_str() else { continue };
            if !members.iter().any(|(key, _)| key == name) && !meant.contains(&name) {
                self.found(place, missing(name), Some(name));
            }
        }
    }

    fn key(&mut self, place: &Place, problem: String) {
        self.found(place, problem, None);
        if let (Some(found), Some(node)) = (self.found.last_mut(), self.root.at(place)) {
            found.offset = node.key_offset;
        }
    }

    fn wrong_type(&self, kind: &str, schema: &'a Value, node: &Node, place: &Place) -> String {
        let last = self.root.path(place);
        match (kind, &node.kind) {
            ("array", Kind::Plain(Value::String(text))) => {
                format!("Write a list: [\"{}\"].", line(text, 60))
            }
            ("array", _) => "Write a list: [ … ].".to_owned(),
            ("object", _) if place.is_empty() => "A policy is one JSON object { … }.".to_owned(),
            ("object", _) => "Write an object: { … }.".to_owned(),
            ("integer", Kind::Plain(Value::String(text))) if text.parse::<u64>().is_ok() => match last.as_str() {
                "version" => "version is the number 1, without quotes.".to_owned(),
                _ => format!("Write the number {}, without quotes.", line(text, 60)),
            },
            ("integer", _) => "Write a whole number.".to_owned(),
            ("number", Kind::Plain(Value::String(text))) if text.parse::<f64>().is_ok() => {
                format!("Write the number {}, without quotes.", line(text, 60))
            }
            ("number", _) => "Write a number.".to_owned(),
            ("boolean", _) => "Write true or false, without quotes.".to_owned(),
            ("string", _) if schema.get("format").and_then(Value::as_str) == Some("date") => date_problem(""),
            ("string", _) => "Write a text, in double quotation marks.".to_owned(),
            _ => "This has another type than it should.".to_owned(),
        }
    }
}

fn inside(place: &Place, index: usize) -> Place {
    let mut place = place.clone();
    place.push(index);
    place
}

fn kind_of(schema: &Value) -> Option<&str> {
    schema.get("type").and_then(Value::as_str)
}

fn is(kind: &str, node: &Node) -> bool {
    match (&node.kind, kind) {
        (Kind::Array(_), kind) => kind == "array",
        (Kind::Object(_), kind) => kind == "object",
        (Kind::Plain(Value::String(_)), kind) => kind == "string",
        (Kind::Plain(Value::Bool(_)), kind) => kind == "boolean",
        (Kind::Plain(Value::Number(number)), kind) => kind == "number" || kind == "integer" && whole(number),
        (Kind::Plain(_), _) => false,
    }
}

/// The noun for the words of a choice, in a sentence.
fn noun(name: Option<&str>) -> &'static str {
    match name {
        Some("Action" | "NoScanAction" | "TagViolationAction") => "action",
        Some("Mode") => "mode",
        Some("Severity") => "severity",
        Some("BlockMethod") => "method",
        Some("TagMutability") => "tag mutability",
        Some("EncryptionType") => "type of encryption",
        _ => "word for this",
    }
}

fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn missing(name: &str) -> String {
    match name {
        "version" => "It is missing. Write \"version\": 1.".to_owned(),
        "mode" => "It is missing. Write \"mode\": \"report\" or \"mode\": \"enforce\".".to_owned(),
        "expires" => "It is missing. Write the last day, such as 2027-01-31.".to_owned(),
        "default" => "It is missing: alerts would have nowhere to go.".to_owned(),
        _ => "It is missing.".to_owned(),
    }
}

/// The day that somebody seems to have meant, as it is to be written.
fn date_problem(text: &str) -> String {
    let numbers: Vec<&str> = text.split(['.', '/', '-', ' ']).collect();
    let day = match numbers.as_slice() {
        [year, month, day] if year.len() == 4 => Some(format!("{year}-{month:0>2}-{day:0>2}")),
        // Without a dot, the numbers alone do not say which is the day and which is the month.
        [day, month, year] if year.len() == 4 && text.contains('.') => Some(format!("{year}-{month:0>2}-{day:0>2}")),
        _ => None,
    };
    let is_day = |day: &String| day.parse::<jiff::civil::Date>().is_ok();
    match text.split_once('T') {
        Some((day, _)) if is_day(&day.to_owned()) => format!("Write the last day as {day}, without a time."),
        _ => match day {
            Some(day) if is_day(&day) => format!("Write the last day as {day}."),
            // Longer ones are no days that somebody has mistaken.
            Some(day) if text == day && day.len() == "2027-01-31".len() => format!("There is no day {day}."),
            _ => "Write the last day as year, month and day, such as 2027-01-31.".to_owned(),
        },
    }
}

/// The word that was probably meant: alike, or with a common beginning.
fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let alike = |word: &&str| strsim::jaro_winkler(&given, &word.to_ascii_lowercase());
    let scored = words
        .map(|word| (word, alike(&word)))
        .filter(|(_, score)| *score > 0.75);
    scored.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(word, _)| word)
}
