//! Copies: an image that was replicated from another region follows its source.
//!
//! The ledger has a row of the source, too. Where the scanner here has no result, the image is evaluated by the findings in
//! that row. Whatever result it is evaluated by here, it is blocked when its source is, and not blocked while the block of its
//! source is deferred.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    decide::{facts::Facts, family::LeadingIndex},
    finding::{NoScan, Scan},
    ids::Region,
    image::{Image, ImageKind, Way},
    ledger::{RecordedFinding, Row, ScanRecord, Source},
    policy::{Action, Policy},
    replication::is_destination,
    state::State,
    text::hex,
};

/// The part of a source's row that decides about its copies, as 12 characters: the same as long as that part is the same.
pub fn verdict(row: &Row) -> String {
    #[derive(Serialize)]
    struct Verdict<'a> {
        state: State,
        scan: Option<ScanRecord>,
        no_scan: &'a Option<NoScan>,
        // The details of a finding change with every scan. Its identity and its action decide.
        findings: Vec<(&'a str, Option<&'a str>, Action)>,
        excepted: Vec<(&'a str, Option<&'a str>)>,
        closed: bool,
    }
    let verdict = Verdict {
        state: row.state,
        // How its source is used decides nothing about a copy.
        scan: row.scan.clone().map(|scan| ScanRecord {
            counts_use: false,
            ..scan
        }),
        no_scan: &row.no_scan,
        findings: row
            .findings
            .iter()
            .map(|finding| (finding.id.as_str(), finding.package.as_deref(), finding.action))
            .collect(),
        excepted: row.excepted.iter().map(RecordedFinding::identity).collect(),
        closed: row.closed_at.is_some(),
    };
    let text = serde_json::to_string(&verdict).unwrap_or_default();
    hex(&Sha256::digest(text)).chars().take(12).collect()
}

/// Whether a row can be the source of a copy in `region`. A copy of that copy cannot: each would wait for the other.
pub(super) fn is_source_for(row: &Row, region: &Region) -> bool {
    row.image.region != *region
        && row.closed_at.is_none()
        && !row.is_not_an_image()
        && row.source.as_ref().is_none_or(|source| source.region != *region)
}

/// Whether a row is that of the source of an image in `region` that became pullable at `since`, where no event has said so: copies
/// arrive in that region. Where they go both ways, the older one is the source.
pub fn may_be_source(policy: &Policy, row: &Row, region: &Region, since: Option<Timestamp>) -> bool {
    is_destination(policy, &row.image.repository, region)
        && is_source_for(row, region)
        && SourceRank::of(policy, row).may_be_source_of(since)
}

/// Which of several rows that may be that of the source it is: the first by this order.
///
/// ECR does not copy copies. So what is no copy itself comes first, then what is in a region where no copies arrive, then the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRank {
    is_copy: bool,
    both_ways: bool,
    is_of_unknown_age: bool,
    since: Option<Timestamp>,
}

impl SourceRank {
    /// That of a row.
    pub fn of(policy: &Policy, row: &Row) -> Self {
        Self {
            is_copy: row.source.is_some(),
            both_ways: is_destination(policy, &row.image.repository, &row.image.region),
            is_of_unknown_age: row.available_since.is_none(),
            since: row.available_since,
        }
    }

    /// Whether it can be the source of an image that became pullable then. Where copies go both ways, only an older one can.
    pub fn may_be_source_of(&self, since: Option<Timestamp>) -> bool {
        !self.both_ways || self.since < since
    }
}

/// Whether a row is that of what is copied to `region`, image or not: charts and the like are copied, too.
pub fn may_be_copied_from(policy: &Policy, row: &Row, region: &Region) -> bool {
    is_destination(policy, &row.image.repository, region)
        && row.image.region != *region
        && row.closed_at.is_none()
        && row.source.as_ref().is_none_or(|source| source.region != *region)
}

impl Facts {
    /// Whether a pull through cache has fetched the image, or a parent index of it.
    pub(super) fn is_pulled_through(&self) -> bool {
        let says_event = self
            .arrival
            .as_ref()
            .is_some_and(|arrival| matches!(arrival.way, Way::PulledThrough(_)));
        says_event
            || self.row.as_ref().is_some_and(|row| row.pulled_through)
            || self.open_indexes().any(LeadingIndex::is_pulled_through)
    }

    /// The row of the source, if the image is a copy and its source is there.
    pub fn source_row(&self) -> Option<&Row> {
        let row = self.source.as_ref()?.row.as_ref()?;
        Some(row).filter(|row| is_source_for(row, &self.key.region))
    }

    /// The row of the source, if that is blocked.
    pub(super) fn blocked_source(&self) -> Option<&Row> {
        self.source_row().filter(|row| row.state == State::Blocked)
    }

    /// The row of the source, if what is known there decides here: the scanner here has no result, and nothing is remembered of one.
    ///
    /// An index is evaluated by its children, here as there.
    pub(super) fn judging_source(&self, image: &Image) -> Option<&Row> {
        if image.kind() == ImageKind::Index || matches!(self.scan, Scan::Complete(_)) {
            return None;
        }
        let own = self
            .row
            .as_ref()
            .filter(|row| row.closed_at.is_none() && !row.is_not_an_image());
        let has_own = own.is_some_and(|row| {
            row.state != State::Pending
                && row.no_scan.is_none()
                && !row.is_unjudged()
                && !row.source.as_ref().is_some_and(|source| source.judged)
        });
        self.source_row()
            .filter(|row| !has_own && row.state != State::Pending && row.no_scan.is_none() && !row.is_unjudged())
    }

    /// Whether the source defers a block here: its own block is deferred; or the image was only evaluated by its source, and
    /// the source is not blocked either.
    pub(super) fn is_deferred_by_source(&self, image: &Image) -> bool {
        let held = self.source_row().is_some_and(|row| row.state == State::BlockDeferred);
        held || self
            .judging_source(image)
            .is_some_and(|row| row.state != State::Blocked)
    }

    /// Whether the alert of the source covers that of the copy.
    pub(super) fn is_told_of_source(&self, state: State, releases: bool) -> bool {
        if releases {
            let source = self.row.as_ref().and_then(|row| row.source.as_ref());
            return source.is_some_and(|source| source.blocked);
        }
        self.source_row().is_some_and(|row| row.state == state)
    }

    /// The source that the image's own row names.
    pub(super) fn source_record(&self, image: &Image) -> Option<Source> {
        let Some(source) = &self.source else {
            return self.row.as_ref()?.source.clone();
        };
        Some(Source {
            region: source.region.clone(),
            verdict: source.row.as_ref().map(verdict),
            // As long as the block that followed the source is being undone, the source still covers it.
            blocked: self.blocked_source().is_some()
                || self
                    .row
                    .as_ref()
                    .is_some_and(|row| row.block.is_some() && row.source.as_ref().is_some_and(|source| source.blocked)),
            judged: self.judging_source(image).is_some(),
        })
    }
}
