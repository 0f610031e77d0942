"""All scenarios: the real functions against an emulated AWS account, from the push to the e-mail.

They run in groups, in several accounts side by side, on loopback. Everything ends with the run, unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import runs
import scenarios
from console import coloured, heading, outcome, print_scenario, print_table
from local_aws.processes import wait_for
from names import Unknown, chosen
from progress import Status, about
from report import Report, alerts_of, images_of
from scenarios.world import Group, Scenario, World, run
from stack import FUNCTIONS, ROOT, Stack

LANES = 2
# Seconds of scenarios for which another account is started.
WORTH_A_LANE = 15
DIRECTORY = ROOT / "target" / "e2e"
NOT_RUN = "not run"
PACKAGES = ROOT / "target" / "lambda" / "host"


def main() -> int:
    """Runs the scenarios; 0 if all of them are as expected."""
    options = arguments()
    groups = [*scenarios.GROUPS, scenarios.LAST]
    if options.list:
        print_list(groups)
        return 0
    try:
        wanted = chosen(options.only, groups)
    except Unknown as why:
        print(why, file=sys.stderr)
        return 2
    if options.check:
        return check(options.directory)
    if missing := not_built(options.lambda_directory):
        print(missing, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupted)
    try:
        if options.lane:
            return lane(options, [one.name for one in wanted])
        with runs.Run(options.directory, f"make e2e{' ONLY=…' if options.only else ''}{' KEEP=1' if options.keep else ''}") as this:
            return whole(this, options, wanted)
    except runs.InUse as why:
        print(why, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def check(directory: Path) -> int:
    """Whether a run could begin: nobody waits for a build to hear that it cannot."""
    if runs.is_free(directory):
        return 0
    print(runs.in_use(directory), file=sys.stderr)
    return 2


def interrupted(*_: Any) -> NoReturn:
    """Ends the run in good order, once: a second signal does not disturb that.

    No ordinary exception: botocore takes those for a connection that failed, and tries again.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


# The whole: shares out, prints, reports.


class Lane:
    """A process of its own, with an account of its own, that runs scenarios one after the other."""

    def __init__(self, number: int, names: list[str], options: argparse.Namespace):
        self.names = deque(names)
        self.directory = options.directory / str(number)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.log = self.directory / "lane.log"
        self.ready = threading.Event()
        self.results: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {"alerts": [], "images": []}
        # The process groups that it has started, and how its account is asked.
        self.processes: list[int] = []
        self.environment: dict[str, str] = {}
        # The variable with the order of all lists (`ECR_GUARD_ORDER`).
        self.order = 0
        command = [sys.executable, "-B", str(Path(__file__)), "--lane", "--directory", str(self.directory)]
        command += ["--lambda-directory", str(options.lambda_directory), *(["--keep"] if options.keep else []), "--only", *names]
        with self.log.open("wb") as log:
            # Ctrl-C is for the whole, which ends its lanes.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True)

    def messages(self) -> Iterator[dict[str, Any]]:
        """The output, word for word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if "name" in message:
                self.results.append(message)
                if message["name"] in self.names:
                    self.names.remove(message["name"])
            self.found |= {name: message[name] for name in self.found if name in message}
            yield message
        self.process.wait()
        self.ready.set()

    def end(self) -> None:
        """Lets it end all that it has started, and waits for it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


class Board:
    """The progress of the groups, as it is seen on the screen. Several threads write to it."""

    def __init__(self, groups: list[Group], wanted: list[Scenario], lanes: int, in_full: bool):
        names = {one.name for one in wanted}
        self.groups = {group.name: [one.name for one in group.scenarios if one.name in names] for group in groups}
        # Those of the last group run in each account.
        self.left = {name: len(members) * (lanes if name == scenarios.LAST.name else 1) for name, members in self.groups.items()}
        self.of = {one: name for name, members in self.groups.items() for one in members}
        self.about = {group.name: group.about for group in groups}
        self.total, self.done, self.began = sum(self.left.values()), 0, time.monotonic()
        self.results: dict[str, list[dict[str, Any]]] = {name: [] for name in self.groups}
        self.in_full = in_full
        self.status, self.lock = Status(), threading.Lock()

    def add(self, result: dict[str, Any]) -> None:
        """A scenario has ended."""
        with self.lock:
            group = self.of[result["name"]]
            self.results[group].append(result)
            self.left[group] -= 1
            self.done += 1
            self.status.clear()
            if self.in_full or not result["ok"]:
                print_scenario(f"{self.done:2}/{self.total}", result)
            elif not_checked(result):
                print(f"{result['observed']}: {result['name']}", flush=True)
            if self.left[group] == 0:
                self.print_group(group)
            took = time.monotonic() - self.began
            self.status.say(f"{self.done} of {self.total} done, about {about(took / self.done * (self.total - self.done))} more")

    def print_group(self, group: str) -> None:
        """The line of a group that has ended."""
        results = self.results[group]
        good = sum(result["ok"] for result in results)
        word = coloured("ok    ", "green") if good == len(results) else coloured("NOT OK", "red")
        seconds = sum(result["took_ms"] for result in results) / 1000
        print(f"{word}  {group:<12}  {good:>3} of {len(results):<3}  {seconds:5.1f} s  {self.about[group]}", flush=True)


def whole(this: runs.Run, options: argparse.Namespace, wanted: list[Scenario]) -> int:
    """Starts the lanes, prints what they say, and writes the report."""
    few = bool(options.only)
    report = Report(options.directory / ("report-only.json" if few else "report.json"), "make e2e" + (f" ONLY={' '.join(options.only)}" if few else ""))
    shares = share([*scenarios.GROUPS, scenarios.LAST], wanted, 1 if options.keep else options.jobs)
    board = Board([*scenarios.GROUPS, scenarios.LAST], wanted, len(shares), few)
    sides = "in one account" if len(shares) == 1 else f"in {len(shares)} accounts side by side"
    print(f"{len(wanted)} scenario{'s' * (len(wanted) > 1)}, {sides}; logs: {shown(options.directory)}", flush=True)
    lanes: list[Lane] = []
    threads: list[threading.Thread] = []
    complete = False
    try:
        for position, names in enumerate(shares, 1):
            lanes.append(one := Lane(position, names, options))
            threads.append(thread := threading.Thread(target=follow, args=(one, board), daemon=True))
            thread.start()
            # One after the other, so that no two pick the same free port.
            this.started([process for lane in lanes for process in (lane.process.pid, *lane.processes)])
            wait_for("an account is ready", one.ready.is_set, 120)
            this.started([process for lane in lanes for process in (lane.process.pid, *lane.processes)])
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.1)
        complete = all(lane.process.returncode == 0 for lane in lanes)
    finally:
        board.status.clear()
        for lane in lanes:
            lane.end()
        for thread in threads:
            thread.join(10)
        results = merged(lanes)
        found: dict[str, list[Any]] = {name: [entry for lane in lanes for entry in lane.found[name]] for name in ("images", "alerts")}
        report.end(complete, groups=summary(board), orders=[lane.order for lane in lanes], scenarios=results, **found)
        if not complete:
            print(f"The run did not end by itself. What it has seen so far is in {shown(report.path)}, marked as not complete.", file=sys.stderr)
    if few and complete:
        print_found(found)
    if complete and options.keep:
        this.note(environment=lanes[0].environment)
        until = this.keep()
        print(f'\nThe account is still up. Ask it after: eval "$(make -s demo-env)"\nEnd it: make demo-stop (it ends by itself at {until.astimezone():%H:%M})')
    return closing(lanes, results, report, time.monotonic() - board.began)


def follow(lane: Lane, board: Board) -> None:
    """Prints what a lane says."""
    for message in lane.messages():
        if "name" in message:
            board.add(message)
        elif message.get("ready"):
            lane.processes, lane.environment, lane.order = message["processes"], message["environment"], message["order"]
            lane.ready.set()


def share(groups: list[Group], wanted: list[Scenario], number: int) -> list[list[str]]:
    """Shares out the scenarios: whole groups, the long ones first, each to the lane that has least to do; the last group is for all."""
    names = {one.name for one in wanted}
    members = {group.name: [one.name for one in group.scenarios if one.name in names] for group in groups}
    last = members.pop(scenarios.LAST.name, [])
    seconds = {group.name: group.seconds * len(members[group.name]) / len(group.scenarios) for group in groups if group.name in members}
    # An account of its own pays for a lane that has something to do.
    number = min(number, 1 + int(sum(seconds.values()) // WORTH_A_LANE))
    lanes: list[set[str]] = [set() for _ in range(number)]
    for name in sorted((name for name in members if members[name]), key=lambda name: (-seconds[name], name)):
        min(lanes, key=lambda lane: sum(seconds[one] for one in lane)).add(name)
    shares = [[one for name in members if name in lane for one in members[name]] for lane in lanes if lane]
    return [[*share, *last] for share in shares] or [last]


def merged(lanes: list[Lane]) -> list[dict[str, Any]]:
    """The results of all lanes, in the order in which scenarios are listed; what has not run is not ok."""
    order = {one.name: position for position, one in enumerate(scenarios.ALL)}
    results = [result | {"lane": number} for number, lane in enumerate(lanes, 1) for result in lane.results]
    for number, lane in enumerate(lanes, 1):
        results += [{"name": name, "observed": NOT_RUN, "ok": False, "took_ms": 0, "lane": number} for name in lane.names]
    return sorted(results, key=lambda result: (order[result["name"]], result["lane"]))


def summary(board: Board) -> list[dict[str, Any]]:
    """The groups for the report."""
    return [
        {"name": name, "ok": sum(one["ok"] for one in results), "of": len(results) + board.left[name], "took_ms": sum(one["took_ms"] for one in results)}
        for name, results in board.results.items()
        if board.groups[name]
    ]


def closing(lanes: list[Lane], results: list[dict[str, Any]], report: Report, seconds: float) -> int:
    """Says how it went and where to read more."""
    bad = [result for result in results if not result["ok"] and result["observed"] != NOT_RUN]
    failed = list(dict.fromkeys(result["name"] for result in bad))
    broken = [lane for lane in lanes if lane.process.returncode not in (0, None)]
    for lane in broken:
        print(f"A lane ended with {lane.process.returncode}: {shown(lane.log)}\n{textwrap.indent(lane.log.read_text(errors='replace')[-2000:], '  ')}")
    good = sum(result["ok"] and not not_checked(result) for result in results)
    others = {"not checked": sum(map(not_checked, results)), "not run": sum(result["observed"] == NOT_RUN for result in results)}
    more = "".join(f", {number} {what}" for what, number in others.items() if number)
    print(f"\n{good} of {len(results)} as expected{more}, {seconds:.0f} s. Report: {shown(report.path)}")
    if failed:
        print(f"Not as expected: {', '.join(failed[:20])}{' and others' if len(failed) > 20 else ''}")
        for number, one in enumerate(lanes, 1):
            if again := [result["name"] for result in bad if result["lane"] == number]:
                print(f"Again, with lists in the same order: ECR_GUARD_ORDER={one.order} make e2e ONLY=\"{' '.join(again[:5])}\"")
    return 1 if failed or broken or others["not run"] else 0


def not_checked(result: dict[str, Any]) -> bool:
    """Whether a scenario could not be run here, and says so."""
    return bool(result["ok"]) and str(result["observed"]).startswith("NOT CHECKED")


def print_found(found: dict[str, list[Any]]) -> None:
    """The images, and the first mail of each kind."""
    heading("Images, as the ledger has them")
    rows = [
        [
            one["region"],
            one["repository"],
            one["tag"] or "-",
            one["digest"].partition(":")[2][:12],
            one["state"],
            textwrap.shorten(one["reason"], 60, placeholder="…"),
            ", ".join(filter(None, (one["blocked_by"], one["last_alert"] and f"alert {one['last_alert']}"))) or "-",
        ]
        for one in found["images"]
    ]
    print_table([["REGION", "REPOSITORY", "TAG", "DIGEST", "STATE", "WHY", "ACTION"], *rows])
    heading("Alerts, as e-mail subscribers receive them (one of each kind)")
    seen: set[str] = set()
    for alert in found["alerts"]:
        if alert["document"]["kind"] not in seen:
            seen.add(alert["document"]["kind"])
            print(f"Topic:   {alert['topic']}\nSubject: {alert['subject']}\n\n{textwrap.indent(alert['email'].rstrip(), '    ')}\n")


def print_list(groups: list[Group]) -> None:
    """The scenarios, by group."""
    for group in groups:
        print(f"{group.name}: {group.about}")
        for one in group.scenarios:
            print(f"  {one.name:40} {one.expected}")


def not_built(directory: Path) -> str:
    """A sentence about functions that are not built; nothing if all are."""
    missing = [name for name in FUNCTIONS if not (directory / name / "bootstrap.zip").is_file()]
    return f"Not built: {', '.join(missing)} (in {shown(directory)}). `make package-host` builds them." if missing else ""


def shown(path: Path) -> str:
    """A path as it is seen from the repository."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


# A lane: runs, and says in lines of JSON how it went.


def lane(options: argparse.Namespace, names: list[str]) -> int:
    """Runs scenarios in an account of its own."""
    stack = Stack(options.directory, options.lambda_directory)
    say = sys.stdout
    kept = False
    try:
        stack.start()
        stack.create_resources()
        ready = {"ready": True, "order": stack.registry.order, "processes": stack.process_ids(), "environment": stack.account.environment()}
        print(json.dumps(ready), file=say, flush=True)
        world = World(stack)
        world.guard()
        for scenario in scenarios.ALL:
            if scenario.name not in names:
                continue
            started = time.monotonic()
            observed = run(scenario, world)
            if not observed.ok and (gone := stack.account.gone()):
                print(f"gone: {', '.join(gone)}. Nothing that runs from here on would mean anything.", file=sys.stderr)
                return 1
            print(json.dumps(outcome(scenario, observed, time.monotonic() - started)), file=say, flush=True)
        images, mails = images_of(stack.regions(), world.all_pushed()), [mail for region in stack.regions() for mail in region.mails()]
        print(json.dumps({"images": images, "alerts": alerts_of(mails)}), file=say, flush=True)
        stack.save_function_logs()
        kept = bool(options.keep)
        return 0
    finally:
        if not kept:
            stack.stop()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="e2e", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the account up, and say how to ask it")
    parser.add_argument("--list", action="store_true", help="list the scenarios, by group")
    parser.add_argument(
        "--only", action="extend", nargs="+", default=[], metavar="NAME", help="run these: scenarios, groups, or patterns such as 'role-of-*'"
    )
    parser.add_argument("--jobs", type=int, default=max(1, min(LANES, os.cpu_count() or 1)), help="accounts side by side (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="for report, logs and policies")
    parser.add_argument("--lambda-directory", type=Path, default=PACKAGES, help="the built functions")
    parser.add_argument("--check", action="store_true", help="only check the names, and that no other run is in progress")
    parser.add_argument("--lane", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.directory, options.lambda_directory = options.directory.absolute(), options.lambda_directory.absolute()
    options.directory.mkdir(parents=True, exist_ok=True)
    if options.jobs < 1:
        parser.error("--jobs is at least 1")
    return options


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
