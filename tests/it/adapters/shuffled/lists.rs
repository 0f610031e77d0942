//! The same for every other answer that is a list, or has one in it: of ECR, of the ledger, of KMS.
//!
//! In any order and on any number of pages, empty ones too, a list is the same. A missing member is unknown or an error:
//! nothing that was not said is found, and nothing that was said is lost in silence.

use shared::{
    core::{
        finding::ScanTrigger,
        ids::{ImageKey, Region},
        image::{Image, ImageStatus, ListedImage},
        ledger::Row,
        replication::replica::CopyState,
        repository::{
            keys::{KeyArn, KeyHealth, KeyState},
            posture::{ListedRepository, TagMutability},
        },
    },
    ports::{
        Keys as _, Ledger as _, Listing as _, Page, Registry as _, Replication as _, Repositories as _,
        SweepLedger as _,
    },
};

use super::*;

/// As often as that each answer is shuffled, and as often again thinned out.
const SEEDS: u64 = 60;

const TABLE: &str = "ecr-guard-ledger";

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

/// Something of everything that `DescribeImages` can say; the one with [`DIGEST`] among them.
fn images() -> Vec<Value> {
    let mut images: Vec<Value> = (0..12)
        .map(|n| {
            let media_type = ["image.index", "image.manifest"][n % 2];
            json!({"registryId": ACCOUNT, "repositoryName": REPOSITORY, "imageDigest": digest(n), "imageTags": [format!("v{n}"), format!("w{n}")],
                "imageSizeInBytes": 1000 + n, "imagePushedAt": 1_764_000_000 + n, "imageStatus": (["ACTIVE", "ARCHIVED", "ACTIVATING"][n % 3]),
                "lastRecordedPullTime": if n % 4 == 0 { 1_795_467_000 } else { 1_700_000_000 },
                "imageManifestMediaType": format!("application/vnd.oci.{media_type}.v1+json"), "imageScanStatus": {"status": "COMPLETE"},
                "imageScanFindingsSummary": {"imageScanCompletedAt": 1_764_000_060 + n, "findingSeverityCounts": {"HIGH": n}}})
        })
        .collect();
    images[3]["imageDigest"] = json!(DIGEST);
    images
}

/// A list in any order on one to four pages, and the key of the next page of each.
fn cut(numbers: &mut Numbers, mut list: Vec<Value>) -> Vec<Vec<Value>> {
    numbers.shuffle(&mut list);
    let mut pages = vec![Vec::new(); numbers.below(4) + 1];
    for item in list {
        let page = numbers.below(pages.len());
        pages[page].push(item);
    }
    pages
}

/// Pages of an answer that holds a list, `one_in`: how much of it is left out.
fn answers(numbers: &mut Numbers, name: &str, list: Vec<Value>, one_in: Option<usize>) -> Vec<Value> {
    let pages = cut(numbers, list);
    let last = pages.len() - 1;
    let pages = pages.into_iter().enumerate().map(|(n, page)| {
        let mut page = json!({name: page});
        numbers.shuffle_all(&mut page);
        if let Some(one_in) = one_in {
            numbers.thin_out(&mut page, one_in);
        }
        if n < last {
            page["nextToken"] = json!(format!("page-{n}"));
        }
        page
    });
    pages.collect()
}

/// How much is left out of an answer, this time.
fn thinned(numbers: &mut Numbers) -> Option<usize> {
    Some([60, 20, 6][numbers.below(3)])
}

fn replies(operation: &'static str, answers: &[Value]) -> FakeAws {
    let answers = answers.iter().cloned();
    FakeAws::scripted(answers.map(|answer| (operation, Reply::Ok(answer))).collect::<Vec<_>>())
}

/// All pages of a list: what is on them, and how many things cannot be read.
fn walk<T>(mut page: impl FnMut(Option<&str>) -> Result<Page<T>, PortError>) -> Result<(Vec<T>, usize), PortError> {
    let (mut items, mut unreadable, mut after) = (Vec::new(), 0, None::<String>);
    loop {
        let page = page(after.as_deref())?;
        items.extend(page.items);
        unreadable += page.unreadable.len();
        after = page.next;
        if after.is_none() {
            return Ok((items, unreadable));
        }
    }
}

fn listed_images(answers: &[Value]) -> Result<(Vec<ListedImage>, usize), PortError> {
    let world = replies("ecr:DescribeImages", answers);
    let registry = world.aws().ecr_registry(account());
    let found = walk(|after| world.run(registry.images(&repository_key(), after)).map(Option::unwrap));
    found.map(|(mut images, unreadable)| {
        images.iter_mut().for_each(|listed| listed.image.tags.sort());
        images.sort_by(|a, b| a.image.digest.cmp(&b.image.digest));
        (images, unreadable)
    })
}

/// That of an image nothing is said that was not: each member is as it was, or not known.
fn assert_said(found: &Image, images: &[Image], seed: u64) {
    let expected = images.iter().find(|image| image.digest == found.digest).unwrap();
    let is_unknown = found.status == ImageStatus::Other("missing".to_owned());
    assert!(found.status == expected.status || is_unknown, "seed {seed}: {found:?}");
    for (found, expected) in [
        (found.pushed_at, expected.pushed_at),
        (found.last_pulled_at, expected.last_pulled_at),
    ] {
        assert!(found.is_none() || found == expected, "seed {seed}: {found:?}");
    }
    assert!(
        found.tags.iter().all(|tag| expected.tags.contains(tag)),
        "seed {seed}: {found:?}"
    );
}

#[test]
fn a_list_of_images_is_the_same_in_any_order_and_on_any_pages() {
    let (expected, _) = listed_images(&[json!({"imageDetails": images()})]).unwrap();
    let described: Vec<Image> = expected.iter().map(|listed| listed.image.clone()).collect();
    assert_eq!(expected.len(), 12);
    let mut kept = 0;
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let pages = answers(&mut numbers, "imageDetails", images(), None);
        assert_eq!(listed_images(&pages), Ok((expected.clone(), 0)), "seed {seed}");
        let one_in = thinned(&mut numbers);
        let pages = answers(&mut numbers, "imageDetails", images(), one_in);
        let Ok((found, unreadable)) = listed_images(&pages) else {
            continue;
        };
        kept += found.len();
        assert_eq!(
            found.len() + unreadable,
            expected.len(),
            "seed {seed}: one is lost: {pages:?}"
        );
        for listed in &found {
            assert_said(&listed.image, &described, seed);
            let same = expected
                .iter()
                .find(|other| other.image.digest == listed.image.digest)
                .unwrap();
            assert!(
                listed.scanned_at.is_none_or(|at| Some(at) == same.scanned_at),
                "seed {seed}: {listed:?}"
            );
        }
    }
    assert!(kept > 100, "{kept} images were read from thinned answers");
}

#[test]
fn no_index_is_lost_and_no_pull_is_invented() {
    let index = |n: &usize| n.is_multiple_of(2) && n % 3 != 1;
    let expected: Vec<String> = (0..12).filter(index).map(digest).collect();
    let pulled_lately: Vec<String> = (0..12).filter(|n| n % 4 == 0).map(digest).collect();
    let ask = |pages: &[Value]| {
        let world = replies("ecr:DescribeImages", pages);
        let registry = world.aws().ecr_registry(account());
        walk(|after| world.run(registry.indexes(&repository(), after))).map(|(found, unreadable)| {
            let mut found: Vec<String> = found.into_iter().map(|digest| digest.to_string()).collect();
            found.sort();
            (found, unreadable)
        })
    };
    let pulled = |pages: &[Value]| {
        let world = replies("ecr:DescribeImages", pages);
        let registry = world.aws().ecr_registry(account());
        let since = "2026-11-10T00:00:00Z".parse().unwrap();
        let found = walk(|after| {
            let pulled = world.run(registry.pulled_since(&repository(), since, after));
            pulled.map(|pulled| Page {
                items: pulled.images,
                unreadable: Vec::new(),
                next: pulled.next,
            })
        });
        found.map(|(found, _)| {
            let mut found: Vec<String> = found.into_iter().map(|image| image.digest.to_string()).collect();
            found.sort();
            found
        })
    };
    let mut kept = 0;
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let pages = answers(&mut numbers, "imageDetails", images(), None);
        assert_eq!(ask(&pages), Ok((expected.clone(), 0)), "seed {seed}");
        assert_eq!(pulled(&pages), Ok(pulled_lately.clone()), "seed {seed}");
        let one_in = thinned(&mut numbers);
        let pages = answers(&mut numbers, "imageDetails", images(), one_in);
        if let Ok((found, unreadable)) = ask(&pages) {
            kept += found.len();
            let lost = expected.iter().filter(|digest| !found.contains(digest)).count();
            assert!(lost <= unreadable, "seed {seed}: {lost} indexes are lost: {pages:?}");
        }
        if let Ok(found) = pulled(&pages) {
            assert!(
                found.iter().all(|digest| pulled_lately.contains(digest)),
                "seed {seed}: {pages:?}"
            );
        }
    }
    assert!(kept > 50, "{kept} indexes were read from thinned answers");
}

#[test]
fn one_image_and_its_manifest_are_found_among_others_or_are_not_known() {
    let image = |answer: &Value| {
        let world = replies("ecr:DescribeImages", std::slice::from_ref(answer));
        world.run(world.aws().ecr_registry(account()).image(&repository(), &by_digest()))
    };
    let manifest = |answer: &Value| {
        let world = replies("ecr:BatchGetImage", std::slice::from_ref(answer));
        world.run(world.aws().ecr_registry(account()).manifest(&key()))
    };
    let trigger = |answer: &Value| {
        let world = replies(
            "ecr:BatchGetRepositoryScanningConfiguration",
            std::slice::from_ref(answer),
        );
        world.run(world.aws().ecr_registry(account()).scan_trigger(&repository()))
    };
    let manifests = json!({"failures": [], "images": [
        {"imageId": {"imageDigest": digest(1)}, "imageManifest": "another", "imageManifestMediaType": "m"},
        {"imageId": {"imageDigest": DIGEST, "imageTag": "v1"}, "imageManifest": "this", "imageManifestMediaType": "m"}]});
    let configurations = json!({"failures": [], "scanningConfigurations": [
        {"repositoryName": "another", "scanFrequency": "SCAN_ON_PUSH"}, {"repositoryName": REPOSITORY, "scanFrequency": "MANUAL"}]});
    let mut expected = image(&json!({"imageDetails": images()})).unwrap().unwrap();
    expected.tags.sort();
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let mut shuffled = [
            json!({"imageDetails": images()}),
            manifests.clone(),
            configurations.clone(),
        ];
        shuffled.iter_mut().for_each(|answer| numbers.shuffle_all(answer));
        let mut found = image(&shuffled[0]).unwrap().unwrap();
        found.tags.sort();
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(manifest(&shuffled[1]), Ok(Some("this".to_owned())), "seed {seed}");
        assert_eq!(trigger(&shuffled[2]), Ok(Some(ScanTrigger::Manual)), "seed {seed}");
        let one_in = thinned(&mut numbers).unwrap();
        shuffled.iter_mut().for_each(|answer| numbers.thin_out(answer, one_in));
        // An entry that an answer leaves out still exists: "there is none" is an error of its own.
        if let Ok(found) = image(&shuffled[0]) {
            let found = found.unwrap_or_else(|| panic!("seed {seed}: taken for no image: {}", shuffled[0]));
            assert_said(&found, std::slice::from_ref(&expected), seed);
        }
        if let Ok(found) = manifest(&shuffled[1]) {
            assert_eq!(found.as_deref(), Some("this"), "seed {seed}");
        }
        if let Ok(found) = trigger(&shuffled[2]) {
            assert!(found.is_some(), "seed {seed}");
        }
    }
}

#[test]
fn a_list_of_repositories_is_the_same_and_no_repository_is_better_than_was_said() {
    let mutability = ["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"];
    let repositories: Vec<Value> = (0..9)
        .map(|n| {
            json!({"repositoryName": format!("team/{n}"), "repositoryArn": format!("arn:aws:ecr:us-west-2:{ACCOUNT}:repository/team/{n}"),
                "imageTagMutability": (mutability[n % 3]), "imageScanningConfiguration": {"scanOnPush": n % 2 == 0},
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "a-*"}, {"filterType": "WILDCARD", "filter": "b-*"}],
                "encryptionConfiguration": {"encryptionType": (["AES256", "KMS"][n % 2])}})
        })
        .collect();
    let ask = |pages: &[Value]| {
        let world = replies("ecr:DescribeRepositories", pages);
        let registry = world.aws().ecr_registry(account());
        walk(|after| world.run(registry.repositories(after))).map(|(mut found, unreadable)| {
            found.sort_by(|a, b| a.name.cmp(&b.name));
            (found, unreadable)
        })
    };
    let (expected, _) = ask(&[json!({"repositories": repositories.clone()})]).unwrap();
    assert_eq!(expected.len(), 9);
    let is_immutable = |listed: &ListedRepository| listed.repository.tag_mutability == TagMutability::Immutable;
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let pages = answers(&mut numbers, "repositories", repositories.clone(), None);
        assert_eq!(ask(&pages), Ok((expected.clone(), 0)), "seed {seed}");
        let one_in = thinned(&mut numbers);
        let pages = answers(&mut numbers, "repositories", repositories.clone(), one_in);
        let Ok((found, unreadable)) = ask(&pages) else {
            continue;
        };
        assert_eq!(found.len() + unreadable, expected.len(), "seed {seed}: {pages:?}");
        for listed in found {
            let same = expected.iter().find(|other| other.name == listed.name).unwrap();
            assert!(is_immutable(same) || !is_immutable(&listed), "seed {seed}: {listed:?}");
            assert!(
                same.repository.scan_on_push || !listed.repository.scan_on_push,
                "seed {seed}: {listed:?}"
            );
            let (found, said) = (&listed.repository.encryption.kind, &same.repository.encryption.kind);
            assert!(found == said || found != "KMS", "seed {seed}: {listed:?}");
        }
    }
}

#[test]
fn the_settings_of_a_repository_and_a_registry_do_not_depend_on_their_order() {
    let tags =
        json!({"tags": [{"Key": "team", "Value": "a"}, {"Key": "owner", "Value": "b"}, {"Key": "cost", "Value": "c"}]});
    let repository_tags = |answer: &Value| {
        let world = replies("ecr:ListTagsForResource", std::slice::from_ref(answer));
        world.run(world.aws().ecr_registry(account()).repository_tags(&repository_key()))
    };
    let statuses = json!({"replicationStatuses": [
        {"region": "us-east-1", "registryId": ACCOUNT, "status": "COMPLETE"},
        {"region": "eu-west-1", "registryId": ACCOUNT, "status": "IN_PROGRESS"},
        {"region": "eu-west-2", "registryId": ACCOUNT, "status": "FAILED", "failureCode": "KmsError"}]});
    let copies = |answer: &Value| {
        let world = replies("ecr:DescribeImageReplicationStatus", std::slice::from_ref(answer));
        let aws = world.aws();
        world.run(aws.ecr_elsewhere(account()).copies(&key()))
    };
    let registry = [
        json!({"scanningConfiguration": {"scanType": "ENHANCED", "rules": [
            {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [{"filter": "a*", "filterType": "WILDCARD"}, {"filter": "b*", "filterType": "WILDCARD"}]},
            {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "c*", "filterType": "WILDCARD"}]}]}}),
        json!({"registryId": ACCOUNT, "replicationConfiguration": {"rules": [
            {"destinations": [{"region": "eu-west-1", "registryId": ACCOUNT}, {"region": "us-east-1", "registryId": ACCOUNT}]},
            {"destinations": [{"region": "eu-west-2", "registryId": ACCOUNT}], "repositoryFilters": [{"filter": "a", "filterType": "PREFIX_MATCH"}]}]}}),
        json!({"signingConfiguration": {"rules": [{"signingProfileArn": "arn:aws:signer:us-west-2:123456789012:/signing-profiles/p"}]}}),
    ];
    let settings = |answers: &[Value; 3]| {
        let operations = [
            "ecr:GetRegistryScanningConfiguration",
            "ecr:DescribeRegistry",
            "ecr:GetSigningConfiguration",
        ];
        let world = FakeAws::scripted(operations.into_iter().zip(answers.iter().cloned().map(Reply::Ok)));
        let found = world.run(world.aws().ecr_registry(account()).settings());
        found.map(|mut found| {
            found.scan_rules.iter_mut().for_each(|rule| rule.filters.sort());
            found.scan_rules.sort_by_key(|rule| rule.frequency.clone());
            found.replication.iter_mut().for_each(|rule| rule.destinations.sort());
            found.replication.sort_by_key(|rule| rule.prefixes.clone());
            found
        })
    };
    let (all_tags, all_copies) = (repository_tags(&tags).unwrap(), copies(&statuses).unwrap());
    let all_settings = settings(&registry);
    assert!(all_settings.is_ok());
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let (mut tags, mut statuses, mut registry) = (tags.clone(), statuses.clone(), registry.clone());
        numbers.shuffle_all(&mut tags);
        numbers.shuffle_all(&mut statuses);
        registry.iter_mut().for_each(|answer| numbers.shuffle_all(answer));
        assert_eq!(repository_tags(&tags), Ok(all_tags.clone()), "seed {seed}");
        assert_eq!(copies(&statuses), Ok(all_copies.clone()), "seed {seed}");
        assert_eq!(settings(&registry), all_settings, "seed {seed}");
        let one_in = thinned(&mut numbers).unwrap();
        numbers.thin_out(&mut tags, one_in);
        numbers.thin_out(&mut statuses, one_in);
        registry.iter_mut().for_each(|answer| numbers.thin_out(answer, one_in));
        // No tag that was not said.
        let found = repository_tags(&tags).unwrap_or_default();
        let is_said = |(name, value): (&String, &String)| all_tags.get(name) == Some(value);
        let mut whole = found
            .iter()
            .filter(|(name, value)| !name.is_empty() && !value.is_empty());
        assert!(whole.all(is_said), "seed {seed}: {found:?}");
        // No copy is complete of which ECR does not say so.
        let found = copies(&statuses).ok().flatten().unwrap_or_default();
        let complete = found.iter().filter(|(_, copy)| **copy == CopyState::Complete);
        let there: Vec<&Region> = complete.map(|(region, _)| region).collect();
        assert!(
            there.iter().all(|region| region.as_str() == "us-east-1"),
            "seed {seed}: {found:?}"
        );
        // No scanner but the one that was said, or an error.
        let found = settings(&registry);
        assert!(
            found.is_err() || found.map(|found| found.scanning) == all_settings.clone().map(|said| said.scanning),
            "seed {seed}: {registry:?}"
        );
    }
}

#[test]
fn a_key_is_not_usable_unless_kms_says_so() {
    let arn = "arn:aws:kms:us-west-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let arn: KeyArn = arn.parse().unwrap();
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let mut answer = json!({"KeyMetadata": {"KeyId": "1234abcd", "KeyManager": "CUSTOMER", "KeyState": "Disabled",
            "Enabled": true, "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS"}});
        let one_in = thinned(&mut numbers).unwrap();
        numbers.thin_out(&mut answer, one_in);
        let world = FakeAws::scripted([
            ("kms:DescribeKey", Reply::Ok(answer.clone())),
            (
                "kms:GetKeyRotationStatus",
                Reply::Ok(json!({"KeyRotationEnabled": true})),
            ),
        ]);
        if let Ok(KeyHealth::Known { state, .. }) = world.run(world.aws().kms_keys().key(&arn)) {
            assert_ne!(state, KeyState::Enabled, "seed {seed}: {answer}");
        }
    }
}

fn row(number: usize, region: &str) -> Row {
    let mut row = crate::adapters::dynamodb::row(1, json!({}));
    row.image = ImageKey {
        digest: digest(number).parse().unwrap(),
        region: region.parse().unwrap(),
        ..key()
    };
    row
}

fn item(row: &Row) -> Value {
    json!({"pk": {"S": Row::partition_key(&row.image)}, "sk": {"S": Row::sort_key(&row.image)},
        "row": {"S": serde_json::to_string(row).unwrap()}})
}

/// Pages of a query.
fn query(numbers: &mut Numbers, rows: &[Row], one_in: Option<usize>) -> FakeAws {
    let mut pages = answers(numbers, "Items", rows.iter().map(item).collect(), one_in);
    for page in &mut pages {
        let token = page.as_object_mut().unwrap().remove("nextToken");
        if let Some(token) = token {
            page["LastEvaluatedKey"] = json!({"pk": {"S": "p"}, "sk": {"S": token}});
        }
    }
    replies("dynamodb:Query", &pages)
}

fn in_order(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| Row::sort_key(&row.image));
    rows
}

#[test]
fn the_rows_of_a_query_are_the_same_on_any_pages_and_none_is_lost() {
    let rows: Vec<Row> = (0..9).map(|n| row(n, ["us-west-2", "eu-west-1"][n % 2])).collect();
    let regions = ["eu-west-1", "us-east-1", "us-west-2"];
    let mut elsewhere: Vec<Row> = regions.map(|region| row(1, region)).to_vec();
    let here = elsewhere[2].image.clone();
    let mut kept = 0;
    for seed in 1..=SEEDS {
        let mut numbers = Numbers(seed);
        let world = query(&mut numbers, &rows, None);
        let ledger = world.aws().dynamo_ledger(TABLE);
        let (found, unreadable) = walk(|after| world.run(ledger.rows(&repository_key(), after))).unwrap();
        assert_eq!(
            (in_order(found), unreadable),
            (in_order(rows.clone()), 0),
            "seed {seed}"
        );

        let world = query(&mut numbers, &elsewhere, None);
        let found = world
            .run(world.aws().dynamo_ledger(TABLE).rows_elsewhere(&here))
            .unwrap();
        assert_eq!(in_order(found), in_order(elsewhere[..2].to_vec()), "seed {seed}");

        let one_in = thinned(&mut numbers);
        let world = query(&mut numbers, &rows, one_in);
        let ledger = world.aws().dynamo_ledger(TABLE);
        if let Ok((found, unreadable)) = walk(|after| world.run(ledger.rows(&repository_key(), after))) {
            kept += found.len();
            assert_eq!(found.len() + unreadable, rows.len(), "seed {seed}");
            assert!(found.iter().all(|row| rows.contains(row)), "seed {seed}");
        }
        let world = query(&mut numbers, &elsewhere, one_in);
        if let Ok(found) = world.run(world.aws().dynamo_ledger(TABLE).rows_elsewhere(&here)) {
            assert_eq!(
                in_order(found),
                in_order(elsewhere[..2].to_vec()),
                "seed {seed}: a source is lost"
            );
        }
        numbers.shuffle(&mut elsewhere[..2]);
    }
    assert!(kept > 50, "{kept} rows were read from thinned answers");
}

/// A table that has some of what it is asked for in each answer, in any order, and leaves the rest for the next one.
fn table(seed: u64, rows: Vec<Row>, one_in: Option<usize>) -> FakeAws {
    let numbers = std::sync::Mutex::new(Numbers(seed));
    FakeAws::new(move |request| {
        let mut numbers = numbers.lock().unwrap();
        let mut keys = request.body["RequestItems"][TABLE]["Keys"].as_array().unwrap().clone();
        numbers.shuffle(&mut keys);
        let left = keys.split_off(numbers.below(keys.len()) + 1);
        let is_asked = |row: &&Row| {
            keys.iter()
                .any(|key| key["sk"]["S"] == json!(Row::sort_key(&row.image)))
        };
        let mut items: Vec<Value> = rows.iter().filter(is_asked).map(item).collect();
        numbers.shuffle(&mut items);
        let mut responses = json!({TABLE: items});
        if let Some(one_in) = one_in {
            numbers.thin_out(&mut responses, one_in);
        }
        let unprocessed = if left.is_empty() {
            json!({})
        } else {
            json!({TABLE: {"Keys": left}})
        };
        Reply::Ok(json!({"Responses": responses, "UnprocessedKeys": unprocessed}))
    })
}

#[test]
fn many_rows_come_in_the_order_that_was_asked_whatever_each_answer_leaves_for_the_next() {
    // The last one is in no table: that is no row, which no other answer may look like.
    let rows: Vec<Row> = (0..130).map(|n| row(n, "us-west-2")).collect();
    let asked: Vec<ImageKey> = (0..131).map(|n| row(n, "us-west-2").image).collect();
    let expected: Vec<Option<Row>> = rows.iter().cloned().map(Some).chain([None]).collect();
    let (mut calls, mut kept) = (0, 0);
    for seed in 1..=20 {
        let world = table(seed, rows.clone(), None);
        let found = world.run(world.aws().dynamo_ledger(TABLE).rows_of(&asked)).unwrap();
        assert!(found == expected, "seed {seed}");
        calls += world.calls().len();
        let one_in = Some([4000, 1000, 60][Numbers(seed).below(3)]);
        let world = table(seed, rows.clone(), one_in);
        if let Ok(found) = world.run(world.aws().dynamo_ledger(TABLE).rows_of(&asked)) {
            kept += 1;
            assert!(found == expected, "seed {seed}: a row is taken for none");
        }
    }
    assert!(
        calls > 60 && kept > 3,
        "{calls} calls; {kept} answers were read that had been thinned out"
    );
}
