//! Words for numbers and facts of an image, as the page has them.

use jiff::Timestamp;

use super::model::{Finding, Image};
use crate::table::moment;

/// The severities, by the number by which they sort.
pub(super) const SEVERITIES: [&str; 7] = ["", "INFORMATIONAL", "LOW", "MEDIUM", "UNDEFINED", "HIGH", "CRITICAL"];

/// The number by which a severity sorts.
pub(super) fn severity_order(severity: Option<&str>) -> usize {
    let place = SEVERITIES.iter().position(|one| Some(*one) == severity);
    place.unwrap_or_default()
}

pub(super) fn fix(image: &Image) -> String {
    match (image.fixes.as_slice(), image.findings.first()) {
        ([], None) => String::new(),
        ([], Some(finding)) if finding.fix == "unavailable" => "there is none".to_owned(),
        ([], Some(_)) => "unknown".to_owned(),
        (fixes, _) => fixes.join(", "),
    }
}

/// The facts about an image but for its findings: a label, and one line or several.
pub(super) fn details(image: &Image) -> Vec<(&'static str, Vec<String>)> {
    let used = match &image.used_by {
        None => vec![unknown()],
        Some(used) if used.is_empty() => vec!["nobody, as far as the index of workloads knows".to_owned()],
        Some(used) => used.clone(),
    };
    let tags = match image.more_tags {
        0 => image.tags.join(", "),
        more => format!("{} and {more} more", image.tags.join(", ")),
    };
    let mut lines = vec![("All findings", vec![counts(image)])];
    let mut line = |label, text: String| lines.push((label, vec![text]));
    if image.tags.len() > 1 || image.more_tags > 0 {
        line("Tags", tags);
    }
    if let Some(rule) = &image.rule {
        line("Policy", rule.clone());
    }
    if !image.exceptions.is_empty() {
        line("Exceptions", image.exceptions.join(", "));
    }
    if let Some(blocked) = &image.blocked {
        let confirmed = if blocked.confirmed { "" } else { ", not confirmed yet" };
        line(
            "Block",
            format!("{}, {}{confirmed}", blocked.method, moment(blocked.at)),
        );
    }
    if let Some(release) = &image.release {
        let ticket = release
            .ticket
            .as_ref()
            .map(|ticket| format!(" ({ticket})"))
            .unwrap_or_default();
        line(
            "Released",
            format!(
                "until {} by {}: {}{ticket}",
                moment(release.until),
                release.by,
                release.reason
            ),
        );
    }
    if let Some(alert) = &image.alert {
        line("Alert", format!("{}, {}", alert.kind, time(alert.sent_at, "not sent")));
    }
    let never = if image.bytes.is_some() { "never" } else { "unknown" };
    line("Last pulled", time(image.pulled_at, never));
    line("Size", image.bytes.map_or_else(unknown, size));
    lines.push(("Used by", used));
    lines
}

/// The text behind the id of a finding.
pub(super) fn behind_finding(finding: &Finding) -> String {
    let number = |name: &str, value: Option<f64>| value.map(|value| format!(", {name} {value}")).unwrap_or_default();
    let mut text = format!(
        " {}{}{}",
        finding.severity,
        number("score", finding.score),
        number("EPSS", finding.epss)
    );
    if finding.exploit == Some(true) {
        text.push_str(", exploit known");
    }
    if let Some(package) = &finding.package {
        text.push_str(&format!(", {package}"));
        if let Some(installed) = &finding.installed {
            text.push_str(&format!(" {installed}"));
        }
    }
    match (&finding.fixed_in, finding.fix) {
        (Some(version), _) => text.push_str(&format!(" → {version}")),
        (None, "unavailable") => text.push_str(", no fix"),
        (None, _) => text.push_str(", fix unknown"),
    }
    text.push_str(&format!(", {}", finding.rule));
    text
}

fn counts(image: &Image) -> String {
    let Some(counts) = &image.counts else {
        return "unknown: there is no result of a scan".to_owned();
    };
    let mut counts: Vec<_> = counts.iter().filter(|(_, number)| **number > 0).collect();
    counts.sort_by_key(|(severity, _)| std::cmp::Reverse(severity_order(Some(severity))));
    let words: Vec<String> = counts
        .iter()
        .map(|(severity, number)| format!("{number} {severity}"))
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// The word for what is not known.
pub(super) fn unknown() -> String {
    "unknown".to_owned()
}

/// `1,204`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && digits.len().saturating_sub(place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Decimal units, as AWS bills in them and ECR shows them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "KB"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        Some((unit, name)) => {
            let tenths = bytes.saturating_mul(10).checked_div(*unit).unwrap_or_default();
            format!("{}.{} {name}", tenths.checked_div(10).unwrap_or_default(), tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// A time, as a line of the details has it.
fn time(at: Option<Timestamp>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), moment)
}
