use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn seed() -> TypedRules {
    TypedRules {
        keep_count: Some(30),
        tag_prefixes: vec!["v".to_owned()],
        expire_untagged_days: Some(7),
        ..TypedRules::default()
    }
}

fn lifecycle(typed: &TypedRules) -> Lifecycle {
    Lifecycle::new(typed.rules(false)).unwrap()
}

fn raw(rules: &Value) -> Result<Lifecycle, InvalidLifecycle> {
    Lifecycle::new(serde_json::from_value(rules.clone()).unwrap())
}

#[test]
fn thirty_images_tagged_v_and_untagged_ones_for_a_week() {
    insta::assert_snapshot!(
        lifecycle(&seed()).text(),
        @r#"{"rules":[{"action":{"type":"expire"},"description":"Keep the newest 30 images with a v tag","rulePriority":1,"selection":{"countNumber":30,"countType":"imageCountMoreThan","tagPrefixList":["v"],"tagStatus":"tagged"}},{"action":{"type":"expire"},"description":"Expire untagged images 7 days after their push","rulePriority":2,"selection":{"countNumber":7,"countType":"sinceImagePushed","countUnit":"days","tagStatus":"untagged"}}]}"#
    );
}

#[test]
fn every_typed_rule_has_its_rule_in_ecrs_form() {
    let typed = TypedRules {
        protect: vec!["prod*".to_owned()],
        keep_count: Some(5),
        tag_prefixes: vec!["v".to_owned(), "rc".to_owned()],
        tag_patterns: vec!["*-nightly".to_owned()],
        expire_untagged_days: Some(3),
        archive_unpulled_days: Some(60),
        expire_archived_days: Some(180),
    };
    let text = lifecycle(&typed).text().to_owned();
    let document: Value = serde_json::from_str(&text).unwrap();
    let shown: Vec<String> = document["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| format!("{} {} {}", rule["rulePriority"], rule["selection"], rule["action"]))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    1 {"countNumber":100000,"countType":"imageCountMoreThan","tagPatternList":["prod*"],"tagStatus":"tagged"} {"type":"expire"}
    2 {"countNumber":5,"countType":"imageCountMoreThan","tagPrefixList":["v"],"tagStatus":"tagged"} {"type":"expire"}
    3 {"countNumber":5,"countType":"imageCountMoreThan","tagPrefixList":["rc"],"tagStatus":"tagged"} {"type":"expire"}
    4 {"countNumber":5,"countType":"imageCountMoreThan","tagPatternList":["*-nightly"],"tagStatus":"tagged"} {"type":"expire"}
    5 {"countNumber":3,"countType":"sinceImagePushed","countUnit":"days","tagStatus":"untagged"} {"type":"expire"}
    6 {"countNumber":60,"countType":"sinceImagePulled","countUnit":"days","tagStatus":"any"} {"targetStorageClass":"archive","type":"transition"}
    7 {"countNumber":180,"countType":"sinceImageTransitioned","countUnit":"days","storageClass":"archive","tagStatus":"any"} {"type":"expire"}
    "#);
}

#[test]
fn images_that_lost_their_last_tag_are_not_counted() {
    let all = TypedRules {
        keep_count: Some(10),
        tag_patterns: vec!["*".to_owned()],
        ..TypedRules::default()
    };
    let first = all.rules(true).remove(0);
    assert_eq!(first.selection.tag_pattern_list, Some(vec!["quarantine-*".to_owned()]));
    assert_eq!(all.rules(false).len(), 1, "where no tag is removed, there are none");
    assert_eq!(seed().rules(true), seed().rules(false), "`v` does not count them");
    let archiving = TypedRules {
        archive_unpulled_days: Some(30),
        ..TypedRules::default()
    };
    assert_eq!(archiving.rules(true).len(), 2, "a rule for any image would take them");
}

#[test]
fn what_ecr_refuses_is_refused_at_its_place() {
    let expire = json!({"type": "expire"});
    let selection = |more: Value| {
        let mut selection = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5});
        for (name, value) in more.as_object().unwrap() {
            selection[name] = value.clone();
        }
        selection
    };
    let one = |more: Value, action: &Value| {
        raw(&json!([{"rulePriority": 1, "selection": selection(more), "action": action}]))
            .unwrap_err()
            .problem
    };
    let archive = json!({"type": "transition", "targetStorageClass": "archive"});
    let days = json!({"countType": "sinceImagePushed", "countUnit": "days"});
    insta::assert_snapshot!(one(json!({"countNumber": 0}), &expire), @"countNumber is 1 or more");
    insta::assert_snapshot!(one(json!({"countUnit": "days"}), &expire), @"countUnit is `days` where days are counted, and nowhere else");
    insta::assert_snapshot!(one(json!({"countType": "sinceImagePushed"}), &expire), @"countUnit is `days` where days are counted, and nowhere else");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged"}), &expire), @"a rule for tagged images has a list of prefixes or a list of patterns, not both");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged", "tagPrefixList": []}), &expire), @"a rule for tagged images has a list of prefixes or a list of patterns, not both");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged", "tagPrefixList": ["v"], "tagPatternList": ["v*"]}), &expire), @"a rule for tagged images has a list of prefixes or a list of patterns, not both");
    insta::assert_snapshot!(one(json!({"tagPrefixList": ["v"]}), &expire), @"only a rule for tagged images has a list of tags");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged", "tagPrefixList": ["v*"]}), &expire), @"`v*` is a pattern, and stands in a list of prefixes");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged", "tagPatternList": ["a*b*c*d*e*"]}), &expire), @"a pattern has at most 4 `*`");
    insta::assert_snapshot!(one(json!({"tagStatus": "tagged", "tagPatternList": ["a/b"]}), &expire), @"a tag has only letters, digits, `.`, `_` and `-`");
    insta::assert_snapshot!(one(days.clone(), &json!({"type": "transition"})), @"targetStorageClass is `archive` with `transition`, and stands nowhere else");
    insta::assert_snapshot!(one(days, &json!({"type": "expire", "targetStorageClass": "archive"})), @"targetStorageClass is `archive` with `transition`, and stands nowhere else");
    insta::assert_snapshot!(one(json!({"countType": "sinceImagePulled", "countUnit": "days"}), &expire), @"images that nobody pulls can be archived, not deleted (sinceImagePulled is for `transition`)");
    let transitioned = json!({"countType": "sinceImageTransitioned", "countUnit": "days", "storageClass": "archive"});
    insta::assert_snapshot!(one(transitioned.clone(), &expire), @"an image stays in the archive for 90 days at least");
    insta::assert_snapshot!(one(transitioned, &archive), @"sinceImageTransitioned is for `expire` in the storage class `archive`");
    insta::assert_snapshot!(one(json!({"storageClass": "archive"}), &expire), @"in the storage class `archive`, only sinceImageTransitioned can be counted");
    assert_eq!(raw(&json!([])).unwrap_err().rule, None);
}

#[test]
fn rules_that_stand_in_each_others_way_are_refused() {
    let rule = |priority: u32, tags: Value| {
        let mut selection = json!({"countType": "imageCountMoreThan", "countNumber": 5, "tagStatus": "tagged"});
        match tags {
            Value::String(status) => selection["tagStatus"] = json!(status),
            list => selection["tagPatternList"] = list,
        }
        json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}, "description": "a rule"})
    };
    let refused = |rules: Value| {
        let error = raw(&rules).unwrap_err();
        format!("{}: {}", error.rule.unwrap(), error.problem)
    };
    insta::assert_snapshot!(refused(json!([rule(1, json!(["a"])), rule(1, json!(["b"]))])), @"1: priority 1 stands there already");
    insta::assert_snapshot!(refused(json!([rule(1, json!(["a", "b"])), rule(2, json!(["b", "a"]))])), @"1: another rule selects the same images by their tags; ECR takes one rule for them");
    insta::assert_snapshot!(refused(json!([rule(1, json!("untagged")), rule(2, json!("untagged"))])), @"1: another rule selects the same images by their tags; ECR takes one rule for them");
    insta::assert_snapshot!(refused(json!([rule(1, json!("any")), rule(2, json!(["a"]))])), @"1: a rule for any image comes last: it has the highest priority number");
    insta::assert_snapshot!(refused(json!([rule(1, json!(["v*"])), rule(2, json!(["v1*"]))])), @"1: it could never act: every image that it selects is left to the rule with priority 1");
    insta::assert_snapshot!(refused(json!([rule(1, json!(["v*"])), rule(2, json!(["x", "v1*"]))])), @"1: it could never act: every image that it selects is left to the rule with priority 1");
    insta::assert_snapshot!(refused(json!([rule(1, json!(["*"])), rule(2, json!("untagged")), rule(3, json!("any"))])), @"2: it could never act: other rules select all images, with a tag and without");
    for fine in [
        json!([rule(1, json!(["v1*"])), rule(2, json!(["v*"]))]),
        json!([rule(2, json!(["v*"])), rule(1, json!(["v1*"]))]),
        json!([rule(1, json!(["a*", "b*"])), rule(2, json!(["a*"]))]),
        json!([rule(1, json!(["*"])), rule(5, json!("any"))]),
    ] {
        assert!(raw(&fine).is_ok(), "{fine}");
    }
}

#[test]
fn a_document_that_means_the_same_is_the_same() {
    let ours = lifecycle(&seed());
    let rules = |first: Value, second: Value| json!({"rules": [first, second]}).to_string();
    let keep = json!({"rulePriority": 1, "selection": {"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "imageCountMoreThan", "countNumber": 30}, "action": {"type": "expire"}});
    let untagged = json!({"rulePriority": 2, "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7}, "action": {"type": "expire"}});
    let with = |rule: &Value, path: &str, value: Value| {
        let mut rule = rule.clone();
        *rule.pointer_mut(path).unwrap() = value;
        rule
    };
    assert!(ours.means_the_same_as(ours.text()));
    assert!(
        ours.means_the_same_as(&rules(keep.clone(), untagged.clone())),
        "without descriptions"
    );
    assert!(
        ours.means_the_same_as(&rules(untagged.clone(), keep.clone())),
        "in another order"
    );
    assert!(
        ours.means_the_same_as(&rules(
            with(&keep, "/rulePriority", json!(10)),
            with(&untagged, "/rulePriority", json!(20))
        )),
        "with gaps"
    );
    let mut pattern = keep.clone();
    pattern["selection"]["tagPrefixList"].take();
    pattern["selection"].as_object_mut().unwrap().remove("tagPrefixList");
    pattern["selection"]["tagPatternList"] = json!(["v*"]);
    pattern["selection"]["storageClass"] = json!("standard");
    assert!(
        ours.means_the_same_as(&rules(pattern, untagged.clone())),
        "with what is the default, and as a pattern"
    );
    for (other, why) in [
        (
            rules(with(&keep, "/selection/countNumber", json!(29)), untagged.clone()),
            "another count",
        ),
        (
            rules(with(&keep, "/rulePriority", json!(3)), untagged.clone()),
            "another order of rules",
        ),
        (
            rules(
                with(&keep, "/selection/tagPrefixList", json!(["v", "w"])),
                untagged.clone(),
            ),
            "one more prefix",
        ),
        (json!({"rules": [keep]}).to_string(), "one rule less"),
        (
            json!({"rules": [], "more": 1}).to_string(),
            "a member that we do not know",
        ),
        (String::new(), "nothing"),
    ] {
        assert!(!ours.means_the_same_as(&other), "{why}");
    }
}

#[test]
fn what_is_worth_knowing_is_remarked() {
    let protecting = TypedRules {
        protect: vec!["prod*".to_owned()],
        expire_untagged_days: Some(7),
        ..TypedRules::default()
    };
    let archiving = TypedRules {
        archive_unpulled_days: Some(60),
        ..TypedRules {
            expire_untagged_days: None,
            ..seed()
        }
    };
    insta::assert_snapshot!(lifecycle(&protecting).remarks().join("\n"), @"
    rule 1 protects nothing: no later rule deletes or archives an image with a tag
    rule 2 deletes images without a tag: ECR does not say whether attestations and signatures, which have none, are among them; check a preview before it is set on a repository that has some
    ");
    insta::assert_snapshot!(lifecycle(&archiving).remarks().join("\n"), @"images that a rule for tags selects are not archived: ECR leaves an image to the first rule whose tags it has");
    assert!(
        lifecycle(&TypedRules {
            protect: vec!["prod*".to_owned()],
            expire_untagged_days: None,
            ..seed()
        })
        .remarks()
        .is_empty()
    );
}

/// Images that a policy deletes although it seems to keep them.
#[test]
fn what_a_policy_deletes_although_it_seems_to_keep_it_is_remarked() {
    let rule = |priority: u32, selection: &str| {
        format!(
            r#"{{"rulePriority": {priority}, "selection": {{{selection}}}, "action": {{"type": "expire"}}, "description": "x"}}"#
        )
    };
    let days = |days: u32| format!(r#""countType": "sinceImagePushed", "countUnit": "days", "countNumber": {days}"#);
    let tagged = |patterns: &str, days_: u32| {
        format!(
            r#""tagStatus": "tagged", "tagPatternList": {patterns}, {}"#,
            days(days_)
        )
    };
    let remarks = |rules: &[String]| {
        let rules = serde_json::from_str(&format!("[{}]", rules.join(","))).unwrap();
        Lifecycle::new(rules).unwrap().remarks().join("\n")
    };
    let keep = r#""tagStatus": "tagged", "tagPatternList": ["prod", "staging"], "countType": "imageCountMoreThan", "countNumber": 9999"#;
    let any = format!(r#""tagStatus": "any", {}"#, days(90));
    insta::assert_snapshot!(remarks(&[rule(1, keep), rule(2, &any)]), @"
    rule 1 selects only images that have tags like all of these: prod, staging; for any of them, write a rule for each
    rule 2 is for any image: it deletes images without a tag too, and ECR does not say whether attestations and signatures are among them
    ");
    let count = r#""tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10"#;
    insta::assert_snapshot!(remarks(&[rule(1, count)]), @"
    rule 1 counts all images: entries of indexes, attestations and signatures as well, so that a release for two platforms with provenance is five
    rule 1 is for any image: it deletes images without a tag too, and ECR does not say whether attestations and signatures are among them
    ");
    let (main, release) = (tagged(r#"["main-*"]"#, 30), tagged(r#"["release-*"]"#, 365));
    insta::assert_snapshot!(remarks(&[rule(1, &main), rule(2, &release)]), @"an image with tags of both rule 1 (main-*) and rule 2 (release-*) is left to rule 1, which keeps it for a shorter time: give the one that keeps longer the lower number");
    assert_eq!(remarks(&[rule(1, &release), rule(2, &main)]), "");
}

/// A list means all of it: a rule for `*` and `v*` does not select all that has a tag.
#[test]
fn a_list_with_a_star_does_not_take_all_images() {
    let rules = |list: &str| {
        let days = r#""countType": "sinceImagePushed", "countUnit": "days", "countNumber": 9"#;
        let rule = |priority: u32, selection: String| {
            format!(
                r#"{{"rulePriority": {priority}, "selection": {{{selection}, {days}}}, "action": {{"type": "expire"}}}}"#
            )
        };
        let tagged = format!(r#""tagStatus": "tagged", "tagPatternList": {list}"#);
        let rules = [
            rule(1, tagged),
            rule(2, r#""tagStatus": "untagged""#.to_owned()),
            rule(3, r#""tagStatus": "any""#.to_owned()),
        ];
        Lifecycle::new(serde_json::from_str(&format!("[{}]", rules.join(","))).unwrap())
    };
    assert!(rules(r#"["*", "v*"]"#).is_ok());
    assert!(rules(r#"["*"]"#).is_err());
}

fn typed() -> impl Strategy<Value = TypedRules> {
    let days = || prop::option::of(1_u32..400);
    (
        prop::collection::btree_set("[a-z]{1,2}\\*?", 0..3),
        prop::option::of(1_u32..100),
        prop::collection::btree_set("[a-z]{1,3}", 0..3),
        prop::collection::btree_set("[a-z*]{1,3}", 0..3),
        days(),
        days(),
        prop::option::of(90_u32..400),
    )
        .prop_map(
            |(protect, keep_count, prefixes, patterns, untagged, archive, archived)| TypedRules {
                protect: protect.into_iter().collect(),
                keep_count,
                tag_prefixes: prefixes.into_iter().collect(),
                tag_patterns: patterns.into_iter().collect(),
                expire_untagged_days: untagged,
                archive_unpulled_days: archive,
                expire_archived_days: archived,
            },
        )
}

proptest! {
    #[test]
    fn what_is_rendered_reads_back_and_means_the_same(typed in typed(), marks in any::<bool>()) {
        if let Ok(lifecycle) = Lifecycle::new(typed.rules(marks)) {
            prop_assert!(lifecycle.means_the_same_as(lifecycle.text()));
            let document: LifecycleDocument = serde_json::from_str(lifecycle.text()).unwrap();
            prop_assert_eq!(Lifecycle::new(document.rules).unwrap(), lifecycle);
        }
    }

    #[test]
    fn a_wider_pattern_matches_all_that_a_narrower_one_does(
        wide in "[ab*]{1,4}", narrow in "[ab*]{1,4}", value in "[ab]{0,5}",
    ) {
        if covers(&wide, &narrow) && narrow.parse::<Glob>().unwrap().matches(&value) {
            prop_assert!(wide.parse::<Glob>().unwrap().matches(&value));
        }
    }

    #[test]
    fn no_document_makes_us_fail(text in "\\PC{0,80}") {
        lifecycle(&seed()).means_the_same_as(&text);
    }
}

/// A rule with these members of its selection; `to`: `expire` or `archive`.
fn rule_of(priority: u32, selection: &Value, to: &str) -> Value {
    let action = match to {
        "archive" => json!({"type": "transition", "targetStorageClass": "archive"}),
        _ => json!({"type": "expire"}),
    };
    json!({"rulePriority": priority, "selection": selection, "action": action, "description": "x"})
}

fn newest(tags: &str, number: u32) -> Value {
    json!({"tagStatus": "tagged", "tagPatternList": [tags], "countType": "imageCountMoreThan", "countNumber": number})
}

fn pushed(tags: &str, days: u32) -> Value {
    json!({"tagStatus": "tagged", "tagPatternList": [tags], "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days})
}

fn pushed_of(status: &str, days: u32) -> Value {
    json!({"tagStatus": status, "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days})
}

fn archived(days: u32) -> Value {
    json!({"tagStatus": "any", "storageClass": "archive", "countType": "sinceImageTransitioned", "countUnit": "days", "countNumber": days})
}

#[test]
fn which_policies_count_images_that_lost_their_last_tag() {
    let any = json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5});
    for (selections, counts) in [
        (vec![newest("v*", 5)], false),
        (vec![newest("*", 5)], true),
        (vec![newest("quarantine-*", 5)], true),
        (vec![newest("quarantine-sha256-*", 5)], true),
        (vec![newest("quarantine-*", 99_999)], true),
        (vec![newest("quarantine-*", 100_000)], false),
        (vec![pushed("quarantine-*", 100_000)], true),
        (vec![pushed("quarantine-*", 7)], true),
        (vec![pushed_of("untagged", 7)], false),
        (vec![pushed_of("any", 7)], true),
        (vec![any.clone()], true),
        // Images of the archive have no mark: what is in it was never quarantined.
        (vec![archived(90), newest("v*", 5)], false),
        (vec![archived(90), newest("v*", 5), newest("*", 5)], true),
        // The first rule that takes them decides.
        (vec![newest("quarantine-*", 100_000), any], false),
    ] {
        let rules: Vec<Value> = (1..)
            .zip(&selections)
            .map(|(priority, one)| rule_of(priority, one, "expire"))
            .collect();
        assert_eq!(raw(&json!(rules)).unwrap().counts_marks(), counts, "{selections:?}");
    }
}

#[test]
fn each_limit_of_a_rule() {
    for (selection, is_taken) in [
        (newest("a*b*c*d*", 5), true),
        (newest("a*b*c*d*e*", 5), false),
        (archived(89), false),
        (archived(90), true),
        (archived(91), true),
    ] {
        let taken = raw(&json!([rule_of(1, &selection, "expire")])).is_ok();
        assert_eq!(taken, is_taken, "{selection}");
    }
}

#[test]
fn a_rule_for_images_without_a_tag_leaves_all_others_to_the_next() {
    for second in [pushed("v*", 30), newest("*", 5), pushed_of("any", 30)] {
        let rules = json!([
            rule_of(1, &pushed_of("untagged", 7), "expire"),
            rule_of(2, &second, "expire")
        ]);
        assert!(raw(&rules).is_ok(), "{second}");
    }
}

#[test]
fn a_rule_for_any_image_is_remarked_unless_another_one_has_those_without_a_tag() {
    let remarked = |rules: Value| {
        let remarks = raw(&rules).unwrap().remarks();
        remarks
            .iter()
            .any(|remark| remark.contains("it deletes images without a tag too"))
    };
    let (any, untagged) = (pushed_of("any", 90), pushed_of("untagged", 7));
    assert!(remarked(json!([rule_of(1, &any, "expire")])));
    assert!(remarked(json!([
        rule_of(1, &newest("v*", 5), "expire"),
        rule_of(2, &any, "expire")
    ])));
    assert!(!remarked(json!([
        rule_of(1, &untagged, "expire"),
        rule_of(2, &any, "expire")
    ])));
    assert!(!remarked(json!([rule_of(1, &any, "archive")])));
}

#[test]
fn a_rule_for_tags_keeps_images_from_the_archive_if_it_does_not_keep_all() {
    let remarked = |first: &Value| {
        let unpulled =
            json!({"tagStatus": "any", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": 60});
        let rules = json!([rule_of(1, first, "expire"), rule_of(2, &unpulled, "archive")]);
        let remarks = raw(&rules).unwrap().remarks();
        remarks.iter().any(|remark| remark.contains("are not archived"))
    };
    assert!(remarked(&newest("v*", 5)));
    assert!(remarked(&newest("v*", 99_999)));
    assert!(!remarked(&newest("v*", 100_000)));
    assert!(!remarked(&pushed_of("untagged", 7)));
    let expires = raw(&json!([rule_of(1, &newest("v*", 5), "expire")])).unwrap();
    assert_eq!(expires.remarks(), [""; 0], "without a rule that archives");
}

#[test]
fn a_later_rule_that_keeps_longer_is_remarked() {
    let unpulled = |tags: &str, days: u32| {
        let mut selection = pushed(tags, days);
        selection["countType"] = json!("sinceImagePulled");
        selection
    };
    for (first, second, remarked) in [
        ((pushed("a*", 7), "expire"), (pushed("b*", 30), "expire"), true),
        ((pushed("a*", 7), "expire"), (pushed("b*", 8), "expire"), true),
        ((pushed("a*", 7), "expire"), (pushed("b*", 7), "expire"), false),
        ((pushed("a*", 30), "expire"), (pushed("b*", 7), "expire"), false),
        ((newest("a*", 5), "expire"), (newest("b*", 6), "expire"), true),
        ((newest("a*", 5), "expire"), (pushed("b*", 30), "expire"), false),
        ((pushed("a*", 5), "expire"), (newest("b*", 30), "expire"), false),
        (
            (pushed_of("untagged", 7), "expire"),
            (pushed("b*", 30), "expire"),
            false,
        ),
        ((pushed("a*", 7), "expire"), (pushed_of("any", 30), "expire"), false),
        ((pushed("a*", 7), "expire"), (pushed("b*", 30), "archive"), false),
        ((pushed("a*", 7), "archive"), (pushed("b*", 30), "expire"), false),
        ((unpulled("a*", 7), "archive"), (unpulled("b*", 30), "archive"), false),
    ] {
        let rules = json!([rule_of(1, &first.0, first.1), rule_of(2, &second.0, second.1)]);
        let remarks = raw(&rules).unwrap().remarks();
        let longer = remarks.iter().any(|remark| remark.contains("keeps it for a shorter"));
        assert_eq!(longer, remarked, "{rules}");
    }
}
