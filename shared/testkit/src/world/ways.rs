//! The ways in which ECR has been seen to answer, apart from the plainest one: in another order, late, without members that may
//! be absent.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jiff::{SignedDuration, Timestamp};

use super::{State, World, entry, find};
use guard_core::{
    finding::{Scan, ScanStart, ScanTrigger},
    ids::{Digest, ImageKey, ImageRef, RepositoryName, Tag},
    image::{Image, ImageStatus},
    repository::posture::TagMutability,
};
use guard_ports::{Clock as _, PortError, Retry};

/// The entry that a pull of an index is recorded for: a client pulls the index, and then the image for its platform. AWS says
/// nowhere which of them.
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
    pulled_of: PulledOf,
    refused: BTreeMap<&'static str, PortError>,
    refused_scans: BTreeMap<RepositoryName, PortError>,
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

    /// The refusal to show the findings of a repository, if they are refused.
    pub(super) fn refusal_of_scans(&self, repository: &RepositoryName) -> Option<PortError> {
        self.refused_scans.get(repository).cloned()
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

    /// Refuses the findings of one repository from now on, as its policy can, with this message.
    pub fn refuse_scans_of(&self, repository: &RepositoryName, message: &str) {
        let refusal = PortError {
            retry: Retry::Never,
            operation: "ecr:DescribeImageScanFindings",
            code: "AccessDeniedException".to_owned(),
            message: message.to_owned(),
            request_id: None,
        };
        self.lock().ways.refused_scans.insert(repository.clone(), refusal);
    }

    /// Ends a refusal.
    pub fn permit(&self, operation: &'static str) {
        self.lock().ways.refused.remove(operation);
    }

    /// Says for which entry the pull of an index is recorded; for both, if this is never called.
    pub fn record_pulls(&self, of: PulledOf) {
        self.lock().ways.pulled_of = of;
    }

    /// A container runtime takes a manifest; the result says whether it could. A client of an index takes it first, and then
    /// the image for its platform.
    pub fn pull(&self, key: &ImageKey) -> bool {
        let now = self.now();
        let mut state = self.lock();
        let is_index = state
            .manifests
            .get(key)
            .is_some_and(|manifest| entries(manifest).is_some());
        let is_led_to = state.is_led_to(&key.repository, &key.digest);
        let recorded = match state.ways.pulled_of {
            PulledOf::Both => true,
            PulledOf::Index => is_index || !is_led_to,
            PulledOf::Image => !is_index,
        };
        let Some(image) = entry(&mut state, key).filter(|image| image.status == ImageStatus::Active) else {
            return false;
        };
        if recorded {
            image.last_pulled_at = Some(now);
        }
        true
    }

    /// The push of a client, by the rules of `PutImage`. An error is the code that ECR answers with.
    ///
    /// # Errors
    /// ECR refuses it.
    pub fn put_image(
        &self,
        key: &ImageKey,
        pushed: Image,
        manifest: &str,
        tag: Option<&Tag>,
    ) -> Result<(), &'static str> {
        let now = self.now();
        let mut state = self.lock();
        let known = entry(&mut state, key).cloned();
        match &known {
            Some(image) if image.status == ImageStatus::Active && tag.is_none_or(|tag| image.tags.contains(tag)) => {
                return Err("ImageAlreadyExistsException");
            }
            None if state.misses_images(key, manifest) => return Err("ReferencedImagesNotFoundException"),
            Some(_) | None => {}
        }
        if let Some(tag) = tag {
            let holder = find(&state, &key.repository, &ImageRef::Tag(tag.clone()));
            let holder = holder.map(|image| image.digest.clone());
            if let Some(holder) = holder.filter(|holder| *holder != key.digest) {
                let mutability = state
                    .repositories
                    .get(&key.repository)
                    .map(|stored| &stored.repository.tag_mutability);
                if mutability == Some(&TagMutability::Immutable) {
                    return Err("ImageTagAlreadyExistsException");
                }
                let holder = ImageKey {
                    digest: holder,
                    ..key.clone()
                };
                if let Some(image) = entry(&mut state, &holder) {
                    image.tags.retain(|other| other != tag);
                }
            }
        }
        let comes_back = known.as_ref().is_some_and(|image| image.status != ImageStatus::Active);
        let mut image = known.unwrap_or(Image {
            tags: Vec::new(),
            pushed_at: Some(now),
            ..pushed
        });
        image.tags.extend(tag.filter(|tag| !image.tags.contains(tag)).cloned());
        state.images.insert((key.repository.clone(), key.digest.clone()), image);
        state.manifests.insert(key.clone(), manifest.to_owned());
        if comes_back {
            state.comes_back(key, now);
        }
        let scanned = state.triggers.get(&key.repository) == Some(&ScanTrigger::Automatic);
        if scanned && entries(manifest).is_none() {
            let of = (key.repository.clone(), key.digest.clone());
            state.scans.entry(of).or_insert(Scan::InProgress);
        }
        Ok(())
    }
}

impl State {
    /// The answer to a request for a scan, by what the image is.
    pub(super) fn may_scan(&self, key: &ImageKey) -> ScanStart {
        let of = (key.repository.clone(), key.digest.clone());
        match self.images.get(&of) {
            None => ScanStart::ImageGone,
            Some(image) if image.status == ImageStatus::Archived => ScanStart::Archived,
            Some(_)
                if self
                    .manifests
                    .get(key)
                    .is_some_and(|manifest| entries(manifest).is_some()) =>
            {
                ScanStart::Unsupported
            }
            // Within the same day.
            Some(_) if self.scans.contains_key(&of) => ScanStart::LimitExceeded,
            Some(_) => ScanStart::Started,
        }
    }

    /// Whether an existing index of the repository references an image.
    pub(super) fn is_led_to(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let there = |index: &ImageKey| {
            self.images
                .contains_key(&(index.repository.clone(), index.digest.clone()))
        };
        let mut of_repository = self
            .manifests
            .iter()
            .filter(|(index, _)| index.repository == *repository);
        of_repository.any(|(index, manifest)| leads_to(manifest, digest) && there(index))
    }

    /// Whether a manifest references images that are not there.
    fn misses_images(&self, key: &ImageKey, manifest: &str) -> bool {
        let there = |digest: &Digest| self.images.contains_key(&(key.repository.clone(), digest.clone()));
        !entries(manifest).unwrap_or_default().iter().all(there)
    }
}

fn leads_to(manifest: &str, digest: &Digest) -> bool {
    entries(manifest).is_some_and(|entries| entries.contains(digest))
}

/// The entries of an index; `None`: it is none. Read here by code of its own, so that the world does not rest on the code under
/// test.
fn entries(manifest: &str) -> Option<Vec<Digest>> {
    let manifest: serde_json::Value = serde_json::from_str(manifest).ok()?;
    let entries = manifest.get("manifests")?.as_array()?.iter();
    Some(
        entries
            .filter_map(|entry| entry.get("digest")?.as_str()?.parse().ok())
            .collect(),
    )
}

fn hash(seed: u64, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, name).hash(&mut hasher);
    hasher.finish()
}
