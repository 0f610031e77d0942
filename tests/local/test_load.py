"""Self-tests of the load: the plan, and the rules for its end."""

from __future__ import annotations

import tempfile
import unittest
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from load import KINDS, LOST, Load, Plan, Unit
from local_aws.registry import REGION, SECOND_REGION


class Plans(unittest.TestCase):
    def test_a_seed_gives_the_same_plan_again(self) -> None:
        one, again, other = (Plan.of(1000, seed) for seed in (5, 5, 6))
        self.assertEqual(described(one), described(again))
        self.assertNotEqual(described(one), described(other))

    def test_it_has_as_many_events_as_asked_for_and_images_of_each_kind(self) -> None:
        for events in (100, 500, 10_000):
            plan = Plan.of(events, 1)
            self.assertEqual(sum(step.is_event for step in plan.steps), events)
            self.assertEqual({unit.kind for unit in plan.units}, set(KINDS))
        self.assertGreater(len(plan.units), 300)
        self.assertGreater(plan.again, 1000)
        self.assertGreater(plan.fatal, 0)
        self.assertGreater(plan.lost, plan.events / 4 * LOST / 4)

    def test_an_index_comes_after_its_entries(self) -> None:
        plan = Plan.of(1000, 1)
        pushed = {id(step.unit): step.at for step in plan.steps if step.fact == "push" and not step.is_event}
        indexes = [unit for unit in plan.units if unit.entries]
        self.assertTrue(indexes)
        for unit in indexes:
            self.assertLess(max(pushed[id(entry)] for entry in unit.entries), pushed[id(unit)])

    def test_no_event_comes_before_its_fact_and_some_come_in_another_order(self) -> None:
        plan = Plan.of(1000, 1)
        facts: Counter[tuple[int, str]] = Counter()
        happened: dict[int, list[str]] = {id(unit): [] for unit in plan.units}
        came: dict[int, list[str]] = {id(unit): [] for unit in plan.units}
        for step in plan.steps:
            of = id(step.unit)
            if step.is_event:
                self.assertGreater(facts[of, step.fact], 0, step)
                if step.fact not in came[of]:
                    came[of].append(step.fact)
            else:
                facts[of, step.fact] += 1
                happened[of].append(step.fact)
        order = [[fact for fact in dict.fromkeys(happened[unit]) if fact in came[unit]] for unit in came]
        self.assertTrue(any(one != came[unit] for one, unit in zip(order, came, strict=True)))


class Wrong(unittest.TestCase):
    """Each rule sees what it is for."""

    def load(self, kind: str, state: str | None, status: str, alerts: list[dict[str, Any]]) -> list[str]:
        """The lines about one image, by its row, its entry in the registry and its alerts at home."""
        plan = Plan(1, 1, [Unit(kind, "team/app", "v1", MagicMock(digest=DIGEST))])
        detail = {"imageDigest": DIGEST, "imageStatus": status, "imageTags": ["v1"]}
        pages = {"describe_repositories": [{"repositories": [{"repositoryName": "team/app"}]}], "describe_images": [{"imageDetails": [detail] if status else []}]}
        home, second = (MagicMock(region=region) for region in (REGION, SECOND_REGION))
        for region in (home, second):
            region.registry.ecr.get_paginator.side_effect = lambda name: MagicMock(paginate=lambda **_: pages[name])
            region.waiting.return_value = 0
            region.received.return_value = []
        home.received.return_value = alerts
        home.rows.return_value = [{"pk": "1#team/app", "sk": f"image#{DIGEST}#{REGION}", "state": state}] if state else []
        home.second.return_value = second
        with tempfile.TemporaryDirectory() as folder:
            return Load(home, Path(folder), Path(folder), plan).wrong()

    def test_what_is_as_the_facts_say_is_not_wrong(self) -> None:
        self.assertEqual(self.load("critical", "Blocked", "ARCHIVED", [alert()]), [])
        self.assertEqual(self.load("critical", "Blocked", "ARCHIVED", [alert("one")] * 2), [])
        self.assertEqual(self.load("clean", "Allowed", "ACTIVE", []), [])
        self.assertEqual(self.load("deleted", None, "", []), [])

    def test_an_image_that_was_lost_is_named(self) -> None:
        name = "team/app:v1 (critical)"
        self.assertEqual(self.load("critical", "Allowed", "ARCHIVED", [alert()]), [f"{name} is Allowed, not Blocked"])
        self.assertEqual(self.load("critical", "Blocked", "ACTIVE", [alert()]), [f"{name} is ACTIVE"])
        self.assertEqual(self.load("critical", "Blocked", "", [alert()]), [f"{name} is gone"])
        self.assertEqual(self.load("critical", "Blocked", "ARCHIVED", []), [f"nobody is told of {name}"])

    def test_an_image_that_was_blocked_without_need_is_named(self) -> None:
        said = self.load("clean", "Blocked", "ARCHIVED", [alert()])
        name = "team/app:v1 (clean)"
        self.assertEqual(said, [f"{name} is Blocked, not Allowed", f"{name} is ARCHIVED", f"{name} is told to be blocked in {REGION}"])

    def test_too_many_alerts_are_counted(self) -> None:
        said = self.load("critical", "Blocked", "ARCHIVED", [alert("one")] * 4)
        self.assertEqual(said, [f"an alert is sent 4 times in {REGION}"])
        said = self.load("critical", "Blocked", "ARCHIVED", [alert("one"), alert("two")])
        self.assertEqual(said, [f"team/app:v1 (critical) brings 2 alerts of kind image-blocked in {REGION}"])
        said = self.load("critical", "Blocked", "ARCHIVED", [alert(), *[{"kind": "posture", "id": str(number)} for number in range(60)]])
        self.assertEqual(said, [f"61 single alerts in {REGION}"])


def described(plan: Plan) -> list[tuple[float, str, str, bool, bool]]:
    """The steps of a plan."""
    return [(step.at, str(step.unit), step.fact, step.is_event, step.fatal) for step in plan.steps]


DIGEST = "sha256:" + "ab" * 32


def alert(name: str = "one") -> dict[str, Any]:
    """A single alert about the image."""
    return {"kind": "image-blocked", "id": name, "repository": "team/app", "digest": DIGEST}


if __name__ == "__main__":
    unittest.main()
