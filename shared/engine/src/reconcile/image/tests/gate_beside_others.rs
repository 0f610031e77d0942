//! The gate while others act: between any two of its calls images are pushed, scanned, pulled and deleted, tags move, and rows of the ledger
//! come and go, by the hands of functions that stand between two calls of their own.
//!
//! An allowed image has a result, and is not blocked by the next reconcile; the digest in the answer is one that was asked for,
//! and the one that was evaluated.
//!
//! Its loop is its own. `play()` lets an attempt stand once in five times, at a poll by chance; here others act between any two calls of the
//! gate, in every scenario, and they may delete the row of an image that they stand in.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::gate::Gate;
use guard_core::gate::{Answer, Asked, Decision};
use guard_testkit::explore::{Choices, Exploration, Story};

const HOST: &str = "123456789012.dkr.ecr.us-west-2.amazonaws.com";

/// Two images, and an index of both.
const IMAGES: [&str; 2] = ["sha256:a", "sha256:b"];
const INDEX: &str = "sha256:1";

/// The most events between two calls of the gate.
const MOST_BETWEEN: usize = 3;

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn all() -> [ImageKey; 3] {
    [key(IMAGES[0]), key(IMAGES[1]), key(INDEX)]
}

/// One goes on by a poll: a call takes two, one before it has its effect and one after.
fn go_on<T>(running: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Option<T> {
    match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A registry, what is true of its images, and what could be seen of it.
struct Registry {
    world: World,
    policy: Policy,
    /// The images that have a CRITICAL finding, whenever they are scanned.
    bad: BTreeSet<Digest>,
    seen: RefCell<Seen>,
}

/// The facts that could be seen since the gate was asked.
#[derive(Debug, Default)]
struct Seen {
    /// The images of the tag.
    tagged: BTreeSet<Digest>,
    /// The images that had a result at any time: rows remember it.
    results: BTreeSet<Digest>,
    /// An image that was pushed anew: nobody has pulled it from then on.
    anew: bool,
}

impl Registry {
    fn new(choices: &mut Choices) -> Self {
        let policies = [
            "",
            r#""block": {"method": "flag", "when_in_use": "block"}"#,
            r#""block": {"method": "quarantine-tag"}"#,
            r#""gate": {"review": "deny", "held": "deny"}"#,
        ];
        let world = choices.world();
        let bad = IMAGES.iter().filter(|_| choices.one_in(2));
        let registry = Self {
            bad: bad.map(|digest| digest.parse().unwrap()).collect(),
            policy: policy(choices.pick::<&str>(&policies)),
            world,
            seen: RefCell::default(),
        };
        let minutes = *choices.pick(&[1, 60]);
        for (place, image_key) in all().into_iter().enumerate() {
            let is_index = place == IMAGES.len();
            let media_type = if is_index {
                "application/vnd.oci.image.index.v1+json"
            } else {
                "application/vnd.oci.image.manifest.v1+json"
            };
            let of_image = image(&image_key);
            let pushed = Image {
                tags: Vec::new(),
                pushed_at: Some(now() - SignedDuration::from_mins(minutes)),
                manifest_media_type: Some(media_type.to_owned()),
                artifact_media_type: of_image.artifact_media_type.clone().filter(|_| !is_index),
                ..of_image
            };
            registry.world.push(&image_key, pushed);
            if !is_index && !choices.one_in(4) {
                registry.end_scan(&image_key);
            }
        }
        let entries = IMAGES.map(|digest| {
            format!(r#"{{"digest": "{digest}", "platform": {{"os": "linux", "architecture": "amd64"}}}}"#)
        });
        let manifest = format!(r#"{{"manifests": [{}]}}"#, entries.join(","));
        registry.world.set_manifest(&key(INDEX), &manifest);
        registry.move_tag(choices.below(3));
        registry
    }

    fn is_bad(&self, digest: &Digest) -> bool {
        self.bad.contains(digest) || digest.as_str() == INDEX && !self.bad.is_empty()
    }

    /// Whether there was a result; of an index, for all its children.
    fn had_result(&self, digest: &Digest) -> bool {
        let seen = &self.seen.borrow().results;
        let needed: Vec<Digest> = match digest.as_str() {
            INDEX => IMAGES.iter().map(|digest| digest.parse().unwrap()).collect(),
            _ => vec![digest.clone()],
        };
        needed.iter().all(|digest| seen.contains(digest))
    }

    fn end_scan(&self, key: &ImageKey) {
        let is_bad = self.bad.contains(&key.digest);
        self.seen.borrow_mut().results.insert(key.digest.clone());
        self.world.set_scan(key, if is_bad { critical() } else { clean() });
    }

    fn move_tag(&self, to: usize) {
        for (place, key) in all().iter().enumerate() {
            let Some(mut image) = self.world.image_of(key) else {
                continue;
            };
            image.tags.retain(|tag| tag.as_str() != "v1");
            if place == to {
                image.tags.push("v1".parse().unwrap());
                self.seen.borrow_mut().tagged.insert(key.digest.clone());
            }
            self.world.push(key, image);
        }
    }

    /// One thing that people, AWS or our functions do; the latter stand between two of their calls for a while.
    fn something<'a>(&'a self, choices: &mut Choices, running: &mut Vec<Running<'a>>, story: &mut Story) {
        let place = choices.below(3);
        let key = all()[place].clone();
        let short = key.digest.to_string();
        match choices.below(10) {
            0 | 1 => {
                story.line(|| format!("  a scan of {short} ends"));
                if place < IMAGES.len() {
                    self.end_scan(&key);
                }
            }
            2 => {
                story.line(|| format!("  the result of {short} is not there"));
                self.world.set_scan(
                    &key,
                    if choices.one_in(2) {
                        Scan::InProgress
                    } else {
                        Scan::Absent
                    },
                );
            }
            3 => {
                story.line(|| format!("  the tag moves to {short}"));
                self.move_tag(place);
            }
            4 => {
                story.line(|| format!("  {short} is pulled: {}", self.world.pull(&key)));
            }
            5 => {
                story.line(|| format!("  the row of {short} goes"));
                self.world.forget_row(&key);
            }
            6 => {
                story.line(|| format!("  {short} is pushed again"));
                self.seen.borrow_mut().anew = true;
                self.world.push_again(&key, self.world.now());
            }
            7 if !running.is_empty() => {
                let one = choices.below(running.len());
                for _ in 0..=choices.below(12) {
                    if go_on(&mut running[one]).is_some() {
                        drop(running.remove(one));
                        break;
                    }
                }
            }
            _ => {
                let found = choices.one_in(2);
                story.line(|| format!("  a function looks at {short}, by a sweep: {found}"));
                let actor = format!("other-{}", running.len());
                running.push(Box::pin(async move {
                    let request = Request {
                        image: ImageRef::Digest(key.digest),
                        hints: Hints {
                            found,
                            ..Hints::default()
                        },
                        ..request(&actor)
                    };
                    // Others try a failed call again.
                    drop(look(&self.world, &self.policy, &request).await);
                }));
            }
        }
    }
}

/// The request: by tag, by digest, or by both, where they are of the same image now.
fn asked(registry: &Registry, choices: &mut Choices) -> (String, bool) {
    let name = format!("{HOST}/{}", image_key().repository);
    let digest = all()[choices.below(3)].digest.clone();
    match choices.below(4) {
        0 | 1 => (format!("{name}:v1"), true),
        2 => (format!("{name}@{digest}"), false),
        _ => {
            let tagged = registry.seen.borrow().tagged.iter().next().cloned();
            (format!("{name}:v1@{}", tagged.unwrap_or(digest)), true)
        }
    }
}

fn explore(choices: &mut Choices, story: &mut Story) -> Result<(), String> {
    let registry = Registry::new(choices);
    let mut running: Vec<Running<'_>> = Vec::new();
    for _ in 0..choices.below(8) {
        registry.something(choices, &mut running, story);
    }
    {
        // Only an image that has the tag from now on can be the requested one.
        let mut seen = registry.seen.borrow_mut();
        let tagged = |key: &ImageKey| registry.world.image_of(key).is_some_and(|image| !image.tags.is_empty());
        seen.tagged = all()
            .iter()
            .filter(|key| tagged(key))
            .map(|key| key.digest.clone())
            .collect();
        seen.anew = false;
    }
    let (image, by_tag) = asked(&registry, choices);
    story.line(|| format!("the gate is asked about {image}"));
    let services = registry.world.writing(false);
    let (key, asked) = (image_key(), [Asked::new(&image)]);
    let gate = Gate {
        services: &services,
        policy: &registry.policy,
        account: &key.account,
        region: &key.region,
        actor: "gate",
    };
    let mut answering: Pin<Box<dyn Future<Output = Answer> + '_>> = Box::pin(gate.answer(&asked));
    let answer = loop {
        if let Some(answer) = go_on(&mut answering) {
            break answer;
        }
        story.count("cuts", 1);
        for _ in 0..choices.below(MOST_BETWEEN) {
            registry.something(choices, &mut running, story);
        }
    };
    drop(running);
    let answer = &answer.images[0];
    story.line(|| format!("{answer:?}"));
    let pinned = answer.pinned.as_deref().and_then(|pinned| pinned.rsplit('@').next());
    let Some(pinned) = pinned.map(|digest| digest.parse::<Digest>().unwrap()) else {
        return match answer.decision {
            Decision::Allow => Err(format!("allowed without a digest: {answer:?}")),
            _ => Ok(()),
        };
    };
    if answer.digest.as_deref() != Some(pinned.as_str()) {
        return Err(format!("two digests: {answer:?}"));
    }
    if by_tag && !registry.seen.borrow().tagged.contains(&pinned) {
        return Err(format!("not asked for: {answer:?}"));
    }
    if answer.decision != Decision::Allow {
        return Ok(());
    }
    story.count("allowed", 1);
    if !registry.had_result(&pinned) {
        return Err(format!("without a result: {answer:?}"));
    }
    if registry.is_bad(&pinned) && answer.state != "BlockDeferred" {
        return Err(format!("another one was judged: {answer:?}"));
    }
    if registry.seen.borrow().anew {
        // These are other facts.
        return Ok(());
    }
    let request = Request {
        image: ImageRef::Digest(pinned),
        ..request("next")
    };
    let outcome = run(look(&registry.world, &registry.policy, &request));
    match outcome.map(|outcome| outcome.state) {
        Ok(Some(State::Blocked)) => Err(format!("the next look blocks it: {answer:?}")),
        _ => Ok(()),
    }
}

#[test]
fn explore_the_gate_beside_others() {
    let explored = Exploration::new("gate", 60_700).run(explore);
    explored.assert_none();
    if explored.is_whole() {
        assert!(explored.count("allowed") > 10_000, "{explored}");
        assert!(explored.count("cuts") > 200_000, "{explored}");
    }
}

#[test]
fn the_gate_beside_others_finds_what_is_left_out() {
    Exploration::new("gate", 3_000).find_planted(explore);
}
