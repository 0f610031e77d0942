"""Measures a function: instructions, memory, connections and calls of its start, its first event and later ones.

Instructions are those of the process itself, counted by valgrind's cachegrind: they repeat within a percent, on a busy machine too. Times do not, and
none is measured.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stub import POLICY_SHA256, REGION, Aws, Lambda

# Events after the first whose mean is that of a warm event.
WARM = 10


class CannotMeasure(Exception):
    """Why there is no figure, in a sentence."""


class NoCounter(CannotMeasure):
    """The tool that counts instructions is not there."""


@dataclass
class Run:
    """A function from its start until it waits for the next event."""

    instructions: int | None
    peak_kib: int
    connections: dict[str, int]
    asked: dict[str, list[str]]
    answers: list[tuple[str, bytes]]


@dataclass
class Figures:
    """The figures of a program. Instructions are in millions. `asked`: the requests of a warm event, in the order of their texts."""

    start: float
    first: float
    warm: float
    peak_mb: float
    calls_first: int
    calls_warm: int
    connections_start: int
    connections_first: int
    asked: list[str] = field(default_factory=list)

    @property
    def start_and_first(self) -> float:
        """Instructions until the first event is answered."""
        return self.start + self.first


def run(program: list[str], events: int, *, rows: dict[str, Any], server: Path, authorities: Path, count: bool, log: Path) -> Run:
    """Has a program answer a number of events. `rows` are those of the ledger, before and after."""
    aws, given = Aws(server, rows), Lambda(events)
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{given.service.port}",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_SESSION_TOKEN": "bench" * 150,
        "ECR_GUARD_POLICY": f"sha256:{POLICY_SHA256}",
        "ECR_GUARD_TABLE": "ledger",
        "ECR_GUARD_QUEUE_URL": "https://localhost/queue",
        "SSL_CERT_FILE": str(authorities),
        "AWS_CA_BUNDLE": str(authorities),
        **aws.variables(),
    }
    if count:
        program = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", f"--log-file={log}", *program]
    process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not given.idle.wait(0.05):
            if process.poll() is not None:
                said = process.stdout.read() if process.stdout else ""
                raise CannotMeasure(f"{program[-1]} has ended with {process.returncode}: {said[-2000:]}")
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        aws.close()
    counted = re.search(r"I\s+refs:\s+([\d,]+)", log.read_text()) if count else None
    return Run(
        instructions=int(counted[1].replace(",", "")) if counted else None,
        peak_kib=peak,
        connections={name: service.counts.connections for name, service in aws.services.items()},
        asked={name: service.counts.asked for name, service in aws.services.items()},
        answers=given.answers,
    )


def figures(program: list[str], *, server: Path, authorities: Path, folder: Path, rows: dict[str, Any]) -> Figures:
    """The figures of a program. `rows`: those of the ledger, before and after."""
    if shutil.which("valgrind") is None:
        raise NoCounter("valgrind is not installed, and it counts the instructions")
    log = folder / "valgrind.log"

    def measured(events: int, *, count: bool) -> Run:
        return run(program, events, rows=rows, server=server, authorities=authorities, count=count, log=log)

    # The image becomes known: what is measured is an event that changes nothing.
    measured(1, count=False)
    start, first, warm = (measured(events, count=True) for events in (0, 1, 1 + WARM))
    plain = measured(1 + WARM, count=False)
    for done, events in ((first, 1), (warm, 1 + WARM), (plain, 1 + WARM)):
        failed = [body for kind, body in done.answers if kind != "response"]
        if failed or len(done.answers) != events:
            raise CannotMeasure(f"an event has failed: {failed[:1]}")
    assert start.instructions and first.instructions and warm.instructions

    def last(service: str) -> list[str]:
        """The requests to a service in the last event."""
        number = (len(warm.asked[service]) - len(first.asked[service])) // WARM
        return warm.asked[service][len(warm.asked[service]) - number :]

    def total(of: dict[str, list[str]]) -> int:
        return sum(map(len, of.values()))

    return Figures(
        start=start.instructions / 1e6,
        first=(first.instructions - start.instructions) / 1e6,
        warm=(warm.instructions - first.instructions) / WARM / 1e6,
        peak_mb=plain.peak_kib * 1024 / 1e6,
        calls_first=total(first.asked) - total(start.asked),
        calls_warm=(total(warm.asked) - total(first.asked)) // WARM,
        connections_start=sum(start.connections.values()),
        connections_first=sum(first.connections.values()),
        asked=sorted(text for service in warm.asked for text in last(service)),
    )
