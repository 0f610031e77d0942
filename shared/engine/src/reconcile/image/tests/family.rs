//! Families: indexes that share images, in any order of events. The first user of the explorer.
//!
//! In whatever order functions get events, and whichever of them are lost, repeated, cut off or interrupted: two sweeps later
//! the state is the same as if all had come in order and one at a time. No image is in the archive whose parent index is not
//! blocked; an image that must not be deployed, and that nobody uses, is.

use std::collections::BTreeMap;

use super::*;
use crate::testing::sweep;
use guard_ports::Clock as _;
use guard_testkit::explore::{Act, Choices, Exploration, Running, Story, play};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The findings of a scanner in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Critical,
    High,
    Clean,
    Unsupported,
}

/// When an image was pushed, and whether it was pulled since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Pushed a minute ago, never pulled.
    Young,
    /// Pushed a minute ago, pulled at once.
    YoungPulled,
    /// Pushed long ago, pulled an hour ago.
    Pulled,
    /// Pushed long ago, last pulled longer ago than counts.
    PulledLongAgo,
    /// Pushed long ago, no pull is recorded: nobody can know.
    Unknown,
}

#[derive(Debug)]
struct Leaf {
    key: ImageKey,
    tag: Option<Tag>,
    truth: Truth,
    used: Use,
}

#[derive(Debug)]
struct Index {
    key: ImageKey,
    tag: Tag,
    leaves: Vec<usize>,
    used: Use,
}

/// Indexes, and their children.
#[derive(Debug)]
struct Family {
    leaves: Vec<Leaf>,
    indexes: Vec<Index>,
    policy: Policy,
    /// An image that is no worse than the running one is not blocked. The running one is the one that was evaluated before, so
    /// the order matters: then the only condition is that no image is in the archive under an index that is not.
    not_worse: bool,
    /// The order of lists, how much is on a page, and whether members that ECR need not give are left out now and then.
    answers: (u64, usize, bool),
    /// All of it was there before the first event came: the first roll-out over a registry.
    standing: bool,
}

impl Family {
    fn new(choices: &mut Choices) -> Self {
        let truths = [Truth::Critical, Truth::Clean, Truth::High, Truth::Unsupported];
        let uses = [
            Use::Young,
            Use::Young,
            Use::Young,
            Use::YoungPulled,
            Use::Pulled,
            Use::PulledLongAgo,
            Use::Unknown,
        ];
        let leaves: Vec<Leaf> = (0..1 + choices.below(4))
            .map(|number| Leaf {
                key: key(&format!("sha256:{}", "abcd".chars().nth(number).unwrap())),
                // As `docker manifest create` wants it; BuildKit gives none.
                tag: choices.one_in(4).then(|| format!("v-{number}").parse().unwrap()),
                truth: *choices.pick(&truths),
                used: *choices.pick(&uses),
            })
            .collect();
        let indexes = (1..=1 + choices.below(3))
            .map(|number| Index {
                key: key(&format!("sha256:{number}")),
                tag: format!("v{number}").parse().unwrap(),
                leaves: {
                    let mut places: Vec<usize> = (0..leaves.len()).collect();
                    choices.shuffle(&mut places);
                    places.truncate(1 + choices.below(leaves.len()));
                    places.sort_unstable();
                    places
                },
                used: *choices.pick(&uses),
            })
            .collect();
        let not_worse = choices.one_in(5);
        Self {
            leaves,
            indexes,
            policy: policy(&format!(
                r#""block": {{"max_blocks_per_hour": 1000, "not_worse_than_running": {not_worse}}}"#
            )),
            not_worse,
            answers: (choices.below(1000) as u64, 1 + choices.below(4), choices.one_in(2)),
            standing: choices.one_in(3),
        }
    }

    fn tell(&self, story: &mut Story) {
        for Leaf { key, tag, truth, used } in &self.leaves {
            let name = key.digest.short();
            story.line(|| {
                format!(
                    "image {name}: {truth:?}, {used:?}, tag {:?}",
                    tag.as_ref().map(Tag::as_str)
                )
            });
        }
        for index in &self.indexes {
            let leaves: Vec<&str> = index
                .leaves
                .iter()
                .map(|leaf| self.leaves[*leaf].key.digest.short())
                .collect();
            story.line(|| {
                let Index { key, tag, used, .. } = index;
                format!(
                    "index {} ({tag}), {used:?}: leads to {}",
                    key.digest.short(),
                    leaves.join(", ")
                )
            });
        }
        story.line(|| format!("order of lists, on a page, with members left out: {:?}", self.answers));
        story.line(|| format!("not worse than what runs is not blocked: {}", self.not_worse));
        story.line(|| format!("everything was there before the first event: {}", self.standing));
    }

    fn push_leaf(&self, world: &World, place: usize) {
        let leaf = &self.leaves[place];
        world.push(&leaf.key, entry(&leaf.key, leaf.tag.as_slice(), leaf.used));
        world.set_manifest(
            &leaf.key,
            r#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": []}"#,
        );
        // An old image was scanned long ago.
        if !matches!(leaf.used, Use::Young | Use::YoungPulled) {
            self.scan(world, place);
        }
    }

    /// A client pushes again what it cannot find: an image that is in the archive.
    fn push_index(&self, world: &World, place: usize) {
        let index = &self.indexes[place];
        let mut manifests = Vec::new();
        for leaf in &index.leaves {
            let key = &self.leaves[*leaf].key;
            if world.image_of(key).unwrap().status != ImageStatus::Active {
                world.push_again(key, world.now());
            }
            manifests.push(format!(
                r#"{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{}",
                    "platform": {{"os": "linux", "architecture": "{}"}}}}"#,
                key.digest,
                key.digest.short()
            ));
        }
        let image = Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            ..entry(&index.key, std::slice::from_ref(&index.tag), index.used)
        };
        world.push(&index.key, image);
        world.set_manifest(&index.key, &format!(r#"{{"manifests": [{}]}}"#, manifests.join(",")));
    }

    /// The scanner ends its work on what can be pulled and has no result.
    fn scan(&self, world: &World, place: usize) {
        let leaf = &self.leaves[place];
        let image = world.image_of(&leaf.key).unwrap();
        if image.status == ImageStatus::Active {
            world.set_scan(&leaf.key, result(leaf.truth));
        }
    }

    /// The changes that ECR and the scanner make by themselves in an hour.
    fn an_hour(&self, world: &World) {
        world.set_now(world.now() + SignedDuration::from_hours(1));
        for index in &self.indexes {
            world.finish_restore(&index.key);
        }
        for (place, leaf) in self.leaves.iter().enumerate() {
            world.finish_restore(&leaf.key);
            self.scan(world, place);
        }
    }

    /// Everything happens, in the order of these choices; then two sweeps.
    fn run(&self, events: bool, choices: &mut Choices, story: &mut Story) -> Result<BTreeMap<String, String>, String> {
        let world = choices.world();
        world.set_now(now());
        let (order, on_a_page, thin) = self.answers;
        world.mix(order);
        world.set_page_size(on_a_page);
        if thin {
            world.thin_out(order);
        }
        let (family, world) = (self, &world);
        if self.standing {
            for place in 0..self.leaves.len() {
                self.push_leaf(world, place);
                self.scan(world, place);
            }
            for place in 0..self.indexes.len() {
                self.push_index(world, place);
            }
        }
        let mut acts: Vec<Act<'_>> = Vec::new();
        for place in 0..self.leaves.len() {
            let name = self.leaves[place].key.digest.short();
            let pushed = acts.len();
            if !self.standing {
                acts.push(Act::deed(format!("push of {name}"), move || {
                    family.push_leaf(world, place)
                }));
                acts.push(Act::deed(format!("scan of {name}"), move || family.scan(world, place)).after(&[pushed]));
            }
            let key = &self.leaves[place].key;
            let of_push = Act::event(format!("on-push {name}"), move || {
                family.look(
                    world,
                    key,
                    arrived(Way::Pushed(family.leaves[place].tag.clone())),
                    &format!("push {name}"),
                )
            });
            let announced = Hints {
                announced: Some(ScanEvent {
                    at: jiff::Timestamp::MAX,
                    counts: SeverityCounts::default(),
                    total: None,
                }),
                ..Hints::default()
            };
            let of_scan = Act::event(format!("on-scan {name}"), move || {
                family.look(world, key, announced.clone(), &format!("scan {name}"))
            });
            if self.standing {
                acts.extend([of_push, of_scan]);
            } else {
                acts.extend([of_push.after(&[pushed]), of_scan.after(&[pushed + 1])]);
            }
        }
        let leaves = acts.len();
        for place in 0..self.indexes.len() {
            let index = &self.indexes[place];
            let name = index.key.digest.short();
            let pushed = acts.len();
            let of_push = Act::event(format!("on-push {name}"), move || {
                family.look(
                    world,
                    &index.key,
                    arrived(Way::Pushed(Some(index.tag.clone()))),
                    &format!("push {name}"),
                )
            });
            if self.standing {
                acts.push(of_push);
            } else {
                let before: Vec<usize> = (0..leaves).step_by(4).collect();
                acts.push(Act::deed(format!("push of {name}"), move || family.push_index(world, place)).after(&before));
                acts.push(of_push.after(&[pushed]));
            }
        }
        if events {
            play(world, &acts, choices, story);
        } else {
            for place in 0..self.leaves.len() {
                self.push_leaf(world, place);
            }
            for place in 0..self.indexes.len() {
                self.push_index(world, place);
            }
        }
        for _ in 0..2 {
            self.an_hour(world);
            sweep(world, &self.policy);
            story.line(|| format!("{} sweep: {:?}", world.now(), self.end(world)));
        }
        self.an_hour(world);
        story.count("alerts", world.sent().len());
        self.check(world, story)?;
        // An event that comes twice has the id of one invocation: each of the two takes the lease for its own, and one of them fails.
        let failed = ["of them by a fault", "of them undone", "cut off", "repeated"].map(|what| story.counted(what));
        let failed = failed.iter().sum();
        self.check_alerts(world, failed)?;
        Ok(self.end(world))
    }

    fn look<'a>(&'a self, world: &'a World, key: &ImageKey, hints: Hints, actor: &str) -> Running<'a> {
        let request = Request {
            image: ImageRef::Digest(key.digest.clone()),
            hints,
            ..request(actor)
        };
        Box::pin(async move {
            let looked = look(world, &self.policy, &request).await;
            looked.map(drop).map_err(|error| error.to_string())
        })
    }

    /// How everything ends.
    fn end(&self, world: &World) -> BTreeMap<String, String> {
        let leaves = self.leaves.iter().map(|leaf| &leaf.key);
        let keys = leaves.chain(self.indexes.iter().map(|index| &index.key));
        keys.map(|key| {
            let image = world.image_of(key).unwrap();
            let row = world.row_of(key).filter(|row| row.closed_at.is_none());
            let state = row.map_or_else(|| "no row".to_owned(), |row| format!("{:?}", row.state));
            (key.digest.short().to_owned(), format!("{:?}, {state}", image.status))
        })
        .collect()
    }

    fn check(&self, world: &World, story: &mut Story) -> Result<(), String> {
        let archived = |key: &ImageKey| world.image_of(key).unwrap().status == ImageStatus::Archived;
        let blocked = |key: &ImageKey| world.row_of(key).is_some_and(|row| row.state == State::Blocked);
        let name = |key: &ImageKey| key.digest.short().to_owned();
        for index in &self.indexes {
            let of = format!("index {}", name(&index.key));
            let leaves: Vec<&Leaf> = index.leaves.iter().map(|leaf| &self.leaves[*leaf]).collect();
            if !blocked(&index.key) {
                if archived(&index.key) {
                    return Err(format!("an index is archived and not blocked: {of}"));
                }
                if let Some(leaf) = leaves.iter().find(|leaf| archived(&leaf.key)) {
                    let leaf = name(&leaf.key);
                    return Err(format!(
                        "an image is archived, and an index of it is not blocked: {leaf}, {of}"
                    ));
                }
                for leaf in &leaves {
                    let under = world.archived_under(&leaf.key);
                    for under in under.iter().filter(|under| under.index == index.key.digest) {
                        if leaf.tag.is_some() && !under.any_known {
                            // By its own tag it is an image by itself, as long as no index is known. To look for one before each block of a
                            // tagged image would cost two round trips in the path from the finding to the block.
                            story.count(
                                "archived by their own tag before any index was known, and brought back",
                                1,
                            );
                        } else if under.came_late {
                            // The indexes of the repository were listed for it, and this one was not there yet.
                            story.count("archived while an index was being pushed, and brought back", 1);
                        } else {
                            let leaf = name(&leaf.key);
                            return Err(format!(
                                "an image was archived under an index that was not blocked: {leaf}, {of}"
                            ));
                        }
                    }
                }
            }
            let bad = leaves.iter().any(|leaf| leaf.truth == Truth::Critical);
            // A pull of any of them counts for all. Where there was none, and the index is old, nobody can know; an old pull says that
            // pulls are recorded.
            let used = match index.used {
                Use::Pulled | Use::YoungPulled => true,
                _ if leaves
                    .iter()
                    .any(|leaf| matches!(leaf.used, Use::Pulled | Use::YoungPulled)) =>
                {
                    true
                }
                Use::Unknown => leaves.iter().all(|leaf| leaf.used != Use::PulledLongAgo),
                Use::Young | Use::PulledLongAgo => false,
            };
            match (archived(&index.key), bad && !used) {
                (false, true) if self.not_worse => {}
                (true, false) => return Err(format!("an index is archived, though it is in use or clean: {of}")),
                (false, true) => return Err(format!("an index is not archived, though nobody uses it: {of}")),
                (true, true) | (false, false) => {}
            }
        }
        for (place, leaf) in self.leaves.iter().enumerate() {
            let mut indexes = self
                .indexes
                .iter()
                .filter(|index| index.leaves.contains(&place))
                .peekable();
            let bad = leaf.truth == Truth::Critical;
            if indexes.peek().is_some() && archived(&leaf.key) != (bad && indexes.all(|index| blocked(&index.key))) {
                return Err(format!("an image is not as its indexes are: {}", name(&leaf.key)));
            }
        }
        Ok(())
    }

    /// Each blocked index was alerted about. An alert is delivered at most once more for each of the attempts that `failed`: by a fault, by somebody who undoes its change,
    /// cut off, or next to a copy of itself.
    fn check_alerts(&self, world: &World, failed: u64) -> Result<(), String> {
        let sent: Vec<Alerted> = world
            .sent()
            .iter()
            .map(|sent| Alerted::read(&sent.message.default))
            .collect();
        for index in &self.indexes {
            let blocked = world.row_of(&index.key).is_some_and(|row| row.state == State::Blocked);
            let digest = index.key.digest.as_str();
            let is_told = |alert: &Alerted| alert.digest == digest && alert.kind == AlertKind::ImageBlocked.as_str();
            if blocked && !sent.iter().any(is_told) {
                return Err(format!("an index is blocked, and nobody was alerted: index {digest}"));
            }
        }
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        for alert in &sent {
            *times.entry(&alert.id).or_default() += 1;
        }
        match times.iter().find(|(_, times)| **times > 1 + failed) {
            Some((id, times)) => Err(format!(
                "an alert was sent too often: {id}, {times} times, {failed} attempts failed"
            )),
            None => Ok(()),
        }
    }
}

/// The members of an alert that say which one it is.
struct Alerted {
    id: String,
    kind: String,
    digest: String,
}

impl Alerted {
    /// Reads them where they stand: to parse each alert would take longer than the rest of a scenario.
    fn read(text: &str) -> Self {
        let member = |name: &str| {
            let rest = text.split_once(&format!(r#""{name}":""#)).map(|(_, rest)| rest);
            let value = rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value);
            value.unwrap_or_default().to_owned()
        };
        Self {
            id: member("id"),
            kind: member("kind"),
            digest: member("digest"),
        }
    }
}

/// An image of which this is known.
fn entry(key: &ImageKey, tags: &[Tag], used: Use) -> Image {
    let (pushed, pulled) = match used {
        Use::Young => (SignedDuration::from_mins(1), None),
        Use::YoungPulled => (SignedDuration::from_mins(1), Some(SignedDuration::from_secs(30))),
        Use::Pulled => (400 * DAY, Some(SignedDuration::from_hours(1))),
        Use::PulledLongAgo => (400 * DAY, Some(300 * DAY)),
        Use::Unknown => (400 * DAY, None),
    };
    Image {
        tags: tags.to_vec(),
        pushed_at: Some(now() - pushed),
        last_pulled_at: pulled.map(|pulled| now() - pulled),
        ..image(key)
    }
}

fn result(truth: Truth) -> Scan {
    match truth {
        Truth::Critical => critical(),
        Truth::High => Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)])),
        Truth::Clean => clean(),
        Truth::Unsupported => Scan::Unavailable(NoScan::Unsupported),
    }
}

fn explore(choices: &mut Choices, story: &mut Story) -> Result<(), String> {
    let family = Family::new(choices);
    family.tell(story);
    let by_sweeps = if choices.one_in(4) {
        story.line(|| "Without any event:".to_owned());
        Some(family.run(false, &mut choices.like(Choices::plain()), story)?)
    } else {
        None
    };
    story.line(|| "With events, in order:".to_owned());
    let in_order = family.run(true, &mut choices.like(Choices::plain()), story)?;
    story.line(|| "In another order:".to_owned());
    let end = family.run(true, choices, story)?;
    for end in [by_sweeps.as_ref(), Some(&end)].into_iter().flatten() {
        if *end != in_order && !family.not_worse {
            return Err(format!("another end: {end:?}, in order {in_order:?}"));
        }
    }
    story.count("images and indexes", end.len());
    story.count(
        "archived",
        end.values().filter(|end| end.starts_with("Archived")).count(),
    );
    story.count(
        "deferred",
        end.values().filter(|end| end.contains("BlockDeferred")).count(),
    );
    Ok(())
}

#[test]
fn families_end_the_same_in_any_order() {
    Exploration::new("families", 7_000).run(explore).assert_none();
}

#[test]
fn families_find_what_is_left_out() {
    Exploration::new("families", 3_000).find_planted(explore);
}
