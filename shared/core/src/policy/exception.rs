//! Exceptions: findings that do not count, for a time; and what is to be said about the ones that a policy has.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::{
    finding::Finding,
    glob::Glob,
    ids::{Digest, RepositoryName, Tag},
    policy::{
        document::ExceptionSection,
        reading::{PolicyError, Remark, glob, text_glob},
    },
    text,
};

/// A finding that does not count, for a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// Its name where a decision is explained: its place in the policy, and its ticket if it has one (`exceptions[3] SEC-12`).
    pub name: String,
    /// Which vulnerabilities.
    pub vulnerability: Glob,
    /// In which packages; `None`: any.
    pub package: Option<Glob>,
    /// In which repositories.
    pub repositories: Vec<Glob>,
    /// In images that have such a tag; `None`: any.
    pub tag: Option<Glob>,
    /// In this image; `None`: any.
    pub digest: Option<Digest>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Reference to the decision.
    pub ticket: Option<String>,
    /// The first moment at which it no longer holds: the end of its last day, UTC.
    pub ends: Timestamp,
    /// The owner of the policy knows that it excepts very much.
    pub(super) accept_risk: bool,
}

/// For how many days before its end an exception is pointed out.
const EXPIRY_WARNING_DAYS: i64 = 7;

impl Exception {
    /// Whether it holds for an image at all, at this time.
    pub fn applies(&self, repository: &RepositoryName, digest: &Digest, tags: &[Tag], now: Timestamp) -> bool {
        !self.has_ended(now)
            && self.is_for(repository)
            && self
                .tag
                .as_ref()
                .is_none_or(|glob| tags.iter().any(|tag| glob.matches(tag.as_str())))
            && self.digest.as_ref().is_none_or(|only| only == digest)
    }

    /// Whether it is about such a finding, in whatever image.
    pub fn names(&self, vulnerability: &str, package: Option<&str>) -> bool {
        self.vulnerability.matches_in_any_case(vulnerability)
            && self
                .package
                .as_ref()
                .is_none_or(|glob| package.is_some_and(|package| glob.matches(package)))
    }

    /// The same of a finding, by any id that its vulnerability goes by.
    pub fn is_about(&self, finding: &Finding) -> bool {
        finding.ids().any(|id| self.names(id, finding.package.as_deref()))
    }

    /// Its scope in any image: its globs of vulnerability and package.
    pub fn scope(&self) -> String {
        let package = self.package.as_ref().map_or("", Glob::as_str);
        format!("{} {package}", self.vulnerability.as_str())
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.ends
    }

    /// Whether it holds, and not for long any more.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        let left = now.duration_until(self.ends);
        !self.has_ended(now) && left <= SignedDuration::from_hours(24 * EXPIRY_WARNING_DAYS)
    }

    /// Whether it names a repository at all.
    pub fn is_for(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|glob| glob.matches(repository.as_str()))
    }

    /// The last day on which it holds, in UTC.
    pub fn last_day(&self) -> String {
        (self.ends - SignedDuration::from_secs(1))
            .strftime("%Y-%m-%d")
            .to_string()
    }

    /// Whether whatever another one covers is covered by this one too, as long as both hold. Globs are compared by their text: a
    /// glob that matches the text of another one matches all that the other one does.
    fn includes(&self, other: &Self) -> bool {
        let wider = |mine: Option<&Glob>, theirs: Option<&Glob>| match (mine, theirs) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.matches(theirs.as_str()),
            (Some(_), None) => false,
        };
        self.vulnerability.matches_in_any_case(other.vulnerability.as_str())
            && wider(self.package.as_ref(), other.package.as_ref())
            && wider(self.tag.as_ref(), other.tag.as_ref())
            && other
                .repositories
                .iter()
                .all(|theirs| self.repositories.iter().any(|mine| mine.matches(theirs.as_str())))
            && self
                .digest
                .as_ref()
                .is_none_or(|digest| other.digest.as_ref() == Some(digest))
    }
}

/// Remarks for the owner of the policy about its exceptions: ended, ending soon, or covered by another one. One sentence each,
/// with the place in the document.
pub(super) fn remarks(exceptions: &[Exception], now: Timestamp) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for (index, exception) in exceptions.iter().enumerate() {
        let mut remark = |text: String| remarks.push(Remark::at(format!("exceptions[{index}]"), text));
        if exception.has_ended(now) {
            remark(format!(
                "it ended on {} and counts no more: remove it",
                exception.last_day()
            ));
            continue;
        }
        if exception.ends_soon(now) {
            remark(format!(
                "it ends on {}: its findings count again then",
                exception.last_day()
            ));
        }
        let is_all = |glob: &Glob| glob.as_str().bytes().all(|byte| byte == b'*');
        let (tag, digest) = (exception.tag.as_ref(), exception.digest.as_ref());
        if is_all(&exception.vulnerability)
            && exception.repositories.iter().any(is_all)
            && exception.package.as_ref().is_none_or(is_all)
            && tag.is_none_or(is_all)
            && digest.is_none()
            && !exception.accept_risk
        {
            remark(
                "it excepts every vulnerability in every repository, so that no finding blocks anything. Known and meant? Then add \
                 \"accept_risk\": true"
                    .to_owned(),
            );
        }
        let by = exceptions.iter().enumerate().find(|(other, wider)| {
            *other != index
                && now < wider.ends
                && wider.includes(exception)
                // The later one of two that are the same is superfluous.
                && (*other < index || !exception.includes(wider))
        });
        if let Some((other, _)) = by {
            remark(format!("it is covered by exceptions[{other}]"));
        }
    }
    remarks
}

/// The farthest day on which an exception may end, counted from the day the policy is read.
pub const MAX_EXCEPTION_DAYS: i64 = 180;

/// The most characters of a ticket in the name of an exception.
const MAX_TICKET: usize = 60;

/// Reads an entry of `exceptions`.
pub(super) fn read(index: usize, section: ExceptionSection, now: Timestamp) -> Result<Exception, PolicyError> {
    let path = |field: &str| format!("exceptions[{index}].{field}");
    for (field, text) in [("owner", &section.owner), ("reason", &section.reason)] {
        if text.trim().is_empty() {
            return Err(PolicyError::at(
                path(field),
                "it is empty: somebody must answer for an exception, and say why",
            ));
        }
    }
    if section.repositories.is_empty() {
        return Err(PolicyError::at(
            path("repositories"),
            "an exception names its repositories; `*` is all of them",
        ));
    }
    let mut repositories = Vec::new();
    for (n, text) in section.repositories.iter().enumerate() {
        repositories.push(glob(text, || path(&format!("repositories[{n}]")))?);
    }
    let ends = section
        .expires
        .tomorrow()
        .and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)))
        .map_err(|error| PolicyError::at(path("expires"), error))?;
    let latest = now + SignedDuration::from_hours(24 * (MAX_EXCEPTION_DAYS + 1));
    if ends > latest {
        let today = (latest - SignedDuration::from_hours(24)).strftime("%Y-%m-%d");
        let problem = format!(
            "an exception ends within {MAX_EXCEPTION_DAYS} days; renew it when the time comes. Today the latest day is {today}"
        );
        return Err(PolicyError::at(path("expires"), problem));
    }
    let package = section.package.as_deref();
    let tag = section.tag.as_deref();
    let ticket = section.ticket.as_deref().map(|ticket| text::line(ticket, MAX_TICKET));
    Ok(Exception {
        name: match ticket.filter(|ticket| !ticket.is_empty()) {
            Some(ticket) => format!("exceptions[{index}] {ticket}"),
            None => format!("exceptions[{index}]"),
        },
        vulnerability: glob(&section.vulnerability, || path("vulnerability"))?,
        package: package.map(|text| text_glob(text, || path("package"))).transpose()?,
        tag: tag.map(|text| glob(text, || path("tag"))).transpose()?,
        digest: section
            .digest
            .map(|digest| digest.parse().map_err(|error| PolicyError::at(path("digest"), error)))
            .transpose()?,
        repositories,
        owner: section.owner,
        reason: section.reason,
        ticket: section.ticket,
        ends,
        accept_risk: section.accept_risk,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{now, policy};

    fn remarks_of(exceptions: &str) -> Vec<String> {
        let policy = policy(&format!(r#""exceptions": [{exceptions}]"#));
        policy.remarks(now()).iter().map(ToString::to_string).collect()
    }

    fn exception(vulnerability: &str, repositories: &str, more: &str) -> String {
        format!(
            r#"{{"vulnerability": "{vulnerability}", "repositories": ["{repositories}"], "owner": "o", "reason": "r", {more}}}"#
        )
    }

    #[test]
    fn what_has_ended_ends_soon_or_is_superfluous_is_pointed_out() {
        let later = r#""expires": "2027-03-01""#;
        assert_eq!(remarks_of(&exception("CVE-1", "a-*", later)), [] as [&str; 0]);
        assert_eq!(
            remarks_of(&exception("CVE-1", "a-*", r#""expires": "2026-11-23""#)),
            ["`exceptions[0]`: it ended on 2026-11-23 and counts no more: remove it"]
        );
        assert_eq!(
            remarks_of(&exception("CVE-1", "a-*", r#""expires": "2026-11-30""#)),
            ["`exceptions[0]`: it ends on 2026-11-30: its findings count again then"]
        );
        let pair = |one: (&str, &str, &str), two: (&str, &str, &str)| {
            let later = |more: &str| format!(r#"{more}"expires": "2027-03-01""#);
            let (first, second) = (
                exception(one.0, one.1, &later(one.2)),
                exception(two.0, two.1, &later(two.2)),
            );
            remarks_of(&format!("{first}, {second}"))
        };
        let package = r#""package": "zlib", "#;
        for (one, two, remark) in [
            (
                ("CVE-1", "a-*", ""),
                ("CVE-1", "a-b", ""),
                Some("`exceptions[1]`: it is covered by exceptions[0]"),
            ),
            (
                ("CVE-1", "a-b", ""),
                ("CVE-*", "*", ""),
                Some("`exceptions[0]`: it is covered by exceptions[1]"),
            ),
            (
                ("CVE-1", "a-b", ""),
                ("CVE-1", "a-b", ""),
                Some("`exceptions[1]`: it is covered by exceptions[0]"),
            ),
            (
                ("CVE-1", "a-b", ""),
                ("CVE-1", "a-b", package),
                Some("`exceptions[1]`: it is covered by exceptions[0]"),
            ),
            (("CVE-1", "a-b", package), ("CVE-2", "a-b", package), None),
            (("CVE-1", "a-*", ""), ("CVE-1", "*-b", ""), None),
        ] {
            assert_eq!(pair(one, two), Vec::from_iter(remark), "{one:?} {two:?}");
        }
    }

    #[test]
    fn an_exception_for_one_image_covers_that_image_alone() {
        let digest = |of: char| {
            format!(
                r#""digest": "sha256:{}", "expires": "2027-03-01""#,
                of.to_string().repeat(64)
            )
        };
        let any = r#""expires": "2027-03-01""#.to_owned();
        let second = Some("`exceptions[1]`: it is covered by exceptions[0]");
        for (one, two, remark) in [
            (digest('a'), digest('a'), second),
            (digest('a'), digest('b'), None),
            (any.clone(), digest('a'), second),
            (
                digest('a'),
                any,
                Some("`exceptions[0]`: it is covered by exceptions[1]"),
            ),
        ] {
            let both = [one, two].map(|more| exception("CVE-1", "a", &more)).join(", ");
            assert_eq!(remarks_of(&both), Vec::from_iter(remark), "{both}");
        }
    }

    #[test]
    fn an_exception_that_has_ended_covers_no_other() {
        let wide = exception("CVE-*", "*", r#""expires": "2026-11-23""#);
        let narrow = exception("CVE-1", "a", r#""expires": "2027-03-01""#);
        let policy = policy(&format!(r#""exceptions": [{wide}, {narrow}]"#));
        let remarks = |at: &str| -> Vec<String> {
            let remarks = policy.remarks(at.parse().unwrap());
            remarks.into_iter().map(|remark| remark.path).collect()
        };
        let ended = "`exceptions[0]`: it ended on 2026-11-23 and counts no more: remove it";
        assert_eq!(
            policy
                .remarks(now())
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [ended]
        );
        assert_eq!(remarks("2026-11-23T23:59:59Z"), ["exceptions[0]", "exceptions[1]"]);
        assert_eq!(
            remarks("2026-11-24T00:00:00Z"),
            ["exceptions[0]"],
            "the first moment without it"
        );
    }

    #[test]
    fn the_last_day_is_180_days_after_today() {
        let midnight = "2026-11-24T00:00:00Z".parse().unwrap();
        let read = |day: &str| {
            let entry = exception("CVE-1", "a", &format!(r#""expires": "{day}""#));
            let json = format!(
                r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:a"}}, "exceptions": [{entry}]}}"#
            );
            crate::policy::Policy::from_json(&json, midnight).map_err(|error| error.path)
        };
        assert!(read("2027-05-23").is_ok());
        assert_eq!(read("2027-05-24").unwrap_err(), "exceptions[0].expires");
    }
}
