//! The images as CSV (RFC 4180): one line for each, with a line of names first.

use std::io::{self, Write};

use super::model::{Image, Report};

/// The names of the columns.
const COLUMNS: [&str; 21] = [
    "state",
    "needs_action",
    "account",
    "region",
    "repository",
    "tag",
    "digest",
    "team",
    "severity",
    "finding",
    "package",
    "installed",
    "fixed_in",
    "rule",
    "reason",
    "since",
    "until",
    "used_by",
    "bytes",
    "last_pulled",
    "image",
];

/// Writes it.
///
/// # Errors
/// It cannot be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    line(to, &COLUMNS.map(ToOwned::to_owned))?;
    for image in &report.images {
        line(to, &cells(image))?;
    }
    Ok(())
}

fn cells(image: &Image) -> [String; 21] {
    let or_empty = |text: Option<&String>| text.cloned().unwrap_or_default();
    let finding = image.findings.first();
    let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        image.state.to_owned(),
        image.needs_action.to_string(),
        image.account.clone(),
        image.region.clone(),
        image.repository.clone(),
        or_empty(image.tags.first()),
        image.digest.clone(),
        image.team.clone(),
        image.severity.unwrap_or_default().to_owned(),
        or_empty(finding.map(|finding| &finding.id)),
        or_empty(finding.and_then(|finding| finding.package.as_ref())),
        or_empty(finding.and_then(|finding| finding.installed.as_ref())),
        or_empty(finding.and_then(|finding| finding.fixed_in.as_ref())),
        or_empty(image.rule.as_ref()),
        image.reason.clone(),
        time(image.since),
        time(image.until),
        image
            .used_by
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |used| used.join("; ")),
        image.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        time(image.pulled_at),
        image.uri(),
    ]
}

fn line(to: &mut dyn Write, cells: &[String]) -> io::Result<()> {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    write!(to, "{}\r\n", cells.join(","))
}

/// A cell. A text that a spreadsheet would take for a formula has a `'` before it (OWASP, "CSV Injection").
fn cell(text: &str) -> String {
    let formula = text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '\t', '\r', '|', '%'])
        || text.starts_with(['\t', '\r', '\n']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n', ';']) || formula || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
