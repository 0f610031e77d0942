"""The scenarios of `make e2e`, one function per scenario, in groups."""

from __future__ import annotations

from scenarios import (
    alerts,
    backlog,
    blocking,
    cli,
    delivery,
    gate,
    kinds,
    methods,
    permissions,
    release,
    replication,
    repositories,
    scanning,
    sweep,
    verdicts,
    workloads,
)
from scenarios.world import Group, Observed, Scenario, World

GROUPS: list[Group] = [
    Group("verdicts", "from findings to a state", verdicts.SCENARIOS, 2),
    Group("scanning", "results that are late, missing, or of another scanner", scanning.SCENARIOS, 5),
    Group("sweep", "what no event has shown; the queue of the workers", sweep.SCENARIOS, 30),
    Group("backlog", "a first sweep, many alerts, a slow registry", backlog.SCENARIOS, 8),
    Group("blocking", "blocked, held, released; indexes", blocking.SCENARIOS, 12),
    Group("kinds", "artifacts that are no images", kinds.SCENARIOS, 2),
    Group("delivery", "events that come twice, late, out of order, or broken", delivery.SCENARIOS, 4),
    Group("methods", "the other ways to block; report mode", methods.SCENARIOS, 4),
    Group("repositories", "settings, tags, lifecycle policies, keys", repositories.SCENARIOS, 15),
    Group("replication", "copies in the second region", replication.SCENARIOS, 11),
    Group("permissions", "the roles: what each job needs, and nothing else", permissions.SCENARIOS, 28),
    Group("workloads", "images that ECS and Lambda use", workloads.SCENARIOS, 13),
    Group("cli", "the command line: explain, simulate, gate, snapshots", cli.SCENARIOS, 8),
    Group("release", "images that people release for some hours", release.SCENARIOS, 12),
    Group("gate", "pipelines and deployments that ask first", gate.SCENARIOS, 20),
]
# About the alerts of all scenarios before: they run at the end in each account.
LAST = Group("alerts", "what subscribers received", alerts.SCENARIOS, 1)

ALL: list[Scenario] = [scenario for group in (*GROUPS, LAST) for scenario in group.scenarios]

__all__ = ["ALL", "GROUPS", "LAST", "Group", "Observed", "Scenario", "World"]
