//! The place in a JSON document that could not be read, by the names of its members.
//!
//! A deserializer that keeps the path as it reads doubles the code of every type that it reads: 300 KiB of a function. serde's error has the
//! position in the text; the path is found again from it, and only where something is wrong.

use serde::Deserialize;

/// A document that is not of its type.
#[derive(Debug)]
pub(crate) struct Misread {
    /// The place, such as `rules[0].action`; `.` is the document itself.
    pub(crate) path: String,
    /// The problem, with line and column.
    pub(crate) problem: serde_json::Error,
}

/// Reads a document.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Misread> {
    serde_json::from_str(json).map_err(|problem| Misread {
        path: place(json, &problem),
        problem,
    })
}

/// A list or an object that is open where the text ends, and the member that comes there.
#[derive(Debug, Clone)]
enum Open {
    Object { key: Option<String> },
    List { index: usize },
}

/// The place of an error.
fn place(json: &str, error: &serde_json::Error) -> String {
    let lines = json.split_inclusive('\n').take(error.line().saturating_sub(1));
    let end = lines.map(str::len).sum::<usize>() + error.column();
    // The last character itself breaks the form.
    let end = end.saturating_sub(usize::from(error.is_syntax()));
    let read = json.as_bytes().get(..end).unwrap_or(json.as_bytes());
    let (mut open, closed) = follow(read);
    // An error of a value itself is noticed after it, and that is after the end of what it is the last member of. A field that is missing is no member.
    if error.is_data() && !error.to_string().starts_with("missing field") {
        open.extend(closed);
    }
    match (open.last_mut(), read.trim_ascii_end().last()) {
        // The comma is read before an item of a list is refused.
        (Some(Open::List { index }), Some(b',')) if error.is_data() => *index = index.saturating_sub(1),
        // A list where none belongs.
        (Some(Open::List { .. }), Some(b'[')) if error.is_data() => drop(open.pop()),
        _ => {}
    }
    display(&open)
}

/// Lists and objects that are open at the end of a text, and the one that its last character has closed.
fn follow(text: &[u8]) -> (Vec<Open>, Option<Open>) {
    let (mut open, mut closed): (Vec<Open>, Option<Open>) = (Vec::new(), None);
    let mut names_member = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        if byte.is_ascii_whitespace() {
            continue;
        }
        if open.is_empty() && closed.is_some() {
            // Something after the document.
            return (Vec::new(), None);
        }
        closed = None;
        match byte {
            b'{' => {
                open.push(Open::Object { key: None });
                names_member = true;
            }
            b'[' => open.push(Open::List { index: 0 }),
            b'}' | b']' => {
                closed = open.pop();
                names_member = false;
            }
            b',' => match open.last_mut() {
                Some(Open::Object { key }) => {
                    *key = None;
                    names_member = true;
                }
                Some(Open::List { index }) => *index += 1,
                None => {}
            },
            b':' => names_member = false,
            b'"' => {
                let (raw, end) = string(text, at);
                at = end;
                if let (true, Some(Open::Object { key })) = (names_member, open.last_mut()) {
                    *key = raw;
                }
            }
            _ => {}
        }
    }
    (open, closed)
}

/// The string that begins after a quote, and the end of it; `None`: it does not end.
fn string(text: &[u8], begin: usize) -> (Option<String>, usize) {
    let mut at = begin;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let quoted = text.get(begin - 1..=at).unwrap_or_default();
                return (serde_json::from_slice(quoted).ok(), at + 1);
            }
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    (None, at)
}

fn display(open: &[Open]) -> String {
    let mut path = String::new();
    for step in open {
        match step {
            Open::Object { key: Some(key) } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Open::Object { key: None } => {}
            Open::List { index } => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
    if path.is_empty() { ".".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A document with one of everything that types of documents have.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "the values are not used")]
    struct Document {
        number: u8,
        #[serde(default)]
        day: Option<jiff::civil::Date>,
        #[serde(default)]
        digest: Option<crate::ids::Digest>,
        #[serde(default)]
        digests: Vec<crate::ids::Digest>,
        #[serde(default)]
        choice: Choice,
        #[serde(default)]
        list: Vec<Self>,
        #[serde(default)]
        map: BTreeMap<String, Self>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Choice {
        #[default]
        One,
        Other,
    }

    /// The place by the deserializer that keeps the path.
    fn kept(json: &str) -> Option<String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let read = serde_path_to_error::deserialize::<_, Document>(&mut deserializer);
        match read {
            Ok(_) => deserializer.end().err().map(|_| ".".to_owned()),
            Err(error) => Some(error.path().to_string().replace(".?", "").replace('?', ".")),
        }
    }

    #[test]
    fn the_place_is_that_of_a_deserializer_that_keeps_the_path() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let good = [
            "",
            r#", "day": "2026-01-02""#,
            r#", "list": []"#,
            r#", "choice": "other""#,
        ];
        let bad = [
            r#""number": 256"#,
            r#""number": "1""#,
            r#""number": {}"#,
            r#""number": []"#,
            r#""number": tru"#,
            r#""number": 1, "number": 2"#,
            r#""day": "2026-02-30", "number": 1"#,
            r#""number": 1, "day": "2026-02-30""#,
            r#""number": 1, "day": ["2026-02-30"]"#,
            r#""number": 1, "digest": "sha256:0""#,
            r#""digest": "sha256:0", "number": 1"#,
            r#""number": 1, "digests": ["sha256:0"]"#,
            &format!(r#""number": 1, "digests": ["{digest}", "sha256:0"]"#),
            &format!(r#""number": 1, "digests": ["{digest}", "sha256:0", 1]"#),
            r#""number": 1, "choice": "third""#,
            r#""number": 1, "choice": {"third": 1}"#,
            r#""number": 1, "un\"known": {"a": [1]}"#,
            r#""number": 1, "list": {}"#,
            r#""number": 1, "list": [1, 2]"#,
            r#""number": 1, "list": [{"number": 1}, [2], 3]"#,
            r#""number": 1, "map": []"#,
            r#""day": null"#,
            "",
            r#""number": 1, "list": ["#,
            r#""number": 1, "li"#,
            r#""number" 1"#,
        ];
        let mut checked = 0;
        for bad in bad {
            for more in good {
                let inner = format!("{{{bad}{more}}}");
                for (before, after) in [
                    ("", ""),
                    ("\n\n ", "\n"),
                    (r#"{"number": 1, "list": [{"number": 1}, "#, "]}"),
                    (r#"{"list": ["#, r#" , {"number": 1}], "number": 1}"#),
                    ("{\"number\": 1, \"map\": {\"a\u{e4}.b\":\n", "}}"),
                    (r#"{"map": {"a": {"number": 3}, "b": "#, r#"}, "number": 1}"#),
                    (r#"{"number": 1, "map": {"a": {"number": 1, "list": [ "#, " ]} } }"),
                ] {
                    let json = format!("{before}{inner}{after}");
                    let Some(expected) = kept(&json) else { continue };
                    let Misread { path, problem } = read::<Document>(&json).unwrap_err();
                    // Between two members, for an unknown variant, and for a member that stands there twice, ours names the member, and the other
                    // what it is in.
                    let within = path.strip_prefix(&expected).unwrap_or(&path);
                    let said = problem.to_string();
                    let named = ["unknown variant", "duplicate field"];
                    let more = !problem.is_data() || named.iter().any(|named| said.starts_with(named));
                    assert!(
                        within.is_empty() || (more && (expected == "." || !within.starts_with(char::is_alphanumeric))),
                        "{json}: {path} for {expected}, {problem}"
                    );
                    checked += 1;
                }
            }
        }
        assert!(checked > 500, "{checked}");
    }

    #[test]
    fn what_comes_after_a_document_is_at_the_document() {
        for json in [
            "{\"number\": 1} x",
            "{\"number\": 1}}",
            "{\"number\": 1} [",
            "{\"number\": 1}\n{\"a\"",
            "{\"number\": 1},",
        ] {
            assert_eq!(read::<Document>(json).unwrap_err().path, ".", "{json}");
        }
    }
}
