"""Prints the figures of docs/performance.md as they are measured now.

    tests/bench/bench.py              the table, next to the peer in Python, the bare program and the last figures
    tests/bench/bench.py --check      only whether on-scan keeps its budget (tests/bench/budget.json)
    tests/bench/bench.py --update     the table, and what is measured becomes the last figures

Functions are those of `make package-host`. Instructions, calls, connections and bytes repeat; they have budgets. A time is modelled from them, and none is
measured.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "infra"), str(ROOT / "tests" / "local")]

import measure  # noqa: E402
import packages  # noqa: E402
import size  # noqa: E402
import stub  # noqa: E402

FOLDER = ROOT / "target" / "bench"
HOST = ROOT / "target" / "lambda" / "host"
BUDGET = Path(__file__).with_name("budget.json")
LAST = Path(__file__).with_name("last.json")
ROOTS = ROOT / "shared" / "aws" / "src" / "http" / "roots"
# The same build needs this share more or less of instructions and memory from one run to the next.
TOLERANCE = 0.02
# The model of a time: a call to AWS, the share of a processor of a function with 256 MB (of 1,769 MB for a whole one), and the instructions of a
# whole one in a millisecond (1.34 M took 0.41 ms of a Zen 4 core).
CALL_MS, SHARE, PER_MS = 10, 256 / 1769, 3.3


def pem(certificate: bytes) -> str:
    """A certificate as text."""
    text = base64.encodebytes(certificate).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


class Bench:
    """Programs, and what they are measured with."""

    def __init__(self) -> None:
        authority, self.server = stub.certificates(FOLDER)
        # A server of this machine cannot have a certificate of Amazon. So the authorities come from a file, which has Amazon's five, as a function has, and
        # the one of the server.
        self.authorities = FOLDER / "authorities.pem"
        self.authorities.write_text(authority.read_text() + "".join(pem(path.read_bytes()) for path in sorted(ROOTS.glob("*.der"))))
        # Each program reads what `on-scan`, the first one, has recorded.
        self.rows: dict[str, Any] = {}

    def figures(self, program: list[str]) -> measure.Figures:
        """The figures of a program."""
        return measure.figures(program, server=self.server, authorities=self.authorities, folder=FOLDER, rows=self.rows)

    def packaged(self, function: str) -> measure.Figures:
        """The figures of a function that is built."""
        package = HOST / function / "bootstrap.zip"
        if not package.is_file():
            raise measure.CannotMeasure(f"{function} is not built: make package-host")
        program = FOLDER / function
        program.write_bytes(packages.program(package))
        program.chmod(0o755)
        return self.figures([str(program)])


def round_trips(event: str, situation: str) -> tuple[int, int] | None:
    """Round trips and calls of an event, from docs/call-budget.md, which a test holds."""
    for line in (ROOT / "docs" / "call-budget.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[:2] == [event, situation]:
            return int(cells[2]), int(cells[3])
    return None


def modelled(figures: measure.Figures, trips: int, calls: int) -> float:
    """The milliseconds from an event to the end of its calls, in a function of 256 MB."""
    return trips * CALL_MS + calls * figures.warm / figures.calls_warm / PER_MS / SHARE


def budgeted(figures: measure.Figures) -> dict[str, float]:
    """The figures that have a budget."""
    return {
        "start_and_first_minstr": round(figures.start_and_first, 2),
        "warm_minstr": round(figures.warm, 3),
        "peak_mb": round(figures.peak_mb, 1),
        "calls_first": figures.calls_first,
        "calls_warm": figures.calls_warm,
        "connections_of_first": figures.connections_first - figures.connections_start,
    }


def check(bench: Bench) -> int:
    """Compares on-scan with its budget; gives the exit code."""
    if platform.machine() != "x86_64":
        print("NOT CHECKED: the budget of instructions is that of x86_64")
        return 0
    try:
        found = budgeted(bench.packaged("on-scan"))
    except measure.NoCounter as why:
        print(f"NOT CHECKED: {why}")
        return 0
    except measure.CannotMeasure as why:
        print(why, file=sys.stderr)
        return 2
    budget: dict[str, float] = json.loads(BUDGET.read_text())
    failed = False
    for name, limit in budget.items():
        over = found[name] > limit * (1 + TOLERANCE)
        failed = failed or over
        print(f"{name:<24} {found[name]:>9} budget {limit:>9}{'  over budget' if over else ''}")
    return 1 if failed else 0


def table(bench: Bench, *, update: bool) -> int:
    """Prints the table."""
    programs: dict[str, measure.Figures | str] = {}
    peer = [sys.executable, "-B", str(Path(__file__).with_name("peer.py"))]
    runs: dict[str, Callable[[], measure.Figures]] = {
        "on-scan": lambda: bench.packaged("on-scan"),
        "bare SDK": lambda: bench.packaged("bare"),
        "boto3": lambda: bench.figures(peer),
    }
    for name, run in runs.items():
        try:
            programs[name] = run()
        except measure.CannotMeasure as why:
            programs[name] = str(why)
    last: dict[str, dict[str, float]] = json.loads(LAST.read_text()) if LAST.is_file() else {}
    rows = {
        "start, M instructions": "start",
        "start and first event": "start_and_first",
        "first event": "first",
        "warm event": "warm",
        "peak memory, MB": "peak_mb",
        "calls of a warm event": "calls_warm",
        "connections of the start": "connections_start",
        "connections, first event too": "connections_first",
    }
    print(f"{'':<30}" + "".join(f"{name:>12}" for name in (*programs, "last")))
    values: dict[str, float] = {}
    for row, attribute in rows.items():
        cells = [round(getattr(figures, attribute), 2) if not isinstance(figures, str) else "-" for figures in programs.values()]
        print(f"{row:<30}" + "".join(f"{cell!s:>12}" for cell in [*cells, last.get("on-scan", {}).get(attribute, "-")]))
        if isinstance(cells[0], int | float):
            values[attribute] = cells[0]
    for name, figures in programs.items():
        if isinstance(figures, str):
            print(f"NOT MEASURED: {name}: {figures}")
    ours, least = programs["on-scan"], programs["bare SDK"]
    if not isinstance(ours, str) and not isinstance(least, str):
        if ours.asked != least.asked:
            print("on-scan and the bare program do not send the same requests:", *(set(ours.asked) ^ set(least.asked)), sep="\n  ")
            return 1
        print(
            f"next to the bare program: start and first event {ours.start_and_first / least.start_and_first:.2f}, warm event {ours.warm / least.warm:.2f}"
        )
    zips: dict[str, float] = {}
    print(f"\n{'zip, KiB':<30}{'now':>12}{'last':>12}")
    for function in sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir()):
        found = size.sizes(function)
        if found is not None:
            zips[function] = round(found[1] / 1024)
        print(f"{function:<30}{zips.get(function, '-')!s:>12}{last.get('zip_kib', {}).get(function, '-')!s:>12}")
    if not isinstance(ours, str):
        blocking = round_trips(*BLOCKING)
        if blocking is not None:
            warm = modelled(ours, *blocking)
            # A first alert opens a connection to the topic: TCP and TLS 1.3 take two round trips.
            first = warm + 2 * CALL_MS + HANDSHAKE / PER_MS / SHARE
            print(
                f"\nevent to block, modelled at {CALL_MS} ms a call, 256 MB: {warm:.0f} ms warm, {first:.0f} ms first ({blocking[0]} round trips, {blocking[1]} calls)"
            )
    if update and values and zips:
        LAST.write_text(json.dumps({"on-scan": values, "zip_kib": zips}, indent=2) + "\n")
    return 0


# The row of docs/call-budget.md whose time is modelled, and a handshake's instructions in millions (shared TLS stack, RSA of 2048 bits).
BLOCKING = ("scan ended", "CRITICAL: archived")
HANDSHAKE = 2.5


def main() -> int:
    """Measures."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only the budget of on-scan")
    parser.add_argument("--update", action="store_true", help="write what is measured as the last figures")
    options = parser.parse_args()
    bench = Bench()
    return check(bench) if options.check else table(bench, update=options.update)


if __name__ == "__main__":
    sys.exit(main())
