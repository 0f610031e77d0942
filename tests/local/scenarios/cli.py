"""The answers of the command line about the account, asked as an operator asks it. It changes nothing; a release it asks for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import page
import policies
from local_aws import running
from local_aws.findings import basic
from local_aws.registry import ACCOUNT
from region import TABLE, Guard
from scenarios import gate as pipelines
from scenarios import release as releases
from scenarios.world import Observed, Scenario, World, observe
from stack import FUNCTIONS, Stack

OPENSSL = basic("CVE-2026-9201", "CRITICAL", "openssl")
ZLIB = basic("CVE-2026-9202", "HIGH", "zlib")


def if_built(scenario: Callable[[World], Observed]) -> Callable[[World], Observed]:
    """A scenario that says so where the command line is not built."""

    def checked(world: World) -> Observed:
        if page.built() is None:
            return Observed("NOT CHECKED: the command line is not built (cargo build --locked -p ecr-guard-cli)", True)
        return scenario(world)

    return checked


def run(world: World, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with the variables of the account, and with these."""
    assert isinstance(world.stack, Stack), "the command line is asked at home"
    program = page.built()
    assert program is not None, "a scenario of the command line begins only where it is built"
    return page.run(program, *arguments, environment=world.stack.account.environment() | {"ECR_GUARD_TABLE": TABLE} | variables)


def ask(world: World, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of a command, and its answer for machines."""
    ended = run(world, "--output", "json", *arguments)
    answer: dict[str, Any] = json.loads(ended.stdout) if ended.stdout else {"trouble": ended.stderr}
    return ended.returncode, answer


def document(world: World, name: str, **members: Any) -> Path:
    """The policy ``enforce`` with these members in place of its own, as a file."""
    policy = policies.load("enforce", world.stack.topics) | deepcopy(members)
    return policies.write(policy, world.stack.directory / "policies" / f"cli-{name}.json")


@if_built
def explain(world: World) -> Observed:
    image = world.push_and_scan("cli/explained", OPENSSL)
    in_force = str(document(world, "in-force"))
    code, answer = ask(world, "explain", f"{image.repository}:{image.tag}", "--policy", in_force)
    by_digest = ask(world, "explain", f"{image.repository}@{image.digest}", "--policy", in_force)
    missing, _ = ask(world, "explain", f"{image.repository}:v9", "--policy", in_force)
    explained = answer["images"][0]
    return observe(
        code=(code, 0),
        digest=(explained["image"]["digest"], image.digest),
        state=(explained["row"]["state"], "Blocked"),
        rule=(explained["rule"], "severities.CRITICAL"),
        archived=(explained["listed"]["image"]["status"], "Archived"),
        finding=([finding["package"] for finding in explained["row"]["findings"]], ["openssl"]),
        ways_out=(explained["ways_out"] != [], True),
        by_digest=(by_digest[0], 0),
        no_such_tag=(missing, 2),
    )


@if_built
def simulate(world: World) -> Observed:
    image = world.push_and_scan("cli/simulated", ZLIB)
    strict = json.loads(document(world, "in-force").read_text())["severities"] | {"HIGH": "block"}
    in_force, new = str(document(world, "in-force")), document(world, "strict", severities=strict)
    _, answer = ask(world, "simulate", str(new), "--policy", in_force)
    said = [change for change in answer["changes"] if change["image"]["repository"] == image.repository]
    too_many, _ = ask(world, "simulate", str(new), "--policy", in_force, "--max-blocks", "0")
    _, plan = ask(world, "plan", "--policy", str(new))
    due = [look["due"] for look in plan["looks"] if look["image"]["repository"] == image.repository]
    before = world.state(image)
    under = world.stack.deploy("cli-strict", json.loads(new.read_text()) | {"routes": dict.fromkeys(world.stack.topics, "")}, FUNCTIONS)
    world.attach("cli-strict", under)
    world.sweep(image.repository, guard=under)
    return observe(
        before=(before, "Review"),
        said=([(change["from"], change["to"]) for change in said], [("Review", "Blocked")]),
        too_many=(too_many, 5),
        planned=(due, ["another-policy"]),
        after_a_sweep=(world.state(image), "Blocked"),
    )


@if_built
def snapshot(world: World) -> Observed:
    image = world.push_and_scan("cli/saved", OPENSSL)
    path = world.stack.directory / "ledger.jsonl"
    in_force = str(document(world, "in-force"))
    saved = run(world, "snapshot", str(path)).returncode
    live = ask(world, "list", "--repository", image.repository)
    from_file = ask(world, "list", "--repository", image.repository, "--snapshot", str(path))
    counted = ask(world, "status", "--snapshot", str(path), "--policy", in_force)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    cut, _ = ask(world, "status", "--snapshot", str(path))
    return observe(
        saved=(saved, 0),
        same=(live == from_file, True),
        states=([entry["state"] for entry in from_file[1]["images"]], ["Blocked"]),
        counted=(counted[0], 0),
        cut_off=(cut, 2),
    )


@if_built
def report(world: World) -> Observed:
    image = world.push_and_scan("cli/reported", OPENSSL)
    folder = world.stack.directory
    files = {form: folder / f"report.{form}" for form in ("html", "json", "csv", "sarif")}
    arguments = [part for form, path in files.items() for part in (f"--{form}", str(path))]
    code = run(world, "report", "--policy", str(document(world, "in-force")), *arguments).returncode
    written = {form: path.read_text() for form, path in files.items()}
    images = [entry for entry in json.loads(written["json"])["images"] if entry["repository"] == image.repository]
    results = json.loads(written["sarif"])["runs"][0]["results"]
    return observe(
        code=(code, 0),
        state=([(entry["digest"], entry["state"]) for entry in images], [(image.digest, "Blocked")]),
        page=("Content-Security-Policy" in written["html"] and image.repository in written["html"], True),
        rows=(sum(image.digest in line for line in written["csv"].splitlines()), 1),
        result=(any(OPENSSL["name"] == result["ruleId"] and image.repository in json.dumps(result) for result in results), True),
    )


@if_built
def gate(world: World) -> Observed:
    under = pipelines.guard(world)
    clean = world.push_and_scan("cli/clean", guard=under)
    bad = world.push_and_scan("cli/denied", OPENSSL, guard=under)
    waiting = world.push(world.repository("cli/waiting"))

    def asked(*arguments: str, function: str = under.functions["gate"], unavailable: str = "fail") -> tuple[int, str, dict[str, Any]]:
        # The functions of this account have no alias.
        code, answer = ask(world, "gate", "--function", f"{function}:$LATEST", "--on-unavailable", unavailable, *arguments)
        return code, answer["decision"], answer

    allowed, denied = asked(running.uri(clean)), asked(running.uri(bad), running.uri(clean))
    first = asked(running.uri(waiting))
    world.send("on-scan", world.found(waiting), guard=under)
    return observe(
        allowed=(allowed[:2], (0, "allow")),
        pinned=(allowed[2]["images"][0]["pinned"].rpartition("@")[2], clean.digest),
        denied=(denied[:2], (1, "deny")),
        why=("CVE-2026-9201" in json.dumps(denied[2]["images"][0]["findings"]), True),
        before_its_scan=(first[:2], (3, "wait")),
        waited=(asked("--wait", "--timeout", "1m", running.uri(waiting))[:2], (0, "allow")),
        no_such_tag=(asked(running.uri(clean).replace("v1.0.0", "v9"))[:2], (2, "deny")),
        no_such_function=(asked("--wait", running.uri(clean), function="no-such-gate")[:2], (4, "unavailable")),
        goes_on=(asked(running.uri(clean), function="no-such-gate", unavailable="allow")[:2], (0, "unavailable")),
        changes=(world.mutations(clean.repository), []),
    )


def as_operator(world: World, under: Guard, role: str) -> dict[str, str]:
    """The variables by which the command line is in this role, which has the rights that docs/cli.md lists for `release`."""
    caller = releases.caller(world, role)
    function = f"arn:aws:lambda:{world.stack.region}:{ACCOUNT}:function:{under.functions['operate']}"
    rights = [
        {"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": [function, f"{function}:*"]},
        {"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": [f"arn:aws:ecr:{world.stack.region}:{ACCOUNT}:repository/*"]},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": rights})
    world.stack.iam.put_role_policy(RoleName=role, PolicyName="release", PolicyDocument=document)
    # Our registry knows sessions by their keys.
    world.stack.registry.permit(caller.access_key, rights, f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/alice")
    names = {"AWS_ACCESS_KEY_ID": caller.access_key, "AWS_SECRET_ACCESS_KEY": caller.secret_key, "AWS_SESSION_TOKEN": caller.token}
    return {name: value for name, value in names.items() if value is not None}


GIVE = ("--hours", "4", "--reason", "checkout is down", "--ticket", "SEC-77")


def release_by(world: World, under: Guard, role: str, *arguments: str) -> tuple[int, str, str]:
    """The exit code of ``ecr-guard release`` for this role, the first line of its answer, and what it says of trouble."""
    # The functions of this account have no alias.
    function = f"{under.functions['operate']}:$LATEST"
    ended = run(world, "release", "--function", function, *arguments, **as_operator(world, under, role))
    return ended.returncode, ended.stdout.partition("\n")[0], ended.stderr


@if_built
def release(world: World) -> Observed:
    under = releases.guard(world)
    image = world.push_and_scan("release/by-command", OPENSSL, guard=under)
    # Without host and account, as in an alert: those of the caller.
    named = f"{image.repository}:{image.tag}"
    before = world.pull(image)
    code, first, trouble = release_by(world, under, "oncall", named, *GIVE, "--wait")
    during = world.pull(image)
    shown = run(world, "explain", named, "--policy", str(document(world, "in-force"))).stdout
    ended = release_by(world, under, "oncall", running.by_digest(image), "--end")
    again = release_by(world, under, "oncall", named, "--end")
    return observe(
        before=(before, "refused"),
        released=(code, 0),
        says_so=(first.partition(":")[0], "Released"),
        waited=("It can be pulled." in trouble, True),
        during=(during, "works"),
        explained=("SEC-77" in shown and "role/oncall" in shown, True),
        ended=((ended[0], ended[1].partition(":")[0]), (0, "Ended")),
        afterwards=((world.pull(image), world.state(image)), ("refused", "Blocked")),
        nothing_to_end=((again[0], again[1].partition(":")[0]), (1, "Refused (not-released)")),
        alerts=(world.alerts(image.repository), ["image-blocked", "image-released", "image-blocked"]),
    )


@if_built
def release_refused(world: World) -> Observed:
    under = releases.guard(world)
    image = world.push_and_scan("release/not-by-command", OPENSSL, guard=under)
    clean = world.push_and_scan("release/needs-none", guard=under)
    named = running.uri(image)

    def asked(*arguments: str, role: str = "oncall") -> tuple[int, str]:
        code, first, _ = release_by(world, under, role, *arguments)
        return code, first.partition(":")[0]

    machines = run(
        world,
        "--output",
        "json",
        "release",
        "--function",
        f"{under.functions['operate']}:$LATEST",
        named,
        *GIVE,
        **as_operator(world, under, "developer"),
    )
    no_tag = release_by(world, under, "oncall", named.replace("v1.0.0", "v9"), *GIVE)
    no_function = run(world, "release", "--function", "no-such-function", named, *GIVE)
    return observe(
        another_role=(asked(named, *GIVE, role="developer"), (1, "Refused (not-allowed)")),
        for_machines=((machines.returncode, json.loads(machines.stdout)["code"]), (1, "not-allowed")),
        too_long=(asked(named, "--hours", "13", *GIVE[2:]), (1, "Refused (too-long)")),
        no_ticket=(asked(named, *GIVE[:4]), (1, "Refused (no-ticket)")),
        not_blocked=(asked(running.uri(clean), *GIVE), (1, "Refused (not-blocked)")),
        nothing_to_end=(asked(named, "--end"), (1, "Refused (not-released)")),
        no_such_tag=((no_tag[0], "has the tag `v9`" in no_tag[2]), (2, True)),
        no_such_function=((no_function.returncode, "There is no function `no-such-function`" in no_function.stderr), (2, True)),
        no_reason=(asked(named, "--hours", "4"), (2, "")),
        pull=(world.pull(image), "refused"),
        alerts=(world.alerts(image.repository), ["image-blocked"]),
    )


SCENARIOS = [
    Scenario("cli-explain", "a blocked image by tag and by digest: state, rule, finding; 2 for what is not there", explain),
    Scenario("cli-simulate", "a stricter policy: what is said of the image is what a sweep then does", simulate),
    Scenario("cli-report", "the registry as a page, JSON, CSV and SARIF: a blocked image is in each", report),
    Scenario("cli-gate", "the exit codes of allow, deny, wait, of what is not there, and of a gate that is not there", gate),
    Scenario("cli-release", "`release --wait` and `release --end` of the command line: the image can be pulled, and then it cannot", release),
    Scenario(
        "cli-release-refused",
        "another role, too long, no ticket, not blocked, no such tag or function: the exit codes, and nothing changes",
        release_refused,
    ),
    Scenario("cli-snapshot", "a ledger and its snapshot give the same answers; one that was cut off is refused", snapshot),
]
