"""An upgrade and the way back, on the same ledger, queue and registry: ``make upgrade-test``.

The functions of an earlier commit block images by each method and leave work in the queue. Those of the working tree take over:
they read its records, release its blocks, and block anew. Then the earlier ones are put back, and once more those of today.
Nothing may fail, be alerted twice, or stay blocked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from console import show, step
from local_aws import events
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.processes import wait_for
from scenarios import replication
from scenarios.world import Observed, Scenario, World, observe
from stack import ROOT, Guard, Stack
from versions import NotThere, build, build_commit, commit_of, is_ancestor

# The last commit before rows said why an image is blocked (`cause`): the documents in tests/fixtures/stored/0.1 are from it.
BASELINE = "bf8e0082a28a07dd349b59c9809f058a05ae35a7"
FIRST_WITH_CAUSES = "0251aa6"
DIRECTORY = ROOT / "target" / "upgrade"

OPENSSL = basic("CVE-2026-9200", "CRITICAL", "openssl")
CURL = basic("CVE-2026-9201", "HIGH", "curl")
# Under which policy each method blocks. Under `upgrade-milder` nothing is blocked, and the methods stay: the earlier version cannot release
# without the permissions of the method, and the roles are those of today, which lose them with it.
METHODS = {"archive": "enforce", "quarantine-tag": "quarantine-tag", "flag": "flag"}
MILDER = "upgrade-milder"
SWEPT = ("on-push", "on-scan", "sweep", "worker")


class Course:
    """The common part of the steps of an upgrade: the world, and the images that each version has blocked."""

    def __init__(self, world: World, old: Path, new: Path, old_says_why: bool):
        self.world = world
        self.old, self.new = old, new
        # Where it does not, a row says which version wrote it.
        self.old_says_why = old_says_why
        self.images: dict[str, Image] = {}
        self.copy: Image | None = None

    def steps(self) -> list[Scenario]:
        """In order."""
        return [
            Scenario("old-blocks", "blocked by each method, with an index, for a tag, as a copy; one to review", self.old_blocks),
            Scenario("old-leaves-work", "the sweep's items stay in the queue, a repository is counted", self.old_leaves_work),
            Scenario("new-does-the-old-work", "the old items are done: blocked, and the row says why", self.new_does_the_old_work),
            Scenario("new-reads-the-figures", "the digest has what the old version counted", self.new_reads_the_figures),
            Scenario("new-sees-what-it-would-do", "a sweep changes nothing in the registry and sends no alert", self.new_agrees),
            Scenario("new-releases", "what the old version blocked, by each method, can be pulled again", self.new_releases),
            Scenario("new-blocks", "blocked by each method; its items stay in the queue", self.new_blocks),
            Scenario("old-does-the-new-work", "the new items are done, none fails, none is given up", self.old_does_the_new_work),
            Scenario("old-releases", "what the new version blocked, by each method, can be pulled again", self.old_releases),
            Scenario("new-once-more", "after the way back: nothing to change, no second alert", self.new_once_more),
        ]

    # The steps

    def old_blocks(self, world: World) -> Observed:
        self.block_by_each_method("old")
        index = self.blocked_index("upgrade/index-old")
        tagged = world.push(world.repository("rules/block-upgrade"), "latest")
        world.send("on-push", events.push(tagged), guard=self.tag_rules())
        review = self.images["review"] = world.push_and_scan("upgrade/review", CURL, guard=self.guard("archive"))
        self.images |= {"index-old": index, "tag-old": tagged}
        copy = self.copy = self.blocked_copy()
        return observe(
            **self.blocked("old"),
            index=((world.state(index), world.pull(index)), ("Blocked", "refused")),
            for_a_tag=((world.state(tagged), world.pull(tagged)), ("Blocked", "refused")),
            copy=((world.second().state(copy), world.second().pull(copy)), ("Blocked", "refused")),
            to_review=(world.state(review), "Review"),
            says_why=(self.causes(*self.by_method("old")), [self.cause_by_the_old] * 3),
        )

    def old_leaves_work(self, world: World) -> Observed:
        image = self.leave_work("old")
        counted = self.images["archive-old"].repository
        # The first sweep reconciles the image, the next one counts the result.
        for _ in range(2):
            world.sweep(counted, guard=self.guard("archive"))
        return observe(
            in_the_queue=(world.stack.waiting(self.unmapped().queue), 1),
            state=(world.state(image), "none"),
            counted=(world.is_counted(counted), True),
        )

    def new_does_the_old_work(self, world: World) -> Observed:
        self.install(self.new)
        return self.work_is_done("old", "findings")

    def new_reads_the_figures(self, world: World) -> Observed:
        """All figures are the old version's: the new one has not reconciled these repositories yet."""
        counted = [row["row"] for row in world.stack.ledger() if row["sk"].startswith(f"summary#{world.stack.region}#")]
        # The review's repository was never swept, and has no images that are due.
        answer = world.sweep(self.images["review"].repository, guard=self.guard("archive"), digest=True)
        figures = [alert["figures"] for alert in world.stack.received() if alert["kind"] == "digest"]
        return observe(
            repositories_counted=(len(counted) > 0, True),
            digests=(answer["digests"], 2),
            images=(sum(each["images"] for each in figures), sum(row["images"] for row in counted)),
            blocked=(sum(each["blocked"]["total"] for each in figures), sum(row["blocked"]["total"] for row in counted)),
        )

    def new_agrees(self, world: World) -> Observed:
        before = self.seen()
        told = len(world.stack.mails())
        for method in METHODS:
            world.sweep(*{image.repository for name, image in self.images.items() if name.startswith(method)}, guard=self.guard(method))
        review = self.images["review"]
        world.send("on-scan", events.scan(review, "COMPLETE", {"HIGH": 1}), guard=self.guard("archive"))
        return observe(
            **self.blocked("old"),
            to_review=(world.state(review), "Review"),
            changes_to_the_registry=(self.changes_since(before), []),
            told=(len(world.stack.mails()) - told, 0),
        )

    def new_releases(self, world: World) -> Observed:
        return self.released("old")

    def new_blocks(self, world: World) -> Observed:
        self.under_the_policies()
        self.block_by_each_method("new")
        self.images["index-new"] = index = self.blocked_index("upgrade/index-new")
        queued = self.leave_work("new")
        return observe(
            **self.blocked("new"),
            index=((world.state(index), world.pull(index)), ("Blocked", "refused")),
            says_why=(self.causes(*self.by_method("new")), ["findings"] * 3),
            in_the_queue=(world.stack.waiting(self.unmapped().queue), 1),
            state=(world.state(queued), "none"),
        )

    def old_does_the_new_work(self, world: World) -> Observed:
        self.install(self.old)
        return self.work_is_done("new", self.cause_by_the_old)

    def old_releases(self, world: World) -> Observed:
        return self.released("new")

    def new_once_more(self, world: World) -> Observed:
        self.install(self.new)
        before, told = self.seen(), len(world.stack.mails())
        states = {name: world.state(image) for name, image in self.images.items()}
        for method in METHODS:
            world.sweep(*{image.repository for name, image in self.images.items() if name.startswith(method)}, guard=self.guard(method))
        given_up = [body for guard in self.guards() for body in world.stack.given_up(guard)]
        return observe(
            states=({name: world.state(image) for name, image in self.images.items()} == states, True),
            changes_to_the_registry=(self.changes_since(before), []),
            told=(len(world.stack.mails()) - told, 0),
            given_up=(given_up, []),
            failed_events=(len(world.stack.dead_letters()), 0),
        )

    # Their parts

    def guard(self, method: str) -> Guard:
        """The functions that block by a method."""
        return self.world.guard(f"upgrade-{method}", METHODS[method], SWEPT)

    def tag_rules(self) -> Guard:
        """Those that block images for their tags."""
        return self.world.guard("upgrade-rules", "repositories", ("on-push", "on-scan"))

    def unmapped(self) -> Guard:
        """A sweep, and a worker that takes nothing out of its queue by itself."""
        return self.world.guard("upgrade-work", "enforce", ("sweep", "worker"), mapped=False)

    def guards(self) -> list[Guard]:
        """All that have a queue."""
        return [*map(self.guard, METHODS), self.unmapped()]

    def deploy(self) -> None:
        """Deploys everything, by the version that is the first."""
        for method in METHODS:
            self.guard(method)
        self.tag_rules()
        self.unmapped()
        replication.home(self.world)
        replication.there(self.world)

    def install(self, version: Path) -> None:
        """Replaces the code of all functions, in both regions."""
        self.world.stack.install(version)
        self.world.second().stack.install(version)

    def under_the_policies(self) -> None:
        """Everything is evaluated as in the beginning."""
        for method, policy in METHODS.items():
            for deployed in self.guard(method).functions.values():
                self.world.stack.change_policy(deployed, policy)

    def block_by_each_method(self, version: str) -> None:
        """An image for each method, with a CRITICAL finding."""
        for method in METHODS:
            repository = f"upgrade/{method}-{version}"
            self.images[f"{method}-{version}"] = self.world.push_and_scan(repository, OPENSSL, guard=self.guard(method))

    def blocked_index(self, repository: str) -> Image:
        """An index, one of whose images has a CRITICAL finding."""
        world, guard = self.world, self.guard("archive")
        world.repository(repository)
        amd64, arm64 = (world.pusher.image(repository, None, f"{repository} for {name}") for name in ("amd64", "arm64"))
        index = world.pusher.index(repository, "v1.0.0", [amd64, arm64])
        world.send("on-push", *[events.push(image) for image in (amd64, arm64, index)], guard=guard)
        world.send("on-scan", world.found(amd64), guard=guard)
        world.send("on-scan", world.found(arm64, OPENSSL), guard=guard)
        return index

    def blocked_copy(self) -> Image:
        """An image at home that is blocked, and its copy in the second region, which follows it."""
        world, second = self.world, self.world.second()
        image = replication.copied(world, "dr/released")
        world.send("on-scan", world.found(image, replication.OPENSSL), guard=replication.home(world))
        second.sweep(image.repository, guard=replication.there(world))
        return image

    def leave_work(self, version: str) -> Image:
        """An image without an event, and the item that a sweep leaves of its repository."""
        image = self.world.push(self.world.repository(f"upgrade/queued-{version}"))
        self.world.found(image, OPENSSL)
        self.images[f"queued-{version}"] = image
        self.world.stack.invoke(self.unmapped().functions["sweep"], {"repositories": [image.repository]})
        return image

    def work_is_done(self, version: str, cause: str) -> Observed:
        """A worker of the other version takes the item, and what it leaves of it."""
        world, guard, image = self.world, self.unmapped(), self.images[f"queued-{version}"]
        failed: list[str] = []
        while world.stack.waiting(guard.queue):
            failed += [one["itemIdentifier"] for one in world.stack.deliver(guard, 1)["batchItemFailures"]]
        return observe(
            failed=(failed, []),
            given_up=(world.stack.given_up(guard), []),
            state=(world.state(image), "Blocked"),
            says_why=(self.causes(image), [cause]),
            alerts=(world.alerts(image.repository), ["image-blocked"]),
        )

    @property
    def cause_by_the_old(self) -> str:
        """The part of an earlier version's row about a block for findings."""
        return "findings" if self.old_says_why else "-"

    def by_method(self, version: str) -> list[Image]:
        """The images that a version has blocked, one for each method."""
        return [self.images[f"{method}-{version}"] for method in METHODS]

    def blocked(self, version: str) -> dict[str, tuple[object, object]]:
        """How the images stand that a version has blocked, and how they should."""
        world, images = self.world, self.by_method(version)
        return {
            "states": ([world.state(image) for image in images], ["Blocked"] * 3),
            "pulls_by_tag": ([world.pull(image) for image in images], ["refused", "refused", "works"]),
            "alerts": ([world.alerts(image.repository) for image in images], [["image-blocked"]] * 3),
        }

    def released(self, version: str) -> Observed:
        """Under a milder policy, a sweep releases what is blocked."""
        world = self.world
        for method in METHODS:
            guard = self.guard(method)
            for deployed in guard.functions.values():
                world.stack.change_policy(deployed, MILDER)
            names = [f"{method}-{version}"] + ([f"index-{version}"] if method == "archive" else [])
            world.sweep(*[self.images[name].repository for name in names], guard=guard)
        images, index = self.by_method(version), self.images[f"index-{version}"]
        facts: dict[str, object] = {
            "pulls_by_tag": ([world.pull(image) for image in images], ["works"] * 3),
            "states": ([world.state(image) for image in images], ["Allowed"] * 3),
            "release_tags": (["v1.0.0" in world.tags(image) for image in images], [True] * 3),
            "index": ((world.state(index), world.pull(index)), ("Allowed", "works")),
            "alerts": ([world.alerts(image.repository) for image in images], [["image-blocked", "image-released"]] * 3),
        }
        if version == "old":
            facts |= self.released_for_other_reasons()
        return observe(**facts)

    def released_for_other_reasons(self) -> dict[str, object]:
        """The images that were blocked for their tag, and as a copy."""
        world, second, copy = self.world, self.world.second(), self.copy
        assert copy is not None, "the first step has not run"
        tagged, rules = self.images["tag-old"], self.tag_rules()
        for deployed in rules.functions.values():
            world.stack.change_policy(deployed, MILDER)
        world.send("on-push", events.push(tagged), guard=rules)
        regions = {world: replication.home(world), second: replication.there(world)}
        for region, guard in regions.items():
            region.stack.change_policy(guard.functions["worker"], "copies-excepted")

        def both_can_be_pulled() -> bool:
            for region, guard in regions.items():
                region.sweep(copy.repository, guard=guard)
            return all(region.pull(copy) == "works" for region in regions)

        wait_for("the copy can be pulled", both_can_be_pulled)
        return {
            "for_a_tag": ((world.state(tagged), world.pull(tagged)), ("Pending", "works")),
            "copy": ((second.state(copy), second.pull(copy)), ("Allowed", "works")),
        }

    def causes(self, *images: Image) -> list[str]:
        """Why the images are blocked, by their rows. Those of the earlier version do not say."""
        rows = [self.world.stack.row(image.repository, image.digest) for image in images]
        return [str((row or {}).get("row", {}).get("cause", "-")) for row in rows]

    def seen(self) -> dict[str, int]:
        """How often the functions have changed each repository."""
        return {image.repository: len(self.changes(image.repository)) for image in self.images.values()}

    def changes_since(self, before: dict[str, int]) -> list[str]:
        """The changes of the functions since."""
        return [change for repository, number in before.items() for change in self.changes(repository)[number:]]

    def changes(self, repository: str) -> list[str]:
        """The calls with which the functions have changed a repository."""
        return self.world.mutations(repository)


def run(old: Path, new: Path, old_says_why: bool) -> int:
    """Runs the steps; 0 if each is as expected."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(DIRECTORY / "tmp", ignore_errors=True)
    stack = Stack(DIRECTORY, old)
    try:
        with step("start the emulators"):
            stack.start()
        stack.create_resources()
        world = World(stack)
        course = Course(world, old, new, old_says_why)
        with step("deploy the functions of both regions"):
            course.deploy()
        steps = course.steps()
        results = [show(number, len(steps), each, world) for number, each in enumerate(steps, 1)]
        stack.save_function_logs()
    finally:
        stack.stop()
    failed = [result["name"] for result in results if not result["ok"]]
    (DIRECTORY / "report.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"\n{len(results) - len(failed)} of {len(results)} steps are as expected. Report and logs: {DIRECTORY.relative_to(ROOT)}")
    return 1 if failed else 0


def main() -> int:
    """Builds both versions, and runs the steps."""
    parser = argparse.ArgumentParser(prog="upgrade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="commit", default=BASELINE, help="the commit whose functions run first (default: %(default)s)")
    options = parser.parse_args()
    try:
        commit = commit_of(options.commit)
    except NotThere as why:
        print(f"NOT CHECKED: the upgrade from an earlier version: {why}")
        return 0
    subject = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%h %s", commit], capture_output=True, text=True, check=True)
    print(f"from {subject.stdout.strip()}\nto   the working tree", flush=True)
    old = build_commit(commit, DIRECTORY)
    build(ROOT, DIRECTORY / "new")
    # A commit before the baseline has none of the baseline's successors.
    says_why = is_ancestor(FIRST_WITH_CAUSES, commit)
    return run(old, DIRECTORY / "new", says_why)


if __name__ == "__main__":
    sys.exit(main())
