//! The tags that we give to images: the mark of a block, and the one that keeps an image whose own last tag is removed.

use crate::ids::{Digest, Tag};

/// The tag that marks a quarantined image: `blocked-` and the first 12 characters of its digest.
pub fn quarantine_tag(digest: &Digest) -> Option<Tag> {
    format!("blocked-{}", digest.short()).parse().ok()
}

/// The prefix of the tags that keep an image whose own last tag is removed.
pub const UNTAGGED_MARK_PREFIX: &str = "quarantine-";

/// The tag that keeps an image whose own last tag is removed: `quarantine-` and the first 12 characters of its digest.
pub fn untagged_mark(digest: &Digest) -> Option<Tag> {
    format!("{UNTAGGED_MARK_PREFIX}{}", digest.short()).parse().ok()
}

/// Whether a tag is one of those that we give to this image.
pub fn is_mark(tag: &Tag, digest: &Digest) -> bool {
    untagged_mark(digest).as_ref() == Some(tag) || quarantine_tag(digest).as_ref() == Some(tag)
}
