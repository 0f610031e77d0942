"""Runs the explorers with many scenarios, optimized, and prints one table.

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
    # Its part of all scenarios, in hundredths.
    part: int


EXPLORERS = (
    Explorer("families", "families_end_the_same_in_any_order", 25),
    Explorer("tags", "no_image_of_ours_disappears", 50),
    Explorer("workloads", "nothing_that_is_used_is_taken_away_whoever_acts_at_the_same_time", 10),
    Explorer("gate", "explore_the_gate_beside_others", 15),
)

FIGURES = re.compile(r"^[^\n:]+: (\d+) scenarios in ([\d.]+) s, (\d+) violations(.*)$", re.MULTILINE)


def run(explorer: Explorer, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs one, built with optimization in a folder of its own."""
    environment = dict(os.environ, CARGO_PROFILE_DEV_OPT_LEVEL="2", CARGO_TERM_COLOR="never", **variables)
    command = ["cargo", "test", "--locked", "--quiet", "--target-dir", "target/scale", "-p", "guard-engine", "--lib"]
    command += [explorer.test, "--", "--nocapture"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


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
        done = run(chosen[0], {"ECR_GUARD_SEED": str(arguments.seed)})
        print(done.stderr + done.stdout)
        return done.returncode
    print(f"| {'explorer':<10} | {'scenarios':>10} | {'seconds':>8} | violations | counts |")
    print(f"|{'-' * 12}|{'-' * 11}:|{'-' * 9}:|{'-' * 11}:|{'-' * 8}|", flush=True)
    failed = []
    total = 0
    for explorer in chosen:
        share = arguments.count if arguments.only else arguments.count * explorer.part // 100
        done = run(explorer, {"ECR_GUARD_SCENARIOS": str(share)})
        figures = FIGURES.search(done.stderr + done.stdout)
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
    print("".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
