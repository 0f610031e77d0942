//! The repository's policy lets in known accounts and organizations only.

use std::collections::BTreeSet;

use super::check::{Deviation, PostureCase, PostureCheck, RepositoryEffect};
use crate::{finding::Severity, repository::access};

pub(in crate::repository) const SETTING: &str = "posture.allowed_accounts";

pub(super) const CHECK: PostureCheck = PostureCheck {
    settings: &[SETTING, "posture.allowed_organizations"],
    permissions: &[
        "ecr:GetRepositoryPolicy",
        "ecr:SetRepositoryPolicy",
        "ecr:DeleteRepositoryPolicy",
    ],
    check,
};

fn check(case: &PostureCase<'_>) -> Vec<Deviation> {
    let Some(document) = &case.facts.access else {
        return Vec::new();
    };
    let wanted = "only known accounts";
    let known = access::KnownPrincipals {
        own: &case.facts.key.account,
        accounts: case.rules.allowed_accounts.as_ref(),
        organizations: case.rules.allowed_organizations.as_ref(),
    };
    let exposures = match access::exposures(document, &known) {
        Ok(exposures) => exposures,
        Err(error) => {
            let deviation = Deviation::new(SETTING, error.to_string(), wanted);
            return vec![deviation.rated(Some(Severity::Medium))];
        }
    };
    let removable: BTreeSet<usize> = exposures.iter().filter(|e| e.only).map(|e| e.index).collect();
    let rewritten = access::without(document, &removable).ok();
    let deviations = exposures.into_iter().map(|exposure| {
        let to: Vec<String> = exposure.to.iter().map(ToString::to_string).collect();
        let deviation = Deviation::new(SETTING, format!("lets in {}", to.join(", ")), wanted)
            .of(&exposure.name)
            .rated(exposure.to.iter().filter_map(access::Reach::severity).max());
        match &rewritten {
            // A statement that is not surely open to everybody, or also lets in somebody who is named, is for a person to
            // change.
            Some(text) if exposure.only => deviation.repaired_by(RepositoryEffect::Access(text.clone())),
            _ => deviation,
        }
    });
    deviations.collect()
}
