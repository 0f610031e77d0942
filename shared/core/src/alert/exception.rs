//! Exceptions: those that an alert proposes for the policy, and those of the policy that an alert names.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;

use crate::{glob::Glob, ids::RepositoryName, ledger::RecordedFinding, policy::Exception, text};

/// An entry for `exceptions` in the policy, ready to be completed and proposed. `owner` and `reason` are left empty: an empty
/// one is refused when the policy is read, so that nobody can forget them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionEntry {
    vulnerability: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    repositories: [RepositoryName; 1],
    owner: &'static str,
    reason: &'static str,
    expires: String,
}

/// No id and no name of a package that is worth an exception is longer.
const MAX_LITERAL: usize = 200;

/// How many days ahead a proposed exception ends.
const PROPOSED_DAYS: i64 = 30;

impl ExceptionEntry {
    /// For one finding in one repository. `None`: its id or package, which come from outside, would not be taken literally.
    pub fn proposed(finding: &RecordedFinding, repository: &RepositoryName, now: Timestamp) -> Option<Self> {
        // Nor is anything passed on that a reader's program could act on.
        let harmless = |text: &str| {
            !text.contains('*')
                && text::line(text, MAX_LITERAL) == text
                && !text.contains("://")
                && !text.contains("www.")
        };
        let literal = |text: &str, glob: Result<Glob, _>| (glob.is_ok() && harmless(text)).then(|| text.to_owned());
        let package = match finding.package.as_deref() {
            Some(package) => Some(literal(package, Glob::of_text(package))?),
            None => None,
        };
        let expires = TimeZone::UTC
            .to_datetime(now + SignedDuration::from_hours(24 * PROPOSED_DAYS))
            .date();
        Some(Self {
            vulnerability: literal(&finding.id, finding.id.parse())?,
            package,
            repositories: [repository.clone()],
            owner: "",
            reason: "",
            expires: expires.to_string(),
        })
    }
}

/// The longest part of an exception that is shown, in characters.
const MAX_PART: usize = 100;

/// An exception of the policy, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExceptionNotice {
    /// Its place in the policy, and its ticket if it has one.
    pub name: String,
    /// Which vulnerabilities.
    pub vulnerability: String,
    /// In which packages.
    pub package: Option<String>,
    /// In which repositories, the first five.
    pub repositories: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, in UTC.
    pub last_day: String,
}

/// How many globs of repositories are shown of an exception.
const MAX_GLOBS: usize = 5;

impl ExceptionNotice {
    /// The short form of an exception.
    pub fn of(exception: &Exception) -> Self {
        let line = |value: &str| text::line(value, MAX_PART);
        Self {
            name: line(&exception.name),
            vulnerability: line(exception.vulnerability.as_str()),
            package: exception.package.as_ref().map(|glob| line(glob.as_str())),
            repositories: exception
                .repositories
                .iter()
                .take(MAX_GLOBS)
                .map(|glob| line(glob.as_str()))
                .collect(),
            owner: line(&exception.owner),
            reason: text::line(&exception.reason, 2 * MAX_PART),
            last_day: exception.last_day(),
        }
    }

    /// The vulnerabilities, packages and images that it covers, on one line.
    pub fn scope(&self) -> String {
        let package = self.package.as_ref().map(|package| format!(" in {package}"));
        format!(
            "{}{} of {}",
            self.vulnerability,
            package.unwrap_or_default(),
            self.repositories.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        finding::Severity,
        policy::Policy,
        testing::{image_key, now, recorded},
    };

    #[test]
    fn a_proposed_exception_is_refused_until_it_is_completed_and_then_covers_the_finding() {
        let finding = recorded("CVE-2026-1", Severity::Critical);
        let entry = ExceptionEntry::proposed(&finding, &image_key().repository, now()).unwrap();
        let json = serde_json::to_string(&entry).unwrap();
        let read = |json: &str| {
            Policy::from_json(
                &format!(
                    r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:a"}}, "exceptions": [{json}]}}"#
                ),
                now(),
            )
        };
        assert_eq!(read(&json).unwrap_err().path, "exceptions[0].owner");
        let completed = json
            .replace(r#""owner":"""#, r#""owner":"me""#)
            .replace(r#""reason":"""#, r#""reason":"no""#);
        let policy = read(&completed).unwrap();
        let key = image_key();
        let exception = &policy.exceptions[0];
        assert!(exception.applies(&key.repository, &key.digest, &[], now()));
        assert!(exception.names("CVE-2026-1", Some("openssl")));
        assert!(!exception.names("CVE-2026-2", Some("openssl")));
    }

    #[test]
    fn an_exception_is_proposed_for_a_package_with_blanks() {
        let finding = RecordedFinding {
            package: Some("Microsoft Visual C++ é".to_owned()),
            ..recorded("CVE-2026-1", Severity::Critical)
        };
        let entry = ExceptionEntry::proposed(&finding, &image_key().repository, now()).unwrap();
        assert_eq!(entry.package, finding.package);
    }

    #[test]
    fn nothing_is_proposed_that_would_cover_more_than_the_finding() {
        for (id, package) in [
            ("CVE-*", "a"),
            ("CVE-1", "*"),
            ("CVE 1", "a"),
            ("CVE-1", "https://evil.example/a"),
            ("CVE-1", "a\u{202e}b"),
            ("", "a"),
        ] {
            let finding = RecordedFinding {
                package: Some(package.to_owned()),
                ..recorded(id, Severity::Critical)
            };
            assert_eq!(
                ExceptionEntry::proposed(&finding, &image_key().repository, now()),
                None,
                "{id} {package}"
            );
        }
    }
}
