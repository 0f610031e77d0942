"""Images that workloads use: not blocked while they are used, blocked after that, released for what starts meanwhile."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from local_aws import events, running
from local_aws.findings import basic
from local_aws.images import Image
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, DRIVER_KEY
from region import EXTERNAL_ID, TABLE, Guard
from scenarios.world import Observed, Scenario, World, observe

OPENSSL = basic("CVE-2026-9001", "CRITICAL", "openssl")
DAY = 24 * 60 * 60
FUNCTIONS = ("on-scan", "sweep", "worker", "workloads")
OTHER = "222222222222"
READER = f"arn:aws:iam::{OTHER}:role/ecr-guard-workload-reader"
READS = [
    "batch:DescribeJobDefinitions",
    "ecs:ListClusters",
    "ecs:ListTaskDefinitions",
    "eks:ListClusters",
    "lambda:ListFunctions",
]
NOTHING: dict[str, list[Any]] = {name: [] for name in ("clusters", "tasks", "services", "deployments", "revisions", "definitions", "functions", "aliases")}


def guard(world: World, policy: str = "workloads") -> Guard:
    """A deployment that asks who uses images."""
    return world.guard(policy, policy, FUNCTIONS)


def lists(world: World, under: Guard, **there: list[Any]) -> dict[str, Any]:
    """Says what runs, and has it listed."""
    world.stack.running.set(NOTHING | there)
    answer: dict[str, Any] = world.invoke(under.functions["workloads"], {})
    return answer


def old(world: World, name: str, tag: str = "v1.0.0") -> Image:
    """An image that was pushed and pulled 60 days ago: by its pulls alone it is not in use."""
    image = world.push(name if name in repositories(world) else world.repository(name), tag)
    days_ago = time.time() - 60 * DAY
    world.registry.set_image(image.repository, image.digest, imagePushedAt=days_ago, lastRecordedPullTime=days_ago)
    return image


def repositories(world: World) -> set[str]:
    """The repositories that there are."""
    return {one["repositoryName"] for one in world.registry.ecr.describe_repositories(maxResults=1000)["repositories"]}


def aged(world: World, prefix: str, member: str, hours: int) -> None:
    """Makes the ledger's records of uses some hours older: the run cannot move the clock."""
    earlier = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    dynamodb = world.stack.dynamodb
    found = dynamodb.query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"uses#{ACCOUNT}"}, ":sk": {"S": prefix}},
    )["Items"]
    if not found:
        raise AssertionError(f"the ledger has nothing of {prefix}")
    for item in found:
        text, number = re.subn(rf'("{member}":\s*)"[^"]*"', rf'\1"{earlier}"', item["row"]["S"])
        if not number:
            raise AssertionError(f"{prefix} has no {member}")
        dynamodb.put_item(TableName=TABLE, Item=item | {"row": {"S": text}})


def reason(world: World, image: Image) -> str:
    """Why an image is as it is."""
    row = world.stack.row(image.repository, image.digest) or {}
    return str(row.get("row", {}).get("reason", ""))


def function_of_an_old_image(world: World) -> Observed:
    under = guard(world)
    image = old(world, "workloads/thumbs")
    listed = lists(world, under, functions=[running.function("thumbs", version, image) for version in ("$LATEST", "12")])
    world.send("on-scan", world.found(image, OPENSSL), guard=under)
    alerts = world.alert_documents(image.repository)
    return observe(
        listed=((listed["images"], listed.get("incomplete", [])), (1, [])),
        state=(world.state(image), "BlockDeferred"),
        pull=(world.pull(image), "works"),
        alerts=([alert["kind"] for alert in alerts], ["block-deferred"]),
        named=(["function thumbs" in json.dumps(alert) for alert in alerts], [True]),
        changes=(world.mutations(image.repository), []),
    )


def deleted_function(world: World) -> Observed:
    under = guard(world)
    image = old(world, "workloads/deleted")
    lists(world, under, functions=[running.function("deleted", "$LATEST", image)])
    world.send("on-scan", world.found(image, OPENSSL), guard=under)
    used = world.state(image)
    gone = lists(world, under)["gone"]
    world.sweep(image.repository, guard=under)
    in_the_grace = world.state(image)
    aged(world, f"use#{world.stack.region}#{image.repository}#", "gone_at", 25)
    world.sweep(image.repository, guard=under)
    return observe(
        used=(used, "BlockDeferred"),
        gone=(gone >= 1, True),
        in_the_grace=(in_the_grace, "BlockDeferred"),
        after_it=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["block-deferred", "image-blocked"]),
    )


def stale(world: World) -> Observed:
    under = guard(world)
    image = old(world, "workloads/stale")
    lists(world, under)
    aged(world, f"index#{world.stack.region}", "completed_at", 3)
    world.send("on-scan", world.found(image, OPENSSL), guard=under)
    state, why = world.state(image), reason(world, image)
    lists(world, under)
    # The next sweep reconciles it, since its source is known again.
    world.sweep(image.repository, guard=under)
    return observe(
        stale=(state, "BlockDeferred"),
        because=("it is not known whether it is in use" in why, True),
        listed_again=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def started_meanwhile(world: World) -> Observed:
    under = guard(world)
    image = old(world, "workloads/started")
    lists(world, under)
    world.send("on-scan", world.found(image, OPENSSL), guard=under)
    blocked = (world.state(image), world.pull(image))
    # It was pulled right before the block, and runs now.
    task = running.task("prod", "api", image, "service:api")
    world.send("workloads", events.task(task), guard=under)
    wait_for("it is released", lambda: world.state(image) == "BlockDeferred")
    world.stack.drain(under)
    alerts = world.alert_documents(image.repository)
    return observe(
        before=(blocked, ("Blocked", "refused")),
        state=(world.state(image), "BlockDeferred"),
        pull=(world.pull(image), "works"),
        alerts=([alert["kind"] for alert in alerts], ["image-blocked", "block-deferred"]),
        named=("service api in cluster prod" in reason(world, image), True),
    )


def refused_pull(world: World) -> Observed:
    under = guard(world)
    image, other = old(world, "workloads/refused"), old(world, "workloads/not-refused")
    lists(world, under)
    world.send("on-scan", world.found(image, OPENSSL), guard=under)
    for used in (image, other):
        for service in ("api", "api", "jobs"):
            world.send("workloads", events.task(running.failed_to_pull("prod", service, used)), guard=under)
    alerts = world.alert_documents(image.repository)
    refused = [alert for alert in alerts if alert["kind"] == "pull-refused"]
    says = [json.dumps(alert) for alert in refused]
    return observe(
        before=((world.state(image), world.pull(image)), ("Blocked", "refused")),
        alerts=(sorted(alert["kind"] for alert in alerts), ["image-blocked", "pull-refused", "pull-refused"]),
        named=(sorted(name for name in ("api", "jobs") for text in says if f"service {name} in cluster prod" in text), ["api", "jobs"]),
        why=([("CannotPullContainerError" in text, "CVE-2026-9001" in text) for text in says], [(True, True)] * 2),
        exception_to_copy=([bool(alert.get("exceptions")) for alert in refused], [True] * 2),
        of_an_image_that_is_not_blocked=(world.alerts(other.repository), []),
    )


def service_at_zero(world: World) -> Observed:
    under = guard(world)
    before, now = old(world, "workloads/service", "v1.0.0"), old(world, "workloads/service", "v2.0.0")
    lists(world, under, **running.service("prod", "nightly", now, before))
    for image in (before, now):
        world.send("on-scan", world.found(image, OPENSSL), guard=under)
    return observe(
        states=([world.state(image) for image in (before, now)], ["BlockDeferred"] * 2),
        present=("service nightly in cluster prod, task definition 2 (not running now)" in reason(world, now), True),
        to_go_back_to=("task definition 1 (to go back to)" in reason(world, before), True),
    )


@contextmanager
def role_of_another_account(world: World, statements: list[dict[str, Any]]) -> Iterator[None]:
    """Lets the function take a role in another account, for a while."""
    world.stack.running.role(READER, EXTERNAL_ID, statements)
    try:
        yield
    finally:
        world.stack.running.role(READER, EXTERNAL_ID, None)


def denied_account(world: World) -> Observed:
    under = guard(world, "workloads-of-accounts")
    images = [old(world, f"workloads/account-{number}") for number in range(2)]
    denied = lists(world, under)
    for image in images:
        world.send("on-scan", world.found(image, OPENSSL), guard=under)
    states = [world.state(image) for image in images]
    told = []
    for _ in range(2):
        # Only a sweep of all reconciles the registry.
        world.sweep(guard=under)
        alerts = [alert for alert in world.stack.received() if alert["kind"] == "access-missing"]
        told.append(sum("sts:AssumeRole" in json.dumps(alert) and OTHER in json.dumps(alert) for alert in alerts))
    with role_of_another_account(world, [{"Effect": "Allow", "Action": READS, "Resource": ["*"]}]):
        granted = lists(world, under)
        for image in images:
            world.send("on-scan", world.found(image, OPENSSL), guard=under)
    callers = {call["account"] for call in world.stack.running.calls() if call["caller"] != DRIVER_KEY}
    return observe(
        missing=(denied["missing"], ["sts:AssumeRole"]),
        states=(states, ["BlockDeferred"] * 2),
        alerts_of_the_images=([world.alerts(image.repository) for image in images], [["image-blocked"]] * 2),
        told_after_one_sweep_and_two=(told, [1, 1]),
        granted=(granted.get("incomplete", []), []),
        asked_there=(OTHER in callers, True),
        then=([world.state(image) for image in images], ["Blocked"] * 2),
    )


SCENARIOS = [
    Scenario("function-holds-old-image", "60 days old, CRITICAL: block deferred, the alert names the function", function_of_an_old_image),
    Scenario("deleted-function-frees-image", "deferred for a day after the function is gone, Blocked after that", deleted_function),
    Scenario("stale-workloads-hold", "the lists are three hours old: block deferred, no alert; listed again: Blocked", stale),
    Scenario("task-starts-during-a-block", "its event has the image reconciled: it comes back, the alert names the service", started_meanwhile),
    Scenario("refused-pull-is-told", "ECS cannot pull a blocked image: one pull-refused for each service, with the way out", refused_pull),
    Scenario("service-scaled-to-zero", "its image and the one that it goes back to: block deferred", service_at_zero),
    Scenario("denied-account-told-once", "blocks deferred; one access-missing for all of them; with the role: Blocked", denied_account),
]
