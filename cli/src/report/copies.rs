//! Whether other regions can take over, by the figures that sweeps keep.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::{
    ids::{AccountId, Region, RepositoryKey},
    replication::{readiness::Readiness, rules},
    summary::day_of_summary,
};
use jiff::Timestamp;

use super::{gather::Around, model::Copies};
use crate::judged::PolicyText;

/// The figures of all ledgers, by account, source and destination.
#[derive(Debug, Default)]
pub(super) struct All {
    seen: BTreeSet<(RepositoryKey, Region)>,
    figures: BTreeMap<(AccountId, Region, Region), Readiness>,
}

impl All {
    /// Adds those of a ledger. Figures of a day before yesterday say nothing of today.
    pub(super) fn ledger(
        &mut self,
        around: &Around,
        repositories: &BTreeSet<RepositoryKey>,
        policy: Option<&PolicyText>,
        now: Timestamp,
    ) {
        for key in repositories {
            let summary = around.summaries.get(key);
            let is_fresh = summary.is_some_and(|summary| day_of_summary(summary, now).is_some());
            let known = summary.map_or(&[][..], |summary| &summary.readiness);
            for readiness in known {
                let readiness = if is_fresh {
                    readiness.clone()
                } else {
                    readiness.unknown()
                };
                self.add(key, &readiness);
            }
            let rules = policy.and_then(|policy| rules(&policy.policy, &key.repository));
            for to in rules.into_iter().flat_map(|rules| rules.destinations(&key.region)) {
                // Those that were added above are not added again.
                self.add(key, &Readiness::of(to.clone()).unknown());
            }
        }
    }

    fn add(&mut self, key: &RepositoryKey, readiness: &Readiness) {
        if !self.seen.insert((key.clone(), readiness.region.clone())) {
            return;
        }
        let place = (key.account.clone(), key.region.clone(), readiness.region.clone());
        self.figures
            .entry(place)
            .and_modify(|all| all.add(readiness))
            .or_insert_with(|| readiness.clone());
    }

    /// All of them.
    pub(super) fn finish(&self) -> Vec<Copies> {
        let one = |((account, from, to), of): (&(AccountId, Region, Region), &Readiness)| Copies {
            account: account.to_string(),
            from: from.to_string(),
            to: to.to_string(),
            expected: of.expected,
            present: of.present,
            late: of.late,
            failed: of.failed,
            not_pullable: [of.missing, of.archived, of.incomplete, of.blocked].iter().sum(),
            unprotected: of.unprotected,
            unknown: of.unknown,
            unknown_repositories: of.unknown_repositories,
            ready: of.is_ready(),
        };
        self.figures.iter().map(one).collect()
    }
}
