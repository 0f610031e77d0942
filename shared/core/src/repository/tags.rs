//! Rules for tags: which a repository may have, and whether one breaks them.

use std::{fmt, str::FromStr};

use regex_lite::{Regex, RegexBuilder};
use semver::Version;

use crate::{
    glob::{Glob, InvalidGlob},
    ids::Tag,
    text,
};

/// The longest regular expression that is accepted, in characters. A tag has at most 128.
const MAX_EXPRESSION: usize = 256;

/// The longest prefix of a kind, in characters: a tag has room for a SHA-1 behind it.
const MAX_PREFIX: usize = 64;

/// The most memory that a compiled expression may take, in bytes.
const MAX_COMPILED: usize = 64 * 1024;

/// The pattern that a tag is compared with.
#[derive(Debug, Clone)]
pub enum TagPattern {
    /// `semver`: a version without prefix, as Semantic Versioning 2.0.0 writes it. Build metadata cannot be in a tag: it begins with `+`.
    Semver,
    /// `semver:v`: the same behind a `v`.
    SemverV,
    /// `semver:helm`: a version without prefix, with build metadata or without. Helm writes `_` for its `+` (Helm documentation, "Use OCI-based
    /// registries").
    SemverHelm,
    /// `semver:any`: any of these three.
    SemverAny,
    /// `calver`: a calendar version (calver.org), see `is_calver`.
    CalVer,
    /// `git-sha`: 7 to 40 lower-case hexadecimal digits (Git abbreviates to 7 at least), or 64 for SHA-256.
    GitSha,
    /// `git-sha:PREFIX`: the same behind a prefix, such as `sha-` of docker/metadata-action.
    GitShaBehind(String),
    /// `^…$`: a regular expression of the whole tag. Matched in linear time.
    Expression(Regex),
    /// Anything else: a glob.
    Glob(Glob),
}

/// Why a string is no pattern of tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTagPattern {
    /// Would match anywhere in a tag.
    #[error("a regular expression begins with `^` and ends with `$`, or it would match parts of tags")]
    NotAnchored,
    /// Longer than we take.
    #[error("a regular expression has at most {MAX_EXPRESSION} characters")]
    TooLong,
    /// Not a regular expression.
    #[error("it is not a regular expression: {0}")]
    Expression(String),
    /// Looks like a kind, and is none.
    #[error(
        "`{0}` is not a kind of tag: `semver`, `semver:v`, `semver:helm`, `semver:any`, `calver`, `git-sha` and `git-sha:` with a prefix are"
    )]
    Kind(String),
    /// Not a glob.
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
}

impl FromStr for TagPattern {
    type Err = InvalidTagPattern;

    fn from_str(pattern: &str) -> Result<Self, InvalidTagPattern> {
        match pattern {
            "semver" => return Ok(Self::Semver),
            "semver:v" => return Ok(Self::SemverV),
            "semver:helm" => return Ok(Self::SemverHelm),
            "semver:any" => return Ok(Self::SemverAny),
            "calver" => return Ok(Self::CalVer),
            "git-sha" => return Ok(Self::GitSha),
            _ => {}
        }
        let in_tags = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if let Some(prefix) = pattern.strip_prefix("git-sha:")
            && (1..=MAX_PREFIX).contains(&prefix.len())
            && prefix.bytes().all(in_tags)
        {
            return Ok(Self::GitShaBehind(prefix.to_owned()));
        }
        if pattern.contains(':') {
            return Err(InvalidTagPattern::Kind(text::line(pattern, 40)));
        }
        let anchored = (pattern.starts_with('^'), pattern.ends_with('$'));
        if anchored == (false, false) {
            return Ok(Self::Glob(pattern.parse()?));
        }
        let Some(inner) = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else {
            return Err(InvalidTagPattern::NotAnchored);
        };
        if pattern.len() > MAX_EXPRESSION {
            return Err(InvalidTagPattern::TooLong);
        }
        let compile = |expression: &str| {
            let built = RegexBuilder::new(expression).size_limit(MAX_COMPILED).build();
            built.map_err(|error| InvalidTagPattern::Expression(error.to_string()))
        };
        // By itself first: `^a)|(b$` must not close our group. In a group then, so that `^a|b$` means what it looks like.
        compile(inner)?;
        compile(&format!("^(?:{inner})$")).map(Self::Expression)
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Semver => f.write_str("semver"),
            Self::SemverV => f.write_str("semver:v"),
            Self::SemverHelm => f.write_str("semver:helm"),
            Self::SemverAny => f.write_str("semver:any"),
            Self::CalVer => f.write_str("calver"),
            Self::GitSha => f.write_str("git-sha"),
            Self::GitShaBehind(prefix) => write!(f, "git-sha:{prefix}"),
            Self::Expression(expression) => {
                let inner = expression.as_str();
                let inner = inner.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"));
                write!(f, "^{}$", inner.unwrap_or_default())
            }
            Self::Glob(glob) => f.write_str(glob.as_str()),
        }
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl TagPattern {
    /// Whether it matches the whole tag.
    pub fn matches(&self, tag: &Tag) -> bool {
        let tag = tag.as_str();
        match self {
            Self::Semver => is_semver(tag),
            Self::SemverV => tag.strip_prefix('v').is_some_and(is_semver),
            Self::SemverHelm => is_semver_of_helm(tag),
            Self::SemverAny => is_semver_of_helm(tag.strip_prefix('v').unwrap_or(tag)),
            Self::CalVer => is_calver(tag),
            Self::GitSha => is_git_sha(tag),
            Self::GitShaBehind(prefix) => tag.strip_prefix(prefix.as_str()).is_some_and(is_git_sha),
            Self::Expression(expression) => expression.is_match(tag),
            Self::Glob(glob) => glob.matches(tag),
        }
    }
}

/// Semantic Versioning 2.0.0 without build metadata, whose `+` no tag can have. A number over 2^64 - 1 makes no version.
fn is_semver(text: &str) -> bool {
    Version::parse(text).is_ok_and(|version| version.build.is_empty())
}

/// The same, and build metadata behind `_`, which Helm writes for `+`. Semantic Versioning itself has no `_`.
fn is_semver_of_helm(text: &str) -> bool {
    !text.contains('+') && Version::parse(&text.replacen('_', "+", 1)).is_ok()
}

/// A calendar version, as calver.org describes them: `YYYY.MM`, `YYYY.MM.DD`, with more numbers (`2026.11.29.1`), with `-` for
/// `.` (`2026-11-29`), without separators (`20261129`), or `YY.0M` (`26.04`, `26.04.1`); then, if there is one, a modifier
/// behind `-` (`-rc1`). Months are 1 to 12; days are not checked: the third number may be one that counts up.
fn is_calver(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.len() <= 8 && text.bytes().all(|b| b.is_ascii_digit());
    let month =
        |text: &str| text.len() <= 2 && digits(text) && text.parse().is_ok_and(|month: u8| (1..=12).contains(&month));
    let year = |text: &str| text.len() == 4 && digits(text) && text.starts_with("20");
    let modifier = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    // `YYYYMMDD`.
    let (first, rest) = text
        .split_once(['.', '-'])
        .map_or((text, None), |(first, rest)| (first, Some(rest)));
    if first.len() == 8 && digits(first) {
        let (of, rest_of) = first.split_at_checked(4).unwrap_or_default();
        let (of_month, _) = rest_of.split_at_checked(2).unwrap_or_default();
        return year(of) && month(of_month) && rest.is_none_or(modifier);
    }
    for separator in ['.', '-'] {
        let mut parts = text.split(separator);
        let (Some(first), Some(second)) = (parts.next(), parts.next()) else {
            continue;
        };
        // The modifier stands in the last part, behind the first `-`, or is all that follows.
        let (second, more) = second
            .split_once('-')
            .map_or((second, None), |(second, more)| (second, Some(more)));
        let short = first.len() == 2 && digits(first) && second.len() == 2;
        if !(year(first) || (short && separator == '.')) || !month(second) {
            continue;
        }
        if let Some(more) = more {
            return modifier(more);
        }
        let mut numbers = 0;
        for part in parts {
            let (number, more) = part
                .split_once('-')
                .map_or((part, None), |(number, more)| (number, Some(more)));
            if !digits(number) {
                return separator == '-' && modifier(part);
            }
            numbers += 1;
            if let Some(more) = more {
                return modifier(more);
            }
        }
        return numbers <= 2;
    }
    false
}

fn is_git_sha(text: &str) -> bool {
    matches!(text.len(), 7..=40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The reaction to a tag that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnViolation {
    /// An alert is sent.
    Flag,
    /// The tag is removed. An image that would lose its last tag gets another one first.
    Untag,
    /// The image must not be deployed: see [`TagRules::blocking`].
    Block,
}

/// Rules for the tags of a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct TagRules {
    /// A tag matches one of these; if there are none, any is allowed.
    pub allowed: Vec<TagPattern>,
    /// A tag matches none of these, whatever is allowed.
    pub forbidden: Vec<TagPattern>,
    /// Tags for images that were evaluated and allowed, such as `prod`. They need not be in `allowed`, and are made to move.
    pub reserved: Vec<TagPattern>,
    /// Tags that move on purpose, such as `latest` or `1.2`. They need not be in `allowed`.
    pub moving: Vec<TagPattern>,
    /// The reaction to a violation.
    pub on_violation: OnViolation,
}

impl TagRules {
    /// Whether a tag is made to move from image to image.
    pub fn may_move(&self, tag: &Tag) -> bool {
        self.reserved
            .iter()
            .chain(&self.moving)
            .any(|pattern| pattern.matches(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ids::Digest, state::State};

    fn pattern(text: &str) -> TagPattern {
        text.parse().unwrap()
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    fn digest() -> Digest {
        "sha256:0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn a_pattern_matches_whole_tags() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for (text, matching, other) in [
            (
                "semver",
                vec!["0.0.0", "1.2.3", "10.20.30", "1.2.3-rc.1", "1.0.0-x-y.0", "1.0.0--"],
                vec![
                    "1",
                    "1.2",
                    "1.2.3.4",
                    "01.2.3",
                    "1.2.3-",
                    "1.2.3-rc..1",
                    "1.2.3-01",
                    "v1.2.3",
                    "1.2.x",
                ],
            ),
            (
                "semver:v",
                vec!["v1.2.3", "v0.1.0-beta"],
                vec!["1.2.3", "vv1.2.3", "V1.2.3", "v"],
            ),
            (
                "git-sha",
                vec!["0123abc", sha],
                vec!["0123ab", "0123ABC", "main", "0123456789abcdef0123456789abcdef012345678"],
            ),
            (
                "semver:helm",
                vec![
                    "1.2.3",
                    "1.2.3_build.5",
                    "104.1.1_up57.0.3",
                    "0.1.0_3d53eea",
                    "1.2.3-rc.1_build.5",
                ],
                vec!["1.2.3_", "1.2.3_a_b", "1.2_build", "v1.2.3_build", "1.2.3_a..b"],
            ),
            (
                "semver:any",
                vec!["1.2.3", "v1.2.3", "v1.2.3-rc.1", "1.2.3_build.5", "v1.2.3_build.5"],
                vec!["1.2", "v1", "V1.2.3", "vv1.2.3", "v"],
            ),
            (
                "calver",
                vec![
                    "2026.11",
                    "2026.11.29",
                    "2026.1.3",
                    "2026.11.29.1",
                    "2026-11-29",
                    "20261129",
                    "20261129.2",
                    "26.04",
                    "26.04.1",
                    "2026.11.29-rc1",
                    "2026.11-beta.2",
                    "2026-11-29-abc1234",
                ],
                vec![
                    "2026",
                    "2026.13",
                    "2026.0",
                    "1.2.3",
                    "26.4",
                    "26.13",
                    "20261329",
                    "1999.11",
                    "2026.11.",
                    "2026.11.x",
                    "2026.11.29-",
                    "latest",
                    "v2026.11",
                ],
            ),
            (
                "git-sha:sha-",
                vec!["sha-0123abc"],
                vec!["sha-0123ab", "0123abc", "sha-main", "xsha-0123abc"],
            ),
            ("git-sha:main-", vec!["main-0123abc"], vec!["main-latest"]),
            ("^v[0-9]+$", vec!["v1", "v10"], vec!["v", "xv1", "v1x"]),
            ("^a|b$", vec!["a", "b"], vec!["ab", "ax", "xb"]),
            ("latest", vec!["latest"], vec!["latest-1", "Latest"]),
            ("dev-*", vec!["dev-", "dev-1"], vec!["dev", "xdev-1"]),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.to_string(), text);
            for value in matching {
                assert!(pattern.matches(&tag(value)), "`{text}` should match `{value}`");
            }
            for value in other {
                assert!(!pattern.matches(&tag(value)), "`{text}` should not match `{value}`");
            }
        }
    }

    #[test]
    fn what_is_no_pattern() {
        let refused = |text: &str| text.parse::<TagPattern>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("^v"), @"a regular expression begins with `^` and ends with `$`, or it would match parts of tags");
        insta::assert_snapshot!(refused("v$"), @"a regular expression begins with `^` and ends with `$`, or it would match parts of tags");
        insta::assert_snapshot!(refused("semver:x"), @"`semver:x` is not a kind of tag: `semver`, `semver:v`, `semver:helm`, `semver:any`, `calver`, `git-sha` and `git-sha:` with a prefix are");
        insta::assert_snapshot!(refused(""), @"an empty pattern matches nothing");
        assert!(refused("^a)|(b$").starts_with("it is not a regular expression: "));
        assert!(refused("^(a$").starts_with("it is not a regular expression: "));
        assert!(
            refused("^(a{1000}){1000}$").starts_with("it is not a regular expression: "),
            "too large"
        );
        insta::assert_snapshot!(refused(&format!("^{}$", "a".repeat(255))), @"a regular expression has at most 256 characters");
    }

    fn rules(allowed: &[&str], forbidden: &[&str], reserved: &[&str]) -> TagRules {
        let patterns = |texts: &[&str]| texts.iter().map(|text| pattern(text)).collect();
        TagRules {
            allowed: patterns(allowed),
            forbidden: patterns(forbidden),
            reserved: patterns(reserved),
            moving: Vec::new(),
            on_violation: OnViolation::Flag,
        }
    }

    #[test]
    fn a_tag_breaks_a_rule_or_none() {
        let rules = rules(&["semver:v", "git-sha"], &["latest", "v0.*"], &["prod", "prod-*"]);
        let allowed = Some(State::Allowed);
        for (text, state, expected) in [
            ("v1.2.3", None, None),
            ("0123abc", None, None),
            ("main", allowed, Some(("tags.allowed", "a tag that is allowed"))),
            (
                "latest",
                allowed,
                Some(("tags.forbidden", "no tag like latest, which is forbidden")),
            ),
            (
                "v0.1.0",
                allowed,
                Some(("tags.forbidden", "no tag like v0.*, which is forbidden")),
            ),
            ("prod", allowed, None),
            ("prod-eu", allowed, None),
            (
                "prod",
                None,
                Some((
                    "tags.reserved",
                    "prod only on an image that is Allowed; it is not evaluated",
                )),
            ),
            (
                "prod",
                Some(State::Pending),
                Some(("tags.reserved", "prod only on an image that is Allowed; it is Pending")),
            ),
            ("quarantine-0123456789ab", None, None),
            ("blocked-0123456789ab", None, None),
            (
                "quarantine-ba9876543210",
                None,
                Some(("tags.allowed", "a tag that is allowed")),
            ),
        ] {
            let broken = rules.violation(&tag(text), &digest(), state);
            let broken = broken.as_ref().map(|broken| (broken.setting, broken.wanted.as_str()));
            assert_eq!(broken, expected, "{text}");
        }
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        assert_eq!(rules.violation(&tag(&signature), &digest(), None), None);
    }

    /// A tag that moves on purpose is no violation, and its move is not alerted; a forbidden or reserved one stays so.
    #[test]
    fn a_tag_may_move_on_purpose() {
        let rules = TagRules {
            moving: vec![
                pattern("latest"),
                pattern("^[0-9]+\\.[0-9]+$"),
                pattern("cache-*"),
                pattern("prod"),
            ],
            ..rules(&["semver"], &["cache-x"], &["prod"])
        };
        for (text, broken) in [
            ("latest", false),
            ("1.2", false),
            ("cache-main", false),
            ("cache-x", true),
            ("main", true),
            ("prod", true),
        ] {
            assert_eq!(rules.violation(&tag(text), &digest(), None).is_some(), broken, "{text}");
        }
        assert!(rules.may_move(&tag("latest")) && rules.may_move(&tag("prod")) && !rules.may_move(&tag("1.2.3")));
    }

    #[test]
    fn without_a_list_of_allowed_tags_all_are_but_the_forbidden_ones() {
        let rules = rules(&[], &["latest"], &[]);
        assert_eq!(rules.violation(&tag("main"), &digest(), None), None);
        assert!(rules.violation(&tag("latest"), &digest(), None).is_some());
    }

    proptest! {
        #[test]
        fn semver_agrees_with_the_expression_of_its_authors(text in "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]{1,2}(-[0-9a-z.-]{0,5})?|[0-9v.-]{1,8}") {
            // The expression that semver.org suggests, without build metadata.
            let authors = Regex::new(
                r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?$",
            );
            prop_assert_eq!(is_semver(&text), authors.unwrap().is_match(&text));
        }

        #[test]
        fn no_pattern_makes_us_fail(text in "\\PC{0,40}", value in "[a-z0-9_][a-z0-9._-]{0,20}") {
            if let Ok(pattern) = text.parse::<TagPattern>() {
                pattern.matches(&value.parse().unwrap());
            }
        }
    }

    #[test]
    fn a_pattern_is_the_same_as_one_of_the_same_text() {
        let texts = [
            "semver",
            "semver:v",
            "calver",
            "git-sha",
            "git-sha:v",
            "git-sha:w",
            "^a$",
            "^b$",
            "a*",
            "b*",
        ];
        for (n, one) in texts.iter().enumerate() {
            for (m, other) in texts.iter().enumerate() {
                assert_eq!(pattern(one) == pattern(other), n == m, "{one} {other}");
            }
        }
    }

    #[test]
    fn each_limit_of_a_calendar_version() {
        for (text, matches) in [
            ("2026.1", true),
            ("2026.12", true),
            ("2026.0", false),
            ("2026.13", false),
            ("2026.005", false),
            ("2026.+5", false),
            ("2026.a", false),
            ("20a6.05", false),
            ("20260.05", false),
            ("1926.05", false),
            ("26.05", true),
            ("26.5", false),
            ("26-05", false),
            ("2026.11.29", true),
            ("2026.11.29.1", true),
            ("2026.11.29.1.5", false),
            ("2026.11.29.1-rc1", true),
            ("2026-11-29-1", true),
            ("20261129", true),
            ("20261329", false),
            ("19261129", false),
        ] {
            assert_eq!(is_calver(text), matches, "{text}");
        }
    }

    #[test]
    fn each_limit_of_an_expression() {
        let read = |length: usize| format!("^{}$", "a".repeat(length - 2)).parse::<TagPattern>();
        assert!(read(MAX_EXPRESSION).is_ok());
        assert!(matches!(read(MAX_EXPRESSION + 1), Err(InvalidTagPattern::TooLong)));
    }
}
