//! The ways in which ECR has been seen to answer, beside the plainest one: in another order, late, without members that may be absent.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::{SignedDuration, Timestamp};

use super::{State, World, entry};
use crate::{
    domain::{
        finding::Scan,
        ids::{Digest, ImageKey, RepositoryName},
        image::{Image, ImageStatus},
    },
    ports::{Clock as _, PortError, Retry},
};

/// Which entry a pull of an index is recorded for: whoever pulls one pulls the index, and then the image for its platform. AWS says
/// nowhere which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PulledOf {
    /// Both.
    #[default]
    Both,
    /// The index.
    Index,
    /// The image.
    Image,
}

/// How the world answers.
#[derive(Debug, Default)]
pub(super) struct Ways {
    order: Option<u64>,
    thin: Option<u64>,
    late: Option<SignedDuration>,
    shown: BTreeMap<(RepositoryName, Digest), (Timestamp, ImageStatus)>,
    scans: Vec<(Timestamp, (RepositoryName, Digest), Scan)>,
    looks_count: bool,
    refused: BTreeMap<&'static str, PortError>,
    answers: u64,
}

impl Ways {
    /// Where something stands in a list, whatever else there is; by name, unless there is another order.
    pub(super) fn rank<'a>(&self, name: &'a str) -> (u64, &'a str) {
        (self.order.map_or(0, |order| hash(order, name)), name)
    }

    /// Whether lists have an order of their own.
    pub(super) fn is_mixed(&self) -> bool {
        self.order.is_some()
    }

    /// An image as an answer shows it.
    pub(super) fn show(&mut self, repository: &RepositoryName, image: &Image, now: Timestamp) -> Image {
        let mut image = image.clone();
        if let Some((until, status)) = self.shown.get(&(repository.clone(), image.digest.clone()))
            && now < *until
        {
            image.status = status.clone();
        }
        if self.is_mixed() {
            image.tags.sort_by_key(|tag| self.rank(tag.as_str()).0);
        }
        self.answers += 1;
        if let Some(seed) = self.thin
            && hash(seed, &self.answers.to_string()).is_multiple_of(2)
        {
            image.artifact_media_type = None;
        }
        image
    }

    /// The status of an image is about to change.
    pub(super) fn changes(&mut self, repository: &RepositoryName, digest: &Digest, from: &ImageStatus, now: Timestamp) {
        if let Some(late) = self.late {
            let shown = self.shown.entry((repository.clone(), digest.clone()));
            shown
                .and_modify(|(until, status)| {
                    if *until <= now {
                        *status = from.clone();
                    }
                    *until = now + late;
                })
                .or_insert_with(|| (now + late, from.clone()));
        }
    }

    /// The refusal of an operation, if it is refused.
    pub(super) fn refusal(&self, operation: &str) -> Option<PortError> {
        self.refused.get(operation).cloned()
    }
}

impl State {
    /// Scans that show by now are there.
    pub(super) fn settle_scans(&mut self, now: Timestamp) {
        let scans = std::mem::take(&mut self.ways.scans);
        for (at, key, scan) in scans {
            if at <= now {
                self.scans.insert(key, scan);
            } else {
                self.ways.scans.push((at, key, scan));
            }
        }
    }

    /// A manifest was taken: if that counts, it was a pull.
    pub(super) fn looked_into(&mut self, key: &ImageKey, now: Timestamp) {
        if self.ways.looks_count
            && let Some(image) = entry(self, key)
        {
            image.last_pulled_at = Some(now);
        }
    }
}

impl World {
    /// Gives lists, and the tags of an image, an order that this number decides, the same on all pages.
    pub fn mix(&self, seed: u64) {
        self.lock().ways.order = Some(seed);
    }

    /// Leaves members out of answers that ECR need not give, now and then.
    pub fn thin_out(&self, seed: u64) {
        self.lock().ways.thin = Some(seed);
    }

    /// Shows the old status of an image for so long after each change.
    pub fn show_late(&self, late: SignedDuration) {
        self.lock().ways.late = Some(late);
    }

    /// Sets what the scanner says from a time on.
    pub fn set_scan_from(&self, key: &ImageKey, at: Timestamp, scan: Scan) {
        let of = (key.repository.clone(), key.digest.clone());
        self.lock().ways.scans.push((at, of, scan));
    }

    /// Lets our own looks into manifests count as pulls, as any `BatchGetImage` may: AWS does not say.
    pub fn count_looks(&self) {
        self.lock().ways.looks_count = true;
    }

    /// Refuses an operation from now on, for good, with this message.
    pub fn refuse(&self, operation: &'static str, message: &str) {
        let refusal = PortError {
            retry: Retry::Never,
            operation,
            code: "AccessDeniedException".to_owned(),
            message: message.to_owned(),
            request_id: None,
        };
        self.lock().ways.refused.insert(operation, refusal);
    }

    /// Ends a refusal.
    pub fn permit(&self, operation: &'static str) {
        self.lock().ways.refused.remove(operation);
    }

    /// A container runtime pulls an image; whether it could. The pull is recorded.
    pub fn pull(&self, key: &ImageKey) -> bool {
        let now = self.now();
        match entry(&mut self.lock(), key) {
            Some(image) if image.status == ImageStatus::Active => {
                image.last_pulled_at = Some(now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// A container runtime pulls an index, and then the image for its platform; whether it could.
    pub fn pull_of_index(&self, index: &ImageKey, image: &ImageKey, recorded: PulledOf) -> bool {
        let now = self.now();
        let mut state = self.lock();
        let mut pullable =
            |key: &ImageKey| entry(&mut state, key).is_some_and(|image| image.status == ImageStatus::Active);
        // The manifest of the index is taken even if its image cannot be had then.
        let (has_index, has_image) = (pullable(index), pullable(image));
        for (key, had, not) in [
            (index, has_index, PulledOf::Image),
            (image, has_index && has_image, PulledOf::Index),
        ] {
            if let Some(image) = entry(&mut state, key).filter(|_| had && recorded != not) {
                image.last_pulled_at = Some(now);
            }
        }
        has_index && has_image
    }
}

fn hash(seed: u64, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, name).hash(&mut hasher);
    hasher.finish()
}
