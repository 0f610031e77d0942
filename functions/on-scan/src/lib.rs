//! `on-scan`: the image that an event names for a reconcile. See README.md of this crate.

#[cfg(test)]
mod tests;

use shared::{
    engine::reconcile::image::Hints,
    events::{Body, Event},
    lambda::entry::Selection,
};

/// A finished or failed scan, of ECR's own scanner or of Inspector. Findings go through the queue of the workers, which looks once at an
/// image that has a thousand.
pub fn select(event: &Event) -> Selection {
    let (name, hints) = match &event.body {
        // Whatever the event says of the result, what counts is what the scanner says; only that there is one is believed, and how much it
        // counts as long as the scanner shows nothing.
        Body::ImageScan(scan) | Body::InspectorScan(scan) => {
            let hints = Hints {
                announced: scan.result(event.time),
                ..Hints::default()
            };
            (&scan.name, hints)
        }
        Body::ImageAction(_)
        | Body::ReferrerAction(_)
        | Body::Replication(_)
        | Body::PullThroughCache(_)
        | Body::ScanResourceChange(_)
        | Body::InspectorFinding(_)
        | Body::InspectorCoverage(_)
        | Body::InspectorAutoEnable
        | Body::OtherResource { .. }
        | Body::Unknown { .. } => return Selection::Ignore("not the end of a scan"),
    };
    Selection::look(name, hints)
}
