//! Lifecycle policies: from rules to the document that ECR takes, and back.
//!
//! Constraints are those of the user guide of ECR ("Lifecycle policy properties", "Examples of lifecycle policies") and of the API
//! reference (`lifecyclePolicyText`: 100 to 30,720 characters) where nothing else is said.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{glob::Glob, marker::UNTAGGED_MARK_PREFIX};

mod surplus;

pub use surplus::{Surplus, SurplusCounter};

/// The most rules of a policy.
const MAX_RULES: usize = 50;
/// The most `*` of a pattern.
const MAX_WILDCARDS: usize = 4;
/// The least and most characters of a document.
const TEXT: (usize, usize) = (100, 30_720);
/// The least days in the archive before an image expires.
pub const MIN_ARCHIVED_DAYS: u32 = 90;
/// How many images a rule keeps that is there to keep all: more than a repository has (service quotas: 100,000).
const KEEP_ALL: u32 = 100_000;

/// A lifecycle policy in ECR's form. Unknown members are errors: what we do not know we cannot compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleDocument {
    /// Its rules, in any order.
    pub rules: Vec<LifecycleRule>,
}

/// A rule of a lifecycle policy, in ECR's form.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LifecycleRule {
    /// The action.
    pub action: LifecycleAction,
    /// A note for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its place: rules are applied from 1 on, and an image that one rule selects by its tags is left to that rule.
    pub rule_priority: u32,
    /// Which images.
    pub selection: LifecycleSelection,
}

/// The action of a rule on an image.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LifecycleAction {
    /// Where it goes; only with `transition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_storage_class: Option<StorageClass>,
    /// Deleted, or moved.
    #[serde(rename = "type")]
    pub kind: ActionKind,
}

/// Deleted, or moved.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Deleted.
    Expire,
    /// Moved to another storage class.
    Transition,
}

/// A storage class.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageClass {
    /// Where images are pulled from.
    Standard,
    /// The archive.
    Archive,
}

/// Which images a rule selects.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(rename = "Selection"))]
pub struct LifecycleSelection {
    /// How many images are kept, or how many days.
    pub count_number: u32,
    /// The kind of count.
    pub count_type: CountType,
    /// `days`, where days are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_unit: Option<CountUnit>,
    /// In which storage class; `standard` if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// Patterns that the tags of an image must all match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_pattern_list: Option<Vec<String>>,
    /// Prefixes that the tags of an image must all have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_prefix_list: Option<Vec<String>>,
    /// With tags, without, or both.
    pub tag_status: TagStatus,
}

/// The kind of count of a rule.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CountType {
    /// Images beyond this number, oldest first.
    ImageCountMoreThan,
    /// Days since the push.
    SinceImagePushed,
    /// Days since the last pull, or since the push if there was none.
    SinceImagePulled,
    /// Days since it came into the archive.
    SinceImageTransitioned,
}

/// The unit of a count.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountUnit {
    /// Days.
    Days,
}

/// Which images, by whether they have tags.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagStatus {
    /// With tags that match.
    Tagged,
    /// Without tags.
    Untagged,
    /// All.
    Any,
}

/// A short form in place of rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypedRules {
    /// Patterns of tags whose images no rule may delete.
    pub protect: Vec<String>,
    /// How many of the newest images are kept, for each prefix and each pattern.
    pub keep_count: Option<u32>,
    /// Prefixes of the tags that `keep_count` is for.
    pub tag_prefixes: Vec<String>,
    /// Patterns of the tags that `keep_count` is for.
    pub tag_patterns: Vec<String>,
    /// After how many days an image without a tag is deleted.
    pub expire_untagged_days: Option<u32>,
    /// After how many days without a pull an image that no other rule selects goes to the archive.
    pub archive_unpulled_days: Option<u32>,
    /// After how many days in the archive an image is deleted.
    pub expire_archived_days: Option<u32>,
}

/// A lifecycle policy that ECR takes: checked, and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    rules: Vec<LifecycleRule>,
    text: String,
}

/// Why it is none: the place in the list of rules (from 0), and the problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct InvalidLifecycle {
    /// Which rule, if it is one.
    pub rule: Option<usize>,
    /// The problem.
    pub problem: String,
}

impl InvalidLifecycle {
    fn whole(problem: impl Into<String>) -> Self {
        Self {
            rule: None,
            problem: problem.into(),
        }
    }

    fn at(rule: usize, problem: impl Into<String>) -> Self {
        Self {
            rule: Some(rule),
            problem: problem.into(),
        }
    }
}

impl TypedRules {
    /// The rules, with priorities from 1 on.
    ///
    /// A list of tags in one rule of ECR means "all of them", so that each prefix and each pattern becomes a rule of its own.
    /// `with_marks`: images that lost their last tag have a tag of ours, and must not be counted.
    pub fn rules(&self, with_marks: bool) -> Vec<LifecycleRule> {
        let mut rules = Vec::new();
        let marks = format!("{UNTAGGED_MARK_PREFIX}*");
        let mut protect: Vec<&str> = self.protect.iter().map(String::as_str).collect();
        let counts_marks = self.archive_unpulled_days.is_some()
            || self
                .counted()
                .any(|pattern| covers(&pattern, &marks) || covers(&marks, &pattern));
        if with_marks && counts_marks && !protect.contains(&marks.as_str()) {
            protect.push(&marks);
        }
        for pattern in protect {
            rules.push(tagged(
                Tags::Pattern(pattern),
                KEEP_ALL,
                format!("Keep all images tagged {pattern}"),
            ));
        }
        if let Some(count) = self.keep_count {
            for prefix in &self.tag_prefixes {
                let description = format!("Keep the newest {count} images with a {prefix} tag");
                rules.push(tagged(Tags::Prefix(prefix), count, description));
            }
            for pattern in &self.tag_patterns {
                let description = format!("Keep the newest {count} images tagged {pattern}");
                rules.push(tagged(Tags::Pattern(pattern), count, description));
            }
        }
        if let Some(days) = self.expire_untagged_days {
            let selection = since(TagStatus::Untagged, CountType::SinceImagePushed, days);
            rules.push(rule(
                selection,
                expire(),
                format!("Expire untagged images {days} days after their push"),
            ));
        }
        if let Some(days) = self.archive_unpulled_days {
            let action = LifecycleAction {
                kind: ActionKind::Transition,
                target_storage_class: Some(StorageClass::Archive),
            };
            let selection = since(TagStatus::Any, CountType::SinceImagePulled, days);
            rules.push(rule(
                selection,
                action,
                format!("Archive images that nobody pulled for {days} days"),
            ));
        }
        if let Some(days) = self.expire_archived_days {
            let selection = LifecycleSelection {
                storage_class: Some(StorageClass::Archive),
                ..since(TagStatus::Any, CountType::SinceImageTransitioned, days)
            };
            rules.push(rule(
                selection,
                expire(),
                format!("Expire images after {days} days in the archive"),
            ));
        }
        for (rule, priority) in rules.iter_mut().zip(1..) {
            rule.rule_priority = priority;
        }
        rules
    }

    /// The patterns of the images that `keep_count` counts.
    fn counted(&self) -> impl Iterator<Item = String> {
        let prefixes = self.tag_prefixes.iter().map(|prefix| format!("{prefix}*"));
        prefixes.chain(self.tag_patterns.iter().cloned())
    }
}

#[derive(Clone, Copy)]
enum Tags<'a> {
    Prefix(&'a str),
    Pattern(&'a str),
}

fn tagged(tags: Tags<'_>, count: u32, description: String) -> LifecycleRule {
    let (prefix, pattern) = match tags {
        Tags::Prefix(prefix) => (Some(vec![prefix.to_owned()]), None),
        Tags::Pattern(pattern) => (None, Some(vec![pattern.to_owned()])),
    };
    let selection = LifecycleSelection {
        count_number: count,
        count_type: CountType::ImageCountMoreThan,
        count_unit: None,
        storage_class: None,
        tag_pattern_list: pattern,
        tag_prefix_list: prefix,
        tag_status: TagStatus::Tagged,
    };
    rule(selection, expire(), description)
}

fn since(tag_status: TagStatus, count_type: CountType, days: u32) -> LifecycleSelection {
    LifecycleSelection {
        count_number: days,
        count_type,
        count_unit: Some(CountUnit::Days),
        storage_class: None,
        tag_pattern_list: None,
        tag_prefix_list: None,
        tag_status,
    }
}

fn rule(selection: LifecycleSelection, action: LifecycleAction, description: String) -> LifecycleRule {
    LifecycleRule {
        action,
        description: Some(description),
        rule_priority: 0,
        selection,
    }
}

fn expire() -> LifecycleAction {
    LifecycleAction {
        kind: ActionKind::Expire,
        target_storage_class: None,
    }
}

impl Lifecycle {
    /// Checks rules and puts them into canonical form: by priority, as compact JSON with sorted members, which is how Terraform's
    /// `jsonencode` writes it.
    ///
    /// # Errors
    /// ECR would refuse them, or one of them could never act.
    pub fn new(mut rules: Vec<LifecycleRule>) -> Result<Self, InvalidLifecycle> {
        if rules.is_empty() {
            return Err(InvalidLifecycle::whole("a lifecycle policy has at least one rule"));
        }
        if rules.len() > MAX_RULES {
            return Err(InvalidLifecycle::whole(format!(
                "a lifecycle policy has at most {MAX_RULES} rules"
            )));
        }
        for (index, rule) in rules.iter().enumerate() {
            check(rule).map_err(|problem| InvalidLifecycle::at(index, problem))?;
        }
        check_together(&rules)?;
        rules.sort_by_key(|rule| rule.rule_priority);
        let document = serde_json::to_value(LifecycleDocument { rules: rules.clone() });
        // Through a `Value`, whose members are sorted.
        let text = document.map(|document| document.to_string()).unwrap_or_default();
        if !(TEXT.0..=TEXT.1).contains(&text.chars().count()) {
            let problem = format!(
                "the document has {} characters; ECR takes {} to {}",
                text.chars().count(),
                TEXT.0,
                TEXT.1
            );
            return Err(InvalidLifecycle::whole(problem));
        }
        Ok(Self { rules, text })
    }

    /// The document, as ECR takes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a document means the same: rules are compared in their order, without descriptions and the gaps between
    /// priorities; a prefix is the pattern that ends in `*`. A document that cannot be read is not the same.
    pub fn means_the_same_as(&self, text: &str) -> bool {
        serde_json::from_str::<LifecycleDocument>(text)
            .is_ok_and(|document| meaning(document.rules) == meaning(self.rules.clone()))
    }

    /// Whether a rule deletes or archives images that lost their last tag, and have a tag of ours instead.
    pub fn counts_marks(&self) -> bool {
        let marks = format!("{UNTAGGED_MARK_PREFIX}*");
        let first = self.rules.iter().find(|rule| {
            class(rule) == StorageClass::Standard
                && match rule.selection.tag_status {
                    TagStatus::Any => true,
                    TagStatus::Untagged => false,
                    TagStatus::Tagged => patterns(rule)
                        .iter()
                        .all(|pattern| covers(pattern, &marks) || covers(&marks, pattern)),
                }
        });
        // Such an image is left to the first rule that selects it, which may be there to keep all.
        first.is_some_and(|rule| {
            rule.selection.count_type != CountType::ImageCountMoreThan || rule.selection.count_number < KEEP_ALL
        })
    }

    /// Whether it archives images that nobody pulls.
    pub fn archives_unpulled(&self) -> bool {
        let pulled = |rule: &LifecycleRule| rule.selection.count_type == CountType::SinceImagePulled;
        self.rules.iter().any(pulled)
    }

    /// The same for copies, which nobody pulls: without what archives what nobody pulls. `None`: nothing is left.
    pub fn without_unpulled(&self) -> Option<Self> {
        let mut rules = self.rules.clone();
        rules.retain(|rule| rule.selection.count_type != CountType::SinceImagePulled);
        Self::new(rules).ok()
    }

    /// Remarks about a policy that ECR takes.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let standard = |rule: &&LifecycleRule| class(rule) == StorageClass::Standard;
        let tagged_or_any = |rule: &LifecycleRule| rule.selection.tag_status != TagStatus::Untagged;
        for rule in self.rules.iter().filter(standard) {
            let priority = rule.rule_priority;
            let keeps_all =
                rule.selection.count_type == CountType::ImageCountMoreThan && rule.selection.count_number >= KEEP_ALL;
            let others = || {
                self.rules
                    .iter()
                    .filter(standard)
                    .filter(|other| other.rule_priority > priority)
            };
            if keeps_all && !others().any(tagged_or_any) {
                remarks.push(format!(
                    "rule {priority} protects nothing: no later rule deletes or archives an image with a tag"
                ));
            }
            remarks.extend(means_and(rule));
            let expires = rule.action.kind == ActionKind::Expire;
            let any = rule.selection.tag_status == TagStatus::Any;
            if any && expires && rule.selection.count_type == CountType::ImageCountMoreThan {
                remarks.push(format!(
                    "rule {priority} counts all images: entries of indexes, attestations and signatures as well, so that a release for two \
                     platforms with provenance is five"
                ));
            }
            let untagged = |other: &LifecycleRule| {
                other.selection.tag_status == TagStatus::Untagged && other.rule_priority < priority
            };
            if any && expires && !self.rules.iter().filter(standard).any(untagged) {
                remarks.push(format!(
                    "rule {priority} is for any image: it deletes images without a tag too, and ECR does not say whether attestations and \
                     signatures are among them"
                ));
            }
            for other in others().filter(|other| keeps_longer(other, rule)) {
                remarks.push(format!(
                    "an image with tags of both rule {priority} ({}) and rule {} ({}) is left to rule {priority}, which keeps it for a shorter \
                     time: give the one that keeps longer the lower number",
                    listed(rule),
                    other.rule_priority,
                    listed(other)
                ));
            }
            if rule.selection.tag_status == TagStatus::Untagged && rule.action.kind == ActionKind::Expire {
                remarks.push(format!(
                    "rule {priority} deletes images without a tag: ECR does not say whether attestations and signatures, which have \
                     none, are among them; check a preview before it is set on a repository that has some"
                ));
            }
        }
        let archives = self.rules.iter().any(|rule| rule.action.kind == ActionKind::Transition);
        let counts = self
            .rules
            .iter()
            .filter(standard)
            .any(|rule| rule.selection.tag_status == TagStatus::Tagged && rule.selection.count_number < KEEP_ALL);
        if archives && counts {
            remarks.push(
                "images that a rule for tags selects are not archived: ECR leaves an image to the first rule whose tags it has"
                    .to_owned(),
            );
        }
        remarks
    }
}

/// The patterns of a rule, for people.
fn listed(rule: &LifecycleRule) -> String {
    patterns(rule).into_iter().collect::<Vec<_>>().join(" and ")
}

/// A list of tags means all of them, where people mean any of them.
fn means_and(rule: &LifecycleRule) -> Option<String> {
    let patterns = patterns(rule);
    (patterns.len() > 1).then(|| {
        format!(
            "rule {} selects only images that have tags like all of these: {}; for any of them, write a rule for each",
            rule.rule_priority,
            patterns.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// Whether a rule for tags keeps images longer than an earlier one for other tags, which decides alone on images that have both.
fn keeps_longer(rule: &LifecycleRule, earlier: &LifecycleRule) -> bool {
    let (later, first) = (&rule.selection, &earlier.selection);
    let tagged = later.tag_status == TagStatus::Tagged && first.tag_status == TagStatus::Tagged;
    let both_expire = rule.action.kind == ActionKind::Expire && earlier.action.kind == ActionKind::Expire;
    tagged && both_expire && later.count_type == first.count_type && later.count_number > first.count_number
}

fn class(rule: &LifecycleRule) -> StorageClass {
    rule.selection.storage_class.unwrap_or(StorageClass::Standard)
}

/// The patterns of a rule, prefixes included, sorted.
fn patterns(rule: &LifecycleRule) -> BTreeSet<String> {
    let selection = &rule.selection;
    let prefixes = selection
        .tag_prefix_list
        .iter()
        .flatten()
        .map(|prefix| format!("{prefix}*"));
    prefixes
        .chain(selection.tag_pattern_list.iter().flatten().cloned())
        .collect()
}

/// Rules without what makes no difference.
fn meaning(mut rules: Vec<LifecycleRule>) -> Vec<LifecycleRule> {
    rules.sort_by_key(|rule| rule.rule_priority);
    for (rule, priority) in rules.iter_mut().zip(1..) {
        let patterns: Vec<String> = patterns(rule).into_iter().collect();
        rule.rule_priority = priority;
        rule.description = None;
        rule.selection.storage_class = Some(class(rule));
        rule.selection.tag_prefix_list = None;
        rule.selection.tag_pattern_list = Some(patterns);
    }
    rules
}

/// The conditions on one rule by itself.
fn check(rule: &LifecycleRule) -> Result<(), String> {
    let selection = &rule.selection;
    if rule.rule_priority == 0 {
        return Err("a priority is 1 or more".to_owned());
    }
    if selection.count_number == 0 {
        return Err("countNumber is 1 or more".to_owned());
    }
    let days = selection.count_type != CountType::ImageCountMoreThan;
    if days != selection.count_unit.is_some() {
        return Err("countUnit is `days` where days are counted, and nowhere else".to_owned());
    }
    let lists = (&selection.tag_prefix_list, &selection.tag_pattern_list);
    match (selection.tag_status, lists) {
        (TagStatus::Tagged, (Some(list), None) | (None, Some(list))) if !list.is_empty() => {
            for pattern in list {
                if pattern.is_empty() {
                    return Err("an empty tag matches nothing".to_owned());
                }
                if pattern.matches('*').count() > MAX_WILDCARDS {
                    return Err(format!("a pattern has at most {MAX_WILDCARDS} `*`"));
                }
                if lists.0.is_some() && pattern.contains('*') {
                    return Err(format!("`{pattern}` is a pattern, and stands in a list of prefixes"));
                }
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
                if !pattern.chars().all(plain) {
                    return Err("a tag has only letters, digits, `.`, `_` and `-`".to_owned());
                }
            }
        }
        (TagStatus::Untagged | TagStatus::Any, (None, None)) => {}
        (TagStatus::Tagged, _) => {
            return Err("a rule for tagged images has a list of prefixes or a list of patterns, not both".to_owned());
        }
        (TagStatus::Untagged | TagStatus::Any, _) => {
            return Err("only a rule for tagged images has a list of tags".to_owned());
        }
    }
    let transition = rule.action.kind == ActionKind::Transition;
    if transition != (rule.action.target_storage_class == Some(StorageClass::Archive))
        || (!transition && rule.action.target_storage_class.is_some())
    {
        return Err("targetStorageClass is `archive` with `transition`, and stands nowhere else".to_owned());
    }
    match (selection.count_type, rule.action.kind, class(rule)) {
        (CountType::SinceImagePulled, ActionKind::Expire, _) => Err(
            "images that nobody pulls can be archived, not deleted (sinceImagePulled is for `transition`)".to_owned(),
        ),
        (CountType::SinceImageTransitioned, kind, storage) => {
            if kind != ActionKind::Expire || storage != StorageClass::Archive {
                Err("sinceImageTransitioned is for `expire` in the storage class `archive`".to_owned())
            } else if selection.count_number < MIN_ARCHIVED_DAYS {
                Err(format!(
                    "an image stays in the archive for {MIN_ARCHIVED_DAYS} days at least"
                ))
            } else {
                Ok(())
            }
        }
        (_, _, StorageClass::Archive) => {
            Err("in the storage class `archive`, only sinceImageTransitioned can be counted".to_owned())
        }
        (
            CountType::ImageCountMoreThan | CountType::SinceImagePushed | CountType::SinceImagePulled,
            _,
            StorageClass::Standard,
        ) => Ok(()),
    }
}

/// The conditions on rules together.
fn check_together(rules: &[LifecycleRule]) -> Result<(), InvalidLifecycle> {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = || rules.iter().filter(|other| other.rule_priority < rule.rule_priority);
        for other in rules.iter().take(index) {
            if other.rule_priority == rule.rule_priority {
                return Err(InvalidLifecycle::at(
                    index,
                    format!("priority {} stands there already", rule.rule_priority),
                ));
            }
            if class(other) == class(rule)
                && other.selection.tag_status == rule.selection.tag_status
                && patterns(other) == patterns(rule)
            {
                let problem = "another rule selects the same images by their tags; ECR takes one rule for them";
                return Err(InvalidLifecycle::at(index, problem));
            }
        }
        let same_class = || earlier().filter(|other| class(other) == class(rule));
        if same_class().any(|other| other.selection.tag_status == TagStatus::Any) {
            let problem = "a rule for any image comes last: it has the highest priority number";
            return Err(InvalidLifecycle::at(index, problem));
        }
        if let Some(other) = same_class().find(|other| leaves_nothing(other, rule)) {
            let problem = format!(
                "it could never act: every image that it selects is left to the rule with priority {}",
                other.rule_priority
            );
            return Err(InvalidLifecycle::at(index, problem));
        }
        // A list means all of it: `*` next to another pattern leaves out images without that one.
        let takes_all = |other: &LifecycleRule| {
            other.selection.tag_status == TagStatus::Tagged
                && patterns(other).iter().all(|pattern| pattern.chars().all(|c| c == '*'))
        };
        let all_tagged = same_class().any(takes_all);
        let all_untagged = same_class().any(|other| other.selection.tag_status == TagStatus::Untagged);
        if rule.selection.tag_status == TagStatus::Any && all_tagged && all_untagged {
            let problem = "it could never act: other rules select all images, with a tag and without";
            return Err(InvalidLifecycle::at(index, problem));
        }
    }
    Ok(())
}

/// Whether every image that `rule` selects by its tags is selected by `other` too.
fn leaves_nothing(other: &LifecycleRule, rule: &LifecycleRule) -> bool {
    rule.selection.tag_status == TagStatus::Tagged
        && other.selection.tag_status == TagStatus::Tagged
        && patterns(other)
            .iter()
            .all(|wide| patterns(rule).iter().any(|narrow| covers(wide, narrow)))
}

/// Whether everything that `narrow` matches is matched by `wide`: `wide` matches the text of `narrow`, whose `*` only a `*` can
/// take.
fn covers(wide: &str, narrow: &str) -> bool {
    // `wide` has a `*` or equals `narrow`; no character of a tag is a `*`, so a literal never matches one.
    wide.parse::<Glob>().is_ok_and(|wide| wide.matches(narrow))
}

#[cfg(test)]
mod tests;
