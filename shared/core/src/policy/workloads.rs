//! `block.workloads`: from what people write to what the rules read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::{
    glob::Glob,
    ids::{AccountId, Region},
    policy::{
        document::{KubernetesSection, ListedSource, WorkloadsSection},
        reading::{PolicyError, between, glob},
    },
    text,
    uses::{SourceKind, WorkloadAccount, WorkloadRules},
};

/// Further accounts: each costs a handful of calls in every run.
const MAX_ACCOUNTS: usize = 50;

pub(super) fn workloads(section: &WorkloadsSection) -> Result<WorkloadRules, PolicyError> {
    let path = |field: &str| format!("block.workloads.{field}");
    if section.sources.is_empty() {
        let problem = "it names nothing: without sources no workload is known, so leave out `block.workloads`";
        return Err(PolicyError::at(path("sources"), problem));
    }
    let max_age = between(&path("max_age_minutes"), section.max_age_minutes, 45, 1440)?;
    if section.accounts.len() > MAX_ACCOUNTS {
        let problem = format!("at most {MAX_ACCOUNTS} accounts are listed");
        return Err(PolicyError::at(path("accounts"), problem));
    }
    let mut accounts = Vec::new();
    let mut ids = BTreeSet::new();
    for (n, account) in section.accounts.iter().enumerate() {
        let place = |field: &str| path(&format!("accounts[{n}].{field}"));
        let id = account
            .id
            .parse()
            .map_err(|error| PolicyError::at(place("id"), error))?;
        if !ids.insert(account.id.clone()) {
            return Err(PolicyError::at(place("id"), "it stands there twice"));
        }
        if !is_role(&account.role) {
            let problem = "the name of a role has 1 to 64 characters of `A-Z a-z 0-9 + = , . @ _ -`, without its path";
            return Err(PolicyError::at(place("role"), problem));
        }
        accounts.push(WorkloadAccount {
            id,
            role: account.role.clone(),
            repositories: globs(&account.repositories, |m| place(&format!("repositories[{m}]")))?,
            regions: regions(&account.regions, |m| place(&format!("regions[{m}]")))?,
        });
    }
    let sources: BTreeSet<SourceKind> = section
        .sources
        .iter()
        .map(|source| match source {
            ListedSource::Ecs => SourceKind::Ecs,
            ListedSource::Lambda => SourceKind::Lambda,
            ListedSource::Batch => SourceKind::Batch,
        })
        .collect();
    Ok(WorkloadRules {
        sources: sources.into_iter().collect(),
        max_age: SignedDuration::from_mins(max_age.into()),
        when_unknown: section.when_unknown,
        accounts,
        lambda_versions: section.lambda.versions,
        task_definitions: section.ecs.task_definitions,
        clusters: clusters(&section.kubernetes)?,
    })
}

fn clusters(section: &KubernetesSection) -> Result<BTreeMap<String, Vec<Glob>>, PolicyError> {
    let mut clusters = BTreeMap::new();
    for (cluster, repositories) in &section.repositories {
        let place = format!("block.workloads.kubernetes.repositories.{}", text::line(cluster, 40));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // One of another account has that before its name.
        let name = match cluster.split_once('/') {
            Some((account, name)) if account.parse::<AccountId>().is_ok() => name,
            Some(_) | None => cluster,
        };
        if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
            let problem = "the name of a cluster has 1 to 100 characters of `A-Z a-z 0-9 _ . -`, in another account behind that and `/`";
            return Err(PolicyError::at(place, problem));
        }
        if repositories.is_empty() {
            return Err(PolicyError::at(place, "it names no repository; `*` is all of them"));
        }
        clusters.insert(cluster.clone(), globs(repositories, |m| format!("{place}[{m}]"))?);
    }
    Ok(clusters)
}

fn globs(texts: &[String], place: impl Fn(usize) -> String) -> Result<Vec<Glob>, PolicyError> {
    texts
        .iter()
        .enumerate()
        .map(|(n, text)| glob(text, || place(n)))
        .collect()
}

fn regions(texts: &[String], place: impl Fn(usize) -> String) -> Result<BTreeSet<Region>, PolicyError> {
    let mut regions = BTreeSet::new();
    for (n, text) in texts.iter().enumerate() {
        let region: Region = text.parse().map_err(|error| PolicyError::at(place(n), error))?;
        regions.insert(region);
    }
    Ok(regions)
}

/// Source: IAM API reference, `CreateRole`, `RoleName`: `[\w+=,.@-]+`, 1 to 64 characters.
fn is_role(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}
