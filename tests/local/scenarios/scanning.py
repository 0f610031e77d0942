"""Late, missing and changed answers of the scanner: unknown is never clean."""

from __future__ import annotations

import time

from local_aws import events, roles
from local_aws.findings import basic, counts, enhanced
from local_aws.images import Image
from scenarios.world import Observed, Scenario, World, observe

DAY = 86_400
LOG4J = enhanced("CVE-2026-4101", "CRITICAL", "log4j-core")
# Recorded: for some seconds a scan is complete, and neither counts nor lists anything (aws/aws-sdk#289, aws/aws-cli#6759).
NOTHING_YET = {"findings": [], "without": ["findingSeverityCounts", "vulnerabilitySourceUpdatedAt"]}
LIST_FINDINGS = "inspector2:ListFindings"


def late_findings(world: World) -> Observed:
    with world.enhanced_scanning("scanning/*"):
        image = world.push(world.repository("scanning/late"))
        world.send("on-push", events.push(image))
        world.registry.set_scan(image.repository, image.digest, "COMPLETE", **NOTHING_YET)
        world.sweep(image.repository)
        states = [world.state(image)]
        done = events.inspector_scan(image, counts([LOG4J]))
        world.send("on-scan", done)
        states.append(world.state(image))
        told, pull = world.alerts(image.repository), world.pull(image)
        world.registry.set_scan(image.repository, image.digest, "ACTIVE", findings=[], enhancedFindings=[LOG4J])
        # Lambda tries again what has failed.
        world.send("on-scan", done)
    return observe(
        without_findings=(states, ["Pending", "Pending"]),
        told=(told, []),
        pull=(pull, "works"),
        with_findings=(world.state(image), "Blocked"),
        pull_then=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def access_missing(world: World) -> Observed:
    guard = world.guard("no-inspector", "enforce", ("sweep", "worker"), mapped=False)
    worker, role = guard.functions["worker"], world.stack.role_policy("worker", guard.functions["worker"], "enforce", guard.queue)

    def swept() -> None:
        """A sweep of the repository, which the worker does; and one of the registry, of which only the alerts count."""
        world.stack.sqs.purge_queue(QueueUrl=guard.queue)
        world.invoke(guard.functions["sweep"], {"repositories": [repository]})
        world.stack.deliver(guard, 1)
        world.invoke(guard.functions["sweep"], {})

    def told() -> list[str]:
        alerts = [alert for alert in world.stack.received() if alert["kind"] == "access-missing"]
        return [" ".join([alert["reason"], *(step["text"] for step in alert["steps"])]) for alert in alerts]

    repository = world.repository("scanning/refused")
    with world.enhanced_scanning("scanning/*"):
        images = [world.push(repository, tag) for tag in ("v1.0.0", "v1.0.1")]
        for image in images:
            world.registry.set_scan(repository, image.digest, "ACTIVE", enhancedFindings=[LOG4J])
        world.stack.permit(worker, roles.without(role, LIST_FINDINGS))
        for _ in range(2):
            swept()
        refused, texts = [world.state(image) for image in images], told()
        asked = world.calls(repository, "DescribeImageScanFindings")
        world.stack.permit(worker, role)
        swept()
    statement = '{"Effect": "Allow", "Action": ["inspector2:ListCoverage", "inspector2:ListFindings"], "Resource": "*"}'
    return observe(
        states=(refused, ["Pending"] * 2),
        told=(len(texts), 1),
        names_action_role_statement=(
            [all(word in text for word in (LIST_FINDINGS, f"{worker}-{world.stack.region}", statement)) for text in texts],
            [True],
        ),
        waiting=(["2 images wait" in text for text in texts], [True]),
        asked_in_two_sweeps=(asked, 2),
        with_the_permission=([world.state(image) for image in images], ["Blocked"] * 2),
        told_in_the_end=(len(told()), 1),
    )


def unsupported(world: World) -> Observed:
    image = world.push(world.repository("scanning/unsupported"))
    world.send("on-push", events.push(image))
    # The words of basic scanning (aws-observability/aws-otel-collector#2193).
    why = "UnsupportedImageError: The operating system and/or package manager are not supported."
    world.registry.set_scan(image.repository, image.digest, "FAILED", description=why)
    world.send("on-scan", events.scan(image, "FAILED"))
    alerts = world.alert_documents(image.repository)
    return observe(
        state=(world.state(image), "Unscannable"),
        pull=(world.pull(image), "works"),
        alerts=([alert["kind"] for alert in alerts], ["scan-failed"]),
        called_unsupported=(["not supported" in alert["title"] for alert in alerts], [True]),
    )


def scan_type(world: World) -> Observed:
    known = {"clean": [], "review": ["HIGH"], "blocked": ["CRITICAL"], "deferred": ["CRITICAL"]}
    images: dict[str, Image] = {}
    for name, severities in known.items():
        images[name] = image = world.push(world.repository(f"scanning/switch-{name}"))
        world.send("on-push", events.push(image))
        if name == "deferred":
            world.registry.set_image(image.repository, image.digest, lastRecordedPullTime=time.time() - DAY)
        world.send("on-scan", world.found(image, *[basic("CVE-2026-4102", severity, "zlib") for severity in severities]))
    images["waiting"] = world.push(world.repository("scanning/switch-waiting"))
    world.send("on-push", events.push(images["waiting"]))
    repositories = [image.repository for image in images.values()]

    def looked_at() -> list[str]:
        """The states after a sweep, and after an event of each image."""
        world.sweep(*repositories)
        world.send("on-push", *[events.push(image) for image in images.values()])
        return [world.state(image) for image in images.values()]

    def told() -> list[list[str]]:
        return [world.alerts(repository) for repository in repositories]

    before, alerts = looked_at(), told()
    world.registry.behave(otherScans="gone")
    try:
        with world.enhanced_scanning("scanning/*"):
            nothing_known = looked_at()
            for name, severities in known.items():
                image, found = images[name], [enhanced("CVE-2026-4102", severity, "zlib") for severity in severities]
                world.registry.set_scan(image.repository, image.digest, "ACTIVE", enhancedFindings=found)
            inspected = looked_at()
        back = looked_at()
    finally:
        world.registry.behave(otherScans="kept")
    return observe(
        basic=(before, ["Allowed", "Review", "Blocked", "BlockDeferred", "Pending"]),
        enhanced_and_nothing_known=(nothing_known, before),
        inspected=(inspected, before),
        basic_again=(back, before),
        pull_of_the_blocked=(world.pull(images["blocked"]), "refused"),
        alerts=(told(), alerts),
    )


SCENARIOS = [
    Scenario("late-findings", "complete without findings: not clean; blocked when they are there", late_findings),
    Scenario(
        "findings-may-not-be-read", "alerted once, with the statement to add; nothing is clean; evaluated when granted", access_missing
    ),
    Scenario("unsupported-image", "FAILED for want of support: alerted as unsupported, not clean", unsupported),
    Scenario("scan-type-changes", "basic, enhanced, basic: no release, no false clean, no second alert", scan_type),
]
