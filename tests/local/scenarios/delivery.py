"""Events that repeat, overtake each other, come late or cannot be understood, and a policy that is wrong."""

from __future__ import annotations

import json

from local_aws import events
from local_aws.findings import basic
from local_aws.processes import wait_for
from scenarios.world import Observed, Scenario, World, observe

GLIBC = basic("CVE-2026-6001", "CRITICAL", "glibc")


def five_times(world: World) -> Observed:
    image = world.push(world.repository("team/repeated"))
    world.send("on-push", events.push(image))
    event = world.found(image, GLIBC)
    world.send("on-scan", event)
    written = world.generation(image)
    for _ in range(4):
        world.send("on-scan", event)
    return observe(
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        blocks=(world.calls(image.repository, "UpdateImageStorageClass"), 1),
        writes_by_repeats=(world.generation(image) - written, 0),
    )


def five_at_once(world: World) -> Observed:
    image = world.push(world.repository("team/at-once"))
    world.send("on-push", events.push(image))
    world.send("on-scan", *[world.found(image, GLIBC)] * 5)
    alerts = world.alert_documents(image.repository)
    return observe(
        state=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        kinds=(sorted({alert["kind"] for alert in alerts}), ["image-blocked"]),
        distinct_alert_ids=(len({alert["id"] for alert in alerts}), 1),
        copies=len(alerts),
    )


def scan_before_push(world: World) -> Observed:
    image = world.push(world.repository("team/reordered"))
    world.send("on-scan", world.found(image, GLIBC))
    first = world.state(image)
    world.send("on-push", events.push(image))
    return observe(
        after_the_scan=(first, "Blocked"),
        after_the_late_push=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        blocks=(world.calls(image.repository, "UpdateImageStorageClass"), 1),
    )


def late_delete(world: World) -> Observed:
    image = world.push_and_scan("team/late-delete", GLIBC)
    world.send("on-push", events.delete(image))
    kept = world.state(image)
    world.registry.ecr.batch_delete_image(repositoryName=image.repository, imageIds=[{"imageDigest": image.digest}])
    world.send("on-push", events.delete(image))
    world.send("on-scan", events.scan(image, "COMPLETE", {"CRITICAL": 1}))
    row = world.stack.row(image.repository, image.digest)
    closed = row is None or "expires_at" in row
    return observe(
        while_the_image_exists=(kept, "Blocked"),
        row_closed_after_the_real_delete=(closed, True),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        blocks=(world.calls(image.repository, "UpdateImageStorageClass"), 1),
    )


def poison(world: World) -> Observed:
    deployed = world.guard().functions["on-scan"]
    event = events.delivered("aws.ecr", events.entry("ECR Image Scan", [], {"scan-status": "COMPLETE"}))
    world.invoke_later(deployed, event, attempts=2)
    letter = wait_for("a dead letter", world.stack.dead_letters)[0]
    return observe(
        payload_kept=(letter["requestPayload"] == event, True),
        condition=(letter["requestContext"]["condition"], "RetriesExhausted"),
        error=letter["responsePayload"].get("errorMessage", "")[:160],
    )


def broken_policy(world: World) -> Observed:
    deployed = "ecr-guard-broken-on-scan"
    world.stack.deploy_function("on-scan", deployed, "broken")
    answer = world.stack.lambdas.invoke(FunctionName=deployed, Payload=json.dumps({}).encode())
    error = json.loads(answer["Payload"].read())
    message = error.get("errorMessage", "")
    return observe(
        refused=(answer.get("FunctionError", "no error"), "Unhandled"),
        names_the_place=("severities.CRITICAL" in message, True),
        error=message[:240],
    )


def routed_by_tag(world: World) -> Observed:
    guard = world.guard("routed", "routed-by-tag")
    team, others = "routed/tagged", world.repository("routed/untagged")
    tags = [{"Key": "team", "Value": "platform"}]
    world.registry.ecr.create_repository(repositoryName=team, tags=tags)
    for repository in (team, others):
        image = world.push(repository)
        world.send("on-push", events.push(image), guard=guard)
        world.send("on-scan", world.found(image, GLIBC), guard=guard)

    def topics(repository: str) -> list[str]:
        mails = [mail for mail in world.stack.mails() if json.loads(mail["bodies"]["default"])["repository"] == repository]
        return [mail["topic"].rpartition(":")[2] for mail in mails]

    return observe(
        tagged=(topics(team), ["ecr-guard-platform"]),
        untagged=(topics(others), ["ecr-guard-alerts"]),
        alerts=([world.alerts(repository) for repository in (team, others)], [["image-blocked"]] * 2),
    )


SCENARIOS = [
    Scenario("same-event-five-times", "one alert, one block, no write by the repeats", five_times),
    Scenario("five-copies-at-once", "blocked; copies of the alert, if any, carry the same id", five_at_once),
    Scenario("scan-event-before-push-event", "Blocked by the first, left alone by the second", scan_before_push),
    Scenario(
        "late-and-early-delete-events",
        "a delete event of an image that exists changes nothing; a real one closes the row",
        late_delete,
    ),
    Scenario(
        "poison-event-in-dead-letters", "an event without a repository ends in the dead-letter queue, whole", poison
    ),
    Scenario("broken-policy-fails-at-init", "the function does not start, and says where in the policy", broken_policy),
    Scenario("routed-by-tag", "the tag `team` of a repository names the topic of its alerts", routed_by_tag),
]
