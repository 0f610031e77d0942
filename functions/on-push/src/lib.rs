//! `on-push`: which image an event asks to look at. See README.md beside this crate.

#[cfg(test)]
mod tests;

use shared::{
    core::image::{Arrival, Way},
    engine::reconcile::image::Hints,
    events::{ActionResult, Body, Event, ImageActionType, StorageClass, SyncStatus},
    lambda::entry::Selection,
};

/// A push, a deletion, a return from the archive, or an image that a pull through cache has fetched.
pub fn select(event: &Event) -> Selection {
    let arrived = |way| Hints {
        arrival: Some(Arrival { way, at: event.time }),
        ..Hints::default()
    };
    let action = match &event.body {
        Body::PullThroughCache(fetched) if fetched.status == SyncStatus::Failed => {
            return Selection::Ignore("it was not fetched");
        }
        Body::PullThroughCache(fetched) => {
            let tag = fetched.name.tags.first().cloned();
            return Selection::look(&fetched.name, arrived(Way::PulledThrough(tag)));
        }
        // What ECR calls a referrer has a subject, which a runnable image can have as well: its manifest says what it is.
        Body::ImageAction(action) | Body::ReferrerAction(action) => action,
        Body::ImageScan(_)
        | Body::Replication(_)
        | Body::ScanResourceChange(_)
        | Body::InspectorScan(_)
        | Body::InspectorFinding(_)
        | Body::InspectorCoverage(_)
        | Body::InspectorAutoEnable
        | Body::OtherResource { .. }
        | Body::Unknown { .. } => return Selection::Ignore("not a push, a deletion or a return from the archive"),
    };
    if matches!(action.result, ActionResult::Failed) {
        return Selection::Ignore("it did not happen");
    }
    match (&action.action, &action.storage_class) {
        (ImageActionType::Push, _) => {
            let tag = action.name.tags.first().cloned();
            Selection::look(&action.name, arrived(Way::Pushed(tag)))
        }
        (ImageActionType::UpdateStorageClass, Some(StorageClass::Archive)) => {
            Selection::Ignore("an image in the archive cannot be pulled")
        }
        (ImageActionType::UpdateStorageClass, _) => Selection::look(&action.name, arrived(Way::Restored)),
        // What we do not know may have changed anything: looking does no harm.
        (ImageActionType::Delete | ImageActionType::Other(_), _) => Selection::look(&action.name, Hints::default()),
    }
}
