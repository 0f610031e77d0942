//! An estimate of the images that a lifecycle policy would delete now, from the list of the repository's images. ECR's own
//! preview is exact, but is a job of a minute for each repository.
//!
//! Source: user guide of ECR, "Lifecycle policies in Amazon ECR" ("How lifecycle policies work"): an image that a rule selects
//! by its tags is left to that rule; a rule counts images that others delete as well; the age of an image is that of its push;
//! an image that a manifest list references is not deleted before it. And "Restoring an archived image": the age of an image
//! that came back from the archive is that of its return.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ActionKind, CountType, KEEP_ALL, Lifecycle, LifecycleRule, StorageClass, TagStatus, class, patterns};
use crate::{
    glob::Glob,
    ids::{Digest, Tag},
    image::{ImageStatus, ListedImage},
};

/// An estimate of the images that would be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surplus {
    /// How many images.
    pub images: u64,
    /// The sum of their sizes; layers that they share with images that stay are counted, so that less becomes free.
    pub bytes: u64,
}

impl Surplus {
    fn add(&mut self, bytes: u64) {
        self.images += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Counts image by image, in any order. The images that the rules keep, and those without a tag that would be deleted, bound
/// its memory.
#[derive(Debug)]
pub struct SurplusCounter {
    rules: Vec<Rule>,
    /// With a tag: nothing else references them.
    tagged: Surplus,
    /// Without: an index may reference them.
    untagged: BTreeMap<Digest, u64>,
}

#[derive(Debug)]
struct Rule {
    status: TagStatus,
    globs: Vec<Glob>,
    count: Count,
}

#[derive(Debug)]
enum Count {
    /// The newest of this number are kept: these, oldest on top.
    Newest(usize, BinaryHeap<Reverse<Counted>>),
    /// Those pushed, or back from the archive, before this are deleted.
    Before(Timestamp),
    /// None is deleted.
    Nothing,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    /// Its push, or its return from the archive.
    since: Timestamp,
    bytes: u64,
    /// No rule before this one selects it.
    own: bool,
    /// Its digest, if it has no tag.
    untagged: Option<Digest>,
}

impl SurplusCounter {
    /// For a lifecycle policy, at a time.
    pub fn new(lifecycle: &Lifecycle, now: Timestamp) -> Self {
        // Rules for the archive are left out: the list does not say since when an image is there.
        let standard = |rule: &&LifecycleRule| class(rule) == StorageClass::Standard;
        let rules = lifecycle.rules.iter().filter(standard).map(|rule| {
            let number = rule.selection.count_number;
            let days = || SignedDuration::from_hours(24 * i64::from(number));
            let count = match (rule.action.kind, rule.selection.count_type) {
                (ActionKind::Expire, CountType::ImageCountMoreThan) if number < KEEP_ALL => {
                    Count::Newest(usize::try_from(number).unwrap_or(usize::MAX), BinaryHeap::new())
                }
                (ActionKind::Expire, CountType::SinceImagePushed) => {
                    now.checked_sub(days()).map_or(Count::Nothing, Count::Before)
                }
                (ActionKind::Expire | ActionKind::Transition, _) => Count::Nothing,
            };
            Rule {
                status: rule.selection.tag_status,
                // `Lifecycle` has only patterns that are globs.
                globs: patterns(rule)
                    .iter()
                    .filter_map(|pattern| pattern.parse().ok())
                    .collect(),
                count,
            }
        });
        Self {
            rules: rules.collect(),
            tagged: Surplus::default(),
            untagged: BTreeMap::new(),
        }
    }

    /// One image of the list. One of which the registry does not say when it was pushed, and a referrer without a tag, count as
    /// kept.
    pub fn image(&mut self, listed: &ListedImage) {
        let image = &listed.image;
        let Some(since) = image.available_since() else {
            return;
        };
        if image.status != ImageStatus::Active || (image.tags.is_empty() && image.subject.is_some()) {
            return;
        }
        let mut selected = false;
        for rule in &mut self.rules {
            if !rule.selects(&image.tags) {
                continue;
            }
            let counted = Counted {
                since,
                bytes: listed.bytes,
                own: !std::mem::replace(&mut selected, true),
                untagged: image.tags.is_empty().then(|| image.digest.clone()),
            };
            let deleted = match &mut rule.count {
                Count::Newest(keep, newest) => {
                    newest.push(Reverse(counted));
                    if newest.len() > *keep {
                        newest.pop().map(|Reverse(oldest)| oldest)
                    } else {
                        None
                    }
                }
                Count::Before(limit) => (since < *limit).then_some(counted),
                Count::Nothing => None,
            };
            match deleted {
                Some(Counted {
                    own: true,
                    bytes,
                    untagged: Some(digest),
                    ..
                }) => {
                    self.untagged.insert(digest, bytes);
                }
                Some(Counted {
                    own: true,
                    bytes,
                    untagged: None,
                    ..
                }) => self.tagged.add(bytes),
                Some(_) | None => {}
            }
        }
    }

    /// The images that would be deleted, without the children of indexes.
    pub fn finish(self, led_to: &BTreeSet<Digest>) -> Surplus {
        let mut surplus = self.tagged;
        for (digest, bytes) in &self.untagged {
            if !led_to.contains(digest) {
                surplus.add(*bytes);
            }
        }
        surplus
    }
}

impl Rule {
    /// Whether it selects an image with these tags: each of its patterns must match one of them.
    fn selects(&self, tags: &[Tag]) -> bool {
        match self.status {
            TagStatus::Any => true,
            TagStatus::Untagged => tags.is_empty(),
            TagStatus::Tagged => self
                .globs
                .iter()
                .all(|glob| tags.iter().any(|tag| glob.matches(tag.as_str()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        repository::lifecycle::TypedRules,
        testing::{image, image_key, now},
    };

    fn listed(number: usize, tags: &[&str], days: i64) -> ListedImage {
        let mut image = image(&image_key());
        image.digest = format!("sha256:{number:064x}").parse().unwrap();
        image.tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        image.pushed_at = Some(now() - SignedDuration::from_hours(24 * days + 1));
        ListedImage {
            image,
            bytes: 1 << number,
            scan_status: None,
            scanned_at: None,
        }
    }

    fn count(typed: &TypedRules, images: &[ListedImage], led_to: &[usize]) -> Surplus {
        let lifecycle = Lifecycle::new(typed.rules(false)).unwrap();
        let digest = |number: &usize| format!("sha256:{number:064x}").parse().unwrap();
        let led_to: BTreeSet<Digest> = led_to.iter().map(digest).collect();
        let surplus = |images: &mut dyn Iterator<Item = &ListedImage>| {
            let mut counter = SurplusCounter::new(&lifecycle, now());
            images.for_each(|image| counter.image(image));
            counter.finish(&led_to)
        };
        let result = surplus(&mut images.iter());
        assert_eq!(
            surplus(&mut images.iter().rev()),
            result,
            "the order makes no difference"
        );
        result
    }

    #[test]
    fn what_is_beyond_the_rules_is_counted() {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let keep_two = TypedRules {
            keep_count: Some(2),
            tag_prefixes: strings(&["v"]),
            ..TypedRules::default()
        };
        let untagged = TypedRules {
            expire_untagged_days: Some(7),
            ..TypedRules::default()
        };
        let unpulled = TypedRules {
            archive_unpulled_days: Some(1),
            ..TypedRules::default()
        };
        let mut archived = listed(1, &["v1"], 30);
        archived.image.status = ImageStatus::Archived;
        let mut undated = listed(1, &[], 30);
        undated.image.pushed_at = None;
        let mut referrer = listed(1, &[], 30);
        referrer.image.subject = Some("sha256:aa".parse().unwrap());
        let restored = |image: ListedImage| {
            let mut restored = image;
            restored.image.last_activated_at = Some(now() - SignedDuration::from_hours(1));
            restored
        };
        let [v1, v2, v3] = [3, 2, 1].map(|days| {
            let number = usize::try_from(4 - days).unwrap();
            listed(number, &[&format!("v{number}")], days)
        });
        for (rules, images, led_to, expected, why) in [
            (
                &keep_two,
                vec![v1.clone(), v2.clone()],
                vec![],
                (0, 0),
                "as many as are kept",
            ),
            (
                &keep_two,
                vec![v1.clone(), v2.clone(), v3.clone()],
                vec![],
                (1, 2),
                "the oldest goes",
            ),
            (
                &keep_two,
                vec![restored(v1.clone()), v2.clone(), v3.clone()],
                vec![],
                (1, 4),
                "the oldest came back from the archive, and counts as the newest",
            ),
            (
                &untagged,
                vec![restored(listed(1, &[], 30)), listed(2, &[], 30)],
                vec![],
                (1, 4),
                "its age is the time since it came back",
            ),
            (
                &keep_two,
                vec![listed(4, &["x"], 90), v1, v2, v3],
                vec![],
                (1, 2),
                "another tag is not counted",
            ),
            (
                &keep_two,
                vec![archived, listed(2, &["v2"], 2), listed(3, &["v3"], 1)],
                vec![],
                (0, 0),
                "what is in the archive is not counted",
            ),
            (
                &untagged,
                vec![listed(1, &[], 6), listed(2, &["v"], 30)],
                vec![],
                (0, 0),
                "too young, or tagged",
            ),
            (
                &untagged,
                vec![listed(1, &[], 7), listed(2, &[], 8)],
                vec![],
                (2, 6),
                "old enough",
            ),
            (
                &untagged,
                vec![listed(1, &[], 7), listed(2, &[], 8)],
                vec![2],
                (1, 2),
                "an index leads to one",
            ),
            (&untagged, vec![undated], vec![], (0, 0), "nobody knows how old it is"),
            (&untagged, vec![referrer], vec![], (0, 0), "it belongs to an image"),
            (
                &unpulled,
                vec![listed(1, &["v1"], 90)],
                vec![],
                (0, 0),
                "the archive keeps it",
            ),
        ] {
            let (images_deleted, bytes) = expected;
            let expected = Surplus {
                images: images_deleted,
                bytes,
            };
            assert_eq!(count(rules, &images, &led_to), expected, "{why}");
        }
    }

    #[test]
    fn an_image_is_left_to_the_first_rule_that_selects_it() {
        let rules = TypedRules {
            protect: vec!["v1*".to_owned()],
            keep_count: Some(1),
            tag_prefixes: vec!["v".to_owned()],
            ..TypedRules::default()
        };
        // The newest one is counted by the second rule too: of the other two, none is kept.
        let images = [listed(1, &["v1.0"], 1), listed(2, &["v2"], 2), listed(3, &["v3"], 3)];
        assert_eq!(count(&rules, &images, &[]), Surplus { images: 2, bytes: 12 });
    }

    #[test]
    fn an_image_is_deleted_after_its_last_moment() {
        let week = TypedRules {
            expire_untagged_days: Some(7),
            ..TypedRules::default()
        };
        for (seconds, number) in [(-1, 0), (0, 0), (1, 1)] {
            let mut image = listed(1, &[], 0);
            image.image.pushed_at =
                Some(now() - SignedDuration::from_hours(24 * 7) - SignedDuration::from_secs(seconds));
            assert_eq!(count(&week, &[image], &[]).images, number, "{seconds}");
        }
    }
}
