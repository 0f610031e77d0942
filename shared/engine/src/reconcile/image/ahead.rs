//! Facts of images that were read before each of them is reconciled.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::image_run::ImageRun;
use guard_core::{
    decide::{Facts, SourceImage},
    finding::Scan,
    ids::{Digest, ImageKey},
    image::{Image, ImageKind},
    ledger::Row,
    uses::Uses,
};
use guard_ports::{Clock as _, FamilyRows, PortError, Pulled, Services};

/// The first facts of an image, as they were read.
pub(super) struct Ahead {
    pub(super) image: Option<Image>,
    pub(super) scan: Result<Scan, PortError>,
    pub(super) rows: OwnRows,
    /// The row of the index that the image was reached through, if that was read; and `None` in it: it has none.
    pub(super) index: Option<Option<Row>>,
    pub(super) answers: Option<Answers>,
}

/// Answers to questions about an index, read before they were asked.
pub(super) struct Answers {
    /// The rows of its children.
    pub(super) rows: BTreeMap<Digest, Option<Row>>,
    /// When its children were last pulled.
    pub(super) pulled: BTreeMap<Digest, Option<Timestamp>>,
    /// Who uses images, and of which that was asked; `None`: it was not asked.
    pub(super) uses: Option<(Vec<ImageKey>, FamilyRows)>,
    /// The list of pulled images of the repository, as far as it was read.
    pub(super) listed: Option<Pulled>,
}

impl Answers {
    /// The rows of these children; `None`: not all of them were read.
    pub(super) fn rows_of(&self, children: &[ImageKey]) -> Option<Vec<Option<Row>>> {
        let rows = children.iter().map(|child| self.rows.get(&child.digest).cloned());
        rows.collect()
    }

    /// When these children were last pulled, one time for each that was; `None`: not all of them were read.
    pub(super) fn pulled(&self, children: &[Digest]) -> Option<Vec<Timestamp>> {
        let pulled = children.iter().map(|child| self.pulled.get(child).copied());
        let pulled: Option<Vec<Option<Timestamp>>> = pulled.collect();
        Some(pulled?.into_iter().flatten().collect())
    }

    /// Who uses these images; `None`: not all of them were asked about.
    pub(super) fn uses_of<S: Services>(&self, run: &ImageRun<'_, S>, images: &[ImageKey]) -> Option<Uses> {
        let (asked, found) = self.uses.as_ref()?;
        let rules = run.policy.workloads.as_ref()?;
        let all_asked = images.iter().all(|image| asked.contains(image));
        let now = run.services.clock().now();
        all_asked.then(|| Uses::of(rules, images, &found.uses, found.state.as_ref(), now))
    }

    /// The versions of the children's rows that were read. `beside`: an image of the same repository.
    pub(super) fn versions(&self, beside: &ImageKey) -> Vec<(ImageKey, Option<u64>)> {
        let versions = self.rows.iter().map(|(digest, row)| {
            let key = ImageKey {
                digest: digest.clone(),
                ..beside.clone()
            };
            (key, row.as_ref().map(|row| row.generation))
        });
        versions.collect()
    }
}

/// The only parent index of an image, as it was read while the row of the image was written.
pub(super) struct ReadIndex {
    /// The facts of the image, as they were before.
    pub(super) facts: Facts,
    /// The image, as it was then.
    pub(super) image: Option<Image>,
    /// The index.
    pub(super) ahead: Ahead,
}

impl ReadIndex {
    /// Who uses these images; `None`: not all of them were asked about.
    pub(super) fn uses_of<S: Services>(&self, run: &ImageRun<'_, S>, images: &[ImageKey]) -> Option<Uses> {
        self.ahead.answers.as_ref()?.uses_of(run, images)
    }

    /// The facts of the index; with the row that the image has now.
    pub(super) fn ahead(self, row: &Row) -> Ahead {
        let mut ahead = self.ahead;
        if let Some(answers) = &mut ahead.answers {
            answers.rows.insert(row.image.digest.clone(), Some(row.clone()));
        }
        ahead
    }
}

/// The rows that are read of an image before anything is known of it.
pub(super) struct OwnRows {
    /// Its own.
    pub(super) row: Option<Row>,
    /// The image in another region that it is a copy of, by what an event said.
    pub(super) source: Option<SourceImage>,
}

impl Ahead {
    pub(super) fn is_index(&self) -> bool {
        self.image
            .as_ref()
            .is_some_and(|image| image.kind() == ImageKind::Index)
    }
}
