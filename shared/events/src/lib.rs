//! Wire formats of EventBridge events.
//!
//! [`parse`] is tolerant of AWS and strict about meaning. What AWS may add or leave out is data: unknown detail types, words,
//! members, tags. What leaves it open which image an event is about is [`Poison`]: to be put aside, never to be tried again.
//!
//! An event is a hint: it says where to look, not what is there. Nothing here decides anything.
//!
//! Sources: Amazon ECR User Guide, "Amazon ECR events and EventBridge"; Amazon Inspector User Guide, "Amazon EventBridge event
//! schema for Amazon Inspector events"; the EventBridge schema registry (`aws.ecr@ECRImageAction` and its like); Amazon
//! EventBridge User Guide, "AWS service event structure". Their samples are test fixtures (`tests/fixtures/events`).

mod ecr;
pub mod ecs;
mod envelope;
mod inspector;
mod json;
mod poison;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use ecr::{
    ActionResult, ImageAction, ImageActionType, ImageScan, PullThroughCache, Replication, RepositoryScan,
    ScanFrequency, ScanResourceAction, ScanResourceChange, ScanStatus, StorageClass, SyncStatus,
};
pub use inspector::{CoverageStatus, FindingStatus, InspectorCoverage, InspectorFinding};
pub use json::{MAX_BYTES, MAX_DEPTH, MAX_ENTRIES};
pub use poison::{Poison, Reason};

use envelope::Envelope;
use guard_core::ids::{AccountId, Digest, ImageRef, Region, RepositoryName, Tag};
use poison::printable;

/// Tags kept of one event: as many as one image can have (Amazon ECR User Guide, "Amazon ECR service quotas").
pub const MAX_TAGS: usize = 1_000;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// EventBridge's id of it: printable ASCII, 128 characters at most. The samples' ids are not all UUIDs.
    pub id: String,
    /// Who sent it: `aws.ecr`, `aws.inspector2`, or another source that a rule lets through. Printable ASCII, 128 characters at
    /// most.
    pub source: String,
    /// The account that the event is from.
    pub account: AccountId,
    /// The region that the event is from: for a replication, the destination.
    pub region: Region,
    /// When it happened. AWS's own sample has an impossible date, so this is `None` rather than an error.
    pub time: Option<Timestamp>,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// The registry that holds the image: where the body says, otherwise where the event is from.
    ///
    /// Inspector names images by ARN, and its delegated administrator is also sent events about other accounts' images.
    pub fn registry(&self) -> (&AccountId, &Region) {
        let name = self.body.name();
        (
            name.and_then(|name| name.account.as_ref()).unwrap_or(&self.account),
            name.and_then(|name| name.region.as_ref()).unwrap_or(&self.region),
        )
    }

    /// The image that the event is about, if it is about one: see [`ImageName::image`].
    pub fn image(&self) -> Option<ImageRef> {
        self.body.name().and_then(ImageName::image)
    }
}

/// What an event says, by its `detail-type`. Its source is not asked: local runs and smoke tests have sources of their own,
/// because EventBridge lets nobody but AWS send as `aws.*`.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// `ECR Image Action`: pushed, deleted, archived or restored.
    ImageAction(ImageAction),
    /// `ECR Referrer Action`: the same, of a signature, an attestation, an SBOM. It does not say which image that belongs to.
    ReferrerAction(ImageAction),
    /// `ECR Image Scan`: ECR's own scanner has finished. Enhanced scanning does not send it.
    ImageScan(ImageScan),
    /// `ECR Replication Action`: a copy has arrived, or has not.
    Replication(Replication),
    /// `ECR Pull Through Cache Action`.
    PullThroughCache(PullThroughCache),
    /// `ECR Scan Resource Change`: how often enhanced scanning looks at a repository.
    ScanResourceChange(ScanResourceChange),
    /// `Inspector2 Scan` of an image: the first scan by Inspector has finished.
    InspectorScan(ImageScan),
    /// `Inspector2 Finding` about an image: one event for every finding that is new, changed or closed.
    InspectorFinding(InspectorFinding),
    /// `Inspector2 Coverage` of an image or repository.
    InspectorCoverage(InspectorCoverage),
    /// `Inspector2 AutoEnable`: about accounts of the organization.
    InspectorAutoEnable,
    /// An Inspector event about something that is not in ECR, such as an EC2 instance.
    OtherResource {
        /// Its detail type.
        detail_type: &'static str,
        /// What it is about, in Inspector's words: printable ASCII, 128 characters at most.
        resource: String,
    },
    /// A detail type that this version does not know. Rules widen before code does.
    Unknown {
        /// The detail type: printable ASCII, 128 characters at most.
        detail_type: String,
    },
}

impl Body {
    /// What the event is about, if that is one image or repository.
    pub fn name(&self) -> Option<&ImageName> {
        match self {
            Self::ImageAction(body) | Self::ReferrerAction(body) => Some(&body.name),
            Self::ImageScan(body) | Self::InspectorScan(body) => Some(&body.name),
            Self::Replication(body) => Some(&body.name),
            Self::PullThroughCache(body) => Some(&body.name),
            Self::InspectorFinding(body) => Some(&body.name),
            Self::InspectorCoverage(body) => Some(&body.name),
            Self::ScanResourceChange(_)
            | Self::InspectorAutoEnable
            | Self::OtherResource { .. }
            | Self::Unknown { .. } => None,
        }
    }
}

/// How an event names an image, or a repository if it has neither digest nor tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The registry's account, if the body says it.
    pub account: Option<AccountId>,
    /// The registry's region, if the body says it.
    pub region: Option<Region>,
    /// The repository.
    pub repository: RepositoryName,
    /// The digest, if there is a valid one.
    pub digest: Option<Digest>,
    /// The valid ones of its tags, in the event's order, [`MAX_TAGS`] at most.
    pub tags: Vec<Tag>,
}

impl ImageName {
    /// The digest, otherwise the first tag. `None`: the name is that of a repository only.
    pub fn image(&self) -> Option<ImageRef> {
        let by_digest = self.digest.clone().map(ImageRef::Digest);
        by_digest.or_else(|| self.tags.first().cloned().map(ImageRef::Tag))
    }
}

/// Reads an event.
///
/// # Errors
/// The text is not an EventBridge event, or does not say which image, repository or resource it is about.
pub fn parse(json: &str) -> Result<Event, Poison> {
    let envelope = Envelope::read(json)?;
    let body = match envelope.detail_type.as_ref() {
        "ECR Image Action" => Body::ImageAction(ImageAction::read(&envelope.detail()?)?),
        "ECR Referrer Action" => Body::ReferrerAction(ImageAction::read(&envelope.detail()?)?),
        "ECR Image Scan" => Body::ImageScan(ImageScan::read(&envelope.detail()?, inspector::arn(&envelope))?),
        "ECR Replication Action" => Body::Replication(Replication::read(&envelope.detail()?)?),
        "ECR Pull Through Cache Action" => Body::PullThroughCache(PullThroughCache::read(&envelope.detail()?)?),
        "ECR Scan Resource Change" => Body::ScanResourceChange(ScanResourceChange::read(&envelope.detail()?)?),
        inspector::SCAN => inspector::scan(&envelope)?,
        inspector::FINDING => inspector::finding(&envelope)?,
        inspector::COVERAGE => inspector::coverage(&envelope)?,
        "Inspector2 AutoEnable" => Body::InspectorAutoEnable,
        other => Body::Unknown {
            detail_type: printable(other, MAX_TEXT),
        },
    };
    Ok(Event {
        id: printable(&envelope.id, MAX_TEXT),
        source: printable(&envelope.source, MAX_TEXT),
        account: envelope.account,
        region: envelope.region,
        time: envelope.time,
        body,
    })
}

/// The longest free text kept of an event.
const MAX_TEXT: usize = 128;

/// An enum of AWS's words. AWS adds words without notice, so every one of these has an arm for the rest.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version does not know: printable ASCII, 128 characters at most.
            Other(String),
        }

        impl $name {
            /// Reads AWS's word.
            pub fn from_word(word: &str) -> Self {
                match word {
                    $($word $(| $alias)* => Self::$variant,)+
                    other => Self::Other($crate::printable(other, $crate::MAX_TEXT)),
                }
            }

            /// The word, as AWS writes it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
use words;
