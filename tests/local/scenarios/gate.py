"""The answers of the gate: the function itself, asked as a pipeline and as ECS ask it."""

from __future__ import annotations

import json
from typing import Any

from local_aws import running
from local_aws.findings import basic
from local_aws.images import Image
from pipeline import Ended, Workflow, missing
from region import Guard
from scenarios.world import Observed, Scenario, World, observe

OPENSSL = basic("CVE-2026-9101", "CRITICAL", "openssl")
FUNCTIONS = ("gate", "on-push", "on-scan")


def guard(world: World, policy: str = "enforce") -> Guard:
    """A deployment with the gate."""
    return world.guard(f"gate-{policy}", policy, FUNCTIONS)


def ask(world: World, under: Guard, *images: str) -> dict[str, Any]:
    """The gate's answer to a pipeline."""
    answer: dict[str, Any] = world.invoke(under.functions["gate"], {"schema": "ecr-guard/gate/v1", "images": list(images)})
    return answer


def said(answer: dict[str, Any]) -> tuple[str, int]:
    """The decision, and the exit code of a client."""
    return answer["decision"], answer["exit_code"]


def hook(service: str, details: dict[str, Any] | None = None, traffic: bool = False) -> dict[str, Any]:
    """The payload of ECS before it scales up; ``traffic``: production already goes to the revision, as in a rollback."""
    target = running.ecs(f"service-revision/prod/{service}/2")
    return {
        "executionId": "execution-1",
        "lifecycleStage": "PRE_SCALE_UP",
        "resourceArn": running.ecs(f"service-deployment/prod/{service}/1"),
        "executionDetails": {
            "serviceArn": running.ecs(f"service/prod/{service}"),
            "targetServiceRevisionArn": target,
            "testTrafficWeights": {},
            "productionTrafficWeights": {target: 100.0} if traffic else {},
        },
        "hookDetails": details or {},
    }


def deploys(world: World, under: Guard, service: str, image: Image, **how: Any) -> dict[str, Any]:
    """The gate's answer to ECS about a service with this image."""
    world.stack.running.set({name: [] for name in ("tasks", "definitions", "functions", "aliases")} | running.service("prod", service, image))
    answer: dict[str, Any] = world.invoke(under.functions["gate"], hook(service, **how))
    return answer


def pipeline(world: World) -> Observed:
    under = guard(world)
    clean = world.push_and_scan("gate/clean", guard=under)
    bad = world.push_and_scan("gate/bad", OPENSSL, guard=under)
    waiting = world.push(world.repository("gate/waiting"))
    first = ask(world, under, running.uri(waiting))
    world.send("on-scan", world.found(waiting), guard=under)
    allowed, denied = ask(world, under, running.uri(clean)), ask(world, under, running.uri(bad), running.uri(clean))
    return observe(
        clean=(said(allowed), ("allow", 0)),
        pinned=(allowed["images"][0]["pinned"].rpartition("@")[2], clean.digest),
        bad=(said(denied), ("deny", 1)),
        each=([image["decision"] for image in denied["images"]], ["deny", "allow"]),
        why=("CVE-2026-9101" in json.dumps(denied["images"][0]["findings"]), True),
        before_its_scan=(said(first), ("wait", 3)),
        after_it=(said(ask(world, under, running.uri(waiting))), ("allow", 0)),
        no_such_tag=(said(ask(world, under, running.uri(clean).replace("v1.0.0", "v9"))), ("deny", 2)),
        no_request=(said(ask(world, under)), ("deny", 2)),
        changes=(world.mutations(clean.repository), []),
    )


def cannot_find_out(world: World) -> Observed:
    under = guard(world, "flag")
    deployed = under.functions["gate"]
    image = world.push_and_scan("gate/ledger-down", guard=under)
    before = ask(world, under, running.uri(image))
    statements = world.stack.role_policy("gate", deployed, "flag")
    world.stack.permit(deployed, [one for one in statements if not any(action.startswith("dynamodb:") for action in one["Action"])])
    down = ask(world, under, running.uri(image))
    waits = deploys(world, under, "ledger-down", image)
    # The details that ECS hands back, of a wait that began long ago.
    long_ago = waits["hookDetails"] | {"since": "2026-01-01T00:00:00Z"}
    goes_on = deploys(world, under, "ledger-down", image, details=long_ago)
    goes_back = deploys(world, under, "ledger-down", image, details=long_ago | {"on_unavailable": "ROLLBACK"})
    world.stack.permit(deployed, statements)
    return observe(
        before=(said(before), ("allow", 0)),
        down=(said(down), ("unavailable", 4)),
        hook_waits=((waits["hookStatus"], "since" in waits["hookDetails"]), ("IN_PROGRESS", True)),
        hook_goes_on=(goes_on["hookStatus"], "SUCCEEDED"),
        hook_goes_back=(goes_back["hookStatus"], "FAILED"),
        again=(said(ask(world, under, running.uri(image))), ("allow", 0)),
    )


def policy_unreadable(world: World) -> Observed:
    under = world.guard("gate-broken", "broken", ("gate",))
    image = world.push(world.repository("gate/broken"))
    return observe(
        pipeline=(said(ask(world, under, running.uri(image))), ("unavailable", 4)),
        ecs=(deploys(world, under, "broken", image)["hookStatus"], "IN_PROGRESS"),
    )


def deployment(world: World) -> Observed:
    under = guard(world)
    clean = world.push_and_scan("gate/deployed", guard=under)
    bad = world.push_and_scan("gate/refused", OPENSSL, guard=under)
    waiting = world.push(world.repository("gate/not-scanned"))
    return observe(
        clean=(deploys(world, under, "clean", clean), {"hookStatus": "SUCCEEDED"}),
        bad=(deploys(world, under, "bad", bad)["hookStatus"], "FAILED"),
        told=(world.alerts(bad.repository), ["image-blocked", "deployment-refused"]),
        waiting=(deploys(world, under, "waiting", waiting)["hookStatus"], "IN_PROGRESS"),
        rollback=(deploys(world, under, "bad", bad, traffic=True)["hookStatus"], "SUCCEEDED"),
        told_of_the_rollback=(world.alerts(bad.repository), ["image-blocked", "deployment-refused"]),
    )


def action(world: World) -> Observed:
    """The GitHub action, run by act in a workflow that deploys what the gate has pinned."""
    lacking = missing()
    if lacking:
        return Observed(f"NOT CHECKED: {', '.join(lacking)} cannot be had here (tests/local/action-requirements.txt)", True)
    under = guard(world, "flag")
    deployed = under.functions["gate"]
    clean = world.push_and_scan("gate/action-clean", guard=under)
    bad = world.push_and_scan("gate/action-bad", OPENSSL, guard=under)
    waiting = world.push(world.repository("gate/action-waiting"))

    def workflow(image: Image, unavailable: str = "fail", wait: str = "0", function: str = deployed) -> Workflow:
        inputs = {"image": running.uri(image), "function": function, "wait_minutes": wait, "on_unavailable": unavailable}
        return Workflow(world.stack.directory / "act", world.stack.url, **inputs)

    def run(*arguments: Any, **how: Any) -> Ended:
        with workflow(*arguments, **how) as started:
            return started.ended()

    def pinned(image: Image) -> str:
        return running.by_digest(image)

    def of(ended: Ended) -> tuple[str, int, str, list[str]]:
        return ended.result, ended.exit_code, ended.outputs["decision"], ended.deploys

    allowed, denied = run(clean), run(bad)
    with workflow(waiting, wait="5") as started:
        started.until_it_waits()
        world.send("on-scan", world.found(waiting), guard=under)
        waited = started.ended()
    statements = world.stack.role_policy("gate", deployed, "flag")
    world.stack.permit(deployed, [one for one in statements if not any(action.startswith("dynamodb:") for action in one["Action"])])
    down, passed_by = run(clean), run(clean, unavailable="allow")
    world.stack.permit(deployed, statements)
    absent, absent_passed_by = (run(clean, unavailable=how, function="no-such-gate") for how in ("fail", "allow"))
    return observe(
        allowed=(of(allowed), ("success", 0, "allow", [pinned(clean)])),
        digest=(allowed.outputs["digest"], clean.digest),
        denied=(of(denied), ("failure", 1, "deny", [])),
        why=([f"::error title=ecr-guard::{running.uri(bad)}: " in line and "CRITICAL" in line for line in denied.annotations], [True]),
        summary=(f"| {running.uri(bad)} | deny | Blocked |" in denied.summary, True),
        waited=(of(waited), ("success", 0, "allow", [pinned(waiting)])),
        down=(of(down), ("failure", 4, "unavailable", [])),
        down_and_allowed=(of(passed_by), ("success", 0, "unavailable", [running.uri(clean)])),
        absent=(of(absent), ("failure", 4, "unavailable", [])),
        absent_and_allowed=(of(absent_passed_by), ("success", 0, "unavailable", [running.uri(clean)])),
        annotations=([len(ended.annotations) for ended in (allowed, down, passed_by, absent, absent_passed_by)], [0, 1, 1, 1, 1]),
    )


SCENARIOS = [
    Scenario("gate-answers-a-pipeline", "allow, deny, wait and then allow, and 2 for what is not there; nothing is changed", pipeline),
    Scenario("gate-without-ledger", "unavailable, never allow; a deployment waits, then goes on or back as its hook says", cannot_find_out),
    Scenario("gate-without-policy", "the function starts, and answers unavailable", policy_unreadable),
    Scenario("gate-action", "the GitHub action: allowed, denied, waiting and then allowed, and a gate that is down, with both settings", action),
    Scenario("gate-stops-a-deployment", "ECS is refused the blocked image once, with an alert; a rollback never is", deployment),
]
