"""A burst of events for the real functions, whose processes are killed while they work: ``make load``.

People push, scans end, images are deleted and restored, copies arrive in another region. Each thing has an event, which comes late, in any order,
several times, or never. Processes are killed at any call to AWS, and Lambda tries again as it does on AWS. Then the hourly sweep runs. In the end every image
is as its facts say, whatever happened to its events, and nobody is alerted more than the policy allows.

The seed gives the images, the order of the events and of the registry's lists, and the call at which each process is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import runs
from console import coloured
from lambdas import Asynchronous, Function, Mapping
from local_aws import events, findings, roles
from local_aws.images import Image, Pusher
from local_aws.registry import ACCOUNT, DRIVER_KEY, REGION, SECOND_REGION, client
from report import Report
from scenarios.world import READING
from stack import ROOT, Region, Stack

sys.path.append(str(ROOT / "tests" / "infra"))
import packages

DIRECTORY = ROOT / "target" / "load"
PACKAGES = ROOT / "target" / "lambda" / "host"
POLICY = "load"
AT_HOME = ("on-push", "on-scan", "sweep", "worker")
THERE = ("on-push", "on-replication", "sweep", "worker")
# After this number of seconds Lambda tries again. The lease of a process that was killed is over by then.
MINUTE = 61
# For how long a queue hides a message that is being worked on, as Terraform has it.
HIDDEN_SECONDS = 1800
# Invocations of a function at a time.
SIDE_BY_SIDE = 4
# Images of a repository, and events of an image.
OF_A_REPOSITORY, OF_AN_IMAGE = 10, 12
# The parts of the events that AWS loses, and that no process survives.
LOST, FATAL = 0.03, 0.01
# How late an event is, as a part of the whole burst.
LATE = 0.05
# The policy's `max_single_per_hour`, and how often an alert may be sent: once for each process that is killed before it has noted that (tests/it/faults.rs).
SINGLE_AN_HOUR, MOST_COPIES = 20, 3
# Messages about many images: they do not count as single alerts.
SUMMARIES = ("alert-summary", "digest")
GLIBC = findings.basic("CVE-2026-9600", "CRITICAL", "glibc")
CURL = findings.basic("CVE-2026-9601", "HIGH", "curl")
ZLIB = findings.basic("CVE-2026-9602", "MEDIUM", "zlib")


@dataclass(frozen=True)
class Kind:
    """A course of an image, and how it ends, whatever its events do."""

    # The number among a hundred images.
    share: int
    # The facts after the push.
    facts: tuple[str, ...]
    # The state in the ledger; none: its row is closed.
    state: str | None
    # The alert that it brings.
    alert: str | None = None
    # How often that may come: once for each time that the image could be pulled again.
    times: int = 1
    in_second_region: bool = False
    # No list of ECR shows a second result of a basic scan: without its event it is found by the weekly look, and not by the next sweep.
    needs_last_event: bool = False

    @property
    def is_archived(self) -> bool:
        """Whether it cannot be pulled in the end."""
        return self.state == "Blocked"


KINDS = {
    "clean": Kind(24, ("scan",), "Allowed"),
    "medium": Kind(8, ("scan MEDIUM",), "Allowed"),
    "high": Kind(12, ("scan HIGH",), "Review"),
    "critical": Kind(12, ("scan CRITICAL",), "Blocked", "image-blocked"),
    "grows worse": Kind(6, ("scan", "scan CRITICAL"), "Blocked", "image-blocked", needs_last_event=True),
    "restored": Kind(6, ("scan CRITICAL", "restore", "restore"), "Blocked", "image-blocked", times=3),
    "not scanned": Kind(4, (), "Pending"),
    "scan failed": Kind(4, ("fail",), "Unscannable", "scan-failed"),
    "deleted": Kind(4, ("scan", "delete"), None),
    "critical, deleted": Kind(4, ("scan CRITICAL", "delete"), None),
    "index": Kind(4, (), "Blocked", "image-blocked", times=2),
    "clean entry": Kind(0, ("scan",), "Allowed"),
    # Its index brings the alert, unless the entry was blocked before the index was there.
    "critical entry": Kind(0, ("scan CRITICAL",), "Blocked"),
    "copied": Kind(8, ("scan",), "Allowed", in_second_region=True),
    "copied, critical": Kind(8, ("scan CRITICAL", "forwarded"), "Blocked", "image-blocked", in_second_region=True),
}


# The images of an index.
ENTRIES = ("clean entry", "critical entry")


@dataclass(eq=False)
class Unit:
    """An image of the plan."""

    kind: str
    repository: str
    tag: str | None
    image: Image | None = None
    # Those of an index.
    entries: tuple[Unit, ...] = ()

    @property
    def of(self) -> Kind:
        """Its course."""
        return KINDS[self.kind]

    @property
    def pushed(self) -> Image:
        """The image, which is there."""
        assert self.image is not None, "it is not pushed"
        return self.image

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag or 'untagged'} ({self.kind})"


@dataclass(frozen=True)
class Step:
    """Something that happens at a time of the burst: a fact, or one of its events."""

    at: float
    unit: Unit
    fact: str
    is_event: bool = False
    fatal: bool = False


@dataclass
class Plan:
    """Everything that happens, by the seed."""

    seed: int
    events: int
    units: list[Unit] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    lost: int = 0
    fatal: int = 0
    again: int = 0

    @classmethod
    def of(cls, events: int, seed: int) -> Plan:
        """The plan of a number of events."""
        plan, chance = cls(seed, events), Random(seed)
        drawn = {name: kind.share for name, kind in KINDS.items() if kind.share}
        number = max(len(drawn), events // OF_AN_IMAGE)
        kinds = list(drawn) + chance.choices(list(drawn), list(drawn.values()), k=number - len(drawn))
        chance.shuffle(kinds)
        counted: Counter[str] = Counter()
        for kind in kinds:
            prefix = "dr" if KINDS[kind].in_second_region else "team"
            counted[prefix] += 1
            repository, tag = f"{prefix}/app-{counted[prefix] // OF_A_REPOSITORY}", f"v1.0.{counted[prefix]}"
            entries = tuple(Unit(entry, repository, None) for entry in ENTRIES) if kind == "index" else ()
            plan.units += [*entries, Unit(kind, repository, tag, entries=entries)]
        sent = [step for unit in plan.units for step in plan._course(unit, chance)]
        while len(sent) > events:
            sent.pop(chance.randrange(len(sent)))
        plan.again = events - len(sent)
        sent += [Step(chance.uniform(one.at, 1), one.unit, one.fact, True, chance.random() < FATAL) for one in chance.choices(sent, k=plan.again)]
        plan.fatal = sum(one.fatal for one in sent)
        plan.steps = sorted([*plan.steps, *sent], key=lambda step: step.at)
        return plan

    def _course(self, unit: Unit, chance: Random) -> Iterator[Step]:
        """Adds the facts of an image; gives their events."""
        facts = ("push", *(["copied"] if unit.of.in_second_region else []), *unit.of.facts)
        # An index comes after its entries.
        begins = max((step.at for step in self.steps if not step.is_event and step.unit in unit.entries and step.fact == "push"), default=0.0)
        times = sorted(chance.uniform(begins, 0.9) for _ in facts)
        for at, fact in zip(times, facts, strict=True):
            self.steps.append(Step(at, unit, fact))
            if chance.random() < LOST and not (unit.of.needs_last_event and fact == facts[-1]):
                self.lost += 1
                continue
            yield Step(min(1, at + chance.expovariate(1 / LATE)), unit, fact, True, chance.random() < FATAL)


class Load:
    """The account, its functions, and the burst."""

    def __init__(self, stack: Stack, directory: Path, lambda_directory: Path, plan: Plan):
        self.stack, self.directory, self.plan = stack, directory, plan
        self.lambda_directory = lambda_directory
        self.functions: dict[tuple[str, str], Function] = {}
        self.senders: dict[tuple[str, str], Asynchronous] = {}
        self.mappings: list[Mapping] = []
        self.pusher = Pusher(stack.registry.ecr)
        self.most_waiting = self.minutes = self.pushes = 0
        self.seconds: dict[str, float] = {}

    # The deployment

    def deploy(self) -> None:
        """Roles, queues and programs of both regions; nothing is started."""
        rule = {"destinations": [{"region": SECOND_REGION, "registryId": ACCOUNT}], "repositoryFilters": [{"filter": "dr/", "filterType": "PREFIX_MATCH"}]}
        self.stack.registry.ecr.put_replication_configuration(replicationConfiguration={"rules": [rule]})
        for region, names in ((self.stack, AT_HOME), (self.stack.second(), THERE)):
            queue = region.work_queue("ecr-guard-work")
            for one in (queue, region.work_queue("ecr-guard-findings")):
                region.change_queue(one, hidden_seconds=HIDDEN_SECONDS)
            for name in names:
                self._deploy_function(region, name, queue)
        for repository in sorted({unit.repository for unit in self.plan.units}):
            self.stack.registry.ecr.create_repository(repositoryName=repository, imageScanningConfiguration={"scanOnPush": True})

    def _deploy_function(self, region: Region, name: str, queue: str) -> None:
        deployed, where = f"ecr-guard-{name}", region.region
        role = f"{deployed}-{where}"
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        region.iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
        statements = region.role_policy(name, deployed, POLICY, queue)
        region.permit(deployed, statements)
        session = client("sts", region.url, where).assume_role(RoleArn=roles.role_arn(deployed, where), RoleSessionName=deployed)
        credentials = session["Credentials"]
        region.registry.permit(credentials["AccessKeyId"], statements, session["AssumedRoleUser"]["Arn"])
        variables = region.environment(region.write_policy(POLICY), queue, name)
        upstreams = {variable: url for variable, url in variables.items() if variable.startswith("AWS_ENDPOINT_URL")}
        variables |= {
            "AWS_REGION": where,
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
            "AWS_LAMBDA_FUNCTION_NAME": deployed,
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        }
        program = self.directory / "programs" / name
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_bytes(packages.program(self.lambda_directory / name / "bootstrap.zip"))
            program.chmod(0o755)
        log = self.directory / "logs" / f"{name}-{where}.log"
        seconds = 300 if name in ("sweep", "worker") else 30
        self.functions[where, name] = Function(name, program, variables, upstreams, where, log, seconds)

    def regions(self) -> list[Region]:
        """The two regions."""
        return [self.stack, self.stack.second()]

    # The burst

    async def run(self) -> list[str]:
        """Plays everything; gives what is wrong."""
        for function in self.functions.values():
            function.seed = self.plan.seed
        for (where, name), function in self.functions.items():
            if name != "worker":
                self.senders[where, name] = Asynchronous(function, 1 if name == "sweep" else SIDE_BY_SIDE)
        for region in self.regions():
            for queue in ("work", "findings"):
                url = region.sqs.get_queue_url(QueueName=f"ecr-guard-{queue}")["QueueUrl"]
                self.mappings.append(Mapping(self.functions[region.region, "worker"], region, url, 2))
        try:
            await self._timed("burst", self._burst)
            await self._timed("sweep", self._sweep)
            wrong = [f"after a sweep, {one}" for one in await asyncio.to_thread(self._wrong_after_a_sweep)]
            self._redrive()
            # The summary of a sweep has the alerts that workers kept back before it.
            await self._timed("second sweep", self._sweep)
            wrong += await asyncio.to_thread(self.wrong)
            for function in self.functions.values():
                await function.stop()
                function.seed = None
            return wrong + await self._timed("third sweep", self._quiet_sweep)
        finally:
            for one in self._queues():
                await one.stop()
            for function in self.functions.values():
                await function.stop()

    async def _timed(self, name: str, what: Callable[[], Any]) -> Any:
        began = time.monotonic()
        print(f"  {name} …", end="", flush=True)
        result = await what()
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f" {self.seconds[name]:.1f} s", flush=True)
        return result

    async def _burst(self) -> None:
        for step in self.plan.steps:
            if step.is_event:
                where, function, event = self._event(step)
                self.senders[where, function].send(event, step.fatal)
                self.most_waiting = max(self.most_waiting, sum(sender.waiting() for sender in self.senders.values()))
            else:
                await asyncio.to_thread(self._happens, step)
        await self._to_the_end()

    async def _to_the_end(self) -> None:
        """Waits until everything is done or given up. Whenever all that is left is to be tried again, a minute passes."""
        queues = self._queues()
        while True:
            for one in queues:
                await one.rest()
            if not any(one.later for one in queues):
                # The last invocation may have left work to a queue that was empty before.
                if await asyncio.to_thread(self._is_empty):
                    return
                continue
            self.minutes += 1
            for function in self.functions.values():
                await function.pass_time(MINUTE)
            for one in queues:
                await one.again()

    def _queues(self) -> list[Asynchronous | Mapping]:
        return [*self.senders.values(), *self.mappings]

    def _is_empty(self) -> bool:
        """Whether no message is due."""
        return not any(mapping.region.waiting(mapping.queue) for mapping in self.mappings)

    def _happens(self, step: Step) -> None:
        """Makes a fact true in the registry."""
        unit, registry = step.unit, self.stack.registry
        named = {"repositoryName": unit.repository}
        if step.fact == "push":
            unit.image = self._pushed(unit)
        elif step.fact.startswith("scan"):
            registry.set_scan(unit.repository, unit.pushed.digest, "COMPLETE", findings=found_by(step.fact))
        elif step.fact == "fail":
            registry.set_scan(unit.repository, unit.pushed.digest, "FAILED", description="The scan could not be completed")
        elif step.fact == "delete":
            registry.ecr.batch_delete_image(**named, imageIds=[{"imageDigest": unit.pushed.digest}])
        elif step.fact == "restore":
            registry.ecr.update_image_storage_class(**named, imageId={"imageDigest": unit.pushed.digest}, targetStorageClass="STANDARD")

    def _pushed(self, unit: Unit) -> Image:
        if unit.entries:
            assert unit.tag is not None, "an index has a tag"
            return self.pusher.index(unit.repository, unit.tag, [entry.pushed for entry in unit.entries])
        self.pushes += 1
        return self.pusher.image(unit.repository, unit.tag, f"{unit.repository}, push {self.pushes}")

    def _event(self, step: Step) -> tuple[str, str, dict[str, Any]]:
        """The event of a fact, and the region and function that it is for."""
        image = step.unit.pushed
        if step.fact == "copied":
            return SECOND_REGION, "on-replication", events.delivered("aws.ecr", events.replication(image), SECOND_REGION)
        if step.fact == "forwarded":
            # The rules of the home region forward it; here it may come before the block.
            return SECOND_REGION, "on-replication", events.delivered("aws.ecr", events.storage_class(image, "ARCHIVE"), REGION)
        if step.fact.startswith("scan"):
            return REGION, "on-scan", events.delivered("aws.ecr", events.scan(image, "COMPLETE", findings.counts(found_by(step.fact))))
        if step.fact == "fail":
            return REGION, "on-scan", events.delivered("aws.ecr", events.scan(image, "FAILED"))
        entries = {"push": events.push(image), "delete": events.delete(image), "restore": events.storage_class(image, "STANDARD")}
        return REGION, "on-push", events.delivered("aws.ecr", entries[step.fact])

    def _redrive(self) -> None:
        """Puts back what was given up, as `make redrive` does."""
        for sender in self.senders.values():
            sender.given_up += len(sender.failed)
            for event, _ in sender.failed:
                sender.send(event)
            sender.failed = []

    async def _sweep(self) -> None:
        for region in self.regions():
            # Second looks of earlier sweeps are hidden for ten minutes. As long as many wait, a sweep adds nothing to them.
            url = region.sqs.get_queue_url(QueueName="ecr-guard-work")["QueueUrl"]
            await asyncio.to_thread(region.sqs.purge_queue, QueueUrl=url)
            self.senders[region.region, "sweep"].send({})
        await self._to_the_end()

    async def _quiet_sweep(self) -> list[str]:
        """A sweep that finds nothing to do; gives what it did."""
        registry = self.stack.registry
        before = [len(await asyncio.to_thread(region.received)) for region in self.regions()]
        await asyncio.to_thread(registry.forget_calls)
        await self._sweep()
        wrong: list[str] = []
        for region, number in zip(self.regions(), before, strict=True):
            where = region.region
            alerts, calls = (await asyncio.to_thread(region.received))[number:], await asyncio.to_thread(region.registry.calls)
            wrong += [f"a sweep of what is done alerts: {alert['kind']} {alert.get('repository', '')} in {where}" for alert in alerts]
            changes = [call for call in calls if call["caller"] != DRIVER_KEY and not call["operation"].startswith(READING)]
            wrong += [f"a sweep of what is done calls {call['operation']} for {call.get('repository')} in {where}" for call in changes]
        return wrong

    # Checks

    def wrong(self) -> list[str]:
        """Everything that is not as the facts say."""
        return [*self._wrong_images(self.plan.units), *self._wrong_copies(), *self._wrong_alerts(), *self._wrong_queues()]

    def _wrong_after_a_sweep(self) -> list[str]:
        """Everything that a sweep alone should have found, and has not."""
        units = [unit for unit in self.plan.units if not unit.of.needs_last_event]
        return [*self._wrong_images(units), *self._wrong_copies(), *self._wrong_queues()]

    def _wrong_images(self, units: list[Unit]) -> Iterator[str]:
        rows, shown = rows_of(self.stack), shown_by(self.stack, self.plan)
        for unit in units:
            key = (unit.repository, unit.pushed.digest)
            row, detail = rows.get(key), shown.get(key)
            state = None if row is None or "expires_at" in row else row["state"]
            if state != unit.of.state:
                yield f"{unit} is {state}, not {unit.of.state}"
            if unit.of.state is None:
                if detail is not None:
                    yield f"{unit} is there"
                continue
            if detail is None:
                yield f"{unit} is gone"
                continue
            if (detail["imageStatus"] == "ARCHIVED") != unit.of.is_archived:
                yield f"{unit} is {detail['imageStatus']}"
            if unit.tag and unit.tag not in detail.get("imageTags", []):
                yield f"{unit} has lost its tag"

    def _wrong_copies(self) -> Iterator[str]:
        second = self.stack.second()
        rows, shown = rows_of(second), shown_by(second, self.plan)
        for unit in self.plan.units:
            if not unit.of.in_second_region:
                continue
            key = (unit.repository, unit.pushed.digest)
            detail = shown.get(key)
            if detail is None:
                yield f"the copy of {unit} is gone"
            elif (detail["imageStatus"] == "ARCHIVED") != unit.of.is_archived:
                yield f"the copy of {unit} is {detail['imageStatus']}"
            if unit.of.is_archived and (row := rows.get(key, {"state": None}))["state"] != "Blocked":
                yield f"the copy of {unit} is {row['state']}, not Blocked"

    def _wrong_alerts(self) -> Iterator[str]:
        """Alerts that are missing, or too many. A copy of an alert has its id: SNS and queues deliver more than once, too."""
        for region in self.regions():
            told = told_of(region)
            for unit in self.plan.units:
                for kind, ids in told.get(named(unit), {}).items():
                    if len(ids) > (unit.of.times if kind in ("image-blocked", "image-bypass") else 1):
                        yield f"{unit} brings {len(ids)} alerts of kind {kind} in {region.region}"
                    if kind == "image-blocked" and unit.of.state not in (None, "Blocked"):
                        yield f"{unit} is told to be blocked in {region.region}"
        told = told_of(self.stack)
        for unit in self.plan.units:
            if unit.of.alert and not any(unit.of.alert in told.get(named(one), {}) for one in (unit, *unit.entries)):
                yield f"nobody is told of {unit}"
        for region in self.regions():
            single = Counter(alert["id"] for alert in region.received() if alert["kind"] not in SUMMARIES)
            # A burst of less than an hour may lie in two of them.
            if len(single) > 2 * SINGLE_AN_HOUR:
                yield f"{len(single)} single alerts in {region.region}"
            if copies := [number for number in single.values() if number > MOST_COPIES]:
                yield f"an alert is sent {max(copies)} times in {region.region}"

    def _wrong_queues(self) -> Iterator[str]:
        for (where, name), sender in self.senders.items():
            for event, attempts in sender.failed:
                if not any(attempt.killed for attempt in attempts):
                    yield f"{name} in {where} gave up without a kill: {attempts[-1].answer} {json.dumps(event)[:300]}"
        for region in self.regions():
            for queue in ("work", "findings"):
                url = region.sqs.get_queue_url(QueueName=f"ecr-guard-{queue}-dead")["QueueUrl"]
                if number := region.waiting(url):
                    yield f"{number} messages of {queue} are given up in {region.region}"

    # Figures

    def killed(self) -> int:
        """The processes that were killed."""
        return sum(function.kills for function in self.functions.values())

    def figures(self) -> dict[str, Any]:
        """The figures of the run."""
        functions = self.functions.values()
        alerts = [alert for region in self.regions() for alert in region.received()]
        return {
            "events": self.plan.events,
            "seed": self.plan.seed,
            "images": len(self.plan.units),
            "repositories": len({unit.repository for unit in self.plan.units}),
            "events that came again": self.plan.again,
            "events that AWS lost": self.plan.lost,
            "most events waiting": self.most_waiting,
            "invocations": sum(function.invocations for function in functions),
            "minutes that passed": self.minutes,
            "processes": sum(function.started for function in functions),
            "killed": self.killed(),
            "events given up, put back": sum(sender.given_up + len(sender.failed) for sender in self.senders.values()),
            "errors": sum(len(function.errors) for function in functions),
            "batches": sum(mapping.batches for mapping in self.mappings),
            "messages delivered again": sum(mapping.delivered_again for mapping in self.mappings),
            "calls": sum(function.calls for function in functions),
            "alerts": len(alerts),
            "most copies of an alert": max(Counter(alert["id"] for alert in alerts).values(), default=0),
            "alerts by kind": dict(Counter(alert["kind"] for alert in alerts)),
            "seconds": self.seconds,
        }


def named(unit: Unit) -> tuple[str, str]:
    """The name of an image in alerts: its repository, and the first digits of its digest."""
    return unit.repository, unit.pushed.digest.removeprefix("sha256:")[:12]


def found_by(fact: str) -> list[dict[str, Any]]:
    """The findings of a scan."""
    return {"scan": [], "scan MEDIUM": [ZLIB], "scan HIGH": [CURL], "scan CRITICAL": [GLIBC]}[fact]


def rows_of(region: Region) -> dict[tuple[str, str], dict[str, Any]]:
    """The ledger's rows of images, by repository and digest."""
    return {(row["pk"].partition("#")[2], row["sk"].split("#")[1]): row for row in region.rows()}


def shown_by(region: Region, plan: Plan) -> dict[tuple[str, str], dict[str, Any]]:
    """The images of the registry, archived or not, by repository and digest."""
    ecr = region.registry.ecr
    found: dict[tuple[str, str], dict[str, Any]] = {}
    there = {one["repositoryName"] for page in ecr.get_paginator("describe_repositories").paginate() for one in page["repositories"]}
    for repository in sorted({unit.repository for unit in plan.units} & there):
        for page in ecr.get_paginator("describe_images").paginate(repositoryName=repository, filter={"imageStatus": "ANY"}):
            found |= {(repository, one["imageDigest"]): one for one in page["imageDetails"]}
    return found


def told_of(region: Region) -> dict[tuple[str, str], dict[str, set[str]]]:
    """The alerts of each image, by kind: the ids of single ones, and of those that a summary names."""
    told: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for alert in region.received():
        if alert["kind"] == "alert-summary":
            for repository, kinds in alert["alerts"].items():
                for kind, ones in kinds.items():
                    for one in ones:
                        told[repository, one["image"].rpartition("@")[2]][kind].add(one["id"])
        elif alert.get("digest"):
            told[alert["repository"], alert["digest"].removeprefix("sha256:")[:12]][alert["kind"]].add(alert["id"])
    return told


def play(options: argparse.Namespace) -> int:
    """Plays the burst; 0 if nothing is wrong."""
    plan = Plan.of(options.events, options.seed)
    for name in ("logs", "policies", "programs", "tmp"):
        shutil.rmtree(options.directory / name, ignore_errors=True)
    report = Report(options.directory / "report.json", f"make load EVENTS={options.events} SEED={options.seed}")
    print(f"{options.events} events of {len(plan.units)} images in two regions, seed {options.seed}", flush=True)
    # The order of the registry's lists.
    os.environ.setdefault("ECR_GUARD_ORDER", str(options.seed))
    stack = Stack(options.directory, options.lambda_directory)
    try:
        stack.start()
        stack.create_resources()
        load = Load(stack, options.directory, options.lambda_directory, plan)
        load.deploy()
        wrong = asyncio.run(load.run())
        figures = load.figures()
        report.end(True, figures=figures, wrong=wrong, errors={f"{name} {where}": one.errors for (where, name), one in load.functions.items() if one.errors})
    finally:
        stack.stop()
    for name, value in figures.items():
        print(f"  {name:<26} {json.dumps(value) if isinstance(value, dict) else format(value, ',') if name != 'seed' else value}")
    for line in wrong[:40]:
        print(f"{coloured('WRONG', 'red')}  {line}")
    print("Nothing is lost, and alerts are bounded." if not wrong else f"{len(wrong)} things are wrong.")
    return 1 if wrong else 0


def main() -> int:
    """Plays the burst in a directory of its own."""
    parser = argparse.ArgumentParser(prog="load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000, help="how many there are (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which burst it is (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="for report, logs and policies")
    parser.add_argument("--lambda-directory", type=Path, default=PACKAGES, help="the built functions")
    options = parser.parse_args()
    options.directory, options.lambda_directory = options.directory.absolute(), options.lambda_directory.absolute()
    if missing := [name for name in {*AT_HOME, *THERE} if not (options.lambda_directory / name / "bootstrap.zip").is_file()]:
        print(f"Not built: {', '.join(sorted(missing))}. `make package-host` builds them.", file=sys.stderr)
        return 2
    if shutil.which("cc") is None:
        print("cc is not in PATH, which compiles the clock of the functions: `make doctor` says what is missing.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with runs.Run(options.directory, "make load"):
            return play(options)
    except runs.InUse as why:
        print(why, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
