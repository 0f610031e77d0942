//! `plan`: the images that the next sweep would reconcile, and the result.

use std::{collections::BTreeMap, io::Write};

use clap::Args;
use guard_core::{
    decide::{Due, Survey, Turns},
    ids::{Digest, RegistryKey, RepositoryKey},
    text,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    OK, Output, World,
    in_force::{other_policies, policy_in_force},
    judged::{Judge, Outcome, PolicyText},
    known::Known,
    ledgers::{Extent, LedgerArguments, NotRead},
    table::{count, name, table},
};

/// The arguments of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// Also images that are reconciled and stay as they are.
    #[arg(long)]
    pub all: bool,
}

/// The images of a repository that the next sweep reconciles, and why; `None`: the snapshot does not have its list.
///
/// # Errors
/// The snapshot cannot be read.
pub fn due(
    known: &mut Known,
    key: &RepositoryKey,
    policy: &PolicyText,
    now: Timestamp,
) -> Result<Option<BTreeMap<Digest, Due>>, NotRead> {
    let ids = known.images_of(key);
    let Some(first) = ids.first() else {
        return Ok(Some(BTreeMap::new()));
    };
    if !known.is_listed(*first) {
        return Ok(None);
    }
    let registry = RegistryKey {
        account: key.account.clone(),
        region: key.region.clone(),
    };
    let swept = known.registry(&registry).and_then(|row| row.swept);
    let policy = &policy.policy;
    let mut survey = Survey::new(policy, &key.repository, Turns::new(swept, now), now);
    let others: Vec<RepositoryKey> = known.named(&key.repository);
    let others = others
        .into_iter()
        .filter(|other| other.region != key.region && other.account == key.account);
    for other in others {
        for id in known.images_of(&other) {
            if let Some(row) = known.row(id)? {
                survey.remember_elsewhere(&row, &key.region);
            }
        }
    }
    for id in &ids {
        if let Some(row) = known.row(*id)? {
            survey.remember(&row);
        }
        if let Some(used) = known.used(*id)? {
            survey.remember_use(&used);
        }
    }
    for id in &ids {
        if let Some(listed) = known.listed(*id)? {
            survey.see(&listed);
        }
    }
    Ok(Some(survey.finish(true).into_iter().collect()))
}

/// Carries it out.
///
/// # Errors
/// A ledger cannot be read.
pub fn plan(
    given: &PlanArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let extent = Extent {
        repository: None,
        registries: true,
    };
    let mut looks = Vec::new();
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut unlisted = Vec::new();
    let mut images = 0_u64;
    for snapshot in given.ledger.open(&extent, world, trouble)? {
        let mut known = Known::read(snapshot)?;
        let now = known.snapshot.header.taken_at;
        let in_force = policy_in_force(&known, given.ledger.policy_text(world)?.as_deref(), now)?;
        let others = other_policies(&known, now);
        let others: Vec<&PolicyText> = others.iter().collect();
        let mut judge = Judge::new(&in_force, &others, now);
        for key in known.repositories().to_vec() {
            images += known.images_of(&key).len() as u64;
            let Some(due) = due(&mut known, &key, &in_force, now)? else {
                unlisted.push(format!("{} in {}", key.repository, key.region));
                continue;
            };
            for (digest, why) in due {
                *counts.entry(why.as_str()).or_default() += 1;
                let image = key.image(&digest);
                let Some(id) = known.id(&image) else { continue };
                let row = known.row(id)?;
                let from = row.as_ref().map_or("new", |row| row.state.as_str());
                let judged = judge.image(&mut known, id)?;
                let to = judged.outcome.word();
                if from == to && !given.all {
                    continue;
                }
                let reason = match &judged.outcome {
                    Outcome::Unknown(why) => why.clone(),
                    Outcome::New => "It is evaluated for the first time.".to_owned(),
                    _ => judged.reason,
                };
                let tags = row.map(|row| row.tags).unwrap_or_default();
                looks.push(json!({"image": image, "tags": tags, "due": why.as_str(), "from": from, "to": to,
                    "name": name(key.repository.as_str(), &tags, &digest), "rule": judged.rule, "reason": text::line(&reason, 1000)}));
            }
        }
    }
    let due: u64 = counts.values().sum();
    match output {
        Output::Json => writeln!(
            out,
            "{:#}",
            json!({"schema": "ecr-guard/plan/v1", "images": images, "due": counts, "looks": looks, "not_listed": unlisted})
        )?,
        Output::Text => {
            writeln!(out, "{}: the next sweep reconciles {due}.", count(images, "image"))?;
            if !counts.is_empty() {
                let rows: Vec<_> = counts
                    .iter()
                    .map(|(why, number)| vec![(*why).to_owned(), number.to_string()])
                    .collect();
                write!(out, "\n{}", table(&["Why", "Images"], &rows))?;
            }
            if !looks.is_empty() {
                let cell = |look: &serde_json::Value, member: &str| {
                    look.get(member)
                        .and_then(|value| value.as_str())
                        .unwrap_or("-")
                        .to_owned()
                };
                let members = ["name", "due", "from", "to", "rule", "reason"];
                let rows: Vec<Vec<String>> = looks
                    .iter()
                    .map(|look| {
                        members
                            .iter()
                            .map(|member| text::line(&cell(look, member), 160))
                            .collect()
                    })
                    .collect();
                write!(
                    out,
                    "\n{}",
                    table(&["Image", "Why", "From", "To", "Rule", "Reason"], &rows)
                )?;
            }
            for place in &unlisted {
                writeln!(out, "\nUnknown: the snapshot does not have the list of {place}.")?;
            }
            writeln!(
                out,
                "\nA sweep also asks the scanner: a new result may change more. Scans, alerts that are pending and settings of repositories are not shown."
            )?;
        }
    }
    Ok(OK)
}
