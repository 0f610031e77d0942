//! Entries that can never match: valid in form, and without any effect, so that their author relies on a rule that does
//! nothing.
//!
//! A document that is deployed is not refused for it (see [`Reading`](super::reading::Reading)).

use crate::{
    glob::Glob,
    policy::{
        document::{Document, ExceptionSection, RepositorySection, RuleSection, TagSection},
        reading::PolicyError,
    },
    repository::tags::TagPattern,
    text,
};

/// The hexadecimal digits behind `sha256:` in a digest of ECR (API reference of ECR, `imageDigest`; SHA-256).
const DIGEST_DIGITS: usize = 64;

/// All of it, in the order of the document.
pub(super) fn problems(document: &Document) -> Vec<PolicyError> {
    let mut found = Vec::new();
    for (index, rule) in document.rules.iter().enumerate() {
        of_rule(index, rule, &mut found);
    }
    for (index, exception) in document.exceptions.iter().enumerate() {
        of_exception(index, exception, &mut found);
    }
    for (index, repository) in document.repositories.iter().enumerate() {
        let (before, _) = document.repositories.split_at_checked(index).unwrap_or_default();
        of_repository(index, repository, before, &mut found);
    }
    if let Some(release) = &document.release {
        let place = |n| format!("release.repositories[{n}]");
        all(&release.repositories, place, Names::Repository, &mut found);
    }
    for (n, account) in document
        .block
        .workloads
        .iter()
        .flat_map(|of| of.accounts.iter().enumerate())
    {
        let place = |m| format!("block.workloads.accounts[{n}].repositories[{m}]");
        all(&account.repositories, place, Names::Repository, &mut found);
    }
    found
}

/// The kind of name that a glob is compared with.
#[derive(Debug, Clone, Copy)]
enum Names {
    Repository,
    Vulnerability,
    Tag,
    Package,
}

fn of_rule(index: usize, rule: &RuleSection, found: &mut Vec<PolicyError>) {
    for (member, texts, names) in [
        ("packages", &rule.packages, Names::Package),
        ("vulnerabilities", &rule.vulnerabilities, Names::Vulnerability),
        ("repositories", &rule.repositories, Names::Repository),
    ] {
        let place = |n| format!("rules[{index}].{member}[{n}]");
        all(texts.as_deref().unwrap_or_default(), place, names, found);
    }
}

fn of_exception(index: usize, exception: &ExceptionSection, found: &mut Vec<PolicyError>) {
    let path = |member: &str| format!("exceptions[{index}].{member}");
    one(
        &exception.vulnerability,
        || path("vulnerability"),
        Names::Vulnerability,
        found,
    );
    for (member, text, names) in [
        ("package", &exception.package, Names::Package),
        ("tag", &exception.tag, Names::Tag),
    ] {
        if let Some(text) = text {
            one(text, || path(member), names, found);
        }
    }
    let place = |n| path(&format!("repositories[{n}]"));
    all(&exception.repositories, place, Names::Repository, found);
    if let Some(digest) = &exception.digest
        && !is_digest(digest)
    {
        let problem = format!(
            "`{}` is no image's digest, which is `sha256:` and {DIGEST_DIGITS} digits of `0-9 a-f`: no image has it",
            text::line(digest, 80)
        );
        found.push(PolicyError::at(path("digest"), problem));
    }
}

fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:")
        .is_some_and(|rest| rest.len() == DIGEST_DIGITS && rest.bytes().all(hex))
}

fn of_repository(
    index: usize,
    repository: &RepositorySection,
    before: &[RepositorySection],
    found: &mut Vec<PolicyError>,
) {
    let path = |member: &str| format!("repositories[{index}].{member}");
    let known = found.len();
    one(&repository.matches, || path("match"), Names::Repository, found);
    let covers = |earlier: &RepositorySection| {
        let glob: Option<Glob> = earlier.matches.parse().ok();
        glob.is_some_and(|glob| glob.matches(&repository.matches))
    };
    if known == found.len()
        && let Some(earlier) = before.iter().position(covers)
    {
        let problem = format!(
            "`repositories[{earlier}]` comes first and matches all that `{}` does, so that this entry never counts: put it before that one",
            text::line(&repository.matches, 80)
        );
        found.push(PolicyError::at(path("match"), problem));
    }
    if let Some(tags) = &repository.tags {
        of_tags(&path("tags"), tags, found);
    }
}

/// A forbidden tag is forbidden, whatever else it is.
fn of_tags(path: &str, tags: &TagSection, found: &mut Vec<PolicyError>) {
    let forbids = |pattern: &str| {
        let covers = |forbidden: &String| match forbidden.parse() {
            // A pattern that is no glob is compared by its text alone.
            Ok(TagPattern::Glob(glob)) => match pattern.parse() {
                Ok(TagPattern::Glob(_)) => glob.matches(pattern),
                _ => glob.as_str() == "*",
            },
            _ => forbidden == pattern,
        };
        tags.forbidden.iter().position(covers)
    };
    for (list, patterns) in [
        ("allowed", &tags.allowed),
        ("reserved", &tags.reserved),
        ("moving", &tags.moving),
    ] {
        for (n, pattern) in patterns.iter().enumerate() {
            if let Some(by) = forbids(pattern) {
                let problem = format!(
                    "`{}` is forbidden too, by `{path}.forbidden[{by}]`: leave out one",
                    text::line(pattern, 60)
                );
                found.push(PolicyError::at(format!("{path}.{list}[{n}]"), problem));
            }
        }
    }
}

fn all(texts: &[String], place: impl Fn(usize) -> String, names: Names, found: &mut Vec<PolicyError>) {
    for (n, text) in texts.iter().enumerate() {
        one(text, || place(n), names, found);
    }
}

fn one(text: &str, place: impl FnOnce() -> String, names: Names, found: &mut Vec<PolicyError>) {
    let shown = text::line(text, 80);
    let is_expression = text.starts_with('^') || text.ends_with('$') && !text.ends_with("}$");
    let problem = if is_expression {
        format!(
            "`{shown}` is a regular expression, and would never match: here `*` stands for any characters, and everything else for itself"
        )
    } else {
        match names {
            Names::Repository if looks_like_uri(text) => format!(
                "`{shown}` is the address of an image, and would never match: name the repository alone, such as `team/api`"
            ),
            Names::Repository
                if has_other(text, |b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b)
                }) =>
            {
                format!("`{shown}` never matches: the name of a repository has only `a-z 0-9 . _ - /`")
            }
            Names::Vulnerability if has_other(text, |b| b.is_ascii_alphanumeric() || b"._-:/+@".contains(&b)) => {
                format!(
                    "`{shown}` never matches: the id of a vulnerability has only letters, digits and `. _ - : /`, as in `CVE-2026-1234`"
                )
            }
            Names::Tag if has_other(text, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
                format!("`{shown}` never matches: a tag has only `A-Z a-z 0-9 . _ -`")
            }
            _ => return,
        }
    };
    found.push(PolicyError::at(place(), problem));
}

fn looks_like_uri(text: &str) -> bool {
    text.contains("://")
        || text.contains(".dkr.ecr.")
        || text.contains(".dkr-ecr.")
        || text.contains('@')
        || text.contains(':')
}

/// Whether a glob has a character that no name of its kind has. A text that is no glob at all is refused elsewhere.
fn has_other(text: &str, known: impl Fn(u8) -> bool) -> bool {
    text.bytes()
        .any(|byte| byte != b'*' && byte.is_ascii_graphic() && !known(byte))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::{policy::Policy, testing::now};

    fn json(section: &str) -> String {
        format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}}, {section}}}"#
        )
    }

    fn exception(members: &str) -> String {
        format!(r#""exceptions": [{{"owner": "o", "reason": "r", "expires": "2027-01-01", {members}}}]"#)
    }

    /// A new document is refused; one that is deployed is read, and says so.
    #[track_caller]
    fn refused(section: &str) -> String {
        let (json, now): (String, Timestamp) = (json(section), now());
        let error = Policy::from_json(&json, now).unwrap_err();
        let deployed = Policy::from_deployed_json(&json, now).unwrap();
        let remarks = deployed.remarks(now);
        let said = remarks.iter().find(|remark| remark.path == error.path).unwrap();
        assert_eq!(said.text, format!("{}. The next release refuses it", error.problem));
        format!("{}: {}", error.path, error.problem)
    }

    #[test]
    fn what_can_never_match_is_refused_and_still_read_where_it_is_deployed() {
        insta::assert_snapshot!(refused(&exception(r#""vulnerability": "CVE-1", "repositories": ["a"], "digest": "sha256:abc""#)), @"exceptions[0].digest: `sha256:abc` is no image's digest, which is `sha256:` and 64 digits of `0-9 a-f`: no image has it");
        insta::assert_snapshot!(refused(&exception(r#""vulnerability": "CVE-1", "repositories": ["b", "^acme-.*$"]"#)), @"exceptions[0].repositories[1]: `^acme-.*$` is a regular expression, and would never match: here `*` stands for any characters, and everything else for itself");
        insta::assert_snapshot!(refused(&exception(r#""vulnerability": "CVE-1", "repositories": ["123456789012.dkr.ecr.us-west-2.amazonaws.com/a"]"#)), @"exceptions[0].repositories[0]: `123456789012.dkr.ecr.us-west-2.amazonaws.com/a` is the address of an image, and would never match: name the repository alone, such as `team/api`");
        insta::assert_snapshot!(refused(&exception(r#""vulnerability": "CVE-2026-[0-9]+", "repositories": ["a"]"#)), @"exceptions[0].vulnerability: `CVE-2026-[0-9]+` never matches: the id of a vulnerability has only letters, digits and `. _ - : /`, as in `CVE-2026-1234`");
        insta::assert_snapshot!(refused(&exception(r#""vulnerability": "CVE-1", "repositories": ["a"], "tag": "a/b""#)), @"exceptions[0].tag: `a/b` never matches: a tag has only `A-Z a-z 0-9 . _ -`");
        insta::assert_snapshot!(refused(r#""rules": [{"repositories": ["Team/*"], "action": "block"}]"#), @"rules[0].repositories[0]: `Team/*` never matches: the name of a repository has only `a-z 0-9 . _ - /`");
        insta::assert_snapshot!(refused(r#""repositories": [{"match": "a*"}, {"match": "a-b*"}]"#), @"repositories[1].match: `repositories[0]` comes first and matches all that `a-b*` does, so that this entry never counts: put it before that one");
        insta::assert_snapshot!(refused(r#""repositories": [{"match": "a*", "tags": {"allowed": ["v1", "latest"], "forbidden": ["l*"]}}]"#), @"repositories[0].tags.allowed[1]: `latest` is forbidden too, by `repositories[0].tags.forbidden[0]`: leave out one");
    }

    #[test]
    fn what_can_match_is_not_refused() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for section in [
            exception(&format!(r#""vulnerability": "cve-2026-*", "repositories": ["*"], "digest": "{digest}""#)),
            exception(r#""vulnerability": "RHSA-2026:1*", "repositories": ["a.b/c_d-e*"], "package": "org.apache.*", "tag": "V1_*""#),
            r#""rules": [{"packages": ["libstdc++*", "@scope/name", "a (x86)"], "action": "block"}]"#.to_owned(),
            r#""repositories": [{"match": "a-b*"}, {"match": "a*"}, {"match": "*-b"}]"#.to_owned(),
            r#""repositories": [{"match": "a", "tags": {"allowed": ["semver", "v*", "^v[0-9]$"], "forbidden": ["v1", "latest", "^x$"]}}]"#.to_owned(),
        ] {
            let read = Policy::from_json(&json(&section), now());
            assert!(read.is_ok(), "{section}: {read:?}");
        }
    }

    #[test]
    fn an_id_in_small_letters_is_the_same_id() {
        let policy = Policy::from_json(
            &json(&exception(r#""vulnerability": "cve-2026-1*", "repositories": ["a"]"#)),
            now(),
        );
        let policy = policy.unwrap();
        assert!(
            policy
                .exceptions
                .iter()
                .all(|exception| exception.names("CVE-2026-11", None))
        );
        assert!(
            policy
                .exceptions
                .iter()
                .all(|exception| !exception.names("CVE-2026-21", None))
        );
    }

    #[test]
    fn what_switches_the_guard_off_is_said_unless_it_is_acknowledged() {
        let all = |more: &str| exception(&format!(r#""vulnerability": "*", "repositories": ["*"]{more}"#));
        let remarks = |section: &str| {
            let policy = Policy::from_json(&json(section), now()).unwrap();
            let remarks = policy.remarks(now());
            remarks.into_iter().map(|remark| remark.path).collect::<Vec<_>>()
        };
        assert_eq!(remarks(&all("")), ["exceptions[0]"]);
        assert_eq!(remarks(&all(r#", "accept_risk": true"#)), [] as [&str; 0]);
        assert_eq!(remarks(&all(r#", "package": "curl""#)), [] as [&str; 0]);
        let below = r#""severities": {"CRITICAL": "review"}"#;
        assert_eq!(remarks(below), ["severities.CRITICAL"]);
        assert_eq!(remarks(&format!(r#"{below}, "accept_risk": true"#)), [] as [&str; 0]);
    }

    #[test]
    fn an_expression_begins_or_ends_like_one() {
        let told = |text: &str| {
            let section = exception(&format!(r#""vulnerability": "{text}", "repositories": ["*"]"#));
            Policy::from_json(&json(&section), now()).map_err(|error| error.to_string())
        };
        for (text, is_expression) in [
            ("^CVE-1", true),
            ("CVE-1$", true),
            ("^CVE-1$", true),
            ("CVE-${x}$", false),
        ] {
            let problem = told(text).unwrap_err();
            assert_eq!(
                problem.contains("is a regular expression"),
                is_expression,
                "{text}: {problem}"
            );
        }
        assert!(told("CVE-1").is_ok());
    }
}
