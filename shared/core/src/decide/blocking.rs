//! An image that must not be deployed, and how it stands with its block: what the rules to hold are asked about.

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::{
        facts::ImageCase,
        family::LeadingIndex,
        plan::{Effect, Question},
    },
    evaluate::Evaluation,
    ids::Tag,
    image::{Image, ImageStatus},
    ledger::{Block, RETURN_WINDOW_SECONDS},
    marker::{is_mark, quarantine_tag},
    policy::BlockMethod,
    release::TimedRelease,
};

/// An image that must not be deployed: how it is to be blocked, and what was done to it before.
pub(super) struct Blocking<'a> {
    pub(super) case: ImageCase<'a>,
    /// The evaluation of its findings, if it is blocked for them.
    pub(super) evaluation: Option<&'a Evaluation>,
    /// It has parent indexes.
    pub(super) led_to: bool,
    /// Its source is blocked.
    pub(super) follows: bool,
    pub(super) method: BlockMethod,
    /// The earlier block, where it counts under the present policy.
    pub(super) prior: Option<&'a Block>,
    /// The change that the block still needs; `None`: the block is in force.
    pub(super) needed: Option<Effect>,
    /// Somebody made it pullable again after it was blocked.
    pub(super) came_back: bool,
    /// It is blocked, or came back from a block.
    pub(super) stands: bool,
    /// The policy asks for a stronger block than the earlier one. The difference is decided as if nothing had been done; the
    /// earlier block stays.
    pub(super) adds: bool,
    /// It is one of the blocks that the policy limits by the hour.
    pub(super) counts: bool,
    /// When it was blocked again within the time that counts, oldest first.
    pub(super) returns: Vec<Timestamp>,
}

pub(super) const RETURN_WINDOW: SignedDuration = SignedDuration::from_secs(RETURN_WINDOW_SECONDS);

impl<'a> Blocking<'a> {
    pub(super) fn new(case: ImageCase<'a>, evaluation: Option<&'a Evaluation>) -> Result<Self, Question> {
        let ImageCase { facts, image, now, .. } = case;
        let led_to = facts.is_led_to();
        let follows = facts.blocked_source().is_some();
        let wanted = wanted_method(case);
        let known = facts.row.as_ref().and_then(|row| row.block.as_ref());
        // A flag has kept nobody from pulling: where the policy asks for more by now, it is decided as if nothing had been done.
        let prior = known.filter(|block| block.method != BlockMethod::Flag || wanted == BlockMethod::Flag);
        // An image that came back through a pull through cache would come back again: from now on it is flagged.
        let comes_back =
            facts.is_pulled_through() && wanted == BlockMethod::Flag && image.status == ImageStatus::Active;
        let prior = prior.filter(|block| !comes_back || block.method != BlockMethod::Archive);
        // The change that the block's own method has not made yet, or that somebody has undone.
        let undone = prior.is_some_and(|block| effect_of_block(block.method, image, prior, led_to).is_some());
        // An image that we released ourselves has not come back.
        let came_back = undone && prior.is_some_and(|block| block.confirmed && block.undone_at.is_none());
        if came_back && !facts.looked_again && !has_arrived_since(image, prior) {
            // Image and row are read at the same time, and ECR may show late what was done: the row may know of a block that the answer is
            // too old for.
            return Err(Question::Again);
        }
        // A block that was begun and never took effect has prevented no pull; nor does one that we have undone. Then all hold
        // rules are asked again.
        let stands = prior.is_some_and(|block| !undone || block.confirmed && block.undone_at.is_none());
        // An earlier block stays, even if the policy asks for a weaker one now. A new change is made as the policy says now:
        // the role may have no permission any more for an earlier method (`changes` in infra/modules/guard/policy.tf).
        let stays = prior.filter(|_| stands && !came_back);
        let method = stays.map_or(wanted, |block| block.method.max(wanted));
        let needed = effect_of_block(method, image, prior, led_to);
        Ok(Self {
            case,
            evaluation,
            led_to,
            follows,
            method,
            prior,
            came_back,
            stands,
            adds: stands && !came_back && needed.is_some(),
            // A block of an image that came back is not counted: it was counted the first time. A child counts with its index,
            // and a copy with its source.
            counts: needed.is_some() && !came_back && !led_to && !follows,
            needed,
            returns: prior.map(|block| recent_returns(block, now)).unwrap_or_default(),
        })
    }

    /// Whether something is to be done that has not been done before. An image that comes back after it was blocked is not protected by what
    /// came back with it.
    pub(super) fn is_open(&self) -> bool {
        // Nor is one that a person had released protected by what pulled it during the release.
        (!self.stands || self.adds) && self.release().is_none_or(|release| release.is_in_force(self.case.now))
    }

    /// The release that a person gave, in force or not.
    pub(super) fn release(&self) -> Option<&'a TimedRelease> {
        self.case.facts.row.as_ref()?.release.as_ref()
    }
}

/// The block method for the image. A child is blocked no more strongly than its indexes: an index that is only quarantined can
/// be pulled by its digest, and needs its children for that.
fn wanted_method(case: ImageCase<'_>) -> BlockMethod {
    let facts = case.facts;
    let of_indexes = facts.open_indexes().filter_map(LeadingIndex::method).min();
    let method = case
        .policy
        .block_method(&facts.key.repository, facts.is_pulled_through());
    of_indexes.map_or(method, |of_indexes| of_indexes.min(method))
}

/// Whether the registry says that the image became pullable after it was blocked.
fn has_arrived_since(image: &Image, block: Option<&Block>) -> bool {
    let since = image.available_since();
    block.is_some_and(|block| block.method == BlockMethod::Archive && since.is_some_and(|since| since > block.at))
}

/// When an image was blocked again within the time that counts, oldest first.
fn recent_returns(block: &Block, now: Timestamp) -> Vec<Timestamp> {
    let recent = |at: &&Timestamp| now.duration_since(**at) < RETURN_WINDOW;
    block.returns.iter().filter(recent).copied().collect()
}

/// The change that a block method still has to make to an image; `None`: it is in force already. `prior`: the earlier block.
fn effect_of_block(method: BlockMethod, image: &Image, prior: Option<&Block>, led_to: bool) -> Option<Effect> {
    match method {
        BlockMethod::Archive => match image.status {
            // On its way back it cannot be pulled yet; when it has arrived, an event says so.
            ImageStatus::Archived | ImageStatus::Activating => None,
            // A word that is not known here, after we have archived the image: it may be on its way there. That is how `read_back`
            // takes it, too. Before that, it is never taken for "cannot be pulled".
            ImageStatus::Other(_) if prior.is_some_and(is_archived_by_us) => None,
            ImageStatus::Active | ImageStatus::Other(_) => Some(Effect::Archive),
        },
        // A child without a tag can only be pulled by its digest, and a quarantine does not change that.
        BlockMethod::QuarantineTag if led_to && image.tags.is_empty() => None,
        // Somebody has archived it. ECR takes no tag for it there, and nobody can pull it; when it comes back, an event says so.
        BlockMethod::QuarantineTag if image.status.is_in_archive() => None,
        BlockMethod::QuarantineTag => {
            let mark = quarantine_tag(&image.digest)?;
            let others = image.tags.iter().filter(|tag| !is_mark(tag, &image.digest));
            let remove: Vec<Tag> = others.cloned().collect();
            // A release leaves our mark on an image that has no other tag. Without a block that stands, the mark is of an earlier one: the image
            // is blocked anew, by the same rules as one without the mark.
            let stands = prior.is_some_and(|block| block.undone_at.is_none());
            let is_in_force = stands && remove.is_empty() && image.tags.contains(&mark);
            (!is_in_force).then_some(Effect::Quarantine { mark, remove })
        }
        BlockMethod::Flag => None,
    }
}

fn is_archived_by_us(block: &Block) -> bool {
    block.method == BlockMethod::Archive && block.confirmed && block.undone_at.is_none()
}
