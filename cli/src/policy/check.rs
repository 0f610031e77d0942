//! `policy check`: all mistakes of a document at once, each with its place; and what the policy does.

use std::sync::LazyLock;

use guard_core::policy::Policy;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    located::{Kind, Node, Place, line_and_column},
    policy::form::Walk,
};

/// A valid document with all defaults written out; `None`: it is not valid. A file without routes has none of them.
pub fn written_out(text: &str) -> Option<Value> {
    let root = Node::read(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    let mut value = Policy::written_out(&completed(&root, None).to_string()).ok()?;
    if root.member("routes").is_none() {
        value.as_object_mut()?.remove("routes");
    }
    Some(value)
}

/// A check ends after this number of mistakes: an author of so long a list begins with the first ones.
pub(super) const MAX_PROBLEMS: usize = 100;

/// The topic that a route has in a file without routes.
const SOME_TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:alerts";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // A test holds that this file is the schema of the code.
    serde_json::from_str(include_str!("../../../docs/policy.schema.json")).unwrap_or_default()
});

/// A mistake in a document, before its place has become line and column.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) problem: String,
    /// Bytes of the text before it.
    pub(super) offset: usize,
}

/// Something to say about a place in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Said {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Place in the document, such as `exceptions[0].expires`; empty: the document itself.
    pub path: String,
    /// The text.
    pub text: String,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// It can be deployed.
    pub valid: bool,
    /// The mistakes, in the order of the text.
    pub problems: Vec<Said>,
    /// The remarks about a valid document.
    pub warnings: Vec<Said>,
    /// The effect of the policy. Only for a valid document.
    pub summary: Vec<String>,
}

/// Checks the text of a document. `routes`: the names of routes that the deployment adds; `None`: not known.
pub fn check(text: &str, routes: Option<&[String]>, now: Timestamp) -> Checked {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut root = match Node::read(text) {
        Ok(root) => root,
        Err(error) => {
            let said = Said {
                line: error.line,
                column: error.column,
                path: String::new(),
                text: error.problem,
            };
            return Checked::refused(vec![said]);
        }
    };
    let mut found = Walk::all(&SCHEMA, &root);
    let mut gone = Gone::default();
    for mistake in &found {
        gone.take(&mut root, &mistake.place);
    }
    let policy = loop {
        match Policy::from_json(&completed(&root, routes).to_string(), now) {
            Ok(policy) => break Some(policy),
            Err(error) => {
                let place = root.resolve(&error.path);
                // A part that was taken out may be reported as missing.
                let follows = gone.0.iter().any(|taken| taken.starts_with(&place));
                if !follows {
                    let problem = error.problem.split(" at line ").next().unwrap_or_default();
                    found.push(Found {
                        path: if error.path == "." {
                            String::new()
                        } else {
                            path_of(&root, &place, &error.path)
                        },
                        place: place.clone(),
                        problem: sentence(problem),
                        offset: root.at(&place).map_or(0, |node| node.offset),
                    });
                }
                if found.len() >= MAX_PROBLEMS || !gone.take(&mut root, &place) {
                    break None;
                }
            }
        }
    };
    let said = |offset: usize, path: String, words: String| {
        let (line, column) = line_and_column(text, offset);
        Said {
            line,
            column,
            path,
            text: words,
        }
    };
    if !found.is_empty() || policy.is_none() {
        let problems = found.into_iter().map(|it| said(it.offset, it.path, it.problem));
        return Checked::refused(problems.collect());
    }
    let Some(policy) = policy else {
        return Checked::refused(Vec::new());
    };
    let remarks = policy.remarks(now).into_iter();
    let warnings = remarks.map(|remark| {
        let offset = root.at(&root.resolve(&remark.path)).map_or(0, |node| node.offset);
        said(offset, remark.path, sentence(&remark.text))
    });
    let warnings = warnings.filter(|warning| root.member("routes").is_some() || !warning.path.starts_with("routes."));
    Checked {
        valid: true,
        problems: Vec::new(),
        warnings: warnings.collect(),
        summary: policy.describe(now),
    }
}

impl Checked {
    fn refused(mut problems: Vec<Said>) -> Self {
        problems.sort();
        problems.dedup();
        Self {
            valid: false,
            problems,
            warnings: Vec::new(),
            summary: Vec::new(),
        }
    }
}

/// The path as the rules name it, with the numbers that the entries have in the text.
fn path_of(root: &Node, place: &[usize], named: &str) -> String {
    let path = root.path(place);
    if place.is_empty() { named.to_owned() } else { path }
}

/// A capital letter at its beginning, unless its first word is code, and a full stop at its end.
fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let mut chars = text.chars();
    let text = match chars.next() {
        Some(first) if word.chars().all(|c| c.is_lowercase() || matches!(c, '\'' | ',' | ':')) => {
            format!("{}{}", first.to_uppercase(), chars.as_str())
        }
        _ => text.to_owned(),
    };
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        text + "."
    }
}

/// The parts that were taken out of a document, so that the rest of it can be read.
#[derive(Debug, Default)]
struct Gone(Vec<Place>);

impl Gone {
    /// Takes out the value at a place, or puts one there that does no harm; whether anything is changed by that.
    fn take(&mut self, root: &mut Node, place: &[usize]) -> bool {
        self.0.push(place.to_vec());
        let path = root.path(place);
        let harmless = harmless(&path);
        let Some(node) = root.at_mut(place) else { return false };
        if place.is_empty() || node.dropped {
            return false;
        }
        match harmless {
            Some(value) if node.value() != value => {
                let (offset, key_offset) = (node.offset, node.key_offset);
                *node = Node {
                    offset,
                    key_offset,
                    kind: Kind::Plain(value),
                    dropped: false,
                };
            }
            Some(_) | None => node.dropped = true,
        }
        true
    }
}

/// An entry of a list that others are counted by, or a member that must be there: what can stand in its place.
fn harmless(path: &str) -> Option<Value> {
    let (list, rest) = path.split_once('[').unwrap_or((path, ""));
    let (index, member) = rest.split_once(']').unwrap_or(("", rest));
    let entry = match list {
        "version" => return Some(json!(1)),
        "mode" => return Some(json!("report")),
        "exceptions" => {
            json!({"vulnerability": format!("CVE-0000-{index}"), "repositories": [format!("none-{index}")], "owner": "-",
            "reason": "-", "expires": "2000-01-01"})
        }
        "rules" => json!({"vulnerabilities": [format!("CVE-0000-{index}")], "action": "block"}),
        "repositories" => json!({"match": format!("none-{index}")}),
        _ => return None,
    };
    match member.strip_prefix('.') {
        None if member.is_empty() && !index.is_empty() => Some(entry),
        None => None,
        Some(member) => entry.get(member).filter(|_| member != "vulnerabilities").cloned(),
    }
}

/// The document as it will be deployed: with routes where it has none, because the deployment adds them, and with what it lacks otherwise.
fn completed(root: &Node, routes: Option<&[String]>) -> Value {
    let mut value = root.value();
    let Some(document) = value.as_object_mut() else {
        return value;
    };
    document.entry("version").or_insert(json!(1));
    document.entry("mode").or_insert(json!("report"));
    for list in ["exceptions", "rules", "repositories"] {
        let entries = document.get_mut(list).and_then(Value::as_array_mut);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let (Some(entry), Some(Value::Object(whole))) =
                (entry.as_object_mut(), harmless(&format!("{list}[{index}]")))
            else {
                continue;
            };
            let required: &[&str] = match list {
                "exceptions" => &["vulnerability", "repositories", "owner", "reason", "expires"],
                "rules" => &["action"],
                _ => &["match"],
            };
            for (member, value) in whole
                .into_iter()
                .filter(|(member, _)| required.contains(&member.as_str()))
            {
                entry.entry(member).or_insert(value);
            }
        }
    }
    let given = document.get("routes").and_then(Value::as_object).is_some();
    if !given {
        let names = match routes {
            Some(names) => names.to_vec(),
            None => named_routes(document),
        };
        let names = names.into_iter().chain(["default".to_owned()]);
        let topics: Map<String, Value> = names.map(|name| (name, json!(SOME_TOPIC))).collect();
        document.insert("routes".to_owned(), Value::Object(topics));
    } else if let Some(of) = document.get_mut("routes").and_then(Value::as_object_mut) {
        // That it is missing has been said.
        of.entry("default").or_insert(json!(SOME_TOPIC));
    }
    // An entry may name a route whose topic is wrong: that is one mistake, and not two.
    if let (Some(Kind::Object(given)), Some(of)) = (
        root.member("routes").map(|routes| &routes.kind),
        value.get_mut("routes").and_then(Value::as_object_mut),
    ) {
        for (name, _) in given.iter().filter(|(_, route)| route.dropped) {
            of.entry(name.clone()).or_insert(json!(SOME_TOPIC));
        }
    }
    value
}

fn named_routes(document: &Map<String, Value>) -> Vec<String> {
    let entries = document.get("repositories").and_then(Value::as_array);
    let route = |entry: &Value| entry.get("route")?.as_str().map(str::to_owned);
    entries.into_iter().flatten().filter_map(route).collect()
}
