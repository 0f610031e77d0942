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
