"""What the local run shows, one function per scenario. ``ALL`` lists them in the order in which they run."""

from __future__ import annotations

from scenarios import alerts, blocking, delivery, kinds, methods, permissions, replication, repositories, sweep, verdicts
from scenarios.world import Observed, Scenario, World

ALL: list[Scenario] = [
    *verdicts.SCENARIOS,
    *sweep.SCENARIOS,
    *blocking.SCENARIOS,
    *kinds.SCENARIOS,
    *delivery.SCENARIOS,
    *methods.SCENARIOS,
    *repositories.SCENARIOS,
    *replication.SCENARIOS,
    *permissions.SCENARIOS,
    *alerts.SCENARIOS,
]

__all__ = ["ALL", "Observed", "Scenario", "World"]
