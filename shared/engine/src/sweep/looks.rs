//! The results of reconciles of repositories and images.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::{Failures, SweepError};
use crate::reconcile::{
    image::{Outcome, OutcomeKind},
    replication::ReplicationOutcome,
    repository::RepositoryOutcome,
};
use guard_ports::PortError;

/// The results of reconciles of repositories and images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Looks {
    /// Repositories that were left to other workers.
    pub repositories: u64,
    /// Images on the registry's list.
    pub listed: u64,
    /// Those that were due, by why.
    pub due: BTreeMap<&'static str, u64>,
    /// Images that were reconciled.
    pub looked: u64,
    /// Images, counted with their relatives, for which a record, a change or an alert was made.
    pub changed: u64,
    /// Images, counted in the same way, whose manifest could not be read; see [`Outcome::not_read`].
    pub not_read: u64,
    /// Entries, counted in the same way, that are no container images.
    pub not_images: u64,
    /// Blocks, as the policy limits them by the hour: an index is one, with its children, and an image that comes back is not
    /// counted again.
    pub blocks: u64,
    /// Alerts that were sent, about images and repositories.
    pub alerts: u64,
    /// Settings of repositories, and tags, that were changed.
    pub repaired: u64,
    /// Copies here that were reconciled again.
    pub copies: u64,
    /// Backfills of other regions that were begun.
    pub backfills: u64,
    /// Images that were reconciled and whose findings may not be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Reconciles of images that failed because calls did, and may succeed later.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_reached: u64,
    /// Further items that were left to other workers.
    pub items: u64,
    /// Failures of images that were left to another item: their own item does not come again for them.
    #[serde(skip)]
    pub handed_on: Failures,
    /// Images whose blocks could not be undone for want of a permission, and which it is.
    #[serde(skip)]
    pub lacking: Vec<(String, PortError)>,
    /// [`MAX_TROUBLE`](super::MAX_TROUBLE) was reached.
    #[serde(skip)]
    pub in_trouble: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Looks {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.repositories += other.repositories;
        self.listed += other.listed;
        for (why, number) in &other.due {
            *self.due.entry(why).or_default() += number;
        }
        self.looked += other.looked;
        self.changed += other.changed;
        self.not_read += other.not_read;
        self.not_images += other.not_images;
        self.blocks += other.blocks;
        self.alerts += other.alerts;
        self.repaired += other.repaired;
        self.copies += other.copies;
        self.backfills += other.backfills;
        self.unreadable += other.unreadable;
        self.not_reached += other.not_reached;
        self.items += other.items;
        self.handed_on.extend(other.handed_on.iter().cloned());
        self.lacking.extend(other.lacking.iter().cloned());
        self.in_trouble |= other.in_trouble;
    }

    pub(super) fn count_image(&mut self, outcome: &Outcome) {
        self.looked += 1;
        for one in std::iter::once(outcome).chain(&outcome.also) {
            let changed = matches!(one.outcome, OutcomeKind::Applied | OutcomeKind::Closed);
            self.changed += u64::from(changed);
            self.not_read += u64::from(one.not_read.is_some());
            self.not_images += u64::from(one.outcome == OutcomeKind::NotAnImage);
            self.blocks += u64::from(one.counted);
            self.alerts += u64::from(one.alert.is_some());
            if let Some(source) = &one.told_not_read {
                let doing = format!("read the findings of earlier alerts of `{}`", one.repository);
                self.handed_on.push(SweepError::port(doing, source.clone()));
            }
            if let (Some(lacks), Some(digest)) = (&one.lacks, &one.digest) {
                self.lacking
                    .push((format!("{}@{digest}", one.repository), lacks.clone()));
            }
        }
    }

    pub(super) fn count_copies(&mut self, outcome: &ReplicationOutcome) {
        self.copies += outcome.looked;
        self.alerts += outcome.alerts.len() as u64;
        self.backfills += outcome.backfills.len() as u64;
    }

    pub(super) fn count_repository(&mut self, outcome: &RepositoryOutcome) {
        self.alerts += outcome.alerts.len() as u64;
        self.repaired += outcome.changed.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard_core::notice::{AlertKind, RepositoryAlertKind};
    use guard_ports::Retry;
    use guard_testkit::image_key;
    use serde_json::json;

    fn refusal() -> PortError {
        PortError {
            retry: Retry::Never,
            operation: "ecr:UpdateImageStorageClass",
            code: "AccessDeniedException".to_owned(),
            message: "not authorized".to_owned(),
            request_id: None,
        }
    }

    fn nothing(kind: OutcomeKind) -> Outcome {
        Outcome::of(kind, &image_key().repository, None)
    }

    /// The result for an image that was changed and blocked, with all that can be said of it.
    fn outcome(kind: OutcomeKind) -> Outcome {
        Outcome {
            digest: Some(image_key().digest),
            counted: true,
            alert: Some(AlertKind::ImageBlocked),
            not_read: Some("throttled".to_owned()),
            told_not_read: Some(refusal()),
            lacks: Some(refusal()),
            ..nothing(kind)
        }
    }

    #[test]
    fn images_count_with_their_relatives() {
        let mut looks = Looks::default();
        looks.count_image(&Outcome {
            also: vec![
                outcome(OutcomeKind::Closed),
                nothing(OutcomeKind::Unchanged),
                outcome(OutcomeKind::NotAnImage),
            ],
            ..outcome(OutcomeKind::Applied)
        });
        looks.count_image(&nothing(OutcomeKind::NotAnImage));
        let counted = serde_json::to_value(&looks).unwrap();
        for (member, expected) in [
            ("looked", 2),
            ("changed", 2),
            ("not_read", 3),
            ("not_images", 2),
            ("blocks", 3),
            ("alerts", 3),
        ] {
            assert_eq!(counted[member], expected, "{member}");
        }
        assert_eq!(looks.handed_on.len(), 3);
        let lacking: Vec<&str> = looks.lacking.iter().map(|(image, _)| image.as_str()).collect();
        let name = format!("{}@{}", image_key().repository, image_key().digest);
        assert_eq!(lacking, [name.as_str(); 3]);
    }

    #[test]
    fn copies_and_settings_count() {
        let mut looks = Looks::default();
        for _ in 0..2 {
            looks.count_copies(&ReplicationOutcome {
                looked: 3,
                alerts: vec![RepositoryAlertKind::TagTaken; 2],
                backfills: vec!["eu-west-1".parse().unwrap()],
                ..ReplicationOutcome::default()
            });
            looks.count_repository(&RepositoryOutcome {
                changed: vec!["tag_immutability", "untag"],
                alerts: vec![RepositoryAlertKind::TagTaken],
                ..RepositoryOutcome::default()
            });
        }
        let found = (looks.copies, looks.alerts, looks.backfills, looks.repaired);
        assert_eq!(found, (6, 6, 2, 4));
    }

    #[test]
    fn counts_of_several_workers_are_added() {
        let of = |number: u64, in_trouble: bool| Looks {
            repositories: number,
            listed: number * 2,
            due: BTreeMap::from([("new", number)]),
            looked: number * 3,
            changed: number * 4,
            not_read: number * 5,
            not_images: number * 6,
            blocks: number * 7,
            alerts: number * 8,
            repaired: number * 9,
            copies: number * 10,
            backfills: number * 11,
            unreadable: number * 12,
            not_reached: number * 13,
            items: number * 14,
            handed_on: Failures::default(),
            lacking: Vec::new(),
            in_trouble,
        };
        let mut sum = of(3, false);
        sum.add(&of(5, false));
        assert_eq!(sum, of(8, false));
        sum.add(&of(1, true));
        assert_eq!(sum, of(9, true));
        sum.add(&of(1, false));
        assert_eq!(sum, of(10, true), "trouble does not end");
        assert_eq!(serde_json::to_value(of(0, false)).unwrap().get("unreadable"), None);
        assert_eq!(serde_json::to_value(of(1, false)).unwrap()["unreadable"], json!(12));
    }
}
