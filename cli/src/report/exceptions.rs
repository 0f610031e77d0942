//! The exceptions of a policy, and how many images they cover.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::{ledger::Row, policy::Policy, text};
use jiff::Timestamp;

use super::model::Exception;

/// How many images each exception covers, as the rows say it.
#[derive(Debug, Default)]
pub(super) struct Covered {
    images: BTreeMap<String, u64>,
    /// There are rows of another policy: its exceptions may have other names.
    incomplete: bool,
}

impl Covered {
    /// Counts a row.
    pub(super) fn row(&mut self, row: &Row, policy: Option<&Policy>) {
        self.incomplete |= policy.is_none_or(|policy| policy.sha256 != row.policy);
        let names = row.excepted.iter().filter_map(|finding| finding.exception.as_ref());
        for name in names.collect::<BTreeSet<_>>() {
            let number = self.images.entry(name.clone()).or_default();
            *number = number.saturating_add(1);
        }
    }
}

/// All of a policy.
pub(super) fn of(policy: &Policy, ledger: &str, covered: &Covered, now: Timestamp) -> Vec<Exception> {
    let describe = |exception: &guard_core::policy::Exception| {
        let images = covered.images.get(&exception.name).copied().unwrap_or_default();
        Exception {
            ledger: ledger.to_owned(),
            name: text::line(&exception.name, 100),
            vulnerability: text::line(exception.vulnerability.as_str(), 100),
            package: exception.package.as_ref().map(|glob| text::line(glob.as_str(), 100)),
            repositories: exception
                .repositories
                .iter()
                .map(|glob| text::line(glob.as_str(), 200))
                .collect(),
            owner: text::line(&exception.owner, 100),
            reason: text::line(&exception.reason, 400),
            ticket: exception.ticket.as_deref().map(|ticket| text::line(ticket, 100)),
            last_day: exception.last_day(),
            // Whole days, towards the past: what has ended is below zero.
            days_left: exception.ends.duration_since(now).as_secs().div_euclid(86_400),
            images: (!covered.incomplete).then_some(images),
        }
    };
    policy.exceptions.iter().map(describe).collect()
}
