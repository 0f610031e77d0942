//! Takes tags from an image so that no image is lost by it. It is the only caller of `RegistryWriter::remove_tags`.
//!
//! ECR removes a tag from whichever image has it at that moment, and deletes an image that loses its last tag. Which image it
//! deletes when a digest and a tag are given is documented nowhere. So:
//!
//! 1. The row of each tag says that it is being removed. The image gets a tag of ours, whatever other tags it has: another invocation, or a
//!    person, may be taking those at the same time. That tag has 12 characters of the digest. If another image with the same ones has it, the
//!    tags stay: a put would take it from that image, and it may be that image's last tag.
//! 2. A last read shows that the image has both; then the tags are sent alone, once.
//! 3. The answer names the image that lost each tag. If it is another one, that gets the tag back; if it no longer exists, an
//!    alert is sent.
//! 4. The image is read back. If it no longer exists, it is put back by its manifest, and an alert is sent.

use futures_util::future::{join, try_join_all};
use jiff::Timestamp;

use crate::route::topic;
use guard_core::{
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, Tag},
    image::Image,
    policy::Policy,
    repository::{
        ledger::{Removal, TagRow, TagRowSchema},
        removal::{Damage, Pushed, suspect, unanswered},
    },
};
use guard_ports::{
    Clock as _, MAX_TAGS_AT_ONCE, Manifest, Notifier as _, PortError, Registry as _, RegistryWriter as _,
    RepositoryLedger as _, Retry, Services, TagAnswer, Written,
};

/// How often it is looked again: somebody took our tag, or an answer was lost.
const MAX_LOOKS: usize = 3;

/// How often a row of a tag is read again that somebody else wrote in between.
const MAX_ATTEMPTS: usize = 4;

const OPERATION: &str = "ecr:BatchDeleteImage";

/// ECR's answer where an index references an image that would lose its last tag. The tag stays, and that is no failure.
pub const REFERENCED: &str = "ImageReferencedByManifestList";

/// The services and settings to remove tags.
#[derive(Debug)]
pub struct TagRemoval<'a, S: Services> {
    /// The registry, the memory of tags, the topics and the time.
    pub services: &'a S,
    /// The writer of the registry.
    pub writer: &'a S::Writer,
    /// It names the topic of an alert.
    pub policy: &'a Policy,
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// The image, as it was read back; `None`: it is gone.
    pub image: Option<Image>,
    /// Why tags stay that were to go: the first reason.
    pub refused: Option<PortError>,
    /// The tags that the image lost by this removal.
    pub removed: Vec<Tag>,
    /// Tags that are gone, and of which no answer says who lost them.
    pub unanswered: Vec<Tag>,
    /// The damage. Its alerts are sent already.
    pub damage: Vec<Damage>,
}

/// The tag that keeps the image while it loses tags.
#[derive(Debug, Clone, Copy)]
enum Keeper<'a> {
    /// Our mark, which it gets first.
    Mark(&'a Tag),
    /// The tags that it has besides; without any, it loses nothing.
    Others,
}

/// Whose work it is to write in the rows of tags that they are being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims<'a> {
    /// It is done.
    Written,
    /// It is to be done first, in the name of this invocation, and undone when the answer is there.
    Write(&'a str),
}

impl<S: Services> TagRemoval<'_, S> {
    /// Gives the image our mark, and takes the tags from it.
    ///
    /// # Errors
    /// A call failed, or the image cannot be marked. Tags may be left.
    pub async fn take(
        &self,
        image: &ImageKey,
        tags: &[Tag],
        mark: &Tag,
        claims: Claims<'_>,
    ) -> Result<Taken, PortError> {
        let at = self.services.clock().now();
        let claim = async {
            match claims {
                Claims::Written => Ok(Vec::new()),
                Claims::Write(actor) => self.claim(image, tags, actor, at).await,
            }
        };
        let prepare = async {
            let by_mark = ImageRef::Tag(mark.clone());
            let holder = self.services.registry().image(&image.repository, &by_mark);
            let (read, holder) = join(self.look_and_manifest(image), holder).await;
            let (seen, manifest) = read?;
            let Some(seen) = seen else { return Ok(None) };
            if let Some(holder) = holder?.filter(|holder| holder.digest != image.digest) {
                let message = format!(
                    "{} has the tag `{mark}`, as its digest begins with the same characters",
                    holder.digest
                );
                return Err(refusal("ecr:PutImage", "ImageTagAlreadyExists", &message));
            }
            if seen.tags.contains(mark) && !seen.tags.iter().any(|tag| tags.contains(tag)) {
                return Ok(Some((seen, None)));
            }
            let Some(manifest) = manifest else {
                let message = "the image cannot be marked first: it is deleted, or in the archive";
                return Err(refusal("ecr:BatchGetImage", "ImageNotFound", message));
            };
            if !seen.tags.contains(mark) {
                self.writer.put(image, &manifest, mark).await?;
            }
            Ok(Some((seen, Some(manifest))))
        };
        let (claimed, prepared) = join(claim, prepare).await;
        let claimed = claimed?;
        let taken = match prepared {
            Ok(None) => Ok(Taken::default()),
            Ok(Some((seen, None))) => Ok(Taken {
                image: Some(seen),
                ..Taken::default()
            }),
            Ok(Some((_, Some(manifest)))) => self.send(image, tags, Keeper::Mark(mark), &manifest, at).await,
            Err(error) => Err(error),
        };
        match &taken {
            Ok(taken) => self.answered(claimed, &taken.unanswered).await?,
            // A refused removal removed nothing.
            Err(error) if error.retry == Retry::Never => self.answered(claimed, &[]).await?,
            Err(_) => {}
        }
        taken
    }

    /// Takes our mark from an image that has other tags. Without any, it stays.
    ///
    /// # Errors
    /// A call failed.
    pub async fn take_mark(&self, image: &ImageKey, mark: &Tag) -> Result<Taken, PortError> {
        let at = self.services.clock().now();
        let (seen, manifest) = self.look_and_manifest(image).await?;
        let is_last = |image: &Image| image.tags.iter().all(|tag| tag == mark);
        match (seen, manifest) {
            (Some(seen), Some(manifest)) if seen.tags.contains(mark) && !is_last(&seen) => {
                let mark = std::slice::from_ref(mark);
                self.send(image, mark, Keeper::Others, &manifest, at).await
            }
            // An image that could not be put back keeps its mark.
            (image, _) => Ok(Taken {
                image,
                ..Taken::default()
            }),
        }
    }

    /// Gives an image tags that no image has.
    ///
    /// # Errors
    /// A call failed. Tags may be missing.
    pub async fn give(&self, image: &ImageKey, tags: &[Tag]) -> Result<(), PortError> {
        let mut manifest = None;
        for tag in tags {
            let by_tag = ImageRef::Tag(tag.clone());
            if self
                .services
                .registry()
                .image(&image.repository, &by_tag)
                .await?
                .is_some()
            {
                // A tag that another image has by now is that image's.
                continue;
            }
            let manifest = match &mut manifest {
                Some(manifest) => manifest,
                none => none.insert(self.manifest(image).await?),
            };
            self.writer.put(image, manifest, tag).await?;
        }
        Ok(())
    }

    /// Gives tags back that the image has lost although it was released before the call, and sends an alert for each. `at`: when the removal began. Tags
    /// that the image has are left out. `false`: the image no longer exists.
    ///
    /// # Errors
    /// A call failed. Tags may be missing.
    pub async fn return_tags(&self, image: &ImageKey, tags: &[Tag], at: Timestamp) -> Result<bool, PortError> {
        let key = RepositoryKey::of(image);
        let Some(seen) = self.look(image).await? else {
            return Ok(false);
        };
        for tag in tags.iter().filter(|tag| !seen.tags.contains(tag)) {
            let damage = self.give_back(&key, tag, &image.digest).await;
            self.tell(&key, &damage, &image.digest, at).await?;
        }
        Ok(true)
    }

    /// Checks a removal without a known answer. If another image may have lost the tag, it gets it back, or an alert says that
    /// it no longer exists. If the image that was to lose the tag no longer exists, an alert says so. `row` and `holder` are those of the tag; `pushed` is an
    /// image that has just got it, by an event; `actor` is the invocation that asks.
    ///
    /// # Errors
    /// A call failed.
    pub async fn look_into(
        &self,
        row: Option<&TagRow>,
        holder: Option<&Image>,
        pushed: Option<&Pushed>,
        actor: &str,
    ) -> Result<Option<Damage>, PortError> {
        let now = self.services.clock().now();
        let Some(row) = row else { return Ok(None) };
        if let Some(damage) = self.look_into_others(row, holder, pushed, now).await? {
            return Ok(Some(damage));
        }
        for removal in unanswered(row, actor, now) {
            let image = row.repository.image(&removal.from);
            if self.look(&image).await?.is_none() {
                let damage = self.is_lost(&image, removal.at).await?;
                self.note_lost(row, removal).await?;
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }

    /// The same for several tags of an image, of which no event says anything. `is_gone`: the image no longer exists.
    ///
    /// # Errors
    /// A call failed.
    pub async fn look_into_all(
        &self,
        image: &ImageKey,
        tags: &[Tag],
        is_gone: bool,
        actor: &str,
    ) -> Result<(), PortError> {
        let key = RepositoryKey::of(image);
        let mut of_gone = Vec::new();
        for tag in tags {
            let by_tag = ImageRef::Tag(tag.clone());
            let holder = self.services.registry().image(&key.repository, &by_tag);
            let (holder, row) = join(holder, self.services.ledger().tag_row(&key, tag)).await;
            let (holder, Some(row)) = (holder?, row?) else { continue };
            let now = self.services.clock().now();
            let damage = self.look_into_others(&row, holder.as_ref(), None, now).await?;
            let removal = unanswered(&row, actor, now).find(|removal| removal.from == image.digest);
            if let Some(removal) = removal.filter(|_| is_gone && damage.is_none()).cloned() {
                of_gone.push((row, removal));
            }
        }
        // All of them went together, and one alert says so.
        if let Some((_, removal)) = of_gone.first() {
            self.is_lost(image, removal.at).await?;
        }
        for (row, removal) in &of_gone {
            self.note_lost(row, removal).await?;
        }
        Ok(())
    }

    /// Sends the alert that an image no longer exists of which an invocation was removing tags when it ended. `at`: when it began.
    ///
    /// # Errors
    /// The alert could not be sent.
    pub async fn is_lost(&self, image: &ImageKey, at: Timestamp) -> Result<Damage, PortError> {
        let damage = Damage::NotPutBack {
            digest: image.digest.clone(),
            why: "the invocation that removed it ended before it had the answer, and nobody has the manifest"
                .to_owned(),
        };
        self.tell(&RepositoryKey::of(image), &damage, &image.digest, at).await?;
        Ok(damage)
    }

    /// Makes good what removals may have done to another image, up to the first damage.
    async fn look_into_others(
        &self,
        row: &TagRow,
        holder: Option<&Image>,
        pushed: Option<&Pushed>,
        now: Timestamp,
    ) -> Result<Option<Damage>, PortError> {
        for removal in row.removals() {
            if let Some(got) = suspect(row, removal, holder, pushed, now)
                && let Some(damage) = self.look_into_another(row, removal, holder, got).await?
            {
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }

    /// Makes good what this removal may have done to the image that had got the tag.
    async fn look_into_another(
        &self,
        row: &TagRow,
        removal: &Removal,
        holder: Option<&Image>,
        got: Pushed,
    ) -> Result<Option<Damage>, PortError> {
        // Where a third image has the tag by now, somebody may have moved it there. Then only an image that no longer exists is a damage; but for a tag that
        // an earlier check gave to the wrong one of two images.
        let is_ours = |holder: &Image| removal.checked.is_some() && row.digest == holder.digest;
        let is_moved = holder.is_some_and(|holder| !is_ours(holder));
        if is_moved && self.look(&row.repository.image(&got.digest)).await?.is_some() {
            return Ok(None);
        }
        let damage = self.give_back(&row.repository, &row.tag, &got.digest).await;
        self.tell(&row.repository, &damage, &removal.from, removal.at).await?;
        let checked = Removal {
            checked: Some(got.at),
            ..removal.clone()
        };
        let is_taken_over = matches!(damage, Damage::TakenOver { .. });
        let (digest, since) = if is_taken_over {
            (row.digest.clone(), row.since)
        } else {
            (got.digest, got.at)
        };
        self.note(TagRow {
            digest,
            since,
            ..row.with_removal(removal, &checked)
        })
        .await?;
        Ok(Some(damage))
    }

    /// Writes in the row of a tag what was found of its removal. The invocation that wrote the row in between checks it as well,
    /// with the same result.
    async fn note(&self, found: TagRow) -> Result<(), PortError> {
        let next = TagRow {
            generation: found.generation + 1,
            ..found
        };
        self.services.ledger().write_tag_row(&next).await.map(drop)
    }

    /// Writes that an alert says of the image that was to lose the tag that it no longer exists.
    async fn note_lost(&self, row: &TagRow, removal: &Removal) -> Result<(), PortError> {
        let lost = Removal {
            lost: true,
            ..removal.clone()
        };
        self.note(row.with_removal(removal, &lost)).await
    }

    /// Reads for the last time, sends the tags, repairs damage, and reads back.
    async fn send(
        &self,
        image: &ImageKey,
        tags: &[Tag],
        keeper: Keeper<'_>,
        manifest: &Manifest,
        at: Timestamp,
    ) -> Result<Taken, PortError> {
        let key = RepositoryKey::of(image);
        let (mut taken, mut failed) = (Taken::default(), None);
        let mut open: Vec<Tag> = tags.to_vec();
        // The sent tags without an answer.
        let mut sent: Vec<Tag> = Vec::new();
        for _ in 0..MAX_LOOKS + tags.len().div_ceil(MAX_TAGS_AT_ONCE) {
            let seen = self.look(image).await?;
            let has = |tag: &Tag| seen.as_ref().is_some_and(|image| image.tags.contains(tag));
            // A tag that was sent and is still there was not removed.
            let (again, lost): (Vec<Tag>, Vec<Tag>) = std::mem::take(&mut sent).into_iter().partition(has);
            taken.unanswered.extend(lost);
            open.extend(again);
            open.retain(has);
            let Some(seen) = seen.as_ref().filter(|_| !open.is_empty()) else {
                taken.image = seen;
                break;
            };
            match keeper {
                Keeper::Mark(mark) if !seen.tags.contains(mark) => {
                    self.writer.put(image, manifest, mark).await?;
                    continue;
                }
                Keeper::Others if seen.tags.iter().all(|tag| tags.contains(tag)) => {
                    taken.image = Some(seen.clone());
                    break;
                }
                Keeper::Mark(_) | Keeper::Others => {}
            }
            let now: Vec<Tag> = open.drain(..open.len().min(MAX_TAGS_AT_ONCE)).collect();
            let answers = match self.writer.remove_tags(&key, &now).await {
                Ok(answers) => answers,
                Err(error) if error.retry == Retry::Never => return Err(error),
                Err(error) => {
                    failed = Some(error);
                    sent = now;
                    continue;
                }
            };
            self.answers(image, answers, at, &mut taken).await?;
            taken.image = self.look(image).await?;
            if taken.image.is_none() || open.is_empty() {
                break;
            }
        }
        if let Some(error) = failed.filter(|_| !sent.is_empty() || !open.is_empty()) {
            return Err(error);
        }
        if taken.image.is_none() && !(taken.removed.is_empty() && taken.unanswered.is_empty()) {
            let mark = match keeper {
                Keeper::Mark(mark) => Some(mark),
                Keeper::Others => tags.first(),
            };
            if let Some(mark) = mark {
                let damage = self.put_back(image, manifest, mark).await;
                self.tell(&key, &damage, &image.digest, at).await?;
                taken.damage.push(damage);
                taken.image = self.look(image).await?;
            }
        }
        Ok(taken)
    }

    /// Notes what became of tags that were sent, and makes good what another image lost.
    async fn answers(
        &self,
        image: &ImageKey,
        answers: Vec<(Tag, TagAnswer)>,
        at: Timestamp,
        taken: &mut Taken,
    ) -> Result<(), PortError> {
        let key = RepositoryKey::of(image);
        for (tag, answer) in answers {
            match answer {
                TagAnswer::From(digest) if digest == image.digest => taken.removed.push(tag),
                TagAnswer::From(digest) => {
                    let damage = self.give_back(&key, &tag, &digest).await;
                    self.tell(&key, &damage, &image.digest, at).await?;
                    taken.damage.push(damage);
                }
                TagAnswer::Unknown => taken.unanswered.push(tag),
                TagAnswer::Gone => {}
                TagAnswer::Referenced => {
                    let message = "an index references the image, which would lose its last tag";
                    taken.refused = Some(refusal(OPERATION, REFERENCED, message));
                }
                TagAnswer::Failed(error) => taken.refused = Some(error),
            }
        }
        Ok(())
    }

    /// Gives a tag back to the image that it was taken from by mistake.
    async fn give_back(&self, key: &RepositoryKey, tag: &Tag, digest: &Digest) -> Damage {
        let (tag, digest) = (tag.clone(), digest.clone());
        let (by_tag, by_digest) = (ImageRef::Tag(tag.clone()), ImageRef::Digest(digest.clone()));
        let result = async {
            let (holder, loser) = join(
                self.services.registry().image(&key.repository, &by_tag),
                self.services.registry().image(&key.repository, &by_digest),
            )
            .await;
            let (holder, loser) = (holder?, loser?);
            if loser.is_none() {
                return Ok(Damage::Lost {
                    tag: tag.clone(),
                    digest: digest.clone(),
                });
            }
            if holder.is_some_and(|holder| holder.digest != digest) {
                return Ok(Damage::TakenOver {
                    tag: tag.clone(),
                    digest: digest.clone(),
                });
            }
            let image = key.image(&digest);
            let manifest = self.manifest(&image).await?;
            self.writer.put(&image, &manifest, &tag).await?;
            Ok(Damage::GivenBack {
                tag: tag.clone(),
                digest: digest.clone(),
            })
        };
        result.await.unwrap_or_else(|error: PortError| Damage::NotGivenBack {
            tag: tag.clone(),
            digest: digest.clone(),
            why: error.to_string(),
        })
    }

    /// The last resort.
    async fn put_back(&self, image: &ImageKey, manifest: &Manifest, mark: &Tag) -> Damage {
        let digest = image.digest.clone();
        match self.writer.put(image, manifest, mark).await {
            Ok(()) => Damage::PutBack {
                digest,
                mark: mark.clone(),
            },
            Err(error) => Damage::NotPutBack {
                digest,
                why: error.to_string(),
            },
        }
    }

    async fn tell(&self, key: &RepositoryKey, damage: &Damage, from: &Digest, at: Timestamp) -> Result<(), PortError> {
        let message = damage
            .alert(key, from, at)
            .message(self.policy.contact(&key.repository));
        let topic = topic(self.services, self.policy, key).await;
        self.services.notifier().publish(topic, &message).await.map(drop)
    }

    /// Writes in the rows of tags that they are being removed, and gives the rows.
    async fn claim(
        &self,
        image: &ImageKey,
        tags: &[Tag],
        actor: &str,
        at: Timestamp,
    ) -> Result<Vec<TagRow>, PortError> {
        let key = RepositoryKey::of(image);
        let removal = Removal {
            from: image.digest.clone(),
            at,
            by: actor.to_owned(),
            checked: None,
            lost: false,
        };
        let rows = tags.iter().map(|tag| {
            self.edit(&key, tag, |row| {
                let row = row.unwrap_or_else(|| TagRow {
                    schema: TagRowSchema::V1,
                    repository: key.clone(),
                    tag: tag.clone(),
                    digest: image.digest.clone(),
                    since: at,
                    generation: 0,
                    notes: Vec::new(),
                    removal: None,
                    earlier: Vec::new(),
                });
                if row
                    .removal
                    .as_ref()
                    .is_some_and(|other| other.is_under_way_by_another(actor, at))
                {
                    return Err(contended("another invocation is removing the tag"));
                }
                Ok(Some(TagRow {
                    earlier: row.still_open(at),
                    removal: Some(removal.clone()),
                    ..row
                }))
            })
        });
        Ok(try_join_all(rows).await?.into_iter().flatten().collect())
    }

    /// Writes in the rows of tags that the answer is there. A row that somebody else has written meanwhile is read anew.
    async fn answered(&self, claimed: Vec<TagRow>, unanswered: &[Tag]) -> Result<(), PortError> {
        let answered = claimed.into_iter().filter(|row| !unanswered.contains(&row.tag));
        let rows = answered.map(async |row| {
            let (key, tag, claimed) = (row.repository.clone(), row.tag.clone(), row.removal.clone());
            let next = TagRow {
                generation: row.generation + 1,
                removal: None,
                ..row
            };
            if self.services.ledger().write_tag_row(&next).await? == Written::Yes {
                return Ok(());
            }
            let change = |row: Option<TagRow>| {
                let row = row.filter(|row| row.removal == claimed);
                Ok(row.map(|row| TagRow { removal: None, ..row }))
            };
            self.edit(&key, &tag, change).await.map(drop)
        });
        try_join_all(rows).await.map(drop)
    }

    /// Changes the row of a tag, and gives it; `None`: it stays as it is.
    async fn edit(
        &self,
        key: &RepositoryKey,
        tag: &Tag,
        change: impl Fn(Option<TagRow>) -> Result<Option<TagRow>, PortError>,
    ) -> Result<Option<TagRow>, PortError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(row) = change(self.services.ledger().tag_row(key, tag).await?)? else {
                return Ok(None);
            };
            let row = TagRow {
                generation: row.generation + 1,
                ..row
            };
            if self.services.ledger().write_tag_row(&row).await? == Written::Yes {
                return Ok(Some(row));
            }
        }
        Err(contended("others are changing the row of the tag"))
    }

    async fn look(&self, image: &ImageKey) -> Result<Option<Image>, PortError> {
        let by_digest = ImageRef::Digest(image.digest.clone());
        self.services.registry().image(&image.repository, &by_digest).await
    }

    async fn look_and_manifest(&self, image: &ImageKey) -> Result<(Option<Image>, Option<Manifest>), PortError> {
        let (seen, manifest) = join(self.look(image), self.writer.manifest_to_put(image)).await;
        Ok((seen?, manifest?))
    }

    async fn manifest(&self, image: &ImageKey) -> Result<Manifest, PortError> {
        let manifest = self.writer.manifest_to_put(image).await?;
        let message = "the manifest cannot be had: the image is deleted, or in the archive";
        manifest.ok_or_else(|| refusal("ecr:BatchGetImage", "ImageNotFound", message))
    }
}

fn contended(message: &str) -> PortError {
    PortError {
        retry: Retry::Later,
        ..refusal("dynamodb:PutItem", "Contended", message)
    }
}

fn refusal(operation: &'static str, code: &str, message: &str) -> PortError {
    PortError {
        retry: Retry::Never,
        operation,
        code: code.to_owned(),
        message: message.to_owned(),
        request_id: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
