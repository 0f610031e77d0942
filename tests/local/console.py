"""The output of the commands of the local run: steps, scenarios, tables, and a line with the present action."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterable
from typing import Any

from scenarios.world import Observed, Scenario, World, run

WIDTH = 120
COLOURS = {"red": 31, "green": 32, "yellow": 33, "grey": 90}


def show(number: int, total: int, scenario: Scenario, world: World) -> dict[str, Any]:
    """Runs one scenario and prints it."""
    started = time.monotonic()
    entry = outcome(scenario, run(scenario, world), time.monotonic() - started)
    print_scenario(f"{number:2}/{total}", entry)
    return entry


def outcome(scenario: Scenario, observed: Observed, seconds: float) -> dict[str, Any]:
    """A scenario for the report."""
    return {
        "name": scenario.name,
        "expected": scenario.expected,
        "observed": observed.text,
        "ok": observed.ok,
        "took_ms": round(seconds * 1000),
    }


def print_scenario(number: str, entry: dict[str, Any]) -> None:
    """Prints how a scenario went."""
    verdict = "ok" if entry["ok"] else "NOT OK"
    print(f"[{number}] {verdict:6} {entry['name']}  ({entry['took_ms']} ms)")
    print(f"        expected  {entry['expected']}")
    print(textwrap.fill(entry["observed"], WIDTH, initial_indent="        observed  ", subsequent_indent=" " * 18), flush=True)


class step:
    """Prints one step and how long it took."""

    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        self.started = time.monotonic()
        print(f"{self.what} … ", end="", flush=True)

    def __exit__(self, kind: Any, *_: Any) -> None:
        print("failed" if kind else f"{time.monotonic() - self.started:.1f} s", flush=True)


def coloured(text: str, colour: str) -> str:
    """A text in a colour, on a terminal that shows colours (https://no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def heading(text: str) -> None:
    """Prints a heading."""
    print(f"\n{text}\n{'─' * len(text)}")


def print_table(rows: Iterable[list[str]]) -> None:
    """Aligns and prints."""
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
