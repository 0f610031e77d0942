//! The form of a check of tags, and of its answer.

use crate::{
    ids::Tag,
    repository::tags::{TagPattern, TagRules},
    state::State,
};

/// A check of a tag by one member of the policy.
#[derive(Debug)]
pub struct TagCheck {
    /// The member of the policy that has the patterns, such as `tags.forbidden`.
    pub setting: &'static str,
    pub(super) check: fn(&TagCase<'_>) -> CheckAnswer,
}

/// A tag, the rules for it, and the state of the image that has the tag.
pub(super) struct TagCase<'a> {
    pub(super) rules: &'a TagRules,
    pub(super) tag: &'a Tag,
    /// `None`: the image was not evaluated.
    pub(super) state: Option<State>,
}

impl TagCase<'_> {
    /// The first of the patterns that matches the tag, as the policy writes the pattern.
    pub(super) fn find(&self, patterns: &[TagPattern]) -> Option<String> {
        let found = patterns.iter().find(|pattern| pattern.matches(self.tag));
        found.map(ToString::to_string)
    }
}

/// The answer of a check about a tag.
pub(super) enum CheckAnswer {
    /// Nothing: the next check is asked.
    Next,
    /// The tag may be there, whatever the checks after this one say.
    Passed,
    /// The tag breaks the rule.
    Failed(Words),
}

/// The texts about a tag that breaks a rule.
pub(super) struct Words {
    /// The tag that is wanted instead.
    pub(super) wanted: String,
    /// Why an image with the tag must not be deployed.
    pub(super) why: String,
    /// The allowed tags, as a sentence; empty: `wanted` says it.
    pub(super) allowed: String,
}

impl TagCheck {
    pub(super) fn failed(&self, words: Words) -> TagViolation {
        TagViolation {
            setting: self.setting,
            wanted: words.wanted,
            why: words.why,
            allowed: words.allowed,
        }
    }
}

/// A rule that a tag breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagViolation {
    /// The member of the policy that has the rule.
    pub setting: &'static str,
    /// The tag that the rule wants instead, as a phrase.
    pub wanted: String,
    /// Why an image with the tag must not be deployed, as a clause.
    pub why: String,
    /// The allowed tags, as a sentence; empty: `wanted` says it.
    pub allowed: String,
}
