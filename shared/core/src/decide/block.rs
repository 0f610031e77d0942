//! An image must not be deployed: it is blocked, or a rule defers the block.

use crate::{
    decide::{
        blocking::Blocking,
        facts::{ImageCase, limit_is_to_be_told},
        hold::{Hold, Undo, hold},
        plan::Question,
        release::{is_still_ours, undone_again},
        step::Draft,
        words,
    },
    evaluate::Evaluation,
    ledger::Block,
    notice::AlertKind,
    policy::BlockMethod,
    state::State,
};

/// Blocks the image, unless a hold rule defers the block. `evaluation`: that of its findings, if the block is for them.
pub(super) fn blocked<'a>(
    case: ImageCase<'a>,
    draft: Draft<'a>,
    reason: String,
    evaluation: Option<&Evaluation>,
) -> Result<Draft<'a>, Question> {
    let block = Blocking::new(case, evaluation)?;
    Ok(match hold(&block)? {
        Some(why) => deferred(&block, draft, &reason, why),
        None => done(block, draft, reason),
    })
}

/// The block is deferred, or an image that is blocked stays as it was where only a stronger block was asked for.
fn deferred<'a>(block: &Blocking<'_>, draft: Draft<'a>, reason: &str, why: Hold) -> Draft<'a> {
    let facts = block.case.facts;
    let kind = why.alert;
    let tells_limit = limit_is_to_be_told(facts);
    let first_of_hour = facts.limit.is_some_and(|limit| limit.first);
    let draft = if block.adds && why.undo != Undo::All {
        // An earlier block stays as it is.
        let kind = if block.led_to {
            None
        } else {
            Some(AlertKind::ImageBlocked)
        };
        let told = kind.filter(|_| !first_of_hour && !tells_limit);
        let reason = words::not_more_yet(reason, block.method, &why.reason);
        let stays = block.prior.map_or(block.method, |block| block.method);
        draft
            .state(State::Blocked, reason)
            .hold(why)
            .in_force()
            .action(stays, true)
            .alert(told.or(tells_limit.then_some(AlertKind::BlockLimit)))
    } else {
        let undoes = why.undo != Undo::No;
        let tells_release = why.tells_release;
        let draft = draft
            .state(
                State::BlockDeferred,
                format!("{reason} It is not blocked: {}", why.reason),
            )
            .hold(why);
        // Somebody who was notified of the block is notified of its end. The alert of the index or the source says why.
        let told = block.prior.filter(|block| undoes && block.told && kind.is_none());
        let draft = if undoes {
            let undone = undone_again(draft, kind.or(told.map(|_| AlertKind::ImageReleased)));
            if tells_release {
                undone.telling_release()
            } else {
                undone
            }
        } else if block.prior.is_none() {
            draft.without_block().alert(kind)
        } else {
            draft.alert(kind)
        };
        match told {
            Some(undone) => draft.action(undone.method, true),
            None if tells_release => draft.action(block.prior.map_or(block.method, |block| block.method), true),
            None => draft.action(block.method, false),
        }
    };
    if first_of_hour { draft.happened_again() } else { draft }
}

/// The image is blocked.
fn done<'a>(block: Blocking<'_>, draft: Draft<'a>, reason: String) -> Draft<'a> {
    let Blocking {
        method,
        needed,
        came_back,
        ..
    } = block;
    let facts = block.case.facts;
    let known = draft.prior_block();
    let stood = |block: &Block| block.confirmed && block.undone_at.is_none() && block.method < method;
    let adds = needed.is_some() && known.is_some_and(stood);
    // It is blocked by less than before, and nothing is needed for that. So what a pull through cache has brought back is flagged from now on.
    let gives_way = known.filter(|block| needed.is_none() && block.method > method);
    // A block that was only begun has not prevented a pull.
    let is_bypass = came_back || gives_way.is_some_and(|block| block.confirmed && block.undone_at.is_none());
    let kind = match (is_bypass, block.led_to) {
        (true, _) => Some(AlertKind::ImageBypass),
        (false, false) => Some(AlertKind::ImageBlocked),
        (false, true) => None,
    };
    let draft = draft.state(State::Blocked, reason).action(method, true).alert(kind);
    let draft = if came_back || adds || gives_way.is_some() {
        draft.happened_again()
    } else {
        draft
    };
    let is_closed = facts.row.as_ref().is_some_and(|row| row.closed_at.is_some());
    match needed {
        Some(effect) => {
            let returns = if came_back {
                [block.returns, vec![block.case.now]].concat()
            } else {
                Vec::new()
            };
            draft.block(effect, method, block.counts, returns)
        }
        None if gives_way.is_some() || method == BlockMethod::Flag && known.is_none() => draft.without_effect(method),
        // Somebody else archived it, where the ledger knows of no block, or of one on an image that was deleted since: then it is
        // not for us to bring back.
        None if method == BlockMethod::Archive && is_closed && !is_still_ours(known, block.case.image) => {
            draft.without_block()
        }
        None => draft.in_force(),
    }
}
