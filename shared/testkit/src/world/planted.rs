//! Faults that are planted: the world behaves as if the code under test left a protection out. Explorers must find each of them.

use std::{borrow::Cow, collections::BTreeSet};

use jiff::Timestamp;

use super::World;
use guard_core::{
    finding::{NoScan, Scan},
    ids::{Digest, Tag},
    image::Image,
    ledger::Row,
};

/// A protection that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Rows of images are written, although somebody wrote them in between: the conditional write.
    AnyWrite,
    /// A claim is not written before its effect: the claim.
    NoClaim,
    /// Nobody sees what another invocation has undertaken: the lease.
    NoLease,
    /// The row does not name the block that was begun: what is released.
    BlockForgotten,
    /// An alert is recorded as sent before it was sent: the alert after a crash.
    SentTooEarly,
    /// No pull counts: what is in use is not taken away.
    NoPulls,
    /// No other index is looked for before an image is blocked.
    NoIndexes,
    /// The children of an index are not read.
    NoChildren,
    /// An image that has to come back from the archive stays there.
    NoRestore,
    /// Nobody asks who uses an image.
    NoUses,
    /// A list that ended half way counts as a whole one.
    HalfAList,
    /// No scan, or one that is not over, counts as one without findings.
    UnknownIsClean,
    /// A tag is not resolved: the first image of the repository counts as the one that has it.
    AnyTag,
    /// Our own tag is not on an image when its other tags are removed.
    NoMark,
    /// The answer to the removal of a tag is not read.
    NoAnswer,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AnyWrite,
        Self::NoClaim,
        Self::NoLease,
        Self::BlockForgotten,
        Self::SentTooEarly,
        Self::NoPulls,
        Self::NoIndexes,
        Self::NoChildren,
        Self::NoRestore,
        Self::NoUses,
        Self::HalfAList,
        Self::UnknownIsClean,
        Self::AnyTag,
        Self::NoMark,
        Self::NoAnswer,
    ];

    /// The explorers that are there to find it.
    pub fn found_by(self) -> &'static [&'static str] {
        match self {
            Self::AnyWrite
            | Self::NoClaim
            | Self::NoLease
            | Self::BlockForgotten
            | Self::SentTooEarly
            | Self::NoPulls
            | Self::NoIndexes
            | Self::NoChildren
            | Self::NoRestore => &["families"],
            Self::NoUses | Self::HalfAList => &["workloads", "mixed"],
            Self::UnknownIsClean | Self::AnyTag => &["gate"],
            Self::NoMark | Self::NoAnswer => &["tags"],
        }
    }

    /// A row as it is written.
    pub(super) fn written(self, row: &Row) -> Cow<'_, Row> {
        match self {
            Self::BlockForgotten => Cow::Owned(Row {
                block: None,
                ..row.clone()
            }),
            Self::SentTooEarly => {
                let mut row = row.clone();
                if let Some(alert) = &mut row.alert {
                    alert.sent_at.get_or_insert(alert.claimed_at);
                }
                Cow::Owned(row)
            }
            _ => Cow::Borrowed(row),
        }
    }

    /// A row as it is read.
    pub(super) fn read(self, row: Row) -> Row {
        let mut row = row;
        if self == Self::NoLease {
            row.undertaken = None;
            if let Some(alert) = &mut row.alert {
                alert.claimed_at = Timestamp::UNIX_EPOCH;
            }
        }
        row
    }

    /// An image as it is shown.
    pub(super) fn shown(self, image: Image, unput: &BTreeSet<(Digest, Tag)>) -> Image {
        let mut image = image;
        let of_image = unput
            .iter()
            .filter(|(digest, tag)| *digest == image.digest && !image.tags.contains(tag));
        let marks: Vec<Tag> = of_image.map(|(_, tag)| tag.clone()).collect();
        image.tags.extend(marks);
        if self == Self::NoPulls {
            // Pulls are recorded, and there was none for years.
            image.last_pulled_at = Some(Timestamp::UNIX_EPOCH);
        }
        image
    }

    /// A scan as it is shown.
    pub(super) fn scanned(self, scan: Scan) -> Scan {
        match scan {
            Scan::Absent | Scan::InProgress | Scan::Unavailable(NoScan::Failed) if self == Self::UnknownIsClean => {
                Scan::Complete(crate::scan(Vec::new()))
            }
            scan => scan,
        }
    }
}

impl World {
    /// From now on this protection is left out.
    pub fn plant(&self, planted: Option<Planted>) {
        self.lock().left_out = planted;
    }
}
