//! The relatives of an image: the children of an index, and the parent indexes of an image.

use jiff::SignedDuration;

use crate::{
    evaluate::Names,
    ids::{Digest, Tag},
    image::Child,
    ledger::Row,
    policy::BlockMethod,
    state::State,
};

/// The children of an index.
#[derive(Debug, Clone, PartialEq)]
pub enum Children {
    /// Nobody has looked yet.
    NotAsked,
    /// The manifest of the index cannot be had or understood.
    Unknown,
    /// These.
    Known(Vec<ChildFacts>),
}

/// A child of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildFacts {
    /// The image.
    pub child: Child,
    /// Its row in the ledger; `None`: there is none, so nothing is known of it.
    pub row: Option<Row>,
}

impl ChildFacts {
    /// The name that people use: its platform, or else its digest.
    pub(super) fn name(&self) -> String {
        let platform = self.child.platform.clone();
        platform.unwrap_or_else(|| self.child.digest.short().to_owned())
    }

    /// Whether its block fits that of its parent index, under the same policy.
    pub fn is_in_accord(&self, index: &Row) -> bool {
        let Some(row) = self.open_row() else { return true };
        match index.state {
            _ if index.closed_at.is_some() => true,
            _ if row.policy != index.policy => false,
            // An image of many indexes is blocked with the last of them: the sweep sees when that is.
            State::Blocked if row.indexes.len() > MAX_LOOKED_AT => true,
            // A person may have released an image of a blocked index.
            State::Blocked => {
                (row.state != State::BlockDeferred || row.release.is_some()) && !is_blocked_less(row, index)
            }
            // Whatever keeps the index from being blocked keeps its images from it too.
            State::BlockDeferred
            | State::Pending
            | State::Allowed
            | State::Review
            | State::Unscannable
            | State::Stale
            | State::NotAnImage => row.block.is_none(),
        }
    }

    /// Whether its manifest has said that it is no image. Then it does not count for the index; until that is known, it does.
    pub(super) fn is_not_an_image(&self) -> bool {
        self.row.as_ref().is_some_and(Row::is_not_an_image)
    }

    /// These names, with those of this image.
    pub(super) fn names<'a>(&'a self, names: Names<'a>) -> Names<'a> {
        let tags = self.row.as_ref().map_or(&[][..], |row| &row.tags);
        let taken = self.row.as_ref().map_or(&[][..], Row::taken_tags);
        let mut names = names.and(&self.child.digest, tags);
        names.tags.extend_from_slice(taken);
        names
    }

    pub(super) fn open_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.closed_at.is_none())
    }
}

/// Whether an image is blocked more weakly than its parent index.
fn is_blocked_less(image: &Row, index: &Row) -> bool {
    let method = |row: &Row| row.block.as_ref().map(|block| block.method);
    method(image).is_some_and(|done| Some(done) < method(index))
}

/// A parent index of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct LeadingIndex {
    /// Its digest.
    pub digest: Digest,
    /// Its row in the ledger.
    pub row: Option<Row>,
    /// It is being reconciled at this moment, so that it will have a row: the tags that it has now.
    pub looking: Option<Vec<Tag>>,
}

impl LeadingIndex {
    /// Whether a pull through cache has fetched it.
    pub(super) fn is_pulled_through(&self) -> bool {
        self.open_row().is_some_and(|row| row.pulled_through)
    }

    /// Whether it is there, as far as known.
    pub fn is_open(&self) -> bool {
        self.looking.is_some() || self.open_row().is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.looking.is_none() && self.row.as_ref().is_some_and(|row| row.closed_at.is_some())
    }

    /// Whether it is blocked, and that is done. A block that was only begun may end as something else.
    pub(super) fn is_blocked(&self) -> bool {
        let is_done = |row: &Row| row.block.as_ref().is_none_or(|block| block.confirmed);
        self.open_row()
            .is_some_and(|row| row.state == State::Blocked && is_done(row))
    }

    /// Whether it has no row: another invocation is reconciling it for the first time, or has not finished; or it no longer
    /// exists.
    pub(super) fn is_without_row(&self) -> bool {
        self.looking.is_none() && self.row.is_none()
    }

    /// Whether it is being reconciled, and was not blocked before.
    pub(super) fn is_being_judged(&self) -> bool {
        self.looking.is_some() && !self.is_blocked()
    }

    /// Whether it was evaluated, and is not blocked: it may be deployed, and then its children must be there.
    pub(super) fn needs_its_images(&self) -> bool {
        self.open_row()
            .is_some_and(|row| !matches!(row.state, State::Blocked | State::NotAnImage))
    }

    /// How it is blocked by us, if it is.
    pub(super) fn method(&self) -> Option<BlockMethod> {
        let block = self.open_row()?.block.as_ref()?;
        (block.confirmed && block.undone_at.is_none()).then_some(block.method)
    }

    /// Its tags: those that it has in this moment, otherwise those that the ledger remembers; and those that a quarantine has taken.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let row = self.open_row();
        let tags = self.looking.as_ref().or(row.map(|row| &row.tags));
        let taken = row.map_or(&[][..], Row::taken_tags);
        tags.into_iter().flatten().chain(taken).cloned().collect()
    }

    pub(super) fn open_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.closed_at.is_none())
    }
}

impl LeadingIndex {
    pub(super) fn is_tagged(&self) -> bool {
        self.row.as_ref().is_none_or(|row| !row.tags.is_empty())
    }

    /// Whether it lost its tags to a newer one, as with nightly builds, and has no parent index.
    pub(super) fn is_superseded(&self) -> bool {
        let bare = |row: &Row| row.tags.is_empty() && row.indexes.is_empty();
        self.row.as_ref().is_some_and(bare)
    }

    /// Whether its state agrees with that of a child.
    pub(super) fn fits(&self, image: &Row) -> bool {
        let bad = |state: State| matches!(state, State::Blocked | State::BlockDeferred);
        self.row.as_ref().is_some_and(|row| {
            row.policy == image.policy
                && match image.state {
                    State::Blocked | State::BlockDeferred => bad(row.state),
                    State::Review => bad(row.state) || row.state == State::Review,
                    State::Pending | State::Allowed | State::Unscannable | State::Stale | State::NotAnImage => {
                        image.block.is_none() && row.state != State::Pending
                    }
                }
        })
    }
}

/// The most parent indexes that an event reconciles with its image. With more, it reconciles one, and leaves the others to the
/// sweep: each reconcile takes about eight round trips, and an event has 30 seconds.
pub const MAX_LOOKED_AT: usize = 8;

/// Within this time after an image was pushed its index may still come. Clients push it seconds after the last image; the rest is for
/// slow networks, and for the event.
pub const INDEX_FOLLOWS: SignedDuration = SignedDuration::from_mins(15);

/// The parent indexes that are reconciled with an image: not those that no longer exist, nor superseded ones that need no
/// change. With many, it is the one with a tag that was pushed last.
pub fn to_look_at<'a>(image: &Row, indexes: &'a [LeadingIndex]) -> Vec<&'a LeadingIndex> {
    let there = || indexes.iter().filter(|index| !index.is_gone());
    let is_tagged = there().any(LeadingIndex::is_tagged);
    let needs_no_look = |index: &LeadingIndex| is_tagged && index.is_superseded() && index.fits(image);
    let mut worth: Vec<&LeadingIndex> = there().filter(|index| !needs_no_look(index)).collect();
    if worth.len() > MAX_LOOKED_AT {
        let since = |index: &LeadingIndex| index.row.as_ref().and_then(|row| row.available_since);
        let newest = worth.into_iter().max_by_key(|index| (index.is_tagged(), since(index)));
        worth = newest.into_iter().collect();
    }
    worth
}
