//! The daily digest in the four forms.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    alert::{
        chat, email,
        model::{MAX_ID, MAX_NAME, MAX_REASON, MAX_SUBJECT, MAX_TITLE, Message, date, time, to_json},
        registry::{DIGEST, ExceptionNotice},
    },
    digest::{Digest, Drift, Ending, List, Named, NotReady, OptedOut, Outdated, Size, Unreadable, Unrouted},
    notice::Change,
    replication::readiness::Readiness,
    repository::lifecycle::Surplus,
    summary::News,
    text,
};

/// The longest reason of an image in the digest, in characters; its own alert has the whole.
const MAX_CASE: usize = 200;

/// How many problems of the registry are listed.
const MAX_PROBLEMS: usize = 10;

/// `ecr-guard/alert/v1`: the members that every alert has, with `figures`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    id: String,
    kind: &'static str,
    severity: Option<()>,
    time: String,
    account: &'a str,
    region: &'a str,
    repository: Option<()>,
    digest: Option<()>,
    tags: [(); 0],
    title: String,
    reason: String,
    findings: [(); 0],
    omitted_findings: u64,
    action: Option<()>,
    figures: Figures<'a>,
    next_steps: [(); 0],
}

#[derive(Serialize)]
struct Figures<'a> {
    day: Date,
    routes: &'a [String],
    repositories: u64,
    unknown_repositories: u64,
    outdated_repositories: &'a List<Outdated>,
    images: u64,
    archived: u64,
    bytes: u64,
    archived_bytes: u64,
    states: &'a BTreeMap<String, u64>,
    new: New,
    blocked: List<Named>,
    held: List<Named>,
    review: List<Named>,
    overdue: List<Named>,
    unconfirmed: u64,
    not_reached: u64,
    unreadable_rows: &'a List<Unreadable>,
    surplus: SurplusFigures<'a>,
    largest: &'a [Size],
    drift: &'a List<Drift>,
    opted_out: &'a List<OptedOut>,
    unrouted: &'a List<Unrouted>,
    replication: Vec<&'a Readiness>,
    replication_not_ready: &'a List<NotReady>,
    exceptions_ending: &'a List<Ending>,
    exceptions_unused: &'a List<ExceptionNotice>,
    registry: &'a [Change],
    signing: bool,
}

#[derive(Serialize)]
struct New {
    yesterday: News,
    today: News,
}

#[derive(Serialize)]
struct SurplusFigures<'a> {
    #[serde(flatten)]
    all: Surplus,
    repositories: u64,
    worst: &'a [Size],
}

impl Digest {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        Message {
            subject: text::ascii(
                &format!("[ecr-guard] DIGEST {}: {}", self.registry.region, self.line()),
                MAX_SUBJECT,
            ),
            default: self.json(),
            email: self.email(),
            https: self.chat(),
            sms: text::ascii(
                &format!("ecr-guard DIGEST {}: {}", self.registry.region, self.line()),
                140,
            ),
        }
    }

    /// What matters, in a few words.
    fn line(&self) -> String {
        if self.is_quiet() {
            return "nothing to tell".to_owned();
        }
        format!(
            "{} blocked, {} NOT blocked, {} in review, {} overdue",
            self.blocked.total, self.held.total, self.review.total, self.overdue.total
        )
    }

    fn title(&self) -> String {
        format!("{} in {}: {}", self.day, self.registry.region, self.line())
    }

    /// A sentence on what there is.
    fn extent(&self) -> String {
        let outdated = self.outdated.total;
        let mut unknown = match self.unknown.saturating_sub(outdated) {
            0 => String::new(),
            unknown => format!(" Of {unknown} of the repositories nothing is known yet: no sweep has looked at them."),
        };
        if outdated > 0 {
            unknown.push_str(&format!(
                " {} could not be looked at for more than a day. The figures below are from their last look.",
                counted(outdated, "repository", "repositories")
            ));
        }
        format!(
            "{} with {} ({}); {} pushed since yesterday.{unknown}",
            counted(self.repositories, "repository", "repositories"),
            counted(self.images, "image", "images"),
            size(self.bytes),
            self.yesterday.and(self.today).pushed,
        )
    }

    fn json(&self) -> String {
        to_json(&Document {
            schema: "ecr-guard/alert/v1",
            id: text::line(&self.id, MAX_ID),
            kind: DIGEST,
            severity: None,
            time: time(self.time),
            account: self.registry.account.as_str(),
            region: self.registry.region.as_str(),
            repository: None,
            digest: None,
            tags: [],
            title: text::line(&self.title(), MAX_TITLE),
            reason: self.extent(),
            findings: [],
            omitted_findings: 0,
            action: None,
            figures: Figures {
                day: self.day,
                routes: &self.routes,
                repositories: self.repositories,
                unknown_repositories: self.unknown,
                outdated_repositories: &self.outdated,
                images: self.images,
                archived: self.archived,
                bytes: self.bytes,
                archived_bytes: self.archived_bytes,
                states: &self.states,
                new: New {
                    yesterday: self.yesterday,
                    today: self.today,
                },
                blocked: shortened(&self.blocked),
                held: shortened(&self.held),
                review: shortened(&self.review),
                overdue: shortened(&self.overdue),
                unconfirmed: self.unconfirmed,
                not_reached: self.not_reached,
                unreadable_rows: &self.unreadable,
                surplus: SurplusFigures {
                    all: self.surplus,
                    repositories: self.surplus_in.total,
                    worst: &self.surplus_in.worst,
                },
                largest: &self.largest.worst,
                drift: &self.drift,
                opted_out: &self.opted_out,
                unrouted: &self.unrouted,
                replication: self.readiness.values().collect(),
                replication_not_ready: &self.not_ready,
                exceptions_ending: &self.ending,
                exceptions_unused: &self.unused,
                registry: self.problems.get(..MAX_PROBLEMS).unwrap_or(&self.problems),
                signing: self.signing,
            },
            next_steps: [],
        })
    }

    fn email(&self) -> String {
        let mut lines = vec![text::plain(&self.title(), MAX_TITLE), String::new()];
        email::wrap(&mut lines, "", &self.extent());
        if self.is_quiet() {
            email::end(&mut lines, &self.id);
            return lines.join("\n");
        }
        email::heading(&mut lines, "WHERE");
        for (name, value) in [
            ("Account", self.registry.account.to_string()),
            ("Region", self.registry.region.to_string()),
            ("Routes", self.routes.join(", ")),
        ] {
            lines.push(format!("  {name:<11} {}", text::plain(&value, MAX_REASON)));
        }
        section(
            &mut lines,
            "REPOSITORIES THAT NOBODY COULD LOOK AT FOR MORE THAN A DAY",
            &self.outdated,
            |lines, outdated| {
                let day = outdated
                    .day
                    .map_or_else(|| "not known".to_owned(), |day| day.to_string());
                lines.push(format!("  {}  last looked at: {day}", outdated.repository));
            },
        );
        section(
            &mut lines,
            "REPOSITORIES WITH ROWS OF THE LEDGER THAT CANNOT BE READ",
            &self.unreadable,
            |lines, unreadable| {
                let rows = counted(unreadable.rows, "row", "rows");
                lines.push(format!("  {}  {rows}", unreadable.repository));
            },
        );
        self.news(&mut lines);
        for (heading, list) in [
            ("NOT BLOCKED, BUT SHOULD BE", &self.held),
            ("IN REVIEW", &self.review),
            ("OVERDUE", &self.overdue),
            ("BLOCKED", &self.blocked),
        ] {
            cases(&mut lines, heading, list);
        }
        self.replication(&mut lines);
        self.settings(&mut lines);
        self.exceptions(&mut lines);
        self.costs(&mut lines);
        email::end(&mut lines, &self.id);
        lines.join("\n")
    }

    fn news(&self, lines: &mut Vec<String>) {
        email::heading(lines, &format!("{:<35}{:>10}{:>10}", "NEW", "YESTERDAY", "TODAY"));
        for (name, count) in [
            ("Images pushed", (|news: &News| news.pushed) as fn(&News) -> u64),
            ("Images blocked", |news| news.blocked),
            ("Images not blocked, but should be", |news| news.held),
            ("Images to review", |news| news.review),
            ("Images released", |news| news.released),
            ("Settings repaired", |news| news.repaired),
        ] {
            let (yesterday, today) = (count(&self.yesterday), count(&self.today));
            lines.push(format!("  {name:<33}{yesterday:>10}{today:>10}"));
        }
    }

    fn replication(&self, lines: &mut Vec<String>) {
        if self.readiness.is_empty() {
            return;
        }
        email::heading(lines, "COPIES IN OTHER REGIONS");
        for readiness in self.readiness.values() {
            let word = if readiness.is_ready() { "ready" } else { "NOT READY" };
            lines.push(format!("  {:<15} {word}", readiness.region.as_str()));
            email::wrap(lines, "    ", &copies(readiness));
        }
        section(
            lines,
            "REPOSITORIES WHOSE COPIES ARE NOT READY",
            &self.not_ready,
            |lines, not_ready| {
                lines.push(format!("  {}  in {}", not_ready.repository, not_ready.readiness.region));
                email::wrap(lines, "    ", &copies(&not_ready.readiness));
            },
        );
    }

    fn settings(&self, lines: &mut Vec<String>) {
        if !self.problems.is_empty() {
            email::heading(lines, "SETTINGS OF THE REGISTRY");
            for problem in self.problems.iter().take(MAX_PROBLEMS) {
                lines.push(format!("  {}", text::plain(&problem.setting, MAX_NAME)));
                email::wrap(
                    lines,
                    &format!("    {:<10} ", "is"),
                    &text::plain(&problem.old, MAX_REASON),
                );
                email::wrap(
                    lines,
                    &format!("    {:<10} ", "should be"),
                    &text::plain(&problem.new, MAX_REASON),
                );
            }
        }
        if !self.signing {
            email::heading(lines, "SIGNING");
            lines.push("  ECR signs no image on push: no signing configuration.".to_owned());
        }
        section(
            lines,
            "REPOSITORIES WITH OTHER SETTINGS THAN THE POLICY SAYS",
            &self.drift,
            |lines, drift| {
                let settings = counted(drift.settings, "setting", "settings");
                lines.push(format!("  {}  {settings}", drift.repository));
            },
        );
        section(
            lines,
            "REPOSITORIES THAT HAVE OPTED OUT",
            &self.opted_out,
            |lines, opted_out| {
                lines.push(format!("  {}", opted_out.repository));
                email::wrap(lines, "    ", &text::plain(&opted_out.how, MAX_CASE));
            },
        );
        section(
            lines,
            "REPOSITORIES WHOSE TAG NAMES NO ROUTE",
            &self.unrouted,
            |lines, unrouted| {
                let value = unrouted.value.as_ref();
                let says = value.map_or_else(|| "no such tag".to_owned(), |value| format!("\"{value}\""));
                lines.push(format!("  {}  {}", unrouted.repository, text::plain(&says, MAX_CASE)));
            },
        );
    }

    fn exceptions(&self, lines: &mut Vec<String>) {
        section(
            lines,
            "EXCEPTIONS THAT END OR HAVE ENDED",
            &self.ending,
            |lines, ending| {
                let (exception, word) = (&ending.exception, if ending.ended { "ended" } else { "ends" });
                lines.push(format!(
                    "  {}  {word} {}",
                    text::plain(&exception.name, MAX_NAME),
                    exception.last_day
                ));
                let images = counted(ending.images, "image", "images");
                let what = format!("{}; in use in {images}; {}", exception.scope(), exception.owner);
                email::wrap(lines, "    ", &text::plain(&what, MAX_REASON));
            },
        );
        section(
            lines,
            "EXCEPTIONS THAT COVER NO FINDING THAT COUNTS",
            &self.unused,
            |lines, exception| {
                let name = text::plain(&exception.name, MAX_NAME);
                lines.push(format!("  {name}  until {}", exception.last_day));
                let what = format!("{}; {}", exception.scope(), exception.owner);
                email::wrap(lines, "    ", &text::plain(&what, MAX_REASON));
            },
        );
    }

    fn costs(&self, lines: &mut Vec<String>) {
        email::heading(lines, "WHAT IS STORED");
        for (name, images, bytes) in [
            ("Images", self.images, self.bytes),
            ("In the archive", self.archived, self.archived_bytes),
            ("Lifecycle would delete, about", self.surplus.images, self.surplus.bytes),
        ] {
            lines.push(format!("  {name:<29} {images:>9} {:>12}", size(bytes)));
        }
        for (state, number) in &self.states {
            lines.push(format!("  {state:<29} {number:>9}"));
        }
        for (what, number) in [
            ("Allowed, scan not confirmed", self.unconfirmed),
            ("Pending, not reached", self.not_reached),
        ] {
            if number > 0 {
                lines.push(format!("  {what:<29} {number:>9}"));
            }
        }
        let sizes = |lines: &mut Vec<String>, size_of: &Size| {
            lines.push(format!("  {}", size_of.repository));
            let images = counted(size_of.images, "image", "images");
            lines.push(format!("    {images}, {}", size(size_of.bytes)));
        };
        email::heading(lines, "LARGEST REPOSITORIES");
        self.largest.worst.iter().for_each(|one| sizes(lines, one));
        section(
            lines,
            "WHERE LIFECYCLE RULES WOULD DELETE MOST, ABOUT",
            &self.surplus_in,
            sizes,
        );
    }

    fn chat(&self) -> String {
        let mut lines = vec![text::markdown(&self.extent())];
        if !self.is_quiet() {
            let new = self.yesterday.and(self.today);
            lines.push(String::new());
            lines.push(format!(
                "*New since yesterday:* {} blocked, {} not blocked, {} to review, {} released, {} settings repaired",
                new.blocked, new.held, new.review, new.released, new.repaired
            ));
            for (name, list) in [
                ("Not blocked, but should be", &self.held),
                ("In review", &self.review),
                ("Overdue", &self.overdue),
                ("Blocked", &self.blocked),
            ] {
                if list.total == 0 {
                    continue;
                }
                lines.push(format!("*{name}:* {}", list.total));
                lines.extend(list.worst.iter().map(|named| {
                    let severity = named.case.severity.map(|severity| format!(" {severity}"));
                    let since = date(named.case.since);
                    format!(
                        "• {}{}, since {since}",
                        text::code(&image(named)),
                        severity.unwrap_or_default()
                    )
                }));
            }
            for (name, number) in [
                (
                    "Repositories that nobody could look at for more than a day",
                    self.outdated.total,
                ),
                (
                    "Repositories whose copies in another region are not ready",
                    self.not_ready.total,
                ),
                (
                    "Repositories with other settings than the policy says",
                    self.drift.total,
                ),
                ("Images that nobody could look at yet", self.not_reached),
                (
                    "Repositories with rows of the ledger that cannot be read",
                    self.unreadable.total,
                ),
                ("Repositories that have opted out", self.opted_out.total),
                ("Repositories whose tag names no route", self.unrouted.total),
                ("Exceptions that end or have ended", self.ending.total),
                ("Exceptions that cover no finding that counts", self.unused.total),
                (
                    "Settings of the registry that are not what the policy needs",
                    self.problems.len() as u64,
                ),
                ("Images that lifecycle rules would delete, about", self.surplus.images),
            ] {
                if number > 0 {
                    lines.push(format!("*{name}:* {number}"));
                }
            }
        }
        let about = chat::AboutRegistry {
            key: &self.registry,
            id: &self.id,
            kind: DIGEST,
            title: &self.title(),
        };
        chat::registry(&about, lines.join("\n"), std::iter::empty())
    }
}

/// What there is of copies, and what is wrong with them.
fn copies(readiness: &Readiness) -> String {
    let mut text = format!(
        "{} of {} are there",
        readiness.present,
        counted(readiness.expected, "image", "images")
    );
    for (number, what) in [
        (readiness.late, "late"),
        (readiness.failed, "failed"),
        (readiness.missing, "missing"),
        (readiness.archived, "in the archive"),
        (readiness.incomplete, "incomplete"),
        (readiness.blocked, "blocked there only"),
        (readiness.unprotected, "less protected than their source"),
        (readiness.unknown, "that nobody has seen there"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {what}"));
        }
    }
    if readiness.unknown_repositories > 0 {
        let number = counted(readiness.unknown_repositories, "repository", "repositories");
        text.push_str(&format!("; {number} not looked at for more than a day"));
    }
    text
}

fn shortened(list: &List<Named>) -> List<Named> {
    let mut list = list.clone();
    for named in &mut list.worst {
        named.case.reason = text::line(&named.case.reason, MAX_CASE);
    }
    list
}

fn cases(lines: &mut Vec<String>, heading: &str, list: &List<Named>) {
    section(lines, heading, list, |lines, named| {
        let case = &named.case;
        let severity = case.severity.map(|severity| format!("  {severity}"));
        lines.push(format!("  {}{}", image(named), severity.unwrap_or_default()));
        lines.push(format!("    {}, since {}", case.digest.short(), date(case.since)));
        email::wrap(lines, "    ", &text::plain(&case.reason, MAX_CASE));
    });
}

/// A list with its heading, if there is anything in it.
fn section<T>(lines: &mut Vec<String>, heading: &str, list: &List<T>, mut show: impl FnMut(&mut Vec<String>, &T)) {
    if list.total == 0 {
        return;
    }
    email::heading(lines, &format!("{heading}: {}", list.total));
    for one in &list.worst {
        show(lines, one);
    }
    match list.total.saturating_sub(list.worst.len() as u64) {
        0 => {}
        more => lines.push(format!("  and {more} more")),
    }
}

/// How people name an image: by a tag where it has one.
fn image(named: &Named) -> String {
    match &named.case.tag {
        Some(tag) => format!("{}:{tag}", named.repository),
        None => format!("{}@{}", named.repository, named.case.digest.short()),
    }
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Bytes for people, in powers of a thousand.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut units) = (bytes / 100, UNITS.iter());
    let mut unit = units.next();
    while tenths >= 10_000 {
        let Some(next) = units.next() else { break };
        (tenths, unit) = (tenths / 1000, Some(next));
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&"kB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250_000, "1.2 MB"),
            (999_999, "999.9 kB"),
            (7_340_000_000, "7.3 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
