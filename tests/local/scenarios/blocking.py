"""Blocked images, and what comes after."""

from __future__ import annotations

import time

import events
from findings import basic
from scenarios.world import Observed, Scenario, World, observe

DAY = 86_400
OPENSSL = basic("CVE-2026-1234", "CRITICAL", "openssl")


def critical(world: World) -> Observed:
    image = world.push_and_scan("team/critical", OPENSSL, basic("CVE-2026-1235", "MEDIUM", "zlib"))
    return observe(
        state=(world.state(image), "Blocked"),
        because_of=(world.deciding(image), ["CVE-2026-1234"]),
        pull_by_tag=(world.pull(image), "refused"),
        pull_by_digest=(world.pull(image, by="digest"), "refused"),
        tags_kept=(world.tags(image), ["v1.0.0"]),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


def came_back(world: World) -> Observed:
    image = world.push_and_scan("team/came-back", OPENSSL)
    before = world.pull(image)
    world.pusher.again(image)
    between = world.pull(image)
    world.send("on-push", events.push(image))
    return observe(
        blocked=(before, "refused"),
        after_the_push=(between, "works"),
        after_its_event=(world.pull(image), "refused"),
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-bypass"]),
    )


def restored_by_hand(world: World) -> Observed:
    image = world.push_and_scan("team/restored", OPENSSL)
    world.registry.ecr.update_image_storage_class(
        repositoryName=image.repository, imageId={"imageDigest": image.digest}, targetStorageClass="STANDARD"
    )
    between = world.pull(image)
    world.send("on-push", events.storage_class(image, "STANDARD"))
    return observe(
        after_the_restore=(between, "works"),
        after_its_event=(world.pull(image), "refused"),
        state=(world.state(image), "Blocked"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-bypass"]),
    )


def in_use(world: World) -> Observed:
    image = world.push(world.repository("team/in-use"))
    world.send("on-push", events.push(image))
    world.registry.set_image(image.repository, image.digest, lastRecordedPullTime=time.time() - DAY)
    world.send("on-scan", world.found(image, OPENSSL))
    return observe(
        state=(world.state(image), "Held"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), ["image-held"]),
        changes=(world.mutations(image.repository), []),
    )


def released(world: World) -> Observed:
    guard = world.guard("release")
    finding = basic("CVE-2026-7007", "CRITICAL", "libxml2")
    image = world.push_and_scan("team/release", finding, guard=guard)
    before = world.pull(image)
    for deployed in guard.functions.values():
        world.stack.change_policy(deployed, "exception")
    world.send("on-scan", events.scan(image, "COMPLETE", {"CRITICAL": 1}), guard=guard)
    after = world.pull(image)
    # The restore is an event of its own, and lets the image be scanned anew.
    world.send("on-push", events.storage_class(image, "STANDARD"), guard=guard)
    world.send("on-scan", world.found(image, finding), guard=guard)
    return observe(
        blocked=(before, "refused"),
        after_the_exception=(after, "works"),
        in_the_end=(world.pull(image), "works"),
        state=(world.state(image), "Allowed"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released"]),
    )


def referrer(world: World) -> Observed:
    image = world.push_and_scan("team/signed")
    signature = world.pusher.attestation(image)
    world.send("on-push", events.push(signature))
    provenance = world.pusher.provenance(image)
    world.send("on-push", events.push(provenance))
    world.send("on-scan", events.scan(provenance, "FAILED"))
    return observe(
        image=(world.state(image), "Allowed"),
        signature=(world.state(signature), "none"),
        provenance=(world.state(provenance), "none"),
        alerts=(world.alerts(image.repository), []),
        changes=(world.mutations(image.repository), []),
    )


SCENARIOS = [
    Scenario("critical-blocked", "Blocked, one alert, no pull by tag or digest, tags kept", critical),
    Scenario("blocked-image-pushed-again", "the push restores it, its event blocks it again: image-bypass", came_back),
    Scenario("restored-by-hand", "somebody restores it: blocked again, image-bypass", restored_by_hand),
    Scenario("image-in-use-held", "pulled yesterday: Held and alerted, not blocked", in_use),
    Scenario("exception-releases", "with an exception in the policy the next event releases our block", released),
    Scenario("referrer-ignored", "a signature, and an attestation that looks like an image: no row, no alert, no change", referrer),
]
