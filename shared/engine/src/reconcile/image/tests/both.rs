//! Who keeps the index of workloads and who blocks images, at the same time, each cut off or interrupted at any call.
//!
//! Workloads start and stop, deployments leave revisions to go back to, pages fail, events get lost or come late, hours pass.
//! No image is taken away that a workload runs, is about to run or goes back to, by the index right before; nor one whose index
//! is not complete; nor one that a run or an event has reported as used. In the end an image that runs can be pulled, and an
//! image that nobody uses any more is blocked.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    task::{Context, Poll},
};

use super::*;
use crate::{
    refused_pull::Refused,
    sweep::Sweep,
    testing::{a_sweep, enqueue_known, sweep, work_in},
    workloads::Index,
};
use guard_core::{
    ids::RegistryKey,
    uses::{GRACE, Phase, SourceKind, Uses, Via, Workload, WorkloadKind, WorkloadRules, WorkloadSource},
};
use guard_ports::Seen;
use guard_testkit::{
    Taken,
    explore::{Act, Choices, Exploration, Running, Story, play},
    registry_key,
};

pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(super) const KINDS: [SourceKind; 2] = [SourceKind::Ecs, SourceKind::Lambda];
pub(super) const PHASES: [Phase; 3] = [Phase::Running, Phase::Desired, Phase::Rollback];
pub(super) const METHODS: [&str; 2] = ["archive", "quarantine-tag"];

/// An image by itself, an index, and a child of the index.
pub(super) const DIGESTS: [&str; 3] = ["sha256:a1", "sha256:1d", "sha256:c0"];

pub(super) fn key(n: usize) -> ImageKey {
    ImageKey {
        digest: DIGESTS[n].parse().unwrap(),
        ..image_key()
    }
}

/// The manifest of the index.
pub(super) fn manifest() -> String {
    let child = DIGESTS[2];
    format!(r#"{{"manifests": [{{"digest": "{child}", "platform": {{"architecture": "arm64", "os": "linux"}}}}]}}"#)
}

/// The images that are pulled together.
fn family(image: &ImageKey) -> Vec<ImageKey> {
    if *image == key(0) {
        return vec![image.clone()];
    }
    let mut family = vec![key(1), key(2)];
    family.sort_by_key(|member| member != image);
    family
}

fn source(kind: &SourceKind) -> WorkloadSource {
    let RegistryKey { account, region } = registry_key();
    WorkloadSource {
        account,
        region,
        kind: kind.clone(),
    }
}

/// A workload, as it really is.
#[derive(Debug, Clone)]
pub(super) struct Job {
    image: ImageKey,
    workload: Workload,
    /// The tick at which it started.
    since: u64,
    stopped: Option<Timestamp>,
    /// The tick since which a run or an event has reported it.
    known: Option<u64>,
}

/// All that a scenario is about.
pub(super) struct Scene<'a> {
    pub(super) world: World,
    pub(super) policy: &'a Policy,
    pub(super) jobs: RefCell<Vec<Job>>,
    attempts: Cell<usize>,
}

/// A future, all of whose calls are those of one attempt.
struct Attempt<'a> {
    world: &'a World,
    number: usize,
    running: Running<'a>,
}

impl Future for Attempt<'_> {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.world.acts(self.number);
        self.running.as_mut().poll(context)
    }
}

impl<'s> Scene<'s> {
    pub(super) fn new(world: World, policy: &'s Policy) -> Self {
        world.set_now(now());
        for n in [0, 2] {
            let image = Image {
                tags: if n == 0 {
                    vec!["v1".parse().unwrap()]
                } else {
                    Vec::new()
                },
                ..image(&key(n))
            };
            world.push(&key(n), image);
            world.set_scan(&key(n), critical());
        }
        let index = Image {
            tags: vec!["multi".parse().unwrap()],
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            ..image(&key(1))
        };
        world.push(&key(1), index);
        world.set_manifest(&key(1), &manifest());
        Self {
            world,
            policy,
            jobs: RefCell::default(),
            attempts: Cell::default(),
        }
    }

    fn rules(&self) -> &WorkloadRules {
        self.policy.workloads.as_ref().unwrap()
    }

    fn index<'a>(&'a self, services: &'a Parts<'a>) -> Index<'a, Parts<'a>> {
        Index {
            services,
            rules: self.rules(),
            registry: registry_key(),
        }
    }

    pub(super) fn attempt<'a>(&'a self, running: Running<'a>) -> Running<'a> {
        self.attempts.set(self.attempts.get() + 1);
        Box::pin(Attempt {
            world: &self.world,
            number: self.attempts.get(),
            running,
        })
    }

    /// The present state of the accounts.
    fn show(&self) {
        for kind in &KINDS {
            let jobs = self.jobs.borrow();
            let there = jobs
                .iter()
                .filter(|job| job.stopped.is_none() && job.workload.source.kind == *kind);
            self.world.set_workloads(&source(kind), there.map(seen).collect());
        }
    }

    pub(super) fn start(&self, image: usize, kind: &SourceKind, phase: Phase) {
        let number = self.jobs.borrow().len();
        self.jobs.borrow_mut().push(Job {
            image: key(image),
            workload: Workload {
                phase,
                kind: WorkloadKind::EcsService,
                name: format!("s-{number}"),
                within: None,
                version: None,
                source: source(kind),
                via: Via::Digest,
            },
            since: self.world.ticks(),
            stopped: None,
            known: None,
        });
        self.show();
    }

    pub(super) fn stop(&self, number: usize) {
        if let Some(job) = self.jobs.borrow_mut().get_mut(number)
            && job.stopped.is_none()
        {
            job.stopped = Some(self.world.now());
        }
        self.show();
    }

    /// The workloads that were reported by now.
    fn told(&self, is_told: impl Fn(usize, &Job) -> bool) {
        let tick = self.world.ticks();
        for (number, job) in self.jobs.borrow_mut().iter_mut().enumerate() {
            if job.stopped.is_none() && is_told(number, job) {
                job.known = job.known.or(Some(tick));
            }
        }
    }

    pub(super) fn run(&self) -> Running<'_> {
        self.attempt(Box::pin(async move {
            let began = self.world.ticks();
            let services = self.world.services(self.policy);
            let index = self.index(&services);
            let indexed = index.run(&self.world).await.map_err(|error| error.to_string())?;
            if let Some(failure) = indexed.failure {
                return Err(failure.to_string());
            }
            self.told(|_, job| job.since < began && !indexed.incomplete.contains(&job.workload.source.to_string()));
            Ok(())
        }))
    }

    /// The event that a workload has started.
    pub(super) fn event(&self, number: usize) -> Running<'_> {
        self.attempt(Box::pin(async move {
            let Some(job) = self.jobs.borrow().get(number).cloned() else {
                return Ok(());
            };
            let services = self.world.services(self.policy);
            let index = self.index(&services);
            let added = index.add(vec![seen(&job)]).await;
            added.map_err(|error| error.to_string())?;
            self.told(|other, _| other == number);
            Ok(())
        }))
    }

    /// The event that a workload could not pull its image.
    pub(super) fn refused(&self, number: usize) -> Running<'_> {
        let actor = format!("refused-{}", self.attempts.get());
        self.attempt(Box::pin(async move {
            let Some(job) = self.jobs.borrow().get(number).cloned() else {
                return Ok(());
            };
            let services = self.world.services(self.policy);
            let index = self.index(&services);
            let seen = seen(&job);
            let refused = Refused {
                workload: seen.workload,
                images: vec![seen.image],
                says: "CannotPullContainerError: not found".to_owned(),
            };
            let told = index.refused(self.policy, &refused, &actor).await;
            told.map(drop).map_err(|error| error.to_string())
        }))
    }

    pub(super) fn look(&self, n: usize) -> Running<'_> {
        self.look_with(n, Hints::default())
    }

    pub(super) fn look_with(&self, n: usize, hints: Hints) -> Running<'_> {
        let actor = format!("look-{}", self.attempts.get());
        self.attempt(Box::pin(async move {
            let request = Request {
                image: ImageRef::Digest(key(n).digest),
                hints,
                ..request(&actor)
            };
            let looked = reconcile(&self.world.writing(true), self.policy, &request).await;
            looked.map(drop).map_err(|error| error.to_string())
        }))
    }

    pub(super) fn sweep(&self, sweep: Sweep) -> Running<'_> {
        let actor = format!("sweep-{}", self.attempts.get());
        self.attempt(Box::pin(async move {
            enqueue_known(&self.world, self.policy, &sweep)
                .await
                .map_err(|error| error.to_string())?;
            while let [item] = self.world.take_items(1).as_slice() {
                let (_, failures) = work_in(&self.world, self.policy, &sweep, &item.work, &actor).await;
                if !failures.is_empty() {
                    return Err(format!("{failures:?}"));
                }
            }
            Ok(())
        }))
    }

    pub(super) fn fails(&self, kind: &SourceKind, fails: bool) {
        self.world
            .fail_workloads(&source(kind), fails.then_some("ThrottlingException"));
    }

    pub(super) fn restored(&self) {
        for n in 0..DIGESTS.len() {
            self.world.finish_restore(&key(n));
        }
    }

    /// Nobody can deploy it, because of us; an image that people have deleted is none.
    pub(super) fn is_taken(&self, n: usize) -> bool {
        let Some(image) = self.world.image_of(&key(n)) else {
            return false;
        };
        let mark = quarantine_tag(&key(n).digest);
        let is_marked = mark.is_some_and(|mark| image.tags.contains(&mark));
        image.status == ImageStatus::Archived || is_marked
    }

    /// The same, but for an image that a release has left with our mark alone, because others have its tags by now: its record says that it is
    /// not blocked, and it can be pulled by its digest.
    pub(super) fn is_withheld(&self, n: usize) -> bool {
        let image = self.world.image_of(&key(n));
        let is_archived = image.is_some_and(|image| image.status == ImageStatus::Archived);
        let row = self.world.row_of(&key(n));
        let is_blocked = row.is_some_and(|row| row.state == State::Blocked || row.block.is_some());
        self.is_taken(n) && (is_archived || is_blocked)
    }

    /// Whether a workload uses it now, or runs it.
    pub(super) fn is_used(&self, n: usize, running: bool) -> bool {
        let jobs = self.jobs.borrow();
        let mut using = jobs
            .iter()
            .filter(|job| job.stopped.is_none() && family(&key(n)).contains(&job.image));
        using.any(|job| !running || job.workload.phase == Phase::Running)
    }

    /// How everything is.
    pub(super) fn end(&self) -> String {
        let of = |n: usize| {
            let Some(image) = self.world.image_of(&key(n)) else {
                return format!("{} is deleted", DIGESTS[n]);
            };
            let row = self.world.row_of(&key(n));
            let row = row.map_or_else(String::new, |row| format!("{:?}: {}", row.state, row.reason));
            format!("{} {:?} {:?} {row}", DIGESTS[n], image.status, image.tags)
        };
        (0..DIGESTS.len()).map(of).collect::<Vec<_>>().join("; ")
    }

    /// Why an image should not have been taken away.
    pub(super) fn wrong(&self, taken: &Taken) -> Option<String> {
        let image = taken.image.digest.short();
        let Some((asked, rows)) = &taken.asked else {
            return Some(format!("taken, and nobody asked who uses it: {image}"));
        };
        let Some((then, state)) = &taken.state else {
            return Some(format!("taken, and nobody asked how complete the index is: {image}"));
        };
        if taken.claimed.is_none_or(|claimed| claimed > *asked) {
            return Some(format!("taken, and nobody asked after it was claimed: {image}"));
        }
        let family = family(&taken.image);
        let uses = Uses::of(self.rules(), &family, rows, state.as_ref(), *then);
        if uses != Uses::Nobody {
            return Some(format!("taken, though the index said otherwise: {image}, {uses:?}"));
        }
        let jobs = self.jobs.borrow();
        let using = jobs.iter().find(|job| {
            let stands = job.stopped.is_none_or(|stopped| taken.at < stopped + GRACE);
            family.contains(&job.image) && stands && job.known.is_some_and(|known| known < *asked)
        });
        using.map(|job| format!("taken from a workload that was known: {image}, {job:?}"))
    }
}

fn seen(job: &Job) -> Seen {
    let image = &job.image;
    Seen {
        workload: job.workload.clone(),
        image: format!("{}.dkr.ecr.{}.amazonaws.com/{image}", image.account, image.region)
            .parse()
            .unwrap(),
    }
}

fn acts<'a>(scene: &'a Scene<'_>, choices: &mut Choices) -> Vec<Act<'a>> {
    let mut acts: Vec<Act<'a>> = Vec::new();
    acts.push(Act::message("workloads: a run", || scene.run()));
    for number in 0..choices.below(4) {
        let (image, kind, phase) = (choices.below(3), choices.pick(&KINDS).clone(), *choices.pick(&PHASES));
        let started = acts.len();
        let name = DIGESTS[image];
        // Its place among the jobs is known when it has started.
        let place = std::rc::Rc::new(Cell::new(usize::MAX));
        let of_start = place.clone();
        acts.push(Act::deed(
            format!("workload {number} of {name} starts: {phase:?}, {kind}"),
            move || {
                of_start.set(scene.jobs.borrow().len());
                scene.start(image, &kind, phase);
            },
        ));
        if choices.one_in(2) {
            let of_event = place.clone();
            let event = Act::event(format!("workloads: workload {number} starts"), move || {
                scene.event(of_event.get())
            });
            acts.push(event.after(&[started]));
        }
        if choices.one_in(2) {
            let stop = Act::deed(format!("workload {number} stops"), move || scene.stop(place.get()));
            acts.push(stop.after(&[started]));
        }
    }
    for _ in 0..choices.below(3) {
        let (kind, fails) = (choices.pick(&KINDS).clone(), choices.one_in(2));
        acts.push(Act::deed(format!("the list of {kind} fails: {fails}"), move || {
            scene.fails(&kind, fails);
        }));
    }
    for _ in 0..choices.below(4) {
        let hours = [1, 3, 13, 26][choices.below(4)];
        acts.push(Act::deed(format!("{hours} hours pass"), move || {
            scene.world.set_now(scene.world.now() + HOUR * hours);
            scene.restored();
        }));
    }
    for _ in 0..choices.below(3) {
        acts.push(Act::message("workloads: a run", || scene.run()));
    }
    for _ in 0..1 + choices.below(3) {
        let n = choices.below(3);
        acts.push(Act::event(format!("on-scan {}", DIGESTS[n]), move || scene.look(n)));
    }
    for _ in 0..choices.below(3) {
        acts.push(Act::message("sweep", || scene.sweep(a_sweep(&scene.world))));
    }
    acts
}

fn explore(choices: &mut Choices, story: &mut Story, policies: &[Policy]) -> Result<(), String> {
    let policy = choices.pick(policies);
    let scene = Scene::new(choices.world(), policy);
    let acts = acts(&scene, choices);
    play(&scene.world, &acts, choices, story);
    let taken = scene.world.taken();
    story.count("taken", taken.len());
    if let Some(wrong) = taken.iter().find_map(|taken| scene.wrong(taken)) {
        return Err(wrong);
    }
    // Lists work again, and a run and two sweeps come.
    for kind in &KINDS {
        scene.fails(kind, false);
    }
    let later = |hours: i32| {
        scene.world.set_now(scene.world.now() + HOUR * hours);
        scene.restored();
        run(scene.run()).unwrap();
        sweep(&scene.world, scene.policy);
    };
    later(1);
    for (n, digest) in DIGESTS.iter().enumerate() {
        let row = scene.world.row_of(&key(n));
        if row.is_some_and(|row| row.uses_unknown && row.state == State::BlockDeferred) {
            return Err(format!("held as unknown, though all lists are complete: {digest}"));
        }
    }
    story.line(|| format!("a sweep later: {}", scene.end()));
    later(1);
    story.line(|| format!("two sweeps later: {}", scene.end()));
    for (n, digest) in DIGESTS.iter().enumerate() {
        if scene.is_used(n, true) && scene.is_taken(n) {
            return Err(format!("what runs cannot be pulled in the end: {digest}"));
        }
        story.count("kept, because it runs", usize::from(scene.is_used(n, true)));
    }
    // A day later what nobody uses any more is blocked: by then every image had its turn.
    later(26);
    let whole = Sweep {
        since: Some(scene.world.now() - HOUR * 25),
        ..a_sweep(&scene.world)
    };
    run(scene.sweep(whole)).unwrap();
    for (n, digest) in DIGESTS.iter().enumerate() {
        if !scene.is_used(n, false) && !scene.is_taken(n) && n != 2 {
            return Err(format!("nobody uses it, and it is not blocked in the end: {digest}"));
        }
        story.count("blocked in the end", usize::from(scene.is_taken(n)));
    }
    match scene.world.taken().iter().find_map(|taken| scene.wrong(taken)) {
        Some(wrong) => Err(wrong),
        None => Ok(()),
    }
}

#[test]
fn nothing_that_is_used_is_taken_away_whoever_acts_at_the_same_time() {
    let policies = policies();
    Exploration::new("workloads", 3_000)
        .run(|choices, story| explore(choices, story, &policies))
        .assert_none();
}

#[test]
fn workloads_find_what_is_left_out() {
    let policies = policies();
    Exploration::new("workloads", 3_000).find_planted(|choices, story| explore(choices, story, &policies));
}

fn policies() -> [Policy; 2] {
    METHODS.map(|method| {
        policy(&format!(
            r#""block": {{"method": "{method}", "max_blocks_per_hour": 1000, "workloads": {{"sources": ["ecs", "lambda"]}}}}"#
        ))
    })
}
