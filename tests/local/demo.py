"""The demo: a story of three teams, played by the real functions in an emulated AWS account, in under a minute.

Everything listens on loopback and ends with the run, unless --keep is given. All scenarios are those of `make e2e`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import e2e
import page
import runs
import teams
from console import coloured
from e2e import interrupted, not_built, shown
from local_aws.processes import TimedOut
from local_aws.registry import REGION
from progress import Status, about
from report import Report, alerts_of, images_of
from scenarios.world import World
from stack import FUNCTIONS, ROOT, Stack
from story import POLICY, WORDS, Act, Story, topic_of, words_of

WIDTH = 80
# About how long the story takes on two cores once all is built.
SECONDS = 20
COLOUR = {"ALLOWED": "green", "RELEASED": "green", "works": "green", "REPAIRED": "green", "REVIEW": "yellow", "DEFERRED": "yellow", "NOT": "yellow"}
COLOUR |= {"BLOCKED": "red", "404": "red"}
# The alerts that are shown in full, by how their subjects begin: the e-mail of the first, the chat message of the second, the SMS of the third.
IN_FULL = ("BLOCKED pay/api:", "RELEASED pay/api:", "BLOCK DEFERRED pay/ledger:")
SENDER = "[ecr-guard] "


def main() -> int:
    """Plays the story; 0 if everything in it is as expected."""
    options = arguments()
    if options.only or options.list:
        # The former `make demo ONLY=`.
        return e2e.main()
    if options.stop:
        said = [line for directory in (options.directory, e2e.DIRECTORY) for line in runs.stop(directory)]
        print("\n".join(said) or "Nothing was running.")
        return 0
    if options.check:
        return e2e.check(options.directory)
    if missing := not_built(options.lambda_directory):
        print(missing, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupted)
    try:
        with runs.Run(options.directory, f"make demo{' KEEP=1' if options.keep else ''}") as this:
            return tell(this, options)
    except runs.InUse as why:
        print(why, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted: all that was started has been ended.", file=sys.stderr)
        return 130


def tell(this: runs.Run, options: argparse.Namespace) -> int:
    """Starts, deploys, plays the story, shows the result, and writes the report."""
    print("ecr-guard demo: the real functions in an emulated AWS account on this machine.")
    print(f"No AWS account, no network. It takes about {about(SECONDS)}.\n", flush=True)
    shutil.rmtree(options.directory / "tmp", ignore_errors=True)
    report = Report(options.directory / "report.json", this.what)
    stack = Stack(options.directory, options.lambda_directory, teams.TOPICS)
    results: list[dict[str, Any]] = []
    complete = False
    world, story = None, None
    html: tuple[Path | None, str] = (None, "")
    began = time.monotonic()
    try:
        world, story = start(this, stack)
        perform(story.acts(), results)
        stack.save_function_logs()
        # As long as the account answers: `ecr-guard report` makes its page of it, where the build has that command.
        html = page.made(options.directory, stack.account.environment())
        complete = True
    except (TimedOut, RuntimeError) as error:
        print(f"\nThe story broke off: {error}\nLogs: {shown(options.directory / 'logs')}", file=sys.stderr)
    finally:
        found = found_so_far(stack, world)
        for image in found["images"]:
            image["hold"] = hold_of(image, found["alerts"])
        report.end(complete, acts=results, order=stack.registry.order, **found)
        if not (complete and options.keep):
            stack.stop()
    bad = [result for result in results if not result["ok"]]
    quick = f"\nFrom the end of its scan to the block of pay/api:2.0.0: {story.took['pay/api:2.0.0']:.1f} s." if story and "pay/api:2.0.0" in story.took else ""
    print(f"\n{len(results)} acts, {len(found['alerts'])} alerts, {time.monotonic() - began:.0f} s: {unexpected(bad) if bad or not complete else 'all as expected.'}{quick}\n")
    if found["images"]:
        print_images(found["images"])
        print_alerts(found["alerts"])
    print_where_to_look(report, html, complete and options.keep)
    if complete and options.keep and world and story:
        keep(this, options, stack, world, story)
    return 0 if complete and not bad else 1


def start(this: runs.Run, stack: Stack) -> tuple[World, Story]:
    """The account, the functions, the repositories."""
    status, began = Status(), time.monotonic()
    status.say(" starting the emulators of AWS (1 of 3)")
    stack.start()
    this.started(stack.process_ids())
    stack.create_resources()
    emulators = time.monotonic() - began
    status.say(f" deploying {len(FUNCTIONS)} functions, two regions (2 of 3)")
    world = World(stack)
    story = Story(world)
    status.say(" making the repositories of three teams (3 of 3)")
    story.prepare()
    status.clear()
    print(f" ready: emulators {emulators:.1f} s; functions in 2 regions, 6 repositories, 4 topics {time.monotonic() - began - emulators:.1f} s\n", flush=True)
    return world, story


def perform(acts: list[Act], results: list[dict[str, Any]]) -> None:
    """Runs the acts, and prints each when it has happened."""
    status, began = Status(), time.monotonic()
    print(f" {'TEAM':<5} {'WHAT HAPPENS':<40} ECR-GUARD")
    for number, act in enumerate(acts, 1):
        passed = time.monotonic() - began
        left = passed / (number - 1) * (len(acts) - number + 1) if number > 3 else SECONDS * 0.7
        status.say(f" {act.who:<5} {act.what} … ({number} of {len(acts)}, about {about(left)} more)")
        started = time.monotonic()
        try:
            happened = act.run()
        finally:
            status.clear()
        took, ok = time.monotonic() - started, happened == act.expected
        results.append({"who": act.who, "what": act.what, "expected": act.expected, "happened": happened, "ok": ok, "took_ms": round(took * 1000)})
        shown_as = painted(happened) if ok else f"{coloured('UNEXPECTED', 'red')}: {happened} (expected: {act.expected})"
        print(f" {act.who:<5} {act.what:<40} {shown_as}", flush=True)


def found_so_far(stack: Stack, world: World | None) -> dict[str, list[Any]]:
    """Images and alerts, if the account still answers."""
    if world is None:
        return {"images": [], "alerts": []}
    try:
        images = images_of(stack.regions(), world.all_pushed())
        return {"images": images, "alerts": alerts_of(mail for region in stack.regions() for mail in region.mails())}
    except Exception:  # the report of an interrupted run has what could be had
        return {"images": [], "alerts": []}


def hold_of(image: dict[str, Any], alerts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Why an image is not blocked yet, by the last alert about it."""
    if image["state"] != "BlockDeferred":
        return None
    holds = [one["document"].get("hold") for one in alerts if one["document"].get("digest") == image["digest"]]
    return holds[-1] if holds else None


def unexpected(bad: list[dict[str, Any]]) -> str:
    """How many acts went otherwise."""
    return f"{len(bad)} NOT as expected." if bad else "the story broke off."


def painted(happened: str) -> str:
    """An event, with its first word in colour."""
    word, _, rest = happened.partition(" ")
    plain = word.rstrip(",")
    return f"{coloured(plain, COLOUR[plain])}{word[len(plain) :]} {rest}".rstrip() if plain in COLOUR else happened


# The result


def print_images(images: list[dict[str, Any]]) -> None:
    """The table of the images: the worst first."""
    order = ["Blocked", "BlockDeferred", "Unscannable", "Review", "Pending", "Allowed"]
    rows = [row for image in images if image["tag"] and image["region"] == REGION for row in [image_row(image)]]
    rank = {WORDS[state]: position for position, state in enumerate(order)}
    rows.sort(key=lambda row: (rank.get(row[1], 0), row[0]))
    print(f" {'IMAGE':<17} {'STATE':<12} {'WHY':<49}".rstrip())
    for name, state, why in rows:
        print(f" {name:<17} {coloured(f'{state:<12}', COLOUR.get(state.split()[0], 'grey'))} {textwrap.shorten(why, 49, placeholder='…')}".rstrip())
    print(f" and {len(images) - len(rows)} more: the two platforms of data/etl:7, the copy of pay/api in us-east-1\n")


def image_row(image: dict[str, Any]) -> tuple[str, str, str]:
    """Name, state and reason of an image."""
    return f"{image['repository']}:{image['tag']}", WORDS.get(image["state"], image["state"]), why_of(image)


def why_of(image: dict[str, Any]) -> str:
    """Why an image is in its state, in a few words."""
    deciding = [one for one in image["findings"] if one.get("action") == ("review" if image["state"] == "Review" else "block")]
    finding = ""
    for one in deciding[:1]:
        finding = f"{one['id']} {one['package']}"
        finding += f", fix {one['fixed_in']}" if one.get("fixed_in") else ""
        finding += f", {len(deciding) - 1} more" if len(deciding) > 1 else ""
    hold = image.get("hold")
    if image["state"] == "BlockDeferred" and hold:
        until = f" until {hold['until'][:10]}" if hold.get("until") else ""
        return f"{words_of(hold['cause'])}{until}: {finding}"
    if image["state"] == "Allowed":
        excepted = re.search(r"\(exceptions\[\d+\] (.*), until ([\d-]+)\)", image["reason"])
        return f"excepted until {excepted[2]}: {excepted[1]}" if excepted else "no finding at or above review"
    return finding or image["reason"].split(". ")[0].split(",")[0]


def print_alerts(alerts: list[dict[str, Any]]) -> None:
    """Three alerts in full, each in another form, and the others by their subjects."""
    full = [next((one for one in alerts if one["subject"].startswith(SENDER + wanted)), None) for wanted in IN_FULL]
    for form, alert in zip(("e-mail", "chat message", "SMS"), full, strict=True):
        if alert is None:
            continue
        print(f" ALERT to {team_of(alert)}, as {form}")
        print(textwrap.indent("\n".join(form_of(form, alert)), " │ ", lambda _: True) + "\n")
    print(" THE OTHER ALERTS, by subject")
    # The first sweep sends a digest too, before anything is counted.
    digests = {alert["topic"]: alert for alert in alerts if alert["document"]["kind"] == "digest"}
    for alert in alerts:
        early = alert["document"]["kind"] == "digest" and alert is not digests[alert["topic"]]
        if alert not in full and not early:
            subject = alert["subject"].removeprefix(SENDER).removesuffix(f" ({alert['region']})")
            print(f" {team_of(alert):<8} {subject}"[:WIDTH])


def team_of(alert: dict[str, Any]) -> str:
    """The team that has got an alert."""
    return topic_of({"topic": alert["topic"]})


def form_of(form: str, alert: dict[str, Any]) -> Iterator[str]:
    """The lines of an alert in one of its forms."""
    if form == "SMS":
        yield from textwrap.wrap(alert["sms"], WIDTH - 4)
    elif form == "e-mail":
        yield from textwrap.wrap(f"Subject: {alert['subject']}", WIDTH - 4, subsequent_indent="  ", break_on_hyphens=False)
        yield ""
        for line in alert["email"].rstrip().splitlines():
            yield from textwrap.wrap(line, WIDTH - 4, subsequent_indent=" " * (len(line) - len(line.lstrip()) + 2), break_on_hyphens=False) or [""]
    else:
        content = alert["chat"]["content"]
        yield content["title"]
        for line in content["description"].splitlines():
            yield from textwrap.wrap(line, WIDTH - 4, break_on_hyphens=False) or [""]
        for step in content.get("nextSteps", []):
            yield from textwrap.wrap(f"→ {step}", WIDTH - 4, subsequent_indent="  ", break_on_hyphens=False)


def print_where_to_look(report: Report, html: tuple[Path | None, str], kept: bool) -> None:
    """Where to look, what to try."""
    print()
    path, why = html
    if path is not None:
        print(f" LOOK    {shown(path)}   every image and finding: open it in a browser")
    elif why:
        print(f" LOOK    no HTML page: `ecr-guard report` says: {why}"[:WIDTH])
    print(f" READ    {shown(report.path)}   all alerts in all four forms")
    if not kept:
        print(" TRY     make demo KEEP=1   push an image of your own, add an exception")
        print(" CHECK   make e2e           all scenarios, about two minutes")
        print(" DEPLOY  docs/deployment.md")


def keep(this: runs.Run, options: argparse.Namespace, stack: Stack, world: World, story: Story) -> None:
    """Leaves it running, and says what to try."""
    guards = {region.stack.region: asdict(region.guard("main", POLICY)) for region in (world, world.second())}
    this.note(
        stack=stack.states(),
        guards=guards,
        environment=stack.account.environment(),
        policy=story.policy,
        lambda_directory=str(options.lambda_directory),
    )
    until = this.keep()
    print(f"""
 It is still running. Three things to try:
   make try-push IMAGE=my/app:1.0 FINDING=CRITICAL    blocked, in about a second
   make try-exception IMAGE=my/app:1.0                released
   make try-sweep                                     the hourly sweep, now
 Every `aws` command of an alert works after: eval "$(make -s demo-env)"
 End it: make demo-stop     (it ends by itself at {until.astimezone():%H:%M})""")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave it running, to be tried; it ends by itself after two hours")
    parser.add_argument("--stop", action="store_true", help="end what runs here, or what an earlier --keep has left running")
    parser.add_argument("--list", action="store_true", help="list the scenarios of `make e2e`")
    parser.add_argument("--only", action="extend", nargs="+", default=[], metavar="NAME", help="run scenarios of `make e2e` instead")
    parser.add_argument("--check", action="store_true", help="only check that no other run is in progress, or the names of --only")
    parser.add_argument("--directory", type=Path, default=ROOT / "target" / "demo", help="for report, logs and policies")
    parser.add_argument("--lambda-directory", type=Path, default=e2e.PACKAGES, help="the built functions")
    options = parser.parse_args()
    options.directory, options.lambda_directory = options.directory.absolute(), options.lambda_directory.absolute()
    options.directory.mkdir(parents=True, exist_ok=True)
    return options


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
