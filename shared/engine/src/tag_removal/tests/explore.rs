//! Every pair of our actors with a person who pushes, moves and deletes tags, over one repository, cut off or interrupted at any call.
//!
//! No image disappears by our own call without being put back or named in an alert; a tag that was taken from another image is
//! given back, or named in an alert.

use jiff::SignedDuration;

use super::{
    people::{Deed, People, Push, Pushable, on_push, on_scan, worker},
    *,
};
use guard_core::finding::{Scan, Severity};
use guard_ports::Clock as _;
use guard_testkit::{
    RemovalReading,
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

/// The reaction of `actor` to an image, or to a tag of it.
fn ours<'a>(world: &'a World, policy: &'a Policy, actor: Actor, n: usize, tag: &str, id: String) -> Running<'a> {
    match actor {
        Actor::OnPush => {
            let push = Push {
                key: numbered(n),
                tag: tag.parse().unwrap(),
                at: guard_testkit::now(),
            };
            on_push(world, policy, push, id)
        }
        Actor::OnScan => on_scan(world, policy, numbered(n), id),
        Actor::Worker => worker(world, policy, numbered(n), id),
    }
}

/// Everything in any order, as Lambda may deliver it.
fn anything<'a>(
    world: &'a World,
    policy: &'a Policy,
    pair: (Actor, Actor),
    people: &'a People,
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
        let deed = Deed::choose(choices, people, &TAGS);
        let place = acts.len();
        let done = deed.clone();
        acts.push(Act::deed(format!("{deed:?}"), move || people.act(world, &done)));
        if let Deed::Push(n, tag) = deed {
            let begin = move || {
                let actor = format!("push-{number}");
                match people.push_of(n, &tag) {
                    Some(push) => on_push(world, policy, push, actor),
                    None => Box::pin(async { Ok(()) }),
                }
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
/// the answer to its removal is lost. `play()` reaches that too, in one of many scenarios; here it is each of them, because what may go wrong is
/// between two neighbouring calls.
fn duel(
    world: &World,
    policy: &Policy,
    pair: (Actor, Actor),
    people: &People,
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
        let deed = Deed::choose(choices, people, &TAGS);
        story.line(|| format!("{deed:?}"));
        people.act(world, &deed);
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
    let people = People::new((0..3).map(|n| Pushable::single(numbered(n))).collect(), 2);
    let story_of = if choices.one_in(3) { anything } else { duel };
    story_of(&world, policy, (one, two), &people, choices, story);
    let removed = world.removed();
    story.count("removals", removed.len());
    let foreign = removed.iter().filter(|hit| !hit.was_meant);
    story.count("of them from another image", foreign.count());
    story.count(
        "images deleted by them",
        removed.iter().filter(|hit| hit.deleted).count(),
    );
    if people.untold(&world).is_some() {
        story.count("known only when an event was delivered again", 1);
    }
    // Work that failed, was cut off or was lost is delivered again, at last by hand; and then comes the next sweep.
    world.set_now(world.now() + SignedDuration::from_mins(5));
    for (index, push) in people.pushes().into_iter().enumerate() {
        let again = on_push(&world, policy, push, format!("again-{index}"));
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
    match people.untold(&world) {
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
