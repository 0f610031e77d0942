//! No pattern forbids the tag.

use super::check::{CheckAnswer, TagCase, TagCheck, Words};
use crate::text;

pub(super) const CHECK: TagCheck = TagCheck {
    setting: "tags.forbidden",
    check,
};

fn check(case: &TagCase<'_>) -> CheckAnswer {
    match case.find(&case.rules.forbidden) {
        Some(pattern) => CheckAnswer::Failed(Words {
            wanted: format!("no tag like {pattern}, which is forbidden"),
            why: format!("`{}` is forbidden", text::line(&pattern, 60)),
            allowed: String::new(),
        }),
        None => CheckAnswer::Next,
    }
}
