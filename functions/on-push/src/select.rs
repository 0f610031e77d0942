//! Which image an event asks to look at.

use shared::{
    domain::{
        image::{Arrival, Way},
        repository::tags::is_mark,
    },
    events::{ActionResult, Body, Event, ImageAction, ImageActionType, StorageClass},
    reconcile::Hints,
    runtime::entry::Selection,
};

/// A push, a deletion, or a return from the archive.
pub(crate) fn select(event: &Event) -> Selection {
    let action = match &event.body {
        Body::ImageAction(action) => action,
        Body::ReferrerAction(_) => {
            return Selection::Ignore("an attestation, a signature or an SBOM is not an image");
        }
        Body::ImageScan(_)
        | Body::Replication(_)
        | Body::PullThroughCache(_)
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
    let arrived = |way| Hints {
        arrival: Some(Arrival { way, at: event.time }),
        ..Hints::default()
    };
    match (&action.action, &action.storage_class) {
        (ImageActionType::Push, _) if is_own_mark(action) => Selection::Ignore("our own quarantine tag"),
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

/// Whether a push only gave an image one of the tags that we give.
fn is_own_mark(action: &ImageAction) -> bool {
    match (&action.name.digest, action.name.tags.as_slice()) {
        (Some(digest), [tag]) => is_mark(tag, digest),
        _ => false,
    }
}
