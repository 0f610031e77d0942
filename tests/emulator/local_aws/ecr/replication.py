"""Copies what is pushed into other regions and accounts, as the replication rules of a registry say.

Each image and tag is copied by itself, some time after the push (``Behaviour``). A repository that is not there is created with
ECR's defaults, not with the settings of its source. A copy is not copied any further. A copy of an image is not the image:
deleting or archiving it leaves the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from moto.ecr.models import Repository, ecr_backends

from local_aws.ecr.errors import EcrError
from local_aws.ecr.model import ACTIVE, StoredImage
from local_aws.ecr.pages import page

if TYPE_CHECKING:
    from local_aws.ecr.operations import ImageOperations

Request = dict[str, Any]
Response = dict[str, Any]

MAX_RULES = 10
MAX_BACKFILLS = 10
RUNNING = ("PREPARING", "IN_PROGRESS", "STOPPING")


@dataclass(frozen=True)
class Destination:
    """A registry that is copied to."""

    account: str
    region: str

    @classmethod
    def of(cls, member: dict[str, str]) -> Destination:
        """From its form in requests."""
        return cls(member["registryId"], member["region"])

    @property
    def member(self) -> dict[str, str]:
        """Its form in responses."""
        return {"region": self.region, "registryId": self.account}

    @property
    def operations(self) -> ImageOperations:
        """The registry itself."""
        return ecr_backends[self.account][self.region].operations  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Behaviour:
    """How copying goes: how long it takes, whether it fails, whether the tag gets lost on the way."""

    delay_seconds: float = 0.0
    failure_code: str | None = None
    lose_tag: bool = False


@dataclass
class Copy:
    """One image with one tag (or none) on its way to one destination."""

    due: float
    repository: str
    image: StoredImage
    tag: str | None
    source: ImageOperations
    destination: Destination
    behaviour: Behaviour
    failure_code: str | None = None
    done: bool = False

    @property
    def status(self) -> str:
        """As ECR says it."""
        if not self.done:
            return "IN_PROGRESS"
        return "FAILED" if self.failure_code else "COMPLETE"


@dataclass
class Backfill:
    """Copies what was there before the rules."""

    destination: Destination
    started_at: float
    copies: list[Copy]
    id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "IN_PROGRESS"
    ended_at: float | None = None

    @property
    def failed(self) -> list[Copy]:
        """The images that could not be copied."""
        return [copy for copy in self.copies if copy.status == "FAILED"]


class Replication:
    """The copies from one registry to others."""

    def __init__(self, operations: ImageOperations):
        self.operations = operations
        # By repository; ``None``: for those that have none of their own.
        self.behaviours: dict[str | None, Behaviour] = {}
        self.backfills: list[Backfill] = []

    def configure(self, configuration: dict[str, Any]) -> None:
        """Checks rules and takes them."""
        rules = configuration["rules"]
        home = (self.operations.backend.account_id, self.operations.backend.region_name)
        problem = None
        if len(rules) > MAX_RULES:
            problem = f"There can be at most {MAX_RULES} rules"
        if any((member["registryId"], member["region"]) == home for rule in rules for member in rule["destinations"]):
            problem = "Replication destination cannot be the same as the source registry"
        filters = [entry for rule in rules for entry in rule.get("repositoryFilters") or []]
        if any(entry["filterType"] != "PREFIX_MATCH" for entry in filters):
            problem = "The type of a filter must be PREFIX_MATCH"
        if problem is not None:
            refusal = "Invalid parameter at 'replicationConfiguration' failed to satisfy constraint: "
            raise EcrError("InvalidParameterException", f"{refusal}'{problem}'")
        self.operations.backend.replication_config = configuration

    def destinations(self, repository: str) -> list[Destination]:
        """Where the rules copy a repository to, each place once."""
        found: dict[Destination, None] = {}
        for rule in self.operations.backend.replication_config["rules"]:
            prefixes = [entry["filter"] for entry in rule.get("repositoryFilters") or []]
            if not prefixes or any(repository.startswith(prefix) for prefix in prefixes):
                found |= dict.fromkeys(map(Destination.of, rule["destinations"]))
        return list(found)

    def pushed(self, repository: Repository, image: StoredImage, tags: list[str] | None = None) -> None:
        """Sets out with an image that was pushed or restored, with these of its tags."""
        for destination in self.destinations(repository.name):
            for tag in _one_by_one(tags):
                self._set_out(repository.name, image, tag, destination)

    def finish_copies(self, now: float) -> None:
        """Lets arrive what is due, and ends backfills of which everything has arrived."""
        for copy in [copy for copy in _on_their_way if copy.source is self.operations and copy.due <= now]:
            _on_their_way.remove(copy)
            copy.failure_code = copy.behaviour.failure_code
            copy.done = True
            if copy.failure_code is None:
                arrive(copy, now)
            _note(copy)
        for backfill in self.backfills:
            if backfill.status in RUNNING and all(copy.done for copy in backfill.copies):
                # It fails as a whole if half of it or more did, out of a hundred or more.
                many = len(backfill.copies) >= 100 and 2 * len(backfill.failed) >= len(backfill.copies)
                backfill.status, backfill.ended_at = "FAILED" if many else "COMPLETE", now

    # Backfills: operations that botocore's model does not have yet. Members are those of the Rust SDK.

    def start_replication_backfill(self, request: Request) -> Response:
        """Copies every image and tag that a rule for the destination is about, and that is not there."""
        destination, now = Destination.of(request["destination"]), self.operations.now()
        rules = self.operations.backend.replication_config["rules"]
        if destination.member not in [member for rule in rules for member in rule["destinations"]]:
            raise EcrError("InvalidParameterException", "There is no replication rule for the destination")
        running = [backfill for backfill in self.backfills if backfill.status in RUNNING]
        if any(backfill.destination == destination for backfill in running):
            raise EcrError("ReplicationBackfillInProgressException", "A backfill to this destination is in progress")
        if len(running) >= MAX_BACKFILLS:
            raise EcrError("LimitExceededException", f"There are {MAX_BACKFILLS} backfills in progress")
        copies = [
            self._set_out(repository.name, image, tag, destination)
            for repository in list(self.operations.backend.repositories.values())
            if destination in self.destinations(repository.name)
            for image in self.operations._images(repository)
            if image.status == ACTIVE
            for tag in _one_by_one(image.tags)
            if not _is_there(destination, repository.name, image, tag)
        ]
        backfill = Backfill(destination, now, copies)
        self.backfills.insert(0, backfill)
        return self._summary(backfill, "replicationBackfillId", "destination", "status", "startedAt")

    def list_replication_backfills(self, request: Request) -> Response:
        """The backfills, the latest first."""
        shown, token = page(self.backfills, request, default=25, maximum=50, of="ListReplicationBackfills")
        return {
            "registryId": self.operations.backend.account_id,
            "backfills": [self._summary(one) for one in shown],
        } | token

    def describe_replication_backfill_results(self, request: Request) -> Response:
        """How a backfill stands; what became of each image, when it has ended."""
        backfill = self._backfill(request)
        copies = [] if backfill.status in RUNNING else backfill.copies
        wanted = request.get("resultStatusFilter")
        chosen = [copy for copy in copies if wanted in (None, copy.status)]
        shown, token = page(chosen, request, default=100, maximum=1000, of=f"DescribeReplicationBackfill {backfill.id}")
        return self._summary(backfill) | {"results": [_result(copy) for copy in shown]} | token

    def stop_replication_backfill(self, request: Request) -> Response:
        """Ends a backfill; what is on its way does not arrive."""
        backfill = self._backfill(request)
        if backfill.status not in ("PREPARING", "IN_PROGRESS"):
            raise EcrError("ReplicationBackfillInvalidStatusException", f"The backfill is {backfill.status}")
        for copy in [copy for copy in backfill.copies if not copy.done]:
            _on_their_way.remove(copy)
            backfill.copies.remove(copy)
        backfill.status, backfill.ended_at = "STOPPED", self.operations.now()
        return self._summary(backfill, "replicationBackfillId", "destination", "status", "startedAt")

    # Steps

    def _set_out(self, repository: str, image: StoredImage, tag: str | None, destination: Destination) -> Copy:
        behaviour = self.behaviours.get(repository) or self.behaviours.get(None) or Behaviour()
        due = self.operations.now() + behaviour.delay_seconds
        copy = Copy(due, repository, image, tag, self.operations, destination, behaviour)
        _on_their_way.append(copy)
        _note(copy)
        return copy

    def _backfill(self, request: Request) -> Backfill:
        for backfill in self.backfills:
            if backfill.id == request["replicationBackfillId"]:
                return backfill
        raise EcrError("ReplicationBackfillNotFoundException", "There is no backfill with this id")

    def _summary(self, backfill: Backfill, *members: str) -> Response:
        done = sum(copy.done for copy in backfill.copies)
        summary = {
            "registryId": self.operations.backend.account_id,
            "replicationBackfillId": backfill.id,
            "destination": backfill.destination.member,
            "status": backfill.status,
            "progress": {
                "totalReplicationCount": len(backfill.copies),
                "completedReplicationCount": done - len(backfill.failed),
                "failedReplicationCount": len(backfill.failed),
                "failureCodes": sorted({str(copy.failure_code) for copy in backfill.failed}),
            },
            "startedAt": backfill.started_at,
            "endedAt": backfill.ended_at,
        }
        chosen = {name: summary[name] for name in ("registryId", *members)} if members else summary
        return {name: value for name, value in chosen.items() if value is not None}


# The pushed images that have not arrived, in the order of the pushes.
_on_their_way: list[Copy] = []

BACKFILL_OPERATIONS = (
    "StartReplicationBackfill",
    "ListReplicationBackfills",
    "DescribeReplicationBackfillResults",
    "StopReplicationBackfill",
)


def finish_all_copies(now: float) -> None:
    """Lets everything arrive that is due, wherever it comes from."""
    sources = {id(copy.source): copy.source for copy in _on_their_way}
    for source in sources.values():
        source.replication.finish_copies(now)


def arrive(copy: Copy, now: float) -> None:
    """Puts a copy into its destination. A tag that is immutable there stays where it is, and the copy comes without it."""
    operations = copy.destination.operations
    repository = _repository_at(operations, copy.repository)
    for child in copy.image.children:
        if operations._find(repository, digest=child) is None:
            source = copy.source._find(copy.source._repository({"repositoryName": copy.repository}), digest=child)
            if source is not None:
                arrive(Copy(now, copy.repository, source, None, copy.source, copy.destination, copy.behaviour), now)
    there = operations._find(repository, digest=copy.image.digest)
    if there is None:
        there = StoredImage(copy.image.digest, copy.image.manifest, copy.image.media_type, pushed_at=now)
        repository.images.append(there)  # type: ignore[arg-type]
        operations._scan_on_push(repository, there)
    elif there.status != ACTIVE:
        there.restore(now)
        operations._scan_on_push(repository, there)
    tag = None if copy.behaviour.lose_tag else copy.tag
    if tag is None or tag in there.tags:
        return
    try:
        operations._take_tag(repository, tag)
    except EcrError:
        return
    there.tags.append(tag)


def _repository_at(operations: ImageOperations, name: str) -> Repository:
    if name not in operations.backend.repositories:
        operations.backend.create_repository(name, None, None, None, "MUTABLE", [])  # type: ignore[arg-type]
    return operations.backend.repositories[name]


def _one_by_one(tags: list[str] | None) -> list[str | None]:
    """Each tag is copied by itself; an image without tags is copied once."""
    return [*tags] if tags else [None]


def _is_there(destination: Destination, repository: str, image: StoredImage, tag: str | None) -> bool:
    operations = destination.operations
    if repository not in operations.backend.repositories:
        return False
    found = operations._find(operations.backend.repositories[repository], digest=image.digest)
    return found is not None and (tag is None or tag in found.tags)


def _note(copy: Copy) -> None:
    """Writes down at the image how its copy stands; the last one to a destination counts."""
    entry = copy.destination.member | {"status": copy.status}
    if copy.failure_code:
        entry["failureCode"] = copy.failure_code
    others = [one for one in copy.image.replication if Destination.of(one) != copy.destination]
    copy.image.replication = [*others, entry]


def _result(copy: Copy) -> dict[str, Any]:
    image_id = {"imageDigest": copy.image.digest} | ({"imageTag": copy.tag} if copy.tag else {})
    result = {"repositoryName": copy.repository, "imageId": image_id, "status": copy.status}
    return result | ({"failureCode": copy.failure_code} if copy.failure_code else {})
