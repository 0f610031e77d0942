//! Families: indexes that share images. An image that an index needs is never blocked, in whatever order they are reconciled.

use super::*;
use crate::testing::sweep;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn of(key: &ImageKey, actor: &str) -> Request {
    Request {
        image: ImageRef::Digest(key.digest.clone()),
        ..request(actor)
    }
}

#[track_caller]
fn settle(world: &World, policy: &Policy, key: &ImageKey) -> Outcome {
    run(look(world, policy, &of(key, "one"))).unwrap()
}

/// Pushed a minute ago.
fn fresh(key: &ImageKey, tags: &[&str]) -> Image {
    Image {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        pushed_at: Some(now() - SignedDuration::from_mins(1)),
        ..image(key)
    }
}

fn push_index(world: &World, index: &ImageKey, tags: &[&str], children: &[&ImageKey]) {
    let manifests: Vec<String> = children
        .iter()
        .map(|key| {
            format!(
                r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "{}"}}}}"#,
                key.digest,
                key.digest.short()
            )
        })
        .collect();
    let entry = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..fresh(index, tags)
    };
    world.push(index, entry);
    world.set_manifest(index, &format!(r#"{{"manifests": [{}]}}"#, manifests.join(",")));
}

fn pulled(world: &World, key: &ImageKey) {
    let mut used = world.image_of(key).unwrap();
    used.last_pulled_at = Some(now());
    world.push(key, used);
}

fn archived(world: &World, key: &ImageKey) -> bool {
    world.image_of(key).unwrap().status == ImageStatus::Archived
}

fn state(world: &World, key: &ImageKey) -> State {
    world.row_of(key).unwrap().state
}

fn one_critical() -> Vec<Finding> {
    vec![finding("CVE-2026-1", Severity::Critical)]
}

fn child() -> ImageKey {
    key("sha256:c0")
}

/// An image that has a tag of its own and a finding that blocks, and its parent index; nothing has been reconciled yet.
fn world() -> World {
    let world = World::new();
    world.push(&child(), fresh(&child(), &["arm64-1"]));
    world.complete_scan(&child(), scan(one_critical()));
    push_index(&world, &index(), &["v1.2.3"], &[&child()]);
    world
}

#[test]
fn an_image_that_was_blocked_before_its_index_was_seen_comes_back_if_the_index_is_in_use() {
    let policy = policy("");
    for (case, by_sweep) in [("event", false), ("sweep", true)] {
        let world = world();
        pulled(&world, &index());
        settle(&world, &policy, &child());
        assert!(archived(&world, &child()), "nothing was known of an index");
        if by_sweep {
            sweep(&world, &policy);
        } else {
            settle(&world, &policy, &index());
        }
        assert_eq!(
            (state(&world, &index()), state(&world, &child())),
            (State::BlockDeferred, State::BlockDeferred),
            "{case}"
        );
        assert_eq!(
            world.image_of(&child()).unwrap().status,
            ImageStatus::Activating,
            "{case}"
        );
        world.finish_restore(&child());
        settle(&world, &policy, &child());
        assert_eq!(world.row_of(&child()).unwrap().block, None, "{case}");
        assert_eq!(
            told(&world),
            ["image-blocked", "block-deferred", "image-released"],
            "{case}: who was told of the image's block is told that it is over"
        );
        world.forget_calls();
        sweep(&world, &policy);
        for key in [child(), index()] {
            settle(&world, &policy, &key);
        }
        assert!(!archived(&world, &child()), "{case}");
        assert!(world.calls().iter().all(|call| !call.mutates), "{case}");
    }
}

#[test]
fn an_image_comes_back_for_an_index_that_an_exception_allows_by_its_tag() {
    let tagged = policy(
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "tag": "v1.*", "owner": "o", "reason": "r",
            "expires": "2026-12-31"}]"#,
    );
    // The index first: the image is never blocked, although no row of the index exists while the image is reconciled.
    let world = self::world();
    settle(&world, &tagged, &index());
    assert_eq!(
        (state(&world, &index()), state(&world, &child())),
        (State::Allowed, State::Allowed)
    );
    assert!(
        world.calls().iter().all(|call| !call.mutates),
        "it was not blocked for a moment"
    );
    assert_eq!(told(&world), [] as [&str; 0]);
    // The image first.
    let world = self::world();
    settle(&world, &tagged, &child());
    settle(&world, &tagged, &index());
    world.finish_restore(&child());
    settle(&world, &tagged, &child());
    assert_eq!(
        (state(&world, &index()), state(&world, &child())),
        (State::Allowed, State::Allowed)
    );
    assert_eq!(world.row_of(&child()).unwrap().block, None);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

#[test]
fn an_image_that_was_alerted_by_itself_and_then_blocked_with_its_index_is_released_by_both() {
    let (world, excepted) = (self::world(), policy(EXCEPTED));
    settle(&world, &policy(""), &child());
    settle(&world, &policy(""), &index());
    assert_eq!(told(&world), ["image-blocked", "image-blocked"]);
    settle(&world, &excepted, &index());
    for _ in 0..2 {
        for key in [child(), index()] {
            world.finish_restore(&key);
            settle(&world, &excepted, &key);
        }
    }
    assert_eq!(told(&world)[2..], ["image-released", "image-released"]);
    // An image that was only blocked with its index has no alert of its own.
    let world = self::world();
    settle(&world, &policy(""), &index());
    for _ in 0..3 {
        settle(&world, &excepted, &index());
        world.finish_restore(&child());
        world.finish_restore(&index());
    }
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

#[test]
fn an_image_blocked_with_one_index_comes_back_for_a_new_one_whose_block_is_deferred() {
    let policy = policy("");
    let world = world();
    settle(&world, &policy, &index());
    assert!(archived(&world, &child()));
    // The same image in a rebuilt index, which somebody has pulled before it is reconciled.
    let rebuilt = key("sha256:2d");
    push_index(&world, &rebuilt, &["v1.2.4"], &[&child()]);
    pulled(&world, &rebuilt);
    settle(&world, &policy, &rebuilt);
    assert_eq!(
        (state(&world, &rebuilt), state(&world, &index())),
        (State::BlockDeferred, State::Blocked)
    );
    assert!(!archived(&world, &child()) && archived(&world, &index()));
    // With a third one that nobody uses nothing changes, and the image is not brought back and forth.
    let third = key("sha256:3d");
    push_index(&world, &third, &["v1.2.5"], &[&child()]);
    world.finish_restore(&child());
    settle(&world, &policy, &third);
    assert_eq!(state(&world, &third), State::Blocked);
    assert!(!archived(&world, &child()));
}

#[test]
fn a_new_index_that_is_blocked_as_well_does_not_bring_its_image_back_for_a_moment() {
    let policy = policy("");
    let world = world();
    settle(&world, &policy, &index());
    let rebuilt = key("sha256:2d");
    push_index(&world, &rebuilt, &["v1.2.4"], &[&child()]);
    world.forget_calls();
    settle(&world, &policy, &rebuilt);
    assert_eq!(state(&world, &rebuilt), State::Blocked);
    let changes = world.calls().iter().filter(|call| call.mutates).count();
    assert_eq!(
        (changes, archived(&world, &child())),
        (1, true),
        "only the index is archived"
    );
}

#[test]
fn an_index_whose_block_was_only_begun_does_not_take_its_images_with_it() {
    let policy = policy("");
    let world = world();
    world.complete_scan(&child(), scan(vec![]));
    settle(&world, &policy, &index());
    world.complete_scan(&child(), scan(one_critical()));
    // The index is claimed, and the call fails; then somebody deploys it.
    world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Later));
    run(look(&world, &policy, &of(&child(), "one"))).unwrap_err();
    pulled(&world, &index());
    world.set_now(now() + HOUR);
    settle(&world, &policy, &child());
    assert_eq!(
        (state(&world, &index()), state(&world, &child())),
        (State::BlockDeferred, State::BlockDeferred)
    );
    assert!(!archived(&world, &index()) && !archived(&world, &child()));
}

/// The contents of a repository before the first reconcile.
#[derive(Debug, Clone)]
struct Family {
    /// For each image: its findings (none, to review, to block, not scannable), and when it was pulled, in days before now.
    images: Vec<(u8, Option<i32>)>,
    /// For each index: its children, as bits; when it was pulled; whether an exception names its tag.
    indexes: Vec<(u8, Option<i32>, bool)>,
    /// Their age in days.
    age: i32,
    policy: &'static str,
    when_in_use: &'static str,
}

/// The order of reconciles: which entry, after how many polls the reconcile is cut short, and whether its scan comes only then.
type Order = Vec<(u8, Option<u8>, bool)>;

impl Family {
    fn image(number: usize) -> ImageKey {
        key(&format!("sha256:{number:02}c"))
    }

    fn index(number: usize) -> ImageKey {
        key(&format!("sha256:{number:02}d"))
    }

    fn scan(&self, number: usize) -> Scan {
        let id = format!("CVE-2026-{number}");
        match self.images[number].0 % 4 {
            0 => clean(),
            1 => Scan::Complete(scan(vec![finding(&id, Severity::High)])),
            2 => Scan::Complete(scan(vec![finding(&id, Severity::Critical)])),
            _ => Scan::Unavailable(NoScan::Failed),
        }
    }

    fn children(&self, index: usize) -> Vec<usize> {
        let bits = self.indexes[index].0;
        let all: Vec<usize> = (0..self.images.len())
            .filter(|image| bits & (1 << image) != 0)
            .collect();
        if all.is_empty() { vec![0] } else { all }
    }

    fn keys(&self) -> Vec<ImageKey> {
        let images = (0..self.images.len()).map(Self::image);
        images.chain((0..self.indexes.len()).map(Self::index)).collect()
    }

    fn policy(&self) -> Policy {
        let tags: Vec<String> = (0..self.indexes.len())
            .filter(|index| self.indexes[*index].2)
            .map(|index| {
                format!(
                    r#"{{"vulnerability": "*", "repositories": ["*"], "tag": "v{index}", "owner": "o", "reason": "r", "expires": "2026-12-31"}}"#
                )
            })
            .collect();
        policy(&format!(
            r#""block": {{"method": "{}", "when_in_use": "{}", "max_blocks_per_hour": 1000}}, "exceptions": [{}]"#,
            self.policy,
            self.when_in_use,
            tags.join(",")
        ))
    }

    fn world(&self) -> World {
        let world = World::new();
        let pushed = now() - DAY * self.age - HOUR;
        let entry = |entry: Image, pulled: Option<i32>| Image {
            pushed_at: Some(pushed),
            last_pulled_at: pulled.map(|days| now() - DAY * days),
            ..entry
        };
        for (number, (_, pulled)) in self.images.iter().enumerate() {
            let key = Self::image(number);
            world.push(&key, entry(fresh(&key, &[]), *pulled));
        }
        for (number, (_, pulled, _)) in self.indexes.iter().enumerate() {
            let key = Self::index(number);
            let children: Vec<ImageKey> = self.children(number).into_iter().map(Self::image).collect();
            push_index(
                &world,
                &key,
                &[&format!("v{number}")],
                &children.iter().collect::<Vec<_>>(),
            );
            world.push(&key, entry(world.image_of(&key).unwrap(), *pulled));
        }
        world
    }

    /// Reconciles entries in this order, then sweeps twice. The result is the ledger and the registry in the end.
    fn live(&self, order: &Order) -> (World, Vec<(State, bool)>) {
        let (world, policy) = (self.world(), self.policy());
        let keys = self.keys();
        let late: BTreeSet<usize> = order
            .iter()
            .filter(|one| one.2)
            .map(|one| usize::from(one.0) % keys.len())
            .collect();
        for number in (0..self.images.len()).filter(|number| !late.contains(number)) {
            world.set_scan(&Self::image(number), self.scan(number));
        }
        for (minute, (which, cut, _)) in (1..).zip(order) {
            world.set_now(now() + SignedDuration::from_mins(minute));
            let number = usize::from(*which) % keys.len();
            if number < self.images.len() && world.image_of(&keys[number]).unwrap().status == ImageStatus::Active {
                world.set_scan(&keys[number], self.scan(number));
            }
            let request = of(&keys[number], "an event");
            let polls = cut.map_or(usize::MAX, usize::from);
            let _ = run_and_crash(look(&world, &policy, &request), polls);
        }
        for (number, key) in keys.iter().enumerate().take(self.images.len()) {
            if world.row_of(key).is_none_or(|row| row.block.is_none()) {
                world.set_scan(key, self.scan(number));
            }
        }
        for hours in 1..=2 {
            world.set_now(now() + HOUR * hours);
            sweep(&world, &policy);
            for key in &keys {
                world.finish_restore(key);
            }
        }
        let end = keys
            .iter()
            .map(|key| (state(&world, key), archived(&world, key)))
            .collect();
        (world, end)
    }
}

/// An exception for the tag of one index takes the finding out of the image. For another index of the image the finding counts, also where that index
/// could not be evaluated before.
#[test]
fn a_finding_that_is_excepted_for_one_index_counts_for_the_other_after_a_sweep() {
    let family = Family {
        images: vec![(1, None), (3, None)],
        indexes: vec![(3, None, false), (3, None, true)],
        age: 0,
        policy: "archive",
        when_in_use: "hold",
    };
    let (_, by_sweeps) = family.live(&Order::new());
    assert_eq!(by_sweeps[2], (State::Review, false));
    // Both indexes come first, then the scan; its invocation ends after the row of the image.
    for polls in 0..30 {
        let order = vec![(2, None, false), (3, None, false), (0, Some(polls), true)];
        assert_eq!(family.live(&order).1, by_sweeps, "{polls} polls");
    }
}

fn a_family() -> impl Strategy<Value = Family> {
    let pulled = || prop_oneof![4 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(100))];
    (
        proptest::collection::vec((0..4u8, pulled()), 1..4),
        proptest::collection::vec((1..8u8, pulled(), proptest::bool::weighted(0.2)), 1..4),
        prop_oneof![Just(0), Just(40)],
        prop_oneof![3 => Just("archive"), 1 => Just("quarantine-tag"), 1 => Just("flag")],
        prop_oneof![3 => Just("hold"), 1 => Just("block")],
    )
        .prop_map(|(images, indexes, age, policy, when_in_use)| Family {
            images,
            indexes,
            age,
            policy,
            when_in_use,
        })
}

fn an_order() -> impl Strategy<Value = Order> {
    let cut = prop_oneof![3 => Just(None), 1 => (0..60u8).prop_map(Some)];
    proptest::collection::vec((any::<u8>(), cut, proptest::bool::weighted(0.3)), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn in_every_order_a_family_ends_the_same_and_no_image_is_kept_from_an_index_that_needs_it(
        family in a_family(),
        one in an_order(),
        other in an_order(),
    ) {
        let (world, end) = family.live(&one);
        let (_, end_of_other) = family.live(&other);
        for number in 0..family.indexes.len() {
            let row = world.row_of(&Family::index(number)).unwrap();
            for child in family.children(number) {
                let key = Family::image(child);
                prop_assert!(
                    row.state == State::Blocked || !archived(&world, &key),
                    "index {number} is {:?} ({}), and image {child} is in the archive: {:?}",
                    row.state, row.reason, world.row_of(&key)
                );
            }
        }
        prop_assert_eq!(end, end_of_other);
        let (policy, keys) = (family.policy(), family.keys());
        for key in &keys {
            run(look(&world, &policy, &of(key, "one"))).unwrap();
        }
        world.forget_calls();
        for key in &keys {
            run(look(&world, &policy, &of(key, "one"))).unwrap();
        }
        prop_assert_eq!(world.writes(), 0);
    }
}
