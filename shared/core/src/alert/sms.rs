//! The form for telephones.

use crate::{alert::model::Alert, notice::AlertKind, policy::BlockMethod, text};

/// The longest text that goes out as one message, in ASCII: 140 bytes. SNS makes several of a longer one.
///
/// Source: SNS, "Mobile text messaging (SMS)", character quotas.
pub(super) const MAX_SMS: usize = 140;

/// The parts are cut so that the last one, what was done, always fits.
const MAX_REPOSITORY: usize = 48;
const MAX_TAG: usize = 24;
const MAX_FINDING: usize = 20;

pub(super) fn render(alert: &Alert) -> String {
    let repository = text::ascii(alert.image.repository.as_str(), MAX_REPOSITORY);
    // A tag that was cut would be another tag.
    let image = match alert.tags.first().filter(|tag| tag.as_str().len() <= MAX_TAG) {
        Some(tag) => format!("{repository}:{tag}"),
        None => format!("{repository}@{}", alert.image.digest.short()),
    };
    let finding = alert
        .findings
        .first()
        .map(|finding| format!(", {}", text::ascii(&finding.id, MAX_FINDING)));
    let message = format!(
        "ecr-guard {}: {image}{}, {}",
        alert.word(),
        finding.unwrap_or_default(),
        done(alert)
    );
    text::ascii(&message, MAX_SMS)
}

fn done(alert: &Alert) -> &'static str {
    let Some(action) = &alert.action else {
        return "nothing changed";
    };
    match (alert.kind, action.method, action.done) {
        (AlertKind::ImageReleased, BlockMethod::Archive, _) => "restored",
        (AlertKind::ImageReleased, BlockMethod::QuarantineTag, _) => "tags restored",
        (AlertKind::ImageReleased, BlockMethod::Flag, _) => "no longer flagged",
        (_, BlockMethod::Archive, true) => "archived",
        (_, BlockMethod::Archive, false) => "NOT archived",
        (_, BlockMethod::QuarantineTag, true) => "quarantined",
        (_, BlockMethod::QuarantineTag, false) => "NOT quarantined",
        (_, BlockMethod::Flag, true) => "flagged only",
        (_, BlockMethod::Flag, false) => "NOT flagged",
    }
}
