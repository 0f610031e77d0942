//! Documents of people and of other programs.

use std::collections::BTreeSet;

use ecr_guard_cli::policy::{check, checked_text};
use serde_json::Value;
use shared::{
    core::{
        finding::{Scan, Severity},
        gate::Asked,
        glob::Glob,
        ids::TopicArn,
        image::{self, MAX_CHILDREN},
        policy::Policy,
        registry::access::RefusedAccess,
        repository::{
            access::{self, KnownPrincipals},
            keys::KeyArn,
            lifecycle::{Lifecycle, LifecycleDocument, SurplusCounter},
            tags::TagPattern,
        },
        snapshot::{SnapshotLine, record_of_item},
        text,
        uses::ImageReference,
    },
    testing::{self, World, finding, handle_event, scan},
};

use crate::payloads::check_world;

/// The longest line that says why a document is refused.
const MAX_WHY: usize = 2_000;

fn check_why(why: &str) {
    assert!(why.len() <= MAX_WHY, "{} bytes of why: {why}", why.len());
    assert!(!why.contains('\n'), "more than a line: {why:?}");
}

/// A policy, as a function reads it, and the block and the alert that follow from it.
pub(crate) fn policy(document: &str) {
    let now = testing::now();
    let strict = Policy::from_json(document, now);
    let deployed = Policy::from_deployed_json(document, now);
    if let Err(error) = &deployed {
        check_why(&error.to_string());
        assert!(strict.is_err(), "a function refuses what a check lets pass: {error}");
    }
    // It reads documents that nobody has checked.
    let _ = Policy::written_out(document);
    let Ok(policy) = deployed else { return };
    for line in policy.describe(now) {
        assert!(!line.contains('\n'), "more than a line: {line:?}");
    }
    for remark in policy.remarks(now) {
        check_why(&remark.to_string());
    }
    let key = testing::image_key();
    let found = scan(vec![
        finding("CVE-2026-1", Severity::Critical),
        finding("CVE-2026-2", Severity::Undefined),
    ]);
    let world = World::with(&key, testing::image(&key), Scan::Complete(found));
    let scanned = testing::event(
        "ECR Image Scan",
        &serde_json::json!({"scan-status": "COMPLETE", "image-tags": []}),
    );
    handle_event(&world, &policy, on_scan::select, &scanned).expect("an image is reconciled");
    check_world(&world, &key);
}

/// A policy, as `ecr-guard policy check` reads it.
pub(crate) fn policy_check(document: &str) {
    let checked = check::check(document, None, testing::now());
    assert_eq!(checked.valid, checked.problems.is_empty());
    assert!(checked.problems.len() <= 101, "{} problems", checked.problems.len());
    let lines = document.split('\n').count();
    for said in checked.problems.iter().chain(&checked.warnings) {
        check_why(&said.text);
        assert!((1..=lines).contains(&said.line), "line {} of {lines}", said.line);
    }
    let text = checked_text("policy.json", &checked);
    assert!(text.len() < 1024 * 1024);
}

/// A lifecycle policy that a repository has.
pub(crate) fn lifecycle(document: &str) {
    let Ok(read) = serde_json::from_str::<LifecycleDocument>(document) else {
        return;
    };
    match Lifecycle::new(read.rules) {
        Ok(lifecycle) => {
            assert!((100..=30_720).contains(&lifecycle.text().chars().count()));
            assert!(lifecycle.means_the_same_as(lifecycle.text()));
            assert!(
                lifecycle.means_the_same_as(document),
                "its own rules mean something else"
            );
            let (_, _) = (lifecycle.counts_marks(), lifecycle.archives_unpulled());
            assert!(
                lifecycle
                    .without_unpulled()
                    .is_none_or(|less| !less.archives_unpulled())
            );
            for remark in lifecycle.remarks() {
                check_why(&remark);
            }
            let counter = SurplusCounter::new(&lifecycle, testing::now());
            let _ = counter.finish(&BTreeSet::new());
        }
        Err(error) => check_why(&error.to_string()),
    }
}

/// A repository policy of others.
pub(crate) fn repository_policy(document: &str) {
    let key = testing::image_key();
    let (accounts, organizations) = (BTreeSet::new(), BTreeSet::new());
    let known = KnownPrincipals {
        own: &key.account,
        accounts: Some(&accounts),
        organizations: Some(&organizations),
    };
    drop(access::lambda_may_pull(Some(document)));
    let exposures = match access::exposures(document, &known) {
        Ok(exposures) => exposures,
        Err(error) => {
            check_why(&error.to_string());
            assert!(access::without(document, &BTreeSet::new()).is_err());
            return;
        }
    };
    let value = |text: &str| -> Option<Value> { serde_json::from_str(text).ok() };
    let all = access::without(document, &BTreeSet::new()).expect("it was read");
    if let Some(all) = &all {
        let statements = |text: &str| match value(text).and_then(|mut value| Some(value.get_mut("Statement")?.take())) {
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        assert_eq!(statements(all), statements(document), "a statement of others is gone");
    }
    let taken: BTreeSet<usize> = exposures.iter().map(|exposure| exposure.index).collect();
    match access::without(document, &taken) {
        Ok(Some(kept)) => {
            let left = access::exposures(&kept, &known).expect("what is left can be read");
            assert_eq!(left, [], "it still lets in others");
        }
        Ok(None) => {}
        Err(error) => check_why(&error.to_string()),
    }
}

/// A manifest, of an image, an index or anything else.
pub(crate) fn manifest(text: &str) {
    if let Some(listed) = image::children(text) {
        assert!(listed.children.len() <= MAX_CHILDREN);
        let digests: BTreeSet<_> = listed.children.iter().map(|child| &child.digest).collect();
        assert_eq!(digests.len(), listed.children.len(), "an entry is there twice");
    }
    drop(image::content(text));
}

/// Names of images, tags, keys and topics; texts of others in alerts.
pub(crate) fn names(input: &str) {
    if let Ok(reference) = input.parse::<ImageReference>() {
        drop(reference.key());
    }
    let asked = Asked::new(input);
    assert!(asked.is_malformed || asked.image.is_some() || asked.digest().is_none());
    drop(Asked::deployed(input));
    if let Err(error) = input.parse::<TopicArn>() {
        check_why(&error.to_string());
    }
    if let Err(error) = input.parse::<KeyArn>() {
        check_why(&error.to_string());
    }
    let (pattern, name) = input.split_once(' ').unwrap_or((input, input));
    match pattern.parse::<Glob>() {
        Ok(glob) => {
            let _ = glob.matches(name);
            assert!(glob.matches(&pattern.replace('*', "x")), "{pattern}");
        }
        Err(error) => check_why(&error.to_string()),
    }
    if let Err(error) = pattern.parse::<TagPattern>() {
        check_why(&error.to_string());
    }
    let line = text::line(input, 100);
    assert!(
        line.chars().count() <= 100 && !line.contains(char::is_control),
        "{line:?}"
    );
    assert_eq!(text::line(&line, 100), line, "it is not the same a second time");
    let ascii = text::ascii(input, 100);
    let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    assert!(ascii.len() <= 100 && ascii.bytes().all(is_printable), "{ascii:?}");
    let plain = text::plain(input, 100);
    // The brackets that take the life out of addresses come on top.
    let brackets = 2 * plain.matches("[.]").count() + 2 * plain.matches("[:]").count();
    let is_short = plain.chars().count() <= 100 + brackets;
    assert!(is_short && !plain.contains(char::is_control), "{plain:?}");
    for chat in [text::markdown(&line), text::code(&line), text::token(input, 60)] {
        assert!(!chat.contains("<!") && !chat.contains(char::is_control), "{chat:?}");
    }
    if let Some(url) = text::url(input) {
        assert!(url.starts_with("https://") && url.len() <= text::MAX_URL, "{url}");
    }
}

/// The words with which AWS refuses a call.
pub(crate) fn refused_access(message: &str) {
    let refused = RefusedAccess::read("ecr:DescribeImages", message, testing::now());
    assert!(refused.missing.len() <= 200 && !refused.missing.contains(char::is_control));
    assert!(refused.role.as_ref().is_none_or(|role| role.len() <= 200));
    assert!(!refused.message().contains('\n'));
    drop(refused.next_steps(&testing::registry_key()));
}

/// A line of a snapshot, and rows as the table has them.
pub(crate) fn snapshot(line: &str) {
    match SnapshotLine::read(line) {
        Ok(read) => {
            let written = read.write().expect("what was read can be written");
            let again = SnapshotLine::read(&written).expect("what was written can be read");
            assert_eq!(again, read);
        }
        Err(error) => check_why(&error.to_string()),
    }
    let kinds = [
        "image",
        "summary",
        "registry",
        "repository",
        "tag",
        "replica",
        "replication",
        "backfill",
    ];
    let of_images = kinds.map(|kind| ("123456789012/us-west-2/api", kind));
    let of_uses = ["use", "index", "refused"].map(|kind| ("uses#123456789012/us-west-2", kind));
    for (pk, kind) in of_images.into_iter().chain(of_uses) {
        let record = record_of_item(pk, &format!("{kind}#x"), Some(line), None).expect("a record of this kind");
        let written = SnapshotLine::Record(record).write().expect("a record can be written");
        SnapshotLine::read(&written).expect("what was written can be read");
    }
}
