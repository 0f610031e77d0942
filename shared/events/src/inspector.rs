//! Details of Inspector's events.
//!
//! Source: Amazon Inspector User Guide, "Amazon EventBridge event schema for Amazon Inspector events". Inspector also covers
//! EC2 instances, machine images, Lambda functions and code; its events about those are data that no function needs.

use super::{
    ecr::{self, EcrArn, ImageScan, Place},
    envelope::Envelope,
    image_name::ImageName,
    json::Object,
    poison::{MAX_TEXT, Poison, printable},
    words::words,
};
use guard_core::finding::{Epss, Severity};

/// The subject of an event of Inspector.
pub(super) enum EcrOrOther<T> {
    /// A repository or image: the detail.
    Ecr(T),
    /// Something else, in Inspector's words: printable ASCII, 128 characters at most.
    Other(String),
}

words! {
    /// The status of a finding.
    FindingStatus {
        /// It stands.
        Active = "ACTIVE",
        /// A suppression rule hides it.
        Suppressed = "SUPPRESSED",
        /// It is remediated, or its image is no longer watched.
        Closed = "CLOSED",
    }
}

words! {
    /// Whether Inspector watches a resource.
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
    /// Its status.
    pub status: FindingStatus,
    /// How likely its vulnerability is exploited, if the event says so and names the vulnerability.
    pub epss: Option<Epss>,
}

/// `Inspector2 Coverage` of an image or repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectorCoverage {
    /// Which image, by digest, or which repository.
    pub name: ImageName,
    /// Whether Inspector watches it. AWS shows no such event about ECR, so that an absent status is `Other("")` and no error.
    pub status: CoverageStatus,
    /// Why, in Inspector's word, such as `SCAN_ELIGIBILITY_EXPIRED`: printable ASCII, 128 characters at most.
    pub reason: Option<String>,
}

/// An `Inspector2 Scan`.
pub(super) fn scan(envelope: &Envelope<'_>) -> Result<EcrOrOther<ImageScan>, Poison> {
    let detail = envelope.detail()?;
    // Scans of instances and machine images have other members. An event that names an image in any way is not one of those.
    let names_an_image = ["repository-name", "image-digest", "image-tags"]
        .iter()
        .any(|member| detail.get(member).is_some());
    if !names_an_image && let EcrOrOther::Other(resource) = resource(envelope)? {
        return Ok(EcrOrOther::Other(resource));
    }
    ImageScan::read(&detail, || arn(envelope)).map(EcrOrOther::Ecr)
}

/// An `Inspector2 Coverage`. Its subject is in the envelope only.
pub(super) fn coverage(envelope: &Envelope<'_>) -> Result<EcrOrOther<InspectorCoverage>, Poison> {
    let arn = match resource(envelope)? {
        EcrOrOther::Ecr(arn) => arn,
        EcrOrOther::Other(resource) => return Ok(EcrOrOther::Other(resource)),
    };
    let status = envelope.detail()?.optional_object("scanStatus")?;
    let word = status.as_ref().and_then(|status| {
        // The event has the first name, the API the second.
        let word = status.optional("statusCodeValue");
        word.or_else(|| status.optional("statusCode"))
    });
    Ok(EcrOrOther::Ecr(InspectorCoverage {
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

/// The first that can be read. One that cannot is only an error where nothing else names the subject.
fn resource(envelope: &Envelope<'_>) -> Result<EcrOrOther<EcrArn>, Poison> {
    let (mut other, mut odd) = (None, None);
    for element in envelope.resources()? {
        let Some(text) = element.text() else {
            odd.get_or_insert_with(|| element.invalid("a string"));
            continue;
        };
        if !EcrArn::looks_like_one(&text) {
            other.get_or_insert_with(|| printable(&text, MAX_TEXT));
            continue;
        }
        match EcrArn::read(&text) {
            Some(arn) => return Ok(EcrOrOther::Ecr(arn)),
            None => {
                odd.get_or_insert_with(|| element.invalid("the ARN of a repository or image"));
            }
        }
    }
    match (odd, other) {
        (Some(odd), _) => Err(odd),
        (None, Some(other)) => Ok(EcrOrOther::Other(other)),
        (None, None) => Err(envelope.no_resources()),
    }
}

/// The repository or image that the envelope names.
pub(super) fn arn(envelope: &Envelope<'_>) -> Option<EcrArn> {
    match resource(envelope) {
        Ok(EcrOrOther::Ecr(arn)) => Some(arn),
        Ok(EcrOrOther::Other(_)) | Err(_) => None,
    }
}

/// An `Inspector2 Finding`. It has one resource; of several, the first image counts.
pub(super) fn finding(envelope: &Envelope<'_>) -> Result<EcrOrOther<InspectorFinding>, Poison> {
    let detail = envelope.detail()?;
    let (mut other, mut odd) = (None, None);
    let mut named = None;
    for element in detail.list("resources")? {
        let read = element.object().and_then(|resource| match image(&resource)? {
            Some(name) => Ok(Ok(name)),
            None => Ok(Err(printable(&resource.required("type")?, MAX_TEXT))),
        });
        match read {
            Ok(Ok(name)) => {
                named = Some(name);
                break;
            }
            Ok(Err(resource)) => {
                other.get_or_insert(resource);
            }
            Err(poison) if poison.is_ambiguous() => return Err(poison),
            Err(poison) => {
                odd.get_or_insert(poison);
            }
        }
    }
    // A name that the detail does not have in a readable form may be in the envelope.
    let named = named.or_else(|| odd.as_ref().and_then(|_| arn(envelope)).and_then(name_of));
    if let Some(name) = named {
        return Ok(EcrOrOther::Ecr(InspectorFinding {
            name,
            severity: Severity::from_word(&detail.optional("severity").unwrap_or_default()),
            status: FindingStatus::from_word(&detail.required("status")?),
            epss: epss(&detail)?,
        }));
    }
    if let Some(poison) = odd {
        return Err(poison);
    }
    let resource = other.ok_or_else(|| detail.missing("resources", "the resource that the finding is about"))?;
    Ok(EcrOrOther::Other(resource))
}

/// The image that an ARN names, if it names one.
fn name_of(arn: EcrArn) -> Option<ImageName> {
    arn.digest.is_some().then_some(ImageName {
        account: Some(arn.account),
        region: Some(arn.region),
        repository: arn.repository,
        digest: arn.digest,
        tags: Vec::new(),
    })
}

/// `epss.score` of `packageVulnerabilityDetails.vulnerabilityId`. A score or an id that is none is not known, and no error.
fn epss(detail: &Object<'_>) -> Result<Option<Epss>, Poison> {
    let epss = detail.optional_object("epss")?;
    let details = detail.optional_object("packageVulnerabilityDetails")?;
    let score = epss.and_then(|epss| epss.number("score"));
    let vulnerability = details.and_then(|details| details.optional("vulnerabilityId"));
    Ok(match (vulnerability, score) {
        (Some(id), Some(score)) if !id.is_empty() => Epss::new(printable(&id, MAX_TEXT), score),
        _ => None,
    })
}

/// The image that a resource of a finding is; `None` if it is something else.
fn image(resource: &Object<'_>) -> Result<Option<ImageName>, Poison> {
    let details = resource.optional_object("details")?;
    let of = |name: &str| match &details {
        Some(details) => details.optional_object(name),
        None => Ok(None),
    };
    let (ecr, neutral) = (of("awsEcrContainerImage")?, of("image")?);
    let id = resource.optional("id").unwrap_or_default();
    let declared = resource
        .optional("type")
        .is_some_and(|t| t == "AWS_ECR_CONTAINER_IMAGE");
    if !declared && !EcrArn::looks_like_one(&id) && ecr.is_none() {
        // `image` alone may be in somebody else's registry.
        return Ok(None);
    }
    let objects = [(ecr, "imageHash"), (neutral, "imageDigest")];
    let arn = EcrArn::read(&id);
    // Where both are there, they say the same.
    let Some((image, digest)) = objects.into_iter().find_map(|(object, digest)| Some((object?, digest))) else {
        let missing = || resource.missing("details", "an `awsEcrContainerImage` or `image`");
        return arn.and_then(name_of).ok_or_else(missing).map(Some);
    };
    let name = image_name(resource, arn, &image, digest)?;
    if name.image().is_none() {
        return Err(ecr::no_image(&image, digest));
    }
    Ok(Some(name))
}

/// A part of the name that `image` leaves out, or has in an unreadable form (AWS's own samples say `N/A`), is taken from the
/// resource's ARN if that is about the same repository.
fn image_name(
    resource: &Object<'_>,
    arn: Option<EcrArn>,
    image: &Object<'_>,
    digest: &str,
) -> Result<ImageName, Poison> {
    let place = match (ecr::place(image, "repositoryName"), &arn) {
        (Err(_), Some(arn)) => Place {
            account: None,
            region: None,
            repository: arn.repository.clone(),
        },
        (place, _) => place?,
    };
    let (arn_account, arn_region, arn_digest) = match arn.filter(|arn| arn.repository == place.repository) {
        Some(arn) => (Some(arn.account), Some(arn.region), arn.digest),
        None => (None, None, None),
    };
    let account = image.id("registry", "an AWS account id");
    let region = resource.id("region", "an AWS region");
    Ok(ImageName {
        account: said_or(account, place.account.or(arn_account))?,
        region: said_or(region, place.region.or(arn_region))?,
        repository: place.repository,
        digest: said_or(ecr::digest(image, digest), arn_digest)?,
        tags: ecr::tags(image, "imageTags")?,
    })
}

/// The value of a member, otherwise that from elsewhere; an error only if there is none.
fn said_or<T>(said: Result<Option<T>, Poison>, elsewhere: Option<T>) -> Result<Option<T>, Poison> {
    match (said, elsewhere) {
        (Ok(said), elsewhere) => Ok(said.or(elsewhere)),
        (Err(_), Some(elsewhere)) => Ok(Some(elsewhere)),
        (Err(poison), None) => Err(poison),
    }
}
