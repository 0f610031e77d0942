//! The sentences that people read: reasons, titles, next steps.

use std::iter;

use crate::{
    evaluate::{Evaluation, Judged, Verdict},
    finding::{NoScan, ScanStart, Severity},
    ids::Tag,
    image::{Arrival, Content, Way},
    ledger::{Block, Row},
    notice::AlertKind,
    policy::{Action, BlockMethod},
    release::{TimedRelease, moment},
    repository::tag_checks::TagViolation,
    state::State,
    text,
};

/// Why a copy is blocked that would not be by what is known here.
pub(super) fn source_blocked(source: &Row) -> String {
    format!(
        "Its source in {} is blocked, and so is every copy of it. {}",
        source.image.region,
        text::line(&source.reason, 500)
    )
}

/// Why a tag keeps an image from being deployed.
pub(super) fn tag(tag: &Tag, violation: &TagViolation) -> String {
    let TagViolation { setting, why, .. } = violation;
    format!("Its tag `{tag}` must not be used: {why} (policy: {setting}).")
}

/// A reason, with the images of an index that it is about.
pub(super) fn on(of: &[String], reason: String) -> String {
    if of.is_empty() {
        return reason;
    }
    let mut names: Vec<String> = of.iter().take(4).map(|name| text::line(name, 60)).collect();
    if of.len() > names.len() {
        names.push(format!("{} more", of.len() - names.len()));
    }
    format!("On {}: {reason}", names.join(", "))
}

pub(super) fn allowed(evaluation: &Evaluation) -> String {
    let mut counts = Vec::new();
    for severity in Severity::ALL {
        if let Some(count) = evaluation.counts.get(&severity).filter(|count| **count > 0) {
            counts.push(format!("{count} {severity}"));
        }
    }
    let found = if counts.is_empty() {
        "No findings".to_owned()
    } else {
        format!("Findings: {}", counts.join(", "))
    };
    let by = exceptions(evaluation);
    match evaluation.excepted.len() {
        0 => format!("{found}. None needs review."),
        1 => format!("{found}. None needs review, 1 is excepted by the policy{by}."),
        n => format!("{found}. None needs review, {n} are excepted by the policy{by}."),
    }
}

/// The most exceptions that a sentence names.
const NAMED_EXCEPTIONS: usize = 3;

/// Which exceptions took findings out, those of the worst first: ` (exceptions[3] SEC-12, until 2026-12-31)`.
fn exceptions(evaluation: &Evaluation) -> String {
    let mut names: Vec<String> = Vec::new();
    for exception in evaluation
        .excepted
        .iter()
        .filter_map(|judged| judged.exception.as_ref())
    {
        let owner = text::line(&exception.owner, 60);
        let name = format!("{} of {owner}, until {}", exception.name, exception.until);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMED_EXCEPTIONS);
    names.truncate(NAMED_EXCEPTIONS);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    if names.is_empty() {
        return String::new();
    }
    format!(" ({})", names.join("; "))
}

pub(super) fn block(evaluation: &Evaluation) -> String {
    decided(evaluation, Action::Block, "blocks deployment", "block deployment")
}

pub(super) fn review(evaluation: &Evaluation) -> String {
    debug_assert!(evaluation.verdict >= Verdict::Review);
    decided(
        evaluation,
        Action::Review,
        "needs review before deployment",
        "need review before deployment",
    )
}

fn decided(evaluation: &Evaluation, action: Action, one: &str, many: &str) -> String {
    let deciding: Vec<&Judged> = evaluation
        .findings
        .iter()
        .filter(|judged| judged.consequence.action == action)
        .collect();
    let Some(worst) = deciding.first() else {
        return format!("More findings than are remembered {many}.");
    };
    let name = describe(worst);
    let rule = worst.consequence.rule;
    match deciding.len() {
        1 => format!("1 finding {one}: {name} (policy: {rule})."),
        n => format!("{n} findings {many}, the worst is {name} (policy: {rule})."),
    }
}

fn describe(judged: &Judged) -> String {
    let finding = &judged.finding;
    let id = text::line(&finding.id, 60);
    match &finding.package {
        Some(package) => format!("{id} {} in {}", finding.severity, text::line(package, 60)),
        None => format!("{id} {}", finding.severity),
    }
}

/// The most that is quoted of the scanner.
const MAX_QUOTED: usize = 200;

/// The most children of an index that are quoted.
const MAX_CHILDREN_QUOTED: usize = 3;

/// Words of the scanner, and of which child of an index it says them; `None`: of the image, or of all children that it says anything of.
#[derive(Debug)]
pub(super) struct Said {
    child: Option<String>,
    words: String,
}

impl Said {
    pub(super) fn of_itself(words: &str) -> Self {
        Self {
            child: None,
            words: text::line(&words.replace('"', "'"), MAX_QUOTED),
        }
    }

    pub(super) fn of_child(child: &str, words: &str) -> Self {
        Self {
            child: Some(text::line(child, 60)),
            ..Self::of_itself(words)
        }
    }

    /// One quotation where the scanner says the same of all children.
    pub(super) fn merge(mut said: Vec<Self>) -> Vec<Self> {
        said.retain(|said| !said.words.is_empty());
        if let Some((first, others)) = said.split_first_mut()
            && others.iter().all(|other| other.words == first.words)
        {
            first.child = None;
            said.truncate(1);
        }
        said.truncate(MAX_CHILDREN_QUOTED);
        said
    }

    fn quoted(&self) -> String {
        match &self.child {
            Some(child) => format!("The scanner says of {child}: \"{}\"", self.words),
            None => format!("The scanner says: \"{}\"", self.words),
        }
    }
}

/// Why nothing is known of an image, with the words of the scanner if it has any.
pub(super) fn no_scan(why: &NoScan, said: &[Said]) -> String {
    let reason = match why {
        NoScan::Failed => "The scan failed, so nothing is known about this image.".to_owned(),
        NoScan::Unsupported => {
            "The scanner does not support this kind of image, so nothing is known about it.".to_owned()
        }
        NoScan::TooLarge => "The image is larger than the scanner takes, so nothing is known about it.".to_owned(),
        NoScan::LimitExceeded => "The scan quota is used up, so nothing is known about this image.".to_owned(),
        NoScan::EligibilityExpired => {
            "The scanner no longer scans this image: its last findings say nothing about today.".to_owned()
        }
        NoScan::FindingsUnavailable => "The findings of this image are gone, so nothing is known about it.".to_owned(),
        NoScan::NotCovered => "Nothing scans this repository, so nothing is known about this image.".to_owned(),
        NoScan::UnknownStatus(status) => {
            format!(
                "The scanner gave the status `{}`, which is not known here.",
                text::line(status, 40)
            )
        }
    };
    let quoted = said.iter().filter(|said| !said.words.is_empty()).map(Said::quoted);
    iter::once(reason).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// The scan has ended, and its result does not show yet.
pub(super) const NOT_VISIBLE: &str = "A scan has ended; its result is not visible yet.";

const REFUSED: &str = "Its findings may not be read";

/// Why nothing is known of an image.
pub(super) fn refused(why: &str) -> String {
    format!("{REFUSED}: {}.", text::line(why, 200))
}

/// Whether a reason is that a scan is waited for, and not that its result does not show or may not be read.
pub(super) fn is_of_waiting(reason: &str) -> bool {
    reason != NOT_VISIBLE && !reason.starts_with(REFUSED)
}

/// Added to the reason of an image that is clean as far as anybody knows.
pub(super) const NOT_CONFIRMED: &str =
    "The scanner lists none, and does not say when it was done; in a day it is asked again.";

pub(super) fn pending(start: Option<&ScanStart>, prior: Option<&Row>, overdue: bool) -> String {
    if overdue {
        return "No scan result came within the time that the policy grants.".to_owned();
    }
    match (start, prior) {
        (Some(ScanStart::Started), _) => "A scan was started; its result is awaited.".to_owned(),
        (Some(ScanStart::LimitExceeded), _) => "No scan result yet, and no more scans are possible today.".to_owned(),
        (_, Some(row)) if row.state == State::Pending => row.reason.clone(),
        _ => "No scan result yet.".to_owned(),
    }
}

/// A reason, of what is blocked and was to be blocked by more than that.
pub(super) fn not_more_yet(reason: &str, method: BlockMethod, why: &str) -> String {
    let more = match method {
        BlockMethod::Archive => "archived",
        BlockMethod::QuarantineTag => "quarantined",
        BlockMethod::Flag => "flagged",
    };
    format!("{reason} It is not {more} yet: {why}")
}

/// A reason, of what should be released and is not.
pub(super) fn not_released(reason: &str, failure: &str) -> String {
    format!(
        "It should be released, and is not: the registry refused ({}). {reason}",
        text::line(failure, 200)
    )
}

/// A reason, of what was released and still has our tag.
pub(super) fn mark_stays(reason: &str, failure: &str) -> String {
    format!(
        "{reason} It has its tags again, and the tag that the quarantine gave it stays: {}.",
        text::line(failure, 200)
    )
}

/// A reason, of what is not blocked and has no tag but that of a quarantine.
pub(super) fn keeps_mark(reason: &str, mark: &Tag) -> String {
    format!("{reason} It keeps the tag `{mark}`: ECR deletes an image with its last tag.")
}

/// Added to a reason as long as an image is on its way back from the archive.
/// A quarantine ended, and somebody has archived the image.
pub(super) fn archived_by_others(reason: &str) -> String {
    format!("{reason} Somebody has archived it; it gets its tags back when it is restored.")
}

pub(super) fn being_restored(reason: &str) -> String {
    format!("{reason} It is being restored, which takes up to about 20 minutes; until then it cannot be pulled.")
}

/// The title of an alert.
pub(super) fn title(kind: AlertKind, row: &Row, release: Option<&TimedRelease>) -> String {
    let image = match row.tags.first() {
        Some(tag) => format!("{}:{tag}", row.image.repository),
        None => format!("{}@{}", row.image.repository, row.image.digest.short()),
    };
    let flagged = row
        .block
        .as_ref()
        .is_some_and(|block| block.method == BlockMethod::Flag);
    match kind {
        AlertKind::ImageBlocked if flagged => format!("{image} must not be deployed"),
        AlertKind::ImageBlocked => format!("{image} is blocked"),
        AlertKind::BlockDeferred => {
            format!("{image} should be blocked, but the block is deferred: it can still be deployed")
        }
        AlertKind::ImageReview => format!("{image} needs review before deployment"),
        AlertKind::ImageReleased => match release {
            Some(release) => format!("{image} is released until {} by {}", moment(release.until), release.by),
            None => format!("{image} is released"),
        },
        AlertKind::ImageBypass if row.state == State::BlockDeferred => {
            format!("{image} keeps coming back, and is not blocked now")
        }
        AlertKind::ImageBypass if flagged => format!("{image} was blocked, came back, and is only flagged now"),
        AlertKind::ImageBypass => format!("{image} was blocked, came back, and is blocked again"),
        AlertKind::BlockLimit => format!("{image} is not blocked: the hourly limit of blocks is reached"),
        AlertKind::ScanFailed => format!("{image} {}", not_scanned(row.no_scan.as_ref())),
        AlertKind::ScanOverdue => format!("{image} has waited too long for its scan"),
        AlertKind::PullRefused => format!("{image} could not be pulled: it is blocked"),
    }
}

/// The part of an alert's title about an image without a usable scan.
fn not_scanned(why: Option<&NoScan>) -> &'static str {
    match why {
        Some(NoScan::EligibilityExpired) => "is in use, and is no longer scanned",
        Some(NoScan::Unsupported) => "cannot be scanned: it is not supported",
        Some(NoScan::TooLarge) => "cannot be scanned: it is too large",
        Some(NoScan::LimitExceeded) => "was not scanned: the scan quota is used up",
        Some(NoScan::NotCovered) => "is not scanned: nothing scans its repository",
        Some(NoScan::FindingsUnavailable) => "has no scan result any more",
        Some(NoScan::UnknownStatus(_)) => "has a scan status that ecr-guard does not know",
        Some(NoScan::Failed) | None => "could not be scanned",
    }
}

/// By which exceptions an image is released that must still be reviewed: ` by exceptions[3] SEC-12`.
fn by_exceptions(row: &Row) -> String {
    let names = row.excepted.iter().filter_map(|finding| finding.exception.as_deref());
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMED_EXCEPTIONS);
    if names.is_empty() {
        return String::new();
    }
    format!(" by {}", names.join(", "))
}

/// The reason, as an alert of this kind words it. `before`: how the image was blocked before.
pub(super) fn told_reason(kind: AlertKind, row: &Row, before: Option<&Block>, arrival: Option<&Arrival>) -> String {
    match kind {
        AlertKind::ImageReleased => match row.state {
            State::Review => format!(
                "It is released{}, but must be reviewed. {}",
                by_exceptions(row),
                row.reason
            ),
            State::BlockDeferred => format!("It is no longer blocked. {}", row.reason),
            _ => format!("The reason for the block has ended. {}", row.reason),
        },
        AlertKind::ImageBypass => {
            let how = match (before.map(|block| block.method), arrival) {
                (_, Some(arrival)) => arrived(arrival),
                (Some(BlockMethod::QuarantineTag), None) => "It got new tags".to_owned(),
                (_, None) => {
                    "It became pullable again, by a push of the same image, a restore or a replication".to_owned()
                }
            };
            format!("{how}. {}", row.reason)
        }
        AlertKind::ImageBlocked
        | AlertKind::BlockDeferred
        | AlertKind::ImageReview
        | AlertKind::BlockLimit
        | AlertKind::ScanFailed
        | AlertKind::ScanOverdue
        | AlertKind::PullRefused => row.reason.clone(),
    }
}

fn arrived(arrival: &Arrival) -> String {
    let when = arrival
        .at
        .map_or(String::new(), |at| format!(" at {}", at.strftime("%Y-%m-%d %H:%M UTC")));
    match &arrival.way {
        Way::Pushed(Some(tag)) => format!("It was pushed again as `{tag}`{when}"),
        Way::Pushed(None) => format!("It was pushed again without a tag{when}"),
        Way::PulledThrough(Some(tag)) => format!("It was fetched again from the upstream registry as `{tag}`{when}"),
        Way::PulledThrough(None) => format!("It was fetched again from the upstream registry{when}"),
        Way::Restored => format!("It was restored from the archive{when}"),
        Way::Replicated(region) => format!("It was replicated again from {region}{when}"),
    }
}

/// Why something is no image.
pub(super) fn not_an_image(content: Option<&Content>) -> String {
    match content {
        Some(Content::Artifact(media_type)) => {
            let media_type = text::line(media_type, 100);
            format!(
                "It is no container image: its manifest says `{media_type}`. Nobody runs it, and it is not evaluated."
            )
        }
        Some(Content::Image | Content::Unknown) | None => {
            "It references no container image. Nobody runs it, and it is not evaluated.".to_owned()
        }
    }
}

/// The name of the entries of an index that are not known.
pub(super) fn more_children(number: u64) -> String {
    match number {
        1 => "1 entry that cannot be checked".to_owned(),
        number => format!("{number} entries that cannot be checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lack_of_a_scan_has_a_title_and_a_reason() {
        let all = [
            NoScan::Failed,
            NoScan::Unsupported,
            NoScan::TooLarge,
            NoScan::LimitExceeded,
            NoScan::EligibilityExpired,
            NoScan::FindingsUnavailable,
            NoScan::NotCovered,
            NoScan::UnknownStatus("ODD".to_owned()),
        ];
        let texts = all.map(|why| format!("team/api:v1 {}\n  {}", not_scanned(Some(&why)), no_scan(&why, &[])));
        insta::assert_snapshot!(texts.join("\n"));
    }
}
