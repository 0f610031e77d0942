//! The report as one page: nothing comes from elsewhere, and nothing runs but the script of the page, which shows images, sorts and filters.
//!
//! Whatever comes from outside is text or the value of an attribute in quotation marks; maud escapes both. The data about images is JSON in
//! which no element can end, and the script makes text of it, never HTML.

use std::io::{self, Write};

use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{
    model::{
        Alert, Copies, Exception, Figures, Finding, Image, Ledger, MAX_FINDINGS, Part, Report, SOON_DAYS, Task,
        UNPULLED_DAYS, words,
    },
    rows,
    words::{SEVERITIES, fix, size, thousands, unknown},
};
use crate::table::{ago, count, moment, span};

/// The rows that can be read without the script: images that need action, or are blocked.
pub const MAX_PLAIN: usize = 100;

/// The most alerts that are listed, the newest ones.
const MAX_ALERTS: usize = 100;

/// The most rows of the other tables.
const MAX_OTHERS: usize = 2_000;

/// Data that is older is not the state of today: sweeps run every hour.
const OLD: SignedDuration = SignedDuration::from_hours(2);

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The permissions of the page: to show its own style, and to run its own script.
pub fn content_security_policy() -> String {
    let hash = |text: &str| aws_smithy_types::base64::encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// Writes it, and gives the number of images that were left out.
///
/// # Errors
/// It cannot be written.
pub fn write(report: &Report, to: &mut dyn Write) -> io::Result<u64> {
    let put = |to: &mut dyn Write, markup: Markup| to.write_all(markup.into_string().as_bytes());
    let (data, left_out) = rows::data(report)?;
    put(to, before(report))?;
    put(to, left_out_note(left_out))?;
    put(to, exceptions(&report.exceptions))?;
    put(to, teams(report))?;
    put(to, copies(&report.copies))?;
    put(to, repositories(report))?;
    put(to, alerts(report))?;
    put(to, about(report))?;
    to.write_all(b"</main>")?;
    put(
        to,
        html! { script type="application/json" id="image-data" { (PreEscaped(data)) } },
    )?;
    put(to, html! { script { (PreEscaped(SCRIPT)) } })?;
    to.write_all(b"</body></html>\n")?;
    Ok(left_out as u64)
}

/// The page up to the end of the table of images.
fn before(report: &Report) -> Markup {
    let title = format!("ecr-guard report, {}", moment(report.made_at));
    let urgent = |image: &&Image| image.needs_action || image.state == "Blocked";
    let mut plain: Vec<&Image> = report.images.iter().filter(urgent).collect();
    plain.sort_by_key(|image| image.rank());
    let number = plain.len();
    plain.truncate(MAX_PLAIN);
    html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(content_security_policy());
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="referrer" content="no-referrer";
            meta name="robots" content="noindex";
            title { (title) }
            style { (PreEscaped(STYLE)) }
        }
        (PreEscaped("<body>"))
        (header(report))
        (PreEscaped("<main>"))
        (cards(&report.figures))
        (tasks(report))
        (images_head(report))
        noscript { p class="bar" {
            "Without its script the page shows " (thousands(number.min(MAX_PLAIN) as u64)) " of the " (thousands(number as u64))
            " images that need action or are blocked. `ecr-guard report --csv FILE` has all images."
        } }
        div class="wide" { table class="stack" id="image-table" {
            thead { tr { th { "State" } th { "Image" } th { "Worst finding" } th { "Fix" } th { "Why" } th { "Team" } th { "Since" } } }
            tbody { @for image in plain { (image_row(image, report.made_at)) } }
        } }
    }
}

fn header(report: &Report) -> Markup {
    let oldest = report.ledgers.iter().map(|ledger| ledger.read_at).min();
    let is_old = oldest.is_none_or(|at| report.made_at.duration_since(at) > OLD);
    let places: Vec<String> = report
        .registries
        .iter()
        .map(|one| {
            let mode = match one.mode {
                Some("enforce") => "enforce mode",
                Some("report") => "report mode",
                Some(_) => "enforce and report mode",
                None => "mode unknown",
            };
            format!("{} {} ({mode})", one.account, one.region)
        })
        .collect();
    let troubles: Vec<&super::model::Freshness> = report.freshness.iter().filter(|one| one.trouble.is_some()).collect();
    html! {
        header {
            h1 { "ecr-guard report" }
            p {
                @if places.is_empty() { "No registry." } @else { (places.join(" · ")) }
            }
            p class="soft" {
                "Made " (moment(report.made_at)) "."
                @for ledger in &report.ledgers {
                    " Data of " (ledger.name) ": " (moment(ledger.read_at)) ", " (ago(ledger.read_at, report.made_at)) "."
                    @if let Some(only) = &ledger.repository { " Only " (only) " was read." }
                }
            }
            @if is_old { p class="bar" { "The data is more than 2 hours old. It does not show the state of now." } }
            @for one in troubles.iter().take(5) {
                p class="bar" { (one.what) ": " @if let Some(at) = one.at { (moment(at)) } @else { "never" } ". " (one.trouble.as_deref().unwrap_or_default()) }
            }
            @if !report.unreadable.is_empty() { p class="bar" { "Some of the data could not be read: see " a href="#data" { "the data" } ". All that depends on it is unknown." } }
            nav {
                a href="#next" { "Do next" } a href="#images" { "Images" } a href="#exceptions" { "Exceptions" } a href="#teams" { "Teams" }
                a href="#copies" { "Copies" } a href="#repositories" { "Repositories" } a href="#alerts" { "Alerts" } a href="#data" { "Data" }
            }
        }
    }
}

fn cards(figures: &Figures) -> Markup {
    let of = |state: &str| figures.states.get(state).copied().unwrap_or_default();
    let not_scanned = of("Unscannable").saturating_add(of("Stale"));
    let tone = |number: u64, tone: &'static str| if number > 0 { tone } else { "green" };
    let card = |number: String, words: &str, tone: &str, filter: &str| {
        html! { a class=(format!("card {tone}")) href="#images" data-filter=(filter) { b { (number) } (words) } }
    };
    html! {
        div class="cards" {
            (card(thousands(figures.need_action), "need action", tone(figures.need_action, "red"), "action"))
            (card(thousands(of("Blocked")), &blocked_words(figures), tone(of("Blocked"), "red"), "BLOCKED"))
            (card(thousands(of("BlockDeferred")), "deferred, still deployable", tone(of("BlockDeferred"), "orange"), "DEFERRED"))
            (card(thousands(of("Review")), "to review", tone(of("Review"), "blue"), "REVIEW"))
            (card(thousands(not_scanned), "not scanned", tone(not_scanned, "yellow"), "NOT SCANNED"))
            (card(figures.overdue.map_or_else(unknown, thousands), "wait too long", figures.overdue.map_or("yellow", |number| tone(number, "yellow")), "action"))
            (copies_card(figures))
        }
        p class="soft" { (thousands(figures.images)) " images"
            @if let Some(bytes) = figures.bytes { ", " (size(bytes)) " stored" } @else { ", stored size unknown" }
            @if figures.exceptions_ending > 0 { ", " (exceptions_ending(figures.exceptions_ending)) }
            "."
        }
    }
}

fn exceptions_ending(number: u64) -> String {
    let verbs = if number == 1 { "ends" } else { "end" };
    format!(
        "{} {verbs} within {SOON_DAYS} days, or ended already",
        count(number, "exception")
    )
}

fn blocked_words(figures: &Figures) -> String {
    match figures.blocked_in_demand {
        0 => "blocked".to_owned(),
        number => format!("blocked, {number} asked for since"),
    }
}

fn copies_card(figures: &Figures) -> Markup {
    let (number, words, tone) = match figures.copies {
        None => ("–".to_owned(), "no copies configured".to_owned(), "gray"),
        Some(share) if share.of == 0 && share.unknown == 0 => {
            (unknown(), "copies in other regions".to_owned(), "yellow")
        }
        Some(share) => {
            let tone = if share.ready == share.of { "green" } else { "orange" };
            // Rounded down: 100 % is all of them.
            let percent = share
                .ready
                .saturating_mul(100)
                .checked_div(share.of)
                .unwrap_or_default();
            (
                format!("{percent} %"),
                format!("{} of {} copies ready", thousands(share.ready), thousands(share.of)),
                tone,
            )
        }
    };
    html! { a class=(format!("card {tone}")) href="#copies" { b { (number) } (words) } }
}

fn tasks(report: &Report) -> Markup {
    html! {
        h2 id="next" { "Do next" }
        @if report.tasks.is_empty() {
            p { (nothing_to_do(report)) }
        } @else {
            div class="wide" { table class="stack" {
                thead { tr { th { "Who" } th { "What" } th { "Because" } th { "Do this" } th { "Since" } th { "Due" } } }
                tbody { @for task in &report.tasks { (task_row(task, report.made_at)) } }
            } }
            @if report.more_tasks > 0 { p class="soft" { "and " (thousands(report.more_tasks)) " more; the tables below have them." } }
        }
    }
}

fn nothing_to_do(report: &Report) -> String {
    let read = report.ledgers.iter().map(|ledger| ledger.read_at).min();
    let read = read.map_or_else(unknown, |at| ago(at, report.made_at));
    if report.unreadable.is_empty() {
        format!(
            "Nothing needs you. {} images, read {read}.",
            thousands(report.figures.images)
        )
    } else {
        format!(
            "Nothing that is known needs you, and some of the data could not be read. {} images, read {read}.",
            thousands(report.figures.images)
        )
    }
}

fn task_row(task: &Task, now: Timestamp) -> Markup {
    html! {
        tr {
            td class="name" data-th="Who" { b { (task.who) } @if let Some(contact) = &task.contact { br; span class="soft" { (contact) } } }
            td class="why" data-th="What" {
                @if let Some(anchor) = &task.anchor { a href=(format!("#{anchor}")) { (task.what) } } @else { (task.what) }
            }
            td class="why" data-th="Because" { (task.because) }
            td class="why" data-th="Do this" { (task.how) }
            td class="nowrap" data-th="Since" { (since(task.since, now)) }
            td class="nowrap" data-th="Due" { (task.due.as_deref().unwrap_or_default()) }
        }
    }
}

fn images_head(report: &Report) -> Markup {
    let mut states: Vec<&str> = report.images.iter().map(|image| words(image.state)).collect();
    states.dedup();
    let mut seen = Vec::new();
    states.retain(|state| {
        !seen.contains(state) && {
            seen.push(state);
            true
        }
    });
    let teams: Vec<&str> = report.teams.iter().map(|team| team.name.as_str()).collect();
    html! {
        h2 id="images" { "Images" }
        p class="soft" { (thousands(report.figures.images)) " images. " span id="shown" {} " Those come first that somebody must act on." }
        form class="filters" id="filters" hidden {
            label { "Team" select id="filter-team" { option value="" { "all" } @for team in teams { option value=(team) { (team) } } } }
            label { "State" select id="filter-state" {
                option value="open" { "all but ALLOWED" } option value="action" { "needs action" } option value="" { "all" }
                @for state in states { option value=(state) { (state) } }
            } }
            label { "Severity" select id="filter-severity" {
                option value="" { "all" }
                @for severity in SEVERITIES.iter().rev().filter(|one| !one.is_empty()) { option value=(severity) { (severity) } }
            } }
            label { "Search" input id="filter-search" type="search" placeholder="name, tag, digest, CVE, package"; }
        }
    }
}

/// A row that can be read without the script. The script makes the same row of the [data](rows::data).
fn image_row(image: &Image, now: Timestamp) -> Markup {
    let state = words(image.state);
    let class = format!("state s-{}", state.to_ascii_lowercase().replace(' ', "-"));
    let finding = image.findings.first();
    html! {
        tr id=(image.anchor()) {
            td class=(class) { (state) }
            td class="name" {
                (image.name())
                @if !image.tags.is_empty() { br; span class="mono soft" { (image.short().trim_start_matches("sha256:")) } }
            }
            td class="nowrap" data-th="Finding" {
                @if let Some(finding) = finding { (finding_name(finding)) } @else if image.counts.is_none() { "unknown" } @else { "none" }
                @if let Some(finding) = finding { br; span class="soft" { (finding.severity) @if let Some(package) = &finding.package { " in " (package) } } }
            }
            td class="name" data-th="Fix" { (fix(image)) }
            td class="why" data-th="Why" {
                (image.reason)
                @if image.overdue == Some(true) { b { " It has waited too long." } }
                @if !image.asked_for_by.is_empty() { b { " Asked for since by " (image.asked_for_by.join("; ")) "." } }
            }
            td data-th="Team" { (image.team) }
            td class="nowrap" data-th="Since" {
                (since(image.since, now))
                @if let Some(until) = image.until { br; span class="soft" { "until " (moment(until)) } }
            }
        }
    }
}

fn finding_name(finding: &Finding) -> Markup {
    html! {
        @if let Some(url) = &finding.url { a href=(url) rel="noreferrer noopener" { (finding.id) } } @else { (finding.id) }
    }
}

fn left_out_note(left_out: usize) -> Markup {
    html! {
        @if left_out > 0 {
            p class="bar" { (thousands(left_out as u64)) " more images are left out here, so that a browser can show the page. `ecr-guard report --csv FILE` has all of them." }
        }
    }
}

fn exceptions(all: &[Exception]) -> Markup {
    html! {
        h2 id="exceptions" { "Exceptions" }
        @if all.is_empty() { p { "The policy has none, as far as it is known." } } @else {
            div class="wide" { table class="sorts stack" {
                thead { tr { th { "Vulnerability" } th { "Repositories" } th { "Owner" } th { "Reason" } th { "Ticket" } th { "Last day" } th class="num" { "Images" } } }
                tbody { @for one in all.iter().take(MAX_OTHERS) { (exception(one)) } }
            } }
            (more(all.len()))
        }
    }
}

fn exception(one: &Exception) -> Markup {
    let left = match one.days_left {
        days if days < 0 => "ended".to_owned(),
        0 => "today".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    };
    html! {
        tr {
            td class="name" data-v=(one.vulnerability) { (one.vulnerability) @if let Some(package) = &one.package { " in " (package) } br; span class="soft" { (one.name) } }
            td class="name" data-th="Repositories" { (one.repositories.join(", ")) }
            td class="name" data-th="Owner" { (one.owner) }
            td class="why" data-th="Reason" { (one.reason) }
            td data-th="Ticket" { (one.ticket.as_deref().unwrap_or_default()) }
            td class="nowrap" data-th="Last day" data-v=(one.last_day) { (one.last_day) br; @if one.days_left <= SOON_DAYS { b { (left) } } @else { span class="soft" { (left) } } }
            td class="num" data-th="Images" data-v=(one.images.map(|number| number.to_string()).unwrap_or_default()) {
                @match one.images { Some(0) => "0: remove it", Some(number) => (thousands(number)), None => "unknown" }
            }
        }
    }
}

fn teams(report: &Report) -> Markup {
    let states = ["Blocked", "BlockDeferred", "Review", "Unscannable", "Pending"];
    html! {
        h2 id="teams" { "Teams" }
        p class="soft" { "A team is a route of the policy." }
        div class="wide" { table class="sorts stack" {
            thead { tr { th { "Team" } th { "Contact" } th class="num" { "Repositories" } th class="num" { "Images" } th class="num" { "Need action" }
                @for state in states { th class="num" { (words(state).to_lowercase()) } }
                th { "Oldest" } th class="num" { "Settings off" } } }
            tbody { @for team in report.teams.iter().take(MAX_OTHERS) { tr {
                td class="name" { b { (team.name) } }
                td class="name" data-th="Contact" { (team.contact.as_deref().unwrap_or_default()) }
                (number("Repositories", Some(team.repositories))) (number("Images", Some(team.images))) (number("Need action", Some(team.need_action)))
                @for state in states {
                    (number(words(state), Some(of_team(&team.states, state))))
                }
                td class="nowrap" data-th="Oldest" data-v=(team.oldest.map(|at| at.as_second().to_string()).unwrap_or_default()) { (since(team.oldest, report.made_at)) }
                (number("Settings off", team.drift))
            } } }
        } }
    }
}

/// How many images of a team are in a state; what the scanner does not watch counts as not scanned.
fn of_team(states: &std::collections::BTreeMap<&'static str, u64>, state: &str) -> u64 {
    let of = |state: &str| states.get(state).copied().unwrap_or_default();
    if state == "Unscannable" {
        of(state).saturating_add(of("Stale"))
    } else {
        of(state)
    }
}

fn copies(all: &[Copies]) -> Markup {
    html! {
        h2 id="copies" { "Copies in other regions" }
        @if all.is_empty() { p { "The policy asks for none, as far as it is known." } } @else {
            div class="wide" { table class="sorts stack" {
                thead { tr { th { "From" } th { "To" } th { "Ready" } th class="num" { "Expected" } th class="num" { "Present" } th class="num" { "Late" } th class="num" { "Failed" }
                    th class="num" { "Not pullable" } th class="num" { "Unprotected" } th class="num" { "Unknown" } th class="num" { "Unknown repositories" } } }
                tbody { @for one in all { tr {
                    td { (one.account) " " (one.from) }
                    td data-th="To" { (one.to) }
                    td class=(if one.ready { "state s-allowed" } else { "state s-deferred" }) data-th="Ready" { @if one.ready { "READY" } @else { "NOT READY" } }
                    (number("Expected", Some(one.expected))) (number("Present", Some(one.present))) (number("Late", Some(one.late))) (number("Failed", Some(one.failed)))
                    (number("Not pullable", Some(one.not_pullable))) (number("Unprotected", Some(one.unprotected))) (number("Unknown", Some(one.unknown)))
                    (number("Unknown repositories", Some(one.unknown_repositories)))
                } } }
            } }
        }
    }
}

fn repositories(report: &Report) -> Markup {
    let places = report.registries.len() > 1;
    html! {
        h2 id="repositories" { "Repositories and their size" }
        p class="soft" { "Sizes are sums over images. Layers that images share count for each, so that the bill is lower. “Not pulled” means not for " (UNPULLED_DAYS) " days." }
        div class="wide" { table class="sorts stack" {
            thead { tr { th { "Repository" } @if places { th { "Registry" } } th { "Team" } th class="num" { "Images" } th class="num" { "Size" } th class="num" { "In the archive" } th class="num" { "Without a tag" }
                th class="num" { "Not pulled" } th class="num" { "Lifecycle would delete" } th class="num" { "Settings off" } th { "Opted out" } } }
            tbody { @for one in report.repositories.iter().take(MAX_OTHERS) { tr {
                td class="name" { (one.name) }
                @if places { td data-th="Registry" { (one.account) " " (one.region) } }
                td data-th="Team" { (one.team) }
                (number("Images", one.images)) (bytes("Size", one.bytes)) (bytes("In the archive", one.archived_bytes))
                (part("Without a tag", one.untagged, true)) (part("Not pulled", one.unpulled, true)) (part("Lifecycle would delete", one.surplus, false))
                (number("Settings off", one.drift))
                td data-th="Opted out" { (one.opt_out.as_deref().unwrap_or_default()) }
            } } }
        } }
        (more(report.repositories.len()))
    }
}

/// The last alert about each image, the newest first.
fn alerts(report: &Report) -> Markup {
    let mut all: Vec<(Timestamp, &Alert, &Image)> = Vec::new();
    for image in &report.images {
        let sent = image.alert.as_ref().and_then(|alert| Some((alert.sent_at?, alert)));
        all.extend(sent.map(|(at, alert)| (at, alert, image)));
    }
    // Images of one time stay in the order of the report.
    all.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let number = all.len();
    html! {
        h2 id="alerts" { "Alerts" }
        @if all.is_empty() { p { "None about these images, as far as it is known." } } @else {
            p class="soft" { "The last one about each image. Its text is in the topic of the team." }
            div class="wide" { table class="sorts stack" {
                thead { tr { th { "Time" } th { "Kind" } th { "Image" } th { "Team" } } }
                tbody { @for (at, alert, image) in all.iter().take(MAX_ALERTS) { tr {
                    td class="nowrap" data-v=(at.as_second()) { (moment(*at)) }
                    td class="nowrap" data-th="Kind" { (alert.kind) }
                    td class="name" data-th="Image" { a href=(format!("#{}", image.anchor())) { (image.name()) } }
                    td data-th="Team" { (image.team) }
                } } }
            } }
            @if number > MAX_ALERTS { p class="soft" { "and " (thousands(number.saturating_sub(MAX_ALERTS) as u64)) " older ones; the rows of the images have them." } }
        }
    }
}

fn more(all: usize) -> Markup {
    html! { @if all > MAX_OTHERS { p class="bar" { (thousands(all.saturating_sub(MAX_OTHERS) as u64)) " more are left out here. `ecr-guard report --json FILE` has all of them." } } }
}

fn about(report: &Report) -> Markup {
    html! {
        h2 id="data" { "Data" }
        div class="wide" { table class="stack" {
            thead { tr { th { "Of" } th { "Time" } th { "Trouble" } } }
            tbody { @for one in &report.freshness { tr {
                td class="name" { (one.what) }
                td class="nowrap" data-th="Time" { @if let Some(at) = one.at { (moment(at)) ", " (ago(at, report.made_at)) } @else { "never" } }
                td class="why" data-th="Trouble" { (one.trouble.as_deref().unwrap_or_default()) }
            } } }
        } }
        @for ledger in &report.ledgers {
            p class="soft" { (of_ledger(ledger)) ": policy " span class="mono" { (ledger.policy.as_deref().unwrap_or("unknown")) } }
            @if let Some(document) = &ledger.document { details { summary { "The policy, with its defaults" } pre class="mono" { (document) } } }
        }
        @if !report.unreadable.is_empty() { h3 { "Could not be read" } ul { @for gap in report.unreadable.iter().take(100) { li { (gap) } }
            @if report.unreadable.len() > 100 { li { "and " (report.unreadable.len().saturating_sub(100)) " more" } } } }
        h2 { "Words" }
        dl {
            dt { "BLOCKED" } dd { "It must not be deployed. With the method `archive` it cannot be pulled." }
            dt { "DEFERRED" } dd { "It should be blocked, and a rule defers the block: it can still be deployed. The reason names the rule." }
            dt { "REVIEW" } dd { "A person decides before it is deployed." }
            dt { "NOT SCANNED" } dd { "Nobody knows whether it is safe. It can be pulled." }
            dt { "PENDING" } dd { "There is no result of a scan yet." }
            dt { "UNKNOWN" } dd { "Nobody has evaluated it yet." }
            dt { "Findings" } dd { "Those at or above review; at most " (MAX_FINDINGS) " of an image." }
        }
        p class="soft" { "ecr-guard " (report.version) ". Nothing on this page comes from elsewhere, and it sends nothing." }
    }
}

/// A ledger by its file and its table, or by its table alone.
fn of_ledger(ledger: &Ledger) -> String {
    let table = format!("table {} in {}", ledger.table, ledger.region);
    if ledger.name.starts_with("table ") {
        table
    } else {
        format!("{}, {table}", ledger.name)
    }
}

fn number(name: &str, number: Option<u64>) -> Markup {
    let plain = number.map(|number| number.to_string()).unwrap_or_default();
    html! { td class="num" data-th=(name) data-v=(plain) { (number.map_or_else(unknown, thousands)) } }
}

fn bytes(name: &str, bytes: Option<u64>) -> Markup {
    let plain = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    html! { td class="num" data-th=(name) data-v=(plain) { (bytes.map_or_else(unknown, size)) } }
}

/// `is_unknown`: that there is none says that it is not known, and not that there is no rule.
fn part(name: &str, part: Option<Part>, is_unknown: bool) -> Markup {
    let plain = part.map(|part| part.bytes.to_string()).unwrap_or_default();
    html! {
        td class="num" data-th=(name) data-v=(plain) {
            @match part {
                Some(part) if part.images == 0 => "0",
                Some(part) => { (thousands(part.images)) ", " (size(part.bytes)) }
                None if is_unknown => "unknown",
                None => "–",
            }
        }
    }
}

fn since(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @if let Some(at) = at { (span(now.duration_since(at).max(SignedDuration::ZERO))) br; span class="soft" { (guard_core::calendar::date(at)) } }
    }
}
