//! The settings that an entry of the policy chooses for its repositories: mode, and how images are blocked.

use super::*;
use crate::testing::sweep;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The image in a repository of this name.
fn in_repository(name: &str) -> ImageKey {
    ImageKey {
        repository: name.parse().unwrap(),
        ..image_key()
    }
}

/// The same image with a finding that blocks, in two repositories.
fn two_repositories() -> (World, ImageKey, ImageKey) {
    let (api, web) = (in_repository("team/api"), in_repository("team/web"));
    let world = World::new();
    world.list_scans();
    for key in [&api, &web] {
        world.push(key, image(key));
        world.complete_scan(key, scan(vec![finding("CVE-2026-1", Severity::Critical)]));
    }
    (world, api, web)
}

fn states(world: &World, keys: [&ImageKey; 2]) -> [(State, ImageStatus); 2] {
    keys.map(|key| (world.row_of(key).unwrap().state, world.image_of(key).unwrap().status))
}

#[test]
fn enforcing_begins_with_the_repositories_that_the_policy_names() {
    let (world, api, web) = two_repositories();
    let first = policy_in(
        "report",
        r#""repositories": [{"match": "team/api", "mode": "enforce"}]"#,
    );
    sweep(&world, &first);
    let reported = (State::BlockDeferred, ImageStatus::Active);
    let blocked = (State::Blocked, ImageStatus::Archived);
    assert_eq!(states(&world, [&api, &web]), [blocked.clone(), reported.clone()]);
    let reason = |key| world.row_of(key).unwrap().reason;
    let reported_only = "It is not blocked: the policy is in report mode, in which nothing is changed.";
    assert!(reason(&web).ends_with(reported_only), "{}", reason(&web));
    assert_eq!(
        told(&world).into_iter().collect::<BTreeSet<_>>(),
        ["image-blocked".to_owned(), "block-deferred".to_owned()].into()
    );

    // A sweep reconciles images that the next policy decides otherwise: no event is needed.
    world.set_now(now() + HOUR);
    sweep(
        &world,
        &policy_in("report", r#""repositories": [{"match": "team/*", "mode": "enforce"}]"#),
    );
    assert_eq!(states(&world, [&api, &web]), [blocked.clone(), blocked.clone()]);

    // An image that is blocked in a repository of report mode stays blocked: nothing is changed there.
    world.set_now(now() + HOUR * 2);
    world.forget_calls();
    let excepting = r#""repositories": [{"match": "team/api", "mode": "report"}], "exceptions": [{"vulnerability": "*",
        "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#;
    sweep(&world, &policy(excepting));
    assert_eq!(states(&world, [&api, &web])[0], blocked);
    assert_ne!(states(&world, [&api, &web])[1].1, ImageStatus::Archived);
}

#[test]
fn an_entry_may_only_report_where_all_others_enforce() {
    let (world, api, web) = two_repositories();
    sweep(
        &world,
        &policy(r#""repositories": [{"match": "team/web", "mode": "report"}, {"match": "*"}]"#),
    );
    assert_eq!(
        states(&world, [&api, &web]),
        [
            (State::Blocked, ImageStatus::Archived),
            (State::BlockDeferred, ImageStatus::Active)
        ]
    );
    let reason = world.row_of(&web).unwrap().reason;
    let here = "It is not blocked: the policy is in report mode for this repository, in which nothing is changed.";
    assert!(reason.ends_with(here), "{reason}");
}

#[test]
fn nothing_is_asked_of_the_writer_where_the_policy_only_reports() {
    let (world, _, web) = two_repositories();
    world.set_scan(&web, Scan::Absent);
    world.set_trigger(&web.repository, ScanTrigger::Manual);
    let policy = policy_in(
        "report",
        r#""repositories": [{"match": "team/api", "mode": "enforce"}]"#,
    );
    let pushed = Request {
        repository: web.repository.clone(),
        hints: arrived(Way::Pushed(None)),
        ..request("one")
    };
    run(look(&world, &policy, &pushed)).unwrap();
    let asked = world.calls().iter().any(|call| call.operation == "ecr:StartImageScan");
    assert!(!asked, "no scan is asked for");
}

#[test]
fn an_entry_chooses_how_its_images_are_blocked() {
    let (world, api, web) = two_repositories();
    let entry =
        |method: &str| format!(r#""repositories": [{{"match": "team/web", "block": {{"method": "{method}"}}}}]"#);
    sweep(&world, &policy(&entry("flag")));
    assert_eq!(
        states(&world, [&api, &web]),
        [
            (State::Blocked, ImageStatus::Archived),
            (State::Blocked, ImageStatus::Active)
        ]
    );
    world.set_now(now() + HOUR);
    sweep(&world, &policy(&entry("archive")));
    assert_eq!(
        states(&world, [&api, &web])[1].1,
        ImageStatus::Archived,
        "a stronger method is applied"
    );
}

#[test]
fn an_entry_chooses_what_counts_as_in_use() {
    let pulled = now() - HOUR * (24 * 20);
    for (block, expected) in [
        (r#"{"in_use_days": 30}"#, State::BlockDeferred),
        (r#"{"in_use_days": 10}"#, State::Blocked),
        (r#"{"in_use_days": 30, "when_in_use": "block"}"#, State::Blocked),
    ] {
        let (world, api, _) = two_repositories();
        let entry = Image {
            last_pulled_at: Some(pulled),
            ..image(&api)
        };
        world.push(&api, entry);
        sweep(
            &world,
            &policy(&format!(
                r#""repositories": [{{"match": "team/api", "block": {block}}}]"#
            )),
        );
        assert_eq!(world.row_of(&api).unwrap().state, expected, "{block}");
    }
}
