//! `docs/alerts.md` shows one alert in all its forms, as the code makes them. `make update` writes them again.

use serde_json::{Value, json};
use shared::{
    core::{
        alert::{Contact, test::TestAlert},
        decide::pull_refused,
        finding::{Finding, Findings, Fix, Scan, ScanMode, Severity},
        gate::{Asked, hook::HookRequest, refused},
        ids::registry_host,
        image::Image,
        uses::{RefusedPull, SourceKind, WorkloadSource, aws},
    },
    engine::gate::Gate,
    testing::{self, World, sweep::sweep},
};

use crate::support;

/// The alert for an image's team when a service cannot pull it.
#[test]
fn the_page_of_alerts_shows_a_pull_that_was_refused() {
    let key = testing::image_key();
    let image = Image {
        tags: vec!["v1.2.3".parse().unwrap()],
        ..testing::image(&key)
    };
    let found = Finding {
        fixed_in: Some("3.0.9".to_owned()),
        fix: Fix::Available,
        ..testing::finding("CVE-2026-9001", Severity::Critical)
    };
    let world = World::with(&key, image, Scan::Complete(testing::scan(vec![found])));
    sweep(&world, &testing::policy(""));
    let row = world.row_of(&key).unwrap();
    let source = WorkloadSource {
        account: key.account.clone(),
        region: key.region.clone(),
        kind: SourceKind::Ecs,
    };
    let cluster = "arn:aws:ecs:us-west-2:123456789012:cluster/prod";
    let definition = "arn:aws:ecs:us-west-2:123456789012:task-definition/api:41";
    let service = aws::task(&source, Some(cluster), Some("service:api"), definition);
    let who = RefusedPull::who(&service);
    let claim = RefusedPull::claim(None, &key, &who, "request", testing::now()).unwrap();
    let says = "CannotPullContainerError: pull image manifest has been retried 1 time(s): not found";
    let alert = pull_refused(&row, &claim, &service, says, testing::now());
    let message = alert.message(&Contact::default());
    let form = format!("Subject: {}\n\n{}", message.subject, message.email);
    support::assert_part_is(
        "docs/alerts.md",
        "pull-refused",
        &format!("```\n{}\n```\n", form.trim_end()),
    );
}

/// The alert for an image's team when the gate refuses a deployment of it.
#[test]
fn the_page_of_alerts_shows_a_deployment_that_was_refused() {
    let (key, policy) = (testing::image_key(), testing::policy(""));
    let image = Image {
        tags: vec!["v1.2.3".parse().unwrap()],
        ..testing::image(&key)
    };
    let found = Finding {
        fixed_in: Some("3.0.9".to_owned()),
        fix: Fix::Available,
        ..testing::finding("CVE-2026-9001", Severity::Critical)
    };
    let world = World::with(&key, image, Scan::Complete(testing::scan(vec![found])));
    let hook = HookRequest::parse(&crate::gate::hook("PRE_SCALE_UP", &json!({}))).unwrap();
    let gate = Gate {
        services: &world.writing(false),
        policy: &policy,
        account: &key.account,
        region: &key.region,
        actor: "request",
    };
    let asked = Asked::new(&format!(
        "{}/{}:v1.2.3",
        registry_host(&key.account, &key.region),
        key.repository
    ));
    let answer = testing::run(gate.answer(&[asked]));
    let alerts = refused::alerts(&key.account, &key.region, &hook, &answer, testing::now());
    let [alert] = alerts.as_slice() else {
        panic!("{alerts:?}")
    };
    let message = alert.message(&Contact::default());
    let form = format!("Subject: {}\n\n{}", message.subject, message.email);
    support::assert_part_is(
        "docs/alerts.md",
        "deployment-refused",
        &format!("```\n{}\n```\n", form.trim_end()),
    );
}

/// The forms of the alert about an image with a CRITICAL finding: what a subscriber of each kind gets.
fn forms() -> [(&'static str, String); 4] {
    let mut key = testing::image_key();
    key.repository = "pay/api".parse().unwrap();
    let found = Finding {
        package: Some("spring-beans".to_owned()),
        package_type: Some("JAR".to_owned()),
        installed: Some("5.3.17".to_owned()),
        fixed_in: Some("5.3.18".to_owned()),
        fix: Fix::Available,
        exploit: Some(true),
        score: Some(9.8),
        url: Some("https://nvd.nist.gov/vuln/detail/CVE-2022-22965".to_owned()),
        ..testing::finding("CVE-2022-22965", Severity::Critical)
    };
    let scan = Findings {
        mode: ScanMode::Enhanced,
        ..testing::scan(vec![found])
    };
    let image = Image {
        tags: vec!["2.0.0".parse().unwrap()],
        ..testing::image(&key)
    };
    let world = World::with(&key, image, Scan::Complete(scan));
    sweep(&world, &testing::policy(""));
    let sent = world.sent();
    let [sent] = sent.as_slice() else { panic!("{sent:?}") };
    let message = &sent.message;
    let pretty = |json: &str| {
        let value: Value = serde_json::from_str(json).unwrap();
        format!("{value:#}\n")
    };
    [
        ("email", format!("Subject: {}\n\n{}", message.subject, message.email)),
        ("chat", pretty(&message.https)),
        ("sms", format!("{}\n", message.sms)),
        ("json", pretty(&message.default)),
    ]
}

#[test]
fn the_page_of_alerts_shows_what_subscribers_get() {
    for (name, form) in forms() {
        support::assert_part_is("docs/alerts.md", name, &format!("```\n{}\n```\n", form.trim_end()));
    }
}

#[test]
fn the_page_of_alerts_shows_a_test_alert() {
    let alert = TestAlert {
        id: "test-8f5d3c1a".to_owned(),
        time: testing::now(),
        registry: testing::registry_key(),
        routes: vec!["default".to_owned()],
    };
    let message = alert.message(&Contact::default());
    let form = format!("Subject: {}\n\n{}", message.subject, message.email);
    support::assert_part_is("docs/alerts.md", "test", &format!("```\n{}\n```\n", form.trim_end()));
}
