//! Wire formats of EventBridge events.
//!
//! [`parse`] is tolerant of AWS and strict about meaning. Parts that AWS may add or leave out are data: unknown detail types,
//! words, members, tags. An event that leaves it open which image it is about is [`Poison`]: it is put aside, and never tried
//! again.
//!
//! An event is a hint: it says where to look, not what is there. Nothing here decides anything.
//!
//! Sources: Amazon ECR User Guide, "Amazon ECR events and EventBridge"; Amazon Inspector User Guide, "Amazon EventBridge event
//! schema for Amazon Inspector events"; the EventBridge schema registry (`aws.ecr@ECRImageAction` and its like); Amazon
//! EventBridge User Guide, "AWS service event structure". Their samples are test fixtures (`tests/fixtures/events`).

mod ecr;
pub mod ecs;
mod envelope;
mod image_name;
mod inspector;
mod json;
mod poison;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;

pub use ecr::{
    ActionResult, ImageAction, ImageActionType, ImageScan, PullThroughCache, Replication, RepositoryScan,
    ScanFrequency, ScanResourceAction, ScanResourceChange, ScanStatus, StorageClass, SyncStatus,
};
pub use image_name::{ImageName, MAX_TAGS};
pub use inspector::{CoverageStatus, FindingStatus, InspectorCoverage, InspectorFinding};
pub use json::{MAX_BYTES, MAX_DEPTH, MAX_ENTRIES};
pub use poison::{Poison, Reason};

use envelope::Envelope;
use guard_core::ids::{AccountId, ImageRef, Region};
use inspector::EcrOrOther;
use poison::{MAX_TEXT, printable};

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
    /// The content.
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

/// The content of an event, by its `detail-type`. Its source is not checked: local runs and smoke tests have sources of their
/// own, because EventBridge lets nobody but AWS send as `aws.*`.
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
    /// `ECR Scan Resource Change`: how often enhanced scanning scans a repository.
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
        /// Its subject, in Inspector's words: printable ASCII, 128 characters at most.
        resource: String,
    },
    /// A detail type that this version does not know. Rules widen before code does.
    Unknown {
        /// The detail type: printable ASCII, 128 characters at most.
        detail_type: String,
    },
}

impl Body {
    /// The subject of the event, if that is one image or repository.
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

/// Reads an event.
///
/// # Errors
/// The text is not an EventBridge event, or does not say which image, repository or resource it is about.
pub fn parse(json: &str) -> Result<Event, Poison> {
    let envelope = Envelope::read(json)?;
    let body = match envelope.detail_type.as_ref() {
        "ECR Image Action" => Body::ImageAction(ImageAction::read(&envelope.detail()?)?),
        "ECR Referrer Action" => Body::ReferrerAction(ImageAction::read(&envelope.detail()?)?),
        "ECR Image Scan" => Body::ImageScan(ImageScan::read(&envelope.detail()?, || inspector::arn(&envelope))?),
        "ECR Replication Action" => Body::Replication(Replication::read(&envelope.detail()?)?),
        "ECR Pull Through Cache Action" => Body::PullThroughCache(PullThroughCache::read(&envelope.detail()?)?),
        "ECR Scan Resource Change" => Body::ScanResourceChange(ScanResourceChange::read(&envelope.detail()?)?),
        "Inspector2 Scan" => about("Inspector2 Scan", inspector::scan(&envelope)?, Body::InspectorScan),
        "Inspector2 Finding" => about(
            "Inspector2 Finding",
            inspector::finding(&envelope)?,
            Body::InspectorFinding,
        ),
        "Inspector2 Coverage" => about(
            "Inspector2 Coverage",
            inspector::coverage(&envelope)?,
            Body::InspectorCoverage,
        ),
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

/// The body of an Inspector event, which may be about something that is not in ECR.
fn about<T>(detail_type: &'static str, read: EcrOrOther<T>, in_ecr: impl FnOnce(T) -> Body) -> Body {
    match read {
        EcrOrOther::Ecr(detail) => in_ecr(detail),
        EcrOrOther::Other(resource) => Body::OtherResource { detail_type, resource },
    }
}
