//! `on-replication`: the copy that an event is about, or the source of one. See README.md of this crate.

#[cfg(test)]
mod tests;

use shared::{
    core::{ids::RegistryKey, marker::is_mark, replication::replica::ReplicaEvent},
    events::{ActionResult, Body, Event, ImageAction, ImageActionType, Replication, StorageClass},
    lambda::replication::CopySelection,
};

/// A copy that has arrived or has not; or an image in another region that was archived, restored, deleted, or lost or got a tag.
pub fn select(event: &Event) -> CopySelection {
    match &event.body {
        Body::Replication(replication) => copy(event, replication),
        Body::ImageAction(action) => source(event, action),
        Body::ReferrerAction(_)
        | Body::ImageScan(_)
        | Body::PullThroughCache(_)
        | Body::ScanResourceChange(_)
        | Body::InspectorScan(_)
        | Body::InspectorFinding(_)
        | Body::InspectorCoverage(_)
        | Body::InspectorAutoEnable
        | Body::OtherResource { .. }
        | Body::Unknown { .. } => CopySelection::Ignore("neither a copy nor the source of one"),
    }
}

fn copy(event: &Event, replication: &Replication) -> CopySelection {
    let Some(image) = replication.name.image() else {
        return CopySelection::Ignore("it names no image");
    };
    let Some(region) = replication.source_region.clone() else {
        return CopySelection::Ignore("it does not say where the copy is from");
    };
    CopySelection::Copy {
        repository: replication.name.repository.clone(),
        image,
        source: RegistryKey {
            account: replication
                .source_account
                .clone()
                .unwrap_or_else(|| event.account.clone()),
            region,
        },
        event: ReplicaEvent {
            // A word that we do not know may have changed anything: what is there says what is true.
            arrived: !matches!(replication.result, ActionResult::Failed),
            tags: replication.name.tags.clone(),
        },
    }
}

fn source(event: &Event, action: &ImageAction) -> CopySelection {
    if matches!(action.result, ActionResult::Failed) {
        return CopySelection::Ignore("it did not happen");
    }
    let Some(image) = action.name.image() else {
        return CopySelection::Ignore("it names no image");
    };
    let is_mark = match (&action.name.digest, action.name.tags.as_slice()) {
        (Some(digest), [tag]) => is_mark(tag, digest),
        _ => false,
    };
    let archived = match (&action.action, &action.storage_class) {
        (ImageActionType::UpdateStorageClass, Some(StorageClass::Archive)) => true,
        // The tag of a quarantine is how that begins.
        (ImageActionType::Push, _) if is_mark => true,
        (ImageActionType::Push, _) => {
            return CopySelection::Ignore("a push in another region: its copy comes by itself");
        }
        (ImageActionType::UpdateStorageClass | ImageActionType::Delete | ImageActionType::Other(_), _) => false,
    };
    CopySelection::Source {
        repository: action.name.repository.clone(),
        image,
        region: event.region.clone(),
        archived,
    }
}
