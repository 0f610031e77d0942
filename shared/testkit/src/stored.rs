//! Examples of what is stored. `ECR_GUARD_STORED=<folder> cargo test` writes each form of a row or a message that the tests make into
//! that folder, once; `tests/fixtures/stored/README.md` says what for.

use std::{
    cell::Cell,
    collections::BTreeSet,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use serde_json::Value;

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not a setting of a function"
)]
static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("ECR_GUARD_STORED").map(PathBuf::from));

static KNOWN: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);

thread_local! {
    static AS_THEY_ARE: Cell<bool> = const { Cell::new(false) };
}

/// From now on, the worlds of this thread keep rows as they are, and not in their stored form, which takes a fifth of the time of a scenario.
pub(crate) fn keep_rows_as_they_are(is_so: bool) {
    AS_THEY_ARE.set(is_so);
}

/// Whether they do.
pub(crate) fn are_rows_as_they_are() -> bool {
    AS_THEY_ARE.get()
}

/// Members whose word makes a form of its own.
const WORDS: [&str; 7] = ["state", "kind", "method", "no_scan", "mode", "status", "schema"];

/// Writes the document down if none of its form was before.
pub(crate) fn keep<T>(json: &str) {
    let Some(folder) = FOLDER.as_ref() else { return };
    let path = std::any::type_name::<T>();
    let name = path.rsplit("::").next().unwrap_or(path);
    let mut form = BTreeSet::new();
    members(&serde_json::from_str(json).expect("a document"), "", &mut form);
    let form = format!("{name} {form:?}");
    let mut known = KNOWN.lock().expect("nobody panics here");
    if known.insert(form) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        // Several test binaries run: their numbers must not meet.
        let file = folder.join(format!("{}-{}.json", std::process::id(), known.len()));
        std::fs::write(file, json).expect("a file");
    }
}

fn members(value: &Value, path: &str, form: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                members(value, &format!("{path}.{name}"), form);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| members(value, &format!("{path}[]"), form)),
        Value::String(word) if WORDS.iter().any(|member| path.ends_with(&format!(".{member}"))) => {
            form.insert(format!("{path}={word}"));
        }
        _ => {
            form.insert(path.to_owned());
        }
    }
}
