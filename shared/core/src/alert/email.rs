//! The form for people with a mailbox: plain text to act on at once.
//!
//! The first lines say what happened and what it means; then why, what to do, and identifiers at the end. Everything but the first lines and our
//! own headings is indented, so that no text from outside can pass for one of them. There are no columns: many mail programs show plain text in a
//! font in which they would not stand below each other. Commands stand on lines of their own, whole.

use crate::{
    alert::{
        model::{
            Alert, List, MAX_EXCEPTIONS, MAX_ID, MAX_NAME, MAX_REASON, MAX_STEP, MAX_STEPS, MAX_TITLE, MAX_VERSION,
            beyond, date, moment, to_json, without_version,
        },
        step::NextStep,
    },
    ledger::RecordedFinding,
    policy::Action,
    text,
};

/// Columns that a mail program shows without breaking lines. Commands and digests are longer, and are not broken.
const COLUMNS: usize = 76;

/// How many findings are listed; the JSON form has more.
const LISTED_FINDINGS: usize = 10;

/// How many of the other findings are listed.
const LISTED_OTHERS: usize = 5;

/// How many tags are listed.
const LISTED_TAGS: usize = 10;

pub(super) fn render(alert: &Alert) -> String {
    let mut lines = vec![text::plain(&alert.title, MAX_TITLE)];
    if !alert.meaning.is_empty() {
        lines.push(String::new());
        wrap(&mut lines, "", alert.meaning);
    }
    if alert.is_lead {
        lines.push(String::new());
        wrap(&mut lines, "", &text::plain(&alert.reason, MAX_REASON));
    } else {
        heading(&mut lines, "WHY");
        wrap(&mut lines, "  ", &text::plain(alert.why(), MAX_REASON));
        for finding in alert.findings.iter().take(LISTED_FINDINGS) {
            list_finding(&mut lines, finding);
        }
        more(&mut lines, alert.beyond(LISTED_FINDINGS));
    }
    if let Some(hold) = &alert.hold {
        heading(&mut lines, "WHY THE BLOCK IS DEFERRED");
        wrap(&mut lines, "  ", &capitalized(&text::plain(&hold.reason, MAX_REASON)));
        let ends = hold.ends();
        if !ends.is_empty() {
            wrap(&mut lines, "  ", &ends);
        }
    }
    exception(&mut lines, alert);
    changes(&mut lines, alert);
    steps(&mut lines, &alert.steps);
    others(&mut lines, alert);
    proposed(&mut lines, alert);
    for one in &alert.lists {
        list(&mut lines, one);
    }
    about(&mut lines, alert);
    end(&mut lines, alert);
    lines.join("\n")
}

/// A clause as a sentence of its own.
fn capitalized(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn heading(lines: &mut Vec<String>, heading: &str) {
    lines.push(String::new());
    lines.push(heading.to_owned());
}

fn more(lines: &mut Vec<String>, number: u64) {
    if number > 0 {
        lines.push(format!("  and {number} more"));
    }
}

fn steps(lines: &mut Vec<String>, steps: &[NextStep]) {
    if steps.is_empty() {
        return;
    }
    heading(lines, "DO THIS");
    for (step, number) in steps.iter().take(MAX_STEPS).zip(1..) {
        wrap(lines, &format!("  {number}. "), &text::plain(&step.text, MAX_STEP));
        if let Some(command) = &step.command {
            // In one piece, so that it can be copied into a shell.
            lines.push(format!("     {command}"));
        }
    }
}

fn exception(lines: &mut Vec<String>, alert: &Alert) {
    let Some(exception) = &alert.exception else { return };
    heading(lines, "EXCEPTION");
    for (name, value) in [
        ("Place", &exception.name),
        ("Covers", &exception.scope()),
        ("Reason", &exception.reason),
        ("Last day", &exception.last_day),
    ] {
        wrap(lines, "  ", &format!("{name}: {}", text::plain(value, MAX_REASON)));
    }
    // The policy names it, so that its address can be used.
    wrap(
        lines,
        "  ",
        &format!("Owner: {}", text::line(&exception.owner, MAX_NAME)),
    );
}

fn changes(lines: &mut Vec<String>, alert: &Alert) {
    if alert.changes.list.is_empty() {
        return;
    }
    let (old, new) = alert.changes.columns;
    heading(lines, "SETTINGS");
    for change in alert.changes() {
        let plain = |value: &str| text::plain(value, alert.changes.longest);
        lines.push(format!("  {}", plain(&change.setting)));
        wrap(lines, "    ", &format!("{old}: {}", plain(&change.old)));
        wrap(lines, "    ", &format!("{new}: {}", plain(&change.new)));
    }
}

/// The other findings of the image. Once the image is archived, nobody can read them any more.
fn others(lines: &mut Vec<String>, alert: &Alert) {
    let Some(also) = alert.also() else { return };
    heading(lines, "ALSO IN THIS IMAGE");
    wrap(lines, "  ", &also);
    let to_see = |finding: &&RecordedFinding| finding.action >= Action::Review && finding.exception.is_none();
    let others = alert.other_findings.iter().filter(to_see);
    for finding in others.clone().take(LISTED_OTHERS) {
        lines.push(format!("  {}", in_one_line(finding)));
    }
    let unlisted = others.count().saturating_sub(LISTED_OTHERS);
    more(lines, beyond(alert.omitted_other_findings, unlisted));
}

fn proposed(lines: &mut Vec<String>, alert: &Alert) {
    if alert.exceptions.is_empty() {
        return;
    }
    heading(lines, "EXCEPTION TO PROPOSE");
    let place = match &alert.contact.policy {
        Some(address) => format!("at {address}"),
        None => "to \"exceptions\" in the policy, in a pull request".to_owned(),
    };
    let how = format!(
        "Fill in owner and reason (they are refused empty), and add it {place}. It covers every image in the repository. It counts \
         within an hour after the policy is deployed; ECR may need 20 minutes more to restore an image."
    );
    wrap(lines, "  ", &how);
    for entry in alert.exceptions.iter().take(MAX_EXCEPTIONS) {
        // In one piece, so that it can be copied.
        lines.push(format!("  {}", to_json(entry)));
    }
}

/// A list of the digest or the summary.
fn list(lines: &mut Vec<String>, list: &List) {
    heading(lines, &list.heading);
    for (item, number) in list.items.iter().zip(1..) {
        let first = if list.is_numbered {
            format!("  {number}. ")
        } else {
            "  ".to_owned()
        };
        let indent = if list.is_numbered {
            " ".repeat(first.len())
        } else {
            "    ".to_owned()
        };
        wrap(lines, &first, &text::plain(&item.text, MAX_REASON));
        if let Some(detail) = &item.detail {
            let owner = item
                .owner
                .as_ref()
                .map(|owner| format!("; {}", text::line(owner, MAX_NAME)));
            let detail = text::plain(detail, MAX_REASON);
            wrap(lines, &indent, &format!("{detail}{}", owner.unwrap_or_default()));
        }
    }
    more(lines, list.more);
}

/// Identifiers: by them a mailbox is searched.
fn about(lines: &mut Vec<String>, alert: &Alert) {
    let about = &alert.about;
    let registry = format!("  Account {}, region {}", about.registry.account, about.registry.region);
    match (about.uri(), &about.repository) {
        (Some(uri), _) => {
            heading(lines, "IMAGE");
            lines.push(format!("  {uri}"));
            if let Some(digest) = about.digest.as_ref().filter(|_| !about.tags.is_empty()) {
                lines.push(format!("  {digest}"));
            }
            if about.tags.len() > 1 {
                lines.push(format!("  Tags: {}", tags(alert)));
            }
        }
        (None, Some(repository)) => {
            heading(lines, "REPOSITORY");
            lines.push(format!("  {repository}"));
            if let Some(tag) = about.tags.first() {
                lines.push(format!("  Tag: {tag}"));
            }
            lines.push(registry);
        }
        (None, None) => {
            heading(lines, "REGISTRY");
            lines.push(registry);
        }
    }
    lines.push(format!("  Decided {}", moment(alert.time)));
}

fn end(lines: &mut Vec<String>, alert: &Alert) {
    let contact = &alert.contact;
    let known = [
        ("Help", &contact.help),
        ("Guide", &contact.guide),
        ("Policy", &contact.policy),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let mut known: Vec<String> = known
        .map(|(name, value)| format!("{name}: {}", text::line(value, MAX_REASON)))
        .collect();
    if contact.help.is_none() {
        known.insert(
            0,
            format!(
                "Help: the people who run ecr-guard in account {}",
                alert.about.registry.account
            ),
        );
    }
    heading(lines, "CONTACT");
    lines.extend(known.iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.push(format!("Alert {}", text::plain(&alert.id, MAX_ID)));
    lines.push(String::new());
}

fn tags(alert: &Alert) -> String {
    let tags = &alert.about.tags;
    let listed: Vec<String> = tags.iter().take(LISTED_TAGS).map(ToString::to_string).collect();
    let more = tags.len().saturating_sub(LISTED_TAGS);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", listed.join(", "))
}

/// Two lines, and one for the address: versions of Linux packages are too long for a table.
fn list_finding(lines: &mut Vec<String>, finding: &RecordedFinding) {
    lines.push(format!("  {}", in_one_line(finding)));
    lines.push(format!(
        "    First seen {}. Policy rule: {}",
        date(finding.first_seen),
        text::plain(&finding.rule, MAX_NAME)
    ));
    if let Some(url) = finding.url.as_deref().and_then(text::url) {
        lines.push(format!("    {url}"));
    }
}

/// `CVE-2026-1234 CRITICAL (9.8, exploit known) in openssl 3.0.1, fixed in 3.0.9`.
fn in_one_line(finding: &RecordedFinding) -> String {
    let version = |version: &Option<String>| version.as_deref().map(|version| text::plain(version, MAX_VERSION));
    let package = match &finding.package {
        Some(name) => format!(" in {}", text::plain(name, MAX_NAME)),
        None => String::new(),
    };
    let installed = version(&finding.installed).map_or(String::new(), |version| format!(" {version}"));
    let fix = match version(&finding.fixed_in) {
        Some(version) => format!("fixed in {version}"),
        None => without_version(finding.fix).to_owned(),
    };
    format!(
        "{} {}{}{package}{installed}, {fix}",
        text::plain(&finding.id, MAX_NAME),
        finding.severity,
        risk(finding)
    )
}

/// How dangerous the finding is, in addition to its severity.
fn risk(finding: &RecordedFinding) -> String {
    let known = [
        finding.score.map(|score| format!("{score:.1}")),
        (finding.exploit == Some(true)).then(|| "exploit known".to_owned()),
        finding.epss.map(|epss| format!("EPSS {epss:.2}")),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    if known.is_empty() {
        return String::new();
    }
    format!(" ({})", known.join(", "))
}

/// Adds a text in lines of at most [`COLUMNS`], but for words that are longer. The lines after the first are indented as far as it.
fn wrap(lines: &mut Vec<String>, first: &str, text: &str) {
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
