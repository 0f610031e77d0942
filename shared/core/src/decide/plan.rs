//! The decision: a plan, and its step.

use jiff::Timestamp;

use crate::{
    alert::image::ImageAlert, decide::words, ids::Tag, image::Image, ledger::Row, marker::quarantine_tag, state::State,
    told::ToldFindings,
};

/// The plan for an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Nothing.
    Leave(Leave),
    /// Something must be asked first; then decide again.
    Ask(Question),
    /// Carry out a step.
    Apply(Box<Step>),
}

/// A fact that must be gathered before the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The scanner, for a scan. The answer goes to [`Facts::scan_start`](super::Facts::scan_start).
    Scan,
    /// The registry, for the image once more. The answer goes to [`Facts::image`](super::Facts::image), and [`Facts::looked_again`](super::Facts::looked_again) is set.
    Again,
    /// The registry, which image this one replaces. The answer goes to [`Facts::replaced`](super::Facts::replaced).
    Replaced,
    /// The children of this index, from the registry and the ledger. The answer goes to
    /// [`Facts::children`](super::Facts::children).
    Children,
    /// The registry, whether AWS Lambda may pull. The answer goes to [`Facts::lambda`](super::Facts::lambda).
    Lambda,
    /// The ledger, which workloads use the image or [what is pulled with it](super::Facts::pulled_together). The answer goes to [`Facts::uses`](super::Facts::uses).
    Uses,
    /// The registry, when those images were last pulled. The answer goes to [`Facts::children_pulled`](super::Facts::children_pulled).
    ChildrenPulled,
    /// Whether all indexes of the repository are known, from the registry and the ledger. The answer goes to
    /// [`Facts::indexes_known`](super::Facts::indexes_known); parent indexes that the image's row does not name go to
    /// [`Facts::indexes`](super::Facts::indexes).
    Indexes,
    /// The findings that people were notified of, from the ledger. The answer goes to [`Facts::told`](super::Facts::told).
    Told,
}

/// Why nothing is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// There is no such image, and nothing is remembered of it.
    NoSuchImage,
    /// It is no image: an attestation, a chart, a cache, or an index of such entries alone.
    NotAnImage,
    /// Somebody else archived it before it was ever evaluated.
    ArchivedByOthers,
    /// The observed state is the desired state.
    Unchanged,
    /// Another invocation is carrying out this very plan: its claim records all that this one would.
    InProgress,
    /// Another invocation is carrying out another plan: to be tried again when it is done.
    Busy,
    /// An event said that there is a scan result, and the scanner does not show it yet: to be tried again.
    ResultNotVisible,
}

/// A change in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The image goes to the archive.
    Archive,
    /// The image comes back from the archive.
    Restore,
    /// The image gets the tag `mark`; then, and only then, it loses `remove`.
    Quarantine {
        /// The tag that keeps the image from being deleted, and says what it is.
        mark: Tag,
        /// Its other tags.
        remove: Vec<Tag>,
    },
    /// The image gets back the tags `restore`; then it loses `mark`, unless that is its last one.
    Unquarantine {
        /// The tag that it was quarantined with.
        mark: Tag,
        /// The tags that it had.
        restore: Vec<Tag>,
    },
}

impl Effect {
    /// Whether it keeps an image from being deployed; if not, it undoes that.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::Archive | Self::Quarantine { .. })
    }

    /// A word for logs and reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Restore => "restore",
            Self::Quarantine { .. } => "quarantine",
            Self::Unquarantine { .. } => "unquarantine",
        }
    }
}

/// The changes, in this order: write `row` (which claims the step), make `effect`, send `alert`, write [`Step::completed`].
/// Without effect and alert, writing `row` is all.
///
/// The row comes first because the scanner forgets an image once it is archived: after a crash between effect and row, nobody
/// would know the reason any more, and no alert would be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The row.
    pub row: Row,
    /// The change in the registry.
    pub effect: Option<Effect>,
    /// The alert.
    pub alert: Option<ImageAlert>,
    /// It is one of the blocks that the policy limits by the hour.
    pub counts_as_block: bool,
    /// It only remembers what an event said of a result that does not show yet: the event is to be tried again.
    pub awaits_result: bool,
    /// The next summary names the alert. It is about an image that a sweep found before anybody had evaluated it, and asks for
    /// a review at most: the first sweep of a registry is one message, and not one for each image.
    pub waits_for_summary: bool,
    /// The record of the findings that the alert names, to write once it is sent.
    pub told: Option<ToldFindings>,
    /// It alerts about a release that a person gave. That is sent with the effect: people know of a release before the image can be pulled.
    pub tells_release: bool,
    pub(super) releases: Release,
}

/// Whether a step undoes a block, and when that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    /// It does not.
    No,
    /// When the image can be pulled.
    Pullable,
    /// Not before its children can be pulled as well.
    Later,
}

impl Step {
    /// Writes a row, and nothing else.
    pub(super) fn only(row: Row) -> Self {
        Self {
            row,
            effect: None,
            alert: None,
            counts_as_block: false,
            awaits_result: false,
            waits_for_summary: false,
            told: None,
            tells_release: false,
            releases: Release::No,
        }
    }

    /// The image is gone. An alert about it that is still pending is not sent any more.
    pub(super) fn close(row: &Row, now: Timestamp) -> Self {
        Self::only(Row {
            generation: row.generation + 1,
            closed_at: Some(now),
            alert: row.alert.clone().filter(|alert| alert.sent_at.is_some()),
            ..row.clone()
        })
    }

    /// The row to write when the effect has been confirmed and the alert sent; `image` is the registry's answer after the
    /// effect. An image that is still on its way back from the archive is not alerted yet: see [`Step::tells`]. `mark_stays`:
    /// why our own tag stays on an image that was released; its removal is tried again.
    pub fn completed(&self, image: Option<&Image>, mark_stays: Option<&str>, now: Timestamp) -> Row {
        let mut row = Row {
            generation: self.row.generation + 1,
            undertaken: None,
            ..self.row.clone()
        };
        if let Some(image) = image {
            row.tags = sorted_tags(image);
            row.available_since = image.available_since();
        }
        if !self.tells(image) {
            row.alert = None;
        } else if let Some(alert) = &mut row.alert {
            alert.sent_at = Some(now);
        }
        self.complete_release(&mut row, now);
        match (&mut row.block, self.releases) {
            // A deferred block remembers only tags that may be missing.
            (Some(_), Release::No) if row.state == State::BlockDeferred => {}
            // Nobody has seen it in the registry.
            (Some(block), Release::No) if row.state != State::Blocked && block.may_show_later(now) => {}
            (Some(block), Release::No) => block.confirmed = true,
            (Some(block), Release::Pullable | Release::Later) if mark_stays.is_some() => {
                block.undone_at.get_or_insert(now);
                block.release_refused_at = Some(now);
                row.reason = words::mark_stays(&row.reason, mark_stays.unwrap_or_default());
            }
            (Some(_), Release::Pullable) if is_pullable(image) => {
                forget_block(&mut row);
                if let Some(image) = image {
                    explain_mark(&mut row, image);
                }
            }
            (Some(block), Release::Pullable | Release::Later) => {
                (block.undone_at, block.release_refused_at) = (Some(now), None);
                row.reason = words::being_restored(&row.reason);
            }
            (None, _) => {}
        }
        row
    }

    /// Whether it undoes a block: its alert is sent when the image can be pulled, which may be later.
    pub fn is_release(&self) -> bool {
        self.releases != Release::No
    }

    /// Whether the alert is sent, where the registry shows `image` after the effect (`None`: there was none): the alert about a
    /// release is sent when the image can be pulled.
    pub fn tells(&self, image: Option<&Image>) -> bool {
        self.tells_release || self.releases != Release::Pullable || is_pullable(image)
    }

    /// The record of a person's release: it was alerted, or it is over and the image is blocked again.
    fn complete_release(&self, row: &mut Row, now: Timestamp) {
        let Some(release) = &mut row.release else { return };
        let is_over = !release.is_in_force(now);
        if self.tells_release {
            release.told_at = Some(now);
        } else if is_over && row.state != State::BlockDeferred {
            row.release = None;
        } else if is_over && self.alert.is_some() {
            release.end_told_at = Some(now);
        }
    }
}

/// Says why an image that is not blocked has the tag of a quarantine.
pub(super) fn explain_mark(row: &mut Row, image: &Image) {
    let is_evaluated = match row.state {
        State::Allowed | State::Review | State::BlockDeferred | State::Unscannable | State::Stale => true,
        State::Blocked | State::Pending | State::NotAnImage => false,
    };
    let mark = quarantine_tag(&image.digest).filter(|mark| image.tags.as_slice() == std::slice::from_ref(mark));
    if let Some(mark) = mark.filter(|_| is_evaluated) {
        row.reason = words::keeps_mark(&row.reason, &mark);
    }
}

/// It is undone, and nothing is left of it.
pub(super) fn forget_block(row: &mut Row) {
    row.block = None;
    if let Some(source) = &mut row.source {
        source.blocked = false;
    }
}

pub(super) fn is_pullable(image: Option<&Image>) -> bool {
    image.is_none_or(|image| !image.status.is_in_archive())
}

pub(super) fn sorted_tags(image: &Image) -> Vec<Tag> {
    let mut tags = image.tags.clone();
    tags.sort();
    tags
}
