use std::{collections::BTreeMap, io::Cursor};

use guard_core::{
    finding::Severity,
    ids::ImageKey,
    ledger::Row,
    snapshot::SnapshotRecord,
    state::State,
    testing::{image_key, now, policy, recorded},
};
use proptest::prelude::*;
use sha2::Digest as _;

use super::{csv, gather::gather, html, model::Report, rows, sarif};
use crate::{
    OK, UNUSABLE,
    snapshot::Snapshot,
    testing::{IN_FORCE, desk, small_ledger, snapshot},
};

fn report_of(records: &[SnapshotRecord]) -> Report {
    let file = Snapshot::open("ledger.jsonl", Cursor::new(snapshot(records))).unwrap();
    gather(vec![file], None, now()).unwrap()
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

fn page(report: &Report) -> String {
    text_of(|to| {
        html::write(report, to).unwrap();
    })
}

/// The page without its style and its script, a line for each element.
fn body(page: &str) -> String {
    let body = page.split_once("</style>").unwrap().1.split_once("<script>").unwrap().0;
    body.replace("><", ">\n<")
}

fn run(command: &str) -> (u8, String, String, BTreeMap<String, Vec<u8>>) {
    let desk = desk();
    let (code, out, trouble) = desk.run(command);
    let files = desk.files.lock().unwrap().clone();
    (code, out, trouble, files)
}

#[test]
fn each_form_says_what_the_ledger_has() {
    let command = "ecr-guard report --snapshot ledger.jsonl --html r.html --csv r.csv --sarif r.sarif --json -";
    let (code, out, trouble, files) = run(command);
    assert_eq!(code, OK);
    insta::assert_snapshot!("json", out);
    insta::assert_snapshot!(trouble, @r"
    r.csv: 5 images, 2 need action.
    r.html: 5 images, 2 need action.
    r.sarif: 5 images, 2 need action.
    ");
    let file = |name: &str| String::from_utf8(files.get(name).unwrap().clone()).unwrap();
    insta::assert_snapshot!("csv", file("r.csv"));
    insta::assert_snapshot!("sarif", file("r.sarif"));
    insta::assert_snapshot!("html", body(&file("r.html")));
}

#[test]
fn a_report_needs_a_file_and_each_form_its_own() {
    for command in [
        "ecr-guard report --snapshot ledger.jsonl",
        "ecr-guard report --snapshot ledger.jsonl --csv a --json a",
        "ecr-guard report --snapshot missing.jsonl --csv a",
    ] {
        let (code, out, trouble, files) = run(command);
        assert_eq!((code, out.as_str()), (UNUSABLE, ""), "{command}");
        assert!(!trouble.is_empty() && !files.contains_key("a"), "{command}");
    }
    let (code, out, _, _) = run("ecr-guard --output json report --snapshot ledger.jsonl");
    assert_eq!(code, OK);
    assert!(out.starts_with("{\n  \"schema\": \"ecr-guard/report/v1\""));
}

#[test]
fn what_is_not_known_is_unknown_and_never_zero() {
    let rows: Vec<SnapshotRecord> = small_ledger()
        .into_iter()
        .filter(|record| matches!(record, SnapshotRecord::Image(_)))
        .collect();
    let report = report_of(&rows);
    assert_eq!(
        (report.figures.overdue, report.figures.bytes, report.figures.copies),
        (None, None, None)
    );
    assert!(
        report
            .images
            .iter()
            .all(|image| image.team == "unknown" && image.bytes.is_none() && image.used_by.is_none())
    );
    let sizes = report
        .repositories
        .iter()
        .map(|one| (one.images, one.untagged, one.unpulled, one.drift));
    assert!(sizes.clone().count() > 0 && sizes.into_iter().all(|one| one == (None, None, None, None)));
    assert_eq!(report.unreadable.len(), 1);
    let page = page(&report);
    assert!(page.contains("Some of the data could not be read") && !page.contains(">0 B<"));
    assert!(report.teams.iter().all(|team| team.drift.is_none()));
}

#[test]
fn several_ledgers_make_one_report_and_count_an_image_once() {
    let open = |name: &str| Snapshot::open(name, Cursor::new(snapshot(&small_ledger()))).unwrap();
    let report = gather(vec![open("a"), open("b")], None, now()).unwrap();
    let one = report_of(&small_ledger());
    assert_eq!(report.ledgers.len(), 2);
    assert_eq!(report.figures.images, one.figures.images);
    assert_eq!(report.images, one.images);
    assert_eq!(report.repositories, one.repositories);
    assert_eq!(report.registries, one.registries);
}

#[test]
fn what_the_registry_lists_and_nobody_has_evaluated_needs_somebody() {
    let records = small_ledger().into_iter().filter(|record| match record {
        SnapshotRecord::Image(row) => row.state != State::Allowed,
        _ => true,
    });
    let report = report_of(&records.collect::<Vec<_>>());
    assert_eq!(report.figures.states.get("Unknown"), Some(&2));
    assert!(
        report
            .images
            .iter()
            .filter(|image| image.state == "Unknown")
            .all(|image| image.needs_action)
    );
}

#[test]
fn an_image_that_the_registry_does_not_list_is_gone() {
    let records = small_ledger()
        .into_iter()
        .filter(|record| !matches!(record, SnapshotRecord::Listed(_)));
    let report = report_of(&records.collect::<Vec<_>>());
    assert_eq!(report.figures.images, 0);
    assert!(page(&report).contains("0 images. "));
}

/// Texts that want to be something else.
fn hostile() -> Vec<String> {
    vec![
        "<script>alert(1)</script>".to_owned(),
        "\"><img src=x onerror=alert(1)>".to_owned(),
        "' onmouseover='alert(1)".to_owned(),
        "</style><script>x()</script>".to_owned(),
        "=cmd|' /C calc'!A0".to_owned(),
        "+1+1".to_owned(),
        "-2+3".to_owned(),
        "@SUM(A1)".to_owned(),
        "a,b\"c\r\nd".to_owned(),
        "\u{202e}gnp.exe\u{200b}".to_owned(),
        "\u{1b}[31mred".to_owned(),
        "x".repeat(10_000),
        "{{7*7}}".to_owned(),
        "\0".to_owned(),
    ]
}

/// A ledger in which one text stands wherever somebody else chooses it.
fn ledger_with(text: &str) -> Vec<SnapshotRecord> {
    let mut row = Row {
        state: State::Blocked,
        reason: text.to_owned(),
        ..Row::first(image_key(), &policy(""), now())
    };
    let mut finding = recorded(text, Severity::Critical);
    finding.package = Some(text.to_owned());
    finding.installed = Some(text.to_owned());
    finding.fixed_in = Some(text.to_owned());
    finding.rule = text.to_owned();
    finding.url = Some(format!("javascript:{text}"));
    row.findings = vec![finding];
    row.scan = None;
    let mut records = small_ledger();
    for record in &mut records {
        match record {
            SnapshotRecord::Use(used) => used.workloads.iter_mut().for_each(|one| one.name = text.to_owned()),
            SnapshotRecord::Policy(policy) => {
                let quoted = serde_json::to_string(text).unwrap();
                policy.document = IN_FORCE
                    .replace("\"pay@acme.example\"", &quoted)
                    .replace("\"not reachable\"", &quoted)
                    .replace("\"SEC-7\"", &quoted);
            }
            _ => {}
        }
    }
    records.retain(|record| !matches!(record, SnapshotRecord::ListedAll(_)));
    records.push(SnapshotRecord::Image(Box::new(row)));
    records
}

/// The elements of a page, with what stands in their attributes taken away.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (mut tag, mut quoted, mut end) = (String::new(), false, after.len());
        for (place, c) in after.char_indices() {
            match c {
                '"' => quoted = !quoted,
                '>' if !quoted => {
                    end = place;
                    break;
                }
                c if !quoted => tag.push(c),
                _ => {}
            }
        }
        tags.push(tag);
        rest = after.get(end..).unwrap_or_default();
    }
    tags
}

#[test]
fn hostile_text_never_changes_the_form() {
    let known: std::collections::BTreeSet<String> = tags(&body(&page(&report_of(&ledger_with("plain")))))
        .into_iter()
        .collect();
    for text in hostile() {
        let report = report_of(&ledger_with(&text));
        let page = page(&report);
        assert_eq!(page.matches("<script>").count(), 1, "{text:?}");
        assert_eq!(page.matches("<style>").count(), 1, "{text:?}");
        for tag in tags(&body(&page)) {
            assert!(known.contains(&tag), "{text:?} has made the element {tag:?}");
        }
        assert!(!page.contains("javascript:"));
        for bad in ['\u{202e}', '\u{200b}', '\u{1b}', '\0'] {
            assert!(!page.contains(bad), "{text:?}");
        }
        let table = text_of(|to| csv::write(&report, to).unwrap());
        for line in read_csv(&table) {
            assert_eq!(line.len(), 21, "{text:?}");
            assert!(
                line.iter()
                    .all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])),
                "{line:?}"
            );
        }
        let sarif = text_of(|to| {
            sarif::write(&report, to).unwrap();
        });
        let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
        assert!(sarif["runs"][0]["results"].as_array().unwrap().len() > 1);
    }
}

/// Reads CSV as RFC 4180 has it.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {
                chars.next();
                line.push(std::mem::take(&mut cell));
                lines.push(std::mem::take(&mut line));
            }
            c => cell.push(c),
        }
    }
    assert!(cell.is_empty() && line.is_empty() && !quoted);
    lines
}

#[test]
fn the_policy_of_the_page_allows_its_style_and_script_and_nothing_else() {
    let page = page(&report_of(&small_ledger()));
    let policy = html::content_security_policy();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(!policy.contains("unsafe") && !policy.contains("http"));
    let escaped = policy.replace('&', "&amp;");
    assert!(page.contains(&escaped), "{policy}");
    // An attribute with style or code would be refused by it.
    assert!(
        tags(&body(&page))
            .iter()
            .all(|tag| !tag.contains(" style=") && !tag.contains(" on"))
    );
}

fn many(number: usize, state: State) -> Vec<SnapshotRecord> {
    let policy = policy("");
    let of = |n: usize| Row {
        state,
        reason: "1 finding blocks deployment: CVE-2026-1111 CRITICAL in openssl (policy: severities.CRITICAL)."
            .to_owned(),
        findings: vec![recorded(&format!("CVE-2026-{}", n % 100), Severity::Critical)],
        ..Row::first(
            ImageKey {
                digest: format!("sha256:{n:064x}").parse().unwrap(),
                ..image_key()
            },
            &policy,
            now(),
        )
    };
    (0..number).map(|n| SnapshotRecord::Image(Box::new(of(n)))).collect()
}

#[test]
fn a_page_has_a_bound_and_says_what_it_leaves_out() {
    let report = report_of(&many(rows::MAX_ROWS + 7, State::Review));
    let mut bytes = Vec::new();
    assert_eq!(html::write(&report, &mut bytes).unwrap(), 7);
    let page = String::from_utf8(bytes).unwrap();
    assert!(page.contains("7 more images are left out here"));
    assert!(page.len() < PAGE_BUDGET, "{}", page.len());
    let lines = read_csv(&text_of(|to| csv::write(&report, to).unwrap()));
    assert_eq!(lines.len(), rows::MAX_ROWS + 8);
}

/// A registry as large ones are: a tenth of its images needs somebody, each for reasons of its own.
fn large(number: usize) -> Vec<SnapshotRecord> {
    let policy = policy("");
    let hour = jiff::SignedDuration::from_hours(1);
    let of = |n: usize| {
        let finding = |k: usize| {
            let id = format!("CVE-2026-{}", 1000 + (n * 7 + k * 131) % 400);
            let mut finding = recorded(&id, if k == 0 { Severity::Critical } else { Severity::High });
            finding.package = Some(format!("package-{}", (n + k) % 90));
            finding.url = Some(format!("https://avd.aquasec.com/nvd/{}", id.to_lowercase()));
            finding
        };
        let is_bad = n.is_multiple_of(10);
        let findings: Vec<_> = (0..if is_bad { 6 } else { 0 }).map(finding).collect();
        let (state, reason) = match findings.first() {
            Some(first) => (
                if n.is_multiple_of(20) {
                    State::Blocked
                } else {
                    State::Review
                },
                format!(
                    "1 finding blocks deployment: {} CRITICAL in {} (policy: severities.CRITICAL). 5 more need review.",
                    first.id,
                    first.package.as_deref().unwrap()
                ),
            ),
            None => (
                State::Allowed,
                format!("Findings: {} MEDIUM, {} LOW. None needs review.", n % 9, n % 40),
            ),
        };
        let key = image_key();
        Row {
            state,
            reason,
            findings,
            since: now() - hour * i32::try_from(n % 5000).unwrap(),
            tags: vec![format!("v{}.{}.{}-build.{n}", n % 3, n % 30, n % 11).parse().unwrap()],
            counts: [(Severity::Medium, n as u64 % 9), (Severity::Low, n as u64 % 40)].into(),
            ..Row::first(
                ImageKey {
                    repository: format!("team-{}/service-{}", n % 12, n % 120).parse().unwrap(),
                    digest: format!("sha256:{}", guard_core::text::hex(&sha2::Sha256::digest(n.to_string())))
                        .parse()
                        .unwrap(),
                    ..key
                },
                &policy,
                now(),
            )
        }
    };
    (0..number).map(|n| SnapshotRecord::Image(Box::new(of(n)))).collect()
}

/// The most bytes of a page about 10,000 images.
const PAGE_BUDGET: usize = 1_000_000;

#[test]
fn a_page_about_ten_thousand_images_has_less_than_a_megabyte() {
    let page = page(&report_of(&large(10_000)));
    let data = page
        .split_once("id=\"image-data\">")
        .unwrap()
        .1
        .split_once("</script>")
        .unwrap()
        .0;
    let parts = |data: &serde_json::Value| {
        let of = |name: &str| data[name].to_string().len();
        format!(
            "rows {}, texts {}, findings {}",
            of("rows"),
            of("texts"),
            of("findings")
        )
    };
    let read: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(read["rows"].as_array().unwrap().len(), 10_000);
    assert!(page.len() < PAGE_BUDGET, "{} bytes: {}", page.len(), parts(&read));
}

/// The script shows nothing but these data: all that the report says of an image is there.
#[test]
fn the_data_of_the_page_are_those_of_the_report() {
    let report = report_of(&small_ledger());
    let (data, left_out) = rows::data(&report).unwrap();
    assert_eq!(left_out, 0);
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    let text = |number: &serde_json::Value| {
        data["texts"][number.as_u64().unwrap() as usize]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let shown = data["rows"].as_array().unwrap();
    assert_eq!(shown.len(), report.images.len());
    for (row, image) in shown.iter().zip(&report.images) {
        let place: Vec<String> = data["places"][row[0].as_u64().unwrap() as usize]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        assert_eq!(format!("{}{}", place[0], place[3]), image.address());
        assert_eq!(
            place[1..],
            [&image.account, &image.region, &image.repository, &image.team].map(Clone::clone)
        );
        let facts = row[1].as_u64().unwrap() as usize;
        assert_eq!(data["states"][facts / 64], super::model::words(image.state));
        assert_eq!(row[2].as_str().unwrap(), image.tags[0]);
        assert!(
            image
                .digest
                .starts_with(&format!("sha256:{}", row[3].as_str().unwrap()))
        );
        assert_eq!(text(&row[4]), image.reason);
        let severity = data["severities"][facts / 8 % 8].as_str().unwrap();
        assert_eq!(severity, image.severity.unwrap_or_default());
        match image.findings.first() {
            Some(first) => assert_eq!(data["findings"][row[6].as_u64().unwrap() as usize - 1][0], first.id),
            None => assert!(matches!(row[6].as_u64(), None | Some(0))),
        }
        assert_eq!(facts & 1 == 1, image.needs_action);
        let details: Vec<String> = row[8][2]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|line| line.as_array().unwrap().iter())
            .filter(|value| value.as_i64().unwrap() >= 0)
            .map(text)
            .collect();
        let findings: Vec<&str> = row[8][2][0]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|value| usize::try_from(-1 - value.as_i64().unwrap()).ok())
            .map(|number| data["findings"][number][0].as_str().unwrap())
            .collect();
        let ids: Vec<&str> = image.findings.iter().map(|finding| finding.id.as_str()).collect();
        if image.needs_action || image.state == "Blocked" {
            assert_eq!(findings, ids);
            assert_eq!(row[3].as_str().unwrap().len(), 64, "its address can be copied");
            assert!(
                details.contains(image.rule.as_ref().unwrap_or(&"Size".to_owned())),
                "{details:?}"
            );
        } else {
            assert!(details.is_empty());
        }
    }
}

#[test]
fn without_the_script_the_urgent_images_can_be_read() {
    let page = page(&report_of(&large(3_000)));
    let table = page
        .split_once("id=\"image-table\"")
        .unwrap()
        .1
        .split_once("</table>")
        .unwrap()
        .0;
    assert_eq!(table.matches("<tr").count(), html::MAX_PLAIN + 1);
    assert_eq!(
        table.matches("<tr id=\"i-").count(),
        html::MAX_PLAIN,
        "each can be linked to"
    );
    assert_eq!(
        table.matches(">BLOCKED<").count(),
        html::MAX_PLAIN,
        "the worst come first"
    );
    assert!(
        page.contains("shows 100 of the 300 images that need action or are blocked"),
        "{table}"
    );
    let small = super::tests::page(&report_of(&small_ledger()));
    let table = small
        .split_once("id=\"image-table\"")
        .unwrap()
        .1
        .split_once("</table>")
        .unwrap()
        .0;
    assert!(table.contains("BLOCKED") && table.contains("REVIEW") && !table.contains("ALLOWED"));
}

#[test]
fn sarif_has_the_bounds_of_github() {
    let report = report_of(&many(sarif::MAX_RESULTS + 3, State::Blocked));
    let mut bytes = Vec::new();
    assert_eq!(sarif::write(&report, &mut bytes).unwrap(), 3);
    let sarif: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), sarif::MAX_RESULTS);
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 100);
    let mut prints = std::collections::BTreeSet::new();
    for result in results {
        assert_eq!(
            rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"],
            result["ruleId"]
        );
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            .as_str()
            .unwrap();
        assert!(
            !uri.split('/').next().unwrap().contains(':'),
            "a scheme is refused: {uri}"
        );
        assert!(prints.insert(result["partialFingerprints"]["primaryLocationLineHash"].to_string()));
    }
    let notices = run["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(notices.contains("3 results were left out"), "{notices}");
}

#[test]
fn images_with_the_same_finding_are_one_task() {
    let report = report_of(
        &many(50, State::BlockDeferred)
            .into_iter()
            .chain(many(0, State::Allowed))
            .collect::<Vec<_>>(),
    );
    assert_eq!(report.tasks.len(), 10);
    assert_eq!(report.more_tasks, 40);
    let same: Vec<SnapshotRecord> = many(50, State::BlockDeferred)
        .into_iter()
        .map(|record| match record {
            SnapshotRecord::Image(mut row) => {
                row.findings[0].id = "CVE-2026-1".to_owned();
                SnapshotRecord::Image(row)
            }
            other => other,
        })
        .collect();
    let report = report_of(&same);
    assert_eq!((report.tasks.len(), report.tasks[0].images), (1, 50));
    assert!(
        report.tasks[0].what.ends_with("and 49 more images of it"),
        "{}",
        report.tasks[0].what
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_stands_in_a_ledger_a_report_is_made(text in ".{0,200}") {
        let report = report_of(&ledger_with(&text));
        let page = page(&report);
        prop_assert_eq!(page.matches("<script>").count(), 1);
        for line in read_csv(&text_of(|to| csv::write(&report, to).unwrap())) {
            prop_assert_eq!(line.len(), 21);
        }
    }
}
