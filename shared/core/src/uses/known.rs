//! Facts that never change and need not be asked for again: the images of a revision or version, once they were read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{AccountId, Region};

/// The number of items for the known facts, by a hash of the name: a new entry is one write of one of them.
pub const KNOWN_PARTS: u8 = 4;

/// The most bytes of an item, as JSON. Facts without room are asked for again in every run.
pub const MAX_KNOWN_BYTES: usize = 350_000;

/// The only form that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KnownSchema {
    /// First form.
    #[serde(rename = "ecr-guard/known-workloads/v1")]
    V1,
}

/// One of the items of what the function of a region knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPart {
    /// Form of this document.
    pub schema: KnownSchema,
    /// The account of the registry.
    pub account: AccountId,
    /// The region whose workloads are listed.
    pub region: Region,
    /// Which of the parts: 0 to [`KNOWN_PARTS`] - 1.
    pub part: u8,
    /// Images as text, by what has them, such as the ARN of a task definition.
    pub entries: BTreeMap<String, Vec<String>>,
    /// Number of the write that made this row; a write must name the one before (optimistic lock).
    pub generation: u64,
}

impl KnownPart {
    /// The partition key: `workloads#<account>`.
    pub fn partition_key(account: &AccountId) -> String {
        format!("workloads#{account}")
    }

    /// The prefix of the sort keys of a region's parts.
    pub fn prefix(region: &Region) -> String {
        format!("known#{region}#")
    }

    /// The sort key: `known#<region>#<part>`.
    pub fn sort_key(region: &Region, part: u8) -> String {
        format!("{}{part}", Self::prefix(region))
    }
}

/// The images of revisions and versions, each by a name that another revision or version does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownImages(BTreeMap<String, Vec<String>>);

impl KnownImages {
    /// From its parts.
    pub fn from_parts(parts: &[KnownPart]) -> Self {
        Self(parts.iter().flat_map(|part| part.entries.clone()).collect())
    }

    /// The images of something; `None`: somebody has to ask.
    pub fn get(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Something has these images.
    pub fn insert(&mut self, name: String, images: Vec<String>) {
        self.0.insert(name, images);
    }

    /// Takes over all of another one.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Those that begin with one of these.
    #[must_use]
    pub fn only(&self, prefixes: &[String]) -> Self {
        let begins = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let entries = self.0.iter().filter(|(name, _)| begins(name));
        Self(entries.map(|(name, images)| (name.clone(), images.clone())).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts to write, where they say something else than before.
    pub fn changed_parts(&self, account: &AccountId, region: &Region, before: &[KnownPart]) -> Vec<KnownPart> {
        let mut parts: Vec<(BTreeMap<String, Vec<String>>, usize)> = Vec::new();
        parts.resize(usize::from(KNOWN_PARTS), (BTreeMap::new(), 0));
        for (name, images) in &self.0 {
            let Some((entries, bytes)) = parts.get_mut(usize::from(part_of(name))) else {
                continue;
            };
            let more = name.len() + images.iter().map(|image| image.len() + 3).sum::<usize>() + 6;
            if *bytes + more <= MAX_KNOWN_BYTES {
                *bytes += more;
                entries.insert(name.clone(), images.clone());
            }
        }
        let mut changed = Vec::new();
        for (part, (entries, _)) in (0..KNOWN_PARTS).zip(parts) {
            let known = before.iter().find(|known| known.part == part);
            if known.map_or(entries.is_empty(), |known| known.entries == entries) {
                continue;
            }
            changed.push(KnownPart {
                schema: KnownSchema::V1,
                account: account.clone(),
                region: region.clone(),
                part,
                entries,
                generation: known.map_or(0, |known| known.generation).saturating_add(1),
            });
        }
        changed
    }
}

/// Which part an entry is in.
fn part_of(name: &str) -> u8 {
    let hash = Sha256::digest(name);
    hash.first().copied().unwrap_or_default() % KNOWN_PARTS
}
