//! The facts of a snapshot about each image, found by its name: memory holds the places in the file, and not their contents.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::{
    ids::{AccountId, Digest, ImageKey, Region, RegistryKey, RepositoryKey, RepositoryName},
    image::{Image, ListedImage},
    ledger::Row,
    registry::RegistryRow,
    repository::ledger::RepositoryRow,
    snapshot::{SnapshotGap, SnapshotPolicy, SnapshotRecord},
    summary::RepositorySummary,
    uses::{IndexState, RefusedPull, UseRow},
};

use crate::{
    ledgers::NotRead,
    snapshot::{Keep, Snapshot},
};

/// A digest in 32 bytes; `None`: it is no SHA-256, as no image of ECR's is.
type Short = [u8; 32];

/// An image by the number of its repository.
type Place = (u32, Short);

/// Where the file speaks of an image.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    row: Option<Keep>,
    listed: Option<Keep>,
    used: Option<Keep>,
}

/// A snapshot, and where in it what stands. Some 100 bytes for an image.
#[derive(Debug)]
pub struct Known {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The policy documents, those first that the deployment has written.
    pub policies: Vec<SnapshotPolicy>,
    /// How complete the index of workloads is, for each region.
    pub uses: Vec<IndexState>,
    /// The rows of registries.
    pub registries: Vec<RegistryRow>,
    /// The figures of repositories.
    pub summaries: Vec<RepositorySummary>,
    /// The rows of repositories.
    pub rows_of_repositories: Vec<RepositoryRow>,
    /// The records that could not be read.
    pub gaps: Vec<SnapshotGap>,
    /// Who could not pull a blocked image.
    pub refused: Vec<RefusedPull>,
    /// How many rows were decided under each policy.
    pub rows_under: BTreeMap<String, u64>,
    repositories: Vec<RepositoryKey>,
    numbers: BTreeMap<RepositoryKey, u32>,
    /// The policies of repositories.
    access: BTreeMap<u32, Option<String>>,
    /// Repositories whose list was read to its end.
    listed: BTreeSet<u32>,
    images: BTreeMap<Place, Places>,
    /// The rows that were read last: two policies ask for the same, and so do images of one index.
    read: BTreeMap<ImageId, Row>,
}

/// The most rows in memory.
const KEPT_ROWS: usize = 32;

/// An image of the snapshot: it names it in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageId(Place);

fn short(digest: &Digest) -> Option<Short> {
    let hex = digest.as_str().strip_prefix("sha256:")?;
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn long(short: &Short) -> Option<Digest> {
    let hex: String = short.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().ok()
}

impl Known {
    /// Reads a snapshot once.
    ///
    /// # Errors
    /// It is none.
    pub fn read(mut snapshot: Snapshot) -> Result<Self, NotRead> {
        let mut found = Found::default();
        snapshot.each(|at, record| {
            found.take(at, record);
            Ok(())
        })?;
        found.policies.sort_by_key(|policy| !policy.deployed);
        Ok(Self {
            snapshot,
            policies: found.policies,
            uses: found.uses,
            registries: found.registries,
            summaries: found.summaries,
            rows_of_repositories: found.rows_of_repositories,
            gaps: found.gaps,
            refused: found.refused,
            rows_under: found.rows_under,
            repositories: found.repositories,
            numbers: found.numbers,
            access: found.access,
            listed: found.listed,
            images: found.images,
            read: BTreeMap::new(),
        })
    }
}

/// The result so far.
#[derive(Default)]
struct Found {
    policies: Vec<SnapshotPolicy>,
    uses: Vec<IndexState>,
    registries: Vec<RegistryRow>,
    summaries: Vec<RepositorySummary>,
    rows_of_repositories: Vec<RepositoryRow>,
    gaps: Vec<SnapshotGap>,
    refused: Vec<RefusedPull>,
    rows_under: BTreeMap<String, u64>,
    repositories: Vec<RepositoryKey>,
    numbers: BTreeMap<RepositoryKey, u32>,
    access: BTreeMap<u32, Option<String>>,
    listed: BTreeSet<u32>,
    images: BTreeMap<Place, Places>,
}

impl Found {
    fn number(&mut self, key: &RepositoryKey) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = u32::try_from(self.repositories.len()).unwrap_or(u32::MAX);
        self.repositories.push(key.clone());
        self.numbers.insert(key.clone(), number);
        number
    }

    fn places(&mut self, image: &ImageKey) -> Option<&mut Places> {
        let number = self.number(&RepositoryKey::of(image));
        let place = (number, short(&image.digest)?);
        Some(self.images.entry(place).or_default())
    }

    fn take(&mut self, at: Keep, record: SnapshotRecord) {
        match record {
            SnapshotRecord::Policy(policy) => self.policies.push(policy),
            SnapshotRecord::Image(row) => {
                if row.closed_at.is_none() {
                    *self.rows_under.entry(row.policy.clone()).or_default() += 1;
                }
                match self.places(&row.image) {
                    Some(places) => places.row = Some(at),
                    None => self.odd(&row.image),
                }
            }
            SnapshotRecord::Listed(listed) => {
                let image = listed.repository.image(&listed.listed.image.digest);
                match self.places(&image) {
                    Some(places) => places.listed = Some(at),
                    None => self.odd(&image),
                }
            }
            SnapshotRecord::ListedAll(key) => {
                let number = self.number(&key);
                self.listed.insert(number);
            }
            SnapshotRecord::Use(row) => match self.places(&row.image) {
                Some(places) => places.used = Some(at),
                None => self.odd(&row.image),
            },
            SnapshotRecord::Access(access) => {
                let number = self.number(&access.repository);
                self.access.insert(number, access.document);
            }
            SnapshotRecord::Uses(state) => self.uses.push(state),
            SnapshotRecord::RefusedPull(refused) => self.refused.push(refused),
            SnapshotRecord::Summary(summary) => self.summaries.push(*summary),
            SnapshotRecord::Registry(row) => self.registries.push(row),
            SnapshotRecord::Repository(row) => self.rows_of_repositories.push(*row),
            SnapshotRecord::Unreadable(gap) => self.gaps.push(gap),
            SnapshotRecord::Tag(_)
            | SnapshotRecord::Copy(_)
            | SnapshotRecord::Copies(_)
            | SnapshotRecord::Backfill(_) => {}
        }
    }

    fn odd(&mut self, image: &ImageKey) {
        self.gaps.push(SnapshotGap {
            what: image.to_string(),
            why: "its digest is no SHA-256".to_owned(),
        });
    }
}

impl Known {
    /// The images that have a row or are listed, a repository after the other.
    pub fn images(&self) -> Vec<ImageId> {
        let of_interest = self
            .images
            .iter()
            .filter(|(_, places)| places.row.is_some() || places.listed.is_some());
        of_interest.map(|(place, _)| ImageId(*place)).collect()
    }

    /// The images of a repository.
    pub fn images_of(&self, key: &RepositoryKey) -> Vec<ImageId> {
        let Some(number) = self.numbers.get(key) else {
            return Vec::new();
        };
        let all = self.images.range((*number, [0; 32])..=(*number, [0xff; 32]));
        all.map(|(place, _)| ImageId(*place)).collect()
    }

    /// The repositories.
    pub fn repositories(&self) -> &[RepositoryKey] {
        &self.repositories
    }

    /// The repository of an image.
    pub fn repository(&self, id: ImageId) -> Option<&RepositoryKey> {
        self.repositories.get(id.0.0 as usize)
    }

    /// The name of an image.
    pub fn key(&self, id: ImageId) -> Option<ImageKey> {
        Some(self.repository(id)?.image(&long(&id.0.1)?))
    }

    /// An image by its name, if the snapshot speaks of it.
    pub fn id(&self, key: &ImageKey) -> Option<ImageId> {
        let number = self.numbers.get(&RepositoryKey::of(key))?;
        let place = (*number, short(&key.digest)?);
        self.images.contains_key(&place).then_some(ImageId(place))
    }

    /// Whether what registries list is known of a repository, to its end.
    pub fn is_listed(&self, id: ImageId) -> bool {
        self.listed.contains(&id.0.0)
    }

    /// The text of the repository's policy; `None`: it is not known.
    pub fn access(&self, id: ImageId) -> Option<Option<&str>> {
        self.access.get(&id.0.0).map(Option::as_deref)
    }

    fn places(&self, id: ImageId) -> Places {
        self.images.get(&id.0).copied().unwrap_or_default()
    }

    /// The row of an image.
    ///
    /// # Errors
    /// The file has changed.
    pub fn row(&mut self, id: ImageId) -> Result<Option<Row>, NotRead> {
        let Some(at) = self.places(id).row else { return Ok(None) };
        if let Some(row) = self.read.get(&id) {
            return Ok(Some(row.clone()));
        }
        let SnapshotRecord::Image(row) = self.snapshot.record(at)? else {
            return Ok(None);
        };
        if self.read.len() >= KEPT_ROWS {
            self.read.clear();
        }
        self.read.insert(id, (*row).clone());
        Ok(Some(*row))
    }

    /// The row of an image by its name.
    ///
    /// # Errors
    /// The file has changed.
    pub fn row_of(&mut self, key: &ImageKey) -> Result<Option<Row>, NotRead> {
        match self.id(key) {
            Some(id) => self.row(id),
            None => Ok(None),
        }
    }

    /// An image as the registry lists it.
    ///
    /// # Errors
    /// The file has changed.
    pub fn listed(&mut self, id: ImageId) -> Result<Option<ListedImage>, NotRead> {
        let Some(at) = self.places(id).listed else {
            return Ok(None);
        };
        Ok(match self.snapshot.record(at)? {
            SnapshotRecord::Listed(listed) => Some(listed.listed),
            _ => None,
        })
    }

    /// Who uses an image.
    ///
    /// # Errors
    /// The file has changed.
    pub fn used(&mut self, id: ImageId) -> Result<Option<UseRow>, NotRead> {
        let Some(at) = self.places(id).used else {
            return Ok(None);
        };
        Ok(match self.snapshot.record(at)? {
            SnapshotRecord::Use(row) => Some(row),
            _ => None,
        })
    }

    /// The images of a repository that are listed and were pulled.
    ///
    /// # Errors
    /// The file has changed.
    pub fn pulled(&mut self, key: &RepositoryKey) -> Result<Vec<Image>, NotRead> {
        let mut pulled = Vec::new();
        for id in self.images_of(key) {
            let listed = self.listed(id)?;
            pulled.extend(
                listed
                    .map(|listed| listed.image)
                    .filter(|image| image.last_pulled_at.is_some()),
            );
        }
        Ok(pulled)
    }

    /// The state of the index of workloads of a region.
    pub fn index_state(&self, account: &AccountId, region: &Region) -> Option<&IndexState> {
        self.uses
            .iter()
            .find(|state| state.account == *account && state.region == *region)
    }

    /// The row of a registry.
    pub fn registry(&self, key: &RegistryKey) -> Option<&RegistryRow> {
        self.registries.iter().find(|row| row.registry == *key)
    }

    /// The repositories of this name, in all accounts and regions.
    pub fn named(&self, name: &RepositoryName) -> Vec<RepositoryKey> {
        let all = self.repositories.iter().filter(|key| key.repository == *name);
        all.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory of an image while a snapshot is read: 100,000 of them need some 12 MB.
    #[test]
    fn an_image_takes_a_hundred_bytes_however_many_findings_it_has() {
        assert!(size_of::<(Place, Places)>() <= 96, "{}", size_of::<(Place, Places)>());
        assert!(size_of::<ImageId>() <= 36);
    }

    #[test]
    fn a_digest_is_kept_in_32_bytes() {
        let digest: Digest = format!("sha256:{}", "0f".repeat(32)).parse().unwrap();
        assert_eq!(long(&short(&digest).unwrap()), Some(digest));
        for odd in ["sha256:0f", "sha512:00"] {
            assert_eq!(
                odd.parse().ok().and_then(|digest: Digest| short(&digest)),
                None,
                "{odd}"
            );
        }
    }
}
