//! People who push, move and delete tags; what `on-push` and `worker` then do; and the damage that no alert names.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use jiff::Timestamp;

use crate::reconcile::{
    ReconcileError,
    image::{Hints, Outcome, Request, reconcile},
    repository::{TagRequest, reconcile_tag},
};
use guard_core::{
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, Tag},
    image::Image,
    marker::{is_mark, quarantine_tag, untagged_mark},
    notice::RepositoryAlertKind as Kind,
    policy::Policy,
    repository::removal::Pushed,
    state::State,
};
use guard_ports::{Clock as _, Registry as _};
use guard_testkit::{
    World,
    explore::{Choices, Running},
    image,
};

/// An image that people have, and can push.
#[derive(Debug, Clone)]
pub(crate) struct Pushable {
    pub(crate) key: ImageKey,
    pub(crate) image: Image,
    pub(crate) manifest: String,
}

impl Pushable {
    /// A single image.
    pub(crate) fn single(key: ImageKey) -> Self {
        Self {
            image: image(&key),
            key,
            manifest: "{}".to_owned(),
        }
    }
}

/// A push, as its event names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) key: ImageKey,
    pub(crate) tag: Tag,
    pub(crate) at: Timestamp,
}

/// The images of one repository, and what people have done with their tags.
#[derive(Debug)]
pub(crate) struct People {
    images: Vec<Pushable>,
    /// The number of the first images whose marks people delete.
    marked: usize,
    /// The images that went when somebody deleted their last tag.
    deleted: RefCell<BTreeSet<Digest>>,
    /// The images whose mark somebody has deleted.
    unmarked: RefCell<BTreeSet<Digest>>,
    pushes: RefCell<Vec<Push>>,
    has_acted: Cell<bool>,
}

/// An action on tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Pushes an image, by its place, under a tag, which moves.
    Push(usize, Tag),
    /// Deletes a tag.
    Delete(Tag),
}

impl Deed {
    /// Anything with these tags, or with a mark of ours.
    pub(crate) fn choose(choices: &mut Choices, people: &People, tags: &[&str]) -> Self {
        let tag: Tag = choices.pick(tags).parse().unwrap();
        match choices.below(4) {
            0 | 1 => Self::Push(choices.below(people.images.len()), tag),
            2 => Self::Delete(tag),
            _ => {
                let digest = &people.images[choices.below(people.marked)].key.digest;
                let marks = [untagged_mark(digest), quarantine_tag(digest)];
                Self::Delete(choices.pick(&marks).clone().unwrap())
            }
        }
    }
}

impl People {
    pub(crate) fn new(images: Vec<Pushable>, marked: usize) -> Self {
        Self {
            images,
            marked,
            deleted: RefCell::default(),
            unmarked: RefCell::default(),
            pushes: RefCell::default(),
            has_acted: Cell::default(),
        }
    }

    /// Acts on the tags of the world.
    pub(crate) fn act(&self, world: &World, deed: &Deed) {
        self.has_acted.set(true);
        match deed {
            Deed::Push(n, tag) => self.push(world, *n, tag),
            Deed::Delete(tag) => {
                let digests = self.images.iter().map(|image| &image.key.digest);
                let of_mark = digests.filter(|digest| is_mark(tag, digest)).cloned();
                self.unmarked.borrow_mut().extend(of_mark);
                let repository = &self.images[0].key.repository;
                self.deleted.borrow_mut().extend(world.untag(repository, tag));
            }
        }
    }

    /// Pushes an image under a tag, as a pipeline does: the tag moves, the image's other tags stay, and it comes back from the archive.
    fn push(&self, world: &World, n: usize, tag: &Tag) {
        let Pushable { key, image, manifest } = &self.images[n];
        // ECR refuses what is there already, and an index whose images are not there.
        let _ = world.put_image(key, image.clone(), manifest, Some(tag));
        if world.image_of(key).is_none() {
            return;
        }
        self.deleted.borrow_mut().remove(&key.digest);
        self.pushes.borrow_mut().push(Push {
            key: key.clone(),
            tag: tag.clone(),
            at: world.now(),
        });
    }

    /// Whether anybody has pushed, moved or deleted a tag.
    pub(crate) fn have_acted(&self) -> bool {
        self.has_acted.get()
    }

    /// All pushes so far.
    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.pushes.borrow().clone()
    }

    /// The last push of an image under a tag, if it came to that.
    pub(crate) fn push_of(&self, n: usize, tag: &Tag) -> Option<Push> {
        let key = &self.images[n].key;
        let pushes = self.pushes.borrow();
        let mut of_image = pushes.iter().filter(|push| push.key == *key && push.tag == *tag);
        of_image.next_back().cloned()
    }

    /// The damage in the world now: an image that one of our removals deleted, or took a tag from that was not to be taken from it, or
    /// without our mark, which nobody has put right, and no alert names.
    pub(crate) fn untold(&self, world: &World) -> Option<String> {
        let told: BTreeSet<(String, String)> = super::told(world).into_iter().collect();
        let is_told = |kind: Kind, digest: &Digest| told.contains(&(kind.as_str().to_owned(), digest.to_string()));
        let there = |digest: &Digest| {
            let of = self.images.iter().find(|image| image.key.digest == *digest)?;
            world.image_of(&of.key)
        };
        let is_deleted = |digest: &Digest| self.deleted.borrow().contains(digest);
        let removed = world.removed();
        for (place, hit) in removed.iter().enumerate() {
            let image = there(&hit.digest);
            if hit.deleted && !is_told(Kind::ImageLost, &hit.digest) {
                if image.is_some() || is_deleted(&hit.digest) {
                    // Pushed again by somebody.
                    continue;
                }
                return Some(format!("an image is gone, and nobody is told: {hit:?}"));
            }
            let is_wrong = !hit.was_meant || !hit.marked && !self.unmarked.borrow().contains(&hit.digest);
            if !hit.deleted && is_wrong && !is_told(Kind::TagTaken, &hit.digest) {
                let has_it = |other: &Pushable| {
                    world
                        .image_of(&other.key)
                        .is_some_and(|image| image.tags.contains(&hit.tag))
                };
                let had_it_again = removed
                    .iter()
                    .skip(place + 1)
                    .any(|later| (&later.tag, &later.digest) == (&hit.tag, &hit.digest));
                // A push after it has taken the tag from the image anyway.
                let is_pushed = |push: &Push| push.tag == hit.tag && push.at > hit.at;
                let had_it_again = had_it_again || self.pushes.borrow().iter().any(is_pushed);
                if self.images.iter().any(has_it) || had_it_again || image.is_none() || is_deleted(&hit.digest) {
                    continue;
                }
                return Some(format!("a tag was taken, and nobody is told: {hit:?}"));
            }
        }
        None
    }
}

async fn look(
    world: &World,
    policy: &Policy,
    key: &ImageKey,
    hints: Hints,
    actor: &str,
) -> Result<Outcome, ReconcileError> {
    let request = Request {
        account: key.account.clone(),
        region: key.region.clone(),
        repository: key.repository.clone(),
        image: ImageRef::Digest(key.digest.clone()),
        hints,
        actor: actor.to_owned(),
    };
    reconcile(&world.writing(true), policy, &request).await
}

async fn judge(
    world: &World,
    policy: &Policy,
    of: (&RepositoryKey, &Tag),
    state: Option<State>,
    pushed: Option<&Pushed>,
    actor: &str,
) -> Result<(), String> {
    let (key, tag) = of;
    let request = TagRequest {
        tag,
        state,
        pushed,
        actor,
    };
    let judged = reconcile_tag(&world.writing(true), policy, key, &request).await;
    judged.map(drop).map_err(|error| error.to_string())
}

/// The reaction of `on-push` to a push of a tag.
pub(crate) fn on_push<'a>(world: &'a World, policy: &'a Policy, push: Push, actor: String) -> Running<'a> {
    Box::pin(async move {
        let Push { key, tag, at } = push;
        let looked = look(world, policy, &key, Hints::default(), &actor).await;
        let state = looked.as_ref().ok().and_then(|outcome| outcome.state);
        let pushed = Pushed {
            digest: key.digest.clone(),
            at,
        };
        judge(
            world,
            policy,
            (&RepositoryKey::of(&key), &tag),
            state,
            Some(&pushed),
            &actor,
        )
        .await?;
        looked.map(drop).map_err(|error| error.to_string())
    })
}

/// The reaction of `on-scan` to the scan of an image.
pub(crate) fn on_scan<'a>(world: &'a World, policy: &'a Policy, key: ImageKey, actor: String) -> Running<'a> {
    Box::pin(async move {
        let looked = look(world, policy, &key, Hints::default(), &actor).await;
        looked.map(drop).map_err(|error| error.to_string())
    })
}

/// The reaction of `worker` to an image of the list: it has no event.
pub(crate) fn worker<'a>(world: &'a World, policy: &'a Policy, key: ImageKey, actor: String) -> Running<'a> {
    Box::pin(async move {
        let hints = Hints {
            found: true,
            ..Hints::default()
        };
        let looked = look(world, policy, &key, hints, &actor)
            .await
            .map_err(|error| error.to_string())?;
        let there = world
            .image(&key.repository, &ImageRef::Digest(key.digest.clone()))
            .await;
        let there = there.map_err(|error| error.to_string())?;
        for tag in there.map(|image| image.tags).unwrap_or_default() {
            judge(
                world,
                policy,
                (&RepositoryKey::of(&key), &tag),
                looked.state,
                None,
                &actor,
            )
            .await?;
        }
        Ok(())
    })
}
