//! Facts that are read for several images of a repository at once, before each of them is reconciled.

use futures_util::future::{join_all, join3};

use super::{image_run::ImageRun, run::Looked};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::SourceImage,
    finding::Scan,
    ids::{Digest, ImageKey},
    image::{Image, ImageKind},
    ledger::Row,
};
use guard_ports::{Ledger as _, PortError, Registry as _, Services};

/// The most images that are read together, and the most of their scans that are asked for, or images that are reconciled, at the same time.
pub(super) const READ_AT_ONCE: usize = 100;
const AT_ONCE: usize = 10;

/// The first facts of an image, as they were read.
pub(super) struct Ahead {
    pub(super) image: Option<Image>,
    pub(super) scan: Result<Scan, PortError>,
    pub(super) rows: OwnRows,
    /// The row of the index that the image was reached through, as far as it has one.
    pub(super) index: Option<Row>,
}

/// The rows that are read of an image before anything is known of it.
pub(super) struct OwnRows {
    /// Its own.
    pub(super) row: Option<Row>,
    /// The image in another region that it is a copy of, by what an event said.
    pub(super) source: Option<SourceImage>,
}

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

    /// Reads these rows in one call.
    pub(super) async fn own_rows(&self) -> Result<OwnRows, PortError> {
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
            index: index.cloned(),
        });
        Ok(ahead.collect())
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
                    together.push(Box::pin(run.one_with(Some(ahead))));
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

impl Ahead {
    fn is_index(&self) -> bool {
        self.image
            .as_ref()
            .is_some_and(|image| image.kind() == ImageKind::Index)
    }
}
