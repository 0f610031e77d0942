"""The story of the demo: three teams push images, scans end, and what ecr-guard makes of it, act by act.

Each act says who does what, and what is expected of it; what happened is read from ledger, registry and alerts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import teams
from local_aws import events
from local_aws.findings import counts
from local_aws.images import Image
from local_aws.processes import wait_for
from policies import load
from scenarios.world import World
from stack import Guard

DAY = 86_400
MEGABYTE = 1_000_000
POLICY = "story"
THERE = ("on-push", "on-replication", "sweep", "worker")
# States, as people read them (docs/glossary.md).
WORDS = {"Allowed": "ALLOWED", "Review": "REVIEW", "Blocked": "BLOCKED", "BlockDeferred": "DEFERRED", "Pending": "PENDING", "Unscannable": "NOT SCANNED", "none": "-"}
EXCEPTION = {
    "vulnerability": "CVE-2022-22965",
    "package": "spring-beans",
    "repositories": ["pay/api"],
    "owner": "security@example.com",
    "reason": "runs on JDK 8, where it cannot be exploited",
    "ticket": "SEC-12",
    "expires_in_days": 30,
}


@dataclass(frozen=True)
class Act:
    """One thing that happens: who does it, what, the result that is expected, and how it is done."""

    who: str
    what: str
    expected: str
    run: Callable[[], str]


class Story:
    """The world of the three teams, and what has happened in it."""

    def __init__(self, world: World):
        self.world = world
        self.guard: Guard = world.guard("main", POLICY)
        self.policy = load(POLICY, world.stack.topics)
        self.images: dict[str, Image] = {}
        # The alerts that an act has accounted for, by id.
        self.seen: set[str] = set()
        # Seconds from the end of the scan until the function has ended.
        self.took: dict[str, float] = {}

    def prepare(self) -> None:
        """The repositories, Inspector for all of them, and the second region, to which those of team pay are copied."""
        registry = self.world.registry.ecr
        for name in ("shop/web", "pay/api", "pay/ledger", "data/etl", "data/jobs", "data/feed"):
            registry.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE" if name == "shop/web" else "MUTABLE")
        for region in (self.world, self.second):
            rule = {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [{"filter": "*", "filterType": "WILDCARD"}]}
            region.registry.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[rule])
        self.second.guard("main", POLICY, THERE)
        self.world.copy_to_second_region("pay/")

    @property
    def second(self) -> World:
        """The world of the second region."""
        return self.world.second()

    def acts(self) -> list[Act]:
        """In order."""
        return [
            Act("shop", "pushes web:1.4.0, the scan is clean", "ALLOWED", self.clean),
            Act("shop", "pushes web:1.5.0, HIGH in curl", "REVIEW, alert to shop", self.high),
            Act("pay", "pushes api:2.0.0, CRITICAL in spring", "BLOCKED, alert to pay", self.critical),
            Act("", "a pull of pay/api:2.0.0", "404 not found", lambda: self.pulled("pay/api:2.0.0")),
            Act("", "its copy in us-east-1", "BLOCKED there too", self.copied),
            Act("pay", "pushes api:2.0.0 again", "BLOCKED again, alert to pay", self.pushed_again),
            Act("pay", "runs ledger:3.1.0, CRITICAL is found", "DEFERRED, in use, alert to pay", self.in_use),
            Act("pay", "pushes ledger:3.1.1, same finding", "DEFERRED, no worse, alert to pay", self.no_worse),
            Act("pay", "pushes ledger:3.2.0, one CRITICAL more", "BLOCKED, alert to pay", self.worse),
            Act("data", "pushes index etl:7, CRITICAL on arm64", "BLOCKED, 1 alert to data", self.index),
            Act("data", "pushes jobs:1.0, which cannot be scanned", "NOT SCANNED, alert to data", self.failed),
            Act("data", "pushes feed:0.9, AWS loses the event", "-", self.lost),
            Act("", "the hourly sweep", "BLOCKED, alert to data", self.swept),
            Act("ops", "makes the tags of shop/web mutable", "REPAIRED, alert to shop", self.drifted),
            Act("sec", "adds an exception for pay/api, 30 days", "RELEASED, alert to pay", self.excepted),
            Act("", "a pull of pay/api:2.0.0", "works", lambda: self.pulled("pay/api:2.0.0")),
            Act("", "its copy in us-east-1", "RELEASED there too", self.copy_released),
            Act("", "the daily digest", "to each topic: what is to do", self.digest),
        ]

    # The acts. Each gives what happened, in the words of its expectation.

    def clean(self) -> str:
        return self.pushed_and_scanned("shop/web:1.4.0", 84)

    def high(self) -> str:
        return self.pushed_and_scanned("shop/web:1.5.0", 86, teams.CURL, teams.CURL_WILDCARD, teams.CURL_COOKIES)

    def critical(self) -> str:
        return self.pushed_and_scanned("pay/api:2.0.0", 212, teams.SPRING, teams.SPRING_EXPRESSION)

    def copied(self) -> str:
        image = self.images["pay/api:2.0.0"]
        wait_for("the copy", lambda: self.second.has(image))
        self.second.send("on-replication", events.replication(image), guard=self.second.guard("main", POLICY, THERE))
        there = f"{self.word(image, self.second)} there too"
        return there if self.second.pull(image) == "refused" else f"{there}, and can be pulled"

    def pushed_again(self) -> str:
        image = self.images["pay/api:2.0.0"]
        self.world.pusher.again(image)
        self.world.send("on-push", events.push(image), guard=self.guard)
        again = " again" if self.world.pull(image) == "refused" and self.kinds(image.repository)[-1:] == ["image-bypass"] else ""
        return f"{self.word(image)}{again}{self.told(image.repository)}"

    def in_use(self) -> str:
        self.pushed_and_scanned("pay/ledger:3.1.0", 148)
        image = self.images["pay/ledger:3.1.0"]
        # It was pushed ten days ago and is pulled every day; today its scanner knows of a vulnerability.
        yesterday = time.time() - DAY
        self.world.registry.set_image(image.repository, image.digest, imagePushedAt=yesterday - 9 * DAY, lastRecordedPullTime=yesterday)
        self.scan(image, teams.OPENSSL)
        return f"{self.word(image)}, {self.cause(image)}{self.told(image.repository)}"

    def no_worse(self) -> str:
        self.pushed("pay/ledger:3.1.1", 148)
        image = self.images["pay/ledger:3.1.1"]
        self.scan(image, teams.OPENSSL)
        return f"{self.word(image)}, {self.cause(image)}{self.told(image.repository)}"

    def worse(self) -> str:
        return self.pushed_and_scanned("pay/ledger:3.2.0", 149, teams.OPENSSL, teams.ZLIB)

    def index(self) -> str:
        repository, pusher = "data/etl", self.world.pusher
        amd64, arm64 = (pusher.image(repository, None, f"etl:7 for {name}", size=size * MEGABYTE) for name, size in (("amd64", 301), ("arm64", 298)))
        index = self.images["data/etl:7"] = pusher.index(repository, "7", [amd64, arm64])
        self.world.pushed += [index, amd64, arm64]
        self.world.send("on-push", *[events.push(image) for image in (amd64, arm64, index)], guard=self.guard)
        self.scan(amd64)
        self.scan(arm64, teams.GLIBC)
        number = len(self.kinds(repository))
        refused = all(self.world.pull(image, by="digest") == "refused" for image in (index, arm64))
        return f"{self.word(index)}{'' if refused else ', and can be pulled'}{self.told(repository).replace(', alert', f', {number} alert')}"

    def failed(self) -> str:
        image = self.push("data/jobs:1.0", 96)
        self.world.registry.set_scan(image.repository, image.digest, "UNSUPPORTED_IMAGE", description="The operating system is not supported")
        self.world.send("on-push", events.push(image), guard=self.guard)
        return f"{self.word(image)}{self.told(image.repository)}"

    def lost(self) -> str:
        image = self.push("data/feed:0.9", 61)
        self.world.registry.set_scan(image.repository, image.digest, "ACTIVE", enhancedFindings=[teams.XZ])
        return f"{self.word(image)}{self.told(image.repository)}"

    def swept(self) -> str:
        image = self.images["data/feed:0.9"]
        self.world.sweep(guard=self.guard)
        return f"{self.word(image)}{self.told(image.repository)}"

    def drifted(self) -> str:
        repository = "shop/web"
        self.world.registry.ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability="MUTABLE")
        self.world.sweep(repository, guard=self.guard)
        repaired = self.world.mutability(repository) == "IMMUTABLE"
        return f"{'REPAIRED' if repaired else 'NOT REPAIRED'}{self.told(repository)}"

    def excepted(self) -> str:
        image = self.images["pay/api:2.0.0"]
        self.policy = self.deploy_policy(self.world)
        self.world.sweep(image.repository, guard=self.guard)
        # ECR says that it has restored the image.
        self.world.send("on-push", events.storage_class(image, "STANDARD"), guard=self.guard)
        released = self.kinds(image.repository)[-1:] == ["image-released"]
        return f"{'RELEASED' if released else self.word(image)}{self.told(image.repository)}"

    def copy_released(self) -> str:
        image = self.images["pay/api:2.0.0"]
        self.deploy_policy(self.second)
        self.second.sweep(image.repository, guard=self.second.guard("main", POLICY, THERE))
        works = self.second.pull(image) == "works"
        return "RELEASED there too" if works else f"{self.word(image, self.second)} there"

    def digest(self) -> str:
        # A sweep counts a repository in which nothing is due any more.
        self.world.sweep(guard=self.guard)
        self.world.sweep(guard=self.guard)
        before = len(self.world.stack.mails())
        self.world.sweep(guard=self.guard, digest=True)
        sent = [mail for mail in self.world.stack.mails()[before:] if "daily digest" in mail["subject"]]
        topics = {topic_of(mail) for mail in sent}
        to_do = sum("to do" in mail["subject"] for mail in sent)
        return "to each topic: what is to do" if topics == set(teams.TOPICS) and to_do else f"{len(sent)} digests, to {', '.join(sorted(topics))}"

    # Steps

    def deploy_policy(self, world: World) -> dict[str, Any]:
        """The policy with an exception, in all functions of a region."""
        policy = load(POLICY, world.stack.topics)
        policy["exceptions"] = [EXCEPTION]
        for deployed in world.guard("main", POLICY, THERE).functions.values():
            world.stack.change_policy(deployed, policy)
        return load(policy, world.stack.topics)

    def push(self, name: str, megabytes: int) -> Image:
        """Pushes an image, without an event."""
        repository, _, tag = name.partition(":")
        image = self.images[name] = self.world.pusher.image(repository, tag, name, size=megabytes * MEGABYTE)
        self.world.pushed.append(image)
        return image

    def pushed(self, name: str, megabytes: int) -> None:
        """Pushes an image; its event arrives."""
        self.world.send("on-push", events.push(self.push(name, megabytes)), guard=self.guard)

    def scan(self, image: Image, *found: dict[str, Any]) -> None:
        """Inspector has scanned an image; its event arrives."""
        self.world.registry.set_scan(image.repository, image.digest, "ACTIVE", enhancedFindings=list(found))
        self.world.send("on-scan", events.inspector_scan(image, counts(list(found))), guard=self.guard)

    def pushed_and_scanned(self, name: str, megabytes: int, *found: dict[str, Any]) -> str:
        """The usual course."""
        self.pushed(name, megabytes)
        image = self.images[name]
        began = time.monotonic()
        self.scan(image, *found)
        self.took[name] = time.monotonic() - began
        return f"{self.word(image)}{self.told(image.repository)}"

    # The events

    def word(self, image: Image, world: World | None = None) -> str:
        """The state of an image, as people read it."""
        state = (world or self.world).state(image)
        return WORDS.get(state, state)

    def pulled(self, name: str) -> str:
        """The result of a pull."""
        return {"works": "works", "refused": "404 not found"}.get(pull := self.world.pull(self.images[name]), pull)

    def kinds(self, repository: str) -> list[str]:
        """The kinds of the alerts about a repository that nobody has asked about yet."""
        return [alert["kind"] for alert in self.world.alert_documents(repository) if alert["id"] not in self.seen]

    def told(self, repository: str) -> str:
        """To whom alerts about a repository went since the last act."""
        new = {alert["id"] for alert in self.world.alert_documents(repository)} - self.seen
        topics = sorted({topic_of(mail) for mail in self.world.stack.mails() if any(one in mail["bodies"]["default"] for one in new)})
        self.seen |= new
        return f", alert to {', '.join(topics)}" if new else ""

    def cause(self, image: Image) -> str:
        """Why a block is deferred."""
        holds = [alert["hold"] for alert in self.world.alert_documents(image.repository) if alert.get("digest") == image.digest and alert.get("hold")]
        return words_of(holds[-1]["cause"]) if holds else "nobody says why"


def topic_of(mail: dict[str, Any]) -> str:
    """The team whose topic a mail went to."""
    name = mail["topic"].rpartition(":")[2]
    return next((route for route, topic in teams.TOPICS.items() if topic == name), name)


def words_of(cause: str) -> str:
    """A cause of a deferred block, in two words."""
    return {"in-use": "in use", "no-worse": "no worse", "not-worse-than-running": "no worse"}.get(cause, cause.replace("-", " "))
