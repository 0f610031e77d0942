//! The form for people with a mailbox: plain text to act on at once.
//!
//! Everything but the headline and our own headings is indented, so that no text from outside can pass for one of them.

use crate::{
    alert::model::{
        Alert, MAX_EXCEPTIONS, MAX_ID, MAX_NAME, MAX_REASON, MAX_STEP, MAX_STEPS, MAX_TITLE, MAX_VERSION, date, time,
        to_json,
    },
    ledger::RecordedFinding,
    text,
};

/// Columns that a mail program shows without breaking lines. Commands and digests are longer, and are not broken.
const COLUMNS: usize = 76;

/// What a command in a step begins with.
const COMMAND: &str = ": aws ";

/// How many findings are listed; the JSON form has more.
const LISTED_FINDINGS: usize = 10;

/// How many tags are listed.
const LISTED_TAGS: usize = 10;

pub(super) fn render(alert: &Alert) -> String {
    let mut lines = vec![text::plain(&alert.title, MAX_TITLE)];

    heading(&mut lines, "IMAGE");
    let image = &alert.image;
    for (name, value) in [
        ("Repository", image.repository.to_string()),
        ("Tags", tags(alert)),
        ("Digest", image.digest.short().to_owned()),
        ("", image.digest.to_string()),
        ("Account", image.account.to_string()),
        ("Region", image.region.to_string()),
        ("Decided", time(alert.time).replace('T', " ").replace('Z', " UTC")),
    ] {
        lines.push(format!("  {name:<11} {value}"));
    }

    heading(&mut lines, "WHY");
    wrap(&mut lines, "  ", &text::plain(&alert.reason, MAX_REASON));

    heading(&mut lines, "WHAT WAS DONE");
    wrap(&mut lines, "  ", alert.effect());

    if !alert.findings.is_empty() {
        heading(&mut lines, "FINDINGS THAT DECIDED, WORST FIRST");
        for finding in alert.findings.iter().take(LISTED_FINDINGS) {
            list(&mut lines, finding);
        }
        match alert.beyond(LISTED_FINDINGS) {
            0 => {}
            more => lines.push(format!("  and {more} more")),
        }
    }

    steps(&mut lines, &alert.next_steps);

    if !alert.exceptions.is_empty() {
        heading(&mut lines, "TO PROPOSE AN EXCEPTION");
        let how = "Add to \"exceptions\" in the policy, complete owner and reason (they are refused empty), and send a pull request:";
        wrap(&mut lines, "  ", how);
        for entry in alert.exceptions.iter().take(MAX_EXCEPTIONS) {
            // In one piece, so that it can be copied.
            lines.push(format!("  {}", to_json(entry)));
        }
    }

    end(&mut lines, &alert.id);
    lines.join("\n")
}

pub(super) fn steps(lines: &mut Vec<String>, steps: &[String]) {
    if steps.is_empty() {
        return;
    }
    heading(lines, "NEXT STEPS");
    for (step, number) in steps.iter().take(MAX_STEPS).zip(1..) {
        let step = text::plain(step, MAX_STEP);
        let first = format!("  {number}. ");
        match step.split_once(COMMAND) {
            // In one piece, so that it can be copied into a shell.
            Some((what, command)) => {
                wrap(lines, &first, &format!("{what}:"));
                lines.push(format!("     aws {command}"));
            }
            None => wrap(lines, &first, &step),
        }
    }
}

pub(super) fn end(lines: &mut Vec<String>, id: &str) {
    lines.push(String::new());
    lines.push(format!("Alert {}", text::plain(id, MAX_ID)));
    lines.push("If this arrives again with the same id, it is the same alert.".to_owned());
    lines.push(String::new());
}

pub(super) fn heading(lines: &mut Vec<String>, heading: &str) {
    lines.push(String::new());
    lines.push(heading.to_owned());
}

fn tags(alert: &Alert) -> String {
    if alert.tags.is_empty() {
        return "none".to_owned();
    }
    let mut tags = alert
        .tags
        .iter()
        .take(LISTED_TAGS)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let more = alert.tags.len().saturating_sub(LISTED_TAGS);
    if more > 0 {
        tags.push_str(&format!(" and {more} more"));
    }
    tags
}

/// Two lines, and one for the address: versions of Linux packages are too long for a table.
fn list(lines: &mut Vec<String>, finding: &RecordedFinding) {
    lines.push(format!(
        "  {}  {}{}",
        text::plain(&finding.id, MAX_NAME),
        finding.severity,
        risk(finding)
    ));
    let version = |version: &Option<String>| version.as_deref().map(|version| text::plain(version, MAX_VERSION));
    let package = match &finding.package {
        Some(name) => text::plain(name, MAX_NAME),
        None => "package not named".to_owned(),
    };
    let installed = version(&finding.installed).map_or(String::new(), |version| format!(" {version}"));
    let fix = match version(&finding.fixed_in) {
        Some(version) => format!("fixed in {version}"),
        None => crate::alert::model::without_version(finding.fix).to_owned(),
    };
    lines.push(format!(
        "    {package}{installed}, {fix}, first seen {}",
        date(finding.first_seen)
    ));
    if let Some(url) = finding.url.as_deref().and_then(text::url) {
        lines.push(format!("    {url}"));
    }
}

/// What is known of how dangerous it is, beside its severity.
fn risk(finding: &RecordedFinding) -> String {
    let known = [
        (finding.exploit == Some(true)).then(|| "exploit known".to_owned()),
        finding.score.map(|score| format!("score {score:.1}")),
        finding.epss.map(|epss| format!("EPSS {epss:.2}")),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    if known.is_empty() {
        return String::new();
    }
    format!("  {}", known.join(", "))
}

/// Adds a text in lines of at most [`COLUMNS`], but for words that are longer. The lines after the first are indented as far as it.
pub(super) fn wrap(lines: &mut Vec<String>, first: &str, text: &str) {
    let indent = first.chars().count();
    let mut line = first.to_owned();
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > COLUMNS {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            column = indent;
        }
        if column > indent {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += length;
    }
    lines.push(line);
}
