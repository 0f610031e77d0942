"""Starts the emulators as child processes and ends them again: only what was started here, and all of it.

Each child leads a process group of its own. An emulator's grandchildren (Lambda runtimes that outlive it) are in that group,
so that ending the group by the id of its leader ends them too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")


class TimedOut(Exception):
    """A condition did not come true in time."""


def wait_for(what: str, condition: Callable[[], Value], seconds: float = 20.0, every: float = 0.05) -> Value:
    """Asks until the answer is true, and gives it back; ``TimedOut`` says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimedOut(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(
    command: list[str], environment: dict[str, str], log: Path, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process in a group of its own; what it says goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_it_answers(
    name: str, url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 30.0
) -> None:
    """Waits for a server; says what it printed if it ends instead."""

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    wait_for(f"{name} answers on {url}", answers, seconds)


def stop_group(leader: int, process: subprocess.Popen[Any] | None = None, grace: float = 5.0) -> None:
    """Ends a process group: first kindly its leader, then whatever is left of the group. Raises if anything survives."""
    _signal(lambda: os.kill(leader, signal.SIGTERM))
    with suppress(TimedOut):
        wait_for("the leader ends", lambda: _gone(leader, process), grace)
    _signal(lambda: os.killpg(leader, signal.SIGKILL))
    if process is not None:
        process.wait()
    wait_for(f"process group {leader} ends", lambda: not group_members(leader), grace)


def group_members(leader: int) -> list[int]:
    """The living processes of a group."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        return [leader]
    proc = Path("/proc")
    if not proc.is_dir():
        return [leader]
    members = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        state, group = fields[0], int(fields[2])
        if group == leader and state not in "ZX":
            members.append(int(entry.name))
    return members


def began(leader: int) -> int | None:
    """When a process began, in ticks since the machine did (proc(5), ``starttime``): with its id, that identifies it."""
    try:
        return int(Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _gone(leader: int, process: subprocess.Popen[Any] | None) -> bool:
    if process is not None:
        return process.poll() is not None
    return leader not in group_members(leader)


def _signal(send: Callable[[], None]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send()
