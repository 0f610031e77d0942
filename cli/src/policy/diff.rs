//! `policy diff`: what another policy says otherwise, whatever the order of members and whichever defaults are written out.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::{glob::Glob, ids::RepositoryName, text};
use serde::Serialize;
use serde_json::{Map, Value};

/// The key by which an entry of a list is recognised, its place, and the rest of it.
type Keyed = Vec<(String, usize, Value)>;

/// The members by which entries of the lists are recognised.
const KEYS: [(&str, &[&str]); 3] = [
    (
        "rules",
        &[
            "severities",
            "fix",
            "exploit",
            "min_score",
            "min_epss",
            "package_types",
            "packages",
            "vulnerabilities",
            "repositories",
        ],
    ),
    (
        "exceptions",
        &["vulnerability", "package", "repositories", "tag", "digest"],
    ),
    ("repositories", &["match"]),
];

/// One thing that another policy says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its place, in the new document where it is there, and otherwise in the old one.
    pub path: String,
    /// The kind.
    pub what: What,
    /// The old value; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The new value; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The globs of the repositories that it is for; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Only the new policy has it.
    Added,
    /// Only the old policy has it.
    Removed,
    /// Both have it, and not the same.
    Changed,
    /// An entry that others now stand before, or behind: the first that matches decides.
    Moved,
}

/// The changes from `old` to `new`: documents with all defaults written out.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut found = Vec::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let is_list = |name: &str| KEYS.iter().any(|(list, _)| *list == name);
    for name in names.into_iter().filter(|name| !is_list(name)) {
        value(name, old.get(name), new.get(name), &[], &mut found);
    }
    for (list, keys) in KEYS {
        entries(
            (list, keys),
            &keyed(old.get(list), keys),
            &keyed(new.get(list), keys),
            &mut found,
        );
    }
    found
}

/// The changes for a repository. Only the first entry of `repositories` that matches it counts.
pub fn for_repository(changes: &[Change], old: &Value, new: &Value, name: &RepositoryName) -> Vec<Change> {
    let matches = |glob: &String| glob.parse().is_ok_and(|glob: Glob| glob.matches(name.as_str()));
    let first = |document: &Value| {
        let entries = document
            .get("repositories")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut globs = entries.filter_map(|entry| Some(entry.get("match")?.as_str()?.to_owned()));
        globs.find(matches)
    };
    let firsts = [first(old), first(new)];
    let counts = |change: &&Change| match change.path.starts_with("repositories[") {
        true => change
            .repositories
            .iter()
            .any(|glob| firsts.iter().flatten().any(|first| first == glob)),
        false => change.repositories.is_empty() || change.repositories.iter().any(matches),
    };
    changes.iter().filter(counts).cloned().collect()
}

fn value(path: &str, old: Option<&Value>, new: Option<&Value>, repositories: &[String], found: &mut Vec<Change>) {
    let said = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                value(
                    &format!("{path}.{name}"),
                    old.get(name),
                    new.get(name),
                    repositories,
                    found,
                );
            }
        }
        _ => {
            let (before, after) = (said(old), said(new));
            let what = match (&before, &after) {
                (before, after) if before == after => return,
                (None, _) => What::Added,
                (_, None) => What::Removed,
                _ => What::Changed,
            };
            found.push(Change {
                path: path.to_owned(),
                what,
                before,
                after,
                repositories: repositories.to_vec(),
            });
        }
    }
}

fn keyed(list: Option<&Value>, keys: &[&str]) -> Keyed {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let entries = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    let keyed = entries.map(|(index, entry)| {
        let parts: Vec<String> = keys
            .iter()
            .map(|key| {
                let said = entry.get(key).unwrap_or(&Value::Null).to_string();
                // As the rules compare them.
                let in_any_case = key.starts_with("vulnerabilit");
                if in_any_case { said.to_ascii_lowercase() } else { said }
            })
            .collect();
        let key = parts.join(" ");
        // The order distinguishes two entries of one key.
        let nth = seen.entry(key.clone()).or_default();
        *nth += 1;
        (format!("{key} {nth}"), index, entry.clone())
    });
    keyed.collect()
}

fn entries((list, keys): (&str, &[&str]), old: &Keyed, new: &Keyed, found: &mut Vec<Change>) {
    let of = |keyed: &Keyed, key: &str| keyed.iter().find(|(own, _, _)| own == key).cloned();
    let whole = |what, index: usize, entry: &Value| {
        let entry = without_nulls(entry);
        Change {
            path: format!("{list}[{index}]"),
            what,
            repositories: scope(list, &entry),
            before: (what == What::Removed).then(|| entry.clone()),
            after: (what != What::Removed).then_some(entry),
        }
    };
    for (key, index, entry) in old {
        if of(new, key).is_none() {
            found.push(whole(What::Removed, *index, entry));
        }
    }
    let kept = |(key, _, _): &(String, usize, Value)| old.iter().position(|(own, _, _)| own == key);
    let stays = in_order(&new.iter().filter_map(kept).collect::<Vec<_>>());
    for (key, index, entry) in new {
        let Some(position) = old.iter().position(|(own, _, _)| own == key) else {
            found.push(whole(What::Added, *index, entry));
            continue;
        };
        // The order of exceptions says nothing: each holds by itself.
        if !stays.contains(&position) && list != "exceptions" {
            found.push(whole(What::Moved, *index, entry));
        }
        let repositories = scope(list, entry);
        let before = old.get(position).map(|(_, _, before)| without(before, keys));
        let after = without(entry, keys);
        value(
            &format!("{list}[{index}]"),
            before.as_ref(),
            Some(&after),
            &repositories,
            found,
        );
    }
}

/// The most of these numbers that stand in ascending order: what is not among them was moved.
fn in_order(positions: &[usize]) -> Vec<usize> {
    let mut best: Vec<Vec<usize>> = Vec::new();
    for position in positions {
        let before = best.iter().filter(|run| run.last().is_some_and(|last| last < position));
        let mut run = before.max_by_key(|run| run.len()).cloned().unwrap_or_default();
        run.push(*position);
        best.push(run);
    }
    best.into_iter().max_by_key(Vec::len).unwrap_or_default()
}

/// An entry without the members by which it was recognised.
fn without(entry: &Value, keys: &[&str]) -> Value {
    let members = entry.as_object().into_iter().flatten();
    let others = members.filter(|(member, _)| !keys.contains(&member.as_str()));
    Value::Object(others.map(|(member, value)| (member.clone(), value.clone())).collect())
}

/// The repositories that an entry is for.
fn scope(list: &str, entry: &Value) -> Vec<String> {
    let texts = match list {
        "repositories" => entry.get("match").map(std::slice::from_ref),
        _ => entry.get("repositories").and_then(Value::as_array).map(Vec::as_slice),
    };
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let said = members
                .iter()
                .filter(|(_, value)| !value.is_null() && **value != Value::Bool(false));
            let said = said.filter(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()));
            Value::Object(said.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// The changes, for people: a line for each.
pub fn text(changes: &[Change]) -> String {
    let shown = |value: &Option<Value>| match value {
        None => "not said".to_owned(),
        Some(Value::String(word)) => text::line(word, 80),
        Some(other) => text::line(&other.to_string(), 200),
    };
    let mut lines = String::new();
    for change in changes {
        let (before, after) = (shown(&change.before), shown(&change.after));
        let said = match change.what {
            What::Added if change.path.ends_with(']') => format!("new: {after}"),
            What::Removed if change.path.ends_with(']') => format!("removed, in the old policy: {before}"),
            What::Moved => format!("stands at another place: {after}"),
            What::Added | What::Removed | What::Changed => format!("{before} -> {after}"),
        };
        let names: Vec<String> = change.repositories.iter().map(|glob| format!("`{glob}`")).collect();
        let place = match names.as_slice() {
            [] => String::new(),
            names => format!(" (in {})", names.join(", ")),
        };
        lines.push_str(&format!("{}: {said}{place}\n", change.path));
    }
    lines.push_str(&match changes.len() {
        0 => "The policies say the same.\n".to_owned(),
        1 => "1 change\n".to_owned(),
        number => format!("{number} changes\n"),
    });
    lines
}
