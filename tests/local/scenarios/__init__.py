"""What the local run shows, one function per scenario. ``ALL`` lists them in the order in which they run."""

from __future__ import annotations

from scenarios import (
    alerts,
    backlog,
    blocking,
    delivery,
    gate,
    kinds,
    methods,
    permissions,
    replication,
    repositories,
    scanning,
    sweep,
    verdicts,
    workloads,
)
from scenarios.world import Observed, Scenario, World

ALL: list[Scenario] = [
    *verdicts.SCENARIOS,
    *scanning.SCENARIOS,
    *sweep.SCENARIOS,
    *backlog.SCENARIOS,
    *blocking.SCENARIOS,
    *kinds.SCENARIOS,
    *delivery.SCENARIOS,
    *methods.SCENARIOS,
    *repositories.SCENARIOS,
    *replication.SCENARIOS,
    *permissions.SCENARIOS,
    *alerts.SCENARIOS,
    *workloads.SCENARIOS,
    *gate.SCENARIOS,
]

__all__ = ["ALL", "Observed", "Scenario", "World"]
