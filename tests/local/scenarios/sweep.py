"""The sweep finds images without an event, and the workers' queue: many messages about one image, throttling, poison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local_aws import events
from local_aws.findings import basic, enhanced
from local_aws.images import Image
from local_aws.processes import wait_for
from local_aws.registry import DRIVER_KEY
from scenarios.world import Observed, Scenario, World, observe

OPENSSL = basic("CVE-2026-8001", "CRITICAL", "openssl")
EXCEPTED = basic("CVE-2026-7007", "CRITICAL", "libxml2")
FLOOD = 500
# The alerts about the settings of one repository.
SETTINGS = {
    "DescribeRepositories",
    "ListTagsForResource",
    "GetRepositoryPolicy",
    "GetLifecyclePolicy",
    "BatchGetRepositoryScanningConfiguration",
}


def scanned(world: World, repository: str, *found: dict[str, Any]) -> Image:
    """An image that was pushed and scanned, without an event."""
    image = world.push(world.repository(repository))
    world.found(image, *found)
    return image


def worked(world: World, deployed: str) -> list[dict[str, Any]]:
    """The lines of a worker about its batches."""
    lines = [json.loads(line) for line in world.stack.log_of(deployed) if line.startswith("{")]
    return [line for line in lines if "jobs" in line]


@contextmanager
def another_policy(world: World, policy: str) -> Iterator[None]:
    """Another policy for sweeps and workers, for a while."""
    deployed = [world.guard().functions[name] for name in ("sweep", "worker")]
    for name in deployed:
        world.stack.change_policy(name, policy)
    try:
        yield
    finally:
        for name in deployed:
            world.stack.change_policy(name, "enforce")


@contextmanager
def impatient_queue(world: World, **how: int) -> Iterator[None]:
    """A work queue that delivers again sooner, or gives up sooner, for a while."""
    queue = world.guard().queue
    world.stack.change_queue(queue, **how)
    try:
        yield
    finally:
        world.stack.change_queue(queue)


def events_lost(world: World) -> Observed:
    bad = scanned(world, "swept/critical", OPENSSL)
    good = scanned(world, "swept/clean")
    before = world.state(bad)
    answer = world.sweep()
    there = world.registry.ecr.describe_repositories()["repositories"]
    return observe(
        before=(before, "none"),
        repositories=(answer["repositories"], len(there)),
        critical=(world.state(bad), "Blocked"),
        because_of=(world.deciding(bad), ["CVE-2026-8001"]),
        pull=(world.pull(bad), "refused"),
        clean=(world.state(good), "Allowed"),
        alerts=(world.alerts(bad.repository), ["image-blocked"]),
    )


def nothing_to_do(world: World) -> Observed:
    image = scanned(world, "swept/again", OPENSSL)
    # The first sweep reconciles the image, the next one counts the result.
    world.sweep()
    world.sweep()
    ledger, told = world.stack.ledger(), len(world.stack.mails())
    changes = world.mutations(image.repository)
    answer = world.sweep()
    return observe(
        state=(world.state(image), "Blocked"),
        repositories=answer["repositories"],
        rows=len(ledger),
        # The registry's row has when the last sweep began.
        rows_written=([row["sk"].split("#")[0] for row in world.stack.ledger() if row not in ledger], ["registry"]),
        alerts_sent=(len(world.stack.mails()) - told, 0),
        changes_to_the_registry=(world.mutations(image.repository)[len(changes) :], []),
    )


def policy_changed(world: World) -> Observed:
    image = world.push_and_scan("swept/policy", basic("CVE-2026-8002", "HIGH", "curl"))
    before = world.state(image)
    with another_policy(world, "strict"):
        world.sweep(image.repository)
    return observe(
        before=(before, "Review"),
        under_the_new_policy=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-review", "image-blocked"]),
    )


def settings_drifted(world: World) -> Observed:
    image = scanned(world, "swept/settings")
    repository = image.repository

    def asked(hour: int) -> set[str]:
        """The requests of a sweep of that hour to the registry about the repository."""
        before = len(world.registry.calls(repository=repository))
        world.sweep(time=f"2026-11-24T{hour:02}:00:00Z")
        calls = world.registry.calls(repository=repository)[before:]
        return {call["operation"] for call in calls if call.get("caller") != DRIVER_KEY}

    before = world.mutability(repository)
    with another_policy(world, "swept-settings"):
        world.sweep()
        after, told = world.mutability(repository), sorted(world.alerts(repository))
        # Once a day, in an hour that depends on its name, a repository is reconciled in full.
        settings = min((asked(hour) for hour in (3, 4)), key=len) & SETTINGS
    return observe(
        mutability=(f"{before} to {after}", "MUTABLE to IMMUTABLE"),
        alerts=(told, ["lifecycle-repaired", "posture-repaired"]),
        asked_when_in_order=(sorted(settings), ["GetLifecyclePolicy", "GetRepositoryPolicy"]),
        changes=(
            world.mutations(repository),
            ["StartLifecyclePolicyPreview", "PutImageTagMutability", "PutLifecyclePolicy"],
        ),
    )


def exception_ended(world: World) -> Observed:
    image = scanned(world, "team/release-swept", EXCEPTED)
    with another_policy(world, "exception"):
        world.sweep(image.repository)
        while_it_held = world.state(image)
    with another_policy(world, "exception-ended"):
        world.sweep(image.repository)
    return observe(
        while_it_held=(while_it_held, "Allowed"),
        when_it_has_ended=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def image_deleted(world: World) -> Observed:
    image = world.push_and_scan("swept/deleted", OPENSSL)
    named = [{"imageDigest": image.digest}]
    world.registry.ecr.batch_delete_image(repositoryName=image.repository, imageIds=named)
    open_before = "expires_at" not in (world.stack.row(image.repository, image.digest) or {})
    world.sweep(image.repository)
    row = world.stack.row(image.repository, image.digest)
    return observe(
        row_open_before=(open_before, True),
        row_closed=(row is None or "expires_at" in row, True),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def finding_later(world: World) -> Observed:
    image = world.push_and_scan("swept/found-later", basic("CVE-2026-8003", "LOW", "bash"))
    before = world.state(image)
    found = enhanced("CVE-2026-8004", "CRITICAL", "log4j-core")
    world.registry.set_scan(image.repository, image.digest, "ACTIVE", enhancedFindings=[found])
    world.stack.emit(world.guard(), events.inspector_finding(image, "CVE-2026-8004", 0.2))
    wait_for("the finding's image is blocked", lambda: world.state(image) == "Blocked", 30)
    world.stack.drain(world.guard())
    return observe(
        before=(before, "Allowed"),
        after_the_finding=(world.state(image), "Blocked"),
        because_of=(world.deciding(image), ["CVE-2026-8004"]),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def flood(world: World) -> Observed:
    guard = world.guard("flood", "enforce", ("worker",), mapped=False)
    images = [scanned(world, f"swept/flood-{number}", OPENSSL) for number in range(4)]
    findings = [
        events.inspector_finding(images[number % len(images)], f"CVE-2026-{number}", 0.2) for number in range(FLOOD)
    ]
    world.stack.emit(guard, *findings)
    answer = world.stack.deliver(guard, FLOOD, guard.findings)
    batches = worked(world, guard.functions["worker"])
    done = [(line["Events"], line["jobs"], line["ImagesReconciled"]) for line in batches]
    return observe(
        messages_jobs_looks=(done, [(FLOOD, len(images), len(images))]),
        states=([world.state(image) for image in images], ["Blocked"] * len(images)),
        alerts=([world.alerts(image.repository) for image in images], [["image-blocked"]] * len(images)),
        reads_of_findings=([world.calls(one.repository, "DescribeImageScanFindings") for one in images], [1] * 4),
        failed=(answer["batchItemFailures"], []),
        left_in_the_queue=(world.stack.waiting(guard.findings), 0),
    )


def throttled(world: World) -> Observed:
    images = [scanned(world, f"swept/throttled-{number}", OPENSSL) for number in range(2)]
    repositories = [image.repository for image in images]
    # A failure that the SDK does not try again: both images are put back, and come again after five minutes.
    world.registry.fail_next("DescribeImages", 2, "RequestExpired", spared=DRIVER_KEY)
    world.sweep(*repositories)
    put_back = [world.state(image) for image in images]
    # A failure that the SDK does try again.
    world.registry.fail_next("DescribeImages", 4, spared=DRIVER_KEY)
    world.registry.fail_next("UpdateImageStorageClass", 2, "ServerException", spared=DRIVER_KEY)
    world.sweep(*repositories)
    calls = [call for image in images for call in world.registry.calls(repository=image.repository)]
    refused = sum(call["status"] in (400, 500) and call.get("caller") != DRIVER_KEY for call in calls)
    return observe(
        calls_refused=(refused, 8),
        states_at_first=(put_back, ["none"] * 2),
        states=([world.state(image) for image in images], ["Blocked"] * 2),
        alerts=([world.alerts(image.repository) for image in images], [["image-blocked"]] * 2),
        given_up=(world.stack.given_up(world.guard()), []),
    )


def poison(world: World) -> Observed:
    guard = world.guard()
    image = scanned(world, "swept/beside-poison", OPENSSL)
    body = json.dumps({"schema": "ecr-guard/work/v1", "work": {"kind": "nonsense"}})
    with impatient_queue(world, hidden_seconds=2, receives=3):
        world.stack.sqs.send_message(QueueUrl=guard.queue, MessageBody=body)
        world.invoke(guard.functions["sweep"], {"repositories": [image.repository]})
        letters = wait_for("a message is given up", lambda: world.stack.given_up(guard), 30)
        world.stack.drain(guard)
    return observe(
        given_up=(letters == [body], True),
        the_others=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        left_in_the_queue=(world.stack.waiting(guard.queue), 0),
    )


def digest(world: World) -> Observed:
    image = scanned(world, "swept/in-digest", OPENSSL)
    # The first sweep reconciles the image, the next one counts the result.
    world.sweep()
    world.sweep()
    known = {alert["id"] for alert in world.stack.received()}
    answer = world.sweep(digest=True)
    digests = [alert for alert in world.stack.received() if alert["kind"] == "digest" and alert["id"] not in known]
    figures = [alert["figures"] for alert in digests]
    mails = {json.loads(mail["bodies"]["default"])["id"]: mail for mail in world.stack.mails()}
    texts = [mails[alert["id"]]["email"] for alert in digests if "default" in alert["figures"]["routes"]]
    blocked = [row for row in world.stack.rows() if row["state"] == "Blocked" and "expires_at" not in row]
    ecr = world.registry.ecr
    names = [found["repositoryName"] for found in ecr.describe_repositories(maxResults=1000)["repositories"]]
    # One with an image whose scan is awaited is counted later, by its second reconcile.
    counted = [name for name in names if world.is_counted(name)]
    there = [
        ecr.describe_images(repositoryName=name, filter={"imageStatus": "ANY"}, maxResults=1000)["imageDetails"]
        for name in counted
    ]
    return observe(
        counted=(image.repository in counted, True),
        digests=(answer["digests"], 2),
        one_for_each_topic=(sorted(each["routes"] for each in figures), [["default"], ["platform"]]),
        repositories=(sum(each["repositories"] for each in figures), len(names)),
        of_which_nothing_is_known=(sum(each["unknown_repositories"] for each in figures), len(names) - len(counted)),
        images=(sum(each["images"] for each in figures), sum(map(len, there))),
        blocked=(sum(each["blocked"]["total"] for each in figures), len(blocked)),
        mail_for_people=([image.repository in text and not text.startswith("{") for text in texts], [True]),
        subjects="; ".join(mails[alert["id"]]["subject"] for alert in digests),
    )


SCENARIOS = [
    Scenario("lost-events-found-by-sweep", "no event arrived: the sweep blocks and alerts all the same", events_lost),
    Scenario("sweep-again-writes-nothing", "a sweep that finds nothing new leaves everything as it is", nothing_to_do),
    Scenario("policy-change-found-by-sweep", "HIGH blocks from now on: an image in Review is blocked", policy_changed),
    Scenario("drift-found-by-sweep", "settings are repaired; what is in order is not asked for again", settings_drifted),
    Scenario("ended-exception-found-by-sweep", "Allowed by an exception; Blocked when it has ended", exception_ended),
    Scenario("deleted-image-found-by-sweep", "deleted without an event: the row is closed, silence", image_deleted),
    Scenario("digest-sent-when-asked-for", "one for each topic; its figures are those of registry and ledger", digest),
    Scenario("finding-through-the-queue", "Inspector's finding of today blocks the image of yesterday", finding_later),
    Scenario("flood-of-findings", "500 findings of 4 images: one reconcile and one alert for each image", flood),
    Scenario("throttled-calls-lose-nothing", "ECR refuses many calls: everything is done in the end, once", throttled),
    Scenario("poison-message-given-up", "it ends in the dead-letter queue; the other work is done", poison),
]
