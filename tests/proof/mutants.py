"""Changes the rules in one place after the other, and sees that a test of the same crate finds it.

The crate is the pure core; `--crate engine` and `--crate aws` are the others. The mutants are those of cargo-mutants. It would build the crate once for each;
`tests/mutants` writes them all into one copy of the crate, each behind a switch, so that one build has them all. A first run of the tests notes which test comes by
which mutant. Then each mutant is switched on, for the tests that come by it. Mutants that cannot have a switch (in constants, or arms that a `match` needs) are built
by cargo-mutants one by one.

Results are kept in `target/mutants/CRATE/results.json` after each mutant, so that a run that was ended goes on where it was. Survivors are compared with
`tests/proof/survivors.txt`.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import fnmatch
import hashlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).parent / "survivors.txt"
CARGO = os.environ.get("MUTANTS_CARGO", "cargo").split()


@dataclass(frozen=True)
class Crate:
    """A crate whose mutants are run."""

    name: str
    # The files of each row of the table. A later one wins.
    groups: dict[str, tuple[str, ...]]
    features: tuple[str, ...] = ()
    # More of the environment of its tests.
    tests: dict[str, str] = field(default_factory=dict)
    # Part of the names of tests that are left out.
    skipped: str | None = None

    @property
    def package(self) -> str:
        return f"guard-{self.name}"

    @property
    def inside(self) -> str:
        return f"shared/{self.name}"

    @property
    def sources(self) -> str:
        return f"{self.inside}/src/"

    @property
    def folder(self) -> Path:
        return ROOT / "target/mutants" / self.name

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def result(self) -> Path:
        return Path(__file__).parent / ("mutants.txt" if self.name == "core" else f"mutants-{self.name}.txt")


# The rules: what decides about images, settings and tags, and what a sweep plans.
CORE = Crate(
    "core",
    {
        "decide": ("decide.rs", "decide/*", "predecessor.rs"),
        "sweep planning": ("decide/due.rs", "registry.rs", "registry/*", "work.rs"),
        "evaluate": ("evaluate.rs",),
        "policy": ("policy/*",),
        "tags": ("repository/tag.rs", "repository/tags.rs", "repository/tag_checks/*"),
        "access": ("repository/access.rs", "repository/access/*"),
        "lifecycle": ("repository/lifecycle.rs", "repository/lifecycle/*"),
    },
    features=("schema",),
)
# The order of calls. Explorers run few scenarios. Their tests of planted faults need all of them, and are left out.
ENGINE = Crate(
    "engine",
    {
        "images": ("reconcile/image.rs", "reconcile/image/*", "execute.rs"),
        "repositories": ("reconcile/repository.rs", "reconcile/repository/*", "reconcile/registry.rs", "reconcile/error.rs"),
        "replication": ("reconcile/replication.rs",),
        "tag removal": ("tag_removal.rs",),
        "sweep": ("sweep.rs", "sweep/*"),
        "workloads": ("workloads.rs", "workloads/*", "refused_pull.rs"),
        "gate, release": ("gate.rs", "gate/*", "release.rs", "release/*"),
        "alerts": ("route.rs", "alert_budget.rs", "alert_budget/*"),
    },
    tests={"ECR_GUARD_SCENARIOS": "300"},
    skipped="find_what_is_left_out",
)
# How an error of AWS becomes one of ours.
AWS = Crate("aws", {"errors": ("error.rs", "answer.rs")})
CRATES = {crate.name: crate for crate in (CORE, ENGINE, AWS)}

# The errors of a mutant that makes no sense: no such trait, no such operator, another type.
UNVIABLE = {"E0277", "E0308", "E0369", "E0600", "E0599", "E0283", "E0282", "E0614", "E0368"}
# Tests that take longer than this (seconds) run after the others.
SLOW = (0.1, 1.0, 10.0)
# No test takes this long: the mutant never ends (seconds).
LIMIT = 120
# No test needs this much, but a mutant that never ends (bytes).
MEMORY = 4 << 30


# A thread that has not the name of a test.
NO_TEST = "?"

# Why a mutant has no switch, where the compiler was not asked.
CONSTANT = "constant"


class Mutant:
    """A mutant, with its number in the program that has all of them."""

    def __init__(self, crate: Crate, number: int, listed: dict) -> None:  # type: ignore[type-arg]
        self.crate, self.number = crate, number
        self.name: str = listed["name"]
        self.file: str = listed["file"]
        self.returns: str = (listed["function"] or {}).get("return_type", "")

    @property
    def group(self) -> str:
        inside = self.file.removeprefix(self.crate.sources)
        matching = [group for group, patterns in self.crate.groups.items() if any(fnmatch.fnmatch(inside, pattern) for pattern in patterns)]
        return matching[-1] if matching else "others"

    @property
    def nameless(self) -> str:
        """Without its line and column, which change with every edit of the file above it."""
        file, _, _, words = self.name.split(":", 3)
        return f"{file}:{words}"


def environment(**more: str) -> dict[str, str]:
    """Few cases of each property; snapshots are compared and never written."""
    fixed = {"CARGO_TERM_COLOR": "never", "INSTA_UPDATE": "no", "PROPTEST_CASES": "32", "RUST_BACKTRACE": "0", "RUST_MIN_STACK": str(8 << 20)}
    return {**os.environ, **fixed, **more}


def listed(crate: Crate, program: Path, files: list[str], diff: Path | None) -> str:
    chosen = [argument for file in files for argument in ("--file", file)]
    command = [str(program), "mutants", "--list", "--json", "--package", crate.package, *chosen, *(["--in-diff", str(diff)] if diff else [])]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(answer.stderr)
    # With a diff that changes nothing of the crate, the answer is words.
    return answer.stdout if answer.stdout.startswith("[") else "[]"


def fingerprint(crate: Crate) -> str:
    """The hash of all sources of the crate, tests among them."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / crate.inside).rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


class Program:
    """The tests of a crate with all mutants in them."""

    def __init__(self, crate: Crate, mutants: list[Mutant], json_list: str) -> None:
        self.crate, self.mutants = crate, mutants
        # By number: why it has no switch.
        self.left_out: dict[int, str] = {}
        self.binary = Path()
        (crate.folder / "list.json").write_text(json_list)
        self._tree()
        self._build()

    def _tree(self) -> None:
        """A copy of the crate in a workspace of its own; all else is the project's."""
        tree, inside = self.crate.tree, self.crate.inside
        (tree / "shared").mkdir(parents=True, exist_ok=True)
        skipped = {"shared", "target", "Cargo.toml", "Cargo.lock", ".git", self.crate.name}
        for entry in [*ROOT.iterdir(), *(ROOT / "shared").iterdir()]:
            link = tree / entry.relative_to(ROOT)
            if entry.name not in skipped and not link.exists():
                link.symlink_to(entry)
        members = f'members = ["{inside}"]\n'
        manifest = re.sub(r"(?s)^members = \[.*?\]\n", members, (ROOT / "Cargo.toml").read_text(), flags=re.MULTILINE)
        manifest = re.sub(r"(?s)^exclude = \[.*?\]\n", "", manifest, flags=re.MULTILINE)
        # Profiles name crates that are not in this workspace.
        manifest = manifest.split("# What is deployed.")[0] + "[profile.dev]\ndebug = false\n"
        (tree / "Cargo.toml").write_text(manifest)
        shutil.copy(ROOT / "Cargo.lock", tree / "Cargo.lock")
        changed = {ROOT / mutant.file for mutant in self.mutants} | {ROOT / self.crate.sources / "lib.rs"}
        for file in (ROOT / inside).rglob("*"):
            to = tree / file.relative_to(ROOT)
            # Sources with mutants are written by `tests/mutants`.
            if file.is_file() and file not in changed and (not to.is_file() or to.read_bytes() != file.read_bytes()):
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, to)

    def _write(self) -> None:
        numbers = self.crate.folder / "left-out.txt"
        numbers.write_text("".join(f"{number}\n" for number in sorted(self.left_out)))
        command = [str(ROOT / "target/debug/mutants"), str(self.crate.folder / "list.json"), str(numbers), str(ROOT), str(self.crate.tree)]
        subprocess.run(command, check=True)
        for number in (self.crate.tree / "without-switch.txt").read_text().split():
            self.left_out.setdefault(int(number), CONSTANT)

    def _build(self) -> None:
        began = time.monotonic()
        build = [*CARGO, "build", "--quiet", "--locked", "--package", "mutants", "--target-dir", str(ROOT / "target")]
        subprocess.run(build, cwd=ROOT, check=True)
        known = self.crate.folder / "left-out.json"
        names = {mutant.name: mutant.number for mutant in self.mutants}
        if known.is_file():
            self.left_out = {names[name]: why for name, why in json.loads(known.read_text()).items() if name in names}
        features = [argument for feature in self.crate.features for argument in ("--features", feature)]
        form = ["--message-format=json", "--target-dir", str(ROOT / "target/mutants/build")]
        command = [*CARGO, "test", "--lib", "--no-run", "--package", self.crate.package, *features, *form]
        for _ in range(30):
            self._write()
            variables = environment(CARGO_INCREMENTAL="1", RUSTFLAGS="-Awarnings", CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_DEV_OPT_LEVEL="1")
            answer = subprocess.run(command, cwd=self.crate.tree, env=variables, capture_output=True, text=True, check=False)
            messages = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
            refused = self._refused(messages)
            print(f"built in {time.monotonic() - began:.0f} s: {len(refused)} mutants do not compile", flush=True)
            self.left_out.update(refused)
            known.write_text(json.dumps({self.mutants[number].name: why for number, why in self.left_out.items() if why != CONSTANT}, indent=1))
            if answer.returncode == 0:
                executables = [message["executable"] for message in messages if message.get("executable")]
                self.binary = Path(executables[-1])
                return
            if not refused:
                sys.exit(answer.stderr[-4000:])
        sys.exit(f"{self.crate.package} with its mutants does not compile")

    def _refused(self, messages: list[dict]) -> dict[int, str]:  # type: ignore[type-arg]
        """The mutants in whose texts the compiler finds an error: the innermost around it."""
        found: dict[int, str] = {}
        for message in messages:
            inner = message.get("message") or {}
            if message.get("reason") != "compiler-message" or inner["level"] != "error" or not inner["spans"]:
                continue
            code = (inner["code"] or {}).get("code") or inner["message"]
            all_spans = inner["spans"] + [span for child in inner["children"] for span in child["spans"]]
            # Some are in the standard library.
            spans = [span for span in all_spans if (self.crate.tree / span["file_name"]).is_file()]
            here = self._around([span for span in spans if span["is_primary"]]) or self._around(spans) or self._values_near(spans)
            if not here:
                print(f"outside of all mutants: {inner['rendered']}", flush=True)
            for number in here:
                found.setdefault(number, code)
        return found

    def _values_near(self, spans: list[dict]) -> set[int]:  # type: ignore[type-arg]
        """The mutants that return another value, in the functions that an error is about as a whole."""
        found = set()
        for span in spans:
            file = self.crate.tree / span["file_name"]
            lines = file.read_text().splitlines()[max(0, span["line_start"] - 3) : span["line_end"]]
            found |= {int(number) for line in lines for number in re.findall(r"/\*<(\d+)\*/if crate::mutant\(\d+\) \{ return crate::Switched", line)}
        return found

    def _around(self, spans: list[dict]) -> set[int]:  # type: ignore[type-arg]
        found = set()
        for span in spans:
            text = (self.crate.tree / span["file_name"]).read_bytes()
            before, opened = text[: span["byte_start"]], []
            for mark in re.finditer(rb"/\*(?:<(\d+)|(\d+)>)\*/", before):
                if mark[1]:
                    opened.append(int(mark[1]))
                elif opened and opened[-1] == int(mark[2]):
                    opened.pop()
            if opened:
                found.add(opened[-1])
        return found

    def reached(self) -> tuple[dict[int, set[str]], dict[str, float]]:
        """The tests that come by each mutant, and how long each test takes, in seconds."""
        notes = self.crate.folder / "reached.txt"
        notes.unlink(missing_ok=True)
        began = time.monotonic()
        command, variables = (
            [str(self.binary), "--test-threads", "2", *self._skipped()],
            environment(**self.crate.tests, MUTANTS_REACHED=str(notes), INSTA_UPDATE=os.environ.get("INSTA_UPDATE", "no")),
        )
        answer = subprocess.run(command, cwd=self.crate.tree / self.crate.inside, env=variables, capture_output=True, text=True, check=False)
        if answer.returncode:
            sys.exit(f"tests fail without any mutant:\n{answer.stdout[-6000:]}")
        tests, times = collections.defaultdict(set), collections.defaultdict(float)
        for line in notes.read_text().splitlines():
            first, second = line.split("\t")
            if first == "time":
                name, seconds = second.rsplit(" ", 1)
                times[name] = float(seconds)
            elif second != NO_TEST:
                tests[int(first)].add(second)
        print(f"tests ran in {time.monotonic() - began:.0f} s; they come by {len(tests)} mutants", flush=True)
        return tests, times

    def _skipped(self) -> list[str]:
        return ["--skip", self.crate.skipped] if self.crate.skipped else []

    def kills(self, number: int, tests: list[str]) -> str | None:
        """The first test of these that finds this mutant."""
        command = [str(self.binary), "--exact", "--test-threads", "1", *tests]
        process = subprocess.Popen(
            command,
            cwd=self.crate.tree / self.crate.inside,
            env=environment(**self.crate.tests, MUTANT=str(number)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        )
        watch = threading.Timer(LIMIT, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            running = ""
            for line in process.stdout:
                if match := re.match(r"test (\S+) ", line):
                    running = match[1]
                if line.rstrip().endswith("FAILED"):
                    return running
            return f"ends after {running}" if process.wait() else None
        finally:
            watch.cancel()
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()


class Results:
    """The results, by the name of the mutant. Killed ones stay so while only tests are added (`--keep-killed`)."""

    def __init__(self, crate: Crate, *, keep_killed: bool) -> None:
        self.file, self.of = crate.folder / "results.json", fingerprint(crate)
        self.words: dict[str, str] = {}
        self._lock = threading.Lock()
        with contextlib.suppress(FileNotFoundError):
            kept = json.loads(self.file.read_text())
            if kept["of"] == self.of:
                self.words = kept["words"]
            elif keep_killed:
                self.words = {name: word for name, word in kept["words"].items() if word.startswith("killed")}

    def add(self, name: str, word: str) -> None:
        with self._lock:
            self.words[name] = word
            waiting = self.file.with_suffix(".new")
            waiting.write_text(json.dumps({"of": self.of, "words": self.words}, indent=0))
            waiting.replace(self.file)


def switched(program: Program, mutants: list[Mutant], results: Results, jobs: int) -> None:
    """Runs the mutants that have a switch."""
    reached, times = program.reached()

    def one(mutant: Mutant) -> None:
        tests = sorted(reached.get(mutant.number, ()))
        if not tests:
            results.add(mutant.name, "survived, no test comes by")
            return
        # Slow tests run last.
        bounds = [0.0, *SLOW, float("inf")]
        for least, most in itertools.pairwise(bounds):
            some = [name for name in tests if least <= times[name] < most]
            if some and (test := program.kills(mutant.number, some)):
                results.add(mutant.name, f"killed by {test}")
                return
        results.add(mutant.name, f"survived {len(tests)} tests")

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done, _ in enumerate(pool.map(one, mutants), 1):
            if done % 100 == 0:
                print(f"{done} of {len(mutants)}", flush=True)


def one_by_one(crate: Crate, program: Path, mutants: list[Mutant], results: Results) -> None:
    """Runs mutants by cargo-mutants, with a build for each."""
    words = {"CaughtMutant": "killed", "MissedMutant": "survived", "Timeout": "killed", "Unviable": "unviable"}
    for start in range(0, len(mutants), 10):
        names = [argument for mutant in mutants[start : start + 10] for argument in ("--re", f"^{re.escape(mutant.name)}$")]
        fixed = ["--baseline=skip", "--timeout=120", "-j1", "--colors=never", "--output", str(crate.folder)]
        command = [str(program), "mutants", "--package", crate.package, *fixed, *names, "--", "--lib"]
        variables = environment(**crate.tests, CARGO_INCREMENTAL="1", CARGO_PROFILE_DEV_DEBUG="0", TMPDIR=str(crate.folder))
        subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.DEVNULL, check=False)
        for outcome in json.loads((crate.folder / "mutants.out/outcomes.json").read_text())["outcomes"]:
            if isinstance(outcome["scenario"], dict):
                results.add(outcome["scenario"]["Mutant"]["name"], words.get(outcome["summary"], outcome["summary"]) + ", built by itself")


def survivors() -> dict[str, str]:
    """The mutants that are known to survive, and why."""
    found = {}
    for line in SURVIVORS.read_text().splitlines():
        if line and not line.startswith("#"):
            mutant, _, why = line.partition(" -- ")
            found[mutant.strip()] = why.strip()
    return found


def table(crate: Crate, mutants: list[Mutant], words: dict[str, str]) -> str:
    """A row for each group."""
    rows = [f"{'group':<16}{'viable':>8}{'killed':>8}{'%':>8}{'survive':>9}{'not run':>9}"]
    groups = {**dict.fromkeys(crate.groups), "others": None}
    for group in [*groups, "all"]:
        of = [words.get(mutant.name, "not run") for mutant in mutants if group in {mutant.group, "all"}]
        killed, left, waiting = (sum(word.startswith(begin) for word in of) for begin in ("killed", "survived", "not run"))
        if viable := killed + left:
            rows.append(f"{group:<16}{viable:>8}{killed:>8}{100 * killed / viable:>8.1f}{left:>9}{waiting:>9}")
    return "\n".join(rows)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def changed(crate: Crate, branch: str) -> Path | None:
    """The lines of the crate that are changed since a branch was left; on that branch itself, by the last commit."""
    try:
        base = git("merge-base", "HEAD", branch)
        if base == git("rev-parse", "HEAD"):
            base = git("rev-parse", "HEAD~1")
        difference = git("diff", base, "--", crate.sources)
    except subprocess.CalledProcessError as error:
        print(f"NOT CHECKED: mutants of changed lines, since git does not know what has changed since {branch}: {error.stderr.strip()}")
        return None
    file = crate.folder / "changed.diff"
    file.write_text(difference + "\n")
    return file


def chosen(crate: Crate, asked: argparse.Namespace, everything: list[Mutant], files: list[str]) -> list[Mutant]:
    """The mutants that are asked for."""
    difference = changed(crate, asked.changed_since) if asked.changed_since else None
    if asked.files or difference:
        names = {one["name"] for one in json.loads(listed(crate, asked.cargo_mutants, asked.files or files, difference))}
        first = [mutant for mutant in everything if mutant.name in names]
    else:
        first = [] if asked.changed_since else everything
    number, of = (int(part) for part in asked.shard.split("/"))
    first = first[number::of]
    if asked.sample is None:
        return first
    seed = asked.seed if asked.seed is not None else int(git("rev-parse", "HEAD")[:7], 16)
    among = everything if asked.changed_since else first
    sample = random.Random(seed).sample(among, min(asked.sample, len(among)))
    print(f"a sample of {len(sample)}, --seed {seed}", flush=True)
    return list(dict.fromkeys([*first, *sample])) if asked.changed_since else sample


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cargo-mutants", type=Path, required=True, help="the program")
    parser.add_argument("--crate", choices=CRATES, default=CORE.name, help="the crate that is changed (default: %(default)s)")
    parser.add_argument("--files", nargs="*", help="only these files of the crate")
    parser.add_argument("--shard", default="0/1", help="part k of n: `1/8`")
    parser.add_argument("--sample", type=int, metavar="NUMBER", help="only so many, chosen by `--seed`")
    parser.add_argument("--seed", type=int, help="another one for each commit unless it is given")
    parser.add_argument("--changed-since", metavar="BRANCH", help="those of the lines that are changed since then, and `--sample` more")
    parser.add_argument("--jobs", type=int, default=2, help="so many at once")
    parser.add_argument("--keep-killed", action="store_true", help="after a change that only adds tests: only what survived runs again")
    parser.add_argument("--with-switch-only", action="store_true", help="leave out what has to be built one by one")
    parser.add_argument("--build-only", action="store_true", help="build the program with all mutants, and run its tests without one")
    parser.add_argument("--least", type=float, metavar="PERCENT", help="survivors are only printed as long as so much is killed")
    parser.add_argument("--update", action="store_true", help="write tests/proof/mutants.txt, or that of the crate")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if not asked.cargo_mutants.is_file():
        print("NOT CHECKED: mutants, since cargo-mutants could not be installed")
        return 0
    crate = CRATES[asked.crate]
    crate.folder.mkdir(parents=True, exist_ok=True)
    files = [crate.sources + pattern.replace("/*", "/**") for patterns in crate.groups.values() for pattern in patterns]
    json_list = listed(crate, asked.cargo_mutants, files, None)
    everything = [Mutant(crate, number, one) for number, one in enumerate(json.loads(json_list))]
    mutants = chosen(crate, asked, everything, files)
    results = Results(crate, keep_killed=asked.keep_killed)
    waiting = [mutant for mutant in mutants if mutant.name not in results.words]
    # A run that is ended has tried a sample of all.
    random.Random(1).shuffle(waiting)
    print(f"{len(mutants)} mutants, {len(waiting)} of them are to be run", flush=True)
    if waiting or asked.build_only:
        program = Program(crate, everything, json_list)
        if asked.build_only:
            program.reached()
            return 0
        for mutant in everything:
            if program.left_out.get(mutant.number) in UNVIABLE and mutant.returns.find("impl ") < 0:
                results.words[mutant.name] = "unviable"
        waiting = [mutant for mutant in waiting if mutant.name not in results.words]
        switched(program, [mutant for mutant in waiting if mutant.number not in program.left_out], results, asked.jobs)
        left = [mutant for mutant in waiting if mutant.number in program.left_out]
        print(f"{len(left)} mutants have no switch", flush=True)
        if not asked.with_switch_only:
            one_by_one(crate, asked.cargo_mutants, left, results)
    print(table(crate, mutants, results.words))
    explained = survivors()
    unknown = [mutant for mutant in mutants if results.words.get(mutant.name, "").startswith("survived") and mutant.nameless not in explained]
    if asked.update:
        head = git("rev-parse", "--short", "HEAD")
        first = f"# `make mutants CRATE={crate.name}` at {head}: mutants of {crate.inside}, killed by the tests of that crate alone. The survivors below have no reason in survivors.txt."
        # Nobody can read a list of hundreds with their columns.
        waiting_for = collections.Counter(mutant.file.removeprefix(crate.sources) for mutant in unknown)
        rest = [f"{file:<32}{number:>4}" for file, number in sorted(waiting_for.items())] or ["none"]
        crate.result.write_text("\n".join([first, table(crate, mutants, results.words), "", "# Survivors that wait for a test", *rest, ""]))
    for mutant in unknown:
        print(f"survives: {mutant.name} ({results.words[mutant.name]})")
    if unknown:
        print(f"{len(unknown)} survivors are not in {SURVIVORS.relative_to(ROOT)}: write a test, or why there can be none.")
    if asked.least is None:
        return 1 if unknown else 0
    words = [results.words.get(mutant.name, "") for mutant in mutants]
    killed, survived = (sum(word.startswith(begin) for word in words) for begin in ("killed", "survived"))
    return 1 if 100 * killed < asked.least * (killed + survived) else 0


if __name__ == "__main__":
    sys.exit(main())
