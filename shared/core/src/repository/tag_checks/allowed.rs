//! A pattern allows the tag, or the policy lists none.

use super::check::{CheckAnswer, TagCase, TagCheck, Words};
use crate::text;

/// The most characters of the patterns in an alert.
const MAX_ALLOWED: usize = 200;

pub(super) const CHECK: TagCheck = TagCheck {
    setting: "tags.allowed",
    check,
};

fn check(case: &TagCase<'_>) -> CheckAnswer {
    let rules = case.rules;
    let mut patterns = rules.allowed.iter().chain(&rules.moving);
    if rules.allowed.is_empty() || patterns.any(|pattern| pattern.matches(case.tag)) {
        return CheckAnswer::Passed;
    }
    let allowed: Vec<String> = rules.allowed.iter().map(ToString::to_string).collect();
    CheckAnswer::Failed(Words {
        wanted: "a tag that is allowed".to_owned(),
        why: "no pattern allows it".to_owned(),
        allowed: format!("Allowed here: {}.", text::line(&allowed.join(", "), MAX_ALLOWED)),
    })
}
