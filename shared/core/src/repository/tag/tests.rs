//! Many tags, chosen by fixed dice: what is decided about each, counted line by line.

use jiff::SignedDuration;

use super::*;
use crate::{
    ids::ImageKey,
    notice::LEASE_SECONDS,
    testing::{Dice, Tally, around, image, image_key, now, policy, policy_in},
};

fn policies() -> Vec<Policy> {
    let rules = |action: &str| {
        format!(
            r#""repositories": [{{"match": "*", "tags": {{"forbidden": ["tmp*"], "reserved": ["prod*"], "moving": ["main"], "on_violation": "{action}"}}}}]"#
        )
    };
    vec![
        policy(&rules("untag")),
        policy(&rules("untag")),
        policy(&rules("flag")),
        policy(&rules("block")),
        policy_in("report", &rules("untag")),
        policy(""),
        policy(
            r#""repositories": [{"match": "*", "tags": {"allowed": ["semver", "prod*", "tmp*", "main"], "on_violation": "untag"}}]"#,
        ),
    ]
}

fn digest(of: char) -> Digest {
    format!("sha256:{}", of.to_string().repeat(64)).parse().unwrap()
}

fn facts(dice: &mut Dice) -> TagFacts {
    let key = ImageKey {
        digest: digest('a'),
        ..image_key()
    };
    let weeks = around(SignedDuration::from_hours(24 * 14));
    let lease = around(SignedDuration::from_secs(LEASE_SECONDS));
    let mark = untagged_mark(&key.digest).unwrap().to_string();
    let subject = format!("sha256-{}", "c".repeat(64));
    let name = dice.of(&["tmp-1", "prod", "main", "v1.2.3", "1.2.3", &mark, &subject]);
    let tag: Tag = name.parse().unwrap();
    let holder = Image {
        status: dice.mostly(ImageStatus::Active, &[ImageStatus::Archived]),
        last_pulled_at: dice.mostly(None, &weeks.map(Some)),
        tags: vec![tag.clone()],
        ..image(&key)
    };
    let note = Note {
        kind: dice.of(&[Kind::TagMoved, Kind::TagViolation]),
        id: "before".to_owned(),
        changes: vec![Change {
            setting: "tags.forbidden".to_owned(),
            old: "o".to_owned(),
            new: "n".to_owned(),
        }],
        reason: "as before.".to_owned(),
        claimed_at: dice.of(&lease),
        claimed_by: dice.of(&["me".to_owned(), "another".to_owned()]),
        sent_at: dice.maybe(&[now()]),
    };
    let removal = Removal {
        from: digest('a'),
        at: dice.of(&lease),
        by: dice.of(&["me".to_owned(), "another".to_owned()]),
        checked: None,
        lost: false,
    };
    let row = TagRow {
        schema: TagRowSchema::V1,
        repository: RepositoryKey::of(&key),
        tag: tag.clone(),
        digest: dice.of(&[digest('a'), digest('b')]),
        since: now() - SignedDuration::from_hours(5),
        generation: 4,
        removal: dice.maybe(&[removal]),
        earlier: Vec::new(),
        notes: dice.maybe(&[vec![note]]).unwrap_or_default(),
    };
    TagFacts {
        key: RepositoryKey::of(&key),
        tag,
        holder: dice.mostly(Some(holder), &[None]),
        state: dice.maybe(&[State::Allowed, State::Review, State::Blocked]),
        opted_out: dice.one_in(6),
        row: dice.maybe(&[row]),
        refused: dice.mostly(None, &[Some("AccessDenied".to_owned())]),
        actor: "me".to_owned(),
    }
}

#[test]
fn what_is_decided_about_tags() {
    let policies = policies();
    let mut tally = Tally::default();
    for seed in 0..1500 {
        let mut dice = Dice::new(seed);
        let policy = dice.of(&policies);
        let facts = facts(&mut dice);
        let name = format!("case {seed}");
        let mut say = |text: String| tally.see(&name, text);
        say(format!("{} has rules: {}", facts.tag, rules(&policy, &facts).is_some()));
        say(format!(
            "{} may be removed: {}",
            facts.tag,
            may_be_removed(&policy, &facts)
        ));
        let step = match decide(&policy, &facts, now()) {
            TagPlan::Apply(step) => step,
            other => {
                say(format!("plan: {other:?}"));
                continue;
            }
        };
        let row = &step.row;
        say(format!("untag {:?}", step.untag.as_ref().map(|untag| &untag.mark)));
        say(format!(
            "generation {}, since {}, of {}",
            row.generation,
            row.since,
            row.digest.short()
        ));
        say(format!("removal {:?}", row.removal));
        for note in &row.notes {
            say(format!("note {:?} {:?}: {}", note.kind, note.changes, note.reason));
        }
        for alert in &step.alerts {
            say(format!(
                "alert {:?} {:?}: {}: {}",
                alert.kind, alert.severity, alert.title, alert.reason
            ));
            say(format!("steps {:?}", alert.next_steps));
        }
        for answered in [true, false] {
            let row = step.completed(answered, now());
            let sent = row.notes.iter().filter(|note| note.sent_at.is_some()).count();
            say(format!(
                "completed {answered}: {} {} {sent}",
                row.generation,
                row.removal.is_some()
            ));
        }
    }
    insta::assert_snapshot!(tally.to_string());
}

/// The registry did not answer: within the same moment the removal is not taken for done.
#[test]
fn a_removal_that_was_not_answered_is_decided_again() {
    let key = image_key();
    let policy = policies().remove(0);
    let tag: Tag = "tmp-1".parse().unwrap();
    let facts = |row: Option<TagRow>| TagFacts {
        key: RepositoryKey::of(&key),
        tag: tag.clone(),
        holder: Some(Image {
            tags: vec![tag.clone()],
            ..image(&key)
        }),
        state: None,
        opted_out: false,
        row,
        refused: None,
        actor: "me".to_owned(),
    };
    let decided = |row| match decide(&policy, &facts(row), now()) {
        TagPlan::Apply(step) => *step,
        other => panic!("{other:?}"),
    };
    let first = decided(None);
    assert!(first.untag.is_some());
    let again = decided(Some(first.completed(false, now())));
    assert_eq!((again.alerts.len(), again.untag), (0, first.untag));
}
