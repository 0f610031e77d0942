"""Evaluates a lifecycle policy against images, as ECR's preview does. Pure: images and the time in, actions out.

All rules count all images; then the rules are applied by priority. An image that meets the tag requirements of a rule can only
be acted on by that rule, even if the rule keeps it. Images listed by an index, and referrers, are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from local_aws.ecr.model import ACTIVE, ARCHIVED, StoredImage

DAY = 86_400


@dataclass(frozen=True)
class Action:
    """The effect of one rule on one image."""

    image: StoredImage
    priority: int
    kind: str
    storage_class: str
    target: str | None


def evaluate(policy: dict[str, Any], images: Iterable[StoredImage], now: float) -> list[Action]:
    """The actions that the policy would take, each image at most once, oldest first within a rule."""
    images = list(images)
    protected = {child for image in images for child in image.children}
    eligible = [image for image in images if image.digest not in protected and image.subject is None]
    actions: list[Action] = []
    claimed: set[str] = set()
    for rule in sorted(policy["rules"], key=lambda rule: rule["rulePriority"]):
        selection = rule["selection"]
        matching = [image for image in eligible if _tags_match(selection, image.tags) and _stored_as(selection, image)]
        due = _due(selection, matching, now)
        actions += [_action(rule, selection, image) for image in due if image.digest not in claimed]
        claimed |= {image.digest for image in matching}
    return actions


def _action(rule: dict[str, Any], selection: dict[str, Any], image: StoredImage) -> Action:
    return Action(
        image=image,
        priority=rule["rulePriority"],
        kind=rule["action"]["type"].upper(),
        storage_class=selection.get("storageClass", "standard").upper(),
        target=(rule["action"].get("targetStorageClass") or "").upper() or None,
    )


def _tags_match(selection: dict[str, Any], tags: list[str]) -> bool:
    status = selection["tagStatus"]
    if status == "any":
        return True
    if status == "untagged":
        return not tags
    prefixes, patterns = selection.get("tagPrefixList", []), selection.get("tagPatternList", [])
    return (
        bool(tags)
        and all(any(tag.startswith(prefix) for tag in tags) for prefix in prefixes)
        and all(any(fnmatchcase(tag, pattern.replace("[", "[[]")) for tag in tags) for pattern in patterns)
    )


def _stored_as(selection: dict[str, Any], image: StoredImage) -> bool:
    return image.status == (ARCHIVED if selection.get("storageClass") == "archive" else ACTIVE)


def _due(selection: dict[str, Any], matching: list[StoredImage], now: float) -> list[StoredImage]:
    number = selection["countNumber"]
    oldest_first = sorted(matching, key=_since_pushed)
    if selection["countType"] == "imageCountMoreThan":
        return oldest_first[: max(0, len(oldest_first) - number)]
    clocks: dict[str, Callable[[StoredImage], float]] = {
        "sinceImagePushed": _since_pushed,
        "sinceImagePulled": _since_pulled,
        "sinceImageTransitioned": lambda image: image.last_archived_at or now,
    }
    since = clocks[selection["countType"]]
    return [image for image in oldest_first if now - since(image) > number * DAY]


def _since_pushed(image: StoredImage) -> float:
    return image.last_activated_at or image.pushed_at


def _since_pulled(image: StoredImage) -> float:
    return image.last_pulled_at or _since_pushed(image)
