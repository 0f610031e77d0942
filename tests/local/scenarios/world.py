"""The world of scenarios: the registry, the bus, the functions, the ledger and the alerts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local_aws import events, findings
from local_aws.images import Image, Pusher
from local_aws.processes import TimedOut, wait_for
from local_aws.registry import ACCOUNT, DRIVER_KEY, SECOND_REGION
from stack import FUNCTIONS, Guard, Region, Stack

JUDGING = ("on-push", "on-scan")
READING = ("Describe", "Get", "List", "BatchGet", "BatchCheck")


@dataclass(frozen=True)
class Observed:
    """The observations of a scenario, in words, and whether each is as expected."""

    text: str
    ok: bool


@dataclass(frozen=True)
class Scenario:
    """One thing that the local run shows."""

    name: str
    expected: str
    run: Callable[[World], Observed]


@dataclass(frozen=True)
class Group:
    """Scenarios of one kind. They run one after the other, in one account."""

    name: str
    about: str
    scenarios: list[Scenario]
    # About how long they take on two busy cores: what is shared out between two accounts that run side by side.
    seconds: int


def observe(**facts: Any) -> Observed:
    """Puts observations into words. A fact given as a pair is compared: what is, and what should be."""
    words, ok = [], True
    for name, fact in facts.items():
        name = name.replace("_", " ")
        if not isinstance(fact, tuple):
            words.append(f"{name}: {fact}")
            continue
        actual, wanted = fact
        ok = ok and actual == wanted
        words.append(f"{name}: {_words(actual)}" + ("" if actual == wanted else f" (NOT {_words(wanted)})"))
    return Observed("; ".join(words), ok)


class World:
    """The scenarios' hands and eyes in one region. Each scenario uses repositories of its own."""

    def __init__(self, stack: Region):
        self.stack = stack
        self.registry = stack.registry
        self.pusher = Pusher(stack.registry.ecr)
        self.pushed: list[Image] = []
        self._guards: dict[str, Guard] = {}
        self._expected: Counter[str] = Counter()
        self._second: World | None = None

    # Act

    def second(self) -> World:
        """The same in the second region, which is made when it is first asked for. Only the home region's world has it."""
        if self._second is None:
            assert isinstance(self.stack, Stack), "there is no third region"
            self._second = World(self.stack.second())
        return self._second

    def guard(
        self, name: str = "main", policy: str = "enforce", functions: tuple[str, ...] | None = None, **how: Any
    ) -> Guard:
        """A deployment of the functions; made when it is first asked for: all in ``main``, those that evaluate images in
        others."""
        if name not in self._guards:
            chosen = functions or (FUNCTIONS if name == "main" else JUDGING)
            self._guards[name] = self.stack.deploy(name, policy, chosen, **how)
        # Scenarios of several groups share an account, in an order that no scenario knows.
        missing = set(functions or ()) - set(self._guards[name].functions)
        assert not missing, f"another deployment is named `{name}`: it has no {', '.join(sorted(missing))}"
        return self._guards[name]

    def attach(self, name: str, guard: Guard) -> None:
        """Takes over a deployment that another process has made."""
        self._guards[name] = guard
        self._expected.update({deployed: self.stack.invocations(deployed) for deployed in guard.functions.values()})

    def repository(self, name: str, scan_on_push: bool = True) -> str:
        """A new repository."""
        self.registry.ecr.create_repository(
            repositoryName=name, imageScanningConfiguration={"scanOnPush": scan_on_push}
        )
        return name

    def copy_to_second_region(self, prefix: str | None) -> None:
        """Lets the registry copy the repositories whose names begin so, or none."""
        rule = {
            "destinations": [{"region": SECOND_REGION, "registryId": ACCOUNT}],
            "repositoryFilters": [{"filter": prefix, "filterType": "PREFIX_MATCH"}],
        }
        rules = [rule] if prefix else []
        self.registry.ecr.put_replication_configuration(replicationConfiguration={"rules": rules})

    @contextmanager
    def enhanced_scanning(self, repositories: str) -> Iterator[None]:
        """Lets Inspector scan some repositories continuously, for a while."""
        rule = {
            "scanFrequency": "CONTINUOUS_SCAN",
            "repositoryFilters": [{"filter": repositories, "filterType": "WILDCARD"}],
        }
        self.registry.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[rule])
        try:
            yield
        finally:
            self.registry.ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[])

    def push(self, repository: str, tag: str | None = "v1.0.0", docker: bool = False) -> Image:
        """Pushes an image with content of its own, without an event."""
        image = self.pusher.image(repository, tag, f"{repository}:{tag}", docker)
        self.pushed.append(image)
        return image

    def found(self, image: Image, *found: dict[str, Any]) -> events.Entry:
        """Lets the scan of an image end with findings; gives the event of it."""
        self.registry.set_scan(image.repository, image.digest, "COMPLETE", findings=list(found))
        return events.scan(image, "COMPLETE", findings.counts(list(found)))

    def send(self, function: str, *entries: events.Entry, guard: Guard | None = None) -> None:
        """Puts events on the bus, and waits until the function that they are for has handled all of them."""
        guard = guard or self.guard()
        deployed = guard.functions[function]
        self._expected[deployed] += len(entries)
        self.stack.emit(guard, *entries)
        self.wait_until_handled(deployed)

    def wait_until_handled(self, deployed: str) -> None:
        """Waits until a function has ended as many invocations as it was sent events."""
        wanted = self._expected[deployed]
        wait_for(f"{deployed} ends invocation {wanted}", lambda: self.stack.invocations(deployed) >= wanted)

    def sweep(self, *repositories: str, guard: Guard | None = None, **more: Any) -> dict[str, Any]:
        """Sweeps these repositories, or all, and waits until the workers have done what is due. Gives what ``sweep`` answers."""
        guard = guard or self.guard()
        if not repositories:
            # Second looks of earlier sweeps are hidden for ten minutes. As long as many wait, a sweep of all adds nothing to them.
            self.stack.sqs.purge_queue(QueueUrl=guard.queue)
        payload = more | ({"repositories": list(repositories)} if repositories else {})
        answer: dict[str, Any] = self.invoke(guard.functions["sweep"], payload)
        self.stack.drain(guard)
        return answer

    def invoke(self, deployed: str, payload: Any) -> Any:
        """Invokes a function and gives its answer; raises if it fails. It counts among the invocations that `send` waits for."""
        self._expected[deployed] += 1
        return self.stack.invoke(deployed, payload)

    def invoke_later(self, deployed: str, event: dict[str, Any], attempts: int) -> None:
        """Invokes a function asynchronously, as Lambda's own queue does, retries included."""
        self._expected[deployed] += attempts
        self.stack.lambdas.invoke(FunctionName=deployed, InvocationType="Event", Payload=json.dumps(event).encode())
        self.wait_until_handled(deployed)

    def push_and_scan(self, repository: str, *found: dict[str, Any], guard: Guard | None = None, **push: Any) -> Image:
        """The usual course: push, its event, scan with findings, its event."""
        image = self.push(self.repository(repository), **push)
        self.send("on-push", events.push(image), guard=guard)
        self.send("on-scan", self.found(image, *found), guard=guard)
        return image

    # Look

    def all_pushed(self) -> list[Image]:
        """The pushed images, here first."""
        return self.pushed if self._second is None else [*self.pushed, *self._second.pushed]

    def state(self, image: Image) -> str:
        """The state in the ledger, or ``none``."""
        row = self.stack.row(image.repository, image.digest)
        return "none" if row is None else row["state"]

    def generation(self, image: Image) -> int:
        """How often the ledger's row has been written."""
        row = self.stack.row(image.repository, image.digest)
        return 0 if row is None else int(row["generation"])

    def is_counted(self, repository: str) -> bool:
        """Whether the ledger has figures of a repository."""
        name = f"summary#{self.stack.region}#{repository}"
        return any(row["sk"] == name for row in self.stack.ledger())

    def deciding(self, image: Image) -> list[str]:
        """The findings that decided, by id."""
        row = self.stack.row(image.repository, image.digest)
        return sorted(finding["id"] for finding in (row or {}).get("row", {}).get("findings", []))

    def pull(self, image: Image, by: str = "tag") -> str:
        """The result of a pull: the API's answer and that of the registry's own route must agree."""
        name = {"imageTag": image.tag} if by == "tag" else {"imageDigest": image.digest}
        answer = self.registry.ecr.batch_get_image(repositoryName=image.repository, imageIds=[name])
        status = self.registry.pull(image.repository, next(iter(name.values())))  # type: ignore[arg-type]
        if answer["images"] and status == 200:
            return "works"
        if not answer["images"] and status == 404:
            return "refused"
        return f"unclear ({len(answer['images'])} images, HTTP {status})"

    def has(self, image: Image) -> bool:
        """Whether the registry has an image, archived or not."""
        ecr = self.registry.ecr
        named = [{"imageDigest": image.digest}]
        try:
            found = ecr.describe_images(repositoryName=image.repository, imageIds=named, filter={"imageStatus": "ANY"})
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return False
        return bool(found["imageDetails"])

    def mutability(self, repository: str) -> str:
        """The tag mutability of a repository."""
        described = self.registry.ecr.describe_repositories(repositoryNames=[repository])
        return str(described["repositories"][0]["imageTagMutability"])

    def lifecycle_policy(self, repository: str) -> dict[str, Any] | None:
        """The lifecycle policy of a repository."""
        ecr = self.registry.ecr
        try:
            answer = ecr.get_lifecycle_policy(repositoryName=repository)
        except ecr.exceptions.LifecyclePolicyNotFoundException:
            return None
        policy: dict[str, Any] = json.loads(answer["lifecyclePolicyText"])
        return policy

    def tags(self, image: Image) -> list[str]:
        """The tags of an image, archived or not."""
        details = self.registry.ecr.describe_images(
            repositoryName=image.repository, imageIds=[{"imageDigest": image.digest}], filter={"imageStatus": "ANY"}
        )["imageDetails"]
        return sorted(details[0].get("imageTags", []))

    def alerts(self, repository: str) -> list[str]:
        """The kinds of the alerts about a repository, as the queue's subscriber received them."""
        return [alert["kind"] for alert in self.alert_documents(repository)]

    def alert_documents(self, repository: str) -> list[dict[str, Any]]:
        """The alerts about a repository, in order."""
        return [alert for alert in self.stack.received() if alert.get("repository") == repository]

    def calls(self, repository: str, operation: str) -> int:
        """How often the functions called an operation on a repository."""
        return sum(call["operation"] == operation for call in self._function_calls(repository))

    def mutations(self, repository: str) -> list[str]:
        """The operations with which the functions changed a repository."""
        calls = self._function_calls(repository)
        return [call["operation"] for call in calls if not call["operation"].startswith(READING)]

    def _function_calls(self, repository: str) -> list[dict[str, Any]]:
        calls = self.registry.calls(repository=repository)
        made = [call for call in calls if call.get("caller") != DRIVER_KEY]
        if not made:
            raise AssertionError(f"no function has asked the registry about {repository}: the call log proves nothing")
        return made


def run(scenario: Scenario, world: World) -> Observed:
    """Runs a scenario; what goes wrong is an observation too."""
    try:
        return scenario.run(world)
    except TimedOut as error:
        return Observed(f"timed out: {error}", False)
    except Exception as error:  # a broken scenario must not hide the others
        return Observed(f"{type(error).__name__}: {error}", False)


def _words(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        more = [f"{len(value) - 5} more"] if len(value) > 6 else []
        return ", ".join([*map(str, value[:5] if more else value), *more]) or "none"
    return str(value)
