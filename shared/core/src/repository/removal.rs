//! The record of a tag that is being removed, and the alert when the removal hit another image.
//!
//! ECR removes a tag from whichever image has it at that moment, and deletes an image that loses its last tag. Between the last
//! read and the call somebody may have moved the tag. The answer names the image that lost it. Where no answer came, the row of
//! the tag says that one is missing, and the push of the other image causes a reconcile of that row.

use jiff::{SignedDuration, Timestamp};

use crate::{
    alert::{NextStep, repository::RepositoryAlert},
    finding::Severity,
    ids::{Digest, RepositoryKey, Tag},
    image::Image,
    notice::{Change, LEASE_SECONDS, RepositoryAlertKind as Kind, alert_id},
    repository::ledger::{Removal, TagRow},
    text,
};

/// A push this much earlier than a removal was undertaken, or this much later, may have been hit by it: clocks differ, and events give whole
/// seconds. A removal is sent within seconds of its claim; a function ends after 15 minutes at most.
const BEFORE: SignedDuration = SignedDuration::from_mins(1);
const AFTER: SignedDuration = SignedDuration::from_mins(15);

/// For how long a removal without an answer is checked. Lambda delivers an event again for six hours at most.
const OPEN: SignedDuration = SignedDuration::from_hours(24);

/// An image that has just got a tag, by what an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The image.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
}

impl Removal {
    /// Whether another invocation may still be at it: then nobody else begins one of the same tag, or one of two answers could be missed.
    pub fn is_under_way_by_another(&self, actor: &str, now: Timestamp) -> bool {
        self.by != actor && now.duration_since(self.at) < SignedDuration::from_secs(LEASE_SECONDS)
    }

    /// Whether it is not too long ago to be checked.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) <= OPEN
    }

    /// `last`: the image that is checked last.
    fn may_have_hit(&self, got: &Pushed, last: &Digest) -> bool {
        let later = got.at.duration_since(self.at);
        // Events give whole seconds: the order of two pushes in one second is not known.
        let is_unchecked = |checked| checked < got.at || checked == got.at && got.digest != *last;
        got.digest != self.from && self.checked.is_none_or(is_unchecked) && -BEFORE <= later && later <= AFTER
    }
}

/// The image that may have lost a tag instead of the one that was to lose it, with the time when it got the tag; `None`: there is none. The image that
/// has the tag is none. `removal`: one of those in the row; `holder`: that image.
pub fn suspect(
    row: &TagRow,
    removal: &Removal,
    holder: Option<&Image>,
    pushed: Option<&Pushed>,
    now: Timestamp,
) -> Option<Pushed> {
    if !removal.is_open(now) {
        return None;
    }
    // An image that was seen with the tag before it lost it.
    let seen = Pushed {
        digest: row.digest.clone(),
        at: row.since,
    };
    let found = pushed
        .cloned()
        .into_iter()
        .chain([seen])
        .find(|got| removal.may_have_hit(got, &row.digest))?;
    holder
        .is_none_or(|holder| holder.digest != found.digest)
        .then_some(found)
}

/// The removals that may have deleted the image that was to lose the tag, if that no longer exists: their invocations ended without an answer.
pub fn unanswered<'a>(row: &'a TagRow, actor: &'a str, now: Timestamp) -> impl Iterator<Item = &'a Removal> {
    row.removals()
        .filter(move |removal| removal.is_open(now) && !removal.lost && !removal.is_under_way_by_another(actor, now))
}

/// The damage of the removal of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Another image had the tag by then, lost it, and got it back.
    GivenBack {
        /// The tag.
        tag: Tag,
        /// The other image.
        digest: Digest,
    },
    /// Another image lost the tag; by now a third one has it.
    TakenOver {
        /// The tag.
        tag: Tag,
        /// The image that lost it.
        digest: Digest,
    },
    /// Another image lost the tag, and could not get it back.
    NotGivenBack {
        /// The tag.
        tag: Tag,
        /// The image that lost it.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// Another image had the tag by then, as its only one, and is deleted.
    Lost {
        /// The tag.
        tag: Tag,
        /// The image that is gone.
        digest: Digest,
    },
    /// The image itself was deleted, and is there again under our mark.
    PutBack {
        /// The image.
        digest: Digest,
        /// Our mark.
        mark: Tag,
    },
    /// The image itself was deleted, and could not be put back.
    NotPutBack {
        /// The image.
        digest: Digest,
        /// Why.
        why: String,
    },
}

/// The texts of the alert about a damage.
struct DamageWords {
    severity: Severity,
    title: String,
    reason: String,
    /// How it was with the image, and how it is now.
    old: String,
    new: String,
}

impl Damage {
    /// The image that it is about.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::GivenBack { digest, .. }
            | Self::TakenOver { digest, .. }
            | Self::NotGivenBack { digest, .. }
            | Self::Lost { digest, .. }
            | Self::PutBack { digest, .. }
            | Self::NotPutBack { digest, .. } => digest,
        }
    }

    /// The kind of its alert.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GivenBack { .. } | Self::TakenOver { .. } | Self::NotGivenBack { .. } => Kind::TagTaken,
            Self::Lost { .. } | Self::PutBack { .. } | Self::NotPutBack { .. } => Kind::ImageLost,
        }
    }

    fn tag(&self) -> Option<&Tag> {
        match self {
            Self::GivenBack { tag, .. }
            | Self::TakenOver { tag, .. }
            | Self::NotGivenBack { tag, .. }
            | Self::Lost { tag, .. } => Some(tag),
            Self::PutBack { mark, .. } => Some(mark),
            Self::NotPutBack { .. } => None,
        }
    }

    /// The alert. `from`: the image that was to lose the tag; `at`: when the removal was undertaken, so that the alert has the same id
    /// however often it is delivered.
    pub fn alert(&self, key: &RepositoryKey, from: &Digest, at: Timestamp) -> RepositoryAlert {
        let (digest, kind) = (self.digest(), self.kind());
        let words = self.words(key, from);
        let subject = format!(
            "{}#{from}#{digest}#{}",
            key.partition_key(),
            self.tag().map_or("", Tag::as_str)
        );
        RepositoryAlert {
            copies_in: None,
            id: alert_id(&subject, kind, u64::try_from(at.as_millisecond()).unwrap_or_default()),
            kind,
            severity: Some(words.severity),
            time: at,
            repository: key.clone(),
            digest: Some(digest.clone()),
            tag: self.tag().cloned(),
            title: words.title,
            reason: words.reason,
            changes: vec![Change {
                setting: format!("image {}", digest.short()),
                old: words.old,
                new: words.new,
            }],
            next_steps: self.next_steps(key).into_iter().map(NextStep::from).collect(),
        }
    }

    /// How it came about.
    fn course(&self, tag: &Tag, from: &Digest) -> String {
        let digest = self.digest();
        if from == digest {
            return format!(
                "ecr-guard removed the tag {tag} from the image {}, which another invocation had released a moment before.",
                digest.short()
            );
        }
        format!(
            "ecr-guard removed the tag {tag} from the image {}. Between its last check and the removal somebody moved the tag to the image {}, \
             which lost it.",
            from.short(),
            digest.short()
        )
    }

    /// The texts of its alert.
    fn words(&self, key: &RepositoryKey, from: &Digest) -> DamageWords {
        let (name, digest) = (&key.repository, self.digest());
        let moved = |tag: &Tag| self.course(tag, from);
        let (whose, third) = if from == digest {
            ("a released image", "another")
        } else {
            ("another image", "a third")
        };
        let (severity, title, reason, old, new) = match self {
            Self::GivenBack { tag, .. } => (
                Severity::Medium,
                format!("{name}:{tag} was taken from {whose}, and given back"),
                format!("{} It has the tag again.", moved(tag)),
                "without the tag".to_owned(),
                "has the tag".to_owned(),
            ),
            Self::TakenOver { tag, .. } => (
                Severity::Medium,
                format!("{name}:{tag} was taken from {whose}"),
                format!("{} By now {third} image has the tag.", moved(tag)),
                "has the tag".to_owned(),
                "without the tag".to_owned(),
            ),
            Self::NotGivenBack { tag, why, .. } => (
                Severity::High,
                format!("{name}:{tag} was taken from {whose}, which did not get it back"),
                format!("{} It could not get it back: {}.", moved(tag), text::line(why, 300)),
                "has the tag".to_owned(),
                "without the tag".to_owned(),
            ),
            Self::Lost { tag, .. } => (
                Severity::Critical,
                format!("{name}: the image {} is gone", digest.short()),
                format!(
                    "{} It was its only tag, and ECR deletes an image with its last tag.",
                    moved(tag)
                ),
                "there".to_owned(),
                "deleted".to_owned(),
            ),
            Self::PutBack { mark, .. } => (
                Severity::Critical,
                format!("{name}: the image {} was deleted, and is put back", digest.short()),
                format!(
                    "When ecr-guard removed a tag of the image, somebody else removed the others, or the image. It is there again under \
                     the tag {mark}, by its manifest; when it was pushed, its findings and what was attached to it may be lost."
                ),
                "there".to_owned(),
                format!("there again, as {mark}"),
            ),
            Self::NotPutBack { why, .. } => (
                Severity::Critical,
                format!("{name}: the image {} is gone", digest.short()),
                format!(
                    "When ecr-guard removed a tag of the image, somebody else removed the others, or the image. It could not be put \
                     back: {}.",
                    text::line(why, 300)
                ),
                "there".to_owned(),
                "deleted".to_owned(),
            ),
        };
        DamageWords {
            severity,
            title,
            reason,
            old,
            new,
        }
    }

    fn next_steps(&self, key: &RepositoryKey) -> Vec<String> {
        let (name, region, digest) = (&key.repository, &key.region, self.digest());
        let look = format!(
            "See the image: aws ecr describe-images --region {region} --repository-name {name} --image-ids imageDigest={digest}"
        );
        let push = format!("Push the image {digest} to {name} again, from where it was built.");
        match self {
            Self::GivenBack { .. } | Self::TakenOver { .. } => vec![look],
            Self::NotGivenBack { tag, .. } => vec![format!("Give the tag {tag} back to the image {digest}."), look],
            Self::Lost { .. } | Self::NotPutBack { .. } => vec![push],
            Self::PutBack { .. } => vec![
                "If it was deleted on purpose, delete it again.".to_owned(),
                format!("If not, give it back its tags. {look}"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ledger::TagRowSchema, *};
    use crate::testing::{image, image_key, now};

    fn digest(byte: &str) -> Digest {
        format!("sha256:{}", byte.repeat(32)).parse().unwrap()
    }

    fn row(from: &str, digest_of: &str, seen: i64) -> TagRow {
        TagRow {
            schema: TagRowSchema::V1,
            repository: RepositoryKey::of(&image_key()),
            tag: "main".parse().unwrap(),
            digest: digest(digest_of),
            since: now() + SignedDuration::from_secs(seen),
            generation: 1,
            notes: Vec::new(),
            removal: Some(Removal {
                from: digest(from),
                at: now(),
                by: "one".to_owned(),
                checked: None,
                lost: false,
            }),
            earlier: Vec::new(),
        }
    }

    fn pushed(byte: &str, seconds: i64) -> Pushed {
        Pushed {
            digest: digest(byte),
            at: now() + SignedDuration::from_secs(seconds),
        }
    }

    #[test]
    fn who_may_have_lost_a_tag_that_no_answer_names() {
        let row_of_d = row("dd", "dd", -9999);
        for (row, pushed, found) in [
            (&row_of_d, None, None),
            (&row_of_d, Some(pushed("dd", 0)), None),
            (&row_of_d, Some(pushed("ee", 1)), Some("ee")),
            (&row_of_d, Some(pushed("ee", -59)), Some("ee")),
            (&row_of_d, Some(pushed("ee", -61)), None),
            (&row_of_d, Some(pushed("ee", 901)), None),
            (&row("dd", "ee", 2), None, Some("ee")),
            (&row("dd", "ee", 2), Some(pushed("dd", 0)), Some("ee")),
            (&row("dd", "ee", -9999), None, None),
        ] {
            let found_there = suspect(row, row.removal.as_ref().unwrap(), None, pushed.as_ref(), now());
            assert_eq!(
                found_there.map(|got| got.digest),
                found.map(digest),
                "{row:?} {pushed:?}"
            );
        }
        let pushed = pushed("ee", 1);
        let holder = |byte: &str| Image {
            digest: digest(byte),
            ..image(&image_key())
        };
        let removal = row_of_d.removal.clone().unwrap();
        let with_holder = |byte: &str| suspect(&row_of_d, &removal, Some(&holder(byte)), Some(&pushed), now());
        assert_eq!(with_holder("ee"), None, "it has the tag");
        assert_eq!(with_holder("dd"), Some(pushed.clone()), "the first one got it back");
        assert_eq!(
            suspect(&row_of_d, &removal, None, Some(&pushed), now() + OPEN),
            Some(pushed.clone())
        );
        let checked_until = |last: &str, seconds: i64| {
            let row = row("dd", last, -9999);
            let checked = Removal {
                checked: Some(now() + SignedDuration::from_secs(seconds)),
                ..removal.clone()
            };
            suspect(&row, &checked, None, Some(&pushed), now())
        };
        assert_eq!(checked_until("ee", 1), None, "that push is checked");
        assert_eq!(checked_until("ee", 0), Some(pushed.clone()), "a later one is not");
        assert_eq!(
            checked_until("cc", 1),
            Some(pushed.clone()),
            "another one in the same second is not"
        );
        assert_eq!(checked_until("cc", 2), None);
        let later = now() + OPEN + SignedDuration::from_secs(1);
        assert_eq!(suspect(&row_of_d, &removal, None, Some(&pushed), later), None);
    }

    #[test]
    fn a_removal_may_have_deleted_its_image_once_nobody_is_at_it_any_more() {
        let row = row("dd", "dd", -9999);
        let open = |actor: &str, at: Timestamp| unanswered(&row, actor, at).next().is_some();
        let after = |seconds: i64| now() + SignedDuration::from_secs(seconds);
        assert!(open("one", now()), "it is its own");
        assert!(!open("two", after(LEASE_SECONDS - 1)));
        assert!(open("two", after(LEASE_SECONDS)));
        assert!(open("two", now() + OPEN));
        assert!(!open("one", now() + OPEN + SignedDuration::from_secs(1)));
        let mut told = row.clone();
        told.removal.as_mut().unwrap().lost = true;
        assert_eq!(unanswered(&told, "one", now()).next(), None);
        let answered = TagRow { removal: None, ..row };
        assert_eq!(unanswered(&answered, "one", now()).next(), None);
    }

    #[test]
    fn removals_without_an_answer_are_remembered_until_their_time_is_over() {
        let removal = |minutes: i64| Removal {
            at: now() + SignedDuration::from_mins(minutes),
            ..row("dd", "dd", 0).removal.unwrap()
        };
        let mut row = row("dd", "dd", 0);
        row.earlier = vec![removal(-24 * 60 - 1), removal(-24 * 60), removal(-3), removal(-2)];
        row.removal = Some(removal(-1));
        let open = row.still_open(now());
        assert_eq!(open, [removal(-3), removal(-2), removal(-1)], "the last three of four");
        let found = Removal {
            lost: true,
            ..removal(-2)
        };
        let changed = row.with_removal(&removal(-2), &found);
        let of: Vec<bool> = changed.removals().map(|removal| removal.lost).collect();
        assert_eq!(of, [false, false, false, true, false]);
        let last = Removal {
            lost: true,
            ..removal(-1)
        };
        assert_eq!(row.with_removal(&removal(-1), &last).removal, Some(last));
    }

    #[test]
    fn what_is_lost_is_alerted_by_name() {
        let (tag, digest_of): (Tag, Digest) = ("main".parse().unwrap(), digest("ee"));
        let lost = Damage::Lost {
            tag,
            digest: digest_of.clone(),
        };
        let alert = lost.alert(&RepositoryKey::of(&image_key()), &digest("dd"), now());
        assert_eq!(
            (alert.kind, alert.severity),
            (Kind::ImageLost, Some(Severity::Critical))
        );
        assert_eq!(alert.digest, Some(digest_of));
        insta::assert_snapshot!(alert.reason, @"ecr-guard removed the tag main from the image dddddddddddd. Between its last check and the removal somebody moved the tag to the image eeeeeeeeeeee, which lost it. It was its only tag, and ECR deletes an image with its last tag.");
        assert_eq!(
            alert.next_steps,
            [NextStep::new(format!(
                "Push the image sha256:{} to pipeops-prod-api again, from where it was built.",
                "ee".repeat(32)
            ))]
        );
        let again = lost.alert(&RepositoryKey::of(&image_key()), &digest("dd"), now());
        assert_eq!(alert.id, again.id);
    }

    #[test]
    fn the_alert_of_a_released_image_says_that_it_was_released() {
        let (tag, digest_of): (Tag, Digest) = ("main".parse().unwrap(), digest("dd"));
        let words = |damage: Damage| {
            let alert = damage.alert(&RepositoryKey::of(&image_key()), &digest_of, now());
            (alert.kind, format!("{}. {}", alert.title, alert.reason))
        };
        let given = words(Damage::GivenBack {
            tag: tag.clone(),
            digest: digest_of.clone(),
        });
        assert_eq!(given.0, Kind::TagTaken);
        insta::assert_snapshot!(given.1, @"pipeops-prod-api:main was taken from a released image, and given back. ecr-guard removed the tag main from the image dddddddddddd, which another invocation had released a moment before. It has the tag again.");
        let moved = words(Damage::TakenOver {
            tag,
            digest: digest_of.clone(),
        });
        insta::assert_snapshot!(moved.1, @"pipeops-prod-api:main was taken from a released image. ecr-guard removed the tag main from the image dddddddddddd, which another invocation had released a moment before. By now another image has the tag.");
    }
}
