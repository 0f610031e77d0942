//! What the reader of an alert can do, in order.

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::hold::Hold,
    finding::NoScan,
    ids::Digest,
    image::{Arrival, Way},
    ledger::{Cause, RecordedFinding, Row},
    notice::AlertKind,
    policy::BlockMethod,
    text,
};

/// What an alert is about.
pub(super) struct Situation<'a> {
    pub(super) kind: AlertKind,
    pub(super) row: &'a Row,
    /// The findings that decided.
    pub(super) findings: &'a [RecordedFinding],
    pub(super) hold: Option<&'a Hold>,
    /// How the image came to be pullable, if that is known.
    pub(super) arrival: Option<&'a Arrival>,
    /// The image whose scan shows the findings.
    pub(super) scanned: &'a Digest,
}

const NOT_AGAIN: &str = "Do not push the same image again: it would only be blocked again.";
const NEW_BUILD: &str = "Build it again and push it under a new tag: a new image is scanned.";
const MANY_BLOCKS: &str = "This image and all further ones of this hour are held, and only this one is told of. Look whether something else \
                           is wrong: a change of the policy, or of the scanner's data.";

/// The steps for an alert.
pub(super) fn next_steps(of: &Situation<'_>) -> Vec<String> {
    if of.row.cause == Some(Cause::Tag) {
        return of.for_a_tag();
    }
    match of.kind {
        AlertKind::ImageBlocked => vec![of.fix(), of.exception(), of.blocked()],
        AlertKind::ImageBypass => vec![of.who(), of.fix(), of.exception(), of.blocked()],
        AlertKind::ImageHeld => {
            let by_rule = of.hold.and_then(|hold| hold.next_step).map(str::to_owned);
            let steps = [of.fix()].into_iter().chain(by_rule);
            steps.chain([of.exception(), of.look()]).collect()
        }
        AlertKind::BlockLimit => vec![
            MANY_BLOCKS.to_owned(),
            "If so many blocks are right, raise block.max_blocks_per_hour in the policy.".to_owned(),
            of.fix(),
        ],
        AlertKind::ImageReview => vec![
            "Look at the findings before this image is deployed.".to_owned(),
            of.fix(),
            of.look(),
        ],
        AlertKind::ImageReleased => vec!["Deploy it again where it was missing.".to_owned()],
        AlertKind::ScanFailed => {
            let mut steps = of.without_scan();
            steps.push(of.exception());
            steps
        }
        AlertKind::ScanOverdue => vec![of.look(), of.check_coverage()],
    }
}

impl Situation<'_> {
    fn look(&self) -> String {
        let image = &self.row.image;
        format!(
            "See all findings: aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id imageDigest={}",
            image.region, image.repository, self.scanned
        )
    }

    fn exception(&self) -> String {
        let repository = &self.row.image.repository;
        match self.findings.first() {
            Some(finding) => format!(
                "If it does no harm here, ask the owners of the policy for an exception for {} in {repository}: with owner, reason \
                 and end.",
                text::line(&finding.id, 60)
            ),
            None => format!("If this image must run all the same, ask the owners of the policy about {repository}."),
        }
    }

    fn blocked(&self) -> String {
        let block = self.row.block.as_ref();
        if block.is_some_and(|block| block.method == BlockMethod::Archive) {
            NOT_AGAIN.to_owned()
        } else {
            self.look()
        }
    }

    fn check_coverage(&self) -> String {
        let image = &self.row.image;
        format!(
            "Check that the repository is scanned: aws ecr batch-get-repository-scanning-configuration --region {} \
             --repository-names {}",
            image.region, image.repository
        )
    }

    /// For an image that is blocked for a tag of its own.
    fn for_a_tag(&self) -> Vec<String> {
        let image = &self.row.image;
        let mut steps = Vec::new();
        if self.kind == AlertKind::ImageBypass {
            steps.push(self.who());
        }
        steps.push("Push it under a tag that the policy allows, and deploy it by that.".to_owned());
        steps.push(format!(
            "If it is only the tag, remove it, unless it is the image's last one, with which ECR would delete the image: aws ecr \
             batch-delete-image --region {} --repository-name {} --image-ids imageTag=TAG",
            image.region, image.repository
        ));
        steps.push("If the tag is right, ask the owners of the policy to allow it.".to_owned());
        steps
    }

    /// For an image that has no usable scan.
    fn without_scan(&self) -> Vec<String> {
        let image = &self.row.image;
        let status = format!(
            "See what the scanner says: aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id \
             imageDigest={} --max-items 1",
            image.region, image.repository, image.digest
        );
        match &self.row.no_scan {
            Some(NoScan::EligibilityExpired) => vec![
                format!("{NEW_BUILD} Pushing the same image again does not help."),
                "If images are in use for longer, raise the re-scan duration of Amazon Inspector for ECR images."
                    .to_owned(),
            ],
            Some(NoScan::Unsupported) => vec![
                "Rebuild it on a base image that the scanner supports.".to_owned(),
                "If images of this kind are right here, set scan.on_unsupported to monitor in the policy.".to_owned(),
                status,
            ],
            Some(NoScan::TooLarge) => vec![
                "Make the image smaller: build in stages, and leave out what only the build needs.".to_owned(),
                status,
            ],
            Some(NoScan::LimitExceeded) => vec![
                "Wait for a day: the image is asked about again. ECR scans an image once in 24 hours.".to_owned(),
                status,
            ],
            Some(NoScan::NotCovered) => vec![self.check_coverage()],
            Some(NoScan::Failed | NoScan::FindingsUnavailable | NoScan::UnknownStatus(_)) | None => {
                vec![status, NEW_BUILD.to_owned()]
            }
        }
    }

    /// How to find out who brought an image back. ECR's events do not say; `CloudTrail` does, some minutes later.
    fn who(&self) -> String {
        let region = &self.row.image.region;
        let Some(Arrival { way, at }) = self.arrival else {
            return "Find out who brings it back: CloudTrail names whoever called PutImage or UpdateImageStorageClass."
                .to_owned();
        };
        let (call, region) = match way {
            Way::Pushed(_) => ("PutImage", region),
            Way::PulledThrough(_) => ("BatchImportUpstreamImage", region),
            Way::Restored => ("UpdateImageStorageClass", region),
            // A copy comes with a push in its source, or with a restore there.
            Way::Replicated(source) => ("PutImage", source),
        };
        let around = at.map_or(String::new(), |at| {
            let quarter = SignedDuration::from_mins(15);
            let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            format!(" --start-time {} --end-time {}", time(at - quarter), time(at + quarter))
        });
        format!(
            "Find out who brings it back: aws cloudtrail lookup-events --region {region} --lookup-attributes \
             AttributeKey=EventName,AttributeValue={call}{around}"
        )
    }

    /// How to get rid of the findings.
    fn fix(&self) -> String {
        let mut updates: Vec<String> = Vec::new();
        for finding in self.findings {
            if let (Some(package), Some(version)) = (&finding.package, &finding.fixed_in) {
                let update = format!("{} {}", text::line(package, 60), text::line(version, 40));
                if !updates.contains(&update) {
                    updates.push(update);
                }
            }
        }
        let more = updates.len().saturating_sub(3);
        updates.truncate(3);
        match (updates.len(), more) {
            (0, _) => "Update the packages and the base image, build, and push under a new tag.".to_owned(),
            (_, 0) => format!(
                "Update to {} or newer, build, and push under a new tag.",
                updates.join(", ")
            ),
            (_, more) => {
                format!(
                    "Update to {} or newer (and {more} more), build, and push under a new tag.",
                    updates.join(", ")
                )
            }
        }
    }
}
