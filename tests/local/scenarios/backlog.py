"""Much work, slow work, and the first work: nothing is lost, nobody waits for another, one message names all of it."""

from __future__ import annotations

import json
from typing import Any

from local_aws import events
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.processes import wait_for
from region import MAX_HOPS
from scenarios.world import Observed, Scenario, World, observe
from work import work_item

OPENSSL = basic("CVE-2026-8101", "CRITICAL", "openssl")
CURL = basic("CVE-2026-8102", "HIGH", "curl")
# The number of images that are due in the repository of the long chain: more than a worker reconciles in one invocation.
DUE = 12
# The number of repositories that wait in the queue while the registry is slow.
WAITING = 30


def scanned(world: World, repository: str, tag: str = "v1.0.0", found: dict[str, Any] | None = None) -> Image:
    """An image that was pushed and scanned, without an event."""
    image = world.push(repository, tag)
    world.found(image, *([found] if found else []))
    return image


def chain_cut_off(world: World) -> Observed:
    guard = world.guard("chain", "enforce", ("sweep", "worker"), mapped=False)
    repository = world.repository("backlog/chain")
    images = [scanned(world, repository, f"v1.0.{number}", OPENSSL) for number in range(DUE)]
    # The rest that the worker leaves of an item has made a hop more. Here that is one too many.
    item = work_item(repository) | {"hops": MAX_HOPS}
    world.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody=json.dumps(item))
    for _ in range(2):
        world.stack.deliver(guard, 1)
    cut = [json.loads(body) for body in world.stack.given_up(guard)]
    before = {world.state(image) for image in images}
    # The next sweep begins a new chain.
    world.invoke(guard.functions["sweep"], {"repositories": [repository]})
    for _ in range(2):
        world.stack.deliver(guard, 1)
    alerts = world.alert_documents(repository)
    return observe(
        cut_off=([(one["hops"], len(one["work"]["digests"])) for one in cut], [(MAX_HOPS + 1, DUE)]),
        known_then=(sorted(before), ["none"]),
        after_the_next_sweep=([world.state(image) for image in images], ["Blocked"] * DUE),
        told_of=(len({alert["digest"] for alert in alerts}), DUE),
        given_up=(world.stack.given_up(guard), []),
    )


def first_sweep(world: World) -> Observed:
    repositories = [world.repository(f"backlog/first-{number}") for number in range(3)]
    to_review = [scanned(world, name, tag, CURL) for name in repositories for tag in ("v1.0.0", "v1.1.0")]
    failed = world.push(repositories[0], "v2.0.0")
    world.registry.set_scan(failed.repository, failed.digest, "FAILED", description="The scan could not be completed")
    bad = scanned(world, repositories[0], "v3.0.0", OPENSSL)
    world.sweep(*repositories)
    single = [world.alerts(name) for name in repositories]
    world.sweep()
    summaries = [alert for alert in world.stack.received() if alert["kind"] == "alert-summary"]
    ours = [alert for alert in summaries if set(repositories) & set(alert["alerts"])]
    named = [one["image"] for alert in ours for name in repositories for kind in alert["alerts"][name].values() for one in kind]
    waiting = [*to_review, failed]
    return observe(
        states=([world.state(image) for image in [*waiting, bad]], ["Review"] * 6 + ["Unscannable", "Blocked"]),
        told_singly=(single, [["image-blocked"], [], []]),
        summaries=(len(ours), 1),
        named=(sorted(named), sorted(f"{image.tag}@{image.digest.removeprefix('sha256:')[:12]}" for image in waiting)),
        told_singly_in_the_end=([world.alerts(name) for name in repositories], single),
    )


def slow_registry(world: World) -> Observed:
    guard = world.guard("slow", "enforce", ("sweep", "worker"))
    repositories = [world.repository(f"backlog/slow-{number}") for number in range(WAITING)]
    image = scanned(world, world.repository("backlog/found"), found=OPENSSL)
    world.registry.behave(slowSeconds=1.0)
    try:
        world.invoke(guard.functions["sweep"], {"repositories": repositories})
        world.stack.emit(guard, events.inspector_finding(image, "CVE-2026-8101", 0.2))
        wait_for("the finding's image is blocked", lambda: world.state(image) == "Blocked", 60)
        waiting = world.stack.waiting(guard.queue)
    finally:
        world.registry.behave(slowSeconds=0.0)
    world.stack.drain(guard)
    return observe(
        state=(world.state(image), "Blocked"),
        most_repositories_still_wait=(waiting > WAITING / 2, True),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        given_up=(world.stack.given_up(guard), []),
    )


SCENARIOS = [
    Scenario("chain-cut-off", "work that has gone round 16 times is cut off: the next sweep does all of it", chain_cut_off),
    Scenario("first-sweep-is-one-summary", "images to review: one message names all; each block has an alert of its own", first_sweep),
    Scenario("slow-registry-starves-nobody", "a finding is done while the repositories of a sweep still wait", slow_registry),
]
