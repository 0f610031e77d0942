//! Which indexes reference which images.

use jiff::Timestamp;

use super::{ahead::Answers, attempt::NotRead, boxed::boxed, image_run::ImageRun, pages::MAX_PAGES_OF_IMAGES};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{ChildFacts, Children, Facts, LeadingIndex},
    ids::{Digest, ImageKey, Tag},
    image::{Child, Listed, children},
    ledger::{MAX_INDEXES, Row},
};
use guard_ports::{Ledger as _, Registry as _, Retry, Services};

/// The most manifests of indexes that are read for an image, if nobody has read them yet.
const MAX_UNREAD_INDEXES: usize = 10;

/// The tags of the image that the facts are of.
pub(super) fn sorted_tags(facts: &Facts) -> Vec<Tag> {
    let mut tags = facts.image.as_ref().map(|image| image.tags.clone()).unwrap_or_default();
    tags.sort();
    tags
}

impl<S: Services> ImageRun<'_, S> {
    /// The entries of this index, by its row, or by its manifest if the row has none; `None`: the manifest cannot be read, or is none of an index.
    pub(super) async fn listed(&self, facts: &Facts, not_read: &mut NotRead) -> Result<Option<Listed>, ReconcileError> {
        if let Some(row) = facts.row.as_ref().filter(|row| !row.children.is_empty()) {
            return Ok(Some(Listed {
                children: row.children.clone(),
                more: row.more_children,
            }));
        }
        let manifest = self.manifest(facts, not_read).await?;
        Ok(manifest.and_then(|manifest| children(&manifest)))
    }

    /// The children of this index, each with a row that names the index; and the number of its further entries. A child without
    /// such a row is reconciled first.
    pub(super) async fn children(
        &self,
        facts: &Facts,
        not_read: &mut NotRead,
        answers: Option<&Answers>,
    ) -> Result<(Children, u64), ReconcileError> {
        let failed = |source| self.failed("read", source);
        let Some(Listed { children: listed, more }) = self.listed(facts, not_read).await? else {
            return Ok((Children::Unknown, 0));
        };
        let tags = sorted_tags(facts);
        // They are evaluated by the index's tags as well: an exception may name one.
        let judged_by_tags = facts
            .row
            .as_ref()
            .is_some_and(|row| row.closed_at.is_none() && row.tags == tags);
        let is_linked = |row: &Row| {
            let knows = row.more_indexes || row.indexes.contains(&self.key.digest);
            row.closed_at.is_none() && knows
        };
        // Without one that counts, all of them are read anew, and at once.
        let linked: Vec<Option<Row>> = if judged_by_tags {
            let keys: Vec<ImageKey> = listed.iter().map(|child| self.of(&child.digest, None).key).collect();
            let rows = match answers.and_then(|answers| answers.rows_of(&keys)) {
                Some(rows) => rows,
                None => self.services.ledger().rows_of(&keys).await.map_err(failed)?,
            };
            rows.into_iter().map(|row| row.filter(is_linked)).collect()
        } else {
            vec![None; listed.len()]
        };
        let unlinked = listed.iter().zip(&linked).filter(|(_, row)| row.is_none());
        let through = || Some((self.key.digest.clone(), tags.clone()));
        let runs: Vec<Self> = unlinked.map(|(child, _)| self.of(&child.digest, through())).collect();
        let mut looked = boxed(|| self.look_at_all(&runs, facts.row.as_ref())).await?.into_iter();
        let children = listed.into_iter().zip(linked).map(|(child, row)| ChildFacts {
            child,
            row: row.or_else(|| looked.next().and_then(|looked| looked.row)),
        });
        Ok((Children::Known(children.collect()), more))
    }

    /// When the children of this index were last pulled.
    pub(super) async fn children_pulled(
        &self,
        facts: &Facts,
        answers: Option<&Answers>,
    ) -> Result<Vec<Timestamp>, ReconcileError> {
        let children = facts.children().iter().map(|child| child.child.digest.clone());
        let children: Vec<Digest> = children.collect();
        if let Some(pulled) = answers.and_then(|answers| answers.pulled(&children)) {
            return Ok(pulled);
        }
        let images = self
            .services
            .registry()
            .images_of(&self.key.repository, &children)
            .await;
        let images = images.map_err(|source| self.failed("read the children of", source))?;
        Ok(images
            .into_iter()
            .flatten()
            .filter_map(|image| image.last_pulled_at)
            .collect())
    }

    /// Whether all indexes of the repository are known to reference this image or not; and those that do, and that its row does
    /// not name. The manifest of an index that nobody has read says it: then that index is reconciled with the image.
    pub(super) async fn indexes_known(&self, facts: &Facts) -> Result<(bool, Vec<LeadingIndex>), ReconcileError> {
        let failed = |source| self.failed("look for more indexes of", source);
        let registry = self.services.registry();
        let Some(listed) = self.indexes_of_repository().await? else {
            return Ok((false, Vec::new()));
        };
        let is_known = |digest: &Digest| {
            facts
                .indexes
                .iter()
                .any(|index| index.digest == *digest && index.is_open())
        };
        let keys: Vec<ImageKey> = listed
            .iter()
            .filter(|digest| !is_known(digest))
            .map(|digest| self.of(digest, None).key)
            .collect();
        let rows = self.services.ledger().rows_of(&keys).await.map_err(failed)?;
        let leads = |children: &[Child]| children.iter().any(|child| child.digest == self.key.digest);
        let (mut more, mut unread) = (Vec::new(), Vec::new());
        for (key, row) in keys.into_iter().zip(rows) {
            match row.filter(Row::names_all_entries) {
                Some(row) if leads(&row.children) => more.push(LeadingIndex {
                    digest: key.digest,
                    row: Some(row),
                    looking: None,
                }),
                Some(_) => {}
                None => unread.push(key),
            }
        }
        let mut known = unread.len() <= MAX_UNREAD_INDEXES;
        for key in unread.into_iter().take(MAX_UNREAD_INDEXES) {
            let manifest = match registry.manifest(&key).await {
                Err(source) if source.retry == Retry::Later => return Err(failed(source)),
                manifest => manifest.ok().flatten(),
            };
            match manifest.and_then(|manifest| children(&manifest)) {
                Some(listed) if leads(&listed.children) => more.push(LeadingIndex {
                    digest: key.digest,
                    row: None,
                    looking: Some(Vec::new()),
                }),
                listed => known &= listed.is_some_and(|listed| listed.more == 0),
            }
        }
        Ok((known, more))
    }

    /// Whether all indexes of the repository are known not to reference this image, apart from those that it is known to be referenced by: by one page of
    /// the registry's list, and without reading a manifest. If not, [`indexes_known`](Self::indexes_known) may still find that.
    pub(super) async fn indexes_known_at_once(&self, facts: &Facts) -> bool {
        let page = self.services.registry().indexes(&self.key.repository, None).await;
        let Ok(page) = page else { return false };
        if page.next.is_some() || !page.unreadable.is_empty() {
            return false;
        }
        let is_known = |digest: &Digest| {
            facts
                .indexes
                .iter()
                .any(|index| index.digest == *digest && index.is_open())
        };
        let unknown = page.items.iter().filter(|digest| !is_known(digest));
        let keys: Vec<ImageKey> = unknown.map(|digest| self.of(digest, None).key).collect();
        let Ok(rows) = self.services.ledger().rows_of(&keys).await else {
            return false;
        };
        rows.iter().all(|row| {
            let row = row.as_ref().filter(|row| row.names_all_entries());
            row.is_some_and(|row| row.children.iter().all(|child| child.digest != self.key.digest))
        })
    }

    /// All indexes of the repository; `None`: they are too many, the time was over before the list was, or a part of it cannot be read.
    async fn indexes_of_repository(&self) -> Result<Option<Vec<Digest>>, ReconcileError> {
        let (mut listed, mut after) = (Vec::new(), None);
        for _ in 0..MAX_PAGES_OF_IMAGES {
            if self.spent.is_all() {
                return Ok(None);
            }
            let page = self.services.registry().indexes(&self.key.repository, after.as_deref());
            let page = self
                .spent
                .on(self.services.clock(), page)
                .await
                .map_err(|source| self.failed("look for more indexes of", source))?;
            listed.extend(page.items);
            if !page.unreadable.is_empty() || listed.len() > MAX_INDEXES {
                return Ok(None);
            }
            after = page.next;
            if after.is_none() {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }
}
