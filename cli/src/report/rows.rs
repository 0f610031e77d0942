//! The images of the page as data, which its script shows: each text once, and one short row for each image.
//!
//! The form is this page's own. Its members:
//!
//! | member | has |
//! |---|---|
//! | `made` | when the report was made, in seconds |
//! | `states`, `severities` | the words, by their numbers |
//! | `texts` | texts, by their numbers; the first one is empty |
//! | `places` | host, account, region, repository and team of repositories; numbers of texts |
//! | `findings` | id, text behind it, severity, package, address; numbers of texts but for the id and the severity |
//! | `rows` | place, facts, tag, digest, reason, minutes since, finding or 0, fix, more |
//!
//! Facts are one number: flags + 8 × severity + 64 × state. Finding n is n + 1 here. A row ends before values that are 0 or absent.
//! A row's digest is as long as its details need it. `more` is absent, or `[minutes until, asked for by, details]`; details are lists of a
//! label and values. A value is the number of a text, or `-1 - n` for finding n.

use std::{collections::HashMap, io};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    model::{Finding, Image, Report, STATES, words},
    words::{SEVERITIES, behind_finding, details, fix, severity_order},
};

/// The most images that are listed. A browser sorts and filters them without a noticeable pause.
pub(super) const MAX_ROWS: usize = 10_000;

/// The most bytes of the data about images, whatever they contain.
pub(super) const MAX_BYTES: usize = 3_000_000;

/// The images that need action, or are blocked, with all that is known of them; the others have one line.
pub(super) const MAX_DETAILS: usize = 1_000;

/// Between the flags and the severity, and between the severity and the state.
const FACT: usize = 8;

/// An image needs action.
const NEEDS_ACTION: usize = 1;
/// It has waited too long.
const OVERDUE: usize = 2;
/// There is no result of a scan.
const WITHOUT_RESULT: usize = 4;

/// The data, ready to stand in an element of the page, and how many images are left out.
///
/// # Errors
/// It cannot be written.
pub(super) fn data(report: &Report) -> io::Result<(String, usize)> {
    let mut tables = Tables::default();
    tables.text("");
    let mut rows = String::new();
    let mut number = 0_usize;
    for image in report.images.iter().take(MAX_ROWS) {
        let with_details = number < MAX_DETAILS && (image.needs_action || image.state == "Blocked");
        let row = serde_json::to_string(&tables.row(image, report.made_at, with_details))?;
        if rows.len().saturating_add(tables.bytes).saturating_add(row.len()) > MAX_BYTES {
            break;
        }
        if number > 0 {
            rows.push_str(",\n");
        }
        rows.push_str(&row);
        number = number.saturating_add(1);
    }
    let head = json!({
        "made": report.made_at.as_second(),
        "states": STATES.map(words),
        "severities": SEVERITIES,
        "texts": tables.texts,
        "places": tables.places,
        "findings": tables.findings,
    });
    let head = head.to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    // No text ends the element, or begins another.
    let data = format!("{head},\"rows\":[{rows}]}}").replace('<', "\\u003c");
    Ok((data, report.images.len().saturating_sub(number)))
}

/// The tables that rows refer to.
#[derive(Debug, Default)]
struct Tables {
    texts: Vec<String>,
    text_numbers: HashMap<String, usize>,
    places: Vec<Value>,
    place_numbers: HashMap<(String, String, String), usize>,
    findings: Vec<Value>,
    finding_numbers: HashMap<String, usize>,
    /// How long all of them are, about.
    bytes: usize,
}

impl Tables {
    fn text(&mut self, text: &str) -> usize {
        if let Some(number) = self.text_numbers.get(text) {
            return *number;
        }
        let number = self.texts.len();
        self.bytes = self.bytes.saturating_add(text.len()).saturating_add(3);
        self.texts.push(text.to_owned());
        self.text_numbers.insert(text.to_owned(), number);
        number
    }

    fn place(&mut self, image: &Image) -> usize {
        let key = (image.account.clone(), image.region.clone(), image.repository.clone());
        if let Some(number) = self.place_numbers.get(&key) {
            return *number;
        }
        let address = image.address();
        let host = address.strip_suffix(image.repository.as_str()).unwrap_or_default();
        let parts = [host, &image.account, &image.region, &image.repository, &image.team].map(|text| self.text(text));
        let number = self.places.len();
        self.bytes = self.bytes.saturating_add(30);
        self.places.push(json!(parts));
        self.place_numbers.insert(key, number);
        number
    }

    fn finding(&mut self, finding: &Finding) -> usize {
        let behind = behind_finding(finding);
        let key = format!("{}\0{}\0{behind}", finding.id, finding.severity);
        if let Some(number) = self.finding_numbers.get(&key) {
            return *number;
        }
        let parts = json!([
            finding.id,
            self.text(&behind),
            severity_order(Some(finding.severity)),
            self.text(finding.package.as_deref().unwrap_or_default()),
            self.text(finding.url.as_deref().unwrap_or_default()),
        ]);
        let number = self.findings.len();
        self.bytes = self.bytes.saturating_add(finding.id.len()).saturating_add(30);
        self.findings.push(parts);
        self.finding_numbers.insert(key, number);
        number
    }

    fn row(&mut self, image: &Image, made_at: Timestamp, with_details: bool) -> Value {
        let digest = image.digest.strip_prefix("sha256:").unwrap_or(&image.digest);
        let digest = if with_details {
            digest
        } else {
            digest.get(..12).unwrap_or(digest)
        };
        let since = image.since.map(|at| made_at.duration_since(at).as_mins());
        let finding = image.findings.first().map(|first| self.finding(first));
        let flag = |is: bool, flag: usize| if is { flag } else { 0 };
        let flags = flag(image.needs_action, NEEDS_ACTION)
            | flag(image.overdue == Some(true), OVERDUE)
            | flag(image.counts.is_none(), WITHOUT_RESULT);
        let severity = severity_order(image.severity);
        let facts = image
            .rank()
            .saturating_mul(FACT)
            .saturating_add(severity)
            .saturating_mul(FACT);
        let mut row = vec![
            json!(self.place(image)),
            json!(facts.saturating_add(flags)),
            json!(image.tags.first().map(ToString::to_string).unwrap_or_default()),
            json!(digest),
            json!(self.text(&image.reason)),
            json!(since),
            json!(finding.map_or(0, |number| number.saturating_add(1))),
            json!(self.text(&fix(image))),
        ];
        let until = image.until.map(|at| at.duration_since(made_at).as_mins());
        if until.is_some() || !image.asked_for_by.is_empty() || with_details {
            let asked = self.text(&image.asked_for_by.join("; "));
            let details = if with_details { self.details(image) } else { Vec::new() };
            row.push(json!([until, asked, details]));
        }
        while row.last().is_some_and(|last| *last == json!(0)) {
            row.pop();
        }
        Value::Array(row)
    }

    /// A label and its values, for each line of the details.
    fn details(&mut self, image: &Image) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut line = |tables: &mut Self, label: &str, values: Vec<Value>| {
            let mut line = vec![json!(tables.text(label))];
            line.extend(values);
            lines.push(Value::Array(line));
        };
        if !image.findings.is_empty() {
            let mut values: Vec<Value> = Vec::new();
            for finding in &image.findings {
                let number = i64::try_from(self.finding(finding)).unwrap_or(i64::MAX);
                values.push(json!((-1_i64).saturating_sub(number)));
            }
            if image.more_findings > 0 {
                values.push(json!(self.text(&format!("and {} more", image.more_findings))));
            }
            line(self, "Findings", values);
        }
        for (label, texts) in details(image) {
            let values = texts.iter().map(|text| json!(self.text(text))).collect();
            line(self, label, values);
        }
        lines
    }
}
