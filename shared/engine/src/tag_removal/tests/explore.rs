//! Every pair of our actors with a person who pushes, moves and deletes tags, over one repository, cut off or interrupted at any call.
//!
//! No image disappears by our own call without being put back or named in an alert; a tag that was taken from another image is
//! given back, or named in an alert.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::*;
use crate::reconcile::{
    ReconcileError,
    image::{Hints, Outcome, Request, reconcile},
    repository::{TagRequest, reconcile_tag},
};
use guard_core::{
    finding::{Scan, Severity},
    repository::removal::Pushed,
    state::State,
};
use guard_ports::Clock as _;
use guard_testkit::{
    RemovalReading, Removed,
    explore::{Act, Choices, Exploration, Running, Story, play},
    finding, scan,
};

const READINGS: [RemovalReading; 4] = [
    RemovalReading::Documented,
    RemovalReading::NamesNoImage,
    RemovalReading::KeepsUntagged,
    RemovalReading::Referenced,
];

/// The tags that people push. The first two break the rules.
const TAGS: [&str; 4] = ["main", "dev", "v1", "v2"];

/// One of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    OnPush,
    OnScan,
    Worker,
}

const PAIRS: [(Actor, Actor); 6] = [
    (Actor::OnPush, Actor::OnPush),
    (Actor::OnPush, Actor::OnScan),
    (Actor::OnPush, Actor::Worker),
    (Actor::OnScan, Actor::OnScan),
    (Actor::OnScan, Actor::Worker),
    (Actor::Worker, Actor::Worker),
];

fn policies() -> [Policy; 3] {
    let untag =
        r#""repositories": [{"match": "*", "tags": {"allowed": ["semver:v", "v1", "v2"], "on_violation": "untag"}}]"#;
    let quarantine = r#""block": {"method": "quarantine-tag"}"#;
    [
        guard_testkit::policy(untag),
        guard_testkit::policy(quarantine),
        guard_testkit::policy(&format!("{untag}, {quarantine}")),
    ]
}

fn numbered(n: usize) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{n:x}{n:063x}").parse().unwrap(),
        ..image_key()
    }
}

async fn look(
    world: &World,
    policy: &Policy,
    key: &ImageKey,
    hints: Hints,
    actor: &str,
) -> Result<Outcome, ReconcileError> {
    let request = Request {
        account: key.account.clone(),
        region: key.region.clone(),
        repository: key.repository.clone(),
        image: ImageRef::Digest(key.digest.clone()),
        hints,
        actor: actor.to_owned(),
    };
    reconcile(&world.writing(true), policy, &request).await
}

async fn judge(
    world: &World,
    policy: &Policy,
    tag: &Tag,
    state: Option<State>,
    pushed: Option<&Pushed>,
    actor: &str,
) -> Result<(), String> {
    let request = TagRequest {
        tag,
        state,
        pushed,
        actor,
    };
    let key = RepositoryKey::of(&image_key());
    let judged = reconcile_tag(&world.writing(true), policy, &key, &request).await;
    judged.map(drop).map_err(|error| error.to_string())
}

/// The reaction of `on-push` to a push of a tag.
fn on_push<'a>(
    world: &'a World,
    policy: &'a Policy,
    key: ImageKey,
    tag: Tag,
    at: Timestamp,
    actor: String,
) -> Running<'a> {
    Box::pin(async move {
        let looked = look(world, policy, &key, Hints::default(), &actor).await;
        let state = looked.as_ref().ok().and_then(|outcome| outcome.state);
        let pushed = Pushed {
            digest: key.digest.clone(),
            at,
        };
        judge(world, policy, &tag, state, Some(&pushed), &actor).await?;
        looked.map(drop).map_err(|error| error.to_string())
    })
}

fn on_scan<'a>(world: &'a World, policy: &'a Policy, key: ImageKey, actor: String) -> Running<'a> {
    Box::pin(async move {
        let looked = look(world, policy, &key, Hints::default(), &actor).await;
        looked.map(drop).map_err(|error| error.to_string())
    })
}

/// The reaction of `worker` to an image of the list: it has no event.
fn worker<'a>(world: &'a World, policy: &'a Policy, key: ImageKey, actor: String) -> Running<'a> {
    Box::pin(async move {
        let hints = Hints {
            found: true,
            ..Hints::default()
        };
        let looked = look(world, policy, &key, hints, &actor)
            .await
            .map_err(|error| error.to_string())?;
        let there = world
            .image(&key.repository, &ImageRef::Digest(key.digest.clone()))
            .await;
        let there = there.map_err(|error| error.to_string())?;
        for tag in there.map(|image| image.tags).unwrap_or_default() {
            judge(world, policy, &tag, looked.state, None, &actor).await?;
        }
        Ok(())
    })
}

/// Pushes an image under a tag, as a pipeline does: the tag moves, the image's other tags stay.
fn push_tag(world: &World, n: usize, given: &Tag) {
    for other in 0..3 {
        if let Some(mut image) = world.image_of(&numbered(other)) {
            image.tags.retain(|tag| tag != given);
            world.push(&numbered(other), image);
        }
    }
    let key = numbered(n);
    let mut there = world.image_of(&key).unwrap_or_else(|| Image {
        tags: Vec::new(),
        pushed_at: Some(world.now()),
        ..image(&key)
    });
    there.tags.push(given.clone());
    world.push(&key, there);
}

/// The reaction of `actor` to an image, or to a tag of it.
fn ours<'a>(world: &'a World, policy: &'a Policy, actor: Actor, n: usize, tag: &str, id: String) -> Running<'a> {
    match actor {
        Actor::OnPush => on_push(
            world,
            policy,
            numbered(n),
            tag.parse().unwrap(),
            guard_testkit::now(),
            id,
        ),
        Actor::OnScan => on_scan(world, policy, numbered(n), id),
        Actor::Worker => worker(world, policy, numbered(n), id),
    }
}

/// The actions of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    /// Pushes an image under a tag, which moves.
    Push(usize, Tag),
    /// Deletes a tag.
    Delete(Tag),
}

impl Deed {
    fn choose(choices: &mut Choices) -> Self {
        let tag: Tag = choices.pick(&TAGS).parse().unwrap();
        match choices.below(4) {
            0 | 1 => Self::Push(choices.below(3), tag),
            2 => Self::Delete(tag),
            _ => {
                let digest = numbered(choices.below(2)).digest;
                let marks = [untagged_mark(&digest), quarantine_tag(&digest)];
                Self::Delete(choices.pick(&marks).clone().unwrap())
            }
        }
    }

    fn act(&self, world: &World, people: &Mutex<People>) {
        let mut people = people.lock().unwrap();
        match self {
            Self::Push(n, tag) => {
                push_tag(world, *n, tag);
                people.deleted.remove(&numbered(*n).digest);
                people.pushes.push((*n, tag.clone(), world.now()));
            }
            Self::Delete(tag) => people.deleted.extend(world.untag(&image_key().repository, tag)),
        }
    }
}

/// The actions of people.
#[derive(Debug, Default, Clone)]
struct People {
    /// Images that went when somebody deleted their last tag.
    deleted: BTreeSet<Digest>,
    /// Pushes, with their time.
    pushes: Vec<(usize, Tag, Timestamp)>,
}

/// Everything in any order, as Lambda may deliver it.
fn anything<'a>(
    world: &'a World,
    policy: &'a Policy,
    pair: (Actor, Actor),
    people: &'a Mutex<People>,
    choices: &mut Choices,
    story: &mut Story,
) {
    let mut acts: Vec<Act<'a>> = Vec::new();
    for (actor, tag) in [(pair.0, "main"), (pair.1, "dev")] {
        let id = format!("{actor:?}-{tag}");
        let begin = move || ours(world, policy, actor, 0, tag, id.clone());
        acts.push(if actor == Actor::Worker {
            Act::message(format!("{actor:?} of 0"), begin)
        } else {
            Act::event(format!("{actor:?} of 0, {tag}"), begin)
        });
    }
    for number in 0..1 + choices.below(3) {
        let deed = Deed::choose(choices);
        let place = acts.len();
        let done = deed.clone();
        acts.push(Act::deed(format!("{deed:?}"), move || done.act(world, people)));
        if let Deed::Push(n, tag) = deed {
            let begin = move || {
                let pushes = people.lock().unwrap().pushes.clone();
                let push = pushes
                    .into_iter()
                    .find(|(of, given, _)| (*of, given) == (n, &tag))
                    .unwrap();
                on_push(world, policy, numbered(n), push.1, push.2, format!("push-{number}"))
            };
            acts.push(Act::event(format!("OnPush of push {number}"), begin).after(&[place]));
        }
    }
    if choices.one_in(3) {
        let place = acts.len();
        acts.push(Act::deed("the scanner finds nothing in 0", move || {
            world.set_scan(&numbered(0), Scan::Complete(scan(vec![])));
        }));
        let begin = move || on_scan(world, policy, numbered(0), "release".to_owned());
        acts.push(Act::event("OnScan of 0", begin).after(&[place]));
    }
    play(world, &acts, choices, story);
}

/// One of ours stops at any call; then people act, and another one of ours; then the first goes on, to its end or until it is cut off, or
/// the answer to its removal is lost.
fn duel(
    world: &World,
    policy: &Policy,
    pair: (Actor, Actor),
    people: &Mutex<People>,
    choices: &mut Choices,
    story: &mut Story,
) {
    let mut context = Context::from_waker(Waker::noop());
    let mut go_on =
        |running: &mut Running<'_>, polls: usize| (0..polls).any(|_| running.as_mut().poll(&mut context).is_ready());
    if choices.one_in(3) {
        // It was blocked, and is released now.
        let _ = run(ours(world, policy, Actor::OnScan, 0, "main", "before".to_owned()));
        world.set_scan(&numbered(0), Scan::Complete(scan(vec![])));
    }
    let mut first = ours(world, policy, pair.0, 0, "main", "first".to_owned());
    let polls = choices.below(56);
    story.line(|| format!("{:?} of 0, main: stops after {polls} polls", pair.0));
    let mut ended = go_on(&mut first, polls);
    let meanwhile = |story: &mut Story| {
        story.line(|| format!("{:?} of 0, dev: to its end", pair.1));
        let _ = run(ours(world, policy, pair.1, 0, "dev", "second".to_owned()));
    };
    let when = choices.below(3);
    if when == 1 {
        meanwhile(story);
    }
    world.set_now(world.now() + SignedDuration::from_secs(1));
    for _ in 0..1 + choices.below(2) {
        let deed = Deed::choose(choices);
        story.line(|| format!("{deed:?}"));
        deed.act(world, people);
    }
    if when == 2 {
        meanwhile(story);
    }
    match choices.below(4) {
        1 => {
            story.line(|| "the answer to its removal is lost".to_owned());
            world.fail("ecr:BatchDeleteImage", Fault::After(Retry::Later));
        }
        2 => {
            let polls = choices.below(16);
            story.line(|| format!("it is cut off after {polls} polls more"));
            ended = ended || go_on(&mut first, polls);
            story.count("cut off", usize::from(!ended));
            ended = true;
        }
        _ => {}
    }
    if !ended {
        let _ = run(first);
    }
    world.heal();
}

/// The damage in the world now: a change that we made to an image without our mark, and that no alert names.
fn untold(world: &World, people: &People) -> Option<String> {
    let told: BTreeSet<(String, String)> = told(world).into_iter().collect();
    let is_told = |kind: Kind, digest: &Digest| told.contains(&(kind.as_str().to_owned(), digest.to_string()));
    let removed = world.removed();
    for (place, hit) in removed.iter().enumerate() {
        let there = (0..3).map(numbered).find(|key| key.digest == hit.digest);
        let there = there.and_then(|key| world.image_of(&key));
        if hit.deleted && !is_told(Kind::ImageLost, &hit.digest) {
            if there.is_some() || people.deleted.contains(&hit.digest) {
                // Pushed again by somebody.
                continue;
            }
            return Some(format!("an image is gone, and nobody is told: {hit:?}"));
        }
        // The first image is the one that tags are meant to be taken from; without our mark it is one from which somebody took that.
        let is_foreign = !hit.marked && hit.digest != numbered(0).digest;
        if !hit.deleted && is_foreign && !is_told(Kind::TagTaken, &hit.digest) {
            let has_it = |image: &Image| image.tags.contains(&hit.tag);
            let of_another = (0..3).any(|n| world.image_of(&numbered(n)).is_some_and(|image| has_it(&image)));
            let had_it_again = removed
                .iter()
                .skip(place + 1)
                .any(|later| (&later.tag, &later.digest) == (&hit.tag, &hit.digest));
            // A push after it has taken the tag from the image anyway.
            let is_pushed = |(_, tag, at): &(usize, Tag, Timestamp)| *tag == hit.tag && *at > hit.at;
            let had_it_again = had_it_again || people.pushes.iter().any(is_pushed);
            if of_another || had_it_again || there.is_none() || people.deleted.contains(&hit.digest) {
                continue;
            }
            return Some(format!("a tag was taken, and nobody is told: {hit:?}"));
        }
    }
    None
}

fn explore(choices: &mut Choices, story: &mut Story, policies: &[Policy; 3]) -> Result<(), String> {
    let policy = choices.pick(policies);
    let reading = *choices.pick(&READINGS);
    let (one, two) = *choices.pick(&PAIRS);
    let world = choices.world();
    world.set_removals(reading);
    story.line(|| format!("{reading:?}"));
    let critical = || Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    for (n, given) in [(0, &["main", "dev"][..]), (1, &["v1"])] {
        let mut of_image = tags(given);
        if choices.one_in(3) {
            of_image.extend(untagged_mark(&numbered(n).digest));
        }
        world.push(
            &numbered(n),
            Image {
                tags: of_image,
                ..image(&numbered(n))
            },
        );
        world.set_scan(
            &numbered(n),
            if n == 0 {
                critical()
            } else {
                Scan::Complete(scan(vec![]))
            },
        );
    }
    world.set_scan(&numbered(2), Scan::Complete(scan(vec![])));
    let people = Mutex::new(People::default());
    let story_of = if choices.one_in(3) { anything } else { duel };
    story_of(&world, policy, (one, two), &people, choices, story);
    let people = people.lock().unwrap().clone();
    let removed = world.removed();
    story.count("removals", removed.len());
    let foreign = |hit: &&Removed| !hit.marked && hit.digest != numbered(0).digest;
    story.count("of them from another image", removed.iter().filter(foreign).count());
    story.count(
        "images deleted by them",
        removed.iter().filter(|hit| hit.deleted).count(),
    );
    if untold(&world, &people).is_some() {
        story.count("known only when an event was delivered again", 1);
    }
    // Work that failed, was cut off or was lost is delivered again, at last by hand; and then comes the next sweep.
    world.set_now(world.now() + SignedDuration::from_mins(5));
    for (index, (n, tag, at)) in people.pushes.iter().enumerate() {
        let again = on_push(&world, policy, numbered(*n), tag.clone(), *at, format!("again-{index}"));
        if let Err(error) = run(again) {
            story.line(|| format!("delivered again: {error}"));
        }
    }
    for (actor, tag) in [(one, "main"), (two, "dev")] {
        let _ = run(ours(&world, policy, actor, 0, tag, format!("again-{tag}")));
    }
    for n in 0..3 {
        if let Err(error) = run(worker(&world, policy, numbered(n), format!("sweep-{n}"))) {
            story.line(|| format!("sweep: {error}"));
        }
    }
    let count = |kind: Kind| told(&world).iter().filter(|(told, _)| told == kind.as_str()).count();
    story.count("told as taken", count(Kind::TagTaken));
    story.count("told as lost", count(Kind::ImageLost));
    match untold(&world, &people) {
        Some(wrong) => Err(wrong),
        None => Ok(()),
    }
}

#[test]
fn no_image_of_ours_disappears() {
    let policies = policies();
    Exploration::new("tags", 28_000)
        .run(|choices, story| explore(choices, story, &policies))
        .assert_none();
}

#[test]
fn tags_find_what_is_left_out() {
    let policies = policies();
    Exploration::new("tags", 5_000).find_planted(|choices, story| explore(choices, story, &policies));
}
