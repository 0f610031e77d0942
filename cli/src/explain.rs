//! `explain`: what ecr-guard knows of an image, why it is in its state, and what happens next.

use std::{collections::BTreeSet, io::Write};

use clap::Args;
use guard_core::{
    decide::{Due, steps_for},
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, RepositoryName, Tag},
    image::{ImageStatus, ListedImage},
    ledger::{AlertRecord, RecordedFinding, Row},
    notice::AlertKind,
    policy::BlockMethod,
    predecessor::replaced_by,
    state::State,
    text,
    uses::{GRACE, ImageReference, Uses},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    OK, Output, UNUSABLE, World,
    in_force::{other_policies, policy_in_force},
    judged::{Judge, Judged, Outcome, PolicyText, rule},
    known::{ImageId, Known},
    ledgers::{Extent, LedgerArguments, NotRead},
    plan::due,
    table::{ago, count, moment, name},
};

/// The arguments of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// Leave out what the registry lists.
    #[arg(long)]
    pub ledger_only: bool,
    /// The image: its full URI, `repository:tag`, `repository@sha256:…`, or a digest alone.
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// The most findings that are described.
const FINDINGS: usize = 10;

/// The most names in a hint.
const HINTS: usize = 5;

/// How long the registry takes to bring an image back from the archive (user guide of ECR, "Archiving images").
const RESTORE: SignedDuration = SignedDuration::from_mins(20);

/// An image, as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    /// Account and region, where the whole URI is given.
    place: Option<RepositoryKey>,
    repository: Option<RepositoryName>,
    image: ImageRef,
}

fn asked(text: &str) -> Result<Asked, NotRead> {
    if let Ok(reference) = text.parse::<ImageReference>() {
        return Ok(Asked {
            place: Some(RepositoryKey {
                account: reference.account,
                region: reference.region,
                repository: reference.repository.clone(),
            }),
            repository: Some(reference.repository),
            image: reference.image,
        });
    }
    let bad = |why: &dyn std::fmt::Display| {
        let text = text::line(text, 200);
        NotRead::new(format!(
            "`{text}` names no image: {why}. Name it as repository:tag, repository@sha256:…, by its full URI, or by its digest."
        ))
    };
    if text.starts_with("sha256:") {
        let digest: Digest = text.parse().map_err(|error| bad(&error))?;
        return Ok(Asked {
            place: None,
            repository: None,
            image: ImageRef::Digest(digest),
        });
    }
    let (repository, image) = match text.split_once('@') {
        // A tag before the digest says nothing more.
        Some((name, digest)) => {
            let name = name.split_once(':').map_or(name, |(name, _)| name);
            (name, ImageRef::Digest(digest.parse().map_err(|error| bad(&error))?))
        }
        None => {
            let (name, tag) = text
                .rsplit_once(':')
                .ok_or_else(|| bad(&"it has neither a tag nor a digest"))?;
            (name, ImageRef::Tag(tag.parse().map_err(|error| bad(&error))?))
        }
    };
    Ok(Asked {
        place: None,
        repository: Some(repository.parse().map_err(|error| bad(&error))?),
        image,
    })
}

/// Carries it out.
///
/// # Errors
/// A ledger cannot be read, or what was given names no image.
pub fn explain(
    given: &ExplainArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let asked = asked(&given.image)?;
    let account = asked.place.as_ref().map(|key| key.account.clone());
    let extent = Extent {
        repository: asked.repository.clone().map(|name| (account, name)),
        registries: !given.ledger_only,
    };
    let mut explained = Vec::new();
    let mut hints = BTreeSet::new();
    for snapshot in given.ledger.open(&extent, world, trouble)? {
        let mut known = Known::read(snapshot)?;
        let ids = find(&mut known, &asked, &mut hints)?;
        if ids.is_empty() {
            continue;
        }
        let now = known.snapshot.header.taken_at;
        let policy = policy_in_force(&known, given.ledger.policy_text(world)?.as_deref(), now)?;
        for id in ids {
            explained.extend(about(&mut known, id, &policy, now)?);
        }
    }
    if explained.is_empty() {
        writeln!(
            trouble,
            "The ledger knows no image `{}`.",
            text::line(&given.image, 300)
        )?;
        for hint in nearest(&given.image, &hints) {
            writeln!(trouble, "Did you mean {hint}?")?;
        }
        return Ok(UNUSABLE);
    }
    match output {
        Output::Json => {
            let images: Vec<_> = explained.iter().map(Explained::json).collect();
            writeln!(
                out,
                "{:#}",
                json!({"schema": "ecr-guard/explanation/v1", "images": images})
            )?;
        }
        Output::Text => {
            let texts: Vec<String> = explained.iter().map(Explained::text).collect();
            write!(out, "{}", texts.join("\n"))?;
        }
    }
    Ok(OK)
}

/// The matching images: the registry knows best which image has a tag.
fn find(known: &mut Known, asked: &Asked, hints: &mut BTreeSet<String>) -> Result<Vec<ImageId>, NotRead> {
    let mut found = Vec::new();
    let keys: Vec<RepositoryKey> = known.repositories().to_vec();
    for key in keys {
        let is_elsewhere = asked.place.as_ref().is_some_and(|place| *place != key);
        if is_elsewhere || asked.repository.as_ref().is_some_and(|name| *name != key.repository) {
            hints.insert(key.repository.to_string());
            continue;
        }
        match &asked.image {
            ImageRef::Digest(digest) => found.extend(known.id(&key.image(digest))),
            ImageRef::Tag(tag) => found.extend(tagged(known, &key, tag, hints)?),
        }
    }
    Ok(found)
}

fn tagged(
    known: &mut Known,
    key: &RepositoryKey,
    tag: &Tag,
    hints: &mut BTreeSet<String>,
) -> Result<Option<ImageId>, NotRead> {
    let mut by_row = None;
    for id in known.images_of(key) {
        if let Some(listed) = known.listed(id)? {
            if listed.image.tags.contains(tag) {
                return Ok(Some(id));
            }
            hints.extend(listed.image.tags.iter().map(|tag| format!("{}:{tag}", key.repository)));
        }
        if let Some(row) = known.row(id)? {
            // A quarantine has taken it, and people still call the image by it.
            if row.tags.contains(tag) || row.taken_tags().contains(tag) {
                by_row = by_row.or(Some(id));
            }
            hints.extend(row.tags.iter().map(|tag| format!("{}:{tag}", key.repository)));
        }
    }
    Ok(by_row)
}

/// The names that are most like this one.
fn nearest(text: &str, hints: &BTreeSet<String>) -> Vec<String> {
    let name = text.rsplit_once(".amazonaws.com/").map_or(text, |(_, name)| name);
    let repository = name.split([':', '@']).next().unwrap_or(name);
    let near = |hint: &String| strsim::jaro_winkler(name, hint).max(strsim::jaro_winkler(repository, hint));
    let mut near: Vec<(f64, &String)> = hints
        .iter()
        .map(|hint| (near(hint), hint))
        .filter(|(near, _)| *near > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(HINTS).map(|(_, hint)| hint.clone()).collect()
}

/// All that is said of an image.
#[derive(Debug)]
struct Explained {
    key: ImageKey,
    row: Option<Row>,
    listed: Option<ListedImage>,
    rule: Option<String>,
    judged: Judged,
    due: Option<Due>,
    uses: Vec<String>,
    uses_unknown: Option<String>,
    replaces: Option<String>,
    next: Vec<String>,
    refused: Vec<String>,
    now: Timestamp,
}

fn about(known: &mut Known, id: ImageId, policy: &PolicyText, now: Timestamp) -> Result<Option<Explained>, NotRead> {
    let Some(key) = known.key(id) else { return Ok(None) };
    let row = known.row(id)?;
    let listed = known.listed(id)?;
    let others = other_policies(known, now);
    let others: Vec<&PolicyText> = others.iter().collect();
    let judged = Judge::new(policy, &others, now).image(known, id)?;
    let due = due(known, &RepositoryKey::of(&key), policy, now)?;
    let (uses, uses_unknown) = used_by(known, &key, row.as_ref(), policy, now)?;
    let replaces = replaced(known, &key, listed.as_ref(), policy, now)?;
    let refused = known.refused.iter().filter(|refused| refused.image == key);
    let refused = refused.map(|refused| text::line(&refused.who, 200)).collect();
    let mut explained = Explained {
        rule: row.as_ref().and_then(|row| rule(row, judged.hold)),
        due: due.and_then(|due| due.get(&key.digest).copied()),
        key,
        row,
        listed,
        judged,
        uses,
        uses_unknown,
        replaces,
        next: Vec::new(),
        refused,
        now,
    };
    explained.next = explained.what_happens_next(policy);
    Ok(Some(explained))
}

/// The image that this one replaces, by what was pulled.
fn replaced(
    known: &mut Known,
    key: &ImageKey,
    listed: Option<&ListedImage>,
    policy: &PolicyText,
    now: Timestamp,
) -> Result<Option<String>, NotRead> {
    let Some(listed) = listed else { return Ok(None) };
    let pulled = known.pulled(&RepositoryKey::of(key))?;
    let since = now - policy.policy.block(&key.repository).in_use(false);
    Ok(replaced_by(&listed.image, &pulled, since).map(|image| {
        let pulled = image
            .last_pulled_at
            .map_or(String::new(), |at| format!(", last pulled {}", moment(at)));
        format!("{}{pulled}", name(key.repository.as_str(), &image.tags, &image.digest))
    }))
}

/// The workloads that use an image or what is pulled with it; or why that is not known.
fn used_by(
    known: &mut Known,
    key: &ImageKey,
    row: Option<&Row>,
    policy: &PolicyText,
    now: Timestamp,
) -> Result<(Vec<String>, Option<String>), NotRead> {
    let related = row
        .into_iter()
        .flat_map(|row| row.indexes.iter().chain(row.children.iter().map(|child| &child.digest)));
    let related = related.map(|digest| ImageKey {
        digest: digest.clone(),
        ..key.clone()
    });
    let images: Vec<ImageKey> = std::iter::once(key.clone()).chain(related).collect();
    let mut rows = Vec::new();
    for id in images.iter().filter_map(|key| known.id(key)).collect::<Vec<_>>() {
        rows.extend(known.used(id)?);
    }
    let Some(rules) = &policy.policy.workloads else {
        return Ok((
            Vec::new(),
            Some("the policy keeps no index of workloads (`block.workloads`)".to_owned()),
        ));
    };
    let state = known.index_state(&key.account, &key.region);
    Ok(match Uses::of(rules, &images, &rows, state, now) {
        Uses::By(used) => {
            let gone = used.gone_at.map(|at| {
                format!(
                    " (gone since {}; it counts for {} more hours)",
                    moment(at),
                    hours_left(at, now)
                )
            });
            let words = used
                .workloads
                .iter()
                .map(|workload| format!("{}{}", workload.words(key), gone.clone().unwrap_or_default()));
            (words.collect(), None)
        }
        Uses::Nobody => (Vec::new(), None),
        Uses::Unknown(why) => (Vec::new(), Some(why)),
    })
}

fn hours_left(at: Timestamp, now: Timestamp) -> i64 {
    (GRACE - now.duration_since(at)).as_hours().max(0)
}

impl Explained {
    /// The changes that happen by themselves, and when.
    fn what_happens_next(&self, policy: &PolicyText) -> Vec<String> {
        let mut next = Vec::new();
        let later = |at: &Timestamp| *at > self.now;
        let Some(row) = &self.row else {
            next.push("The next sweep reconciles it for the first time.".to_owned());
            return next;
        };
        if let Some(due) = self.due {
            next.push(format!("The next sweep reconciles it: {}", due.meaning()));
        }
        let is_other = self.judged.outcome != Outcome::State(row.state);
        match &self.judged.outcome {
            Outcome::Gone => next.push("It is not in the registry any more: the next sweep closes its row.".to_owned()),
            Outcome::State(state) if is_other => next.push(format!(
                "By what is known now it becomes {}: {}",
                state.as_str(),
                self.judged.reason
            )),
            Outcome::Unknown(why) if is_other => next.push(format!("Its next state is not known: {why}.")),
            _ => {}
        }
        if let Some(release) = row.release.as_ref().filter(|release| release.is_in_force(self.now)) {
            next.push(format!(
                "Its release ends at {}: the next sweep after that blocks it again.",
                moment(release.until)
            ));
        }
        if let Some(at) = row.limited_until.filter(later) {
            next.push(format!("The hourly limit of blocks holds it until {}.", moment(at)));
        }
        if let Some(at) = row.refused_until.filter(later) {
            next.push(format!(
                "The registry has refused; it is tried again after {}.",
                moment(at)
            ));
        }
        let undone = row.block.as_ref().and_then(|block| block.undone_at);
        if let Some(at) = undone.filter(|at| later(&(*at + RESTORE))) {
            next.push(format!("It can be pulled again by {}.", moment(at + RESTORE)));
        }
        let grace = row
            .available_since
            .and_then(|at| at.checked_add(policy.policy.scan.grace).ok());
        if let Some(at) = grace.filter(|at| row.state == State::Pending && later(at)) {
            next.push(format!(
                "If no scan result comes, an alert follows after {}.",
                moment(at)
            ));
        }
        for exception in &policy.policy.exceptions {
            let covers = row
                .excepted
                .iter()
                .any(|finding| finding.exception.as_deref() == Some(exception.name.as_str()));
            if covers {
                next.push(format!(
                    "{} of {} ends after {}: then its findings decide again.",
                    exception.name,
                    text::line(&exception.owner, 60),
                    exception.last_day()
                ));
            }
        }
        let is_pending = |alert: &AlertRecord| alert.sent_at.is_none() && !alert.no_news;
        if row.closed_at.is_none() && row.alert.as_ref().is_some_and(is_pending) {
            next.push("Its alert is pending: the next sweep sends it.".to_owned());
        }
        if let Some(at) = row.closed_at {
            next.push(format!(
                "It was deleted on {}; its row is kept for 90 days.",
                moment(at)
            ));
        }
        if next.is_empty() {
            next.push(
                "Nothing changes by itself, as long as the scanner, the policy and its use stay as they are."
                    .to_owned(),
            );
        }
        next
    }

    fn json(&self) -> serde_json::Value {
        let steps = self.row.as_ref().map(steps_for).unwrap_or_default();
        let steps: Vec<_> = steps
            .iter()
            .map(|step| json!({"text": step.text, "command": step.command}))
            .collect();
        json!({"image": self.key, "row": self.row, "listed": self.listed, "rule": self.rule, "would_be": self.judged.outcome.word(),
            "would_be_reason": self.judged.reason, "hold": self.judged.hold, "due": self.due.map(Due::as_str), "used_by": self.uses,
            "use_unknown": self.uses_unknown, "replaces": self.replaces, "could_not_pull": self.refused, "next": self.next, "ways_out": steps})
    }

    fn text(&self) -> String {
        let mut said = String::new();
        let mut line = |title: &str, what: &str| said.push_str(&format!("{:<12}{what}\n", format!("{title}:")));
        line("Image", &self.key.to_string());
        line("Registry", &format!("{} in {}", self.key.account, self.key.region));
        let tags = self
            .listed
            .as_ref()
            .map(|listed| &listed.image.tags)
            .or(self.row.as_ref().map(|row| &row.tags));
        let tags: Vec<String> = tags.into_iter().flatten().map(ToString::to_string).collect();
        line(
            "Tags",
            &if tags.is_empty() {
                "none".to_owned()
            } else {
                tags.join(", ")
            },
        );
        if let Some(listed) = &self.listed {
            line("In ECR", &in_ecr(listed));
        }
        let Some(row) = &self.row else {
            line("State", "unknown: the ledger has no row of it yet");
            line("Next", &self.next.join(" "));
            return said;
        };
        line(
            "State",
            &format!(
                "{} since {}, {}",
                row.state.as_str(),
                moment(row.since),
                ago(row.since, self.now)
            ),
        );
        line("Why", &text::line(&row.reason, 1000));
        if let Some(rule) = &self.rule {
            line("Rule", &format!("`{}` of the policy", text::line(rule, 80)));
        }
        if let Some(scan) = &row.scan {
            let mode = serde_json::to_value(scan.mode).ok();
            let mode = mode
                .as_ref()
                .and_then(|mode| mode.as_str())
                .unwrap_or("unknown")
                .to_owned();
            let when = scan.completed_at.map_or("without a time".to_owned(), moment);
            line("Scan", &format!("{mode}, completed {when}"));
        }
        for (name, what) in self.lists(row) {
            line(name, &what);
        }
        line("Next", &self.next.join("\n            "));
        for step in steps_for(row) {
            line("Way out", &step.text);
            if let Some(command) = &step.command {
                line("", command);
            }
        }
        said.replace("\n:           ", "\n            ")
    }

    /// Findings, exceptions, uses, relatives, block and alert.
    fn lists(&self, row: &Row) -> Vec<(&'static str, String)> {
        let mut lists = Vec::new();
        for finding in row.findings.iter().take(FINDINGS) {
            lists.push(("Finding", describe(finding)));
        }
        let more = (row.findings.len().saturating_sub(FINDINGS) as u64).saturating_add(row.omitted_findings);
        if more > 0 {
            lists.push(("Finding", format!("and {more} more")));
        }
        for finding in row.excepted.iter().take(FINDINGS) {
            let by = finding.exception.as_deref().unwrap_or("an exception");
            lists.push(("Excepted", format!("{} by {}", describe(finding), text::line(by, 80))));
        }
        match &self.uses_unknown {
            Some(why) => lists.push(("Used by", format!("not known: {}", text::line(why, 300)))),
            None if self.uses.is_empty() => lists.push(("Used by", "no workload that the index knows of".to_owned())),
            None => lists.extend(self.uses.iter().take(FINDINGS).map(|used| ("Used by", used.clone()))),
        }
        lists.extend(
            self.refused
                .iter()
                .map(|who| ("Not pulled", format!("{who} could not pull it"))),
        );
        if !row.indexes.is_empty() {
            let names: Vec<String> = row
                .indexes
                .iter()
                .take(3)
                .map(|digest| digest.short().to_owned())
                .collect();
            lists.push((
                "Index",
                format!(
                    "{} references it: {}",
                    count(row.indexes.len() as u64, "index"),
                    names.join(", ")
                ),
            ));
        }
        if !row.children.is_empty() {
            let names = row.children.iter().map(|child| {
                child
                    .platform
                    .clone()
                    .unwrap_or_else(|| child.digest.short().to_owned())
            });
            let names: Vec<String> = names.take(8).map(|name| text::line(&name, 60)).collect();
            lists.push(("References", names.join(", ")));
        }
        lists.extend(self.replaces.iter().map(|image| ("Replaces", image.clone())));
        if let Some(source) = &row.source {
            lists.push(("Copy of", format!("the image of the same digest in {}", source.region)));
        }
        if let Some(block) = &row.block {
            lists.push(("Block", blocked(block, &self.key)));
        }
        if let Some(release) = &row.release {
            let words = if release.is_in_force(self.now) {
                release.because()
            } else {
                release.has_ended()
            };
            lists.push(("Release", words));
        }
        if let Some(alert) = &row.alert {
            let kind: AlertKind = alert.kind;
            let when = match (alert.sent_at, alert.no_news) {
                (_, true) => "not sent: people knew all of it from another image".to_owned(),
                (Some(at), false) => format!("sent {}", moment(at)),
                (None, false) if row.closed_at.is_some() => "not sent: the image was deleted before".to_owned(),
                (None, false) => "not sent yet".to_owned(),
            };
            lists.push((
                "Alert",
                format!(
                    "{} {when} (id {}). The ledger keeps only the last alert of an image.",
                    kind.as_str(),
                    text::line(&alert.id, 80)
                ),
            ));
        }
        lists
    }
}

fn in_ecr(listed: &ListedImage) -> String {
    let image = &listed.image;
    let status = match &image.status {
        ImageStatus::Active => "can be pulled".to_owned(),
        ImageStatus::Archived => "in the archive, cannot be pulled".to_owned(),
        ImageStatus::Activating => "on the way back from the archive, cannot be pulled yet".to_owned(),
        ImageStatus::Other(word) => format!("status `{}`", text::line(word, 40)),
    };
    let pushed = image
        .pushed_at
        .map_or(String::new(), |at| format!(", pushed {}", moment(at)));
    let pulled = match image.last_pulled_at {
        Some(at) => format!(", last pulled {}", moment(at)),
        None => ", no pull is recorded".to_owned(),
    };
    format!("{status}{pushed}{pulled}")
}

fn describe(finding: &RecordedFinding) -> String {
    let mut words = format!("{} {}", text::line(&finding.id, 60), finding.severity);
    if let Some(package) = &finding.package {
        words.push_str(&format!(" in {}", text::line(package, 60)));
    }
    if let Some(installed) = &finding.installed {
        words.push_str(&format!(" {}", text::line(installed, 40)));
    }
    match &finding.fixed_in {
        Some(version) => words.push_str(&format!(", fixed in {}", text::line(version, 40))),
        None => words.push_str(", no fixed version is named"),
    }
    if finding.stands_for > 1 {
        words.push_str(&format!(" ({} findings)", finding.stands_for));
    }
    format!("{words} (`{}`)", text::line(&finding.rule, 80))
}

/// How it is blocked, and how that is undone.
fn blocked(block: &guard_core::ledger::Block, key: &ImageKey) -> String {
    let how = match block.method {
        BlockMethod::Archive => "archived".to_owned(),
        BlockMethod::QuarantineTag => {
            let tags: Vec<String> = block.tags.iter().map(ToString::to_string).collect();
            format!("quarantined; its tags were {}", tags.join(", "))
        }
        BlockMethod::Flag => "flagged only: it can still be pulled".to_owned(),
    };
    let state = match (block.confirmed, block.undone_at) {
        (_, Some(at)) => format!(", undone {}", moment(at)),
        (true, None) => String::new(),
        (false, None) => ", not confirmed by the registry yet".to_owned(),
    };
    let undo = match (block.method, block.undone_at) {
        (BlockMethod::Archive | BlockMethod::QuarantineTag, None) => format!(
            " An exception in the policy, or an image without what decides, undoes it; by hand see docs/blocked-image.md ({}).",
            key.digest.short()
        ),
        _ => String::new(),
    };
    format!("{how} on {}{state}.{undo}", moment(block.at))
}
