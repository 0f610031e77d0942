//! The steps for the reader of an alert, in order.

use std::iter;

use jiff::{SignedDuration, Timestamp};

use crate::{
    alert::NextStep,
    decide::hold::Hold,
    finding::{Fix, NoScan},
    ids::{Digest, RepositoryName, registry_host},
    image::{Arrival, Way},
    ledger::{Cause, RecordedFinding, Row, fixes},
    notice::AlertKind,
    policy::{BlockMethod, Policy},
    state::State,
    text,
};

/// The subject of an alert.
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
    /// The policy; `None`: it is not known here.
    pub(super) policy: Option<&'a Policy>,
}

const NOT_AGAIN: &str = "Do not push the same image again: it would only be blocked again.";
const ACCEPTABLE: &str = "It is acceptable as it is? Deploy it. To hear no more of its findings, propose an exception.";
const NEW_BUILD: &str = "Build it again and push it under a new tag: a new image is scanned.";
const PROVED: &str = "Who was it? AWS proves the account and the role. The caller may have chosen the name of the session: CloudTrail has the call.";
const GO_BACK: &str = "Deploy an image that is not blocked, or go back to one: until then no new task starts.";
const MANY_BLOCKS: &str = "The blocks of this image and of all further ones of this hour are deferred, and only this one is alerted. Check whether something else \
                           is wrong: a change of the policy, or of the scanner's data.";

/// The steps for an alert.
pub(super) fn next_steps(of: &Situation<'_>) -> Vec<NextStep> {
    let is_release = of.hold.is_some_and(|hold| hold.tells_release);
    if of.row.cause == Some(Cause::Tag) && !is_release {
        return of.for_a_tag();
    }
    match of.kind {
        AlertKind::PullRefused => iter::once(NextStep::new(GO_BACK)).chain(of.blocked()).collect(),
        AlertKind::ImageBlocked => of.blocked(),
        AlertKind::ImageBypass => iter::once(of.who()).chain(of.blocked()).collect(),
        AlertKind::BlockDeferred => {
            let by_rule = of.hold.and_then(|hold| hold.next_step).map(NextStep::new);
            let steps = of.fix_or_scan().into_iter().chain(by_rule);
            steps.chain([of.exception()]).chain(of.look_at_findings()).collect()
        }
        AlertKind::BlockLimit => vec![
            NextStep::new(MANY_BLOCKS),
            NextStep::new("If all these blocks are right, raise block.max_blocks_per_hour in the policy."),
            of.fix(),
        ],
        AlertKind::ImageReview => vec![of.fix(), NextStep::new(ACCEPTABLE), of.look()],
        AlertKind::ImageReleased => match of.hold.filter(|hold| hold.tells_release) {
            Some(hold) => vec![
                of.fix(),
                NextStep::new(hold.next_step.unwrap_or_default()),
                of.end_release(),
                NextStep::new(PROVED),
            ],
            None => vec![of.deploy()],
        },
        AlertKind::ScanFailed => {
            let mut steps = of.without_scan();
            steps.push(of.exception());
            steps
        }
        AlertKind::ScanOverdue => vec![of.check_coverage(), of.status()],
    }
}

/// The steps for an image, by its row: those of its alert.
pub fn steps_for(row: &Row) -> Vec<NextStep> {
    let kind = match row.state {
        State::Blocked => AlertKind::ImageBlocked,
        State::BlockDeferred => AlertKind::BlockDeferred,
        State::Review => AlertKind::ImageReview,
        State::Unscannable | State::Stale => AlertKind::ScanFailed,
        State::Pending => AlertKind::ScanOverdue,
        State::Allowed | State::NotAnImage => return Vec::new(),
    };
    next_steps(&Situation {
        kind,
        row,
        findings: &row.findings,
        hold: None,
        arrival: None,
        scanned: &row.image.digest,
        policy: None,
    })
}

/// The step for a blocked image that must run before it is fixed; `None`: the policy lets nobody release it.
pub fn release_step(policy: &Policy, repository: &RepositoryName) -> Option<NextStep> {
    let rules = policy.release().filter(|rules| rules.covers(repository))?;
    let hours = match rules.max_hours() {
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    };
    Some(NextStep::new(format!(
        "Must it run before it is fixed? On-call can release this image for up to {hours}, with the command ecr-guard release."
    )))
}

impl Situation<'_> {
    fn look(&self) -> NextStep {
        let image = &self.row.image;
        let command = format!(
            "aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id imageDigest={}",
            image.region, image.repository, self.scanned
        );
        NextStep::run("See all findings:", command)
    }

    fn exception(&self) -> NextStep {
        let repository = &self.row.image.repository;
        NextStep::new(match self.findings.first() {
            Some(finding) => format!(
                "Not exploitable here? Propose an exception for {} in {repository}, with owner, reason and last day.",
                text::line(&finding.id, 60)
            ),
            None => format!("Must this image run all the same? Ask the owners of the policy about {repository}."),
        })
    }

    /// For an image that is blocked.
    fn blocked(&self) -> Vec<NextStep> {
        let last = if self.is_archived() {
            Some(NextStep::new(NOT_AGAIN))
        } else {
            self.look_at_findings()
        };
        let steps = self.fix_or_scan().into_iter();
        let release = self.policy.filter(|_| self.row.state == State::Blocked);
        let release = release.and_then(|policy| release_step(policy, &self.row.image.repository));
        steps.chain([self.exception()]).chain(release).chain(last).collect()
    }

    /// The scanner gives no answer about an archived image.
    fn is_archived(&self) -> bool {
        let block = self.row.block.as_ref();
        block.is_some_and(|block| block.method == BlockMethod::Archive)
    }

    /// The fix of the findings; without a scan, the steps to get one.
    fn fix_or_scan(&self) -> Vec<NextStep> {
        match self.row.no_scan {
            Some(_) => self.without_scan(),
            None => vec![self.fix()],
        }
    }

    /// All findings; without a scan there are none to see.
    fn look_at_findings(&self) -> Option<NextStep> {
        self.row.no_scan.is_none().then(|| self.look())
    }

    /// How the release that a person gave is ended before its time.
    fn end_release(&self) -> NextStep {
        let key = &self.row.image;
        let host = registry_host(&key.account, &key.region);
        NextStep::run(
            "Not right? End the release, which blocks the image again:",
            format!("ecr-guard release --end {host}/{key}"),
        )
    }

    /// For an image that was released: it may still need a review.
    fn deploy(&self) -> NextStep {
        NextStep::new(if self.row.state == State::Review {
            "Review the findings of this alert, then deploy it again where it was missing."
        } else {
            "Deploy it again where it was missing."
        })
    }

    fn check_coverage(&self) -> NextStep {
        let image = &self.row.image;
        let command = format!(
            "aws ecr batch-get-repository-scanning-configuration --region {} --repository-names {}",
            image.region, image.repository
        );
        NextStep::run("Check that the repository is scanned:", command)
    }

    /// For an image that is blocked for a tag of its own.
    fn for_a_tag(&self) -> Vec<NextStep> {
        let came_back = self.kind == AlertKind::ImageBypass;
        came_back
            .then(|| self.who())
            .into_iter()
            .chain([
                NextStep::new("Push it under a tag that the policy allows, and deploy it by that."),
                NextStep::new("Is the tag right? Ask the owners of the policy to allow it."),
            ])
            .collect()
    }

    /// How to read the scanner's answer about an image that has no usable scan.
    fn status(&self) -> NextStep {
        let image = &self.row.image;
        let command = format!(
            "aws ecr describe-image-scan-findings --region {} --repository-name {} --image-id imageDigest={} --max-items 1",
            image.region, image.repository, image.digest
        );
        NextStep::run("See what the scanner says:", command)
    }

    /// For an image that has no usable scan.
    fn without_scan(&self) -> Vec<NextStep> {
        let image = &self.row.image;
        let of_image = format!(
            "--region {} --repository-name {} --image-id imageDigest={}",
            image.region, image.repository, image.digest
        );
        let status = self.status();
        let mut steps = match &self.row.no_scan {
            Some(NoScan::EligibilityExpired) => vec![
                NextStep::new(format!("{NEW_BUILD} Pushing the same image again does not help.")),
                NextStep::new(
                    "Are images in use for longer? Raise the re-scan duration of Amazon Inspector for ECR images.",
                ),
            ],
            Some(NoScan::Unsupported) => vec![
                NextStep::new("Rebuild it on a base image that the scanner supports."),
                NextStep::new("Are images of this kind right here? Set scan.on_unsupported to monitor in the policy."),
                status,
            ],
            Some(NoScan::TooLarge) => vec![
                NextStep::new("Make the image smaller: build in stages, and leave out what only the build needs."),
                status,
            ],
            Some(NoScan::LimitExceeded) => vec![
                NextStep::new("Wait for a day: then it is scanned again. ECR scans an image once in 24 hours."),
                status,
            ],
            Some(NoScan::NotCovered) => vec![self.check_coverage()],
            Some(NoScan::Failed) | None if self.is_archived() => vec![NextStep::new(
                "Build on a base image that the scanner supports, and push under a new tag.",
            )],
            Some(NoScan::Failed) | None => vec![
                NextStep::run(
                    "Try once more (basic scanning only, once a day for an image; Amazon Inspector refuses it):",
                    format!("aws ecr start-image-scan {of_image}"),
                ),
                NextStep::new(
                    "Does it fail again? Build on a base image that the scanner supports, and push under a new tag.",
                ),
                status,
            ],
            Some(NoScan::FindingsUnavailable | NoScan::UnknownStatus(_)) => vec![status, NextStep::new(NEW_BUILD)],
        };
        if self.is_archived() {
            steps.retain(|step| {
                step.command
                    .as_ref()
                    .is_none_or(|command| !command.ends_with("--max-items 1"))
            });
        }
        steps
    }

    /// How to find out who brought an image back. ECR's events do not say; `CloudTrail` does, some minutes later.
    fn who(&self) -> NextStep {
        let region = &self.row.image.region;
        let Some(Arrival { way, at }) = self.arrival else {
            return NextStep::new(
                "Find out who brings it back: CloudTrail names the caller of PutImage or UpdateImageStorageClass.",
            );
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
        let command = format!(
            "aws cloudtrail lookup-events --region {region} --lookup-attributes \
             AttributeKey=EventName,AttributeValue={call}{around}"
        );
        NextStep::run("Find out who brings it back:", command)
    }

    /// How to get rid of the findings.
    fn fix(&self) -> NextStep {
        let mut updates = fixes(self.findings);
        let more = updates.len().saturating_sub(3);
        updates.truncate(3);
        let all = updates.join(", ");
        NextStep::new(match (updates.len(), more) {
            (0, _) => self.no_version().to_owned(),
            (_, 0) => format!("Update to {all} or newer, build, and push under a new tag."),
            (_, more) => format!("Update to {all} or newer (and {more} more), build, and push under a new tag."),
        })
    }

    /// The step where the scanner names no version that fixes the finding.
    fn no_version(&self) -> &'static str {
        match self.findings.first().map(|finding| finding.fix) {
            Some(Fix::Unavailable) => {
                "No fix exists yet. Remove the package, or propose an exception until there is a fix."
            }
            Some(Fix::Unknown) => {
                "The scanner does not say which version fixes it: see the advisory. Often a newer base image does. Build, and push \
                 under a new tag."
            }
            Some(Fix::Available) | None => "Update the packages and the base image, build, and push under a new tag.",
        }
    }
}
