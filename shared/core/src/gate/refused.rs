//! The alert about a deployment that was refused: ECS shows no reason.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    alert::repository::RepositoryAlert,
    gate::{
        form::{Answer, Decision, ImageAnswer},
        hook::HookRequest,
    },
    ids::{AccountId, Region, RepositoryKey},
    notice::RepositoryAlertKind,
    text::{self, hex},
};

/// The alerts about a deployment that was refused: one for each image that is denied.
pub fn alerts(
    account: &AccountId,
    region: &Region,
    hook: &HookRequest,
    answer: &Answer,
    now: Timestamp,
) -> Vec<RepositoryAlert> {
    let denied = answer.images.iter().filter(|image| image.decision == Decision::Deny);
    denied
        .filter_map(|image| alert(account, region, hook, image, now))
        .collect()
}

fn alert(
    account: &AccountId,
    region: &Region,
    hook: &HookRequest,
    image: &ImageAnswer,
    now: Timestamp,
) -> Option<RepositoryAlert> {
    let repository = RepositoryKey {
        account: account.clone(),
        region: region.clone(),
        repository: image.repository.as_deref()?.parse().ok()?,
    };
    let name = |arn: &Option<String>| {
        let arn = arn.as_deref().unwrap_or("unknown");
        text::line(arn.rsplit('/').next().unwrap_or(arn), 100)
    };
    let service = name(&hook.service);
    // The same however often ECS asks about the same revision.
    let subject = format!(
        "{}\0{}\0{}",
        hook.target.as_deref().unwrap_or_default(),
        image.image,
        image.digest.as_deref().unwrap_or_default()
    );
    let first = format!(
        "Service {service} stays at its last revision; revision {} is rolled back.",
        name(&hook.target)
    );
    let steps = std::iter::once(first).chain(image.next.iter().cloned());
    Some(RepositoryAlert {
        id: hex(&Sha256::digest(subject)).chars().take(32).collect(),
        kind: RepositoryAlertKind::DeploymentRefused,
        severity: image.findings.first().map(|finding| finding.severity),
        time: now,
        copies_in: None,
        digest: image.digest.as_deref().and_then(|digest| digest.parse().ok()),
        tag: image.tag.as_deref().and_then(|tag| tag.parse().ok()),
        title: format!(
            "{}: the deployment of service {service} was refused",
            repository.repository
        ),
        reason: image.reason.clone(),
        changes: Vec::new(),
        next_steps: steps.map(Into::into).collect(),
        repository,
    })
}
