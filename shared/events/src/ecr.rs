//! Details of ECR's events.
//!
//! Sources: Amazon ECR User Guide, "Amazon ECR events and EventBridge"; the EventBridge schema registry. "Required" is meant as
//! in the latter.

use jiff::Timestamp;

use super::{
    image_name::{ImageName, MAX_TAGS},
    json::Object,
    poison::{MAX_TEXT, Poison, Reason, printable},
    words::words,
};
use guard_core::{
    finding::{ScanEvent, Severity, SeverityCounts},
    ids::{self, AccountId, Digest, Region, RepositoryName, Tag},
};

words! {
    /// The action on an image.
    ImageActionType {
        /// Pushed.
        Push = "PUSH",
        /// Deleted, or perhaps only a tag of it: the registry knows.
        Delete = "DELETE",
        /// Archived or restored: see [`StorageClass`].
        UpdateStorageClass = "UPDATE_STORAGE_CLASS",
    }
}

words! {
    /// How it went.
    ActionResult {
        /// It was done.
        Success = "SUCCESS",
        /// It was not. The samples say `FAILED`.
        Failed = "FAILED" | "FAILURE",
    }
}

words! {
    /// Where an image's layers lie.
    StorageClass {
        /// Pullable.
        Standard = "STANDARD",
        /// The archive: not pullable.
        Archive = "ARCHIVE",
    }
}

words! {
    /// How a scan ended.
    ScanStatus {
        /// ECR's scanner is done.
        Complete = "COMPLETE",
        /// ECR's scanner gave up; it does not say why.
        Failed = "FAILED",
        /// Inspector has scanned an image for the first time.
        InitialScanComplete = "INITIAL_SCAN_COMPLETE",
    }
}

words! {
    /// How a pull through cache's synchronization ended.
    SyncStatus {
        /// The image was fetched.
        Success = "SUCCESS",
        /// It was not.
        Failed = "FAILED" | "FAILURE",
    }
}

words! {
    /// The change for enhanced scanning.
    ScanResourceAction {
        /// How often repositories are scanned.
        ScanFrequencyChange = "SCAN_FREQUENCY_CHANGE",
    }
}

words! {
    /// How often enhanced scanning scans a repository.
    ScanFrequency {
        /// Never by itself.
        Manual = "MANUAL",
        /// Once.
        ScanOnPush = "SCAN_ON_PUSH",
        /// Again whenever vulnerabilities become known.
        ContinuousScan = "CONTINUOUS_SCAN",
    }
}

/// `ECR Image Action` and `ECR Referrer Action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAction {
    /// The action (required).
    pub action: ImageActionType,
    /// How it went (required).
    pub result: ActionResult,
    /// Which image: one tag at most, none for an archive or a restore.
    pub name: ImageName,
    /// Where to, if the storage class was changed.
    pub storage_class: Option<StorageClass>,
    /// `manifest-media-type`: printable ASCII, 128 characters at most.
    pub manifest_media_type: Option<String>,
    /// `artifact-media-type`, likewise.
    pub artifact_media_type: Option<String>,
}

impl ImageAction {
    pub(super) fn read(detail: &Object<'_>) -> Result<Self, Poison> {
        Ok(Self {
            action: ImageActionType::from_word(&detail.required("action-type")?),
            result: ActionResult::from_word(&detail.required("result")?),
            name: image_name(detail, one_tag(detail))?,
            storage_class: detail
                .optional("target-storage-class")
                .map(|word| StorageClass::from_word(&word)),
            manifest_media_type: kept(detail, "manifest-media-type"),
            artifact_media_type: kept(detail, "artifact-media-type"),
        })
    }
}

/// `ECR Image Scan` and `Inspector2 Scan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageScan {
    /// How the scan ended (required).
    pub status: ScanStatus,
    /// Which image.
    pub name: ImageName,
    /// Findings by severity, without those of which there are none: a hint, and never proof that there are none.
    ///
    /// ECR leaves out a severity without findings, Inspector leaves out some of those with findings; both may leave out the
    /// whole. Read the scan itself.
    pub counts: SeverityCounts,
    /// All findings, also those of severities that it leaves out (Inspector's `TOTAL`); `None`: it does not say.
    pub total: Option<u64>,
}

impl ImageScan {
    /// The scan's result, if the event announces one. `at`: when the event was.
    pub fn result(&self, at: Option<Timestamp>) -> Option<ScanEvent> {
        matches!(self.status, ScanStatus::Complete | ScanStatus::InitialScanComplete).then(|| ScanEvent {
            // AWS's own sample has an impossible date: such an event counts as one of the moment in which it is read.
            at: at.unwrap_or(Timestamp::MAX),
            counts: self.counts.clone(),
            total: self.total,
        })
    }

    /// `arn`: what the envelope says that the event is about, where it can be read.
    /// `arn`: the one that the envelope names.
    pub(super) fn read(detail: &Object<'_>, arn: impl FnOnce() -> Option<EcrArn>) -> Result<Self, Poison> {
        Ok(Self {
            status: ScanStatus::from_word(&detail.required("scan-status")?),
            name: image_name_or(detail, tags(detail, "image-tags")?, arn)?,
            counts: severity_counts(detail)?,
            total: total(detail),
        })
    }
}

/// `ECR Replication Action`. It is sent where the copy is: the event's region is the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// Whether the copy has arrived (required).
    pub result: ActionResult,
    /// The copy.
    pub name: ImageName,
    /// The account that it comes from, if that is a valid one.
    pub source_account: Option<AccountId>,
    /// The region that it comes from, if that is a valid one.
    pub source_region: Option<Region>,
}

impl Replication {
    pub(super) fn read(detail: &Object<'_>) -> Result<Self, Poison> {
        Ok(Self {
            result: ActionResult::from_word(&detail.required("result")?),
            name: image_name(detail, one_tag(detail))?,
            source_account: detail.optional("source-account").and_then(|id| id.parse().ok()),
            source_region: detail.optional("source-region").and_then(|id| id.parse().ok()),
        })
    }
}

/// `ECR Pull Through Cache Action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullThroughCache {
    /// How it went (required).
    pub status: SyncStatus,
    /// The repository, and the image if there is one: a failed synchronization need not have come so far.
    pub name: ImageName,
    /// Why it failed, in ECR's word: printable ASCII, 128 characters at most.
    pub failure_code: Option<String>,
}

impl PullThroughCache {
    pub(super) fn read(detail: &Object<'_>) -> Result<Self, Poison> {
        Ok(Self {
            status: SyncStatus::from_word(&detail.required("sync-status")?),
            name: name(detail, digest(detail, "image-digest")?, one_tag(detail))?,
            failure_code: kept(detail, "failure-code"),
        })
    }
}

/// `ECR Scan Resource Change`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanResourceChange {
    /// The change.
    pub action: ScanResourceAction,
    /// Which repositories. None if the event has another shape: the guide says that the event is also sent when repositories
    /// and images come and go, and shows no sample of that.
    pub repositories: Vec<RepositoryScan>,
}

/// A repository in a [`ScanResourceChange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryScan {
    /// The repository.
    pub repository: RepositoryName,
    /// How often it is scanned from now on.
    pub frequency: Option<ScanFrequency>,
}

impl ScanResourceChange {
    pub(super) fn read(detail: &Object<'_>) -> Result<Self, Poison> {
        let mut repositories = Vec::new();
        for element in detail.list("repositories")? {
            let element = element.object()?;
            let Place { repository, .. } = place(&element, "repository-name")?;
            repositories.push(RepositoryScan {
                repository,
                frequency: element
                    .optional("scan-frequency")
                    .map(|word| ScanFrequency::from_word(&word)),
            });
        }
        Ok(Self {
            action: ScanResourceAction::from_word(&detail.required("action-type")?),
            repositories,
        })
    }
}

/// The ARN of a repository or of an image in it.
#[derive(Debug)]
pub(super) struct EcrArn {
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) repository: RepositoryName,
    pub(super) digest: Option<Digest>,
}

impl EcrArn {
    /// Reads `arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME` with or without `/DIGEST`.
    pub(super) fn read(value: &str) -> Option<Self> {
        let mut parts = value.splitn(6, ':');
        if (parts.next()?, parts.nth(1)?) != ("arn", "ecr") {
            return None;
        }
        let (region, account) = (parts.next()?, parts.next()?);
        let path = parts.next()?.strip_prefix("repository/")?;
        Some(Self {
            account: account.parse().ok()?,
            region: region.parse().ok()?,
            repository: ids::repository_from_arn_or_name(value).ok()?,
            digest: path.rsplit_once('/').and_then(|(_, digest)| digest.parse().ok()),
        })
    }

    /// Whether this is an ARN of ECR, readable or not.
    pub(super) fn looks_like_one(value: &str) -> bool {
        value.starts_with("arn:") && value.split(':').nth(2) == Some("ecr")
    }
}

/// Where a repository is.
pub(super) struct Place {
    pub(super) account: Option<AccountId>,
    pub(super) region: Option<Region>,
    pub(super) repository: RepositoryName,
}

/// A member that names a repository: by name, as in ECR's events, or by ARN, as in Inspector's.
pub(super) fn place(object: &Object<'_>, member: &str) -> Result<Place, Poison> {
    const EXPECTED: &str = "a repository name";
    let value = object.text(member)?.ok_or_else(|| object.missing(member, EXPECTED))?;
    if value.starts_with("arn:") {
        // Half an ARN would be completed from the envelope, and then name a repository that nobody spoke of.
        let arn = EcrArn::read(&value).ok_or_else(|| object.invalid(member, "the ARN of a repository", &value))?;
        return Ok(Place {
            account: Some(arn.account),
            region: Some(arn.region),
            repository: arn.repository,
        });
    }
    Ok(Place {
        account: None,
        region: None,
        repository: ids::repository_from_arn_or_name(&value).map_err(|_| object.invalid(member, EXPECTED, &value))?,
    })
}

/// A member that is a digest. One that is not valid is as none: the tags may do.
pub(super) fn digest(object: &Object<'_>, member: &str) -> Result<Option<Digest>, Poison> {
    Ok(object.text(member)?.and_then(|digest| digest.parse().ok()))
}

/// The valid elements of a member that is a list of tags. Anything else is as none: the digest may do.
pub(super) fn tags(object: &Object<'_>, member: &str) -> Result<Vec<Tag>, Poison> {
    let elements = object.list(member).map(Some).or_else(Poison::unless_ambiguous)?;
    let elements = elements.unwrap_or_default();
    let texts = elements.iter().filter_map(|element| element.text());
    Ok(texts.filter_map(|tag| tag.parse().ok()).take(MAX_TAGS).collect())
}

fn one_tag(detail: &Object<'_>) -> Vec<Tag> {
    let tag = detail.optional("image-tag").and_then(|tag| tag.parse().ok());
    tag.into_iter().collect()
}

/// The image that a detail names, which must be one: a repository alone will not do.
fn image_name(detail: &Object<'_>, tags: Vec<Tag>) -> Result<ImageName, Poison> {
    image_name_or(detail, tags, || None)
}

/// The same; the repository, if the detail does not say it in a form that can be read, by the ARN.
fn image_name_or(
    detail: &Object<'_>,
    tags: Vec<Tag>,
    arn: impl FnOnce() -> Option<EcrArn>,
) -> Result<ImageName, Poison> {
    let digest = digest(detail, "image-digest")?;
    let name = match place(detail, "repository-name") {
        Ok(place) => named(place, digest, tags),
        Err(poison) => {
            let arn = arn().ok_or(poison)?;
            ImageName {
                account: Some(arn.account),
                region: Some(arn.region),
                repository: arn.repository,
                digest: digest.or(arn.digest),
                tags,
            }
        }
    };
    if name.image().is_none() {
        return Err(no_image(detail, "image-digest"));
    }
    Ok(name)
}

fn name(detail: &Object<'_>, digest: Option<Digest>, tags: Vec<Tag>) -> Result<ImageName, Poison> {
    place(detail, "repository-name").map(|place| named(place, digest, tags))
}

fn named(place: Place, digest: Option<Digest>, tags: Vec<Tag>) -> ImageName {
    ImageName {
        account: place.account,
        region: place.region,
        repository: place.repository,
        digest,
        tags,
    }
}

/// An error about an object that names no image.
pub(super) fn no_image(object: &Object<'_>, digest: &str) -> Poison {
    match object.optional(digest) {
        Some(found) => object.invalid(digest, "an image digest, and there is no valid tag", &found),
        None => Poison::at(
            object.path(),
            Reason::Missing {
                expected: "a digest or valid tag of the image",
            },
        ),
    }
}

/// A member that is only passed on.
pub(super) fn kept(object: &Object<'_>, member: &str) -> Option<String> {
    object.optional(member).map(|text| printable(&text, MAX_TEXT))
}

const SEVERITY_COUNTS: &str = "finding-severity-counts";
const TOTAL: &str = "TOTAL";

/// Reads `finding-severity-counts` so that nothing in it is lost: a word that is unknown counts as `Undefined`, a number that
/// is none as one finding.
fn severity_counts(detail: &Object<'_>) -> Result<SeverityCounts, Poison> {
    match detail.get(SEVERITY_COUNTS) {
        Some(raw) if !raw.get().starts_with('{') => return Ok(SeverityCounts::from([(Severity::Undefined, 1)])),
        _ => {}
    }
    let mut counts = SeverityCounts::new();
    let Some(object) = detail.object(SEVERITY_COUNTS)? else {
        return Ok(counts);
    };
    for (word, raw) in object.members() {
        // Inspector's sum of all severities, also of those that it leaves out.
        if word.eq_ignore_ascii_case(TOTAL) {
            continue;
        }
        let number = count(raw.get());
        if number > 0 {
            let total = counts.entry(Severity::from_word(word)).or_default();
            *total = total.saturating_add(number);
        }
    }
    Ok(counts)
}

/// `TOTAL` of `finding-severity-counts`, in whatever case.
fn total(detail: &Object<'_>) -> Option<u64> {
    let object = detail.object(SEVERITY_COUNTS).ok().flatten()?;
    let mut totals = object.members().filter(|(word, _)| word.eq_ignore_ascii_case(TOTAL));
    let (_, raw) = totals.next()?;
    (raw.get() != "null").then(|| count(raw.get()))
}

fn count(json: &str) -> u64 {
    if let Ok(number) = serde_json::from_str::<u64>(json) {
        return number;
    }
    match serde_json::from_str::<f64>(json) {
        // The conversion saturates.
        Ok(number) if number >= 0.0 => number.ceil() as u64,
        // `serde_json` refuses what no `f64` can hold, such as `1e999`.
        Err(_) if json.starts_with(|c: char| c.is_ascii_digit()) => u64::MAX,
        Ok(_) | Err(_) => 1,
    }
}
