"""The other ways to block, and report mode: the same functions under other policies."""

from __future__ import annotations

import re
from dataclasses import replace

from local_aws import events
from local_aws.findings import basic
from scenarios.world import Observed, Scenario, World, observe

SUDO = basic("CVE-2026-8001", "CRITICAL", "sudo")


def quarantine_tag(world: World) -> Observed:
    guard = world.guard("quarantine", "quarantine-tag")
    image = world.push_and_scan("team/quarantine", SUDO, guard=guard)
    tags = world.tags(image)
    quarantined = len(tags) == 1 and re.fullmatch(r"blocked-[0-9a-f]{12}", tags[0]) is not None
    changes = world.mutations(image.repository)
    # The changes of the function come back as events: a push of its tag, a delete of the release tag.
    world.send("on-push", events.push(replace(image, tag=tags[0])), events.delete(image), guard=guard)
    return observe(
        state=(world.state(image), "Blocked"),
        only_a_quarantine_tag=(quarantined, True),
        pull_by_tag=(world.pull(image), "refused"),
        pull_by_digest=(world.pull(image, by="digest"), "works"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        changes=(changes, ["PutImage", "BatchDeleteImage"]),
        changes_by_its_own_events=(len(world.mutations(image.repository)) - len(changes), 0),
    )


def moved_tag(world: World) -> Observed:
    guard = world.guard("quarantine", "quarantine-tag")
    repository = world.repository("team/quarantine-moved")
    old, new = (world.push(repository, tag) for tag in ("v1.0.0", "v1.0.1"))
    world.send("on-push", events.push(old), events.push(new), guard=guard)
    # Somebody moves the tag between our last read of it and our call.
    world.registry.overtake("BatchDeleteImage", repository, "v1.0.0", new.digest)
    world.send("on-scan", world.found(old, SUDO), guard=guard)
    alerts = world.alert_documents(repository)
    return observe(
        state=(world.state(old), "Blocked"),
        tags_of_the_new_image=(world.tags(new), ["v1.0.0", "v1.0.1"]),
        tags_of_the_old_one=([re.sub("[0-9a-f]{12}$", "…", tag) for tag in world.tags(old)], ["blocked-…"]),
        alerts=(sorted(alert["kind"] for alert in alerts), ["image-blocked", "tag-taken"]),
    )


def flag(world: World) -> Observed:
    image = world.push_and_scan("team/flag", SUDO, guard=world.guard("flag", "flag"))
    return observe(
        state=(world.state(image), "Blocked"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        changes=(world.mutations(image.repository), []),
    )


def report(world: World) -> Observed:
    image = world.push_and_scan("team/report", SUDO, guard=world.guard("report", "report"))
    alerts = world.alert_documents(image.repository)
    return observe(
        state=(world.state(image), "BlockDeferred"),
        pull=(world.pull(image), "works"),
        alerts=([alert["kind"] for alert in alerts], ["block-deferred"]),
        claimed_as_done=([alert["action"]["done"] for alert in alerts], [False]),
        changes=(world.mutations(image.repository), []),
    )


def limit(world: World) -> Observed:
    """The other scenarios share the account's count of the hour, so that one block is too many before or after the first image."""
    guard = world.guard("limit", "limit")
    images = [world.push_and_scan(f"team/limit-{n}", SUDO, guard=guard) for n in (1, 2, 3)]
    alerts = [kind for image in images for kind in world.alerts(image.repository)]
    return observe(
        state_of_the_last=(world.state(images[-1]), "BlockDeferred"),
        pull_of_the_last=(world.pull(images[-1]), "works"),
        told_of_the_limit=(alerts.count("block-limit"), 1),
        alerts_of_the_others=(alerts.count("block-deferred"), 0),
    )


SCENARIOS = [
    Scenario(
        "quarantine-tag-method", "the release tag is replaced; the image stays, pullable by digest only", quarantine_tag
    ),
    Scenario("moved-tag-given-back", "a tag that moves while it is taken stays with its new image: alerted", moved_tag),
    Scenario("flag-method", "Blocked and alerted; nothing in the registry changes", flag),
    Scenario("block-limit", "one block an hour: further blocks are deferred, and one alert says so", limit),
    Scenario("report-mode-changes-nothing", "block deferred, with an alert; not one changing call to the registry", report),
]
