//! Multi-platform indexes: what the images that one leads to add up to.
//!
//! An index is never scanned; it has the verdict of the worst image that it leads to. An image that indexes lead to follows them: it is
//! blocked when all of them are, and what is to be told is told of the index, whose tags people deploy.

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::{Basis, Facts, words},
    evaluate::{Evaluation, Names, Verdict, evaluate_remembered, together},
    finding::NoScan,
    ids::{Digest, Tag},
    image::{Child, Image},
    ledger::Row,
    policy::{BlockMethod, NoScanAction, Policy},
    state::State,
};

/// The images that an index leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Children {
    /// Nobody has looked yet.
    NotAsked,
    /// The manifest of the index cannot be had or understood.
    Unknown,
    /// These.
    Known(Vec<ChildFacts>),
}

/// One of the images that an index leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildFacts {
    /// The image.
    pub child: Child,
    /// What the ledger remembers of it; `None`: nothing, so that nothing is known of it.
    pub row: Option<Row>,
}

impl ChildFacts {
    /// What people call it: its platform, or else its digest.
    pub(super) fn name(&self) -> String {
        let platform = self.child.platform.clone();
        platform.unwrap_or_else(|| self.child.digest.short().to_owned())
    }

    /// Whether what was done to it fits what was done to the index that leads to it, under the same policy.
    pub fn is_in_accord(&self, index: &Row) -> bool {
        let Some(row) = self.open_row() else { return true };
        match index.state {
            _ if index.closed_at.is_some() => true,
            _ if row.policy != index.policy => false,
            // An image of many indexes is blocked with the last of them: the sweep sees when that is.
            State::Blocked if row.indexes.len() > MAX_LOOKED_AT => true,
            State::Blocked => row.state != State::Held && !is_blocked_less(row, index),
            // Whatever keeps the index from being blocked keeps its images from it too.
            State::Held
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

    fn open_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.closed_at.is_none())
    }
}

/// Whether less was done to an image than to the index that leads to it.
fn is_blocked_less(image: &Row, index: &Row) -> bool {
    let method = |row: &Row| row.block.as_ref().map(|block| block.method);
    method(image).is_some_and(|done| Some(done) < method(index))
}

/// An index that leads to an image.
#[derive(Debug, Clone, PartialEq)]
pub struct LeadingIndex {
    /// Its digest.
    pub digest: Digest,
    /// What the ledger remembers of it.
    pub row: Option<Row>,
    /// It is being looked at in this very moment, so that its row will be there: the tags that it has now.
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

    /// Whether nothing is remembered of it: another invocation is looking at it for the first time, or has not come to an end; or it is gone.
    pub(super) fn is_without_row(&self) -> bool {
        self.looking.is_none() && self.row.is_none()
    }

    /// Whether it is being looked at, and was not blocked before.
    pub(super) fn is_being_judged(&self) -> bool {
        self.looking.is_some() && !self.is_blocked()
    }

    /// Whether it was judged, and is not blocked: it may be deployed, and then its images must be there.
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
    fn tags(&self) -> Vec<Tag> {
        let row = self.open_row();
        let tags = self.looking.as_ref().or(row.map(|row| &row.tags));
        let taken = row.map_or(&[][..], Row::taken_tags);
        tags.into_iter().flatten().chain(taken).cloned().collect()
    }

    fn open_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.closed_at.is_none())
    }
}

impl Facts {
    /// The children of an index; none of anything else.
    pub fn children(&self) -> &[ChildFacts] {
        match &self.children {
            Children::Known(children) => children,
            Children::NotAsked | Children::Unknown => &[],
        }
    }

    /// The indexes that lead to the image and are there.
    pub(super) fn open_indexes(&self) -> impl Iterator<Item = &LeadingIndex> {
        self.indexes.iter().filter(|index| index.is_open())
    }

    /// Whether an index speaks for this image.
    pub fn is_led_to(&self) -> bool {
        self.has_more_indexes() || self.open_indexes().next().is_some()
    }

    /// Whether more indexes lead to it than are remembered. Once all indexes of the repository are known, there are no others.
    pub(super) fn has_more_indexes(&self) -> bool {
        self.indexes_known != Some(true) && self.row.as_ref().is_some_and(|row| row.more_indexes)
    }

    /// Whether it is to be found out if there are still more of them: a sweep has just read all indexes.
    pub(super) fn may_have_fewer_indexes(&self) -> bool {
        self.indexes_read && self.indexes_known.is_none() && self.has_more_indexes()
    }

    /// Whether it has no tag, and a sweep has found that no index leads to it either.
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

    /// Whether it may be one of an index that nobody has looked at yet: such images have no tag.
    pub(super) fn awaits_indexes(&self, image: &Image, now: Timestamp) -> bool {
        image.tags.is_empty() && !self.is_led_to() && !self.is_alone(image, now)
    }

    /// Whether every index that leads to it is blocked.
    pub(super) fn are_indexes_blocked(&self) -> bool {
        !self.has_more_indexes() && self.open_indexes().all(LeadingIndex::is_blocked)
    }

    /// What the image goes by.
    pub fn names(&self, image: &Image) -> Names<'_> {
        let mut own = Names::of(&self.key, &image.tags);
        own.tags.extend(self.row.iter().flat_map(Row::taken_tags).cloned());
        self.open_indexes()
            .fold(own, |names, index| names.and(&index.digest, &index.tags()))
    }

    /// Whether an image that the index leads to is blocked by us, or on its way back.
    pub(super) fn has_blocked_child(&self) -> bool {
        let mut rows = self.children().iter().filter_map(ChildFacts::open_row);
        rows.any(|row| row.block.is_some())
    }
}

impl LeadingIndex {
    fn is_tagged(&self) -> bool {
        self.row.as_ref().is_none_or(|row| !row.tags.is_empty())
    }

    /// Whether it lost its tags to a newer one, as nightly builds do it, and nothing leads to it.
    fn is_superseded(&self) -> bool {
        let bare = |row: &Row| row.tags.is_empty() && row.indexes.is_empty();
        self.row.as_ref().is_some_and(bare)
    }

    /// Whether what is known of it goes with what is known of an image that it leads to.
    fn fits(&self, image: &Row) -> bool {
        let bad = |state: State| matches!(state, State::Blocked | State::Held);
        self.row.as_ref().is_some_and(|row| {
            row.policy == image.policy
                && match image.state {
                    State::Blocked | State::Held => bad(row.state),
                    State::Review => bad(row.state) || row.state == State::Review,
                    State::Pending | State::Allowed | State::Unscannable | State::Stale | State::NotAnImage => {
                        image.block.is_none() && row.state != State::Pending
                    }
                }
        })
    }
}

/// An event looks at all indexes that lead to its image, up to so many. If there are more, it looks at one, and leaves the others to the
/// sweep: each look takes about eight round trips, and an event has 30 seconds.
pub const MAX_LOOKED_AT: usize = 8;

/// Within this time after an image was pushed its index may still come. Clients push it seconds after the last image; the rest is for
/// slow networks, and for the event.
pub const INDEX_FOLLOWS: SignedDuration = SignedDuration::from_mins(15);

/// Which of the indexes that lead to an image are looked at with it: not those that are gone, nor those that were superseded and need no
/// change. Of many, it is the one that was pushed last of those that have a tag.
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

/// What the images that an index leads to add up to.
pub(super) struct Sum {
    /// What the verdict rests on.
    pub basis: Basis,
    /// The images that are the reason, by name.
    pub of: Vec<String>,
    /// Not all of them are known.
    pub incomplete: bool,
}

/// Adds up what is known of the images: the worst decides. What is still awaited comes before what may be deployed, and after what
/// must not.
pub(super) fn sum(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> Sum {
    let Children::Known(children) = &facts.children else {
        return Sum {
            basis: Basis::NoScan(NoScan::Unsupported),
            of: Vec::new(),
            incomplete: true,
        };
    };
    let mut judged: Vec<(String, Evaluation)> = Vec::new();
    let mut unknown: Vec<(String, NoScan)> = Vec::new();
    let mut waiting = Vec::new();
    for child in children.iter().filter(|child| !child.is_not_an_image()) {
        // One that was only judged by its tag so far waits for its scan like any other.
        let row = child
            .open_row()
            .filter(|row| row.state != State::Pending && !row.waits_behind_its_tag());
        match row {
            None => waiting.push(child.name()),
            Some(Row { no_scan: Some(why), .. }) => unknown.push((child.name(), why.clone())),
            Some(row) => {
                let names = child.names(facts.names(image));
                judged.push((child.name(), evaluate_remembered(policy, row, &names, now)));
            }
        }
    }
    if facts.more_children > 0 {
        unknown.push((words::more_children(facts.more_children), NoScan::Unsupported));
    }
    let incomplete = !(waiting.is_empty() && unknown.is_empty());
    let verdict = judged.iter().map(|(_, evaluation)| evaluation.verdict).max();
    let absence = unknown.iter().map(|(_, why)| policy.without_scan(why)).max();
    let by_findings = match (verdict, absence) {
        (Some(Verdict::Block), _) => true,
        (_, Some(NoScanAction::Block)) => false,
        (Some(Verdict::Review), _) => true,
        (_, Some(NoScanAction::Review)) => false,
        _ if !waiting.is_empty() => {
            return Sum {
                basis: Basis::Waiting,
                of: waiting,
                incomplete,
            };
        }
        (_, absence) => absence.is_none(),
    };
    let (basis, of) = if by_findings {
        let worst = judged
            .iter()
            .filter(|(_, evaluation)| Some(evaluation.verdict) == verdict);
        let of = match verdict {
            // It is the same on all of them.
            None | Some(Verdict::Pass) => Vec::new(),
            Some(Verdict::Review | Verdict::Block) => worst.map(|(name, _)| name.clone()).collect(),
        };
        let evaluations = judged.into_iter().map(|(_, evaluation)| evaluation);
        (Basis::Findings(together(evaluations), None), of)
    } else {
        unknown.retain(|(_, why)| Some(policy.without_scan(why)) == absence);
        let why = unknown.first().map_or(NoScan::Unsupported, |(_, why)| why.clone());
        unknown.retain(|(_, other)| *other == why);
        let of = unknown.into_iter().map(|(name, _)| name).collect();
        (Basis::NoScan(why), of)
    };
    Sum { basis, of, incomplete }
}
