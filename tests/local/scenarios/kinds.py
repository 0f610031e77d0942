"""Entries that are images, and entries that are none."""

from __future__ import annotations

from local_aws import events
from local_aws.findings import basic
from scenarios.world import Observed, Scenario, World, observe

SOCI = "application/vnd.amazon.soci.index.v2+json"
HELM = "application/vnd.cncf.helm.config.v1+json"


def soci(world: World) -> Observed:
    repository = world.repository("kinds/soci")
    image = world.pusher.image(repository, None, f"{repository} for amd64")
    lazy = world.pusher.artifact(repository, None, SOCI)
    # SOCI's own entry has the platform of the image.
    index = world.pusher.index_of(repository, "v1.0.0", [(image, {}), (lazy, {"artifactType": SOCI})])
    world.send("on-push", *[events.push(pushed) for pushed in (image, lazy, index)])
    world.send("on-scan", world.found(image, basic("CVE-2026-7001", "LOW", "zlib")))
    world.send("on-scan", events.scan(lazy, "FAILED"))
    return observe(
        image=(world.state(image), "Allowed"),
        soci=(world.state(lazy), "NotAnImage"),
        index=(world.state(index), "Allowed"),
        pull=(world.pull(index), "works"),
        alerts=(world.alerts(repository), []),
        changes=(world.mutations(repository), []),
    )


def chart(world: World) -> Observed:
    chart = world.pusher.artifact(world.repository("kinds/chart"), "1.4.0", HELM)
    world.send("on-push", events.push(chart))
    world.send("on-scan", events.scan(chart, "FAILED"))
    world.sweep(chart.repository)
    return observe(
        state=(world.state(chart), "NotAnImage"),
        manifest_was_read=(world.calls(chart.repository, "BatchGetImage"), 1),
        pull=(world.pull(chart), "works"),
        alerts=(world.alerts(chart.repository), []),
        changes=(world.mutations(chart.repository), []),
    )


def look_alike(world: World) -> Observed:
    image = world.push_and_scan("kinds/look-alike", basic("CVE-2026-7002", "CRITICAL", "openssl"))
    blocked = world.pull(image)
    # Somebody pushes it again under a tag such as cosign gives to a signature.
    again = world.pusher.image(image.repository, f"sha256-{'a' * 64}.my-app", f"{image.repository}:{image.tag}")
    between = world.pull(again)
    world.send("on-push", events.push(again))
    return observe(
        the_same_image=(again.digest, image.digest),
        blocked=(blocked, "refused"),
        after_the_push=(between, "works"),
        after_its_event=(world.pull(again), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-bypass"]),
    )


SCENARIOS = [
    Scenario("soci-index-clean", "an index with a SOCI entry is as good as its image; no alert", soci),
    Scenario("helm-chart-left-alone", "recorded as NotAnImage after one read of its manifest; no alert", chart),
    Scenario("look-alike-tag", "a blocked image that gets a tag like a signature's is blocked again", look_alike),
]
