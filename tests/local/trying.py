"""Suggestions for a kept run of the demo, one command each: push an image, add an exception, sweep; and the variables for
the AWS CLI."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import runs
import teams
from e2e import DIRECTORY as E2E
from local_aws import events
from local_aws.findings import counts
from local_aws.images import OCI_CONFIG, OCI_MANIFEST, Image
from local_aws.registry import ACCOUNT, REGION
from scenarios.world import World
from stack import ROOT, Guard, Stack
from story import WORDS, topic_of

DEMO = ROOT / "target" / "demo"
NOT_RUNNING = "No demo is running that could be tried. Start one: make demo KEEP=1"
EXCEPTION_DAYS = 30
# Amazon ECR, CreateRepository (`repositoryName`), and the OCI distribution specification (tags).
NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class Refused(Exception):
    """It cannot be done; the message says why, and what can."""


def main() -> int:
    """Does one of them."""
    options = arguments()
    try:
        if options.command == "env":
            print(variables(state_of_any()["environment"]))
            return 0
        state = runs.kept(options.directory)
        if not state:
            raise Refused(NOT_RUNNING)
        commands: dict[str, Callable[[], None]] = {
            "push": lambda: push(attached(options.directory, state), options.image, options.finding),
            "exception": lambda: exception(attached(options.directory, state), options.directory, state, options.image),
            "sweep": lambda: sweep(attached(options.directory, state)),
        }
        commands[options.command]()
    except Refused as why:
        print(why, file=sys.stderr)
        return 2
    return 0


def state_of_any() -> dict[str, Any]:
    """The state of the kept demo, or else of the kept scenarios."""
    state = runs.kept(DEMO) or runs.kept(E2E)
    if not state:
        raise Refused(NOT_RUNNING)
    return state


def variables(environment: dict[str, str]) -> str:
    """The variables as a shell reads them. Version 1 of the AWS CLI reads ``AWS_DEFAULT_REGION``, version 2 ``AWS_REGION`` as well."""
    # Variables of a real account would be sent along, or asked for.
    lines = ["unset AWS_PROFILE AWS_SESSION_TOKEN"]
    return "\n".join(lines + [f"export {name}={shlex.quote(value)}" for name, value in environment.items()])


def attached(directory: Path, state: dict[str, Any]) -> World:
    """The world of the kept run."""
    stack = Stack.attached(directory, Path(state["lambda_directory"]), state["stack"])
    world = World(stack)
    world.attach("main", Guard(**state["guards"][REGION]))
    return world


# The three


def push(world: World, name: str, word: str) -> None:
    """Pushes an image with a finding, lets its scan end, and says what became of it."""
    repository, tag = parsed(name)
    found = teams.finding(word)
    if found is None:
        raise Refused(f"FINDING={word} is not known. It is CRITICAL, HIGH, MEDIUM, LOW, NONE, or one of {', '.join(teams.ALL)}.")
    ecr = world.registry.ecr
    with suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=repository)
    try:
        image = world.pusher.image(repository, tag, f"{repository}:{tag} of {time.time()}", size=50_000_000)
    except ecr.exceptions.ImageTagAlreadyExistsException:
        raise Refused(f"The tags of {repository} cannot be overwritten, and {tag} is there: push under another tag.") from None
    began = time.monotonic()
    world.send("on-push", events.push(image))
    world.registry.set_scan(repository, image.digest, "ACTIVE", enhancedFindings=found)
    world.send("on-scan", events.inspector_scan(image, counts(found)))
    took = time.monotonic() - began
    print(f"image   {repository}:{tag} {word_for(world, image)}, {took:.1f} s after the push{because(found)}")
    print_pull(world, image)
    print_alerts(world, repository)
    if world.state(image) in ("Blocked", "Review", "BlockDeferred"):
        print(f"next    make try-exception IMAGE={repository}:{tag}")


def exception(world: World, directory: Path, state: dict[str, Any], name: str) -> None:
    """Excepts what an image is blocked for (or to be reviewed), deploys the policy, and sweeps the repository."""
    repository, tag = parsed(name)
    image = find(world, repository, tag)
    row = world.stack.row(repository, image.digest) or {}
    deciding = [one for one in row.get("row", {}).get("findings", []) if one.get("action") in ("block", "review")]
    if not deciding:
        raise Refused(f"{repository}:{tag} is {word_for(world, image)}: it has no finding that an exception could be for.")
    last_day = (datetime.now(UTC) + timedelta(days=EXCEPTION_DAYS)).date().isoformat()
    added = [
        {
            "vulnerability": one["id"],
            "package": one["package"],
            "repositories": [repository],
            "owner": "you@example.com",
            "reason": "tried in the demo",
            "expires": last_day,
        }
        for one in deciding
    ]
    policy = state["policy"] | {"exceptions": state["policy"]["exceptions"] + added}
    before = world.state(image)
    began = time.monotonic()
    for deployed in world.guard().functions.values():
        world.stack.change_policy(deployed, policy)
    runs.write(directory / "running.json", state | {"policy": policy})
    print(f"policy  {', '.join(one['vulnerability'] for one in added)} excepted in {repository} until {last_day}; deployed in {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    world.sweep(repository)
    if before == "Blocked" and world.pull(image) == "works":
        # ECR says that it has restored the image.
        world.send("on-push", events.storage_class(image, "STANDARD"))
    was = "RELEASED, now " if before == "Blocked" and world.state(image) != "Blocked" else ""
    print(f"image   {repository}:{tag} {was}{word_for(world, image)}, {time.monotonic() - began:.1f} s after the sweep began")
    print_pull(world, image)
    print_alerts(world, repository)


def sweep(world: World) -> None:
    """Sweeps all repositories, as every hour, and says what has changed."""
    before, told = states(world), len(world.stack.mails())
    began = time.monotonic()
    answer = world.sweep()
    took = time.monotonic() - began
    after, new = states(world), world.stack.mails()[told:]
    changed = [f"{name}  {before.get(name, '-')} → {state}" for name, state in sorted(after.items()) if before.get(name) != state]
    print(f"swept   {answer['repositories']} repositories with {len(after)} images in {took:.1f} s: {len(changed)} changed, {len(new)} alerts")
    for line in changed:
        print(f"        {line}")
    for mail in new:
        print(f"alert   to {topic_of(mail)}: {mail['subject']}")


# Steps


def parsed(name: str) -> tuple[str, str]:
    """Repository and tag of an image, whose registry may be named as well."""
    path = name.removeprefix(f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/")
    repository, _, tag = path.partition(":")
    tag = tag or "latest"
    if not (NAME.fullmatch(repository) and 2 <= len(repository) <= 256 and TAG.fullmatch(tag)):
        raise Refused(f"IMAGE={name} is no image: write a repository and a tag, such as my/app:1.0.")
    return repository, tag


def find(world: World, repository: str, tag: str) -> Image:
    """An image that is there, archived or not."""
    ecr = world.registry.ecr
    try:
        details = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}], filter={"imageStatus": "ANY"})["imageDetails"]
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        raise Refused(f"{repository}:{tag} is not there. Push it: make try-push IMAGE={repository}:{tag}") from None
    return Image(repository, details[0]["imageDigest"], tag, OCI_MANIFEST, OCI_CONFIG, "")


def states(world: World) -> dict[str, str]:
    """The state of each image in the ledger."""
    rows = world.stack.rows()
    return {f"{row['pk'].partition('#')[2]}@{row['sk'].split('#')[1][:19]}": WORDS.get(row["state"], row["state"]) for row in rows}


def word_for(world: World, image: Image) -> str:
    """The state of an image, as people read it."""
    state = world.state(image)
    return WORDS.get(state, state)


def because(found: list[dict[str, Any]]) -> str:
    """The finding, in a few words."""
    for one in found:
        details = one["packageVulnerabilityDetails"]
        package = details["vulnerablePackages"][0]
        fixed = f", fix in {package['fixedInVersion']}" if "fixedInVersion" in package else ""
        return f": {details['vulnerabilityId']} {one['severity']} in {package['name']} {package['version']}{fixed}"
    return ": no findings"


def print_pull(world: World, image: Image) -> None:
    """The result of a pull."""
    answer = world.pull(image)
    print(f"pull    {'404 not found' if answer == 'refused' else answer}")


def print_alerts(world: World, repository: str) -> None:
    """The alerts about a repository that have come since."""
    new = {alert["id"] for alert in world.alert_documents(repository)}
    for mail in world.stack.mails():
        if any(one in mail["bodies"]["default"] for one in new):
            print(f"alert   to {topic_of(mail)}: {mail['subject']}")
    if not new:
        print("alert   none")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="trying", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("push", "push an image with a finding"), ("exception", "except what an image is blocked for"), ("sweep", "sweep, as every hour")):
        command = commands.add_parser(name, help=about)
        command.add_argument("--directory", type=Path, default=DEMO, help="of the kept run")
        if name != "sweep":
            command.add_argument("--image", default="my/app:1.0", help="repository and tag (default: %(default)s)")
        if name == "push":
            command.add_argument("--finding", default="CRITICAL", help="a severity, a vulnerability of the demo, or NONE (default: %(default)s)")
    commands.add_parser("env", help="print the variables for the AWS CLI")
    options = parser.parse_args()
    if "directory" in options:
        options.directory = options.directory.absolute()
    return options


if __name__ == "__main__":
    sys.exit(main())
