//! `worker`: the image that a finding names for a reconcile. See README.md of this crate.

#[cfg(test)]
mod tests;

use shared::{
    engine::reconcile::image::Hints,
    events::{Body, Event, FindingStatus},
    lambda::entry::Selection,
};

/// A finding that Inspector has found, changed, or that does not stand any more.
pub fn select(event: &Event) -> Selection {
    let (name, epss) = match &event.body {
        // A tag may be another image's by now.
        Body::InspectorFinding(finding) if finding.name.digest.is_none() => {
            return Selection::Ignore("a finding without the digest of its image");
        }
        // How likely it is exploited only matters as long as it stands.
        Body::InspectorFinding(finding) if finding.status == FindingStatus::Active => {
            (&finding.name, finding.epss.clone())
        }
        Body::InspectorFinding(finding) => (&finding.name, None),
        Body::ImageScan(_)
        | Body::InspectorScan(_)
        | Body::ImageAction(_)
        | Body::ReferrerAction(_)
        | Body::Replication(_)
        | Body::PullThroughCache(_)
        | Body::ScanResourceChange(_)
        | Body::InspectorCoverage(_)
        | Body::InspectorAutoEnable
        | Body::OtherResource { .. }
        | Body::Unknown { .. } => return Selection::Ignore("no finding"),
    };
    let hints = Hints {
        epss: epss.into_iter().collect(),
        ..Hints::default()
    };
    Selection::look(name, hints)
}
