//! From what is known of an image to the answer.

use jiff::Timestamp;

use crate::{
    decide::{Judgement, RELEASED},
    finding::NoScan,
    gate::form::{Asked, Decision, FindingEntry, ImageAnswer},
    ids::{Digest, ImageKey, registry_host},
    image::{Image, ImageStatus},
    ledger::{RecordedFinding, Row},
    policy::{GateAnswer, NoScanAction, Policy, UnguardedAnswer},
    state::State,
    text,
};

/// The facts about an image in a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// Its name is none.
    Malformed,
    /// It is not guarded, for this reason.
    NotGuarded(String),
    /// There is no such image.
    NotFound,
    /// The tag and the digest of the request are of two images: the tag is on this one, or on none.
    Moved(Option<Digest>),
    /// It could not be found out, because of this.
    Unavailable(String),
    /// It is there.
    Image(Box<SeenImage>),
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenImage {
    /// Its key.
    pub key: ImageKey,
    /// As the registry shows it.
    pub image: Image,
    /// The result.
    pub what: What,
}

/// The kinds of results for an image.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// No image, by its manifest.
    NotAnImage,
    /// Somebody else archived it.
    ArchivedByOthers,
    /// An image, with this judgement.
    Image(Box<Judgement>),
}

/// Holds that speak for the image: somebody uses it, or it is no worse than what it replaces.
const DEPLOYABLE_HOLDS: [&str; 4] = ["in-use", "no-worse", "used-by-workload", LAMBDA_MAY_PULL];

/// The cause of a deferred block whose rule does not know that the image is in use, but only that it may be.
const LAMBDA_MAY_PULL: &str = "lambda-may-pull";

/// Whether a hold ([`HoldRule::cause`](crate::decide::HoldRule::cause)) covers an image.
pub fn speaks_for_image(hold: &str) -> bool {
    DEPLOYABLE_HOLDS.contains(&hold)
}

/// How many findings the answer lists.
const MAX_FINDINGS: usize = 10;

/// How soon to ask again, at least and at most, in seconds.
const RETRY: (i64, i64) = (10, 60);

/// The decision before report mode is considered.
struct Draft {
    decision: Decision,
    reason: String,
    warnings: Vec<String>,
    retry: Option<u64>,
}

impl Draft {
    fn new(decision: Decision, reason: impl Into<String>) -> Self {
        Self {
            decision,
            reason: reason.into(),
            warnings: Vec::new(),
            retry: None,
        }
    }

    fn warning(mut self, warning: impl AsRef<str>) -> Self {
        self.warnings.push(text::line(warning.as_ref(), 1000));
        self
    }
}

/// The answer about one image.
pub fn answer(policy: &Policy, now: Timestamp, asked: &Asked, known: &Known) -> ImageAnswer {
    match known {
        Known::Malformed => ImageAnswer::new(
            asked,
            Decision::Deny,
            "Invalid",
            "This is not the name of an image: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG`.".to_owned(),
        ),
        Known::NotGuarded(why) => not_guarded(policy, asked, why),
        Known::NotFound => ImageAnswer::new(
            asked,
            Decision::Deny,
            "NotFound",
            "There is no such image in the registry.".to_owned(),
        ),
        Known::Moved(to) => {
            let to = to.as_ref().map_or("no image".to_owned(), ToString::to_string);
            let reason = format!("The tag and the digest are of two images: the tag is on {to}.");
            ImageAnswer::new(asked, Decision::Deny, "Moved", reason)
        }
        Known::Unavailable(why) => ImageAnswer::unavailable(asked, why),
        Known::Image(seen) => of_image(policy, now, asked, seen),
    }
}

fn not_guarded(policy: &Policy, asked: &Asked, why: &str) -> ImageAnswer {
    let reason = format!("ecr-guard does not guard this image: {why}.");
    match policy.unguarded {
        UnguardedAnswer::Deny => ImageAnswer::new(asked, Decision::Deny, "NotGuarded", reason),
        UnguardedAnswer::Allow => ImageAnswer {
            warnings: vec![reason.clone()],
            ..ImageAnswer::new(asked, Decision::Allow, "NotGuarded", reason)
        },
    }
}

/// The state of an image, its decision, and the row that says why.
fn drafted<'a>(policy: &Policy, now: Timestamp, seen: &'a SeenImage) -> (&'static str, Draft, Option<&'a Row>) {
    let (state, mut draft, row) = match &seen.what {
        What::NotAnImage => (
            State::NotAnImage.as_str(),
            Draft::new(Decision::Allow, "It is no container image, by its manifest.")
                .warning("It is no container image: nothing scans it."),
            None,
        ),
        What::ArchivedByOthers => (
            "Archived",
            Draft::new(
                Decision::Deny,
                "It is in the archive, and cannot be pulled. It was not ecr-guard that archived it.",
            ),
            None,
        ),
        What::Image(judgement) => (
            judgement.row.state.as_str(),
            of_state(policy, now, seen, judgement),
            Some(&judgement.row),
        ),
    };
    // An image that cannot be pulled cannot be deployed, whatever else is known of it.
    if matches!(draft.decision, Decision::Allow) {
        match seen.image.status {
            ImageStatus::Archived => draft = Draft::new(Decision::Deny, "It is in the archive, and cannot be pulled."),
            ImageStatus::Activating => {
                draft = Draft::new(
                    Decision::Wait,
                    "It is on its way back from the archive, which takes up to 20 minutes.",
                );
                draft.retry = Some(RETRY.1.unsigned_abs());
            }
            ImageStatus::Active | ImageStatus::Other(_) => {}
        }
    }
    (state, draft, row)
}

fn of_image(policy: &Policy, now: Timestamp, asked: &Asked, seen: &SeenImage) -> ImageAnswer {
    let SeenImage { key, image, .. } = seen;
    let (state, draft, row) = drafted(policy, now, seen);
    let reports = policy.report_mode(&key.repository).is_some();
    let mut answer = ImageAnswer {
        repository: Some(key.repository.to_string()),
        digest: Some(key.digest.to_string()),
        pinned: Some(format!(
            "{}/{}@{}",
            registry_host(&key.account, &key.region),
            key.repository,
            key.digest
        )),
        mode: Some(if reports { "report" } else { "enforce" }.to_owned()),
        policy: Some(policy.sha256.clone()),
        retry_after_seconds: draft.retry,
        ..ImageAnswer::new(asked, draft.decision, state, text::line(&draft.reason, 1000))
    };
    answer.warnings = draft.warnings;
    if let Some(row) = row {
        answer.scanned_at = row
            .scan
            .as_ref()
            .and_then(|scan| scan.completed_at)
            .map(|at| at.to_string());
        let listed = row.findings.iter().take(MAX_FINDINGS);
        answer.findings = listed.map(FindingEntry::of).collect();
        let rest = row.findings.len().saturating_sub(MAX_FINDINGS) as u64;
        answer.more = rest.saturating_add(row.omitted_findings);
        answer.warnings.extend(exceptions(policy, row));
        if answer.decision == Decision::Deny {
            answer.next = next(row);
        }
    }
    if reports && answer.decision == Decision::Deny && image.status == ImageStatus::Active {
        answer.decision = Decision::Allow;
        answer.would = Some(Decision::Deny);
        answer.warnings.insert(
            0,
            format!(
                "The policy only reports here. Otherwise it would be denied: {}",
                answer.reason
            ),
        );
    }
    answer
}

/// The decision for the state of an image.
fn of_state(policy: &Policy, now: Timestamp, seen: &SeenImage, judgement: &Judgement) -> Draft {
    let row = &judgement.row;
    let rules = policy.gate(&seen.key.repository);
    let by = |answer: GateAnswer| match answer {
        GateAnswer::Warn => Draft::new(Decision::Allow, row.reason.clone()).warning(&row.reason),
        GateAnswer::Deny => Draft::new(Decision::Deny, row.reason.clone()),
    };
    let without_scan = |action: NoScanAction| match action {
        NoScanAction::Block => Draft::new(Decision::Deny, row.reason.clone()),
        NoScanAction::Review => by(rules.review),
        NoScanAction::Monitor => by(GateAnswer::Warn),
    };
    match row.state {
        State::Allowed => Draft::new(Decision::Allow, row.reason.clone()),
        State::NotAnImage => by(GateAnswer::Warn),
        State::Blocked => Draft::new(Decision::Deny, row.reason.clone()),
        State::Review => by(rules.review),
        State::BlockDeferred => match judgement.hold {
            // A person has taken it on, whatever the policy says of images that are not blocked.
            Some(RELEASED) => by(GateAnswer::Warn),
            Some(hold) if speaks_for_image(hold) => {
                let draft = by(rules.deferred);
                if draft.decision == Decision::Allow && (row.uses_unknown || hold == LAMBDA_MAY_PULL) {
                    return draft
                        .warning("It is not known whether it is in use: nothing else keeps it from being blocked.");
                }
                draft
            }
            // A rule that only prevents the block says nothing in favour of the image.
            _ => Draft::new(Decision::Deny, row.reason.clone()),
        },
        State::Pending => pending(policy, now, seen, judgement),
        State::Unscannable | State::Stale => match &row.no_scan {
            Some(why) => without_scan(policy.without_scan(why)),
            None => Draft::new(Decision::Deny, row.reason.clone()),
        },
    }
}

/// Without a result nothing is allowed, unless the policy does no more about that than to monitor.
fn pending(policy: &Policy, now: Timestamp, seen: &SeenImage, judgement: &Judgement) -> Draft {
    let reason = judgement.row.reason.clone();
    let age = now.duration_since(seen.image.available_since().unwrap_or(now));
    if judgement.not_visible || age <= policy.scan.grace {
        let (least, most) = RETRY;
        let seconds = (age.as_secs() / 10).clamp(least, most);
        return Draft {
            retry: Some(seconds.unsigned_abs()),
            ..Draft::new(Decision::Wait, reason)
        };
    }
    match policy.without_scan(&NoScan::Failed) {
        NoScanAction::Monitor => {
            Draft::new(Decision::Allow, reason).warning("It has no scan result: it is unknown, and not clean.")
        }
        NoScanAction::Review | NoScanAction::Block => Draft::new(Decision::Deny, reason),
    }
}

/// The exceptions that it would be denied without, or that were of use otherwise.
fn exceptions(policy: &Policy, row: &Row) -> Vec<String> {
    let listed = row.excepted.iter();
    let omitted = row.omitted_excepted.iter().map(|omitted| &omitted.worst);
    let mut names: Vec<&str> = listed
        .chain(omitted)
        .filter_map(|finding| finding.exception.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    let end = |name: &str| {
        let exception = policy.exceptions.iter().find(|exception| exception.name == name);
        exception.map(|exception| format!(" ends after {}", exception.last_day()))
    };
    let lines = names.into_iter().take(MAX_FINDINGS);
    lines
        .map(|name| {
            format!(
                "Exception {}{}.",
                text::line(name, 100),
                end(name).unwrap_or(" covers findings".to_owned())
            )
        })
        .collect()
}

/// The steps for an image that is denied.
fn next(row: &Row) -> Vec<String> {
    let fix = |finding: &RecordedFinding| {
        let (package, version) = (finding.package.as_deref()?, finding.fixed_in.as_deref()?);
        Some(format!(
            "Update {} to {}, build and push again.",
            text::line(package, 100),
            text::line(version, 60)
        ))
    };
    let mut next: Vec<String> = Vec::new();
    for step in row.findings.iter().take(MAX_FINDINGS).filter_map(fix) {
        if !next.contains(&step) {
            next.push(step);
        }
    }
    if !row.findings.is_empty() {
        next.push(
            "Not exploitable here? Propose an exception in the policy, with owner, reason and last day.".to_owned(),
        );
    }
    if next.is_empty() {
        next.push("Read the reason. The page of the gate says what each state means.".to_owned());
    }
    next
}

impl FindingEntry {
    fn of(finding: &RecordedFinding) -> Self {
        let package = finding.package.as_deref().map(|package| {
            let installed = finding
                .installed
                .as_deref()
                .map(|version| format!(" {}", text::line(version, 60)));
            format!("{}{}", text::line(package, 100), installed.unwrap_or_default())
        });
        Self {
            id: text::line(&finding.id, 100),
            severity: finding.severity,
            package,
            fixed_in: finding.fixed_in.as_deref().map(|version| text::line(version, 60)),
        }
    }
}
