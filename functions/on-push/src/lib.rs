//! `on-push`: the image that an event names for a reconcile. See README.md of this crate.

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
        // A referrer in ECR's sense has a subject. A runnable image can have one as well: its manifest says which it is.
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
        // An unknown action may have changed anything: a reconcile does no harm.
        (ImageActionType::Delete | ImageActionType::Other(_), _) => Selection::look(&action.name, Hints::default()),
    }
}
