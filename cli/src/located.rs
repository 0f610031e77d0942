//! JSON that knows where each value stands, so that a mistake can be shown with its line and column.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

/// Deeper than any policy.
const MAX_DEPTH: usize = 64;

/// A value, and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    /// Bytes of the text before it.
    pub(crate) offset: usize,
    /// Where its key begins, if it is the member of an object.
    pub(crate) key_offset: usize,
    /// The kind.
    pub(crate) kind: Kind,
    /// It was taken out: what is read further does not have it.
    pub(crate) dropped: bool,
}

/// The kind of a value.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Anything that has no parts.
    Plain(Value),
    /// A list.
    Array(Vec<Node>),
    /// Members in the order of the text; a key may stand twice.
    Object(Vec<(String, Node)>),
}

/// The way to a value: which part of a part, counted with what was taken out.
pub(crate) type Place = Vec<usize>;

/// Why a text is no JSON: the place, and what is wrong there.
#[derive(Debug)]
pub(crate) struct NotJson {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) problem: String,
}

impl Node {
    /// Reads a text.
    pub(crate) fn read(text: &str) -> Result<Self, NotJson> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(text, &error))?;
        Self::of(text, raw, 0).map_err(|error| not_json(text, &error))
    }

    fn of(text: &str, raw: &RawValue, depth: usize) -> Result<Self, serde_json::Error> {
        let inner = raw.get();
        // `inner` is a part of `text`: how far into it?
        let offset = (inner.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let kind = match inner.as_bytes().first() {
            Some(b'[') if depth < MAX_DEPTH => {
                let items: Vec<&RawValue> = serde_json::from_str(inner)?;
                let items = items.into_iter().map(|item| Self::of(text, item, depth + 1));
                Kind::Array(items.collect::<Result<_, _>>()?)
            }
            Some(b'{') if depth < MAX_DEPTH => {
                let members = serde_json::Deserializer::from_str(inner).deserialize_map(Members)?;
                let members = members.into_iter().map(|(key, value)| {
                    let mut node = Self::of(text, value, depth + 1)?;
                    node.key_offset = key_offset(text, node.offset, &key);
                    Ok((key, node))
                });
                Kind::Object(members.collect::<Result<_, serde_json::Error>>()?)
            }
            _ => Kind::Plain(serde_json::from_str(inner)?),
        };
        Ok(Self {
            offset,
            key_offset: offset,
            kind,
            dropped: false,
        })
    }

    /// The value, without the parts that were taken out. The last one of a key that stands twice counts.
    pub(crate) fn value(&self) -> Value {
        match &self.kind {
            Kind::Plain(value) => value.clone(),
            Kind::Array(items) => items.iter().filter(|item| !item.dropped).map(Self::value).collect(),
            Kind::Object(members) => {
                let left = members.iter().filter(|(_, node)| !node.dropped);
                Value::Object(
                    left.map(|(key, node)| (key.clone(), node.value()))
                        .collect::<Map<_, _>>(),
                )
            }
        }
    }

    /// The part at a place.
    pub(crate) fn at(&self, place: &[usize]) -> Option<&Self> {
        let Some((first, rest)) = place.split_first() else {
            return Some(self);
        };
        let part = match &self.kind {
            Kind::Plain(_) => None,
            Kind::Array(items) => items.get(*first),
            Kind::Object(members) => members.get(*first).map(|(_, node)| node),
        };
        part?.at(rest)
    }

    /// The same, to change it.
    pub(crate) fn at_mut(&mut self, place: &[usize]) -> Option<&mut Self> {
        let Some((first, rest)) = place.split_first() else {
            return Some(self);
        };
        let part = match &mut self.kind {
            Kind::Plain(_) => None,
            Kind::Array(items) => items.get_mut(*first),
            Kind::Object(members) => members.get_mut(*first).map(|(_, node)| node),
        };
        part?.at_mut(rest)
    }

    /// The member of an object.
    pub(crate) fn member(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Object(members) => members.iter().find(|(own, _)| own == key).map(|(_, node)| node),
            Kind::Plain(_) | Kind::Array(_) => None,
        }
    }

    /// The place that a path such as `exceptions[0].expires` names, counted without the parts that were taken out; as far as
    /// the path exists.
    pub(crate) fn resolve(&self, path: &str) -> Place {
        let mut place = Vec::new();
        let (mut node, mut rest) = (self, path);
        while let Some((index, next, left)) = node.step(rest) {
            place.push(index);
            (node, rest) = (next, left);
        }
        place
    }

    fn step<'a, 'b>(&'a self, path: &'b str) -> Option<(usize, &'a Self, &'b str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Array(items) => {
                let (number, left) = path.strip_prefix('[')?.split_once(']')?;
                let mut live = items.iter().enumerate().filter(|(_, item)| !item.dropped);
                let (index, item) = live.nth(number.parse().ok()?)?;
                Some((index, item, left))
            }
            Kind::Object(members) => {
                let ends = |left: &str| left.is_empty() || left.starts_with(['.', '[']);
                let fits = |key: &str| path.strip_prefix(key).filter(|left| ends(left));
                let live = members.iter().enumerate().filter(|(_, (_, node))| !node.dropped);
                let fitting = live.filter_map(|(index, (key, node))| Some((index, node, fits(key)?)));
                // Keys may have dots in them: the longest that fits is meant.
                fitting.min_by_key(|(_, _, left)| left.len())
            }
        }
    }

    /// How a place is written: `exceptions[0].expires`.
    pub(crate) fn path(&self, place: &[usize]) -> String {
        let mut path = String::new();
        let mut node = self;
        for index in place {
            match &node.kind {
                Kind::Plain(_) => break,
                Kind::Array(items) => {
                    path.push_str(&format!("[{index}]"));
                    let Some(next) = items.get(*index) else { break };
                    node = next;
                }
                Kind::Object(members) => {
                    let Some((key, next)) = members.get(*index) else { break };
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&guard_core::text::line(key, 60));
                    node = next;
                }
            }
        }
        path
    }
}

/// Line and column of an offset, both from 1, in characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Where the key of a value begins; where it is written with escapes, the value.
fn key_offset(text: &str, value: usize, key: &str) -> usize {
    let before = text.get(..value).unwrap_or_default().trim_end();
    let before = before.strip_suffix(':').unwrap_or(before).trim_end();
    let quoted = before.strip_suffix('"').and_then(|rest| rest.strip_suffix(key));
    quoted.and_then(|rest| rest.strip_suffix('"')).map_or(value, str::len)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(members)
    }
}

/// The problem of a text that is no JSON, for people who wrote it by hand.
fn not_json(text: &str, error: &serde_json::Error) -> NotJson {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let of_line = text.lines().nth(line - 1).unwrap_or_default();
    let rest = of_line.get(column - 1..).unwrap_or_default();
    let begins = text.trim_start();
    let problem = if begins.is_empty() {
        "The file is empty.".to_owned()
    } else if rest.starts_with('/') || rest.starts_with('#') {
        "JSON has no comments. Use \"$comment\".".to_owned()
    } else if !begins.starts_with(['{', '[', '"']) && begins.contains(':') {
        "This is not JSON (it looks like YAML).".to_owned()
    } else if let Some(bracket) = rest.chars().next().filter(|c| matches!(c, '}' | ']'))
        && before(text, line, column).trim_end().ends_with(',')
    {
        format!("Remove the comma before {bracket}.")
    } else if error.is_eof() {
        "The file ends too early: a bracket or a quotation mark is not closed.".to_owned()
    } else if rest.starts_with('\'') {
        "JSON has double quotation marks only.".to_owned()
    } else {
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        format!("This is not JSON: {said}.")
    };
    NotJson { line, column, problem }
}

/// The text before a place.
fn before(text: &str, line: usize, column: usize) -> &str {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    text.get(..start + column - 1).unwrap_or(text)
}

/// Whether it is a whole number.
pub(crate) fn whole(number: &Number) -> bool {
    number.is_u64() || number.is_i64()
}
