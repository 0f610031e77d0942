//! An image, and the services to reconcile it.

use super::{pages::Spent, request::Hints};
use crate::{reconcile::ReconcileError, tag_removal::TagRemoval};
use guard_core::{
    ids::{Digest, ImageKey, RegistryKey, Tag},
    policy::Policy,
};
use guard_ports::{PortError, Services};

/// The reconcile of an image.
pub(super) struct ImageRun<'a, S> {
    pub(super) services: &'a S,
    pub(super) policy: &'a Policy,
    pub(super) key: ImageKey,
    pub(super) hints: Hints,
    pub(super) actor: &'a str,
    /// The time that went into lists of images, for all images of this event.
    pub(super) spent: &'a Spent,
    /// The parent index that it was reached through, and its tags.
    pub(super) index: Option<(Digest, Vec<Tag>)>,
}

impl<S: Services> ImageRun<'_, S> {
    /// The writer for this repository; `None`: the policy only reports on it.
    pub(super) fn writer(&self) -> Option<&S::Writer> {
        self.services
            .writer()
            .filter(|_| self.policy.enforces(&self.key.repository))
    }

    pub(super) fn registry(&self) -> RegistryKey {
        RegistryKey {
            account: self.key.account.clone(),
            region: self.key.region.clone(),
        }
    }

    pub(super) fn removal<'a>(&'a self, writer: &'a S::Writer) -> TagRemoval<'a, S> {
        TagRemoval {
            services: self.services,
            writer,
            policy: self.policy,
        }
    }

    pub(super) fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, &self.key, source)
    }

    pub(super) fn not_verified(&self, found: &str) -> ReconcileError {
        ReconcileError::NotVerified {
            image: self.key.to_string(),
            found: found.to_owned(),
        }
    }
}
