//! The output of the commands that read a ledger.

use guard_core::{snapshot::SnapshotRecord, testing::now};

use crate::{
    OK, TOO_MANY, UNUSABLE,
    testing::{Desk, desk, small_ledger, snapshot},
};

/// The output of a command about the small ledger.
#[track_caller]
fn said(command: &str) -> String {
    let (code, out, trouble) = desk().run(&format!("ecr-guard {command}"));
    assert_eq!((code, trouble.as_str()), (OK, ""), "{command}");
    out
}

#[test]
fn status_counts_images_and_says_how_fresh_that_is() {
    insta::assert_snapshot!(said("status --snapshot ledger.jsonl"));
    let all = said("status --all --snapshot ledger.jsonl");
    assert!(all.contains("team/api") && all.contains("pay/web"));
}

#[test]
fn a_ledger_in_aws_and_its_snapshot_are_read_in_the_same_way() {
    for command in [
        "status",
        "list",
        "plan",
        "explain team/api:v1.2.3",
        "simulate stricter.json",
    ] {
        let live = said(command).replace("table ecr-guard-ledger", "ledger.jsonl");
        assert_eq!(live, said(&format!("{command} --snapshot ledger.jsonl")), "{command}");
    }
}

#[test]
fn images_of_several_ledgers_are_in_one_table_and_counted_once() {
    let desk = desk();
    let elsewhere: Vec<SnapshotRecord> = small_ledger()
        .into_iter()
        .map(|record| match record {
            SnapshotRecord::Image(mut row) => {
                row.image.region = "eu-central-1".parse().unwrap();
                SnapshotRecord::Image(row)
            }
            other => other,
        })
        .collect();
    desk.put("b.jsonl", snapshot(&elsewhere));
    let (code, out, _) =
        desk.run("ecr-guard status --snapshot ledger.jsonl --snapshot b.jsonl --snapshot ledger.jsonl");
    assert_eq!(code, OK);
    insta::assert_snapshot!(out.split("\n\n").nth(1).unwrap());
    let (_, out, _) =
        desk.run("ecr-guard list --snapshot ledger.jsonl --snapshot b.jsonl --snapshot ledger.jsonl --state blocked");
    insta::assert_snapshot!(out);
}

#[test]
fn a_list_has_what_was_asked_for() {
    let of = |filters: &str| {
        let said = said(&format!("list --snapshot ledger.jsonl {filters}"));
        said.lines().last().unwrap().to_owned()
    };
    insta::assert_snapshot!(said("list --snapshot ledger.jsonl"));
    assert_eq!(of("--state Blocked,review"), "2 images");
    assert_eq!(of("--state block-deferred"), "0 images");
    assert_eq!(of("--repository team/*"), "3 images");
    assert_eq!(of("--severity HIGH"), "2 images");
    assert_eq!(of("--severity critical"), "1 image");
    assert_eq!(of("--route payments"), "2 images");
    assert_eq!(of("--since 6h"), "5 images");
    assert_eq!(of("--since 4h"), "0 images");
    assert_eq!(of("--since 2026-11-24"), "5 images");
    let (code, _, trouble) = desk().run("ecr-guard list --snapshot ledger.jsonl --route pay");
    assert_eq!(
        (code, trouble.as_str()),
        (UNUSABLE, "The policy has no route `pay`. It has payments, default.\n")
    );
}

#[test]
fn an_image_is_explained_whatever_it_is_named_by() {
    insta::assert_snapshot!(said("explain team/api:v1.2.3 --snapshot ledger.jsonl"));
    let by_tag = said("explain team/api:v1.2.3 --snapshot ledger.jsonl");
    let digest = format!("sha256:b1{}", "0".repeat(62));
    for name in [
        "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:v1.2.3".to_owned(),
        format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api@{digest}"),
        format!("team/api@{digest}"),
        format!("team/api:latest@{digest}"),
        digest,
    ] {
        assert_eq!(
            said(&format!("explain {name} --snapshot ledger.jsonl")),
            by_tag,
            "{name}"
        );
    }
}

#[test]
fn each_state_is_explained() {
    let of = |tag: &str| said(&format!("explain {tag} --snapshot ledger.jsonl"));
    let all = ["pay/web:v7", "pay/web:v8", "team/api:v1.2.2", "team/api:v1.2.4"].map(of);
    insta::assert_snapshot!(all.join("\n---\n"));
}

/// Earlier versions closed a row and left its alert pending.
#[test]
fn an_image_that_was_deleted_waits_for_no_alert() {
    let explained = |closed: bool| {
        let desk = desk();
        let records: Vec<SnapshotRecord> = small_ledger()
            .into_iter()
            .filter(|record| !closed || !matches!(record, SnapshotRecord::Listed(_)))
            .map(|record| match record {
                SnapshotRecord::Image(mut row) => {
                    row.closed_at = closed.then(now);
                    if let Some(alert) = &mut row.alert {
                        alert.sent_at = None;
                    }
                    SnapshotRecord::Image(row)
                }
                other => other,
            })
            .collect();
        desk.put("b.jsonl", snapshot(&records));
        let digest = format!("sha256:b1{}", "0".repeat(62));
        let (code, out, _) = desk.run(&format!("ecr-guard explain team/api@{digest} --snapshot b.jsonl"));
        assert_eq!(code, OK);
        out
    };
    let open = explained(false);
    assert!(
        open.contains("not sent yet") && open.contains("Its alert is pending"),
        "{open}"
    );
    let closed = explained(true);
    assert!(closed.contains("not sent: the image was deleted before"), "{closed}");
    assert!(!closed.contains("pending"), "{closed}");
}

#[test]
fn an_image_that_nobody_knows_is_answered_with_near_names() {
    let answers = [
        "team/api:v1.2.5",
        "teem/api:v1.2.3",
        "other:x",
        "team/api",
        "sha256:zz",
        "a b:c",
    ]
    .map(|name| {
        let arguments = ["ecr-guard", "explain", "--snapshot", "ledger.jsonl", name];
        let (code, out, trouble) = desk().run_with(&arguments);
        assert_eq!((code, out.as_str()), (UNUSABLE, ""), "{name}");
        trouble
    });
    insta::assert_snapshot!(answers.join("---\n"));
}

#[test]
fn a_simulation_says_what_becomes_of_each_image() {
    insta::assert_snapshot!(said("simulate --snapshot ledger.jsonl stricter.json"));
    insta::assert_snapshot!(said("simulate --markdown --snapshot ledger.jsonl stricter.json"));
}

#[test]
fn too_many_new_blocks_have_an_exit_code_of_their_own() {
    let desk = desk();
    let harsh = crate::testing::IN_FORCE.replace("\"block\":", "\"severities\": {\"HIGH\": \"block\"}, \"block\":");
    let harsh = harsh.replace("\"workloads\": {}", "\"when_in_use\": \"block\"");
    desk.put("harsh.json", harsh);
    let run = |most: u64| {
        desk.run(&format!(
            "ecr-guard simulate --max-blocks {most} --snapshot ledger.jsonl harsh.json"
        ))
    };
    assert_eq!(run(1).0, OK);
    let (code, _, trouble) = run(0);
    assert_eq!(code, TOO_MANY);
    assert_eq!(trouble, "1 image would be blocked newly, and --max-blocks allows 0.\n");
    assert_eq!(
        desk.run("ecr-guard simulate --snapshot ledger.jsonl nowhere.json").0,
        UNUSABLE
    );
    assert_eq!(
        desk.run("ecr-guard simulate --snapshot nowhere.jsonl harsh.json").0,
        UNUSABLE
    );
}

#[test]
fn a_plan_says_what_the_next_sweep_looks_at() {
    insta::assert_snapshot!(said("plan --all --snapshot ledger.jsonl"));
}

#[test]
fn machines_get_one_document_of_each_command() {
    for (command, schema) in [
        ("status", "ecr-guard/status/v1"),
        ("list", "ecr-guard/list/v1"),
        ("plan", "ecr-guard/plan/v1"),
        ("simulate stricter.json", "ecr-guard/simulation/v1"),
        ("explain team/api:v1.2.3", "ecr-guard/explanation/v1"),
    ] {
        let said = said(&format!("--output json {command} --snapshot ledger.jsonl"));
        let document: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(document["schema"], schema);
    }
}

/// A ledger without a list of its registries, as `snapshot --ledger-only` makes it: what hangs on the list is unknown, and nothing is made up.
#[test]
fn without_the_list_of_the_registry_what_hangs_on_it_is_unknown() {
    let desk = desk();
    let of_ledger = small_ledger().into_iter().filter(|record| {
        !matches!(
            record,
            SnapshotRecord::Listed(_) | SnapshotRecord::ListedAll(_) | SnapshotRecord::Access(_)
        )
    });
    desk.put("only.jsonl", snapshot(&of_ledger.collect::<Vec<_>>()));
    let (code, out, _) = desk.run("ecr-guard simulate --snapshot only.jsonl stricter.json");
    assert_eq!(code, OK);
    insta::assert_snapshot!(out);
    let (code, out, _) = desk.run("ecr-guard plan --snapshot only.jsonl");
    assert_eq!(code, OK);
    assert!(out.contains("does not have the list of team/api"), "{out}");
}

#[test]
fn a_ledger_that_cannot_be_read_is_trouble_of_every_command() {
    let desk = Desk {
        ledger: Err("dynamodb:Scan failed.".to_owned()),
        ..desk()
    };
    for command in [
        "status",
        "list",
        "plan",
        "explain team/a:b",
        "simulate stricter.json",
        "snapshot f",
    ] {
        let (code, out, trouble) = desk.run(&format!("ecr-guard {command}"));
        assert_eq!(
            (code, out.as_str(), trouble.as_str()),
            (UNUSABLE, "", "dynamodb:Scan failed.\n"),
            "{command}"
        );
    }
}

#[test]
fn shells_and_man_get_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let text = said(&format!("completions {shell}"));
        for command in ["explain", "simulate", "max-blocks"] {
            assert!(text.contains(command), "{shell} {command}");
        }
    }
    let page = said("manual");
    assert!(page.contains(".TH ecr-guard 1") && page.contains("simulate"), "{page}");
}

#[test]
fn each_command_has_a_manual_page() {
    let desk = desk();
    let (code, out, trouble) = desk.run("ecr-guard manual --dir man");
    assert_eq!((code, trouble.as_str()), (OK, ""));
    let files = desk.files.lock().unwrap();
    let pages: Vec<&str> = files.keys().filter_map(|name| name.strip_prefix("man/")).collect();
    insta::assert_snapshot!(format!("{out}{}", pages.join("\n")));
    for (name, page) in files.iter().filter(|(name, _)| name.starts_with("man/")) {
        let page = std::str::from_utf8(page).unwrap();
        let title = name.trim_start_matches("man/").trim_end_matches(".1");
        assert!(
            page.contains(&format!(".TH {title} 1")) && page.contains("NAME"),
            "{name}: {page}"
        );
    }
}

/// `status`, the report and the digest have one rule.
#[test]
fn what_is_overdue_is_the_same_everywhere() {
    use guard_core::{
        ledger::Block,
        policy::{BlockMethod, Policy},
        summary::overdue_since,
        testing::now,
    };
    let hour = jiff::SignedDuration::from_hours(1);
    let policy = Policy::from_json(crate::testing::IN_FORCE, now()).unwrap();
    let mut records = small_ledger();
    // One that waits in the archive for too long, and one that has only begun to.
    for (record, hours) in records
        .iter_mut()
        .filter(|one| matches!(one, SnapshotRecord::Image(_)))
        .zip([30, 0])
    {
        if let SnapshotRecord::Image(row) = record {
            row.block = Some(Block {
                method: BlockMethod::Archive,
                at: now() - hour * 40,
                confirmed: true,
                tags: Vec::new(),
                returns: Vec::new(),
                undone_at: Some(now() - hour * hours),
                release_refused_at: None,
                told: true,
            });
        }
    }
    let rows = records.iter().filter_map(|record| match record {
        SnapshotRecord::Image(row) => Some(row),
        _ => None,
    });
    let right = rows.filter(|row| overdue_since(row, &policy, now()).is_some()).count() as u64;
    assert_eq!(right, 2, "one waits for its scan, one for its restore");
    let desk = desk();
    desk.put("waits.jsonl", snapshot(&records));
    let json = |command: &str| -> serde_json::Value {
        serde_json::from_str(&desk.run(&format!("ecr-guard {command} --snapshot waits.jsonl")).1).unwrap()
    };
    assert_eq!(json("report --json -")["figures"]["overdue"], right);
    assert_eq!(
        json("--output json status")["registries"][0]["figures"]["overdue"],
        right
    );
}

#[test]
fn a_policy_can_be_given_where_the_ledger_has_none() {
    let desk = desk();
    let without = small_ledger()
        .into_iter()
        .filter(|record| !matches!(record, SnapshotRecord::Policy(_)));
    desk.put("none.jsonl", snapshot(&without.collect::<Vec<_>>()));
    desk.put("in-force.json", crate::testing::IN_FORCE);
    let (code, out, _) = desk.run("ecr-guard status --snapshot none.jsonl");
    assert_eq!(code, OK);
    assert!(out.contains("Unknown: none.jsonl: it has no policy document"), "{out}");
    for command in [
        "plan",
        "explain team/api:v1.2.3",
        "simulate stricter.json",
        "list --route payments",
    ] {
        let (code, out, trouble) = desk.run(&format!("ecr-guard {command} --snapshot none.jsonl"));
        assert_eq!((code, out.as_str()), (UNUSABLE, ""), "{command}");
        assert!(trouble.contains("no policy document"), "{trouble}");
        let (code, out, _) = desk.run(&format!(
            "ecr-guard {command} --policy in-force.json --snapshot none.jsonl"
        ));
        assert_eq!(
            (code, out),
            (OK, said(&format!("{command} --snapshot ledger.jsonl"))),
            "{command}"
        );
    }
}
