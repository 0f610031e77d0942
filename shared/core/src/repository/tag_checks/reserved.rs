//! A reserved tag is on an image that is `Allowed`.

use super::check::{CheckAnswer, TagCase, TagCheck, Words};
use crate::state::State;

pub(super) const CHECK: TagCheck = TagCheck {
    setting: "tags.reserved",
    check,
};

fn check(case: &TagCase<'_>) -> CheckAnswer {
    let Some(pattern) = case.find(&case.rules.reserved) else {
        return CheckAnswer::Next;
    };
    if case.state == Some(State::Allowed) {
        return CheckAnswer::Passed;
    }
    let state = case.state.map_or("not evaluated", State::as_str);
    CheckAnswer::Failed(Words {
        wanted: format!("{pattern} only on an image that is Allowed; it is {state}"),
        why: "no pattern allows it".to_owned(),
        allowed: String::new(),
    })
}
