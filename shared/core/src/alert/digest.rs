//! The daily digest: a list of what is to be done, then what is worth knowing.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

use crate::{
    alert::{
        contact::Contact,
        exception::ExceptionNotice,
        model::{About, Alert, HELD, Item, List, Message, Sms, details},
        registry::DIGEST,
    },
    calendar::date_of,
    digest::{Digest, Drift, Ending, Named, NotReady, OptedOut, Outdated, Size, Unreadable, Unrouted, Worst},
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

/// How many things to do a chat shows.
const LISTED_IN_CHAT: usize = 10;

/// The members of the JSON form that only a digest has.
#[derive(Serialize)]
struct Details<'a> {
    figures: Figures<'a>,
}

#[derive(Serialize)]
struct Figures<'a> {
    day: Date,
    routes: &'a [String],
    repositories: u64,
    unknown_repositories: u64,
    outdated_repositories: &'a Worst<Outdated>,
    images: u64,
    archived: u64,
    bytes: u64,
    archived_bytes: u64,
    states: &'a BTreeMap<String, u64>,
    new: New,
    blocked: Worst<Named>,
    deferred: Worst<Named>,
    released: Worst<Named>,
    review: Worst<Named>,
    overdue: Worst<Named>,
    unconfirmed: u64,
    not_reached: u64,
    surplus: SurplusFigures<'a>,
    largest: &'a [Size],
    drift: &'a Worst<Drift>,
    opted_out: &'a Worst<OptedOut>,
    unrouted: &'a Worst<Unrouted>,
    unreadable_rows: &'a Worst<Unreadable>,
    replication: Vec<&'a Readiness>,
    replication_not_ready: &'a Worst<NotReady>,
    exceptions_ending: &'a Worst<Ending>,
    exceptions_unused: &'a Worst<ExceptionNotice>,
    registry: &'a [Change],
    signing: bool,
}

#[derive(Serialize)]
struct New {
    yesterday: NewsFigures,
    today: NewsFigures,
}

/// The figures of [`News`], under the words that people read.
#[derive(Serialize)]
struct NewsFigures {
    pushed: u64,
    blocked: u64,
    deferred: u64,
    review: u64,
    released: u64,
    repaired: u64,
}

impl From<News> for NewsFigures {
    fn from(news: News) -> Self {
        let News {
            pushed,
            blocked,
            held: deferred,
            review,
            released,
            repaired,
        } = news;
        Self {
            pushed,
            blocked,
            deferred,
            review,
            released,
            repaired,
        }
    }
}

#[derive(Serialize)]
struct SurplusFigures<'a> {
    #[serde(flatten)]
    all: Surplus,
    repositories: u64,
    worst: &'a [Size],
}

impl Digest {
    /// All forms.
    pub fn message(&self, contact: &Contact) -> Message {
        self.alert(contact).message()
    }

    /// The alert.
    pub fn alert(&self, contact: &Contact) -> Alert {
        let about = About::registry(&self.registry);
        let region = self.registry.region.as_str();
        let is_quiet = self.is_quiet();
        Alert {
            headline: format!("{} - daily digest {region}, {}", self.line(), self.day),
            title: self.title(),
            reason: self.extent(),
            is_lead: true,
            lists: if is_quiet { Vec::new() } else { self.lists() },
            details: details(&Details {
                figures: self.figures(),
            }),
            sms: Sms {
                name: self.registry.account.to_string(),
                causes: vec![self.line()],
                ..Sms::default()
            },
            contact: contact.clone(),
            ..Alert::new(&self.id, DIGEST, "DIGEST", self.time, about)
        }
    }

    /// How many things are to be done.
    fn to_do(&self) -> u64 {
        [
            self.held.total,
            self.released.total,
            self.review.total,
            self.overdue.total,
            self.problems.len() as u64,
            self.ending.total,
            self.unused.total,
            self.drift.total,
            self.not_ready.total,
            self.outdated.total,
            self.unrouted.total,
            self.unreadable.total,
        ]
        .iter()
        .sum()
    }

    /// The most important figures, in a few words.
    fn line(&self) -> String {
        if self.is_quiet() {
            return "all clear".to_owned();
        }
        format!("{} to do, {} blocked", self.to_do(), self.blocked.total)
    }

    fn title(&self) -> String {
        let region = &self.registry.region;
        if self.is_quiet() {
            return format!("All clear in {region} on {}: nothing needs you.", self.day);
        }
        let to_do = counted(self.to_do(), "thing", "things");
        format!(
            "{to_do} to do in {region} on {}, {} blocked.",
            self.day,
            counted(self.blocked.total, "image", "images")
        )
    }

    /// A sentence on what there is.
    fn extent(&self) -> String {
        format!(
            "{} with {} ({}); {} pushed since yesterday.",
            counted(self.repositories, "repository", "repositories"),
            counted(self.images, "image", "images"),
            text::size(self.bytes),
            self.yesterday.and(self.today).pushed,
        )
    }

    fn figures(&self) -> Figures<'_> {
        Figures {
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
                yesterday: self.yesterday.into(),
                today: self.today.into(),
            },
            blocked: shortened(&self.blocked),
            deferred: shortened(&self.held),
            released: shortened(&self.released),
            review: shortened(&self.review),
            overdue: shortened(&self.overdue),
            unconfirmed: self.unconfirmed,
            not_reached: self.not_reached,
            surplus: SurplusFigures {
                all: self.surplus,
                repositories: self.surplus_in.total,
                worst: &self.surplus_in.worst,
            },
            largest: &self.largest.worst,
            drift: &self.drift,
            opted_out: &self.opted_out,
            unrouted: &self.unrouted,
            unreadable_rows: &self.unreadable,
            replication: self.readiness.values().collect(),
            replication_not_ready: &self.not_ready,
            exceptions_ending: &self.ending,
            exceptions_unused: &self.unused,
            registry: self.problems.get(..MAX_PROBLEMS).unwrap_or(&self.problems),
            signing: self.signing,
        }
    }

    /// The parts of the digest. One in which there is nothing is left out.
    fn lists(&self) -> Vec<List> {
        let blocked = worst(format!("BLOCKED: {}", self.blocked.total), &self.blocked, |named| {
            let fix = fix(named);
            let dot = if fix.is_empty() { "" } else { "." };
            Item::with(format!("{}{dot}{fix}", image(named)), case(named))
        });
        let parts = [
            self.things_to_do(),
            self.news(),
            List { in_chat: 5, ..blocked },
            self.copies(),
            self.not_seen(),
            self.opted_out(),
            self.stored(),
        ];
        parts.into_iter().filter(|list| !list.items.is_empty()).collect()
    }

    /// Each thing to do, what is worst first.
    fn things_to_do(&self) -> List {
        let mut items = Vec::new();
        for part in [
            self.images_to_look_at(),
            self.registry_settings(),
            self.exceptions(),
            self.repositories_to_look_at(),
            self.unreadable_rows(),
        ] {
            items.extend(part);
        }
        let more = self.to_do().saturating_sub(items.len() as u64);
        List {
            more,
            is_numbered: true,
            in_chat: LISTED_IN_CHAT,
            ..List::new(format!("TO DO: {}", self.to_do()), items)
        }
    }

    fn images_to_look_at(&self) -> Vec<Item> {
        let lists = [
            (HELD, &self.held),
            ("RELEASED BY A PERSON", &self.released),
            ("SCAN OVERDUE", &self.overdue),
            ("REVIEW", &self.review),
        ];
        let items = lists.into_iter().flat_map(|(word, list)| {
            list.worst.iter().map(move |named| {
                let since = self.for_days(named);
                Item::with(
                    format!("{word}: {}{}{since}{}", image(named), severity(named), fix(named)),
                    case(named),
                )
            })
        });
        items.collect()
    }

    fn registry_settings(&self) -> Vec<Item> {
        let problems = self.problems.iter().take(MAX_PROBLEMS).map(|problem| {
            let text = format!("REGISTRY SETTINGS: {} is wrong.", problem.setting);
            Item::with(text, format!("It is: {}. It should be: {}.", problem.old, problem.new))
        });
        problems.collect()
    }

    fn exceptions(&self) -> Vec<Item> {
        let ending = self.ending.worst.iter().map(|ending| {
            let exception = &ending.exception;
            let word = if ending.ended {
                "EXCEPTION HAS ENDED"
            } else {
                "EXCEPTION ENDS"
            };
            let images = counted(ending.images, "image needs it", "images need it");
            Item::with(
                format!("{word}: {} on {}. {images}.", exception.name, exception.last_day),
                exception.scope(),
            )
            .owned_by(&exception.owner)
        });
        let unused = self.unused.worst.iter().map(|exception| {
            Item::with(
                format!(
                    "EXCEPTION UNUSED: {} until {}. It covers no finding that counts: remove it.",
                    exception.name, exception.last_day
                ),
                exception.scope(),
            )
            .owned_by(&exception.owner)
        });
        ending.chain(unused).collect()
    }

    fn repositories_to_look_at(&self) -> Vec<Item> {
        let drift = self.drift.worst.iter().map(|drift| {
            let settings = counted(drift.settings, "setting", "settings");
            Item::new(format!("SETTINGS WRONG: {}, {settings}.", drift.repository))
        });
        let not_ready = self.not_ready.worst.iter().map(|not_ready| {
            let text = format!(
                "COPY NOT READY: {} -> {}.",
                not_ready.repository, not_ready.readiness.region
            );
            Item::with(text, copies(&not_ready.readiness))
        });
        let outdated = self.outdated.worst.iter().map(|outdated| {
            let day = outdated
                .day
                .map_or_else(|| "not known".to_owned(), |day| day.to_string());
            let text = format!(
                "NOT CHECKED FOR MORE THAN A DAY: {}. Last check: {day}.",
                outdated.repository
            );
            Item::with(text, "Its figures here are those of that day.")
        });
        let unrouted = self.unrouted.worst.iter().map(|unrouted| {
            let value = unrouted.value.as_ref();
            let says = value.map_or_else(|| "no such tag".to_owned(), |value| format!("\"{value}\""));
            Item::new(format!(
                "NO ROUTE: {}. Its tag for the route: {says}.",
                unrouted.repository
            ))
        });
        drift.chain(not_ready).chain(outdated).chain(unrouted).collect()
    }

    fn unreadable_rows(&self) -> Vec<Item> {
        let unreadable = self.unreadable.worst.iter().map(|unreadable| {
            let rows = counted(unreadable.rows, "row", "rows");
            Item::new(format!(
                "ROWS OF THE LEDGER CANNOT BE READ: {}, {rows}.",
                unreadable.repository
            ))
        });
        unreadable.collect()
    }

    /// For how many days an image is in its state.
    fn for_days(&self, named: &Named) -> String {
        let days = date_of(named.case.since)
            .until(self.day)
            .map_or(0, |span| span.get_days());
        match days {
            ..=0 => ", since today.".to_owned(),
            1 => ", for 1 day.".to_owned(),
            days => format!(", for {days} days."),
        }
    }

    fn news(&self) -> List {
        let news = self.yesterday.and(self.today);
        let all = [
            (news.blocked, "newly blocked"),
            (news.held, "newly deferred"),
            (news.review, "newly to review"),
            (news.released, "released"),
            (news.repaired, "repaired in settings"),
        ];
        let known = all.iter().filter(|(number, _)| *number > 0);
        let known: Vec<String> = known.map(|(number, what)| format!("{number} {what}")).collect();
        let items = if known.is_empty() {
            Vec::new()
        } else {
            vec![Item::new(format!("{}.", known.join(", ")))]
        };
        List {
            in_chat: 1,
            ..List::new("SINCE YESTERDAY", items)
        }
    }

    fn copies(&self) -> List {
        let items = self.readiness.values().map(|readiness| {
            let word = if readiness.is_ready() { "ready" } else { "NOT READY" };
            Item::new(format!("{} is {word}: {}.", readiness.region, copies(readiness)))
        });
        List {
            in_chat: 5,
            ..List::new("COPIES IN OTHER REGIONS", items.collect())
        }
    }

    /// Repositories and images of which nothing is known yet.
    fn not_seen(&self) -> List {
        let unknown = self.unknown.saturating_sub(self.outdated.total);
        let mut items = Vec::new();
        if unknown > 0 {
            let of = counted(self.repositories, "repository", "repositories");
            items.push(Item::new(format!("{unknown} of {of}: no sweep has checked them yet.")));
        }
        if self.not_reached > 0 {
            let images = counted(self.not_reached, "image", "images");
            items.push(Item::new(format!(
                "{images}: calls to AWS failed. The next sweep tries again."
            )));
        }
        if self.unconfirmed > 0 {
            let images = counted(self.unconfirmed, "allowed image", "allowed images");
            items.push(Item::new(format!(
                "{images}: the scanner lists nothing, and does not say when it was done."
            )));
        }
        List {
            in_chat: 3,
            ..List::new("NOT SEEN YET", items)
        }
    }

    fn opted_out(&self) -> List {
        let heading = format!("REPOSITORIES THAT HAVE OPTED OUT: {}", self.opted_out.total);
        worst(heading, &self.opted_out, |one| {
            Item::with(one.repository.to_string(), one.how.clone())
        })
    }

    fn stored(&self) -> List {
        let archived = counted(self.archived, "image is", "images are");
        let mut items = vec![Item::new(format!(
            "{}, {}; {archived} in the archive ({}).",
            counted(self.images, "image", "images"),
            text::size(self.bytes),
            text::size(self.archived_bytes)
        ))];
        let states: Vec<String> = self
            .states
            .iter()
            .map(|(state, number)| format!("{number} {state}"))
            .collect();
        if !states.is_empty() {
            items.push(Item::new(format!("By state: {}.", states.join(", "))));
        }
        if self.surplus.images > 0 {
            let of = |one: &Size| format!("{} ({})", one.repository, counted(one.images, "image", "images"));
            let most: Vec<String> = self.surplus_in.worst.iter().map(of).collect();
            let images = counted(self.surplus.images, "image", "images");
            let text = format!(
                "Lifecycle rules would delete about {images}, {}.",
                text::size(self.surplus.bytes)
            );
            items.push(Item::with(text, format!("Most in {}.", most.join(", "))));
        }
        if !self.signing {
            items.push(Item::new(
                "Signing: ECR signs no image on push, as it has no signing configuration.",
            ));
        }
        List::new("STORED", items)
    }
}

/// The number of copies, and the problems with them.
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
        text.push_str(&format!("; {number} not reconciled for more than a day"));
    }
    text
}

fn shortened(list: &Worst<Named>) -> Worst<Named> {
    let mut list = list.clone();
    for named in &mut list.worst {
        named.case.reason = text::line(&named.case.reason, MAX_CASE);
    }
    list
}

/// A list of the digest, and how many there are that it does not name.
fn worst<T>(heading: String, list: &Worst<T>, show: impl FnMut(&T) -> Item) -> List {
    List {
        more: left(list),
        ..List::new(heading, list.worst.iter().map(show).collect())
    }
}

fn left<T>(list: &Worst<T>) -> u64 {
    list.total.saturating_sub(list.worst.len() as u64)
}

fn severity(named: &Named) -> String {
    named
        .case
        .severity
        .map_or_else(String::new, |severity| format!(", {severity}"))
}

fn case(named: &Named) -> String {
    text::line(&named.case.reason, MAX_CASE)
}

/// The fix of an image, as a sentence; empty where the scanner names no version.
fn fix(named: &Named) -> String {
    let case = &named.case;
    let fixes = case.fixes.join(", ");
    match (case.fixes.is_empty(), case.more_fixes) {
        (true, _) => String::new(),
        (false, 0) => format!(" Fix: {fixes}."),
        (false, more) => format!(" Fix: {fixes} and {more} more."),
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
