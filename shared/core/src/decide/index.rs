//! Multi-platform indexes: the sum of their children.
//!
//! An index is never scanned; it has the verdict of its worst child. A child follows its indexes: it is blocked when all of
//! them are. Alerts are about the index, whose tags people deploy.

use jiff::Timestamp;

use crate::{
    decide::{
        facts::Facts,
        family::{ChildFacts, Children, INDEX_FOLLOWS, LeadingIndex},
    },
    evaluate::Names,
    image::Image,
    ledger::Row,
};

impl Facts {
    /// The children of an index; none of anything else.
    pub fn children(&self) -> &[ChildFacts] {
        match &self.children {
            Children::Known(children) => children,
            Children::NotAsked | Children::Unknown => &[],
        }
    }

    /// The parent indexes of the image that exist.
    pub(super) fn open_indexes(&self) -> impl Iterator<Item = &LeadingIndex> {
        self.indexes.iter().filter(|index| index.is_open())
    }

    /// Whether the alert of an index covers this image.
    pub fn is_led_to(&self) -> bool {
        self.has_more_indexes() || self.open_indexes().next().is_some()
    }

    /// Whether it has more parent indexes than its row remembers. Once all indexes of the repository are known, there are no
    /// others.
    pub(super) fn has_more_indexes(&self) -> bool {
        self.indexes_known != Some(true) && self.row.as_ref().is_some_and(|row| row.more_indexes)
    }

    /// Whether it is to be found out if there are still more of them: a sweep has just read all indexes.
    pub(super) fn may_have_fewer_indexes(&self) -> bool {
        self.indexes_read && self.indexes_known.is_none() && self.has_more_indexes()
    }

    /// Whether it has no tag, and a sweep has found no parent index of it either.
    pub(super) fn is_alone(&self, image: &Image, now: Timestamp) -> bool {
        let known = self
            .row
            .as_ref()
            .is_some_and(|row| row.closed_at.is_none() && row.alone);
        // Clients push the images first, and then their index.
        let follows = |since: Timestamp| now.duration_since(since) < INDEX_FOLLOWS;
        let is_young = image.available_since().is_none_or(follows);
        image.tags.is_empty() && !self.is_led_to() && (known || self.indexes_read && !is_young)
    }

    /// Whether it may be a child of an index that nobody has read yet: children have no tag.
    pub(super) fn awaits_indexes(&self, image: &Image, now: Timestamp) -> bool {
        image.tags.is_empty() && !self.is_led_to() && !self.is_alone(image, now)
    }

    /// Whether every parent index is blocked.
    pub(super) fn are_indexes_blocked(&self) -> bool {
        !self.has_more_indexes() && self.open_indexes().all(LeadingIndex::is_blocked)
    }

    /// The names that an exception can match.
    pub fn names(&self, image: &Image) -> Names<'_> {
        let mut own = Names::of(&self.key, &image.tags);
        own.tags.extend(self.row.iter().flat_map(Row::taken_tags).cloned());
        self.open_indexes()
            .fold(own, |names, index| names.and(&index.digest, &index.tags()))
    }

    /// Whether a child is blocked by us, or on its way back.
    pub(super) fn has_blocked_child(&self) -> bool {
        let mut rows = self.children().iter().filter_map(ChildFacts::open_row);
        rows.any(|row| row.block.is_some())
    }
}
