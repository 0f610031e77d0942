use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use guard_core::{
    finding::{Severity, SeverityCounts},
    ids::Tag,
};

const DIGEST: &str = "sha256:3f9a1c0e5b7d2468ace013579bdf02468ace13579bdf02468ace13579bdf0246";

// Characters that must not reach a message: escapes of a terminal, a new line, bidi controls, a zero-width space, a byte order
// mark, a tag character, half a quotation.
const HOSTILE: &str = "`\u{1b}[31m\n\r\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}<!channel> é \"";

fn action(detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": "1",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "123456789012",
        "time": "2026-03-02T09:15:00Z",
        "region": "us-west-2",
        "resources": [],
        "detail": detail,
    })
}

fn push() -> Value {
    action(&json!({
        "action-type": "PUSH",
        "result": "SUCCESS",
        "repository-name": "team/api",
        "image-digest": DIGEST,
        "image-tag": "1.4.2",
    }))
}

fn scan(members: &Value) -> Value {
    let mut event = action(&json!({
        "scan-status": "COMPLETE",
        "repository-name": "team/api",
        "image-digest": DIGEST,
        "image-tags": ["1.4.2"],
    }));
    event["detail-type"] = "ECR Image Scan".into();
    for (name, value) in members.as_object().unwrap() {
        event["detail"][name] = value.clone();
    }
    event
}

fn parse_value(event: &Value) -> Result<Event, Poison> {
    parse(&event.to_string())
}

#[track_caller]
fn read_scan(members: &Value) -> ImageScan {
    match parse_value(&scan(members)).unwrap().body {
        Body::ImageScan(scan) => scan,
        other => panic!("{other:?} is no scan"),
    }
}

/// Everything that is promised of an error.
#[track_caller]
fn check_poison(poison: &Poison) {
    let message = poison.to_string();
    assert!(poison.path.starts_with('$'), "{poison:?}");
    assert!(message.len() <= 300, "{} characters: {message}", message.len());
    assert!(message.chars().all(|c| matches!(c, ' '..='~')), "{message:?}");
    assert!(message.starts_with("the event") && !message.ends_with('.'), "{message}");
    assert_eq!(message.matches('`').count() % 2, 0, "{message}");
}

fn fixtures() -> Vec<(PathBuf, String)> {
    fn visit(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let json = fs::read_to_string(&path).unwrap();
                files.push((path, json));
            }
        }
    }
    let mut files = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/events"),
        &mut files,
    );
    files.sort();
    files
}

fn is_poison(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("poison-"))
}

fn readable_fixtures() -> Vec<(PathBuf, Value)> {
    let files = fixtures().into_iter().filter(|(path, _)| !is_poison(path));
    files
        .map(|(path, json)| (path, serde_json::from_str(&json).unwrap()))
        .collect()
}

#[test]
fn fixtures_are_read_as_recorded() {
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("../../../tests/fixtures/events", "**/*.json", |path| {
            if !is_poison(path) {
                insta::assert_debug_snapshot!(parse(&fs::read_to_string(path).unwrap()).unwrap());
            }
        });
    });
}

#[test]
fn poison_is_refused_as_recorded() {
    let mut messages = String::new();
    for (path, json) in fixtures().into_iter().filter(|(path, _)| is_poison(path)) {
        let name = path.file_name().unwrap().to_string_lossy();
        messages += &format!("{name}\n    {}\n", parse(&json).unwrap_err());
    }
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(messages);
    });
}

#[test]
fn a_fixture_is_poison_if_and_only_if_it_is_called_so() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 60, "{} fixtures", fixtures.len());
    for (path, json) in fixtures {
        match parse(&json) {
            Ok(_) => assert!(!is_poison(&path), "{} is read", path.display()),
            Err(poison) => {
                assert!(is_poison(&path), "{}: {poison}", path.display());
                check_poison(&poison);
            }
        }
    }
}

#[test]
fn an_image_is_named_by_digest_and_otherwise_by_its_first_valid_tag() {
    #[track_caller]
    fn check(digest: &Value, tags: &Value, expected: Option<&str>) {
        let members = json!({"image-digest": digest, "image-tags": tags});
        let image = parse_value(&scan(&members)).map(|event| event.image().unwrap().to_string());
        assert_eq!(image.ok().as_deref(), expected, "{members}");
    }
    check(&json!("sha256:aa"), &json!(["1", "2"]), Some("@sha256:aa"));
    check(&json!("sha256:aa"), &json!([]), Some("@sha256:aa"));
    check(&json!("sha256:aa"), &json!(null), Some("@sha256:aa"));
    check(&json!("sha256:aa"), &json!(["-"]), Some("@sha256:aa"));
    check(&json!(null), &json!(["1", "2"]), Some(":1"));
    check(&json!(""), &json!(["1"]), Some(":1"));
    check(&json!("not a digest"), &json!(["-", null, 3, "1", "2"]), Some(":1"));
    check(&json!(null), &json!([]), None);
    check(&json!(null), &json!(["-"]), None);
    check(&json!("1"), &json!(null), None);
    check(&json!(null), &json!({"0": "1"}), None);
    check(&json!(7), &json!(["1"]), None);
}

#[test]
fn valid_tags_are_kept_in_order_and_as_many_as_an_image_can_have() {
    let scan = read_scan(&json!({"image-tags": ["b", "-", "a", "", "b", null]}));
    assert_eq!(
        scan.name.tags.iter().map(Tag::as_str).collect::<Vec<_>>(),
        ["b", "a", "b"]
    );
    let many: Vec<_> = (0..2_000).map(|n| format!("v{n}")).collect();
    assert_eq!(read_scan(&json!({"image-tags": many})).name.tags.len(), MAX_TAGS);
}

#[test]
fn the_registry_is_where_the_body_says_and_otherwise_where_the_event_is_from() {
    #[track_caller]
    fn check(repository: &str, expected: Option<(&str, &str)>) {
        let event = parse_value(&scan(&json!({"repository-name": repository})));
        let registry = event.as_ref().map(|event| event.registry());
        let registry = registry.map(|(account, region)| (account.as_str(), region.as_str()));
        assert_eq!(registry.ok(), expected, "{repository}");
    }
    check("team/api", Some(("123456789012", "us-west-2")));
    check(
        "arn:aws:ecr:eu-west-1:210987654321:repository/team/api",
        Some(("210987654321", "eu-west-1")),
    );
    check(
        "arn:aws-us-gov:ecr:us-gov-west-1:210987654321:repository/team/api/sha256:aa",
        Some(("210987654321", "us-gov-west-1")),
    );
    // Not one of these is completed from the envelope.
    check("arn:aws:ecr:eu-west-1::repository/team/api", None);
    check("arn:aws:ecr::210987654321:repository/team/api", None);
    check("arn:aws:ecr:eu-west-1:210987654321:team/api", None);
    check("arn:aws:s3:eu-west-1:210987654321:repository/team/api", None);
    check("arn:", None);
    check(":repository/team/api", None);
}

#[test]
fn a_detail_type_decides_and_a_source_does_not() {
    let expected = parse_value(&push()).unwrap();
    for source in ["aws.ecr", "aws.inspector2", "ecr-guard.smoke", ""] {
        let mut event = push();
        event["source"] = source.into();
        let event = parse_value(&event).unwrap();
        assert_eq!(event.source, source);
        assert_eq!(event.body, expected.body);
    }
    for detail_type in ["ecr image action", "ECR Image Action ", "Scheduled Event", "", HOSTILE] {
        let mut event = push();
        event["detail-type"] = detail_type.into();
        event["detail"] = 7.into();
        let body = parse_value(&event).unwrap().body;
        assert!(matches!(body, Body::Unknown { .. }), "`{detail_type}`: {body:?}");
    }
}

#[test]
fn a_time_is_read_if_it_is_one() {
    for (time, expected) in [
        (json!("2026-03-02T09:15:00Z"), Some("2026-03-02T09:15:00Z")),
        (json!("2026-03-02T10:15:00+01:00"), Some("2026-03-02T09:15:00Z")),
        (json!("2023-02-29T02:36:48Z"), None),
        (json!("Wed Sep 04 16:55:38.411 UTC 2024"), None),
        (json!(HOSTILE), None),
        (json!(1_772_442_900), None),
        (json!(null), None),
    ] {
        let mut event = push();
        event["time"] = time.clone();
        let read = parse_value(&event).unwrap().time;
        assert_eq!(read.map(|time| time.to_string()).as_deref(), expected, "{time}");
    }
}

/// The type that reads the envelope refuses an event for some of these.
#[test]
fn an_odd_envelope_loses_no_event() {
    let original = parse_value(&push()).unwrap();
    let odd = [
        json!(null),
        json!(0),
        json!(true),
        json!("2026-02-30T25:61:00Z"),
        json!(["arn:aws:ecr:us-west-2:123456789012:repository/other", 7, null, {}]),
        json!({"id": 1}),
    ];
    let of_a_member = |name: &'static str| odd.iter().map(move |value| (name, Some(value.clone())));
    let mut changes: Vec<_> = ["version", "time", "resources", "replay-name", "detail_type", "id2"]
        .into_iter()
        .flat_map(of_a_member)
        .collect();
    changes.extend(["version", "time", "resources"].map(|name| (name, None)));
    for (name, value) in changes {
        let mut event = push();
        let members = event.as_object_mut().unwrap();
        match &value {
            Some(value) => members.insert(name.to_owned(), value.clone()),
            None => members.remove(name),
        };
        let read = parse_value(&event).unwrap_or_else(|poison| panic!("{name} {value:?}: {poison}"));
        let time = if name == "time" { None } else { original.time };
        assert_eq!(
            read,
            Event {
                time,
                ..original.clone()
            },
            "{name} {value:?}"
        );
    }
    // An unknown version has no detail to be read.
    for detail in [None, Some(json!(null)), Some(json!([1])), Some(json!("text"))] {
        let mut event = push();
        let members = event.as_object_mut().unwrap();
        members.insert("detail-type".to_owned(), json!("ECR Something New"));
        members.remove("detail");
        members.extend(detail.map(|detail| ("detail".to_owned(), detail)));
        let body = parse_value(&event).unwrap().body;
        assert!(matches!(body, Body::Unknown { .. }), "{body:?}");
    }
}

#[test]
fn words_that_are_unknown_are_kept_in_printable_ascii() {
    let event = action(&json!({
        "action-type": HOSTILE,
        "result": "é".repeat(1_000_000 / 3),
        "repository-name": "team/api",
        "image-digest": DIGEST,
    }));
    let Body::ImageAction(action) = parse_value(&event).unwrap().body else {
        panic!("it is an action");
    };
    for word in [action.action.as_str(), action.result.as_str()] {
        assert!(
            word.len() <= MAX_TEXT && word.chars().all(|c| matches!(c, ' '..='~')),
            "{word:?}"
        );
    }
    assert_eq!(
        ImageActionType::from_word("push"),
        ImageActionType::Other("push".into())
    );
    assert_eq!(ActionResult::from_word("FAILURE"), ActionResult::Failed);
    assert_eq!(ScanStatus::InitialScanComplete.to_string(), "INITIAL_SCAN_COMPLETE");
    assert_eq!(ScanStatus::from_word("NEW").to_string(), "NEW");
}

#[test]
fn nothing_in_severity_counts_makes_findings_disappear() {
    #[track_caller]
    fn check(counts: &Value, expected: &[(Severity, u64)]) {
        let read = read_scan(&json!({"finding-severity-counts": counts})).counts;
        assert_eq!(read, expected.iter().copied().collect::<SeverityCounts>(), "{counts}");
    }
    use Severity::{Critical, High, Low, Medium, Undefined};
    check(&json!(null), &[]);
    check(&json!({}), &[]);
    check(&json!({"CRITICAL": 0, "HIGH": 0.0, "LOW": -0.0, "TOTAL": 0}), &[]);
    check(
        &json!({"CRITICAL": 7, "HIGH": 61, "MEDIUM": 62, "TOTAL": 158}),
        &[(Critical, 7), (High, 61), (Medium, 62)],
    );
    check(&json!({"critical": 2, "CRITICAL": 3}), &[(Critical, 5)]);
    check(
        &json!({"UNTRIAGED": 1, "UNDEFINED": 2, "CATASTROPHIC": 3, "": 4}),
        &[(Undefined, 10)],
    );
    check(&json!({"CRITICAL": -1}), &[(Critical, 1)]);
    check(&json!({"CRITICAL": "2"}), &[(Critical, 1)]);
    check(
        &json!({"CRITICAL": null, "LOW": [], "HIGH": {}}),
        &[(Critical, 1), (Low, 1), (High, 1)],
    );
    check(&json!({"CRITICAL": false}), &[(Critical, 1)]);
    check(&json!({"CRITICAL": 0.1, "LOW": 1.5}), &[(Critical, 1), (Low, 2)]);
    check(
        &json!({"CRITICAL": u64::MAX, "HIGH": 1e300, "LOW": 1}),
        &[(Critical, u64::MAX), (High, u64::MAX), (Low, 1)],
    );
    check(&json!({"UNDEFINED": u64::MAX, "OTHER": 1}), &[(Undefined, u64::MAX)]);
    check(&json!([]), &[(Undefined, 1)]);
    check(&json!("none"), &[(Undefined, 1)]);
    check(&json!(0), &[(Undefined, 1)]);
}

#[test]
fn a_count_that_no_number_can_hold_is_the_largest() {
    let json = scan(&json!({"finding-severity-counts": {"CRITICAL": 12345}})).to_string();
    let Body::ImageScan(scan) = parse(&json.replace(":12345}", ":1e999}")).unwrap().body else {
        panic!("it is a scan");
    };
    assert_eq!(scan.counts, SeverityCounts::from([(Severity::Critical, u64::MAX)]));
}

#[test]
fn an_error_names_the_place_and_shows_little() {
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut event = push();
        change(&mut event);
        let poison = parse_value(&event).unwrap_err();
        check_poison(&poison);
        poison.to_string()
    }
    insta::assert_snapshot!(
        refused(|event| event["detail"]["repository-name"] = HOSTILE.into()),
        @r"the event is not readable at `$.detail.repository-name`: `'\u{1b}[31m\u{a}\u{d}\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}<...` is not a repository name"
    );
    insta::assert_snapshot!(
        refused(|event| event["detail"]["repository-name"] = "A".repeat(1_000).into()),
        @"the event is not readable at `$.detail.repository-name`: `AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...` is not a repository name"
    );
    insta::assert_snapshot!(
        refused(|event| event["detail"]["repository-name"] = json!({HOSTILE: [HOSTILE]})),
        @r#"the event is not readable at `$.detail.repository-name`: `{"'\u001b[31m\n\r\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}<!cha...` is not a string"#
    );
    insta::assert_snapshot!(refused(|event| event["detail"] = Value::Null), @"the event is not readable at `$.detail`: an object is missing");
    insta::assert_snapshot!(refused(|event| event["account"] = HOSTILE.into()), @r"the event is not readable at `$.account`: `'\u{1b}[31m\u{a}\u{d}\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}<...` is not an AWS account id");
}

#[test]
fn what_is_no_event_is_refused() {
    #[track_caller]
    fn check(json: &str, expected: &Reason) {
        let poison = parse(json).unwrap_err();
        check_poison(&poison);
        assert_eq!((poison.path.as_str(), &poison.reason), ("$", expected));
    }
    check("", &Reason::NotJson { line: 1, column: 0 });
    check("{}{}", &Reason::NotJson { line: 1, column: 3 });
    check("{\"a\": 01}", &Reason::NotJson { line: 1, column: 8 });
    for found in ["[]", "null", "7", "true"] {
        check(
            found,
            &Reason::Invalid {
                expected: "an object",
                found: found.into(),
            },
        );
    }
    let huge = format!("\"{}\"", HOSTILE.repeat(10_000_000 / HOSTILE.len()));
    check(&huge, &Reason::TooLarge { bytes: huge.len() });
    let deep = "[".repeat(MAX_DEPTH + 1);
    check(&deep, &Reason::TooDeep);
    let deep = format!(
        "{{\"\\\"\": {}{}}}",
        "{\"\": [".repeat(MAX_DEPTH),
        "]}".repeat(MAX_DEPTH)
    );
    check(&deep, &Reason::TooDeep);
    let members: Vec<_> = (0..=MAX_ENTRIES).map(|n| format!("\"{n}\": 0")).collect();
    check(
        &format!("{{{}}}", members.join(",")),
        &Reason::TooMany {
            entries: MAX_ENTRIES + 1,
        },
    );
    check(
        "{\"a`\\u202e\": 1, \"b\": 2, \"a`\u{202e}\": 1}",
        &Reason::Duplicate {
            member: "a'\\u{202e}".into(),
        },
    );
}

#[test]
fn brackets_in_strings_are_not_nested() {
    let mut event = push();
    event["detail"]["image-tag"] = format!("\"\\{}", "[{".repeat(1_000)).into();
    assert!(parse_value(&event).is_ok());
}

#[test]
fn printable_text_is_short_ascii_and_cut_where_it_was_whole() {
    for (text, expected) in [
        ("", ""),
        ("ECR Image Action", "ECR Image Action"),
        ("a`b", "a'b"),
        ("12345678901234567890", "12345678901234567890"),
        ("123456789012345678901", "12345678901234567..."),
        ("\u{202e}\n", "\\u{202e}\\u{a}"),
        ("123456789\u{202e}\u{202e}", "123456789\\u{202e}..."),
        ("1234567890123456\u{202e}", "1234567890123456..."),
    ] {
        assert_eq!(printable(text, 20), expected, "{text:?}");
    }
}

/// Places of all members of all objects and of all elements of all lists.
fn places(value: &Value, pointer: &str, places: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(n, value)| (n.to_string(), value))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, child) in children {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        places.push(pointer.clone());
        self::places(child, &pointer, places);
    }
}

fn without(event: &Value, pointer: &str) -> Value {
    let mut event = event.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match event.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            let name = name.replace("~1", "/").replace("~0", "~");
            members.remove(&name).unwrap();
        }
        Value::Array(elements) => {
            elements.remove(name.parse().unwrap());
        }
        other => panic!("{other} has no members"),
    }
    event
}

fn with(event: &Value, pointer: &str, value: Value) -> Value {
    let mut event = event.clone();
    *event.pointer_mut(pointer).unwrap() = value;
    event
}

/// The event as text, with one member there twice: first with a value of another, then with its own.
fn with_twice(event: &Value, pointer: &str, other: &Value) -> Option<String> {
    const MARK: &str = "\u{1}mark\u{1}";
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let mut marked = event.clone();
    let members = marked.pointer_mut(parent).unwrap().as_object_mut()?;
    let own = members.insert(name.clone(), MARK.into()).unwrap();
    let name = Value::from(name);
    let twice = format!("{other},{name}:{own}");
    Some(marked.to_string().replace(&Value::from(MARK).to_string(), &twice))
}

/// Values that are never a valid identifier.
fn wrong_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(""),
        json!(HOSTILE),
        json!(HOSTILE.repeat(20)),
        json!([]),
        json!([[[HOSTILE]]]),
        json!({}),
        json!({HOSTILE: {HOSTILE: null}}),
    ]
}

/// Whether a changed event still speaks of nothing but what the event spoke of.
#[track_caller]
fn check_same_image(original: &Event, changed: &Event, what: &str) {
    let Some(image) = changed.image() else {
        return;
    };
    let name = original
        .body
        .name()
        .unwrap_or_else(|| panic!("{what}: names an image out of nothing"));
    let known = match &image {
        ImageRef::Digest(digest) => name.digest.as_ref() == Some(digest),
        ImageRef::Tag(tag) => name.tags.contains(tag),
    };
    assert!(known, "{what}: {image} instead of {name:?}");
    assert_eq!(
        changed.body.name().map(|name| &name.repository),
        Some(&name.repository),
        "{what}"
    );
    assert_eq!(changed.registry(), original.registry(), "{what}");
}

#[test]
fn a_member_that_is_absent_or_wrong_never_yields_another_image_and_never_a_panic() {
    let mut cases = 0;
    for (path, event) in readable_fixtures() {
        let original = parse_value(&event).unwrap();
        let mut pointers = Vec::new();
        places(&event, "", &mut pointers);
        for pointer in pointers {
            let mut changed = vec![without(&event, &pointer)];
            changed.extend(wrong_values().into_iter().map(|value| with(&event, &pointer, value)));
            for changed in changed {
                cases += 1;
                match parse_value(&changed) {
                    // Without a known detail type nothing else is read.
                    Ok(read) if pointer == "/detail-type" => {
                        assert!(matches!(read.body, Body::Unknown { .. }), "{pointer}: {read:?}");
                    }
                    Ok(read) => check_same_image(&original, &read, &format!("{} {pointer}", path.display())),
                    Err(poison) => check_poison(&poison),
                }
            }
        }
    }
    assert!(cases >= 5_000, "{cases} cases");
}

#[test]
fn a_member_that_is_there_twice_is_refused_wherever_it_would_be_read() {
    for (path, event) in readable_fixtures() {
        let original = parse_value(&event).unwrap();
        let mut pointers = Vec::new();
        places(&event, "", &mut pointers);
        for pointer in pointers {
            for other in [json!("sha256:bb"), json!("other/repository"), json!([]), json!({})] {
                let Some(twice) = with_twice(&event, &pointer, &other) else {
                    continue;
                };
                match parse(&twice) {
                    Ok(read) => assert_eq!(read, original, "{} {pointer}", path.display()),
                    Err(poison) => {
                        check_poison(&poison);
                        assert!(matches!(poison.reason, Reason::Duplicate { .. }), "{poison}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_member_that_is_unknown_changes_nothing() {
    for (path, event) in readable_fixtures() {
        let original = parse_value(&event).unwrap();
        let mut pointers = vec![String::new()];
        places(&event, "", &mut pointers);
        for pointer in pointers {
            // A severity is the one name that is data.
            if pointer.ends_with("finding-severity-counts") {
                continue;
            }
            let mut changed = event.clone();
            let Some(members) = changed.pointer_mut(&pointer).unwrap().as_object_mut() else {
                continue;
            };
            members.insert("something-new".into(), json!({"image-digest": ["sha256:bb", HOSTILE]}));
            assert_eq!(
                parse_value(&changed),
                Ok(original.clone()),
                "{} {pointer}",
                path.display()
            );
        }
    }
}

#[test]
fn an_event_that_is_cut_off_is_refused() {
    for (path, json) in fixtures().into_iter().filter(|(path, _)| !is_poison(path)) {
        let json = json.trim_end();
        for (end, _) in json.char_indices() {
            let poison = parse(json.get(..end).unwrap()).expect_err(&format!("{} until {end}", path.display()));
            check_poison(&poison);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "repository-name",
        "image-digest",
        "image-tag",
        "image-tags",
        "finding-severity-counts",
        "scan-status",
        "action-type",
        "result",
        "resources",
        "details",
        "awsEcrContainerImage",
        "imageHash",
        "repositoryName",
        "registry",
        "type",
        "AWS_ECR_CONTAINER_IMAGE",
        "COMPLETE",
        "team/api",
        "sha256:aa",
        "arn:aws:ecr:us-west-2:123456789012:repository/team/api",
    ]);
    let name = prop_oneof![4 => word.prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        name.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn any_detail_type() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "ECR Image Action",
        "ECR Referrer Action",
        "ECR Image Scan",
        "ECR Replication Action",
        "ECR Pull Through Cache Action",
        "ECR Scan Resource Change",
        "Inspector2 Scan",
        "Inspector2 Finding",
        "Inspector2 Coverage",
        "Inspector2 AutoEnable",
    ])
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        if let Err(poison) = parse(&String::from_utf8_lossy(&bytes)) {
            check_poison(&poison);
        }
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        if let Err(poison) = parse_value(&value) {
            check_poison(&poison);
        }
    }

    #[test]
    fn any_detail_is_read_or_refused(detail_type in any_detail_type(), detail in any_json(), resources in any_json()) {
        let mut event = push();
        event["detail-type"] = detail_type.into();
        event["detail"] = detail;
        event["resources"] = resources;
        match parse_value(&event) {
            Ok(event) => {
                if let Some(name) = event.body.name() {
                    prop_assert!(name.tags.len() <= MAX_TAGS);
                }
                if let Body::ImageAction(ImageAction { name, .. })
                | Body::ReferrerAction(ImageAction { name, .. })
                | Body::ImageScan(ImageScan { name, .. })
                | Body::InspectorScan(ImageScan { name, .. })
                | Body::Replication(Replication { name, .. })
                | Body::InspectorFinding(InspectorFinding { name, .. }) = &event.body
                {
                    prop_assert!(name.image().is_some());
                }
            }
            Err(poison) => check_poison(&poison),
        }
    }

    #[test]
    fn any_text_becomes_short_printable_ascii(text in any::<String>(), max in 3_usize..200) {
        let out = printable(&text, max);
        prop_assert!(out.len() <= max);
        prop_assert!(out.chars().all(|c| matches!(c, ' '..='~') && c != '`'));
    }
}

#[test]
fn an_odd_member_is_no_error_where_another_says_the_same() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let arn = format!("arn:aws:ecr:us-west-2:123456789012:repository/team/api/{digest}");
    let image = |more: serde_json::Value| {
        let mut image =
            json!({"repositoryName": "team/api", "imageHash": digest, "registry": "123456789012", "imageTags": ["v1"]});
        image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"awsEcrContainerImage": image})
    };
    let resource = |more: serde_json::Value| {
        let mut resource =
            json!({"id": arn, "type": "AWS_ECR_CONTAINER_IMAGE", "region": "us-west-2", "details": image(json!({}))});
        resource
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        resource
    };
    for resources in [
        json!([resource(json!({"region": "N/A"}))]),
        json!([resource(json!({"region": 7}))]),
        json!([resource(json!({"details": image(json!({"registry": "N/A"}))}))]),
        json!([resource(json!({"details": image(json!({"imageHash": "N/A"}))}))]),
        json!([resource(json!({"details": image(json!({"repositoryName": "N/A!"}))}))]),
        json!([resource(json!({"details": image(json!({"imageTags": "N/A"}))}))]),
        json!([resource(json!({"details": image(json!({"imageTags": null}))}))]),
        json!([resource(json!({"details": "N/A"}))]),
        json!([resource(json!({"details": null}))]),
        json!([null, resource(json!({}))]),
        json!([{"type": null}, resource(json!({}))]),
        json!(["N/A", resource(json!({}))]),
    ] {
        let detail = json!({"status": "ACTIVE", "severity": "HIGH", "resources": resources, "epss": "N/A"});
        let event = parse(&crate::testing::event("Inspector2 Finding", &detail))
            .unwrap_or_else(|error| panic!("{resources}: {error}"));
        let (account, region) = event.registry();
        assert_eq!(
            (account.as_str(), region.as_str()),
            ("123456789012", "us-west-2"),
            "{resources}"
        );
        assert_eq!(
            event.image(),
            Some(ImageRef::Digest(digest.parse().unwrap())),
            "{resources}"
        );
        assert_eq!(
            event.body.name().unwrap().repository.as_str(),
            "team/api",
            "{resources}"
        );
    }
    // For a finding in which no member names an image, nothing is guessed.
    let nothing = json!({"status": "ACTIVE", "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": "N/A"}]});
    assert!(parse(&crate::testing::event("Inspector2 Finding", &nothing)).is_err());
}
