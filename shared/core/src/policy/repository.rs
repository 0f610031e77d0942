//! The sections of a repository: from what people write to what the rules read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::{
    alert::contact::Contact,
    glob::Glob,
    ids::{InvalidId, Region, TopicArn},
    policy::{
        block::{BlockRules, in_use},
        contact,
        document::{EncryptionType, GateAnswer, Mode, RepositorySection, TagViolationAction, WantedMutability},
        reading::{PolicyError, Reading, between, glob},
        replication::{MAX_REGIONS, ReplicationRules},
    },
    repository::{
        lifecycle::{Lifecycle, MIN_ARCHIVED_DAYS, TypedRules},
        posture::{MAX_FILTERS, PostureRules, TagMutability, is_filter},
        tags::{OnViolation, TagPattern, TagRules},
    },
};

/// The most tags that a repository has (API reference of ECR, `TagResource`).
const MAX_REPOSITORY_TAGS: usize = 50;

/// The most days or images that a lifecycle rule may count: far more than anybody needs, and less than ECR takes.
const MAX_COUNT: u32 = 10_000;

/// Settings for the repositories that a glob matches.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryRules {
    /// The glob.
    pub matches: Glob,
    pub(super) route: Option<String>,
    pub(super) mode: Option<Mode>,
    /// How its images are blocked, where the entry says anything of that.
    pub(super) block: Option<BlockRules>,
    pub(super) says_how_to_block: bool,
    /// Rules for tags.
    pub tags: Option<TagRules>,
    /// Settings that the repository must have.
    pub posture: Option<PostureRules>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) lifecycle_of_copies: Option<Lifecycle>,
    /// Where its images must be as well.
    pub replication: Option<ReplicationRules>,
    /// Whom people ask about it.
    pub(super) contact: Contact,
    /// The answers of `gate` about its images: for review, and for a deferred block, where the entry gives them.
    pub(super) gate: Option<(Option<GateAnswer>, Option<GateAnswer>)>,
}

impl RepositoryRules {
    /// The lifecycle policy that the repository must have in a region. Where copies arrive, it archives nothing because nobody pulls it.
    pub fn lifecycle_in(&self, region: &Region) -> Option<&Lifecycle> {
        let has_copies = |rules: &ReplicationRules| rules.regions.contains(region);
        if self.replication.as_ref().is_some_and(has_copies) {
            self.lifecycle_of_copies.as_ref()
        } else {
            self.lifecycle.as_ref()
        }
    }

    /// Whether settings are asked of the repository.
    pub fn has_settings(&self) -> bool {
        self.posture.is_some() || self.lifecycle.is_some()
    }
}

/// Reads the member `repositories`; `routes` are the names that an entry may give, `block` is what holds where it says nothing.
pub(super) fn entries(
    sections: &[RepositorySection],
    routes: &BTreeMap<String, TopicArn>,
    block: &BlockRules,
    reading: Reading,
) -> Result<Vec<RepositoryRules>, PolicyError> {
    let mut entries: Vec<RepositoryRules> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        if let Some(route) = &section.route
            && !routes.contains_key(route)
        {
            let problem = format!("there is no route `{route}` in `routes`");
            return Err(PolicyError::at(format!("repositories[{index}].route"), problem));
        }
        let matches = new_match(index, section, &entries)?;
        let lifecycle = lifecycle(index, section, reading)?;
        entries.push(RepositoryRules {
            matches,
            route: section.route.clone(),
            mode: section.mode,
            block: of_block(index, section, block)?,
            says_how_to_block: section.block.as_ref().is_some_and(|block| block.method.is_some()),
            tags: tags(index, section)?,
            posture: posture(index, section)?,
            lifecycle_of_copies: lifecycle.as_ref().and_then(Lifecycle::without_unpulled),
            lifecycle,
            replication: replication(index, section)?,
            contact: match &section.contact {
                Some(own) => contact::read(&format!("repositories[{index}].contact"), own)?,
                None => Contact::default(),
            },
            gate: section.gate.as_ref().map(|gate| (gate.review, gate.deferred)),
        });
    }
    Ok(entries)
}

/// The repositories that an entry is for, where no entry before it makes it void.
fn new_match(index: usize, section: &RepositorySection, before: &[RepositoryRules]) -> Result<Glob, PolicyError> {
    let path = || format!("repositories[{index}].match");
    let matches = glob(&section.matches, path)?;
    if let Some(earlier) = before.iter().position(|rules| rules.matches == matches) {
        let problem = format!(
            "`{}` stands already in `repositories[{earlier}]`, which wins",
            section.matches
        );
        return Err(PolicyError::at(path(), problem));
    }
    // With a mode that never counts, people would believe that they enforce, or that they do not.
    let decides = section.mode.is_some() || section.block.is_some() || section.gate.is_some();
    let covers = |earlier: &RepositoryRules| earlier.matches.matches(&section.matches);
    if let Some(earlier) = before.iter().position(covers).filter(|_| decides) {
        let problem = format!(
            "`repositories[{earlier}]` comes first and matches all that `{}` does, so that `mode`, `block` and `gate` here never count: put \
             this entry before it",
            section.matches
        );
        return Err(PolicyError::at(path(), problem));
    }
    Ok(matches)
}

/// How its images are blocked: what the entry does not say is as `defaults`.
fn of_block(
    index: usize,
    section: &RepositorySection,
    defaults: &BlockRules,
) -> Result<Option<BlockRules>, PolicyError> {
    let Some(block) = &section.block else { return Ok(None) };
    let in_use = in_use(&format!("repositories[{index}].block.in_use_days"), block.in_use_days)?;
    Ok(Some(BlockRules {
        method: block.method.unwrap_or(defaults.method),
        when_in_use: block.when_in_use.unwrap_or(defaults.when_in_use),
        when_lambda_may_pull: block.when_lambda_may_pull.unwrap_or(defaults.when_lambda_may_pull),
        in_use: in_use.or(defaults.in_use),
        not_worse_than_running: block.not_worse_than_running.unwrap_or(defaults.not_worse_than_running),
    }))
}

fn tags(index: usize, section: &RepositorySection) -> Result<Option<TagRules>, PolicyError> {
    let Some(tags) = &section.tags else { return Ok(None) };
    let path = |field: &str| format!("repositories[{index}].tags{field}");
    let patterns = |field: &str, texts: &[String]| -> Result<Vec<TagPattern>, PolicyError> {
        let parse = |(n, text): (usize, &String)| {
            text.parse()
                .map_err(|error| PolicyError::at(path(&format!(".{field}[{n}]")), error))
        };
        texts.iter().enumerate().map(parse).collect()
    };
    let rules = TagRules {
        allowed: patterns("allowed", &tags.allowed)?,
        forbidden: patterns("forbidden", &tags.forbidden)?,
        reserved: patterns("reserved", &tags.reserved)?,
        moving: patterns("moving", &tags.moving)?,
        on_violation: match tags.on_violation {
            Some(TagViolationAction::Untag) => OnViolation::Untag,
            Some(TagViolationAction::Block) => OnViolation::Block,
            Some(TagViolationAction::Flag) | None => OnViolation::Flag,
        },
    };
    let lists = [&rules.allowed, &rules.forbidden, &rules.reserved, &rules.moving];
    if lists.iter().all(|list| list.is_empty()) {
        return Err(PolicyError::at(
            path(""),
            "it has no rule: name tags that are allowed, forbidden, reserved or moving",
        ));
    }
    Ok(Some(rules))
}

fn posture(index: usize, section: &RepositorySection) -> Result<Option<PostureRules>, PolicyError> {
    let Some(posture) = &section.posture else {
        return Ok(None);
    };
    let path = |field: &str| format!("repositories[{index}].posture.{field}");
    let encryption = posture.encryption.map(|kind| match kind {
        EncryptionType::Aes256 => "AES256",
        EncryptionType::Kms => "KMS",
        EncryptionType::KmsDsse => "KMS_DSSE",
    });
    let kms_key = posture.kms_key_arn.as_ref();
    let kms_key = kms_key
        .map(|arn| arn.parse().map_err(|error| PolicyError::at(path("kms_key_arn"), error)))
        .transpose()?;
    let wants_key = kms_key.is_some() || posture.customer_managed_key || posture.key_rotation;
    if encryption == Some("AES256") && wants_key {
        return Err(PolicyError::at(
            path("encryption"),
            "with AES256 there is no key of KMS to ask anything of",
        ));
    }
    if posture.required_tags.len() > MAX_REPOSITORY_TAGS {
        let problem = format!("a repository has at most {MAX_REPOSITORY_TAGS} tags");
        return Err(PolicyError::at(path("required_tags"), problem));
    }
    let mut required_tags = std::collections::BTreeMap::new();
    for (key, value) in &posture.required_tags {
        let invalid = |error| PolicyError::at(path(&format!("required_tags.{}", crate::text::line(key, 40))), error);
        required_tags.insert(key.clone(), Glob::of_tag_value(value).map_err(invalid)?);
    }
    let mut allowed_accounts = None;
    if let Some(accounts) = &posture.allowed_accounts {
        let parse = |(n, account): (usize, &String)| {
            account
                .parse()
                .map_err(|error| PolicyError::at(path(&format!("allowed_accounts[{n}]")), error))
        };
        allowed_accounts = Some(
            accounts
                .iter()
                .enumerate()
                .map(parse)
                .collect::<Result<BTreeSet<_>, _>>()?,
        );
    }
    let allowed_organizations = posture.allowed_organizations.as_ref();
    let allowed_organizations = allowed_organizations.map(|ids| organizations(ids, path)).transpose()?;
    Ok(Some(PostureRules {
        tag_mutability: mutability(posture.tag_mutability, &posture.tag_mutability_exclusions, path)?,
        scan_on_push: posture.scan_on_push,
        encryption: encryption.map(str::to_owned),
        kms_key,
        customer_managed_key: posture.customer_managed_key,
        key_rotation: posture.key_rotation,
        required_tags,
        allowed_accounts,
        allowed_organizations,
        repair: posture.repair,
    }))
}

/// Ids of organizations: `o-` and 10 to 32 lower-case letters and digits (API reference of Organizations, `Organization`), or what a
/// repository policy may say for that of the registry's own account.
fn organizations(ids: &[String], path: impl Fn(&str) -> String) -> Result<BTreeSet<String>, PolicyError> {
    let is_id = |id: &str| {
        id.strip_prefix("o-").is_some_and(|rest| {
            (10..=32).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
    };
    for (n, id) in ids.iter().enumerate() {
        if !is_id(id) && id != "${aws:ResourceOrgID}" {
            let id = crate::text::line(id, 60);
            let problem = format!("`{id}` is not the id of an organization, which looks like `o-a1b2c3d4e5`");
            return Err(PolicyError::at(path(&format!("allowed_organizations[{n}]")), problem));
        }
    }
    Ok(ids.iter().cloned().collect())
}

fn mutability(
    word: Option<WantedMutability>,
    filters: &[String],
    path: impl Fn(&str) -> String,
) -> Result<Option<TagMutability>, PolicyError> {
    const FIELD: &str = "tag_mutability_exclusions";
    for (n, filter) in filters.iter().enumerate() {
        if !is_filter(filter) {
            let problem = "a filter has 1 to 128 letters, digits, `.`, `_`, `-` and `*`, of which two at most";
            return Err(PolicyError::at(path(&format!("{FIELD}[{n}]")), problem));
        }
    }
    let with_filters = || -> Result<BTreeSet<String>, PolicyError> {
        if (1..=MAX_FILTERS).contains(&filters.len()) {
            return Ok(filters.iter().cloned().collect());
        }
        let problem = format!("with exclusion there are 1 to {MAX_FILTERS} filters");
        Err(PolicyError::at(path(FIELD), problem))
    };
    let found = match word {
        Some(WantedMutability::ImmutableWithExclusion) => TagMutability::ImmutableWithExclusion(with_filters()?),
        Some(WantedMutability::MutableWithExclusion) => TagMutability::MutableWithExclusion(with_filters()?),
        Some(WantedMutability::Mutable | WantedMutability::Immutable) | None if !filters.is_empty() => {
            let problem = "filters go with IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION";
            return Err(PolicyError::at(path(FIELD), problem));
        }
        Some(WantedMutability::Mutable) => TagMutability::Mutable,
        Some(WantedMutability::Immutable) => TagMutability::Immutable,
        None => return Ok(None),
    };
    Ok(Some(found))
}

fn lifecycle(index: usize, section: &RepositorySection, reading: Reading) -> Result<Option<Lifecycle>, PolicyError> {
    let Some(lifecycle) = &section.lifecycle else {
        return Ok(None);
    };
    let path = |field: &str| format!("repositories[{index}].lifecycle{field}");
    let count = |field: &str, value: Option<u32>, least: u32| {
        let check = |value| between(&path(&format!(".{field}")), value, least, MAX_COUNT);
        value.map(check).transpose()
    };
    let typed = TypedRules {
        protect: lifecycle.protect_patterns.clone(),
        keep_count: count("keep_count", lifecycle.keep_count, 1)?,
        tag_prefixes: lifecycle.tag_prefixes.clone(),
        tag_patterns: lifecycle.tag_patterns.clone(),
        expire_untagged_days: count("expire_untagged_days", lifecycle.expire_untagged_days, 1)?,
        archive_unpulled_days: count("archive_unpulled_days", lifecycle.archive_unpulled_days, 1)?,
        expire_archived_days: count(
            "expire_archived_days",
            lifecycle.expire_archived_days,
            MIN_ARCHIVED_DAYS,
        )?,
    };
    let with_tags = !typed.tag_prefixes.is_empty() || !typed.tag_patterns.is_empty();
    if typed.keep_count.is_some() && !with_tags {
        let problem = "keep_count needs to know which tags: add `\"tag_patterns\": [\"*\"]` for all";
        return Err(PolicyError::at(path(".keep_count"), problem));
    }
    if typed.keep_count.is_none() && with_tags {
        let member = if typed.tag_prefixes.is_empty() {
            ".tag_patterns"
        } else {
            ".tag_prefixes"
        };
        let problem = "it says of which tags images are kept, and nothing says how many: add keep_count";
        return Err(PolicyError::at(path(member), problem));
    }
    let untags = section
        .tags
        .as_ref()
        .is_some_and(|tags| tags.on_violation == Some(TagViolationAction::Untag));
    let (rules, raw) = if lifecycle.rules.is_empty() {
        (typed.rules(untags), false)
    } else if typed == TypedRules::default() {
        (lifecycle.rules.clone(), true)
    } else {
        let problem = "`rules` are all there is: they cannot be combined with keep_count and its like";
        return Err(PolicyError::at(path(".rules"), problem));
    };
    let lifecycle = Lifecycle::new(rules).map_err(|error| match error.rule.filter(|_| raw) {
        Some(rule) => PolicyError::at(path(&format!(".rules[{rule}]")), error),
        None => PolicyError::at(path(""), error),
    })?;
    if raw && untags && lifecycle.counts_marks() {
        let problem = "a rule deletes or archives images that `tags.on_violation` took the last tag of: let the first rule keep \
                       `quarantine-*`";
        return Err(PolicyError::at(path(".rules"), problem));
    }
    if reading == Reading::Strict && section.replication.is_some() && lifecycle.archives_unpulled() {
        let field = if raw { ".rules" } else { ".archive_unpulled_days" };
        let problem = "it archives what nobody pulls, and nobody pulls the copies that `replication` is for: they could not be pulled when \
                       they are needed. Leave it out here, or give repositories without copies an entry of their own";
        return Err(PolicyError::at(path(field), problem));
    }
    Ok(Some(lifecycle))
}

fn replication(index: usize, section: &RepositorySection) -> Result<Option<ReplicationRules>, PolicyError> {
    let Some(replication) = &section.replication else {
        return Ok(None);
    };
    let path = |field: &str| format!("repositories[{index}].replication.{field}");
    let mut regions = BTreeSet::new();
    for (n, region) in replication.regions.iter().enumerate() {
        let at = || path(&format!("regions[{n}]"));
        let parsed: Region = region
            .parse()
            .map_err(|error: InvalidId| PolicyError::at(at(), error))?;
        if !regions.insert(parsed) {
            return Err(PolicyError::at(at(), format!("`{region}` stands there already")));
        }
    }
    if regions.is_empty() || regions.len() > MAX_REGIONS {
        let problem = format!("it names 1 to {MAX_REGIONS} regions");
        return Err(PolicyError::at(path("regions"), problem));
    }
    let lag = between(&path("max_lag_minutes"), replication.max_lag_minutes, 5, 1440)?;
    Ok(Some(ReplicationRules {
        regions,
        max_lag: SignedDuration::from_mins(lag.into()),
        backfill: replication.backfill,
    }))
}

#[cfg(test)]
mod tests {
    use crate::{policy::Policy, repository::posture::TagMutability, testing::now};

    fn policy(section: &str) -> Result<Policy, super::PolicyError> {
        let json = format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}},
            "repositories": [{{"match": "*", {section}}}]}}"#
        );
        Policy::from_json(&json, now())
    }

    #[test]
    fn a_section_becomes_rules() {
        let policy = policy(
            r#""tags": {"allowed": ["semver:v", "^[0-9a-f]{40}$"], "forbidden": ["latest"], "reserved": ["prod"], "on_violation": "untag"},
            "posture": {"tag_mutability": "IMMUTABLE_WITH_EXCLUSION", "tag_mutability_exclusions": ["sha256-*", "cache-*"],
                "scan_on_push": true, "encryption": "KMS", "required_tags": {"team": "*"}, "allowed_accounts": ["222222222222"],
                "kms_key_arn": "arn:aws:kms:us-west-2:123456789012:key/1", "key_rotation": true, "repair": true},
            "lifecycle": {"keep_count": 30, "tag_prefixes": ["v"], "expire_untagged_days": 7}"#,
        )
        .unwrap();
        let rules = policy.repository(&"team/api".parse().unwrap()).unwrap();
        let posture = rules.posture.as_ref().unwrap();
        let filters = ["cache-*".to_owned(), "sha256-*".to_owned()].into();
        assert_eq!(
            posture.tag_mutability,
            Some(TagMutability::ImmutableWithExclusion(filters))
        );
        assert_eq!(posture.allowed_accounts.as_ref().unwrap().len(), 1);
        assert!(posture.repair && posture.scan_on_push && posture.key_rotation);
        assert_eq!(rules.tags.as_ref().unwrap().allowed.len(), 2);
        assert!(
            rules
                .lifecycle_in(&"us-west-2".parse().unwrap())
                .unwrap()
                .text()
                .contains("\"v\"")
        );
    }

    #[test]
    fn an_error_names_the_place() {
        let refused = |section: &str| policy(section).unwrap_err().to_string();
        insta::assert_snapshot!(refused(r#""tags": {}"#), @"the policy is not valid at `repositories[0].tags`: it has no rule: name tags that are allowed, forbidden, reserved or moving");
        insta::assert_snapshot!(refused(r#""tags": {"allowed": ["v1", "^x"]}"#), @"the policy is not valid at `repositories[0].tags.allowed[1]`: a regular expression begins with `^` and ends with `$`, or it would match parts of tags");
        insta::assert_snapshot!(refused(r#""tags": {"forbidden": ["semver:x"]}"#), @"the policy is not valid at `repositories[0].tags.forbidden[0]`: `semver:x` is not a kind of tag: `semver`, `semver:v`, `semver:helm`, `semver:any`, `calver`, `git-sha` and `git-sha:` with a prefix are");
        insta::assert_snapshot!(refused(r#""posture": {"tag_mutability": "IMMUTABLE", "tag_mutability_exclusions": ["a"]}"#), @"the policy is not valid at `repositories[0].posture.tag_mutability_exclusions`: filters go with IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION");
        insta::assert_snapshot!(refused(r#""posture": {"tag_mutability": "IMMUTABLE_WITH_EXCLUSION"}"#), @"the policy is not valid at `repositories[0].posture.tag_mutability_exclusions`: with exclusion there are 1 to 5 filters");
        insta::assert_snapshot!(refused(r#""posture": {"tag_mutability": "MUTABLE_WITH_EXCLUSION", "tag_mutability_exclusions": ["a b"]}"#), @"the policy is not valid at `repositories[0].posture.tag_mutability_exclusions[0]`: a filter has 1 to 128 letters, digits, `.`, `_`, `-` and `*`, of which two at most");
        insta::assert_snapshot!(refused(r#""posture": {"tag_mutability": "IMMUTABLE_WITH_EXCLUSION", "tag_mutability_exclusions": ["*-*", "dev-*-*-*"]}"#), @"the policy is not valid at `repositories[0].posture.tag_mutability_exclusions[1]`: a filter has 1 to 128 letters, digits, `.`, `_`, `-` and `*`, of which two at most");
        insta::assert_snapshot!(refused(r#""posture": {"kms_key_arn": "alias/ecr"}"#), @"the policy is not valid at `repositories[0].posture.kms_key_arn`: `alias/ecr` is not the ARN of a KMS key, which looks like `arn:aws:kms:us-west-2:123456789012:key/1234abcd-…`");
        insta::assert_snapshot!(refused(r#""posture": {"encryption": "AES256", "key_rotation": true}"#), @"the policy is not valid at `repositories[0].posture.encryption`: with AES256 there is no key of KMS to ask anything of");
        insta::assert_snapshot!(refused(r#""posture": {"allowed_accounts": ["222222222222", "12"]}"#), @"the policy is not valid at `repositories[0].posture.allowed_accounts[1]`: `12` is not an AWS account id: it has 12 digits");
        insta::assert_snapshot!(refused(r#""posture": {"allowed_organizations": ["o-a1b2c3d4e5", "ou-1"]}"#), @"the policy is not valid at `repositories[0].posture.allowed_organizations[1]`: `ou-1` is not the id of an organization, which looks like `o-a1b2c3d4e5`");
        insta::assert_snapshot!(refused(r#""lifecycle": {}"#), @"the policy is not valid at `repositories[0].lifecycle`: a lifecycle policy has at least one rule");
        insta::assert_snapshot!(refused(r#""lifecycle": {"keep_count": 30}"#), @r#"the policy is not valid at `repositories[0].lifecycle.keep_count`: keep_count needs to know which tags: add `"tag_patterns": ["*"]` for all"#);
        insta::assert_snapshot!(refused(r#""lifecycle": {"tag_prefixes": ["v"]}"#), @"the policy is not valid at `repositories[0].lifecycle.tag_prefixes`: it says of which tags images are kept, and nothing says how many: add keep_count");
        insta::assert_snapshot!(refused(r#""lifecycle": {"keep_count": 0, "tag_prefixes": ["v"]}"#), @"the policy is not valid at `repositories[0].lifecycle.keep_count`: 0 is not between 1 and 10000");
        insta::assert_snapshot!(refused(r#""lifecycle": {"keep_count": 30, "tag_prefixes": ["v", "v1"]}"#), @"the policy is not valid at `repositories[0].lifecycle`: it could never act: every image that it selects is left to the rule with priority 1");
        insta::assert_snapshot!(refused(r#""lifecycle": {"expire_archived_days": 30}"#), @"the policy is not valid at `repositories[0].lifecycle.expire_archived_days`: 30 is not between 90 and 10000");
        let any = r#""rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 9}, "action": {"type": "expire"}, "description": "keep nine"}]"#;
        insta::assert_snapshot!(refused(&format!(r#""lifecycle": {{"keep_count": 30, "tag_prefixes": ["v"], {any}}}"#)), @"the policy is not valid at `repositories[0].lifecycle.rules`: `rules` are all there is: they cannot be combined with keep_count and its like");
        insta::assert_snapshot!(refused(&format!(r#""tags": {{"forbidden": ["x"], "on_violation": "untag"}}, "lifecycle": {{{any}}}"#)), @"the policy is not valid at `repositories[0].lifecycle.rules`: a rule deletes or archives images that `tags.on_violation` took the last tag of: let the first rule keep `quarantine-*`");
        assert!(policy(&format!(r#""lifecycle": {{{any}}}"#)).is_ok());
        let zero = any.replace("\"rulePriority\": 1", "\"rulePriority\": 0");
        insta::assert_snapshot!(refused(&format!(r#""lifecycle": {{{zero}}}"#)), @"the policy is not valid at `repositories[0].lifecycle.rules[0]`: a priority is 1 or more");
    }

    /// A tag of AWS has letters of any language, digits, blanks and signs.
    #[test]
    fn the_value_of_a_tag_may_be_any_that_aws_allows() {
        for (pattern, value) in [
            ("Data Science", "Data Science"),
            ("Platform Team *", "Platform Team EU"),
            ("équipe-*", "équipe-paiements"),
            ("a_.:/=+-@b", "a_.:/=+-@b"),
            ("", ""),
        ] {
            let policy = policy(&format!(r#""posture": {{"required_tags": {{"team": "{pattern}"}}}}"#)).unwrap();
            let rules = policy.repository(&"team/api".parse().unwrap()).unwrap();
            let wanted = &rules.posture.as_ref().unwrap().required_tags["team"];
            assert!(wanted.matches(value), "{pattern}");
        }
        let refused = |value: &str| {
            policy(&format!(r#""posture": {{"required_tags": {{"team": "{value}"}}}}"#))
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(refused("a\u{202e}b"), @"the policy is not valid at `repositories[0].posture.required_tags.team`: `ab` has characters that no name contains");
        assert!(refused("a\\tb").ends_with("has characters that no name contains"));
        assert!(
            policy(&format!(
                r#""posture": {{"required_tags": {{"team": "{}"}}}}"#,
                "é".repeat(256)
            ))
            .is_ok()
        );
    }

    #[test]
    fn where_images_must_be_as_well() {
        let policy = |section: &str| policy(&format!(r#""replication": {section}"#));
        let rules = policy(r#"{"regions": ["us-east-1", "eu-west-1"], "max_lag_minutes": 30}"#).unwrap();
        let rules = rules.repository(&"team/api".parse().unwrap()).unwrap();
        let rules = rules.replication.as_ref().unwrap();
        assert_eq!(
            (rules.regions.len(), rules.max_lag.as_secs(), rules.backfill),
            (2, 1800, false)
        );

        let refused = |section: &str| policy(section).unwrap_err().to_string();
        insta::assert_snapshot!(refused(r#"{"regions": [], "max_lag_minutes": 30}"#), @"the policy is not valid at `repositories[0].replication.regions`: it names 1 to 25 regions");
        insta::assert_snapshot!(refused(r#"{"regions": ["us-east-1", "Virginia"], "max_lag_minutes": 30}"#), @"the policy is not valid at `repositories[0].replication.regions[1]`: `Virginia` is not an AWS region: it looks like `us-west-2`");
        insta::assert_snapshot!(refused(r#"{"regions": ["us-east-1", "us-east-1"], "max_lag_minutes": 30}"#), @"the policy is not valid at `repositories[0].replication.regions[1]`: `us-east-1` stands there already");
        insta::assert_snapshot!(refused(r#"{"regions": ["us-east-1"], "max_lag_minutes": 4}"#), @"the policy is not valid at `repositories[0].replication.max_lag_minutes`: 4 is not between 5 and 1440");
        insta::assert_snapshot!(refused(r#"{"regions": ["us-east-1"]}"#), @"the policy is not valid at `repositories[0].replication`: missing field `max_lag_minutes` at line 2 column 85");
    }

    /// A document that is deployed already is read for one release more, so that functions start: then copies are not archived all the
    /// same.
    #[test]
    fn what_nobody_pulls_is_not_archived_where_copies_are() {
        let replication = r#""replication": {"regions": ["us-east-1"], "max_lag_minutes": 30}"#;
        let raw = r#""lifecycle": {"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "sinceImagePulled",
            "countUnit": "days", "countNumber": 30}, "action": {"type": "transition", "targetStorageClass": "archive"}}]}"#;
        let typed = r#""lifecycle": {"archive_unpulled_days": 30, "expire_untagged_days": 7}"#;
        let refused = |section: &str| policy(&format!("{section}, {replication}")).unwrap_err().to_string();
        insta::assert_snapshot!(refused(typed), @"the policy is not valid at `repositories[0].lifecycle.archive_unpulled_days`: it archives what nobody pulls, and nobody pulls the copies that `replication` is for: they could not be pulled when they are needed. Leave it out here, or give repositories without copies an entry of their own");
        assert!(refused(raw).starts_with("the policy is not valid at `repositories[0].lifecycle.rules`: it archives"));
        assert!(policy(typed).is_ok() && policy(raw).is_ok(), "without copies");

        let deployed = |section: &str| {
            let json = format!(
                r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}},
                "repositories": [{{"match": "*", {section}, {replication}}}]}}"#
            );
            Policy::from_deployed_json(&json, now()).unwrap()
        };
        let (here, there) = ("us-west-2".parse().unwrap(), "us-east-1".parse().unwrap());
        let policy = deployed(typed);
        let remarks: Vec<String> = policy.remarks(now()).iter().map(ToString::to_string).collect();
        let remarks = remarks.join("\n");
        assert!(
            remarks.contains("`repositories[0].lifecycle`: it archives what nobody pulls")
                && remarks.contains("next release"),
            "{remarks}"
        );
        let rules = policy.repository(&"team/api".parse().unwrap()).unwrap();
        assert!(rules.lifecycle_in(&here).unwrap().text().contains("archive"));
        let of_copies = rules.lifecycle_in(&there).unwrap();
        assert!(!of_copies.archives_unpulled() && of_copies.text().contains("\"untagged\""));
        let policy = deployed(raw);
        let rules = policy.repository(&"team/api".parse().unwrap()).unwrap();
        assert_eq!(rules.lifecycle_in(&there), None, "nothing is left to ask for");
    }

    #[test]
    fn what_a_lifecycle_policy_does_not_do_is_remarked() {
        let policy = policy(r#""lifecycle": {"protect_patterns": ["prod*"], "expire_untagged_days": 7}"#).unwrap();
        let remarks = policy.remarks(now());
        assert!(remarks.iter().any(|remark| {
            remark
                .to_string()
                .starts_with("`repositories[0].lifecycle`: rule 1 protects nothing")
        }));
    }

    #[test]
    fn each_limit_of_an_entry() {
        let tags = |number: usize| {
            let tags: Vec<String> = (0..number).map(|n| format!(r#""key-{n}": "*""#)).collect();
            format!(r#""posture": {{"required_tags": {{{}}}}}"#, tags.join(", "))
        };
        let organization = |id: &str| format!(r#""posture": {{"allowed_organizations": ["{id}"]}}"#);
        let regions = |number: usize| {
            let names = ["east", "west", "north", "south", "central"];
            let all = names
                .iter()
                .flat_map(|name| (1..=9).map(move |n| format!(r#""us-{name}-{n}""#)));
            let some: Vec<String> = all.take(number).collect();
            format!(
                r#""replication": {{"regions": [{}], "max_lag_minutes": 30}}"#,
                some.join(", ")
            )
        };
        for (section, place) in [
            (tags(50), None),
            (tags(51), Some("posture.required_tags")),
            (organization("o-a1b2c3d4e"), Some("posture.allowed_organizations[0]")),
            (organization("o-a1b2c3d4e5"), None),
            (organization(&format!("o-{}", "a".repeat(32))), None),
            (
                organization(&format!("o-{}", "a".repeat(33))),
                Some("posture.allowed_organizations[0]"),
            ),
            (organization("o-A1B2C3D4E5"), Some("posture.allowed_organizations[0]")),
            (organization("o-a1b2c3d4_5"), Some("posture.allowed_organizations[0]")),
            (organization("a1b2c3d4e5"), Some("posture.allowed_organizations[0]")),
            (organization("${aws:ResourceOrgID}"), None),
            (regions(1), None),
            (regions(25), None),
            (regions(26), Some("replication.regions")),
        ] {
            let refused = policy(&section).err().map(|error| error.path);
            let place = place.map(|place| format!("repositories[0].{place}"));
            assert_eq!(refused, place, "{section}");
        }
    }
}
