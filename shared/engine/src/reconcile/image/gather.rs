//! The facts that every decision needs.

use futures_util::future::{join, join3};
use jiff::Timestamp;

use super::{
    ahead::{Ahead, OwnRows},
    attempt::{Attempt, NotRead},
    boxed::boxed,
    image_run::ImageRun,
};
use crate::reconcile::{ReconcileError, refusal_of};
use guard_core::{
    decide::{Facts, LeadingIndex, SourceImage, SourceRank, may_be_source},
    finding::{Scan, ScanEvent, ScanTrigger},
    ids::{Digest, ImageKey, ImageRef},
    image::Image,
    ledger::Row,
    replication::is_destination,
};
use guard_ports::{Clock as _, Ledger as _, PortError, Pulled, Registry as _, Retry, Scanner as _, Services};

impl<S: Services> ImageRun<'_, S> {
    /// All that is needed to decide, in one round of concurrent calls. `ahead`: those that were read already, with others.
    pub(super) async fn gather(&self, ahead: Option<Ahead>) -> Result<Attempt, ReconcileError> {
        let index_row = ahead.as_ref().and_then(|ahead| ahead.index.clone());
        let by_digest = ImageRef::Digest(self.key.digest.clone());
        let seen = async {
            let Some(ahead) = ahead else {
                let registry = self.services.registry();
                let image = boxed(|| registry.image(&self.key.repository, &by_digest));
                let (scan, rows) = (boxed(|| self.scan()), boxed(|| self.own_rows_and_uses()));
                let (image, scan, rows) = join3(image, scan, rows).await;
                return (image, scan, rows, None);
            };
            (Ok(ahead.image), ahead.scan, Ok((ahead.rows, None)), ahead.answers)
        };
        let trigger = async {
            if self.hints.arrival.is_some() {
                self.trigger().await
            } else {
                Ok(None)
            }
        };
        let ((image, scan, rows, answers), trigger, pulled) = join3(seen, trigger, self.pulled_ahead()).await;
        let failed = |source| self.failed("reconcile", source);
        let (OwnRows { mut row, source }, uses) = rows.map_err(failed)?;
        let image = image.map_err(failed)?;
        if let Some(row) = row.as_mut().filter(|row| row.not_reached && image.is_some()) {
            // Its row only says that nobody could reconcile it: it is a new one.
            row.closed_at = row.closed_at.or(Some(row.since));
        }
        let (scan, refused) = match scan {
            Ok(scan) => (scan, None),
            Err(source) if source.retry == Retry::Never => (Scan::Refused(refusal_of(&source)), Some(source)),
            Err(source) => return Err(failed(source)),
        };
        // A sweep reconciles many images, and most of them have a scan.
        let trigger = match trigger.map_err(failed)? {
            None if self.hints.found && scan == Scan::Absent && image.is_some() => {
                self.trigger().await.map_err(failed)?
            }
            known => known,
        };
        let since = image.as_ref().and_then(Image::available_since);
        let (indexes, source) = join(
            self.indexes(row.as_ref(), index_row),
            self.source(row.as_ref(), since, source),
        )
        .await;
        let facts = Facts {
            image,
            scan,
            // The uses of an image that is pulled together with others are read with theirs.
            uses: uses.filter(|_| is_by_itself(row.as_ref()) && self.index.is_none()),
            indexes: indexes?,
            indexes_read: self.hints.indexes_read,
            // For an image of more indexes than its row remembers, the sweep does not say which they are: they are read.
            indexes_known: (self.hints.indexes_read && !row.as_ref().is_some_and(|row| row.more_indexes))
                .then_some(true),
            source: source?,
            row,
            trigger,
            // An event of the future would be waited for.
            announced: self.hints.announced.clone().map(|event| ScanEvent {
                at: event.at.min(self.services.clock().now()),
                ..event
            }),
            arrival: self.hints.arrival.clone(),
            found: self.hints.found,
            epss: self.hints.epss.clone(),
            ..Facts::about(self.key.clone(), self.actor)
        };
        Ok(Attempt {
            facts,
            pulled: pulled.map_err(failed)?.or_else(|| answers.as_ref()?.listed.clone()),
            answers,
            not_read: NotRead::default(),
            unscanned: refused,
            refused: None,
        })
    }

    /// How the repository is scanned.
    async fn trigger(&self) -> Result<Option<ScanTrigger>, PortError> {
        let registry = self.services.registry();
        boxed(|| registry.scan_trigger(&self.key.repository)).await
    }

    /// The images that were pulled, if the decision will need them: an event that announces a blocking finding needs the image that this one
    /// replaces. In most repositories one page answers that, and saves a round trip between the finding and the block.
    async fn pulled_ahead(&self) -> Result<Option<Pulled>, PortError> {
        let announced = self.hints.announced.as_ref();
        let block_ahead = self.policy.block(&self.key.repository).not_worse_than_running
            && announced.is_some_and(|event| self.policy.may_block(&event.counts));
        if !block_ahead {
            return Ok(None);
        }
        let registry = self.services.registry();
        // By the longest time that a pull may count: what the scanner says is not known yet.
        let since = self.in_use_since(false);
        let pulled = boxed(|| registry.pulled_since(&self.key.repository, since, None));
        pulled.await.map(Some)
    }

    pub(super) async fn scan(&self) -> Result<Scan, PortError> {
        match &self.hints.refused {
            Some(refused) => Err(refused.clone()),
            None => self.services.registry().scan(&self.key).await,
        }
    }

    /// The parent indexes of this image: those that its row names, and the one that it was reached through. `read`: the row of that one, if it was
    /// read already.
    async fn indexes(&self, row: Option<&Row>, read: Option<Option<Row>>) -> Result<Vec<LeadingIndex>, ReconcileError> {
        let mut digests: Vec<Digest> = row.map(|row| row.indexes.clone()).unwrap_or_default();
        if let Some((index, _)) = self.index.as_ref().filter(|(index, _)| !digests.contains(index)) {
            digests.push(index.clone());
        }
        let is_looked_for = |digest: &Digest| self.index.as_ref().is_some_and(|(index, _)| index == digest);
        let read = |digest: &Digest| read.as_ref().filter(|_| is_looked_for(digest));
        let unread = digests.iter().filter(|digest| read(digest).is_none());
        let keys: Vec<ImageKey> = unread.map(|digest| self.of(digest, None).key).collect();
        let rows = boxed(|| self.services.ledger().rows_of(&keys)).await;
        let mut rows = rows
            .map_err(|source| self.failed("read the indexes of", source))?
            .into_iter();
        let looking = |digest: &Digest| {
            let index = self.index.as_ref().filter(|(index, _)| index == digest);
            index.map(|(_, tags)| tags.clone())
        };
        let indexes = digests.iter().map(|digest| LeadingIndex {
            looking: looking(digest),
            digest: digest.clone(),
            row: match read(digest) {
                Some(row) => row.clone(),
                None => rows.next().flatten(),
            },
        });
        Ok(indexes.collect())
    }

    /// The image in another region that this one is a copy of: by what an event said, or by what its row remembers; and where copies
    /// arrive and no event led here, by the ledger. `said`: the one of the event, which was read already.
    async fn source(
        &self,
        row: Option<&Row>,
        since: Option<Timestamp>,
        said: Option<SourceImage>,
    ) -> Result<Option<SourceImage>, ReconcileError> {
        let failed = |source| self.failed("read the source of", source);
        let known = row.and_then(|row| Some(row.source.as_ref()?.region.clone()));
        if said.is_none() && known.is_none() {
            if !self.hints.found || !is_destination(self.policy, &self.key.repository, &self.key.region) {
                return Ok(None);
            }
            let rows = boxed(|| self.services.ledger().rows_elsewhere(&self.key)).await;
            let rows = rows.map_err(failed)?.into_iter();
            let rows = rows.filter(|row| may_be_source(self.policy, row, &self.key.region, since));
            let row = rows.min_by_key(|row| SourceRank::of(self.policy, row));
            return Ok(row.map(|row| SourceImage {
                region: row.image.region.clone(),
                row: Some(row),
            }));
        }
        let is_copy_of_this = |source: &SourceImage| {
            let of = source.row.as_ref().and_then(|row| row.source.as_ref());
            of.is_some_and(|of| of.region == self.key.region)
        };
        if said.as_ref().is_some_and(|said| !is_copy_of_this(said)) {
            return Ok(said);
        }
        // Each is a copy of the other: then none follows.
        let Some(region) = known.filter(|known| said.as_ref().is_none_or(|said| said.region != *known)) else {
            return Ok(said);
        };
        let key = ImageKey {
            region: region.clone(),
            ..self.key.clone()
        };
        let row = boxed(|| self.services.ledger().row(&key)).await.map_err(failed)?;
        Ok(Some(SourceImage { region, row }))
    }

    /// An image that was pulled since then counts as in use. `counted`: the scanner counts the workloads that run it.
    pub(super) fn in_use_since(&self, counted: bool) -> Timestamp {
        self.services.clock().now() - self.policy.block(&self.key.repository).in_use(counted)
    }
}

/// Whether nothing is known to be pulled together with an image.
fn is_by_itself(row: Option<&Row>) -> bool {
    row.is_none_or(|row| row.indexes.is_empty() && row.children.is_empty())
}
