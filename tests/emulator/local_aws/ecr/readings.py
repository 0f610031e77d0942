"""How the registry behaves where AWS documents nothing, or has been seen to behave in more than one way.

Each setting is one such way; ``PUT /ecr-guard/settings`` changes them. ``tests/contract/README.md`` explains them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

Item = TypeVar("Item")

# The event that counts as a pull: none (it is set by injection), a manifest that a container runtime takes, or any manifest
# that anybody takes.
PULLS = ("none", "runtime", "all")
# Which entry a pull by the tag of an index is recorded for: the index, the image that is pulled next, or both.
PULLED_OF = ("index", "image", "both")
# The subject of a removal by digest and tag together: the tag, or the image with all its tags.
DIGEST_AND_TAG = ("tag", "image")
# The rest of basic scans while scanning is enhanced, and the other way round.
OTHER_SCANS = ("kept", "gone")


@dataclass(frozen=True)
class Readings:
    """The ways that are played."""

    # Lists come in an order of their own, the same on all pages; ``None``: in that of the pushes.
    order: int | None = None
    restore_seconds: float = 0.0
    # For so long after a change the old status is shown.
    status_delay_seconds: float = 0.0
    # ``DescribeImages`` shows the scans of basic, or of enhanced scanning.
    scan_summaries: bool = False
    enhanced_summaries: bool = True
    pulls: str = "runtime"
    pulled_of: str = "both"
    digest_and_tag: str = "tag"
    other_scans: str = "kept"
    # The number of reads of a lifecycle preview that say that it is in progress.
    preview_looks: int = 0
    # How long each call of a function takes.
    slow_seconds: float = 0.0
    # A manifest with a container's configuration and an ``artifactType`` goes by the latter.
    artifact_type_first: bool = False
    # Keys of KMS that no longer exist: what they encrypted cannot be had.
    deleted_keys: tuple[str, ...] = field(default=())

    def changed(self, body: dict[str, Any]) -> Readings:
        """The same with the members of a request, in camel case. A member that is not named stays."""
        allowed = {"pulls": PULLS, "pulled_of": PULLED_OF, "digest_and_tag": DIGEST_AND_TAG, "other_scans": OTHER_SCANS}
        changes: dict[str, Any] = {}
        for name, value in body.items():
            if name == "region":
                continue
            member = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
            if member not in self.__dataclass_fields__:
                raise ValueError(f"no such setting: {name}")
            if member in allowed and value not in allowed[member]:
                raise ValueError(f"{name} is one of {allowed[member]}")
            changes[member] = tuple(value) if isinstance(value, list) else value
        return replace(self, **changes)

    def ordered(self, items: Iterable[Item], key: Callable[[Item], str] = str) -> list[Item]:
        """The items in the order of this run. Where one of them stands does not depend on which others there are."""
        if self.order is None:
            return list(items)
        return sorted(items, key=lambda item: hashlib.sha256(f"{self.order} {key(item)}".encode()).digest())
