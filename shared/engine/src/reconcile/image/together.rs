//! Several images of a repository at once: what is read of them in one round of concurrent calls, and how they are reconciled.

use std::collections::BTreeMap;

use futures_util::future::{join_all, join3};

use super::{
    ahead::{Ahead, Answers, OwnRows, ReadIndex},
    attempt::Attempt,
    boxed::boxed,
    image_run::ImageRun,
    run::{Looked, Start},
};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{SourceImage, Step, to_look_at, workloads_that_hold},
    ids::{Digest, ImageKey},
    image::Image,
    ledger::Row,
    uses::Uses,
};
use guard_ports::{Clock as _, Ledger as _, PortError, Registry as _, Services, UseLedger as _};

/// The most images that are read together, and the most of their scans that are asked for, or images that are reconciled, at the same time.
pub(super) const READ_AT_ONCE: usize = 100;
pub(super) const AT_ONCE: usize = 10;

/// The most children of an index that are read ahead: with the index they are one call.
const MOST_CHILDREN: usize = READ_AT_ONCE - 1;

impl<S: Services> ImageRun<'_, S> {
    /// The keys of the rows that are read before anything is known of the image: its own, and that of the image that it is a copy of, by what an
    /// event said.
    fn own_keys(&self) -> Vec<ImageKey> {
        let source = self.hints.source.as_ref().filter(|region| **region != self.key.region);
        let source = source.map(|region| ImageKey {
            region: region.clone(),
            ..self.key.clone()
        });
        std::iter::once(self.key.clone()).chain(source).collect()
    }

    /// These rows, out of those that were read for [`own_keys`](Self::own_keys).
    fn own_of(&self, rows: &mut impl Iterator<Item = Option<Row>>) -> OwnRows {
        let mut keys = self.own_keys().into_iter();
        keys.next();
        OwnRows {
            row: rows.next().flatten(),
            source: keys.next().map(|key| SourceImage {
                region: key.region,
                row: rows.next().flatten(),
            }),
        }
    }

    /// Reads these rows, and if that will be needed, who uses the image, in one call.
    pub(super) async fn own_rows_and_uses(&self) -> Result<(OwnRows, Option<Uses>), PortError> {
        if let Some(rules) = self.rules_ahead() {
            let images = std::slice::from_ref(&self.key);
            let (ledger, keys) = (self.services.ledger(), self.own_keys());
            let found = ledger.rows_and_uses(&keys, images, &self.registry()).await;
            // Without it, each is read by itself: a row that cannot be read does not matter to the other.
            if let Ok(found) = found {
                let now = self.services.clock().now();
                let uses = Uses::of(rules, images, &found.uses, found.state.as_ref(), now);
                return Ok((self.own_of(&mut found.rows.into_iter()), Some(uses)));
            }
        }
        Ok((self.own_rows().await?, None))
    }

    /// Reads these rows in one call.
    async fn own_rows(&self) -> Result<OwnRows, PortError> {
        let ledger = self.services.ledger();
        let rows = match &*self.own_keys() {
            [key] => vec![ledger.row(key).await?],
            keys => ledger.rows_of(keys).await?,
        };
        Ok(self.own_of(&mut rows.into_iter()))
    }

    /// The first facts of several images of the repository, in one round of concurrent calls. `index`: the row of the index that they are reached
    /// through.
    pub(super) async fn ahead_of(&self, runs: &[Self], index: Option<&Row>) -> Result<Vec<Ahead>, ReconcileError> {
        let failed = |source| self.failed("read the children of", source);
        let digests: Vec<Digest> = runs.iter().map(|run| run.key.digest.clone()).collect();
        let keys: Vec<ImageKey> = runs.iter().flat_map(Self::own_keys).collect();
        let scans = async {
            let mut scans = Vec::new();
            for some in runs.chunks(AT_ONCE) {
                scans.extend(join_all(some.iter().map(Self::scan)).await);
            }
            scans
        };
        let (images, rows, scans) = join3(
            self.services.registry().images_of(&self.key.repository, &digests),
            self.services.ledger().rows_of(&keys),
            scans,
        )
        .await;
        let mut rows = rows.map_err(failed)?.into_iter();
        let read = images.map_err(failed)?.into_iter().zip(scans).zip(runs);
        let ahead = read.map(|((image, scan), run)| Ahead {
            image,
            scan,
            rows: run.own_of(&mut rows),
            index: Some(index.cloned()),
            answers: None,
        });
        Ok(ahead.collect())
    }

    /// Reads the only parent index of an image while the row of a step is written, and what will be asked of that index. `None`: it has none, or
    /// several, or they could not be read; then they are reconciled one after the other. `leads_on`: that index is reconciled next.
    pub(super) async fn read_index(&self, leads_on: bool, step: &Step, attempt: &Attempt) -> Option<Box<ReadIndex>> {
        if !leads_on {
            return None;
        }
        let facts = &attempt.facts;
        let is_record = step.effect.is_none() && step.alert.is_none() && step.row.closed_at.is_none();
        let indexes = to_look_at(&step.row, &facts.indexes);
        let [index] = indexes.as_slice() else { return None };
        let row = index.row.as_ref().filter(|row| {
            let is_top = row.indexes.is_empty() && !row.more_indexes && row.source.is_none();
            is_record && is_top && row.names_all_entries() && row.children.len() <= MOST_CHILDREN
        })?;
        let run = self.of(&index.digest, None);
        let children = || row.children.iter().map(|child| child.digest.clone());
        let digests: Vec<Digest> = std::iter::once(index.digest.clone()).chain(children()).collect();
        let key_of = |digest: &Digest| self.of(digest, None).key;
        let others = children().filter(|digest| *digest != self.key.digest);
        let others: Vec<Digest> = others.collect();
        let keys: Vec<ImageKey> = others.iter().map(key_of).collect();
        let family: Vec<ImageKey> = digests.iter().map(key_of).collect();
        let rows = async {
            let ledger = self.services.ledger();
            if workloads_that_hold(self.policy, &self.key).is_some() {
                let found = ledger.rows_and_uses(&keys, &family, &self.registry()).await;
                return found.map(|mut found| (std::mem::take(&mut found.rows), Some((family, found))));
            }
            ledger.rows_of(&keys).await.map(|rows| (rows, None))
        };
        let images = self.services.registry().images_of(&self.key.repository, &digests);
        let (images, scan, rows) = join3(images, run.scan(), rows).await;
        let (rows, uses) = rows.ok()?;
        let mut images: BTreeMap<Digest, Option<Image>> = digests.into_iter().zip(images.ok()?).collect();
        let ahead = Ahead {
            image: images.remove(&index.digest).flatten(),
            scan,
            rows: OwnRows {
                row: Some(row.clone()),
                source: None,
            },
            index: None,
            answers: Some(Answers {
                rows: others.into_iter().zip(rows).collect(),
                pulled: images
                    .iter()
                    .map(|(digest, image)| (digest.clone(), image.as_ref().and_then(|image| image.last_pulled_at)))
                    .collect(),
                uses,
                listed: attempt.pulled.clone(),
            }),
        };
        Some(Box::new(ReadIndex {
            facts: facts.clone(),
            image: images.remove(&self.key.digest).flatten(),
            ahead,
        }))
    }

    /// Whether the rows that were read ahead are still those of the ledger: `index` is the row of this index, and not compared where it is
    /// written on its own condition. A child that was reconciled at the same time has written its row before it reads this one's relatives, as this
    /// one has: so one of the two sees what the other has found.
    pub(super) async fn is_as_read(
        &self,
        answers: Option<&Answers>,
        index: Option<&Row>,
    ) -> Result<bool, ReconcileError> {
        let Some(answers) = answers else { return Ok(true) };
        let mut read = answers.versions(&self.key);
        read.extend(index.map(|row| (self.key.clone(), Some(row.generation))));
        let keys: Vec<ImageKey> = read.iter().map(|(key, _)| key.clone()).collect();
        let rows = self.services.ledger().rows_of(&keys).await;
        let rows = rows.map_err(|source| self.failed("read the children of", source))?;
        let now = rows.iter().map(|row| row.as_ref().map(|row| row.generation));
        Ok(now.eq(read.iter().map(|(_, version)| *version)))
    }

    /// Reconciles these images of the repository, which are reached through this one, an index with this row; gives their results in their order. All
    /// are reconciled, also where one fails.
    pub(super) async fn look_at_all(&self, runs: &[Self], index: Option<&Row>) -> Result<Vec<Looked>, ReconcileError> {
        let mut looked = Vec::new();
        for some in runs.chunks(READ_AT_ONCE) {
            let ahead = self.ahead_of(some, index).await?;
            let mut left = some.iter().zip(ahead).peekable();
            while left.peek().is_some() {
                // Two indexes may reference the same image: one of them is reconciled after the other.
                let mut is_first = true;
                let mut together = Vec::new();
                while let Some((run, ahead)) = left.next_if(|(_, ahead)| is_first || !ahead.is_index()) {
                    is_first = ahead.is_index();
                    // Boxed, because an index may reference an index.
                    together.push(boxed(|| run.one_with(Start::with(ahead))));
                    if is_first || together.len() == AT_ONCE {
                        break;
                    }
                }
                looked.extend(join_all(together).await);
            }
        }
        looked.into_iter().collect()
    }
}
