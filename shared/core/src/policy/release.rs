//! The member `release`: who may release a blocked image, for how long, and where.

use std::fmt;

use jiff::SignedDuration;

use crate::{
    glob::Glob,
    ids::{AccountId, RepositoryName},
    policy::{
        document::ReleaseSection,
        reading::{PolicyError, between, glob},
    },
    release::Requester,
    text,
};

/// Who may release which images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRules {
    /// The longest release.
    pub max: SignedDuration,
    /// A release must name a ticket.
    pub require_ticket: bool,
    principals: Vec<Principal>,
    repositories: Vec<Glob>,
}

/// A role or a user of one account; the name is a glob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Principal {
    account: AccountId,
    kind: &'static str,
    name: Glob,
}

/// AWS IAM Identity Center names its roles `AWSReservedSSO_<permission set>_<16 hexadecimal digits>` (user guide of IAM Identity Center,
/// "Referencing permission sets").
const SSO_PREFIX: &str = "AWSReservedSSO_";
const SSO_DIGITS: usize = 16;

impl ReleaseRules {
    /// Whether this requester may release images.
    pub fn lets(&self, requester: &Requester) -> bool {
        self.principals.iter().any(|principal| principal.is(requester))
    }

    /// Whether images of this repository may be released.
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|glob| glob.matches(repository.as_str()))
    }

    /// The longest release, in hours.
    pub fn max_hours(&self) -> i64 {
        self.max.as_hours()
    }
}

impl Principal {
    fn is(&self, requester: &Requester) -> bool {
        let name = requester.name.split_once('/').filter(|(kind, _)| *kind == self.kind);
        name.is_some_and(|(_, name)| {
            self.account == requester.account
                && (self.name.matches(name) || permission_set(name).is_some_and(|set| self.name.matches(set)))
        })
    }
}

/// The name of a role of IAM Identity Center without its last part, which nobody can know beforehand.
fn permission_set(role: &str) -> Option<&str> {
    let (set, digits) = role.rsplit_once('_')?;
    let is_hex = digits.len() == SSO_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && set.len() > SSO_PREFIX.len() && set.starts_with(SSO_PREFIX)).then_some(set)
}

pub(super) fn read(section: &ReleaseSection) -> Result<Option<ReleaseRules>, PolicyError> {
    let hours = between("release.max_hours", section.max_hours, 1, 168)?;
    let place = |member: &str, n: usize| format!("release.{member}[{n}]");
    let principals = section.principals.iter().enumerate();
    let principals: Vec<Principal> = principals
        .map(|(n, text)| principal(text).map_err(|problem| PolicyError::at(place("principals", n), problem)))
        .collect::<Result<_, _>>()?;
    let repositories = section.repositories.iter().enumerate();
    let repositories: Vec<Glob> = repositories
        .map(|(n, text)| glob(text, || place("repositories", n)))
        .collect::<Result<_, _>>()?;
    if !section.allow {
        return Ok(None);
    }
    for (member, is_empty) in [
        ("principals", principals.is_empty()),
        ("repositories", repositories.is_empty()),
    ] {
        if is_empty {
            let problem = "it names nothing, so that nobody can release an image: name some, or say `\"allow\": false`";
            return Err(PolicyError::at(format!("release.{member}"), problem));
        }
    }
    Ok(Some(ReleaseRules {
        max: SignedDuration::from_hours(hours.into()),
        require_ticket: section.require_ticket,
        principals,
        repositories,
    }))
}

/// Why a text names no role and no user.
#[derive(Debug)]
struct InvalidPrincipal(String);

impl fmt::Display for InvalidPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn principal(arn: &str) -> Result<Principal, InvalidPrincipal> {
    let shown = text::line(arn, 120);
    let invalid = || {
        let form = "arn:aws:iam::123456789012:role/oncall-*";
        InvalidPrincipal(format!(
            "`{shown}` is neither a role nor a user: write `{form}`; `*` may stand in the name"
        ))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts.as_slice() else {
        return Err(invalid());
    };
    if *service == "sts" {
        return Err(InvalidPrincipal(format!(
            "`{shown}` never matches: write the role, `arn:{partition}:iam::{account}:role/NAME`. The session is the caller's choice"
        )));
    }
    let account: AccountId = account.parse().map_err(|_| invalid())?;
    let (kind, name) = resource.split_once('/').ok_or_else(invalid)?;
    let kind = ["role", "user"]
        .into_iter()
        .find(|known| *known == kind)
        .ok_or_else(invalid)?;
    let is_partition =
        partition.starts_with("aws") && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if *service != "iam" || !is_partition {
        return Err(invalid());
    }
    if let Some((_, last)) = name.rsplit_once('/') {
        return Err(InvalidPrincipal(format!(
            "`{shown}` never matches: AWS STS answers a role without its path. Write `{kind}/{}`",
            text::line(last, 64)
        )));
    }
    // Source: IAM API reference, `CreateRole` and `CreateUser`: `[\w+=,.@-]+`, 64 characters at most.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-*".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(invalid());
    }
    Ok(Principal {
        account,
        kind,
        name: name.parse().map_err(|_| invalid())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Policy, testing::now};

    fn read(release: &str) -> Result<Policy, PolicyError> {
        let json = format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}}, "release": {release}}}"#
        );
        Policy::from_json(&json, now())
    }

    fn rules(principal: &str) -> ReleaseRules {
        let policy = read(&format!(r#"{{"allow": true, "principals": ["{principal}"]}}"#)).unwrap();
        policy.release().unwrap().clone()
    }

    fn requester(account: &str, name: &str) -> Requester {
        Requester {
            account: account.parse().unwrap(),
            name: name.to_owned(),
            session: None,
        }
    }

    #[test]
    fn a_principal_is_matched_by_account_kind_and_name() {
        let oncall = rules("arn:aws:iam::123456789012:role/oncall-*");
        for (account, name, lets) in [
            ("123456789012", "role/oncall-pay", true),
            ("123456789012", "role/oncall-", true),
            ("123456789012", "role/admin", false),
            ("123456789012", "role/my-oncall-pay", false),
            ("123456789012", "user/oncall-pay", false),
            ("210987654321", "role/oncall-pay", false),
            ("123456789012", "oncall-pay", false),
        ] {
            assert_eq!(oncall.lets(&requester(account, name)), lets, "{account} {name}");
        }
        let alice = rules("arn:aws:iam::123456789012:user/alice");
        assert!(alice.lets(&requester("123456789012", "user/alice")));
        assert!(!alice.lets(&requester("123456789012", "role/alice")));
    }

    #[test]
    fn a_permission_set_is_named_without_the_digits_of_its_role() {
        let exact = rules("arn:aws:iam::123456789012:role/AWSReservedSSO_OnCall");
        for (name, lets) in [
            ("role/AWSReservedSSO_OnCall_0123456789abcdef", true),
            ("role/AWSReservedSSO_OnCall", true),
            ("role/AWSReservedSSO_OnCall_Admin_0123456789abcdef", false),
            ("role/AWSReservedSSO_OnCall_0123456789abcde", false),
            ("role/AWSReservedSSO_OnCall_0123456789abcdeg", false),
        ] {
            assert_eq!(exact.lets(&requester("123456789012", name)), lets, "{name}");
        }
        // The digits are left out of the roles of IAM Identity Center alone.
        let other = rules("arn:aws:iam::123456789012:role/oncall");
        assert!(!other.lets(&requester("123456789012", "role/oncall_0123456789abcdef")));
    }

    #[test]
    fn without_the_section_or_with_allow_false_nobody_may_release() {
        assert_eq!(crate::testing::policy("").release(), None);
        let policy = read(r#"{"allow": false, "principals": ["arn:aws:iam::123456789012:role/oncall"]}"#).unwrap();
        assert_eq!(policy.release(), None);
        let policy = rules("arn:aws:iam::123456789012:role/oncall");
        assert_eq!((policy.max_hours(), policy.require_ticket), (24, true));
        assert!(policy.covers(&"team/api".parse().unwrap()));
    }

    #[test]
    fn what_can_never_match_is_refused() {
        let refused = |release: &str| read(release).unwrap_err().to_string();
        let principal = |arn: &str| refused(&format!(r#"{{"allow": true, "principals": ["{arn}"]}}"#));
        insta::assert_snapshot!(principal("arn:aws:iam::123456789012:role/team/oncall"), @"the policy is not valid at `release.principals[0]`: `arn:aws:iam::123456789012:role/team/oncall` never matches: AWS STS answers a role without its path. Write `role/oncall`");
        insta::assert_snapshot!(principal("arn:aws:sts::123456789012:assumed-role/oncall/alice"), @"the policy is not valid at `release.principals[0]`: `arn:aws:sts::123456789012:assumed-role/oncall/alice` never matches: write the role, `arn:aws:iam::123456789012:role/NAME`. The session is the caller's choice");
        for arn in [
            "oncall",
            "*",
            "arn:aws:iam::*:role/oncall",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:group/oncall",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/on call",
            "arn:aws:iam:us-west-2:123456789012:role/oncall",
            "arn:evil:iam::123456789012:role/oncall",
        ] {
            assert!(
                principal(arn).contains("is neither a role nor a user"),
                "{arn}: {}",
                principal(arn)
            );
        }
        insta::assert_snapshot!(refused(r#"{"allow": true, "principals": []}"#), @r#"the policy is not valid at `release.principals`: it names nothing, so that nobody can release an image: name some, or say `"allow": false`"#);
        insta::assert_snapshot!(refused(r#"{"allow": true, "max_hours": 169, "principals": ["arn:aws:iam::123456789012:role/a"]}"#), @"the policy is not valid at `release.max_hours`: 169 is not between 1 and 168");
        insta::assert_snapshot!(refused(r#"{"allow": true, "principals": ["arn:aws:iam::123456789012:role/a"], "repositories": ["Team/*"]}"#), @"the policy is not valid at `release.repositories[0]`: `Team/*` never matches: the name of a repository has only `a-z 0-9 . _ - /`");
    }

    #[test]
    fn each_part_of_a_principal_has_its_limits() {
        let is_read = |arn: &str| read(&format!(r#"{{"allow": true, "principals": ["{arn}"]}}"#)).is_ok();
        let named = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
        for (arn, expected) in [
            (named("a"), true),
            (named(&"a".repeat(64)), true),
            (named(&"a".repeat(65)), false),
            (named(""), false),
            (named("on:call"), false),
            (named("+=,.@_-*"), true),
            ("arn:aws-cn:iam::123456789012:role/a".to_owned(), true),
            ("arn:aws-us-gov:iam::123456789012:user/a".to_owned(), true),
            ("arn:aws.cn:iam::123456789012:role/a".to_owned(), false),
            ("arn:AWS:iam::123456789012:role/a".to_owned(), false),
            ("arn:aws:s3::123456789012:role/a".to_owned(), false),
        ] {
            assert_eq!(is_read(&arn), expected, "{arn}");
        }
    }

    #[test]
    fn a_permission_set_has_a_name_and_a_release_has_its_repositories() {
        let nameless = rules("arn:aws:iam::123456789012:role/AWSReservedSSO_");
        assert!(!nameless.lets(&requester("123456789012", "role/AWSReservedSSO__0123456789abcdef")));
        let policy = read(
            r#"{"allow": true, "principals": ["arn:aws:iam::123456789012:role/a"], "repositories": ["team/*", "shop"]}"#,
        );
        let policy = policy.unwrap();
        let covers = |name: &str| policy.release().unwrap().covers(&name.parse().unwrap());
        assert_eq!(
            ["team/api", "shop", "shop/web", "other"].map(covers),
            [true, true, false, false]
        );
    }
}
