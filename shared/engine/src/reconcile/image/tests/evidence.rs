//! Evidence that does not prove that nobody uses an image: a pull long ago, where only pulls are recorded, or where Lambda may
//! pull.

use std::{collections::BTreeMap, sync::Mutex};

use guard_core::{
    finding::Findings,
    repository::posture::{Encryption, Repository, TagMutability},
};
use guard_ports::{Clock as _, Page, Pulled, Registry};
use guard_testkit::StoredRepository;

use super::*;
use crate::testing::sweep;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The statement that Lambda writes for functions of the own account.
const OF_LAMBDA: &str = r#"{"Statement": [{"Sid": "LambdaECRImageRetrievalPolicy", "Effect": "Allow",
    "Principal": {"Service": "lambda.amazonaws.com"}, "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    "Condition": {"StringLike": {"aws:sourceArn": "arn:aws:lambda:us-west-2:123456789012:function:*"}}}]}"#;

/// An image with a finding that blocks, pushed a year ago and last pulled `days` ago; `uses` changes the scanner's answer about
/// its use.
fn pulled_days_ago(days: i64, uses: impl FnOnce(&mut Findings)) -> World {
    let mut findings = scan(vec![finding("CVE-2026-1", Severity::Critical)]);
    uses(&mut findings);
    let entry = Image {
        pushed_at: Some(now() - DAY * 365),
        last_pulled_at: Some(now() - DAY * i32::try_from(days).unwrap()),
        ..image(&image_key())
    };
    World::with(&image_key(), entry, Scan::Complete(findings))
}

fn nothing(_: &mut Findings) {}

fn unused(findings: &mut Findings) {
    findings.in_use_count = Some(0);
}

fn set_policy(world: &World, policy: Option<&str>) {
    let stored = StoredRepository {
        repository: Repository {
            arn: "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api".to_owned(),
            tag_mutability: TagMutability::Mutable,
            scan_on_push: true,
            encryption: Encryption {
                kind: "AES256".to_owned(),
                key: None,
            },
        },
        tags: BTreeMap::new(),
        policy: policy.map(str::to_owned),
        lifecycle: None,
    };
    world.create_repository(&image_key().repository, stored);
}

fn with_policy(world: &World, policy: &str) {
    set_policy(world, Some(policy));
}

fn policy_reads(world: &World) -> usize {
    let calls = world.calls();
    calls
        .iter()
        .filter(|call| call.operation == "ecr:GetRepositoryPolicy")
        .count()
}

#[test]
fn a_pull_counts_for_longer_where_the_scanner_counts_no_workloads() {
    let (default, short) = ("", r#""block": {"in_use_days": 14}"#);
    for (days, policy_members, uses, expected) in [
        (60, default, nothing as fn(&mut Findings), State::BlockDeferred),
        (89, default, nothing, State::BlockDeferred),
        (91, default, nothing, State::Blocked),
        (60, default, unused, State::Blocked),
        (13, default, unused, State::BlockDeferred),
        // The number of days in the policy counts.
        (60, short, nothing, State::Blocked),
        (13, short, nothing, State::BlockDeferred),
    ] {
        let world = pulled_days_ago(days, uses);
        let state = settle(&world, &policy(policy_members)).state;
        assert_eq!(state, Some(expected), "{days} days, {policy_members}");
    }
}

#[test]
fn an_index_is_used_as_long_as_the_least_that_is_known_of_its_images() {
    for (uses, expected) in [
        ([unused as fn(&mut Findings), unused], ImageStatus::Archived),
        ([unused, nothing], ImageStatus::Active),
    ] {
        let index = ImageKey {
            digest: "sha256:1d".parse().unwrap(),
            ..image_key()
        };
        let world = World::new();
        world.list_scans();
        let mut entries = Vec::new();
        for (digest, uses) in ["sha256:c0", "sha256:c1"].into_iter().zip(uses) {
            let child = ImageKey {
                digest: digest.parse().unwrap(),
                ..image_key()
            };
            let mut findings = scan(vec![finding("CVE-2026-1", Severity::Critical)]);
            uses(&mut findings);
            let old = Image {
                tags: Vec::new(),
                pushed_at: Some(now() - DAY * 365),
                last_pulled_at: Some(now() - DAY * 60),
                ..image(&child)
            };
            world.push(&child, old);
            world.complete_scan(&child, findings);
            entries.push(format!(
                r#"{{"digest": "{digest}", "platform": {{"os": "linux", "architecture": "arm64"}}}}"#
            ));
        }
        let old = Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            artifact_media_type: None,
            pushed_at: Some(now() - DAY * 365),
            last_pulled_at: Some(now() - DAY * 60),
            ..image(&index)
        };
        world.push(&index, old);
        world.set_manifest(&index, &format!(r#"{{"manifests": [{}]}}"#, entries.join(",")));
        sweep(&world, &policy(""));
        sweep(&world, &policy(""));
        assert_eq!(world.image_of(&index).unwrap().status, expected);
    }
}

#[test]
fn the_block_of_an_image_lambda_may_pull_is_deferred_if_it_was_ever_pulled() {
    let world = pulled_days_ago(300, unused);
    with_policy(&world, OF_LAMBDA);
    assert_eq!(settle(&world, &policy("")).state, Some(State::BlockDeferred));
    let reason = world.row_of(&image_key()).unwrap().reason;
    assert!(reason.contains("lets AWS Lambda pull"), "{reason}");
    assert_eq!(
        (told(&world), policy_reads(&world)),
        (vec!["block-deferred".to_owned()], 1)
    );
    world.forget_calls();
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);

    // The function is gone, and with it the statement.
    set_policy(&world, None);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
}

#[test]
fn whether_lambda_may_pull_is_only_asked_where_the_image_would_be_blocked_otherwise() {
    let never_pulled = world(critical());
    let pulled_lately = pulled_days_ago(5, unused);
    let harmless = pulled_days_ago(300, |findings| findings.findings.clear());
    for (world, members, expected) in [
        (&never_pulled, "", State::Blocked),
        (&pulled_lately, "", State::BlockDeferred),
        (&harmless, "", State::Allowed),
        (
            &pulled_days_ago(300, unused),
            r#""block": {"when_lambda_may_pull": "ignore"}"#,
            State::Blocked,
        ),
        (
            &pulled_days_ago(300, unused),
            r#""block": {"when_in_use": "block"}"#,
            State::Blocked,
        ),
        (
            &pulled_days_ago(300, unused),
            r#""block": {"method": "flag"}"#,
            State::Blocked,
        ),
    ] {
        with_policy(world, OF_LAMBDA);
        assert_eq!(settle(world, &policy(members)).state, Some(expected), "{members}");
        assert_eq!(policy_reads(world), 0, "{members}");
    }
}

#[test]
fn an_image_over_the_hourly_limit_does_not_cost_a_read_of_the_repository_policy_again_and_again() {
    let world = pulled_days_ago(300, unused);
    let other = ImageKey {
        digest: "sha256:01".parse().unwrap(),
        ..image_key()
    };
    world.push(&other, image(&other));
    world.set_scan(&other, critical());
    let rules = policy(r#""block": {"max_blocks_per_hour": 1, "not_worse_than_running": false}"#);
    let of_other = Request {
        image: ImageRef::Digest(other.digest),
        ..request("one")
    };
    run(look(&world, &rules, &of_other)).unwrap();
    assert_eq!(settle(&world, &rules).state, Some(State::BlockDeferred));
    assert!(world.row_of(&image_key()).unwrap().limited_until.is_some());
    world.forget_calls();
    assert_eq!(settle(&world, &rules).state, Some(State::BlockDeferred));
    assert_eq!(policy_reads(&world), 0, "it is held until the hour is over");
}

#[test]
fn what_is_not_known_of_lambda_does_not_block() {
    for (document, fault, words) in [
        ("not JSON", None, "the repository policy cannot be read"),
        (
            OF_LAMBDA,
            Some(Fault::Before(Retry::Never)),
            "ecr:GetRepositoryPolicy failed",
        ),
    ] {
        let world = pulled_days_ago(300, unused);
        with_policy(&world, document);
        if let Some(fault) = fault {
            world.fail("ecr:GetRepositoryPolicy", fault);
        }
        assert_eq!(settle(&world, &policy("")).state, Some(State::BlockDeferred));
        let reason = world.row_of(&image_key()).unwrap().reason;
        assert!(
            reason.contains("whether AWS Lambda may pull it is not known") && reason.contains(words),
            "{reason}"
        );
    }
    // A question that may be answered the next time is asked again.
    let world = pulled_days_ago(300, unused);
    world.fail("ecr:GetRepositoryPolicy", Fault::Before(Retry::Later));
    assert_eq!(
        run(look(&world, &policy(""), &request("one"))).unwrap_err().retry(),
        Retry::Later
    );
    assert_eq!(status(&world), ImageStatus::Active);
}

#[test]
fn a_search_for_more_indexes_ends_in_time_and_the_block_is_deferred() {
    let child = ImageKey {
        digest: "sha256:a6".parse().unwrap(),
        ..image_key()
    };
    let index = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..image(&image_key())
    };
    let entry = Image {
        tags: Vec::new(),
        ..image(&child)
    };
    for members in [r#""block": {"not_worse_than_running": false}"#, ""] {
        let world = World::with(&image_key(), index.clone(), Scan::NotVisible);
        world.push(&child, entry.clone());
        world.complete_scan(&child, scan(vec![finding("CVE-2026-1", Severity::Critical)]));
        let manifest = format!(r#"{{"manifests": [{{"digest": "{}"}}]}}"#, child.digest);
        world.set_manifest(&image_key(), &manifest);
        let endless = Endless {
            world: &world,
            pages: Mutex::new(0),
            third: None,
        };
        let services = Parts {
            world: &world,
            registry: &endless,
            writer: Some(&world),
            notifier: &world,
        };
        // With and without an earlier search for the image that the index replaces: both have the same eight seconds, and each
        // begins no page after them.
        let outcome = run(reconcile(&services, &policy(members), &request("one"))).unwrap();
        assert_eq!(outcome.state, Some(State::Blocked));
        let status = world.image_of(&child).unwrap().status;
        assert_eq!(
            (world.row_of(&child).unwrap().state, status),
            (State::BlockDeferred, ImageStatus::Active)
        );
        let pages = *endless.pages.lock().unwrap();
        assert_eq!(pages, 5, "pages of two seconds each: {members}");
    }
}

#[test]
fn a_search_for_what_an_image_replaces_ends_in_time_and_then_excuses_nothing() {
    let world = World::with(&image_key(), image(&image_key()), critical());
    let endless = Endless {
        world: &world,
        pages: Mutex::new(0),
        third: None,
    };
    let services = Parts {
        world: &world,
        registry: &endless,
        writer: Some(&world),
        notifier: &world,
    };
    let outcome = run(reconcile(&services, &policy(""), &request("one"))).unwrap();
    assert_eq!(outcome.state, Some(State::Blocked));
    let pages = *endless.pages.lock().unwrap();
    assert!(pages < 6, "{pages} pages of two seconds each");
}

#[test]
fn the_block_of_an_image_that_the_scanner_last_saw_running_is_deferred() {
    for (days, status_of) in [(1, ImageStatus::Active), (30, ImageStatus::Archived)] {
        let mut findings = scan(vec![finding("CVE-2026-1", Severity::Critical)]);
        findings.last_in_use_at = Some(now() - DAY * days);
        let entry = Image {
            last_pulled_at: None,
            ..image(&image_key())
        };
        let world = World::with(&image_key(), entry, Scan::Complete(findings));
        settle(&world, &policy(""));
        assert_eq!(status(&world), status_of, "{days}");
    }
}

#[test]
fn what_an_image_replaces_is_looked_for_on_all_pages() {
    let critical = || scan(vec![finding("CVE-2026-1", Severity::Critical)]);
    let world = World::with(&image_key(), image(&image_key()), Scan::Complete(critical()));
    let before = ImageKey {
        digest: "sha256:01".parse().unwrap(),
        ..image_key()
    };
    let running = Image {
        pushed_at: Some(now() - DAY * 30),
        last_pulled_at: Some(now() - DAY),
        ..image(&before)
    };
    world.push(&before, running.clone());
    world.complete_scan(&before, critical());
    let endless = Endless {
        world: &world,
        pages: Mutex::new(0),
        third: Some(running),
    };
    let services = Parts {
        world: &world,
        registry: &endless,
        writer: Some(&world),
        notifier: &world,
    };
    let outcome = run(reconcile(&services, &policy(""), &request("one"))).unwrap();
    assert_eq!(outcome.state, Some(State::BlockDeferred));
    assert_eq!(*endless.pages.lock().unwrap(), 3);
}

/// A repository of which each page of images takes two seconds.
struct Endless<'a> {
    world: &'a World,
    pages: Mutex<usize>,
    /// The image of the third page, which is then the last one.
    third: Option<Image>,
}

impl Endless<'_> {
    /// Gives one more page.
    fn turn(&self) {
        *self.pages.lock().unwrap() += 1;
        self.world.set_now(self.world.now() + SignedDuration::from_secs(2));
    }
}

guard_testkit::as_its_world!(Endless<'_>: Scanner, Repositories, Listing);

impl Registry for Endless<'_> {
    async fn image(&self, repository: &RepositoryName, image: &ImageRef) -> Result<Option<Image>, PortError> {
        self.world.image(repository, image).await
    }

    async fn manifest(&self, image: &ImageKey) -> Result<Option<String>, PortError> {
        self.world.manifest(image).await
    }

    async fn pulled_since(&self, _: &RepositoryName, _: Timestamp, _: Option<&str>) -> Result<Pulled, PortError> {
        self.turn();
        let third = self.third.clone().filter(|_| *self.pages.lock().unwrap() == 3);
        let next = third.is_none().then(|| "more".to_owned());
        Ok(Pulled {
            images: third.into_iter().collect(),
            next,
        })
    }

    async fn indexes(&self, _: &RepositoryName, _: Option<&str>) -> Result<Page<Digest>, PortError> {
        self.turn();
        Ok(Page {
            items: Vec::new(),
            unreadable: Vec::new(),
            next: Some("more".to_owned()),
        })
    }

    async fn repository_policy(&self, key: &RepositoryKey) -> Result<Option<String>, PortError> {
        self.world.repository_policy(key).await
    }

    async fn scan_trigger(&self, repository: &RepositoryName) -> Result<Option<ScanTrigger>, PortError> {
        self.world.scan_trigger(repository).await
    }
}
