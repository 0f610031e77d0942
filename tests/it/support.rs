//! The common part of these tests.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Fails unless a checked-in file has this content. With `ECR_GUARD_UPDATE=1` (`make update`), writes it instead.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not configuration of the product"
)]
pub(crate) fn assert_file_is(path: &str, content: &str) {
    let file = root().join(path);
    if std::env::var("ECR_GUARD_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(&file, content).unwrap();
        return;
    }
    let existing = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        existing == content,
        "`{path}` is not up to date: run `make update` and look at what changed"
    );
}

/// The same for a part of a file, between the lines `<!-- name -->` and `<!-- end of name -->`. Tests may own parts of one file.
#[track_caller]
pub(crate) fn assert_part_is(path: &str, name: &str, content: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(root().join(path)).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("`{path}` has no part {name}"));
    let (_, after) = rest.split_once(&end).unwrap();
    assert_file_is(path, &format!("{before}{begin}{content}{end}{after}"));
    drop(alone);
}
