//! Calls that keep failing with errors that pass by themselves (throttling, trouble in AWS, timeouts): which, and how many images wait for them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::access::MAX_NAMED;
use crate::{ids::RegistryKey, text};

/// A call that has failed in one region, as sweeps have met it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailingCall {
    /// The call, as IAM names it.
    pub operation: String,
    /// The error's code.
    pub code: String,
    /// The first of the sweeps in a row that have met it.
    pub since: Timestamp,
    /// The last one.
    pub sweep: Timestamp,
    /// The number of images that could not be reconciled in that sweep.
    pub images: u64,
    /// The first of them, at most [`MAX_NAMED`].
    pub first: Vec<String>,
}

/// Sweeps that are no further apart than this are in a row, and what none has met for so long is over. Sweeps come every hour; one may be late,
/// and a worker may meet the call a while after its sweep began.
const IN_A_ROW: SignedDuration = SignedDuration::from_hours(3);

impl FailingCall {
    /// For a sweep that has met it for the first time.
    pub fn new(operation: &str, code: &str, sweep: Timestamp, waiting: Vec<String>) -> Self {
        Self {
            operation: text::line(operation, 100),
            code: text::line(code, 100),
            since: sweep,
            sweep,
            images: waiting.len() as u64,
            first: waiting.into_iter().take(MAX_NAMED).collect(),
        }
    }

    /// Whether both have the same cause.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.operation, &self.code) == (&other.operation, &other.code)
    }

    /// Adds what another worker or a later sweep has met.
    pub fn add(&mut self, other: Self) {
        if other.sweep > self.sweep {
            let since = if other.sweep.duration_since(self.sweep) <= IN_A_ROW {
                self.since
            } else {
                other.sweep
            };
            *self = Self { since, ..other };
            return;
        }
        // The report of a late worker about an earlier sweep counts with the last one.
        self.images = self.images.saturating_add(other.images);
        for image in other.first {
            if self.first.len() < MAX_NAMED && !self.first.contains(&image) {
                self.first.push(image);
            }
        }
    }

    /// Whether it still lasts, as far as known.
    pub fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.sweep) < IN_A_ROW
    }

    /// Whether an alert is sent: it lasts, and two sweeps in a row have met it. A failure that ends within an hour concerns
    /// nobody.
    pub fn is_told(&self, now: Timestamp) -> bool {
        self.lasts(now) && self.since < self.sweep
    }

    /// The steps for the reader, in order.
    pub fn next_steps(&self, registry: &RegistryKey) -> Vec<String> {
        let (service, _) = self.operation.split_once(':').unwrap_or(("aws", ""));
        vec![
            format!(
                "Check whether AWS reports trouble of {service} in {}: https://health.aws.amazon.com/health/status",
                registry.region
            ),
            format!(
                "If the code is about a rate or a quota: find out who else calls {} so often (CloudTrail, or the usage metrics of CloudWatch), and \
                 ask for a higher quota (Service Quotas, {service}).",
                self.operation
            ),
            "Nothing else is to be done: every sweep tries again.".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
    }

    fn met(minutes: i64, images: std::ops::Range<u64>) -> FailingCall {
        let waiting = images.map(|number| format!("api@sha256:{number:02}")).collect();
        FailingCall::new("ecr:DescribeImages", "ThrottlingException", at(minutes), waiting)
    }

    #[test]
    fn two_sweeps_in_a_row_are_alerted_and_one_is_not() {
        let mut failing = met(0, 0..8);
        failing.add(met(0, 8..40));
        assert_eq!((failing.images, failing.first.len()), (40, MAX_NAMED));
        assert!(!failing.is_told(at(30)), "one sweep");
        failing.add(met(60, 0..3));
        assert_eq!((failing.images, failing.since), (3, at(0)));
        assert!(failing.is_told(at(120)) && failing.is_told(at(239)));
        assert!(!failing.is_told(at(240)), "no sweep has met it for three hours");
        failing.add(met(300, 0..1));
        assert_eq!(
            (failing.since, failing.is_told(at(301))),
            (at(300), false),
            "it has begun anew"
        );
    }

    #[test]
    fn a_cause_is_a_call_and_its_code() {
        let one = met(0, 0..1);
        let code = FailingCall::new("ecr:DescribeImages", "InternalError", at(0), Vec::new());
        let call = FailingCall::new("ecr:ListImages", "ThrottlingException", at(0), Vec::new());
        assert!(one.is_same(&met(60, 3..9)));
        assert!(!one.is_same(&code) && !one.is_same(&call));
    }

    #[test]
    fn the_steps_name_the_service_the_region_and_the_call() {
        let registry = crate::testing::registry_key();
        let steps = met(0, 0..1).next_steps(&registry);
        assert_eq!(
            steps[0],
            "Check whether AWS reports trouble of ecr in us-west-2: https://health.aws.amazon.com/health/status"
        );
        assert!(
            steps[1].contains("who else calls ecr:DescribeImages so often")
                && steps[1].ends_with("(Service Quotas, ecr).")
        );
        assert_eq!(steps[2..], ["Nothing else is to be done: every sweep tries again."]);
    }
}
