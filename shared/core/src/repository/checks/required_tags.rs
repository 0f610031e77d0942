//! The repository has the tags that the policy asks for.

use super::check::{Deviation, PostureCase, PostureCheck};
use crate::text;

pub(in crate::repository) const SETTING: &str = "posture.required_tags";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING],
    permissions: &[],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    let mut found = Vec::new();
    for (key, wanted) in &case.rules.required_tags {
        let value = case.facts.tags.get(key);
        if !value.is_some_and(|value| wanted.matches(value)) {
            let is = value.map_or_else(|| "no such tag".to_owned(), |value| shown(&text::line(value, 256)));
            found.push(Deviation::new(SETTING, is, shown(wanted.as_str())).of(key));
        }
    }
    found
}

/// The value of a tag, as people read it.
fn shown(value: &str) -> String {
    if value.is_empty() { "an empty value" } else { value }.to_owned()
}
