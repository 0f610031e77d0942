//! Details of Inspector's events.
//!
//! Source: Amazon Inspector User Guide, "Amazon EventBridge event schema for Amazon Inspector events". Inspector also looks at
//! EC2 instances, machine images, Lambda functions and code; its events about those are data that no function needs.

use super::{
    Body, ImageName, MAX_TEXT,
    ecr::{self, EcrArn, ImageScan},
    envelope::Envelope,
    json::Object,
    poison::{Poison, printable},
    words,
};
use crate::domain::finding::{Epss, Severity};

/// Detail type of [`Body::InspectorScan`].
pub(super) const SCAN: &str = "Inspector2 Scan";
/// Detail type of [`Body::InspectorFinding`].
pub(super) const FINDING: &str = "Inspector2 Finding";
/// Detail type of [`Body::InspectorCoverage`].
pub(super) const COVERAGE: &str = "Inspector2 Coverage";

words! {
    /// What has become of a finding.
    FindingStatus {
        /// It stands.
        Active = "ACTIVE",
        /// A suppression rule hides it.
        Suppressed = "SUPPRESSED",
        /// It is remediated, or its image is no longer looked at.
        Closed = "CLOSED",
    }
}

words! {
    /// Whether Inspector looks at a resource.
    CoverageStatus {
        /// It does.
        Active = "ACTIVE",
        /// It does not.
        Inactive = "INACTIVE",
    }
}

/// `Inspector2 Finding` about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectorFinding {
    /// Which image.
    pub name: ImageName,
    /// How bad it is; `Undefined` if the event does not say.
    pub severity: Severity,
    /// What has become of it.
    pub status: FindingStatus,
    /// How likely its vulnerability is exploited, if the event says so and names the vulnerability.
    pub epss: Option<Epss>,
}

/// `Inspector2 Coverage` of an image or repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectorCoverage {
    /// Which image, by digest, or which repository.
    pub name: ImageName,
    /// Whether Inspector looks at it. AWS shows no such event about ECR, so that an absent status is `Other("")` and no error.
    pub status: CoverageStatus,
    /// Why, in Inspector's word, such as `SCAN_ELIGIBILITY_EXPIRED`: printable ASCII, 128 characters at most.
    pub reason: Option<String>,
}

/// An `Inspector2 Scan`.
pub(super) fn scan(envelope: &Envelope<'_>) -> Result<Body, Poison> {
    let detail = envelope.detail()?;
    // Scans of instances and machine images have other members. What names an image in any way is not one of those.
    let names_an_image = ["repository-name", "image-digest", "image-tags"]
        .iter()
        .any(|member| detail.get(member).is_some());
    if !names_an_image && let Resource::Other(resource) = resource(envelope)? {
        return Ok(Body::OtherResource {
            detail_type: SCAN,
            resource,
        });
    }
    ImageScan::read(&detail).map(Body::InspectorScan)
}

/// An `Inspector2 Coverage`. What it is about is in the envelope only.
pub(super) fn coverage(envelope: &Envelope<'_>) -> Result<Body, Poison> {
    let arn = match resource(envelope)? {
        Resource::Ecr(arn) => arn,
        Resource::Other(resource) => {
            return Ok(Body::OtherResource {
                detail_type: COVERAGE,
                resource,
            });
        }
    };
    let status = envelope.detail()?.object("scanStatus")?;
    let word = status.as_ref().and_then(|status| {
        // The event has the first name, the API the second.
        let word = status.optional("statusCodeValue");
        word.or_else(|| status.optional("statusCode"))
    });
    Ok(Body::InspectorCoverage(InspectorCoverage {
        name: ImageName {
            account: Some(arn.account),
            region: Some(arn.region),
            repository: arn.repository,
            digest: arn.digest,
            tags: Vec::new(),
        },
        status: CoverageStatus::from_word(&word.unwrap_or_default()),
        reason: status.and_then(|status| ecr::kept(&status, "reason")),
    }))
}

/// What the envelope says that an event is about.
enum Resource {
    Ecr(EcrArn),
    Other(String),
}

fn resource(envelope: &Envelope<'_>) -> Result<Resource, Poison> {
    let mut other = None;
    for element in envelope.resources()? {
        let text = element.text().ok_or_else(|| element.invalid("a string"))?;
        if EcrArn::looks_like_one(&text) {
            return EcrArn::read(&text)
                .map(Resource::Ecr)
                .ok_or_else(|| element.invalid("the ARN of a repository or image"));
        }
        other.get_or_insert_with(|| printable(&text, MAX_TEXT));
    }
    other.map(Resource::Other).ok_or_else(|| envelope.no_resources())
}

/// An `Inspector2 Finding`. It has one resource; of several, the first image counts.
pub(super) fn finding(detail: &Object<'_>) -> Result<Body, Poison> {
    let mut other = None;
    for element in detail.list("resources")? {
        let resource = element.object()?;
        if let Some(name) = image(&resource)? {
            return Ok(Body::InspectorFinding(InspectorFinding {
                name,
                severity: Severity::from_word(&detail.optional("severity").unwrap_or_default()),
                status: FindingStatus::from_word(&detail.required("status")?),
                epss: epss(detail)?,
            }));
        }
        other.get_or_insert(printable(&resource.required("type")?, MAX_TEXT));
    }
    let resource = other.ok_or_else(|| detail.missing("resources", "the resource that the finding is about"))?;
    Ok(Body::OtherResource {
        detail_type: FINDING,
        resource,
    })
}

/// `epss.score` of `packageVulnerabilityDetails.vulnerabilityId`. A score or an id that is none is not known, and no error.
fn epss(detail: &Object<'_>) -> Result<Option<Epss>, Poison> {
    let (epss, details) = (detail.object("epss")?, detail.object("packageVulnerabilityDetails")?);
    let score = epss.and_then(|epss| epss.number("score"));
    let vulnerability = details.and_then(|details| details.optional("vulnerabilityId"));
    Ok(match (vulnerability, score) {
        (Some(id), Some(score)) if !id.is_empty() => Epss::new(printable(&id, MAX_TEXT), score),
        _ => None,
    })
}

/// The image that a resource of a finding is; `None` if it is something else.
fn image(resource: &Object<'_>) -> Result<Option<ImageName>, Poison> {
    let details = resource.object("details")?;
    let (ecr, neutral) = match &details {
        Some(details) => (details.object("awsEcrContainerImage")?, details.object("image")?),
        None => (None, None),
    };
    let id = resource.optional("id").unwrap_or_default();
    let declared = resource
        .optional("type")
        .is_some_and(|t| t == "AWS_ECR_CONTAINER_IMAGE");
    if !declared && !EcrArn::looks_like_one(&id) && ecr.is_none() {
        // `image` alone may be in somebody else's registry.
        return Ok(None);
    }
    let objects = [(ecr, "imageHash"), (neutral, "imageDigest")];
    // Where both are there, they say the same.
    let Some((image, digest)) = objects.into_iter().find_map(|(object, digest)| Some((object?, digest))) else {
        return Err(resource.missing("details", "an `awsEcrContainerImage` or `image`"));
    };
    let name = image_name(resource, EcrArn::read(&id), &image, digest)?;
    if name.image().is_none() {
        return Err(ecr::no_image(&image, digest));
    }
    Ok(Some(name))
}

/// What `image` leaves out is taken from the resource's ARN if that is about the same repository.
fn image_name(
    resource: &Object<'_>,
    arn: Option<EcrArn>,
    image: &Object<'_>,
    digest: &str,
) -> Result<ImageName, Poison> {
    let place = ecr::place(image, "repositoryName")?;
    let (arn_account, arn_region, arn_digest) = match arn.filter(|arn| arn.repository == place.repository) {
        Some(arn) => (Some(arn.account), Some(arn.region), arn.digest),
        None => (None, None, None),
    };
    let account = image.id("registry", "an AWS account id")?;
    let region = resource.id("region", "an AWS region")?;
    Ok(ImageName {
        account: account.or(place.account).or(arn_account),
        region: region.or(place.region).or(arn_region),
        repository: place.repository,
        digest: ecr::digest(image, digest)?.or(arn_digest),
        tags: ecr::tags(image, "imageTags")?,
    })
}
