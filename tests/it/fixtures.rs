//! Every event in `tests/fixtures/events` through each function: what each of them makes of it, in a world where the image that
//! the event names exists and has a CRITICAL finding.

use std::{fmt::Write as _, fs, path::PathBuf};

use jiff::Timestamp;
use shared::{
    core::{
        finding::{Scan, Severity},
        ids::{ImageKey, ImageRef},
        policy::Policy,
    },
    events::{self, Event},
    lambda::{
        entry::{self, EventContext, Handled, Invocation, Received, Selection},
        repositories::RecentLooks,
    },
    testing::{self, World, finding, scan},
};

use crate::support;

fn fixtures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(support::root().join("tests/fixtures/events")).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            found.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    assert!(found.len() > 90, "the fixtures are gone");
    found
}

/// The world that an event is about, and who handles it there.
fn world_of(event: Option<&Event>) -> (World, Invocation) {
    let mut key = testing::image_key();
    let mut tags = Vec::new();
    if let Some(event) = event {
        let (account, region) = event.registry();
        (key.account, key.region) = (account.clone(), region.clone());
        if let Some(name) = event.body.name() {
            key.repository = name.repository.clone();
            tags.clone_from(&name.tags);
            if let Some(digest) = &name.digest {
                key.digest = digest.clone();
            }
        }
    }
    let image = shared::core::image::Image {
        tags,
        ..testing::image(&key)
    };
    let world = World::with(
        &key,
        image,
        Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)])),
    );
    let ImageKey { account, region, .. } = key;
    (
        world,
        Invocation {
            function: "trial",
            request_id: "one".to_owned(),
            account,
            region,
            until: Timestamp::MAX,
        },
    )
}

fn handle(select: fn(&Event) -> Selection, policy: &Policy, event: Option<&Event>, payload: &str) -> String {
    let (world, invocation) = world_of(event);
    let received = Received {
        invocation: &invocation,
        payload,
    };
    let context = EventContext {
        services: &world.writing(true),
        policy,
        select,
        recent: &RecentLooks::default(),
    };
    match testing::run(entry::image_event(context, received)) {
        Ok(Handled::Ignored { .. }) => {
            assert!(world.calls().is_empty(), "what is ignored costs no call");
            "ignored".to_owned()
        }
        Ok(Handled::Looked(outcome)) => {
            let state = outcome.state.map_or("-", |state| state.as_str());
            let looked_at = outcome.digest.as_ref().map(|digest| ImageRef::Digest(digest.clone()));
            assert!(looked_at.is_some(), "{payload}");
            format!("{state}, {}", outcome.effect.unwrap_or("nothing changed"))
        }
        Err(error) => {
            assert_eq!(world.writes(), 0, "an event that cannot be used has no effect");
            error.code().to_owned()
        }
    }
}

#[test]
fn every_fixture_is_handled_by_each_function() {
    let policy = testing::policy("");
    let mut table = String::new();
    for path in fixtures() {
        // Not all of them are text.
        let payload = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let event = events::parse(&payload);
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(event.is_err(), name.starts_with("poison-"), "{name}: {event:?}");
        let event = event.ok();
        let push = handle(on_push::select, &policy, event.as_ref(), &payload);
        let scan = handle(on_scan::select, &policy, event.as_ref(), &payload);
        let work = handle(worker::select, &policy, event.as_ref(), &payload);
        if event.is_none() {
            assert_eq!([&push, &scan, &work], ["PoisonEvent"; 3], "{name}");
            continue;
        }
        writeln!(table, "{name:<50} push: {push:<26} scan: {scan:<26} worker: {work}").unwrap();
    }
    insta::assert_snapshot!(table);
}
