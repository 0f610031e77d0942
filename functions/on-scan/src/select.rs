//! Which image an event asks to look at.

use shared::{
    events::{Body, Event, FindingStatus, ScanStatus},
    reconcile::Hints,
    runtime::entry::Selection,
};

/// A finished or failed scan, of ECR's own scanner or of Inspector; or a finding that Inspector has found or changed since.
pub(crate) fn select(event: &Event) -> Selection {
    let (name, hints) = match &event.body {
        // Whatever the event says of the result, what counts is what the scanner says; only that there is one is believed.
        Body::ImageScan(scan) | Body::InspectorScan(scan) => {
            let is_result = matches!(scan.status, ScanStatus::Complete | ScanStatus::InitialScanComplete);
            let hints = Hints {
                announced: is_result.then(|| scan.counts.clone()),
                ..Hints::default()
            };
            (&scan.name, hints)
        }
        // A tag may be another image's by now.
        Body::InspectorFinding(finding) if finding.name.digest.is_none() => {
            return Selection::Ignore("a finding without the digest of its image");
        }
        Body::InspectorFinding(finding) if finding.status == FindingStatus::Active => {
            let hints = Hints {
                epss: finding.epss.clone(),
                ..Hints::default()
            };
            (&finding.name, hints)
        }
        Body::InspectorFinding(_) => return Selection::Ignore("a finding that does not stand"),
        Body::ImageAction(_)
        | Body::ReferrerAction(_)
        | Body::Replication(_)
        | Body::PullThroughCache(_)
        | Body::ScanResourceChange(_)
        | Body::InspectorCoverage(_)
        | Body::InspectorAutoEnable
        | Body::OtherResource { .. }
        | Body::Unknown { .. } => return Selection::Ignore("neither the end of a scan nor a finding"),
    };
    Selection::look(name, hints)
}
