//! The checks of a tag that somebody pushed.
//!
//! To add one, copy a file, add it to [`TAG_CHECKS`], and a row to the table in `docs/repository-rules.md`. The policy's patterns for it are read in
//! `policy/document.rs` and `policy/repository.rs`, and kept in [`TagRules`].

mod allowed;
mod check;
mod forbidden;
mod reserved;

use check::{CheckAnswer, TagCase};
pub use check::{TagCheck, TagViolation};

use super::tags::{OnViolation, TagRules};
use crate::{
    ids::{Digest, Tag},
    image::names_a_subject,
    marker::is_mark,
    state::State,
};

/// All checks, in this order: the first one that gives an answer decides.
pub const TAG_CHECKS: [TagCheck; 3] = [forbidden::CHECK, reserved::CHECK, allowed::CHECK];

impl TagRules {
    /// How a tag on an image in a state breaks the rules; `None`: it does not.
    ///
    /// Our own marks, and the tags that cosign gives to what it attaches to an image, are not the pipeline's choice.
    pub fn violation(&self, tag: &Tag, digest: &Digest, state: Option<State>) -> Option<TagViolation> {
        if is_mark(tag, digest) || names_a_subject(tag) {
            return None;
        }
        violation(&TagCase {
            rules: self,
            tag,
            state,
        })
    }

    /// The tag for which an image must not be deployed, and how it breaks the rules. Reserved tags never block: what they are for
    /// depends on the image's state, which would depend on them.
    pub fn blocking<'a>(
        &self,
        tags: impl IntoIterator<Item = &'a Tag>,
        digest: &Digest,
    ) -> Option<(&'a Tag, TagViolation)> {
        if self.on_violation != OnViolation::Block {
            return None;
        }
        let violation = |tag| Some((tag, self.violation(tag, digest, Some(State::Allowed))?));
        tags.into_iter().find_map(violation)
    }
}

/// The check that the tag fails; `None`: it fails none.
fn violation(case: &TagCase<'_>) -> Option<TagViolation> {
    for check in TAG_CHECKS {
        match (check.check)(case) {
            CheckAnswer::Next => {}
            CheckAnswer::Passed => return None,
            CheckAnswer::Failed(words) => return Some(check.failed(words)),
        }
    }
    None
}
