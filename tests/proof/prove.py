"""Runs the explorers with many scenarios, optimized, and prints three tables: the scenarios; the plans and steps that they reached, and those that
none did; and the planted faults, each with the scenario that finds it.

A scenario is a number: `--only families --seed 17` runs it again, and prints its story.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Explorer:
    """A test of the engine that explores."""

    name: str
    test: str
    # The test that plants faults.
    planted: str
    # Its part of all scenarios, in hundredths.
    part: int


EXPLORERS = (
    Explorer("families", "families_end_the_same_in_any_order", "families_find_what_is_left_out", 20),
    Explorer("tags", "no_image_of_ours_disappears", "tags_find_what_is_left_out", 40),
    Explorer(
        "workloads",
        "nothing_that_is_used_is_taken_away_whoever_acts_at_the_same_time",
        "workloads_find_what_is_left_out",
        10,
    ),
    Explorer("mixed", "whoever_acts_the_invariants_hold", "the_mixed_actors_find_what_is_left_out", 10),
    Explorer("gate", "explore_the_gate_beside_others", "the_gate_beside_others_finds_what_is_left_out", 20),
)

REACHED = re.compile(r"^\w+ reached (.*)$", re.MULTILINE)
NEVER = re.compile(r"^\w+ never reached (.*)$", re.MULTILINE)
FOUND = re.compile(r"^(\w+) finds (\w+) in scenario (\d+): (.*)$", re.MULTILINE)
FIGURES = re.compile(r"^[^\n:]+: (\d+) scenarios in ([\d.]+) s, (\d+) violations(.*)$", re.MULTILINE)


def run(test: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a test, built with optimization in a folder of its own."""
    environment = dict(os.environ, CARGO_PROFILE_DEV_OPT_LEVEL="2", CARGO_TERM_COLOR="never", **variables)
    command = ["cargo", "test", "--locked", "--quiet", "--target-dir", "target/scale", "-p", "guard-engine", "--lib"]
    command += [test, "--", "--nocapture"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def print_reached(outputs: dict[str, str]) -> None:
    """The plans and steps, and how often each explorer reached them."""
    counts: dict[str, dict[str, int]] = {}
    for name, output in outputs.items():
        never = NEVER.search(output)
        for kind in never.group(1).split("; ") if never else []:
            counts.setdefault(kind, {})
        reached = REACHED.search(output)
        for part in reached.group(1).split("; ") if reached else []:
            kind, number = part.rsplit(" = ", 1)
            counts.setdefault(kind, {})[name] = int(number)
    width = max(map(len, counts), default=0)
    print(f"\n| {'plan or step':<{width}} |" + "".join(f" {name:>10} |" for name in outputs))
    print(f"|{'-' * (width + 2)}|" + "-----------:|" * len(outputs))
    for kind, by in sorted(counts.items()):
        print(f"| {kind:<{width}} |" + "".join(f" {by.get(name, 0):>10,} |" for name in outputs))
    never_reached = [kind for kind, by in sorted(counts.items()) if not by]
    print(f"{len(counts) - len(never_reached)} of {len(counts)} kinds reached; by none: {'; '.join(never_reached) or '-'}")


def print_found(chosen: list[Explorer]) -> list[str]:
    """The planted faults, and the scenario that finds each; what the explorers said that do not find all."""
    print("\n| planted fault   | explorer   | scenario | violation |")
    print("|-----------------|------------|---------:|-----------|", flush=True)
    failed = []
    for explorer in chosen:
        done = run(explorer.planted, {})
        for name, planted, seed, what in FOUND.findall(done.stderr + done.stdout):
            print(f"| {planted:<15} | {name:<10} | {seed:>8} | {what} |", flush=True)
        if done.returncode:
            failed.append(done.stdout + done.stderr)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="scenarios, of all explorers together")
    parser.add_argument("--only", choices=[explorer.name for explorer in EXPLORERS])
    parser.add_argument("--seed", type=int, help="only this scenario, with its story")
    arguments = parser.parse_args()
    chosen = [explorer for explorer in EXPLORERS if arguments.only in (None, explorer.name)]
    if arguments.seed is not None:
        if arguments.only is None:
            parser.error("a seed is one of an explorer: --only says which")
        done = run(chosen[0].test, {"ECR_GUARD_SEED": str(arguments.seed)})
        print(done.stderr + done.stdout)
        return done.returncode
    print(f"| {'explorer':<10} | {'scenarios':>10} | {'seconds':>8} | violations | counts |")
    print(f"|{'-' * 12}|{'-' * 11}:|{'-' * 9}:|{'-' * 11}:|{'-' * 8}|", flush=True)
    failed = []
    outputs: dict[str, str] = {}
    total = 0
    for explorer in chosen:
        share = arguments.count if arguments.only else arguments.count * explorer.part // 100
        done = run(explorer.test, {"ECR_GUARD_SCENARIOS": str(share)})
        outputs[explorer.name] = done.stderr + done.stdout
        figures = FIGURES.search(outputs[explorer.name])
        if figures is None:
            failed.append(done.stdout + done.stderr)
            print(f"| {explorer.name:<10} | {'?':>10} | {'?':>8} | {'?':>10} | it did not end |", flush=True)
            continue
        scenarios, seconds, violations, counts = figures.groups()
        total += int(scenarios)
        counted = counts.strip(", ") or "-"
        print(f"| {explorer.name:<10} | {int(scenarios):>10,} | {seconds:>8} | {violations:>10} | {counted} |", flush=True)
        if done.returncode or int(violations):
            failed.append(done.stdout + done.stderr)
    print(f"{total:,} scenarios")
    print_reached(outputs)
    failed += print_found(chosen)
    print("".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
