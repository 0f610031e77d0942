"""From findings to verdicts."""

from __future__ import annotations

from local_aws import events
from local_aws.findings import basic, counts, enhanced
from scenarios.world import Observed, Scenario, World, observe


def clean(world: World) -> Observed:
    image = world.push(world.repository("team/clean"), docker=True)
    world.send("on-push", events.push(image))
    before = world.state(image)
    world.send("on-scan", world.found(image))
    return observe(
        after_push=(before, "Pending"),
        after_scan=(world.state(image), "Allowed"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), []),
        changes=(world.mutations(image.repository), []),
    )


def high(world: World) -> Observed:
    image = world.push_and_scan(
        "team/high", basic("CVE-2026-2001", "HIGH", "curl"), basic("CVE-2026-2002", "LOW", "bash")
    )
    return observe(
        state=(world.state(image), "Review"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), ["image-review"]),
    )


def medium_and_low(world: World) -> Observed:
    image = world.push_and_scan(
        "team/medium", basic("CVE-2026-3001", "MEDIUM", "zlib"), basic("CVE-2026-3002", "LOW", "bash")
    )
    return observe(
        state=(world.state(image), "Allowed"),
        pull=(world.pull(image), "works"),
        alerts=(world.alerts(image.repository), []),
    )


def failed(world: World) -> Observed:
    image = world.push(world.repository("team/failed"))
    world.send("on-push", events.push(image))
    world.registry.set_scan(image.repository, image.digest, "FAILED", description="The scan could not be completed")
    world.send("on-scan", events.scan(image, "FAILED"))
    return observe(
        state=(world.state(image), "Unscannable"),
        alerts=(world.alerts(image.repository), ["scan-failed"]),
    )


def inspector(world: World) -> Observed:
    found = [enhanced("CVE-2026-4001", "CRITICAL", "log4j-core"), enhanced("CVE-2026-4002", "UNTRIAGED", "jackson")]
    with world.enhanced_scanning("platform/*"):
        image = world.push(world.repository("platform/payments"))
        world.send("on-push", events.push(image))
        world.registry.set_scan(image.repository, image.digest, "ACTIVE", enhancedFindings=found)
        world.send("on-scan", events.inspector_scan(image, counts(found[:1])))
    topics = {
        mail["topic"].rpartition(":")[2] for mail in world.stack.mails() if image.digest in mail["bodies"]["default"]
    }
    return observe(
        state=(world.state(image), "Blocked"),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
        scans_asked_for=(world.calls(image.repository, "StartImageScan"), 0),
        topic=(sorted(topics), ["ecr-guard-platform"]),
    )


def last_page(world: World) -> Observed:
    harmless = [basic(f"CVE-2026-5{number:03}", "LOW", "bash") for number in range(250)]
    image = world.push_and_scan("team/many", *harmless, basic("CVE-2026-5999", "CRITICAL", "openssl"))
    return observe(
        state=(world.state(image), "Blocked"),
        because_of=(world.deciding(image), ["CVE-2026-5999"]),
    )


def scan_started(world: World) -> Observed:
    image = world.push(world.repository("team/manual", scan_on_push=False))
    world.send("on-push", events.push(image))
    return observe(
        state=(world.state(image), "Pending"),
        scans_started=(world.calls(image.repository, "StartImageScan"), 1),
        alerts=(world.alerts(image.repository), []),
    )


SCENARIOS = [
    Scenario("clean-image-allowed", "Pending after the push, Allowed after the scan, silence", clean),
    Scenario("high-to-review", "Review, one alert, still pullable", high),
    Scenario("medium-and-low-silent", "Allowed, no alert", medium_and_low),
    Scenario("scan-failed-is-not-clean", "Unscannable, one alert: unknown is never clean", failed),
    Scenario(
        "enhanced-scan-blocked", "Inspector's event and findings block as basic ones do; routed to its team", inspector
    ),
    Scenario("critical-on-the-last-page", "the one CRITICAL after 250 LOW findings blocks", last_page),
    Scenario(
        "scan-started-where-none-starts", "a push into a repository without scan-on-push starts the scan", scan_started
    ),
]
