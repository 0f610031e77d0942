//! Repositories that are gone, and of which the ledger still has something.

use super::*;
use guard_core::summary::RepositorySummary;
use guard_ports::SweepLedger as _;

/// The repositories that are left to the workers, and the number that says so.
#[track_caller]
fn gone(world: &World, sweep: &Sweep) -> (u64, Vec<String>) {
    let policy = policy("");
    let number = run(enqueue_gone(&world.services(&policy), world, sweep)).unwrap();
    let items = world.take_items(99);
    for item in &items {
        assert_eq!(*item, sweep.repository(item.work.repository().unwrap().clone(), None));
    }
    let name = |item: &WorkItem| item.work.repository().unwrap().to_string();
    (number, items.iter().map(name).collect())
}

fn delete_all(world: &World, repository: &str) {
    for number in 0..10 {
        world.delete(&key_of(repository, number));
    }
}

#[test]
fn only_what_is_gone_and_has_left_something_is_reconciled_until_nothing_is_left_of_it() {
    for page_size in [1, 2, 1000] {
        let world = silent_world();
        sweep(&world, &policy(""));
        world.set_page_size(page_size);
        assert_eq!(gone(&world, &a_sweep(&world)), (0, vec![]));
        delete_all(&world, "api");
        delete_all(&world, "team/c");
        let expected = vec!["api".to_owned(), "team/c".to_owned()];
        assert_eq!(gone(&world, &a_sweep(&world)), (2, expected), "{page_size}");
        run(enqueue_gone(&world.services(&policy("")), &world, &a_sweep(&world))).unwrap();
        work_off(&world, &policy(""));
        for number in 0..10 {
            assert!(world.row_of(&key_of("api", number)).unwrap().closed_at.is_some());
            assert!(world.row_of(&key_of("backend", number)).unwrap().closed_at.is_none());
        }
        assert_eq!(gone(&world, &a_sweep(&world)), (0, vec![]), "{page_size}");
    }
}

/// Figures of a repository without any image may still name states, and those with images may name none.
#[test]
fn figures_are_of_nothing_without_images_and_without_states() {
    let blocked = BTreeMap::from([("Blocked".to_owned(), 1)]);
    for (images, states, number) in [
        (0, BTreeMap::new(), 0),
        (0, blocked.clone(), 1),
        (3, BTreeMap::new(), 1),
        (3, blocked, 1),
    ] {
        let world = silent_world();
        sweep(&world, &policy(""));
        delete_all(&world, "api");
        let known = world.summary_of(&repository_of("api")).unwrap();
        let figures = RepositorySummary {
            generation: known.generation + 1,
            images,
            states,
            ..known
        };
        run(world.write_summary(&figures)).unwrap();
        assert_eq!(gone(&world, &a_sweep(&world)).0, number, "{figures:?}");
    }
}

#[test]
fn what_is_not_guarded_is_left_alone_when_it_is_gone() {
    let world = silent_world();
    sweep(&world, &policy(""));
    delete_all(&world, "api");
    delete_all(&world, "team/c");
    world.guard_only("team/c".parse().unwrap());
    assert_eq!(gone(&world, &a_sweep(&world)), (1, vec!["team/c".to_owned()]));
}

#[test]
fn without_time_nothing_counts_as_gone() {
    let world = silent_world();
    sweep(&world, &policy(""));
    delete_all(&world, "api");
    let in_a_hurry = Sweep {
        until: world.now(),
        ..a_sweep(&world)
    };
    world.forget_calls();
    assert_eq!(gone(&world, &in_a_hurry), (0, vec![]));
    assert_eq!(operations(&world), BTreeMap::new());
}

/// A registry of which an entry of the list cannot be read.
struct Unreadable<'a> {
    world: &'a World,
}

guard_testkit::as_its_world!(Unreadable<'_>: Registry, Scanner, Repositories);

impl guard_ports::Listing for Unreadable<'_> {
    async fn repositories(
        &self,
        after: Option<&str>,
    ) -> Result<guard_ports::Page<guard_core::repository::posture::ListedRepository>, guard_ports::PortError> {
        let page = guard_ports::Listing::repositories(self.world, after).await?;
        Ok(guard_ports::Page {
            unreadable: vec![no_name()],
            ..page
        })
    }

    async fn images(
        &self,
        key: &RepositoryKey,
        after: Option<&str>,
    ) -> Result<Option<guard_ports::Page<guard_core::image::ListedImage>>, guard_ports::PortError> {
        guard_ports::Listing::images(self.world, key, after).await
    }

    async fn settings(&self) -> Result<guard_core::registry::RegistrySettings, guard_ports::PortError> {
        guard_ports::Listing::settings(self.world).await
    }
}

fn no_name() -> guard_ports::PortError {
    guard_ports::PortError {
        retry: Retry::Never,
        operation: "ecr:DescribeRepositories",
        code: "Unreadable".to_owned(),
        message: "an entry has no name".to_owned(),
        request_id: None,
    }
}

#[test]
fn an_entry_that_cannot_be_read_may_be_any_repository_and_the_rest_of_the_list_is_left_to_workers() {
    let world = silent_world();
    sweep(&world, &policy(""));
    delete_all(&world, "api");
    let (policy, unreadable) = (policy(""), Unreadable { world: &world });
    let services = guard_testkit::Parts {
        world: &world,
        registry: &unreadable,
        writer: Some(&world),
        notifier: &world,
    };
    let error = run(enqueue_gone(&services, &unreadable, &a_sweep(&world))).unwrap_err();
    insta::assert_snapshot!(error, @"could not look for repositories that are gone: ecr:DescribeRepositories failed with `Unreadable`: an entry has no name");
    assert_eq!(world.take_items(9), []);
    // An item that goes on with the list.
    let sweep = a_sweep(&world);
    let worker = Worker {
        services: &services,
        policy: &policy,
        sweep: &sweep,
        actor: "an-item",
    };
    let rest = Work::Repositories {
        after: "backend".to_owned(),
    };
    let (looks, failures) = run(worker.work(&rest));
    assert_eq!((looks.repositories, failures), (1, vec![]));
    let handed_on: Vec<String> = looks.handed_on.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(handed_on.join("\n"), @"could not read the whole list of repositories: ecr:DescribeRepositories failed with `Unreadable`: an entry has no name");
    assert_eq!(world.take_items(9), [sweep.repository("team/c".parse().unwrap(), None)]);
}
