//! No pattern forbids the tag.

use super::check::{Answer, TagCase, TagCheck, Words};
use crate::text;

pub(super) const CHECK: TagCheck = TagCheck {
    setting: "tags.forbidden",
    check,
};

fn check(case: &TagCase<'_>) -> Answer {
    match case.find(&case.rules.forbidden) {
        Some(pattern) => Answer::Failed(Words {
            wanted: format!("no tag like {pattern}, which is forbidden"),
            why: format!("`{}` is forbidden", text::line(&pattern, 60)),
        }),
        None => Answer::Next,
    }
}
