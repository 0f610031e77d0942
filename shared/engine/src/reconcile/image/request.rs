//! The request.

use guard_core::{
    finding::{Epss, ScanEvent},
    ids::{AccountId, Digest, ImageKey, ImageRef, Region, RepositoryKey, RepositoryName},
    image::Arrival,
};
use guard_ports::PortError;

/// An image to reconcile, and the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The image; a tag is resolved once.
    pub image: ImageRef,
    /// Further facts from the event.
    pub hints: Hints,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: String,
}

impl Request {
    /// The repository that the image is in.
    pub fn repository_key(&self) -> RepositoryKey {
        RepositoryKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
        }
    }

    /// The image of this digest, in the repository that is asked about.
    pub(super) fn key(&self, digest: Digest) -> ImageKey {
        ImageKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
            digest,
        }
    }
}

/// The facts of an event apart from the name of its image. No decision rests on them that the registry or the scanner could
/// contradict: they say what to ask for, what to wait for, and how to word the alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// It was pushed or restored: if nothing scans it by itself, a scan is asked for.
    pub arrival: Option<Arrival>,
    /// A scan result was announced. That there is one is believed, and how many findings it counts; not what they are.
    pub announced: Option<ScanEvent>,
    /// How likely some of its vulnerabilities are exploited. That is believed, because nobody else says it; it only matters for
    /// what the scanner finds, or the ledger remembers, in the image.
    pub epss: Vec<Epss>,
    /// It was copied from this region.
    pub source: Option<Region>,
    /// A recent sweep has read the list of the repository, and all its indexes were known with all their children.
    pub indexes_read: bool,
    /// The scanner has refused to say anything of this region's images: it is not asked.
    pub refused: Option<PortError>,
    /// No event led here: a sweep found it. If nothing scans it by itself, a scan is asked for, as after a push.
    pub found: bool,
}
