//! Any set of actors in one world: the functions that reconcile, check tags, sweep, keep the index of workloads, answer as the gate and
//! release for a person; and outside of them who pushes, moves and deletes tags, restores, scans, deploys, and ECR, which shows a change
//! late.
//!
//! The invariants are those of `ARCHITECTURE.md`, by their names there.

use std::cell::RefCell;

use super::{
    both::{DIGESTS, HOUR, KINDS, METHODS, PHASES, Scene, key, manifest},
    *,
};
use crate::{
    gate::Gate,
    release::Operator,
    sweep::Sweep,
    tag_removal::tests::people::{Deed, People, Pushable, on_push},
    testing::{a_sweep, sweep},
};
use guard_core::{
    gate::{Asked, Decision},
    ids::registry_host,
    release::{
        answer::ReleaseOutcome,
        identity::StsRequest,
        request::{AskedRelease, REQUEST_SCHEMA, ReleaseRequest, Verb},
    },
    uses::Phase,
};
use guard_ports::{Callers, StsAnswer};
use guard_testkit::{
    RemovalReading, Taken,
    explore::{Act, Choices, Exploration, Running, Story, play},
    signed_identity,
};

const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate";

/// Images without findings, whose tags somebody may take: the second is not there before it is pushed.
const CLEAN: [&str; 2] = ["sha256:b1", "sha256:b2"];

/// An entry that is no image.
const CHART: &str = "sha256:e1";

/// The tags that people push and delete. The first breaks the rules, where there are some.
const TAGS: [&str; 4] = ["dev", "v1", "v2", "multi"];

/// The tag that only moves.
const STABLE: &str = "stable";

const READINGS: [RemovalReading; 4] = [
    RemovalReading::Documented,
    RemovalReading::NamesNoImage,
    RemovalReading::KeepsUntagged,
    RemovalReading::Referenced,
];

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    /// `on-scan`.
    Reconcile,
    /// `sweep` and `worker`.
    Sweep,
    /// `workloads`.
    Index,
    /// `gate`.
    Gate,
    /// `operate`, and the person who asks it.
    Operate,
    /// A pipeline pushes an image again, which restores it.
    Pusher,
    /// A person restores an image.
    Restorer,
    /// The scanner finds nothing any more.
    Scanner,
    /// Workloads start and stop.
    Deploys,
    /// Lists of workloads fail, and work again.
    Lists,
    /// Hours pass, and restores end.
    Hours,
    /// A person pushes, moves and deletes tags, and our marks; `on-push` reacts.
    Tags,
    /// A person archives a clean image.
    Archiver,
    /// A person moves the tag from the index that nobody else touches; `on-push` reacts.
    Mover,
}

const ACTORS: [Actor; 14] = [
    Actor::Reconcile,
    Actor::Sweep,
    Actor::Index,
    Actor::Gate,
    Actor::Operate,
    Actor::Pusher,
    Actor::Restorer,
    Actor::Scanner,
    Actor::Deploys,
    Actor::Lists,
    Actor::Hours,
    Actor::Tags,
    Actor::Archiver,
    Actor::Mover,
];

/// AWS STS, which knows the person.
struct Sts;

impl Callers for Sts {
    async fn caller(&self, _: &StsRequest) -> Result<StsAnswer, PortError> {
        let body = "<Arn>arn:aws:sts::123456789012:assumed-role/oncall-pay/alice</Arn><Account>123456789012</Account>";
        Ok(StsAnswer {
            status: 200,
            body: body.to_owned(),
        })
    }
}

/// A scene, and what was said to people and pipelines.
struct Mixed<'a> {
    scene: Scene<'a>,
    people: People,
    /// The images of which the gate has allowed a bad one, without a rule that defers its block.
    let_through: RefCell<Vec<String>>,
    /// The images that a person has released.
    released: RefCell<Vec<usize>>,
    /// The first image has no findings any more.
    is_clean: RefCell<bool>,
}

impl<'s> Mixed<'s> {
    fn new(scene: Scene<'s>, choices: &mut Choices) -> Self {
        scene.world.set_removals(*choices.pick(&READINGS));
        let clean_image = |digest: &str| ImageKey {
            digest: digest.parse().unwrap(),
            ..image_key()
        };
        let [there, later] = CLEAN.map(clean_image);
        for key in [&there, &later] {
            scene.world.set_scan(key, clean());
        }
        let tagged = Image {
            tags: vec!["v2".parse().unwrap()],
            ..image(&there)
        };
        scene.world.push(&there, tagged);
        if choices.one_in(3) {
            scene.world.set_trigger(&there.repository, ScanTrigger::Manual);
        }
        let chart = clean_image(CHART);
        let as_chart = Image {
            tags: vec!["chart".parse().unwrap()],
            artifact_media_type: Some("application/vnd.cncf.helm.config.v1+json".to_owned()),
            ..image(&chart)
        };
        scene.world.push(&chart, as_chart);
        scene.world.set_manifest(
            &chart,
            r#"{"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []}"#,
        );
        // People have no tag for the image of the index: with one it may be blocked before an index of it is known
        // (`docs/blocked-image.md`). And nobody deletes the last tag of the index, so that it is not deleted: its image would be one by itself.
        let mut index = scene.world.image_of(&key(1)).unwrap();
        index.tags.push(STABLE.parse().unwrap());
        scene.world.push(&key(1), index.clone());
        let index = Pushable {
            key: key(1),
            image: index,
            manifest: manifest(),
        };
        let [there, later] = [there, later].map(Pushable::single);
        let people = People::new(vec![Pushable::single(key(0)), there, index, later], 2);
        Self {
            scene,
            people,
            let_through: RefCell::default(),
            released: RefCell::default(),
            is_clean: RefCell::default(),
        }
    }

    fn gate(&self, n: usize) -> Running<'_> {
        self.scene.attempt(Box::pin(async move {
            let of = key(n);
            let image = format!("{}/{of}", registry_host(&of.account, &of.region));
            let services = self.scene.world.writing(false);
            let gate = Gate {
                services: &services,
                policy: self.scene.policy,
                account: &of.account,
                region: &of.region,
                actor: "gate",
            };
            let was_clean = *self.is_clean.borrow() && n == 0;
            let answer = gate.answer(&[Asked::new(&image)]).await;
            let is_wrong = |allowed: Decision, state: &str| allowed == Decision::Allow && state != "BlockDeferred";
            if !was_clean && !*self.is_clean.borrow() && is_wrong(answer.images[0].decision, &answer.images[0].state) {
                self.let_through.borrow_mut().push(format!("{:?}", answer.images[0]));
            }
            Ok(())
        }))
    }

    fn operate(&self, n: usize, id: usize, hours: u32) -> Running<'_> {
        self.scene.attempt(Box::pin(async move {
            let of = key(n);
            let asked = AskedRelease {
                schema: REQUEST_SCHEMA.to_owned(),
                id: format!("{id:032x}"),
                action: Verb::Release,
                image: format!("{}/{of}", registry_host(&of.account, &of.region)),
                hours: Some(hours),
                reason: Some("checkout is down".to_owned()),
                ticket: None,
            };
            let payload = ReleaseRequest::json(&asked, &signed_identity(&asked, FUNCTION, self.scene.world.now()));
            let actor = format!("request-{id}");
            let operator = Operator {
                services: &self.scene.world.services(self.scene.policy),
                policy: self.scene.policy,
                account: &of.account,
                region: &of.region,
                function: FUNCTION,
                actor: &actor,
            };
            let operated = operator.answer(&payload.to_string(), &Sts).await;
            if operated.answer.outcome == ReleaseOutcome::Released {
                self.released.borrow_mut().push(n);
            }
            Ok(())
        }))
    }

    fn comes_back(&self, n: usize, by_push: bool) {
        let world = &self.scene.world;
        if by_push {
            world.push_again(&key(n), world.now());
        } else if world
            .image_of(&key(n))
            .is_some_and(|image| image.status == ImageStatus::Archived)
        {
            let _ = run(guard_ports::RegistryWriter::restore(world, &key(n)));
        }
    }

    /// The scanner ends its work on what can be pulled and has no result.
    fn scan(&self) {
        for clean_image in CLEAN {
            let of = ImageKey {
                digest: clean_image.parse().unwrap(),
                ..image_key()
            };
            let image = self.scene.world.image_of(&of);
            if image.is_none_or(|image| image.status == ImageStatus::Active) {
                self.scene.world.set_scan(&of, clean());
            }
        }
        for n in [0, 2] {
            let image = self.scene.world.image_of(&key(n));
            if image.is_some_and(|image| image.status == ImageStatus::Active) {
                let is_clean = n == 0 && *self.is_clean.borrow();
                self.scene
                    .world
                    .set_scan(&key(n), if is_clean { clean() } else { critical() });
            }
        }
    }

    fn later(&self, hours: i32) {
        let world = &self.scene.world;
        world.set_now(world.now() + HOUR * hours);
        self.scene.restored();
        self.scan();
    }

    /// A person acts on tags, and an event of a push follows.
    fn on_tags<'a>(&'a self, deed: Deed, acts: &mut Vec<Act<'a>>) {
        let scene = &self.scene;
        let (place, done) = (acts.len(), deed.clone());
        acts.push(Act::deed(format!("{deed:?}"), move || {
            let index = scene.world.image_of(&key(1));
            let is_last = |tag: &Tag| index.is_some_and(|index| index.tags == std::slice::from_ref(tag));
            if !matches!(&done, Deed::Delete(tag) if is_last(tag)) {
                self.people.act(&scene.world, &done);
            }
        }));
        if let Deed::Push(n, tag) = deed {
            let told = Act::event(format!("on-push {n} as {tag}"), move || {
                let push = self.people.push_of(n, &tag);
                let actor = format!("push-{place}");
                let Some(push) = push else {
                    return Box::pin(async { Ok(()) });
                };
                scene.attempt(on_push(&scene.world, scene.policy, push, actor))
            });
            acts.push(told.after(&[place]));
        }
    }

    fn acts<'a>(&'a self, actor: Actor, acts: &mut Vec<Act<'a>>, choices: &mut Choices) {
        let scene = &self.scene;
        let n = choices.below(3);
        let name = DIGESTS[n];
        match actor {
            Actor::Reconcile => {
                // The event of a finished scan counts what the scan has found.
                let is_announced = n != 1 && choices.one_in(2);
                let hints = move || {
                    let is_clean = n == 0 && *self.is_clean.borrow();
                    Hints {
                        announced: is_announced.then(|| announced(u64::from(!is_clean))),
                        ..Hints::default()
                    }
                };
                acts.push(Act::event(
                    format!("on-scan {name}, announced: {is_announced}"),
                    move || scene.look_with(n, hints()),
                ));
            }
            Actor::Sweep => acts.push(Act::message("sweep", || scene.sweep(a_sweep(&scene.world)))),
            Actor::Index => acts.push(Act::message("workloads: a run", || scene.run())),
            Actor::Gate => acts.push(Act::work(format!("the gate is asked about {name}"), move || {
                self.gate(n)
            })),
            Actor::Operate => {
                let (id, hours) = (acts.len(), *choices.pick(&[1, 4]));
                acts.push(Act::work(
                    format!("a person releases {name} for {hours} hours"),
                    move || self.operate(n, id, hours),
                ));
            }
            Actor::Pusher => acts.push(Act::deed(format!("{name} is pushed again"), move || {
                self.comes_back(n, true)
            })),
            Actor::Restorer => acts.push(Act::deed(format!("a person restores {name}"), move || {
                self.comes_back(n, false);
            })),
            Actor::Scanner => acts.push(Act::deed("nothing is found any more in a1", || {
                self.is_clean.replace(true);
                self.scan();
            })),
            Actor::Deploys => {
                let (kind, phase) = (choices.pick(&KINDS).clone(), *choices.pick(&PHASES));
                let started = acts.len();
                let place = std::rc::Rc::new(std::cell::Cell::new(usize::MAX));
                let (of_start, of_event) = (place.clone(), place.clone());
                acts.push(Act::deed(
                    format!("a workload of {name} starts: {phase:?}"),
                    move || {
                        of_start.set(scene.jobs.borrow().len());
                        scene.start(n, &kind, phase);
                    },
                ));
                let told = Act::event("workloads: it starts", move || scene.event(of_event.get()));
                acts.push(told.after(&[started]));
                if choices.one_in(2) {
                    let of_pull = place.clone();
                    let refused = Act::event("workloads: it cannot be pulled", move || scene.refused(of_pull.get()));
                    acts.push(refused.after(&[started]));
                }
                if choices.one_in(2) {
                    acts.push(Act::deed("it stops", move || scene.stop(place.get())).after(&[started]));
                }
            }
            Actor::Lists => {
                let (kind, fails) = (choices.pick(&KINDS).clone(), choices.one_in(2));
                acts.push(Act::deed(format!("the list of {kind} fails: {fails}"), move || {
                    scene.fails(&kind, fails);
                }));
            }
            Actor::Hours => {
                let hours = *choices.pick(&[1, 3, 13, 26]);
                acts.push(Act::deed(format!("{hours} hours pass"), move || self.later(hours)));
            }
            Actor::Archiver => acts.push(Act::deed(format!("a person archives {}", CLEAN[0]), || {
                let of = ImageKey {
                    digest: CLEAN[0].parse().unwrap(),
                    ..image_key()
                };
                scene.world.archive_by_hand(&of);
            })),
            Actor::Tags => self.on_tags(Deed::choose(choices, &self.people, &TAGS), acts),
            Actor::Mover => self.on_tags(Deed::Push(*choices.pick(&[1, 3, 0]), STABLE.parse().unwrap()), acts),
        }
    }
}

/// An invariant of `ARCHITECTURE.md`, and what contradicts it.
type Invariant = (&'static str, fn(&Mixed<'_>) -> Option<String>);

const INVARIANTS: [Invariant; 5] = [
    ("An image that workloads use, or may use, is not taken away", |mixed| {
        // A tag that breaks the rules goes from any image, also while another invocation quarantines that.
        let breaks_rules = |taken: &Taken| taken.tag.as_ref().is_some_and(|tag| tag.as_str() == TAGS[0]);
        let rules = mixed.scene.policy.repository(&image_key().repository);
        let has_rules = rules.is_some_and(|rules| rules.tags.is_some());
        let taken = mixed.scene.world.taken();
        let mut blocked = taken.iter().filter(|taken| !(has_rules && breaks_rules(taken)));
        blocked.find_map(|taken| mixed.scene.wrong(taken))
    }),
    ("No alert is recorded as sent before it was sent", |mixed| {
        let sent = mixed.scene.world.sent();
        (0..DIGESTS.len()).find_map(|n| {
            let alert = mixed.scene.world.row_of(&key(n))?.alert?;
            let id = format!(r#""id":"{}""#, alert.id);
            let is_missing = alert.sent_at.is_some() && !sent.iter().any(|sent| sent.message.default.contains(&id));
            is_missing.then(|| format!("{} {:?}", DIGESTS[n], alert))
        })
    }),
    ("A row says why", |mixed| {
        (0..DIGESTS.len()).find_map(|n| {
            let row = mixed.scene.world.row_of(&key(n))?;
            (row.state == State::Blocked && row.cause.is_none()).then(|| DIGESTS[n].to_owned())
        })
    }),
    (
        "The gate answers what the next reconcile would do, and changes nothing",
        |mixed| mixed.let_through.borrow().first().cloned(),
    ),
    ("A release has a name, an alert and an end", |mixed| {
        let sent = mixed.scene.world.sent();
        let told = |n: usize| {
            let of = format!(r#""digest":"{}""#, key(n).digest);
            sent.iter()
                .any(|sent| sent.message.default.contains(&of) && sent.message.default.contains("alice"))
        };
        let released = mixed.released.borrow();
        let silent = released.iter().find(|n| !told(**n));
        silent.map(|n| format!("nobody was told of the release of {}", DIGESTS[*n]))
    }),
];

fn check(mixed: &Mixed<'_>) -> Result<(), String> {
    for (name, contradicts) in INVARIANTS {
        if let Some(what) = contradicts(mixed) {
            return Err(format!("{name}: {what}"));
        }
    }
    Ok(())
}

fn explore(choices: &mut Choices, story: &mut Story, policies: &[Policy]) -> Result<(), String> {
    let policy = choices.pick(policies);
    let mixed = Mixed::new(Scene::new(choices.world(), policy), choices);
    let scene = &mixed.scene;
    if choices.one_in(3) {
        let seconds = *choices.pick(&[20, 100]);
        scene.world.show_late(SignedDuration::from_secs(seconds));
        story.line(|| format!("ECR shows a change {seconds} seconds late"));
    }
    let mut acts = Vec::new();
    for actor in ACTORS {
        let times = choices.below(3);
        story.count("actors", usize::from(times > 0));
        for _ in 0..times {
            mixed.acts(actor, &mut acts, choices);
        }
    }
    play(&scene.world, &acts, choices, story);
    check(&mixed)?;
    scene.world.show_late(SignedDuration::ZERO);
    for kind in &KINDS {
        scene.fails(kind, false);
    }
    // An event that was lost is delivered again, at last by hand.
    mixed.later(1);
    for (number, push) in mixed.people.pushes().into_iter().enumerate() {
        let again = on_push(&scene.world, scene.policy, push, format!("again-{number}"));
        if let Err(error) = run(scene.attempt(again)) {
            story.line(|| format!("delivered again: {error}"));
        }
    }
    for _ in 0..2 {
        mixed.later(1);
        run(scene.run()).unwrap();
        sweep(&scene.world, scene.policy);
        story.line(|| format!("after a sweep: {}", scene.end()));
    }
    check(&mixed)?;
    if let Some(wrong) = mixed.people.untold(&scene.world) {
        return Err(format!("No image and no tag is lost in silence: {wrong}"));
    }
    for (n, digest) in DIGESTS.iter().enumerate() {
        // Without people at its tags, a mark that stays is a block that stays.
        let is_taken = if mixed.people.have_acted() {
            scene.is_withheld(n)
        } else {
            scene.is_taken(n)
        };
        if scene.is_used(n, true) && is_taken {
            return Err(format!("what runs cannot be pulled in the end: {digest}"));
        }
    }
    // A day later no release is in force, and every image had its turn.
    mixed.later(26);
    run(scene.run()).unwrap();
    sweep(&scene.world, scene.policy);
    let whole = Sweep {
        since: Some(scene.world.now() - HOUR * 25),
        ..a_sweep(&scene.world)
    };
    run(scene.sweep(whole)).unwrap();
    // Where one block is allowed in an hour, each image waits for an hour of its own.
    for _ in 0..2 {
        mixed.later(1);
        run(scene.run()).unwrap();
        sweep(&scene.world, scene.policy);
    }
    story.line(|| format!("a day later: {}", scene.end()));
    let is_clean = *mixed.is_clean.borrow();
    for (n, digest) in DIGESTS.iter().enumerate() {
        let is_free = is_clean && n == 0 || scene.world.image_of(&key(n)).is_none();
        if !scene.is_used(n, false) && !scene.is_taken(n) && n != 2 && !is_free {
            return Err(format!("nobody uses it, and it is not blocked in the end: {digest}"));
        }
        story.count("blocked in the end", usize::from(scene.is_taken(n)));
    }
    let is_there = |n: usize| scene.world.image_of(&key(n)).is_some();
    if scene.is_taken(2) && !scene.is_taken(1) && is_there(1) {
        return Err("An image that indexes reference follows them: c0 is taken away and its index is not".to_owned());
    }
    check(&mixed)?;
    mixed.later(1);
    run(scene.run()).unwrap();
    sweep(&scene.world, scene.policy);
    let (sent, calls) = (scene.world.sent().len(), scene.world.calls_made());
    sweep(&scene.world, scene.policy);
    let changes = scene
        .world
        .calls()
        .iter()
        .skip(calls)
        .filter(|call| call.mutates)
        .count();
    if changes > 0 || scene.world.sent().len() > sent {
        return Err(format!(
            "A plan carried out leaves nothing to do: {changes} changes by a second sweep"
        ));
    }
    check(&mixed)
}

fn policies() -> Vec<Policy> {
    let rules = [
        "",
        r#""repositories": [{"match": "*", "tags": {"allowed": ["v1", "v2", "multi", "stable", "chart"], "on_violation": "untag"}}],"#,
    ];
    let of = |method: &str, rules: &str, limit: u32| {
        policy(&format!(
            r#"{rules} "block": {{"method": "{method}", "max_blocks_per_hour": {limit}, "workloads": {{"sources": ["ecs", "lambda"]}}}},
               "release": {{"allow": true, "max_hours": 72, "principals": ["arn:aws:iam::123456789012:role/oncall-*"], "repositories": ["*"]}}"#
        ))
    };
    let mut policies = Vec::new();
    for method in METHODS {
        for rules in rules {
            policies.extend([1_000, 1_000, 1].map(|limit| of(method, rules, limit)));
        }
    }
    policies
}

/// ECR deletes an image with its last tag: the mark stays, and that is no block.
#[test]
fn an_image_whose_tags_others_have_is_let_go_with_our_mark() {
    let policy = policy(r#""block": {"method": "quarantine-tag", "workloads": {"sources": ["ecs", "lambda"]}}"#);
    let scene = Scene::new(World::new(), &policy);
    run(scene.run()).unwrap();
    sweep(&scene.world, &policy);
    assert!(scene.is_withheld(0));
    let other = Pushable::single(ImageKey {
        digest: CLEAN[0].parse().unwrap(),
        ..image_key()
    });
    let tag = "v1".parse().unwrap();
    scene
        .world
        .put_image(&other.key, other.image, &other.manifest, Some(&tag))
        .unwrap();
    scene.start(0, &KINDS[0], Phase::Running);
    run(scene.event(0)).unwrap();
    sweep(&scene.world, &policy);
    assert!(scene.is_taken(0) && !scene.is_withheld(0));
    let row = scene.world.row_of(&key(0)).unwrap();
    assert!(row.reason.contains("It keeps the tag `blocked-a1`"), "{}", row.reason);
}

#[test]
fn whoever_acts_the_invariants_hold() {
    let policies = policies();
    Exploration::new("mixed", 2_000)
        .run(|choices, story| explore(choices, story, &policies))
        .assert_none();
}

#[test]
fn the_mixed_actors_find_what_is_left_out() {
    let policies = policies();
    Exploration::new("mixed", 1_500).find_planted(|choices, story| explore(choices, story, &policies));
}
