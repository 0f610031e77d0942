//! Whether a finished scan shows its result yet.
//!
//! Under enhanced scanning the same answer (`COMPLETE` or `ACTIVE`, nothing listed, nothing counted, perhaps no time of completion) comes of
//! an image that is clean, for good, and of an image whose findings Inspector has not attached yet. Recorded: findings came 12 seconds after
//! such an answer. Whether a clean image under continuous scanning ever gets a time of completion is not known. So such an answer is waited
//! for, and the wait ends.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::facts::Facts,
    evaluate::{Verdict, evaluate},
    finding::{Findings, Scan, ScanEvent},
    image::Image,
    policy::Policy,
};

/// So long after the image came, after its scan ended, or after an event about its scan, an answer without a result is no result yet.
/// Seventy times what was recorded.
pub const RESULT_AWAITED: SignedDuration = SignedDuration::from_mins(30);

impl Facts {
    /// The last event about a scan of the image as it is there now: the one that led here, or one that the ledger remembers. One from before
    /// its push or return speaks of an earlier stay.
    pub(super) fn scan_event(&self) -> Option<&ScanEvent> {
        let since = self.image.as_ref().and_then(Image::available_since);
        // To the second: an event has no fractions.
        let is_of_now = |event: &&ScanEvent| since.is_none_or(|since| event.at.as_second() >= since.as_second());
        let remembered = self.row.as_ref().and_then(|row| row.scan_event.as_ref());
        let events = remembered.into_iter().chain(&self.announced).filter(is_of_now);
        // The event that caused this reconcile, if two have the same time.
        events.max_by_key(|event| event.at)
    }

    /// The event that the row has to remember: until a result shows, and as long as what it counted is not listed. That an event is waited
    /// for at all, [`Step::awaiting`](super::Step) says.
    pub(super) fn scan_event_to_keep(&self) -> Option<ScanEvent> {
        let event = self.scan_event();
        let known = self.row.as_ref().and_then(|row| row.scan_event.as_ref());
        let keep = match &self.scan {
            Scan::Complete(scan) => scan.completed_at.is_none() || !scan.counted_by_event.is_empty(),
            Scan::Refused(_) => true,
            Scan::Absent
            | Scan::InProgress
            | Scan::NotVisible
            | Scan::Archived
            | Scan::Unavailable(_)
            | Scan::Explained(..) => event == known,
        };
        event.filter(|_| keep).cloned()
    }

    /// The facts with what the scanner's answer means at this time.
    pub(super) fn with_visible_scan(&self, policy: &Policy, image: &Image, now: Timestamp) -> Cow<'_, Self> {
        let scan = match &self.scan {
            Scan::Complete(findings) => self.visible(policy, image, findings, now),
            Scan::Absent
            | Scan::InProgress
            | Scan::NotVisible
            | Scan::Refused(_)
            | Scan::Archived
            | Scan::Unavailable(_)
            | Scan::Explained(..) => None,
        };
        scan.map_or(Cow::Borrowed(self), |scan| Cow::Owned(Self { scan, ..self.clone() }))
    }

    /// The result to use in place of the answer; `None`: the answer itself.
    fn visible(&self, policy: &Policy, image: &Image, findings: &Findings, now: Timestamp) -> Option<Scan> {
        let event = self.scan_event();
        let shows_none = findings.shows_none();
        let counted = event.filter(|event| shows_none && event.counted() > 0);
        if findings.has_result && counted.is_none() {
            return None;
        }
        if shows_none && event.is_some_and(ScanEvent::found_nothing) {
            return None;
        }
        let since = [
            image.available_since(),
            findings.completed_at,
            event.map(|event| event.at),
        ];
        let since = since.into_iter().flatten().max();
        if since.is_some_and(|since| now.duration_since(since) <= RESULT_AWAITED) {
            // A listed finding exists, whatever is still to come: it blocks at once, and makes nothing clean.
            let blocks = evaluate(policy, &self.names(image), findings, now).verdict == Verdict::Block;
            return (!blocks).then_some(Scan::NotVisible);
        }
        Some(Scan::Complete(Findings {
            completed_at: None,
            counted_by_event: counted.map(ScanEvent::by_severity).unwrap_or_default(),
            ..findings.clone()
        }))
    }
}
