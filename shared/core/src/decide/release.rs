//! An image may be deployed, as far as blocking goes: what we did to it is undone, and only that.

use crate::{
    decide::{facts::ImageCase, plan::Effect, step::Draft},
    image::{Image, ImageStatus},
    ledger::Block,
    marker::quarantine_tag,
    notice::AlertKind,
    policy::BlockMethod,
};

/// Whether a block of a row that was closed is still what keeps the image from being pulled. The registry may have said once that there is
/// no such image, and there was: then it is still in the archive, and older than its block.
pub(super) fn is_still_ours(block: Option<&Block>, image: &Image) -> bool {
    block.is_some_and(|block| {
        block.method == BlockMethod::Archive
            && image.status == ImageStatus::Archived
            && image.available_since().is_some_and(|since| since <= block.at)
    })
}

/// The image may be deployed, as far as blocking goes: undo what we did to it, and only that.
pub(super) fn released(draft: Draft<'_>) -> Draft<'_> {
    let Some(block) = draft.prior_block() else {
        return draft;
    };
    // Only our own tag is left, which could not be removed: the alert said that the image can be pulled.
    let is_told = block.undone_at.is_some()
        && block.release_refused_at.is_some()
        && block.tags.iter().all(|tag| draft.case().image.tags.contains(tag));
    let told = if is_told {
        draft.due_alert()
    } else {
        Some(AlertKind::ImageReleased)
    };
    undone_again(draft, told).action(block.method, true)
}

/// Undoes what we did to the image, and only that. `told`: the alert that is due once the image can be pulled.
pub(super) fn undone_again(draft: Draft<'_>, told: Option<AlertKind>) -> Draft<'_> {
    let ImageCase {
        policy, facts, image, ..
    } = draft.case();
    let Some(block) = draft.prior_block() else {
        return draft.alert(told);
    };
    if facts.row.as_ref().is_some_and(|row| row.closed_at.is_some()) && !is_still_ours(Some(block), image) {
        // The block ended with the image that was deleted. If anything keeps this one from being pulled, it is not ours.
        return draft.release(None, true);
    }
    let effect = effect_of_release(block, image);
    let waits_for_children = facts.has_blocked_child();
    if effect.is_some() && !policy.enforces(&facts.key.repository) {
        // Without the means to undo a block, the block stays, and so does its state.
        return draft.keep();
    }
    if let Some(failure) = facts.release_failure.as_deref().filter(|_| effect.is_some()) {
        return draft.not_released(failure);
    }
    let waits_for_restore = block.method != BlockMethod::Flag && image.status.is_in_archive();
    if effect.is_none() && (waits_for_children || waits_for_restore) {
        // The alert is sent when the image can be pulled, with all its children; an event says when that is.
        return draft.being_restored();
    }
    // An image that was quarantined before it was archived gets its tags back when it is there again.
    let waits_for_tags = effect == Some(Effect::Restore) && !block.tags.is_empty();
    let complete = !waits_for_children && !waits_for_tags;
    draft.release(effect, complete).alert(told.filter(|_| complete))
}

fn effect_of_release(block: &Block, image: &Image) -> Option<Effect> {
    match (block.method, &image.status) {
        (BlockMethod::Archive, ImageStatus::Archived) => return Some(Effect::Restore),
        (BlockMethod::Archive, ImageStatus::Activating) => return None,
        // Somebody has archived it, and ECR takes no tag for it there: its tags are given back when it is restored.
        (BlockMethod::QuarantineTag, _) if image.status.is_in_archive() => return None,
        // An earlier method may have taken tags.
        (BlockMethod::Archive | BlockMethod::Flag, _) if block.tags.is_empty() => return None,
        (BlockMethod::Archive | BlockMethod::Flag | BlockMethod::QuarantineTag, _) => {}
    }
    let mark = quarantine_tag(&image.digest)?;
    let mut restore = block.tags.iter().filter(|tag| !image.tags.contains(tag)).peekable();
    // Somebody may have taken our mark away: the tags are given back all the same.
    (restore.peek().is_some() || image.tags.contains(&mark)).then(|| Effect::Unquarantine {
        restore: restore.cloned().collect(),
        mark,
    })
}
