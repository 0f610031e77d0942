//! What the tests here share.

use std::{fs, path::PathBuf};

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
