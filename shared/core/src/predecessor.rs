//! The image that a new one replaces: whether blocking the new one would make anything better.
//!
//! Where an image with the same blocking findings runs already, blocking its successor does not keep them out of production: it
//! only keeps every other change out.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    evaluate::Evaluation,
    finding::{Scan, is_named},
    ids::{Digest, Tag},
    image::{Image, ImageStatus},
    ledger::Row,
    policy::Action,
    state::State,
};

/// The image that another one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predecessor {
    /// Its digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// When it was last pulled.
    pub pulled_at: Timestamp,
    findings: BTreeSet<(String, Option<String>)>,
}

/// Among the images that were pulled since `since`, the one that `image` replaces: of the same kind, pushed before it, and the
/// one of these that was pulled last.
pub fn replaced_by<'a>(image: &Image, pulled: &'a [Image], since: Timestamp) -> Option<&'a Image> {
    let pushed_at = image.pushed_at?;
    pulled
        .iter()
        .filter(|other| {
            other.digest != image.digest
                && other.kind() == image.kind()
                && other.status == ImageStatus::Active
                && other.pushed_at.is_some_and(|at| at < pushed_at)
                && other.last_pulled_at.is_some_and(|at| at >= since)
        })
        .max_by_key(|other| (other.last_pulled_at, other.pushed_at, other.digest.clone()))
}

impl Predecessor {
    /// With what is known of its findings: what the scanner lists now, otherwise what the ledger remembers. `None`: it is no
    /// excuse for another image, because it was never pulled or must not be deployed itself.
    pub fn new(image: &Image, scan: &Scan, row: Option<&Row>) -> Option<Self> {
        if row.is_some_and(|row| row.state == State::Blocked && row.closed_at.is_none()) {
            return None;
        }
        let identity = |id: &str, package: Option<&str>| (id.to_owned(), package.map(str::to_owned));
        let mut findings: BTreeSet<_> = match (scan, row) {
            (Scan::Complete(scan), _) if scan.has_result || row.is_none() => scan
                .findings
                .iter()
                .map(|finding| identity(&finding.id, finding.package.as_deref()))
                .collect(),
            (_, Some(row)) => row
                .findings
                .iter()
                .chain(&row.excepted)
                .map(|finding| identity(&finding.id, finding.package.as_deref()))
                .collect(),
            (_, None) => BTreeSet::new(),
        };
        // A finding that was not listed could be any.
        findings.retain(|(id, _)| is_named(id));
        Some(Self {
            digest: image.digest.clone(),
            tags: image.tags.clone(),
            pulled_at: image.last_pulled_at?,
            findings,
        })
    }

    /// Whether it has every finding for which another image would be blocked.
    pub fn has_all(&self, evaluation: &Evaluation) -> bool {
        let mut blocking = evaluation
            .findings
            .iter()
            .filter(|judged| judged.consequence.action == Action::Block)
            .peekable();
        blocking.peek().is_some()
            && blocking.all(|judged| {
                let finding = &judged.finding;
                self.findings.contains(&(finding.id.clone(), finding.package.clone()))
            })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        evaluate::{Names, evaluate},
        finding::Severity,
        testing::{finding, image, image_key, now, policy, scan},
    };

    fn days(n: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * n)
    }

    fn other(digest: &str, pushed: i64, pulled: Option<i64>) -> Image {
        Image {
            digest: digest.parse().unwrap(),
            pushed_at: Some(now() - days(pushed)),
            last_pulled_at: pulled.map(|n| now() - days(n)),
            ..image(&image_key())
        }
    }

    #[test]
    fn the_predecessor_is_the_older_image_that_was_pulled_last() {
        let new = image(&image_key());
        let archived = Image {
            status: ImageStatus::Archived,
            ..other("sha256:05", 3, Some(0))
        };
        let index = Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            ..other("sha256:06", 3, Some(0))
        };
        let pulled = [
            other("sha256:01", 30, Some(2)),
            other("sha256:02", 20, Some(1)),
            other("sha256:03", 10, Some(5)),
            other("sha256:04", 40, Some(20)),
            archived,
            index,
            other("sha256:07", 5, None),
            other("sha256:08", 0, Some(0)),
            new.clone(),
        ];
        let picked = |since: i64, pulled: &[Image]| {
            replaced_by(&new, pulled, now() - days(since)).map(|image| image.digest.to_string())
        };
        assert_eq!(picked(14, &pulled).as_deref(), Some("sha256:02"));
        assert_eq!(picked(14, &pulled[2..]).as_deref(), Some("sha256:03"));
        assert_eq!(
            picked(14, &pulled[3..]),
            None,
            "not pulled for long, archived, of another kind, newer, itself"
        );
        let undated = Image {
            pushed_at: None,
            ..new.clone()
        };
        assert_eq!(replaced_by(&undated, &pulled, now() - days(14)), None, "before what?");
    }

    #[test]
    fn an_image_is_no_worse_if_all_that_blocks_it_was_there_before() {
        let critical = |id: &str| finding(id, Severity::Critical);
        let before = scan(vec![
            critical("CVE-1"),
            critical("CVE-2"),
            critical(crate::finding::UNLISTED),
        ]);
        let before = Predecessor::new(&other("sha256:01", 30, Some(2)), &Scan::Complete(before), None).unwrap();
        for (findings, no_worse) in [
            (vec![critical("CVE-1")], true),
            (vec![critical("CVE-1"), critical("CVE-2")], true),
            (vec![critical("CVE-1"), finding("CVE-9", Severity::High)], true),
            (vec![critical("CVE-1"), critical("CVE-3")], false),
            (vec![critical(crate::finding::UNLISTED)], false),
            (vec![finding("CVE-1", Severity::High)], false),
        ] {
            let named = format!("{findings:?}");
            let evaluation = evaluate(&policy(""), &Names::of(&image_key(), &[]), &scan(findings), now());
            assert_eq!(before.has_all(&evaluation), no_worse, "{named}");
        }
    }

    #[test]
    fn a_predecessor_excuses_again_when_the_row_of_its_block_is_closed() {
        let known = Scan::Complete(scan(vec![finding("CVE-1", Severity::Critical)]));
        let mut row = Row::not_reached(image_key(), &policy(""), "", now());
        row.state = State::Blocked;
        let excuses = |row: &Row| Predecessor::new(&other("sha256:01", 30, Some(2)), &known, Some(row)).is_some();
        assert!(!excuses(&row), "it must not be deployed itself");
        // It was deleted, and is there again: the result of its reconcile is not known yet, and it runs.
        row.closed_at = Some(now());
        assert!(excuses(&row));
    }

    #[test]
    fn nothing_known_of_the_predecessor_excuses_nothing() {
        let evaluation = evaluate(
            &policy(""),
            &Names::of(&image_key(), &[]),
            &scan(vec![finding("CVE-1", Severity::Critical)]),
            now(),
        );
        for known in [Scan::Absent, Scan::InProgress, Scan::Complete(scan(vec![]))] {
            let before = Predecessor::new(&other("sha256:01", 30, Some(2)), &known, None).unwrap();
            assert!(!before.has_all(&evaluation), "{known:?}");
        }
    }

    #[test]
    fn an_image_of_the_same_moment_is_no_predecessor() {
        let new = image(&image_key());
        let pushed = |seconds: i64| Image {
            pushed_at: new.pushed_at.map(|at| at - SignedDuration::from_secs(seconds)),
            ..other("sha256:07", 0, Some(0))
        };
        assert_eq!(replaced_by(&new, &[pushed(0)], now() - days(7)), None);
        assert_eq!(replaced_by(&new, &[pushed(1)], now() - days(7)), Some(&pushed(1)));
    }
}
