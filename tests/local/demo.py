"""The local run: the real functions against an emulated AWS account, from the push to the e-mail.

Everything listens on loopback and ends with the run, unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scenarios
from local_aws.account import is_ours
from local_aws.images import Image
from local_aws.processes import group_members, stop_group
from local_aws.registry import REGION
from scenarios.world import World, run
from stack import FUNCTIONS, ROOT, TABLE, Region, Stack

WIDTH = 120
RUNNING = "running.json"


def main() -> int:
    """Runs the scenarios; 0 if all of them are as expected."""
    options = arguments()
    running = options.directory / RUNNING
    if options.list:
        for scenario in scenarios.ALL:
            print(f"{scenario.name:34} {scenario.expected}")
        return 0
    stop_earlier_run(running)
    if options.stop:
        return 0
    chosen = [scenario for scenario in scenarios.ALL if not options.only or scenario.name in options.only]
    unknown = set(options.only) - {scenario.name for scenario in chosen}
    missing = [name for name in FUNCTIONS if not (options.lambda_directory / name / "bootstrap.zip").is_file()]
    if unknown or missing:
        for name in sorted(unknown):
            print(f"there is no scenario {name}; --list shows them", file=sys.stderr)
        for name in missing:
            print(f"{options.lambda_directory / name / 'bootstrap.zip'} is not there: run `make demo`", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shutil.rmtree(options.directory / "tmp", ignore_errors=True)
    stack = Stack(options.directory, options.lambda_directory)
    keep = False
    try:
        report = demonstrate(stack, chosen, options.directory / "report.json")
        stack.save_function_logs()
        keep = options.keep
        failed = [entry["name"] for entry in report["scenarios"] if not entry["ok"]]
        closing(stack, options.directory, keep, failed)
        return 1 if failed else 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if not keep:
            stack.stop()
            running.unlink(missing_ok=True)


def demonstrate(stack: Stack, chosen: list[scenarios.Scenario], path: Path) -> dict[str, Any]:
    """Starts, deploys, runs, prints, and writes the report."""
    with step("start the emulators"):
        stack.start()
        (path.parent / RUNNING).write_text(json.dumps({"process_groups": stack.process_ids()}) + "\n")
    print(f"order of lists {stack.registry.order}   (ECR_GUARD_ORDER={stack.registry.order} gives it again)")
    with step("create ledger, topics, queues"):
        stack.create_resources()
    world = World(stack)
    with step(f"deploy {', '.join(FUNCTIONS)} with rules and queue"):
        world.guard()
    results = [show(number, len(chosen), scenario, world) for number, scenario in enumerate(chosen, 1)]
    mails = [mail for region in stack.regions() for mail in region.mails()]
    heading("Images, as the ledger has them")
    print_table(image_rows(stack.regions(), world.all_pushed()))
    heading("Alerts, as e-mail subscribers receive them (one of each kind)")
    print_mails(mails)
    report = {"scenarios": results, "alerts": [alert_entry(mail) for mail in mails]}
    path.write_text(json.dumps(report, indent=2) + "\n")
    return report


def show(number: int, total: int, scenario: scenarios.Scenario, world: World) -> dict[str, Any]:
    """Runs one scenario and prints it."""
    started = time.monotonic()
    observed = run(scenario, world)
    took = round((time.monotonic() - started) * 1000)
    verdict = "ok" if observed.ok else "NOT OK"
    print(f"[{number:2}/{total}] {verdict:6} {scenario.name}  ({took} ms)", flush=True)
    print(f"        expected  {scenario.expected}")
    print(
        textwrap.fill(observed.text, WIDTH, initial_indent="        observed  ", subsequent_indent=" " * 18), flush=True
    )
    return {
        "name": scenario.name,
        "expected": scenario.expected,
        "observed": observed.text,
        "ok": observed.ok,
        "took_ms": took,
    }


def image_rows(regions: list[Region], pushed: list[Image]) -> Iterator[list[str]]:
    """One line per image of the ledger, region by region, in the order of the pushes. A copy was pushed elsewhere."""
    rows = {
        (region.region, row["pk"].partition("#")[2], row["sk"].split("#")[1]): row
        for region in regions
        for row in region.rows()
    }
    places = dict.fromkeys((region.region, image) for region in regions for image in pushed)
    for region, image in places:
        row = rows.get((region, image.repository, image.digest))
        if row is None:
            continue
        document = row["row"]
        block, alert = document.get("block"), document.get("alert")
        done = [block["method"]] if block else []
        done += [f"alert {alert['kind']}"] if alert else []
        reason = textwrap.shorten(str(document.get("reason", "")), 36, placeholder="…")
        digest = image.digest.partition(":")[2][:12]
        yield [region, image.repository, image.tag or "-", digest, row["state"], reason, ", ".join(done) or "-"]


def print_table(rows: Iterator[list[str]]) -> None:
    """Aligns and prints."""
    table = [["REGION", "REPOSITORY", "TAG", "DIGEST", "STATE", "WHY", "ACTION"], *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_mails(mails: list[dict[str, Any]]) -> None:
    """Prints the first mail of each kind in full, the others by their subject."""
    seen: set[str] = set()
    others: list[str] = []
    for mail in mails:
        entry = alert_entry(mail)
        kind = entry["document"].get("kind", "?")
        if kind in seen:
            others.append(f"{entry['topic']}: {mail['subject']} ({entry['document'].get('repository')})")
            continue
        seen.add(kind)
        print(f"Topic:   {entry['topic']}\nSubject: {mail['subject']}\n")
        print(textwrap.indent(mail["email"].rstrip(), "    ") + "\n")
    if others:
        print("and, of the same kinds:\n" + textwrap.indent("\n".join(others), "    "))


def alert_entry(mail: dict[str, Any]) -> dict[str, Any]:
    """An alert for the report."""
    return {
        "topic": mail["topic"].rpartition(":")[2],
        "subject": mail["subject"],
        "email": mail["email"],
        "document": json.loads(mail["bodies"]["default"]),
    }


def closing(stack: Stack, directory: Path, keep: bool, failed: list[str]) -> None:
    """Says how it went and where to look next."""
    heading("Where to look next")
    print(f"report           {directory / 'report.json'}\nlogs             {directory / 'logs'}")
    print(f"one scenario     {sys.executable} {Path(__file__)} --only NAME   (--list shows the names)")
    if keep:
        ecr = f"aws --endpoint-url {stack.registry.url} ecr"
        others = f"aws --endpoint-url {stack.url}"
        example = "--repository-name team/critical"
        print(f"""
The emulators are still up. Ask them, for instance:

  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION={REGION}
  {ecr} describe-images {example} --filter imageStatus=ANY
  {ecr} batch-get-image {example} --image-ids imageTag=v1.0.0
  {others} dynamodb scan --table-name {TABLE}
  {others} logs tail /aws/lambda/ecr-guard-on-scan
  {others} lambda list-functions --query 'Functions[].FunctionName'
  curl -s '{stack.registry.url}/ecr-guard/calls?repository=team/critical'
  curl -s {stack.mailbox_url}/mailbox/messages

End them with: {sys.executable} {Path(__file__)} --stop""")
    print(f"\n{len(failed)} scenario(s) not ok: {', '.join(failed)}" if failed else "\nAll scenarios are as expected.")


def stop_earlier_run(running: Path) -> None:
    """Ends the emulators that an earlier run has left up."""
    if not running.is_file():
        return
    for leader in json.loads(running.read_text())["process_groups"]:
        if group_members(leader) and is_ours(leader):
            stop_group(leader)
            print(f"ended process group {leader} of an earlier run")
    running.unlink()


class step:
    """Prints one step and how long it took."""

    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        self.started = time.monotonic()
        print(f"{self.what} … ", end="", flush=True)

    def __exit__(self, kind: Any, *_: Any) -> None:
        print("failed" if kind else f"{time.monotonic() - self.started:.1f} s", flush=True)


def heading(text: str) -> None:
    """Prints a heading."""
    print(f"\n{text}\n{'─' * len(text)}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="leave the emulators up, and say how to ask them")
    parser.add_argument("--stop", action="store_true", help="end what an earlier --keep has left up")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="run this scenario (may be repeated)"
    )
    parser.add_argument(
        "--directory", type=Path, default=ROOT / "target" / "demo", help="for report, logs and policies"
    )
    parser.add_argument("--lambda-directory", type=Path, default=ROOT / "target" / "lambda" / "host", help="the built functions")
    options = parser.parse_args()
    options.directory, options.lambda_directory = options.directory.absolute(), options.lambda_directory.absolute()
    options.directory.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
