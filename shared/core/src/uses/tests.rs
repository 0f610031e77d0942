use std::collections::BTreeSet;

use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
};

use super::*;
use crate::{
    glob::Glob,
    ids::{Digest, RepositoryName},
    testing::{image_key, now},
};

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32)).parse().unwrap()
}

fn image(n: u8) -> ImageKey {
    ImageKey {
        digest: digest(n),
        ..image_key()
    }
}

fn source(kind: SourceKind) -> WorkloadSource {
    WorkloadSource {
        account: image_key().account,
        region: image_key().region,
        kind,
    }
}

fn service(name: &str, revision: u32, phase: Phase) -> Workload {
    Workload {
        phase,
        kind: WorkloadKind::EcsService,
        name: name.to_owned(),
        within: Some("prod".to_owned()),
        version: Some(revision.to_string()),
        source: source(SourceKind::Ecs),
        via: Via::Digest,
    }
}

fn function(name: &str, version: &str) -> Workload {
    Workload {
        phase: Phase::Running,
        kind: WorkloadKind::LambdaFunction,
        name: name.to_owned(),
        within: None,
        version: Some(version.to_owned()),
        source: source(SourceKind::Lambda),
        via: Via::Digest,
    }
}

fn rules() -> WorkloadRules {
    WorkloadRules {
        sources: vec![SourceKind::Ecs, SourceKind::Lambda],
        max_age: SignedDuration::from_mins(120),
        when_unknown: WhenUnknown::Hold,
        accounts: Vec::new(),
        lambda_versions: LambdaVersions::All,
        task_definitions: true,
        clusters: BTreeMap::new(),
    }
}

/// The state of an index of which all lists that the rules ask for were complete at this time.
fn complete_at(rules: &WorkloadRules, at: Timestamp) -> IndexState {
    let key = image_key();
    let mut state = IndexState::new(key.account.clone(), key.region.clone());
    for source in rules.listed(&key.account, &key.region) {
        state.completed(&source, 0, at);
    }
    state
}

fn snapshot(uses: &[(u8, Workload)], complete: &[SourceKind]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (n, workload) in uses {
        snapshot.add(image(*n), workload.clone());
    }
    snapshot.complete = complete.iter().cloned().map(source).collect();
    snapshot
}

/// The rows in the ledger after a snapshot was merged.
fn after(rows: &[UseRow], seen: &Snapshot, now: Timestamp) -> Vec<UseRow> {
    let changes = merge(rows, seen, now);
    let kept = rows
        .iter()
        .filter(|row| changes.iter().all(|change| change.image != row.image));
    let mut rows: Vec<UseRow> = kept.chain(&changes).cloned().collect();
    rows.sort_by(|one, other| one.image.cmp(&other.image));
    rows
}

fn in_use(rows: &[UseRow]) -> BTreeSet<&ImageKey> {
    rows.iter()
        .filter(|row| row.gone_at.is_none())
        .map(|row| &row.image)
        .collect()
}

#[test]
fn people_read_who_uses_an_image() {
    let mut seen = snapshot(
        &[(1, service("api", 41, Phase::Running)), (1, function("thumbs", "12"))],
        &[],
    );
    for n in 0..31 {
        seen.add(image(1), function(&format!("w-{n:02}"), "1"));
    }
    let rows = after(&[], &seen, now());
    let Uses::By(used) = Uses::of(&rules(), &[image(1)], &rows, None, now()) else {
        panic!("it is in use");
    };
    assert_eq!(
        used.names(&image(1)),
        "service api in cluster prod, task definition 41; function thumbs version 12; and 31 more"
    );
}

#[test]
fn each_kind_of_workload_is_named_as_people_call_it() {
    let key = image(1);
    let named = |workload: Workload| workload.words(&key);
    let of = |kind, name: &str, version: Option<&str>| Workload {
        kind,
        name: name.to_owned(),
        version: version.map(str::to_owned),
        ..function("", "")
    };
    let pod = Workload {
        within: Some("shop".to_owned()),
        source: source(SourceKind::Kubernetes("prod".to_owned())),
        ..of(WorkloadKind::Kubernetes, "deployment/api", None)
    };
    let abroad = Workload {
        source: WorkloadSource {
            account: "222222222222".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            kind: SourceKind::Lambda,
        },
        ..function("thumbs", "$LATEST")
    };
    for (workload, words) in [
        (
            service("api", 40, Phase::Rollback),
            "service api in cluster prod, task definition 40 (to go back to)",
        ),
        (
            service("api", 40, Phase::Desired),
            "service api in cluster prod, task definition 40 (not running now)",
        ),
        (
            of(WorkloadKind::EcsTaskDefinition, "nightly", Some("7")),
            "task definition nightly:7",
        ),
        (
            of(WorkloadKind::BatchJobDefinition, "train", Some("3")),
            "job definition train:3",
        ),
        (pod, "deployment api in namespace shop of cluster prod"),
        (abroad, "function thumbs of account 222222222222 in eu-west-1"),
    ] {
        assert_eq!(named(workload), words);
    }
}

#[test]
fn a_list_that_was_seen_to_its_end_ends_the_uses_that_are_gone() {
    let first = snapshot(
        &[(1, service("api", 41, Phase::Running)), (1, function("thumbs", "12"))],
        &[SourceKind::Ecs, SourceKind::Lambda],
    );
    let rows = after(&[], &first, now());
    let later = now() + SignedDuration::from_hours(1);
    let without_service = snapshot(&[(1, function("thumbs", "12"))], &[SourceKind::Ecs, SourceKind::Lambda]);
    let rows = after(&rows, &without_service, later);
    assert_eq!(rows[0].workloads, [function("thumbs", "12")]);
    assert_eq!(rows[0].gone_at, None);
    let rows = after(&rows, &snapshot(&[], &[SourceKind::Lambda]), later);
    assert_eq!(rows[0].gone_at, Some(later));
    assert_eq!(
        rows[0].workloads,
        [function("thumbs", "12")],
        "who it was, for the words"
    );
}

#[test]
fn an_image_counts_as_in_use_for_a_day_after_its_last_workload() {
    let rules = rules();
    let rows = after(&[], &snapshot(&[(1, function("thumbs", "12"))], &[]), now());
    let rows = after(&rows, &snapshot(&[], &[SourceKind::Lambda]), now());
    let uses = |hours| {
        let at = now() + SignedDuration::from_hours(hours);
        Uses::of(&rules, &[image(1)], &rows, Some(&complete_at(&rules, at)), at)
    };
    assert!(matches!(uses(23), Uses::By(UsedBy { gone_at: Some(_), .. })));
    assert_eq!(uses(24), Uses::Nobody);
}

#[test]
fn a_use_of_what_is_pulled_with_an_image_counts() {
    let rows = after(&[], &snapshot(&[(2, function("thumbs", "12"))], &[]), now());
    let rules = rules();
    let state = complete_at(&rules, now());
    assert_eq!(Uses::of(&rules, &[image(1)], &rows, Some(&state), now()), Uses::Nobody);
    assert!(matches!(
        Uses::of(&rules, &[image(1), image(2)], &rows, Some(&state), now()),
        Uses::By(_)
    ));
}

#[test]
fn what_is_not_known_is_not_nobody() {
    let rules = rules();
    let nobody = |state: Option<&IndexState>| Uses::of(&rules, &[image(1)], &[], state, now());
    let old = now() - SignedDuration::from_mins(121);
    insta::assert_debug_snapshot!(nobody(None), @r#"
    Unknown(
        "the workloads of ECS of account 123456789012 in us-west-2 have never been listed",
    )
    "#);
    insta::assert_debug_snapshot!(nobody(Some(&complete_at(&rules, old))), @r#"
    Unknown(
        "the workloads of ECS of account 123456789012 in us-west-2 have not been known since 2026-11-24 09:59 UTC",
    )
    "#);
    assert_eq!(
        nobody(Some(&complete_at(&rules, now() - SignedDuration::from_mins(119)))),
        Uses::Nobody
    );
    let mut denied = complete_at(&rules, old);
    let lambda = source(SourceKind::Lambda);
    denied.completed(&source(SourceKind::Ecs), 3, now());
    denied.failed(&lambda, "denied", Some("lambda:ListFunctions".to_owned()), now());
    insta::assert_debug_snapshot!(nobody(Some(&denied)), @r#"
    Unknown(
        "the functions of Lambda of account 123456789012 in us-west-2 have not been known since 2026-11-24 09:59 UTC: lambda:ListFunctions is missing",
    )
    "#);
    // A use that was seen counts, whatever else is not known.
    let rows = after(&[], &snapshot(&[(1, function("thumbs", "12"))], &[]), now());
    assert!(matches!(
        Uses::of(&rules, &[image(1)], &rows, Some(&denied), now()),
        Uses::By(_)
    ));
}

#[test]
fn wherever_an_index_is_kept_it_must_be_complete() {
    let rules = rules();
    let mut elsewhere = IndexState::new(image_key().account, "eu-west-1".parse().unwrap());
    let there = WorkloadSource {
        region: "eu-west-1".parse().unwrap(),
        ..source(SourceKind::Ecs)
    };
    let mut state = complete_at(&rules, now());
    elsewhere.completed(&there, 1, now() - SignedDuration::from_hours(5));
    state.elsewhere.clone_from(&elsewhere.listings);
    let uses = |state: &IndexState| Uses::of(&rules, &[image(1)], &[], Some(state), now());
    assert!(matches!(uses(&state), Uses::Unknown(why) if why.contains("eu-west-1")));
    elsewhere.completed(&there, 1, now());
    state.elsewhere.clone_from(&elsewhere.listings);
    assert!(matches!(uses(&state), Uses::Unknown(why) if why.contains("Lambda") && why.contains("never been listed")));
    let functions = WorkloadSource {
        kind: SourceKind::Lambda,
        ..there.clone()
    };
    elsewhere.completed(&functions, 1, now());
    state.elsewhere.clone_from(&elsewhere.listings);
    assert_eq!(uses(&state), Uses::Nobody);
    elsewhere.completed(&functions, 1, now() + SignedDuration::from_mins(6));
    state.elsewhere = elsewhere.listings;
    assert!(matches!(uses(&state), Uses::Unknown(_)), "of the future");
}

#[test]
fn a_cluster_that_is_needed_reports_to_any_one_region() {
    let cluster = |region: &str| WorkloadSource {
        region: region.parse().unwrap(),
        ..source(SourceKind::Kubernetes("prod".to_owned()))
    };
    let rules = WorkloadRules {
        clusters: BTreeMap::from([("prod".to_owned(), vec!["*".parse::<Glob>().unwrap()])]),
        ..rules()
    };
    for region in ["us-west-2", "eu-west-1"] {
        let mut state = complete_at(&rules, now());
        let mut there = IndexState::new(image_key().account, "eu-west-1".parse().unwrap());
        for kind in &rules.sources {
            let source = WorkloadSource {
                kind: kind.clone(),
                ..cluster("eu-west-1")
            };
            there.completed(&source, 0, now());
        }
        state.elsewhere = there.listings;
        let unknown = |state: &IndexState| {
            let uses = Uses::of(&rules, &[image(1)], &[], Some(state), now());
            (matches!(uses, Uses::Unknown(_)), state.incomplete(&rules, now()).len())
        };
        assert_eq!(unknown(&state), (true, 1));
        let mut reported = IndexState::new(image_key().account, region.parse().unwrap());
        reported.completed(&cluster(region), 1, now());
        let lists = if region == "us-west-2" {
            &mut state.listings
        } else {
            &mut state.elsewhere
        };
        lists.extend(reported.listings);
        assert_eq!(unknown(&state), (false, 0), "{region}");
    }
}

#[test]
fn lists_that_are_incomplete_for_one_cause_are_one_and_those_of_other_regions_are_among_them() {
    let rules = rules();
    let denied = |state: &mut IndexState, kind: SourceKind, missing: &str| {
        let region = state.region.clone();
        let source = WorkloadSource { region, ..source(kind) };
        state.failed(&source, "denied", Some(missing.to_owned()), now());
    };
    let causes = |state: &IndexState| -> Vec<(String, Option<String>, usize)> {
        let incomplete = state.incomplete(&rules, now()).into_iter();
        incomplete
            .map(|one| (one.source.region.to_string(), one.missing, one.also.len()))
            .collect()
    };
    let cause = |region: &str, missing: Option<&str>, also| (region.to_owned(), missing.map(str::to_owned), also);
    let mut state = IndexState::new(image_key().account, image_key().region);
    assert_eq!(causes(&state), [cause("us-west-2", None, 1)], "both lists, one cause");
    denied(&mut state, SourceKind::Ecs, "sts:AssumeRole");
    denied(&mut state, SourceKind::Lambda, "sts:AssumeRole");
    assert_eq!(causes(&state), [cause("us-west-2", Some("sts:AssumeRole"), 1)]);
    denied(&mut state, SourceKind::Lambda, "lambda:ListFunctions");
    assert_eq!(causes(&state).len(), 2, "two permissions to grant");
    let mut state = complete_at(&rules, now());
    let mut there = IndexState::new(image_key().account, "eu-west-1".parse().unwrap());
    denied(&mut there, SourceKind::Ecs, "ecs:ListClusters");
    state.elsewhere = there.listings;
    // Lambda was never listed there at all.
    let expected = [
        cause("eu-west-1", Some("ecs:ListClusters"), 0),
        cause("eu-west-1", None, 0),
    ];
    assert_eq!(causes(&state), expected);
}

#[test]
fn another_account_and_a_cluster_concern_the_repositories_that_the_policy_gives_them() {
    let glob = |text: &str| text.parse::<Glob>().unwrap();
    let state = complete_at(&rules(), now());
    let unknown =
        |rules: &WorkloadRules| matches!(Uses::of(rules, &[image(1)], &[], Some(&state), now()), Uses::Unknown(_));
    for (globs, expected) in [(vec!["pipeops-*"], true), (vec!["other"], false), (vec![], true)] {
        let rules = WorkloadRules {
            accounts: vec![WorkloadAccount {
                id: "222222222222".parse().unwrap(),
                role: "reader".to_owned(),
                repositories: globs.iter().map(|text| glob(text)).collect(),
                regions: BTreeSet::new(),
            }],
            ..rules()
        };
        assert_eq!(unknown(&rules), expected, "{globs:?}");
    }
    for (globs, expected) in [(vec!["pipeops-*"], true), (vec!["other"], false)] {
        let rules = WorkloadRules {
            clusters: BTreeMap::from([("prod".to_owned(), globs.iter().map(|text| glob(text)).collect())]),
            ..rules()
        };
        assert_eq!(unknown(&rules), expected, "{globs:?}");
    }
}

#[test]
fn another_account_is_needed_in_the_regions_that_the_policy_gives_it() {
    let here = source(SourceKind::Ecs).region;
    let other: Region = "eu-west-1".parse().unwrap();
    let state_of = |region: &Region| {
        let mut state = complete_at(&rules(), now());
        if *region != here {
            // The registry's own account is complete in the other region, where there is a guard as well.
            for source in rules().listed(&state.account, region) {
                state.elsewhere.push(Listing {
                    source,
                    completed_at: Some(now()),
                    seen: 0,
                    trouble: None,
                });
            }
        }
        state
    };
    for (regions, region, expected) in [
        (vec![], &here, true),
        (vec![here.clone()], &here, true),
        (vec![other.clone()], &here, false),
        (vec![other.clone()], &other, true),
        (vec!["us-east-1".parse().unwrap()], &other, false),
    ] {
        let rules = WorkloadRules {
            accounts: vec![WorkloadAccount {
                id: "222222222222".parse().unwrap(),
                role: "reader".to_owned(),
                repositories: Vec::new(),
                regions: regions.iter().cloned().collect(),
            }],
            ..rules()
        };
        let state = state_of(region);
        let uses = Uses::of(&rules, &[image(1)], &[], Some(&state), now());
        assert_eq!(
            matches!(uses, Uses::Unknown(_)),
            expected,
            "{regions:?} in {region}: {uses:?}"
        );
        let account = rules.accounts[0].id.clone();
        let listed = rules.listed(&state.account, region);
        let is_listed = listed.iter().any(|source| source.account == account);
        assert_eq!(is_listed, expected, "{regions:?} in {region}");
    }
}

#[test]
fn a_cluster_that_says_nothing_is_named() {
    let rules = rules();
    let mut state = complete_at(&rules, now());
    state.clusters = vec!["dev".to_owned(), "prod".to_owned()];
    state.completed(&source(SourceKind::Kubernetes("prod".to_owned())), 7, now());
    assert_eq!(state.silent_clusters(&rules, now()), ["dev"]);
    let later = now() + SignedDuration::from_hours(3);
    assert_eq!(state.silent_clusters(&rules, later), ["dev", "prod"]);
}

#[test]
fn an_image_is_known_by_what_workloads_call_it() {
    let reference = |text: &str| {
        text.parse::<ImageReference>()
            .map(|reference| (reference.repository.to_string(), reference.image.to_string()))
    };
    let with_digest = format!(
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:1.4@{}",
        digest(1)
    );
    for (text, repository, image) in [
        (
            "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:1.4",
            "team/api",
            ":1.4",
        ),
        (
            "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api",
            "team/api",
            ":latest",
        ),
        (with_digest.as_str(), "team/api", &format!("@{}", digest(1))),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/api:1", "api", ":1"),
        ("123456789012.dkr-ecr.us-west-2.on.aws/api:1", "api", ":1"),
        (
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/api:1",
            "api",
            ":1",
        ),
        (
            "docker-pullable://123456789012.dkr.ecr.us-west-2.amazonaws.com/api:1",
            "api",
            ":1",
        ),
        ("123456789012.DKR.ECR.us-WEST-2.Amazonaws.com/api:1", "api", ":1"),
        ("123456789012.dkr.ecr.us-west-2.amazonaws.com:443/api:1", "api", ":1"),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn/api:1",
            "api",
            ":1",
        ),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu/api:1", "api", ":1"),
        ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov/api:1", "api", ":1"),
    ] {
        assert_eq!(reference(text), Ok((repository.to_owned(), image.to_owned())), "{text}");
    }
    for text in [
        "",
        "nginx",
        "docker.io/library/nginx:1",
        "public.ecr.aws/x/y:1",
        "sha256:abc",
        "1.dkr.ecr.us-west-2.amazonaws.com/a:1",
        // A name that only begins like a registry is somebody else's.
        "123456789012.dkr.ecr.us-west-2.evil.example/a:1",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com.evil.example/a:1",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com:8443/a:1",
        "123456789012.dkr.ecr.us-west-2.amazonaws.com.cn/a:1",
        "123456789012.dkr.ecr.us-west-2.on.aws/a:1",
        "123456789012.dkr-ecr.us-west-2.amazonaws.com/a:1",
        "123456789012.dkr.ecr.us-west-2/a:1",
    ] {
        assert!(reference(text).is_err(), "{text}");
    }
}

#[test]
fn a_cluster_says_what_it_runs() {
    let registry = "123456789012.dkr.ecr.us-west-2.amazonaws.com";
    let (by_name, by_digest_alone, not_pulled) = (digest(1), digest(2), "1.5");
    let json = serde_json::json!({
        "schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod", "complete": true,
        "sent_at": now().to_string(),
        "images": [
            {"namespace": "shop", "kind": "Deployment", "name": "api", "node": "not read",
             "image": format!("{registry}/pipeops-prod-api:1.4"), "image_id": format!("{registry}/pipeops-prod-api@{by_name}")},
            {"namespace": "shop", "kind": "Deployment", "name": "web",
             "image": format!("{registry}/pipeops-prod-api:1.4"), "image_id": by_digest_alone.as_str()},
            {"namespace": "shop", "kind": "Job", "name": "new", "image": format!("{registry}/pipeops-prod-api:{not_pulled}"), "image_id": ""},
            {"namespace": "kube-system", "kind": "DaemonSet", "name": "proxy", "image": "registry.k8s.io/proxy:1", "image_id": "sha256:ab"},
        ],
    });
    let report = ClusterReport::parse(&json.to_string(), now()).unwrap();
    let (account, region) = (image_key().account, image_key().region);
    let reported = report.report(&account, &region);
    let digests: Vec<&Digest> = reported.snapshot.uses.keys().map(|key| &key.digest).collect();
    assert_eq!(digests, [&by_name, &by_digest_alone]);
    let by_tag: Vec<String> = reported
        .by_tag
        .iter()
        .map(|(image, _)| image.image.to_string())
        .collect();
    assert_eq!(by_tag, [":1.5"]);
    let phases: BTreeSet<Phase> = reported.by_tag.iter().map(|(_, workload)| workload.phase).collect();
    assert_eq!(
        phases,
        BTreeSet::from([Phase::Desired]),
        "what was not pulled does not run"
    );
    assert_eq!(reported.elsewhere, 1);
    assert!(reported.snapshot.complete.is_empty(), "that depends on the tags");
}

#[test]
fn a_report_that_is_not_one_is_refused_and_says_where() {
    let valid = serde_json::json!({"schema": "ecr-guard/workloads/v1", "source": "kubernetes", "cluster": "prod",
        "complete": true, "sent_at": now().to_string(), "images": []});
    assert!(ClusterReport::parse(&valid.to_string(), now()).is_ok());
    let in_future = (now() + SignedDuration::from_mins(6)).to_string();
    for (member, value, error) in [
        (
            "schema",
            serde_json::json!("ecr-guard/workloads/v2"),
            "`schema` is `ecr-guard/workloads/v2`",
        ),
        ("source", serde_json::json!("nomad"), "`source` is `nomad`"),
        ("cluster", serde_json::json!("a b"), "`cluster` has"),
        ("cluster", serde_json::json!(""), "`cluster` has"),
        ("sent_at", serde_json::json!(in_future), "in the future"),
        ("sent_at", serde_json::json!("yesterday"), "at `sent_at`"),
        (
            "images",
            serde_json::json!([{"namespace": 7}]),
            "at `images[0].namespace`",
        ),
        ("complet", serde_json::json!(true), "unknown field `complet`"),
    ] {
        let mut changed = valid.clone();
        changed[member] = value;
        let refused = ClusterReport::parse(&changed.to_string(), now())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(error), "{refused}");
    }
    let many: Vec<_> = (0..=MAX_REPORTED_IMAGES)
        .map(|_| serde_json::json!({"namespace": "a", "kind": "b", "name": "c"}))
        .collect();
    let mut changed = valid;
    changed["images"] = serde_json::json!(many);
    let refused = ClusterReport::parse(&changed.to_string(), now()).unwrap_err();
    assert_eq!(refused, ClusterReportError::TooMany(MAX_REPORTED_IMAGES + 1));
}

#[test]
fn a_row_of_very_many_workloads_fits_into_an_item_and_counts_the_others() {
    let mut seen = Snapshot::default();
    for n in 0..5000 {
        seen.add(image(1), function(&format!("{}-{n}", "f".repeat(130)), "1"));
    }
    seen.complete = BTreeSet::from([source(SourceKind::Lambda)]);
    let rows = after(&[], &seen, now());
    assert!(serde_json::to_vec(&rows[0]).unwrap().len() < 360_000);
    assert_eq!(rows[0].number(), 5000);
    assert_eq!(merge(&rows, &seen, now()), []);
}

fn workloads() -> impl Strategy<Value = BTreeSet<Workload>> {
    let phases = prop_oneof![Just(Phase::Running), Just(Phase::Desired), Just(Phase::Rollback)];
    let services = (0..3_u32, phases).prop_map(|(n, phase)| service("api", n, phase));
    let functions = (0..3_u32).prop_map(|n| function("thumbs", &n.to_string()));
    btree_set(prop_oneof![services, functions], 0..4)
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let kinds = prop_oneof![Just(SourceKind::Ecs), Just(SourceKind::Lambda)];
    let uses = btree_map((1..4_u8).prop_map(image), workloads(), 0..4);
    (uses, btree_set(kinds.prop_map(source), 0..3)).prop_map(|(mut uses, complete)| {
        uses.retain(|_, workloads| !workloads.is_empty());
        Snapshot { uses, complete }
    })
}

proptest! {
    #[test]
    fn to_merge_the_same_again_changes_nothing(history in vec(snapshots(), 0..5), last in snapshots()) {
        let rows = history.iter().fold(Vec::new(), |rows, seen| after(&rows, seen, now()));
        let rows = after(&rows, &last, now());
        let later = now() + SignedDuration::from_hours(30);
        prop_assert_eq!(merge(&rows, &last, later), Vec::new());
    }

    #[test]
    fn the_order_of_what_only_adds_plays_no_role(history in vec(snapshots(), 0..4), one in snapshots(), other in snapshots()) {
        let partial = |seen: &Snapshot| Snapshot { complete: BTreeSet::new(), ..seen.clone() };
        let rows = history.iter().fold(Vec::new(), |rows, seen| after(&rows, seen, now()));
        let [one, other] = [partial(&one), partial(&other)];
        let there = |rows: &[UseRow]| -> Vec<_> {
            rows.iter().map(|row| (row.image.clone(), row.workloads.clone(), row.gone_at)).collect()
        };
        let first = after(&after(&rows, &one, now()), &other, now());
        let second = after(&after(&rows, &other, now()), &one, now());
        prop_assert_eq!(there(&first), there(&second));
    }

    #[test]
    fn a_list_that_was_not_seen_to_its_end_ends_no_use(history in vec(snapshots(), 0..5), mut last in snapshots()) {
        let rows = history.iter().fold(Vec::new(), |rows, seen| after(&rows, seen, now()));
        last.complete.clear();
        let now = now() + SignedDuration::from_hours(1);
        let changed = after(&rows, &last, now);
        prop_assert!(in_use(&changed).is_superset(&in_use(&rows)));
        for row in &rows {
            let row_after = changed.iter().find(|other| other.image == row.image).unwrap();
            prop_assert!(row.gone_at.is_some() || row.workloads.iter().all(|workload| row_after.workloads.contains(workload)));
        }
    }

    #[test]
    fn what_was_seen_last_is_in_use_and_nothing_else_of_a_complete_list(history in vec(snapshots(), 0..5), last in snapshots()) {
        let rows = history.iter().fold(Vec::new(), |rows, seen| after(&rows, seen, now()));
        let rows = after(&rows, &last, now());
        for image in last.uses.keys() {
            prop_assert!(in_use(&rows).contains(image));
        }
        if last.complete.len() == 2 {
            prop_assert_eq!(in_use(&rows), last.uses.keys().collect::<BTreeSet<_>>());
        }
    }
}

#[test]
fn a_sort_key_does_not_mix_up_repositories() {
    let other = ImageKey {
        repository: "pipeops-prod-api/x".parse::<RepositoryName>().unwrap(),
        ..image_key()
    };
    let key = image_key();
    let prefix = UseRow::repository_prefix(&key.region, &key.repository);
    assert!(UseRow::sort_key(&key).starts_with(&prefix));
    assert!(!UseRow::sort_key(&other).starts_with(&prefix));
}

#[test]
fn what_is_known_is_written_only_where_it_changes_and_fits_into_items() {
    let (account, region) = (image_key().account, image_key().region);
    let mut known = KnownImages::default();
    for n in 0..40 {
        known.insert(format!("definition/{n}"), vec![format!("image-{n}")]);
    }
    let parts = known.changed_parts(&account, &region, &[]);
    assert_eq!(parts.len(), usize::from(KNOWN_PARTS));
    assert_eq!(KnownImages::from_parts(&parts), known);
    assert_eq!(known.changed_parts(&account, &region, &parts), []);
    known.insert("definition/40".to_owned(), vec!["image-40".to_owned()]);
    let changed = known.changed_parts(&account, &region, &parts);
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].generation, 2);
    for n in 0..20_000 {
        known.insert(format!("{}{n}", "x".repeat(100)), vec!["y".repeat(100)]);
    }
    for part in known.changed_parts(&account, &region, &[]) {
        assert!(serde_json::to_vec(&part).unwrap().len() < 380_000);
    }
}
