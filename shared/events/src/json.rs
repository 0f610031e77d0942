//! JSON objects whose members are read one by one, so that each error has its place and nothing unused is built.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::poison::{Poison, Reason};

/// The largest event that is read: what an asynchronous invocation can carry (AWS Lambda Developer Guide, "Lambda quotas").
pub const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting that is read: `serde_json`'s own limit, which does not hold for values that are skipped.
pub const MAX_DEPTH: usize = 128;

/// The most members of an object and elements of a list.
pub const MAX_ENTRIES: usize = 10_000;

/// An object whose members have not been read, with its place in the event.
#[derive(Debug)]
pub(super) struct Object<'a> {
    path: String,
    members: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Object<'a> {
    /// Reads the event as a whole.
    pub(super) fn root(json: &'a str) -> Result<Self, Poison> {
        if json.len() > MAX_BYTES {
            return Err(Poison::at("$", Reason::TooLarge { bytes: json.len() }));
        }
        if is_too_deep(json) {
            return Err(Poison::at("$", Reason::TooDeep));
        }
        Self::read("$".to_owned(), json)
    }

    fn read(path: String, json: &'a str) -> Result<Self, Poison> {
        let Members { members, duplicate } = from_json(&path, json, "an object")?;
        if let Some(member) = duplicate {
            return Err(Poison::at(path, Reason::duplicate(&member)));
        }
        check_entries(&path, members.len())?;
        Ok(Self { path, members })
    }

    /// The object's place in the event.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A member's place in the event.
    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A member as it is written. Null is absent: AWS writes either.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.get(name).copied().filter(|raw| raw.get() != "null")
    }

    /// Names and values of all members.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, raw)| (name.as_ref(), *raw))
    }

    /// A member that is a string, if it is there at all.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Poison> {
        let Some(raw) = self.get(name) else {
            return Ok(None);
        };
        text(raw).map_or_else(|| Err(self.invalid(name, "a string", raw.get())), |text| Ok(Some(text)))
    }

    /// A member that is a string and is always there.
    pub(super) fn required(&self, name: &str) -> Result<Cow<'a, str>, Poison> {
        self.text(name)?.ok_or_else(|| self.missing(name, "a string"))
    }

    /// A member that is an identifier, if it is there at all.
    pub(super) fn id<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<Option<T>, Poison> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| self.invalid(name, expected, &text))
    }

    /// A member that is an identifier and is always there.
    pub(super) fn required_id<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<T, Poison> {
        self.id(name, expected)?.ok_or_else(|| self.missing(name, expected))
    }

    /// A member that is a string, or whatever else: nothing depends on it.
    pub(super) fn optional(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// A member that is a number, or whatever else: nothing depends on it.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// A member that is an object, if it is there at all.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Poison> {
        let Some(raw) = self.get(name) else {
            return Ok(None);
        };
        self.member(name, raw).map(Some)
    }

    /// A member that is an object, as somebody else has read it.
    pub(super) fn member<'b>(&self, name: &str, raw: &'b RawValue) -> Result<Object<'b>, Poison> {
        Object::read(self.path_of(name), raw.get())
    }

    /// A member that is an object, or whatever else: nothing depends on it. One that can be read in two ways is an error all the same.
    pub(super) fn optional_object(&self, name: &str) -> Result<Option<Self>, Poison> {
        self.object(name).or_else(Poison::unless_ambiguous)
    }

    /// The elements of a member that is a list, each with its place; none if it is absent or null. Null is no element.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Element<'a>>, Poison> {
        let Some(raw) = self.get(name) else {
            return Ok(Vec::new());
        };
        let path = self.path_of(name);
        let elements: Vec<&'a RawValue> = from_json(&path, raw.get(), "a list")?;
        check_entries(&path, elements.len())?;
        let element = |(index, raw): (usize, &'a RawValue)| Element {
            path: format!("{path}[{index}]"),
            raw,
        };
        let elements = elements.into_iter().enumerate();
        Ok(elements.filter(|(_, raw)| raw.get() != "null").map(element).collect())
    }

    /// An error about a member that is absent.
    pub(super) fn missing(&self, name: &str, expected: &'static str) -> Poison {
        Poison::at(self.path_of(name), Reason::Missing { expected })
    }

    /// An error about a member that is not what it should be.
    pub(super) fn invalid(&self, name: &str, expected: &'static str, found: &str) -> Poison {
        Poison::at(self.path_of(name), Reason::invalid(expected, found))
    }
}

/// An element of a list, with its place in the event.
#[derive(Debug)]
pub(super) struct Element<'a> {
    path: String,
    raw: &'a RawValue,
}

impl<'a> Element<'a> {
    /// The element, if it is a string.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        text(self.raw)
    }

    /// The element as an object.
    pub(super) fn object(self) -> Result<Object<'a>, Poison> {
        Object::read(self.path, self.raw.get())
    }

    /// An error about this element.
    pub(super) fn invalid(&self, expected: &'static str) -> Poison {
        Poison::at(self.path.as_str(), Reason::invalid(expected, self.raw.get()))
    }
}

/// The members of an object, and the first name that is there twice.
struct Members<'a> {
    members: BTreeMap<Cow<'a, str>, &'a RawValue>,
    duplicate: Option<String>,
}

/// A string that is borrowed unless it has escapes. (`Cow` alone always owns.)
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                let mut duplicate = None;
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.contains_key(&name) {
                        duplicate.get_or_insert_with(|| name.clone().into_owned());
                    }
                    members.insert(name, value);
                }
                Ok(Members { members, duplicate })
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// `serde_json`'s own messages are never shown: they quote the event, without limit.
fn from_json<'a, T: Deserialize<'a>>(path: &str, json: &'a str, expected: &'static str) -> Result<T, Poison> {
    serde_json::from_str(json).map_err(|error| {
        let reason = match error.classify() {
            Category::Data => Reason::invalid(expected, json),
            Category::Io | Category::Syntax | Category::Eof => Reason::NotJson {
                line: error.line(),
                column: error.column(),
            },
        };
        Poison::at(path, reason)
    })
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|Text(text)| text)
}

fn check_entries(path: &str, entries: usize) -> Result<(), Poison> {
    if entries > MAX_ENTRIES {
        return Err(Poison::at(path, Reason::TooMany { entries }));
    }
    Ok(())
}

/// Whether brackets are nested deeper than [`MAX_DEPTH`], by reading brackets and strings only.
fn is_too_deep(json: &str) -> bool {
    // So few brackets cannot be nested that deep: most events are done with here.
    if json.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
