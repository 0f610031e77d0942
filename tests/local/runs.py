"""Runs that do not harm each other: one at a time in a directory, and nothing is ended but what a run of that directory has started.

A run holds a lock for as long as it lives, and ``running.json`` says who it is. The emulators of a kept run are left to a keeper, a process that
holds the lock, and ends them after two hours or when it is asked to.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from local_aws.processes import TimedOut, began, group_members, stop_group, wait_for

KEPT_SECONDS = 2 * 60 * 60
# They outlive this process.
_KEEPERS: list[subprocess.Popen[bytes]] = []


class InUse(Exception):
    """Another run is in progress, or is kept."""


class Run:
    """A run in a directory. As a context, it has the directory for itself, and ends what an earlier run could not end."""

    def __init__(self, directory: Path, what: str):
        self.directory, self.what = directory, what
        self.path = directory / "running.json"
        self.state: dict[str, Any] = {}
        self.kept = False
        self._lock: int | None = None

    def __enter__(self) -> Run:
        self._lock = lock(self.directory)
        if self._lock is None:
            raise InUse(in_use(self.directory))
        end_left_over(self.directory)
        self.state = {"pid": os.getpid(), "began": began(os.getpid()), "what": self.what, "since": now(), "kept": False, "processes": []}
        self.note()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        if not self.kept:
            self.path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def started(self, leaders: list[int]) -> None:
        """Writes down the process groups that this run has started."""
        self.note(processes=[{"pid": leader, "began": began(leader)} for leader in leaders])

    def note(self, **more: Any) -> None:
        """Writes down what others may have to know of this run."""
        self.state |= more
        write(self.path, self.state)

    def keep(self, seconds: float = KEPT_SECONDS) -> datetime:
        """Leaves what was started to a keeper, and says when that ends it."""
        assert self._lock is not None, "it does not run"
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        command = [sys.executable, "-B", str(Path(__file__)), "--keep", str(self.directory), "--lock", str(self._lock), "--seconds", str(seconds)]
        keeper = subprocess.Popen(
            command, pass_fds=(self._lock,), start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # Before it says so, a signal would end it alone.
        assert keeper.stdout is not None
        if not keeper.stdout.readline():
            raise RuntimeError(f"the keeper has ended with {keeper.wait()}")
        keeper.stdout.close()
        _KEEPERS.append(keeper)
        self.note(pid=keeper.pid, began=began(keeper.pid), kept=True, until=until.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.kept = True
        return until


def lock(directory: Path) -> int | None:
    """Takes the lock of a directory; None if somebody has it. It is free again when its last holder has ended, however that ends."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def state_of(directory: Path) -> dict[str, Any]:
    """The record of the run of a directory; none if there is none."""
    try:
        found = json.loads((directory / "running.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def kept(directory: Path) -> dict[str, Any]:
    """The state of the kept run of a directory; nothing if none is up."""
    handle = lock(directory)
    if handle is not None:
        os.close(handle)
        return {}
    state = state_of(directory)
    return state if state.get("kept") else {}


def in_use(directory: Path) -> str:
    """The sentence for somebody who has to wait."""
    state = state_of(directory)
    what, since, process = state.get("what", "a run"), clock(state.get("since", "")), state.get("pid", "?")
    if state.get("kept"):
        return f"`{what}` left a run here at {since} (process {process}). End it with `make demo-stop`."
    return f"`{what}` runs here since {since} (process {process}). Wait for it, or end it with `make demo-stop`."


def stop(directory: Path) -> list[str]:
    """Ends the run of a directory, and says what it did."""
    handle = lock(directory)
    if handle is not None:
        try:
            return end_left_over(directory)
        finally:
            os.close(handle)
    state = state_of(directory)
    if state.get("began") is None or began(state["pid"]) != state["began"]:
        return [f"A run holds {directory}, and does not say who it is."]
    os.kill(state["pid"], signal.SIGTERM)
    try:
        wait_for("it ends", lambda: is_free(directory), 30)
    except TimedOut:
        return [f"Process {state['pid']} (`{state.get('what')}`) has not ended within 30 seconds."]
    return [f"Ended `{state.get('what')}` of {clock(state.get('since', ''))} (process {state['pid']}) and all that it started."]


def is_free(directory: Path) -> bool:
    """Whether nobody holds the lock of a directory."""
    handle = lock(directory)
    if handle is None:
        return False
    os.close(handle)
    return True


def end_left_over(directory: Path) -> list[str]:
    """Ends the process groups of a run that was killed before it could do so. A process id that is another's by now is left alone."""
    said = []
    for process in state_of(directory).get("processes", []):
        leader = process["pid"]
        if group_members(leader) and process["began"] is not None and began(leader) == process["began"]:
            stop_group(leader)
            said.append(f"Ended process group {leader}, which an earlier run had left.")
    (directory / "running.json").unlink(missing_ok=True)
    return said


def write(path: Path, document: Any) -> None:
    """Writes a document so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(time_of: str) -> str:
    """The local time of day of a time that was written down."""
    try:
        return datetime.fromisoformat(time_of).astimezone().strftime("%H:%M")
    except ValueError:
        return "an unknown time"


def keep(directory: Path, seconds: float) -> None:
    """The keeper: waits, and ends what the run has started."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, over)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 5))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_left_over(directory)


def main() -> int:
    """The keeper of a kept run."""
    parser = argparse.ArgumentParser(prog="runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, metavar="DIRECTORY", help="of the run")
    parser.add_argument("--lock", type=int, required=True, help="its lock, held as long as this process lives")
    parser.add_argument("--seconds", type=float, required=True, help="after which it is ended")
    options = parser.parse_args()
    keep(options.keep, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
