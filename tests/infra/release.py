"""Makes what a release is made of, from a checkout and what was built in it. CONTRIBUTING.md says how a release is made.

    tests/infra/release.py prepare VERSION         write the version, and give the lines under "Unreleased" its heading
    tests/infra/release.py check VERSION           say why this checkout is not that release, if so
    tests/infra/release.py bills                   write the bills of materials into target/sbom, with cargo-cyclonedx
    tests/infra/release.py write VERSION FOLDER    write the files of the release, from what was built into target/
    tests/infra/release.py compare FOLDER FOLDER   say which files of two runs differ
    tests/infra/release.py crates FOLDER FOLDER    say which crates of two releases differ, by their bills of materials

A refusal is a line for each reason and exit code 2. The same commit and compiler give the same bytes: no file has the time or place of its making.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tomllib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packages import NoPackage, program
from packages import architecture as processor

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
# Processors, by Lambda's names and by the compiler's.
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
COMMAND_LINE = "ecr-guard"
# Semantic Versioning 2.0, without build metadata: a + has another meaning in addresses.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?")
HEADING = re.compile(r"^## (?P<name>\S+)(?: - \d{4}-\d\d-\d\d)?$", re.MULTILINE)
UNRELEASED = "Unreleased"
# A link whose target is a file of this repository: a release's page does not have it.
FILE_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?!https?:)(?P<target>[^)]+)\)")
# `make lock` writes it before a release: checksums of the providers, for the root of the modules.
PROVIDERS = "infra/.terraform.lock.hcl"
# The files of the modules' archive, and of every archive.
MODULES = ("infra", "docs", "README.md", "CHANGELOG.md", "SECURITY.md")
LICENCE = "LICENSE"
THIRD_PARTIES = "THIRD-PARTY.txt"
LICENCE_FILE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


class Refused(Exception):
    """The reasons why there is no release, each in a sentence."""

    def __init__(self, *reasons: str):
        super().__init__("\n".join(reasons))


class File(NamedTuple):
    """A file of an archive."""

    name: str
    content: bytes
    program: bool = False


class Built(NamedTuple):
    """The results of the builds."""

    # The zips of the functions with their notes, by processor.
    lambda_directory: Path
    # The command line, by processor.
    command_line: Path
    # A bill of materials for each program, CycloneDX.
    bills: Path
    # The licences of what is linked, by processor.
    third_parties: dict[str, str]
    # Folders of this machine, which no program may name.
    places: list[str]
    # The commit, and what built it.
    tools: str


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """The output of a command; a refusal if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Refused(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        raise Refused(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def committed() -> int:
    """The time of the commit, in seconds since 1970: the only time in a release."""
    return int(run("git", "log", "-1", "--format=%ct"))


# Whether the checkout is the release


def sections(changelog: str) -> dict[str, str]:
    """The texts of CHANGELOG.md, by version."""
    found = list(HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in found[1:]), len(changelog)]
    return {heading["name"]: changelog[heading.end() : end].strip() for heading, end in zip(found, ends, strict=True)}


def workspace_version(manifest: str) -> str:
    """The version of all crates, by the text of Cargo.toml."""
    version = tomllib.loads(manifest)["workspace"]["package"]["version"]
    return str(version)


def not_a_version(version: str) -> list[str]:
    """The reason why this is no version."""
    return [] if VERSION.fullmatch(version) else [f"`{version}` is no version: one is like 1.4.0 or 1.4.0-rc.1 (semver.org), without a v before it"]


def problems(version: str, changelog: str, manifest: str, status: str) -> list[str]:
    """The reasons why a checkout is not the release of a version. `status`: as `git status --porcelain` prints it."""
    found = not_a_version(version)
    if found:
        return found
    if (has := workspace_version(manifest)) != version:
        found.append(f"Cargo.toml has the version {has}, and not {version}: `make release-prepare VERSION={version}` writes it")
    texts = sections(changelog)
    if version not in texts:
        found.append(f"CHANGELOG.md has no section `## {version}`: `make release-prepare VERSION={version}` makes it of the lines under {UNRELEASED}")
    elif not texts[version]:
        found.append(f"CHANGELOG.md says nothing under `## {version}`")
    elif texts.get(UNRELEASED):
        found.append(f"CHANGELOG.md has lines under {UNRELEASED}, which are in this commit and would be in no release notes: move them to `## {version}`")
    changed = [line for line in status.splitlines() if line != f"?? {PROVIDERS}"]
    if changed:
        more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
        found.append(f"the checkout differs from its commit: {', '.join(line[3:] for line in changed[:5])}{more}")
    return found


def compiler_problems(wanted: str, rustc: str, targets: Iterable[str], any_compiler: bool) -> list[str]:
    """The reasons why a compiler makes no release. `wanted`: the version of rust-toolchain.toml; `rustc`: as `rustc --version` prints it."""
    found = []
    if not any_compiler and rustc.split()[1:2] != [wanted]:
        found.append(f"the compiler is {rustc.strip()}, and a release is built with {wanted} (ANY_COMPILER=1 for a rehearsal)")
    lacking = sorted(set(TARGETS.values()) - set(targets))
    return found + [f"the compiler has no library for {target}: rustup target add {target}" for target in lacking]


def rustc() -> str:
    """The compiler that cargo calls."""
    return os.environ.get("RUSTC", "rustc")


def check(version: str) -> None:
    """Refuses a checkout that is not the release, or a compiler that cannot build it."""
    found = problems(
        version,
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        (ROOT / "Cargo.toml").read_text(encoding="utf-8"),
        run("git", "status", "--porcelain"),
    )
    if not found:
        wanted = tomllib.loads((ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))["toolchain"]["channel"]
        libraries = Path(run(rustc(), "--print", "sysroot").strip()) / "lib" / "rustlib"
        found = compiler_problems(
            wanted, run(rustc(), "--version"), (path.name for path in libraries.iterdir()), os.environ.get("ANY_COMPILER") in ("1", "yes")
        )
    if found:
        raise Refused(*found)


# Before a release


def prepared(version: str, changelog: str, manifest: str, day: datetime.date) -> tuple[str, str]:
    """CHANGELOG.md and Cargo.toml for a release."""
    if found := not_a_version(version):
        raise Refused(*found)
    texts = sections(changelog)
    if version in texts:
        raise Refused(f"CHANGELOG.md has a section `## {version}` already")
    if not texts.get(UNRELEASED):
        raise Refused(f"CHANGELOG.md has nothing under {UNRELEASED}: there is nothing to release")
    headed = changelog.replace(f"## {UNRELEASED}\n", f"## {UNRELEASED}\n\n## {version} - {day.isoformat()}\n", 1)
    has = workspace_version(manifest)
    numbered, replaced = re.subn(
        rf'(?m)^(\[workspace\.package\]\n(?:[^\[\n].*\n)*?version = "){re.escape(has)}"', lambda found: f'{found[1]}{version}"', manifest
    )
    if replaced != 1:
        raise Refused("Cargo.toml has no line with its version under [workspace.package]")
    return headed, numbered


def locked(version: str, lock: str, has: str) -> str:
    """Cargo.lock for a release: crates without a source are ours, and have the version of all. Cargo would do it only with all crates in its cache, or a network."""
    numbered, replaced = re.subn(rf'(?m)^(\[\[package\]\]\nname = ".+"\nversion = "){re.escape(has)}"(?!\nsource)', lambda found: f'{found[1]}{version}"', lock)
    if not replaced:
        raise Refused(f"Cargo.lock has no crate of this workspace with the version {has}")
    return numbered


def prepare(version: str) -> None:
    """Writes them, and Cargo.lock."""
    paths = [ROOT / name for name in ("CHANGELOG.md", "Cargo.toml", "Cargo.lock")]
    changelog, manifest, lock = (path.read_text(encoding="utf-8") for path in paths)
    headed, numbered = prepared(version, changelog, manifest, datetime.datetime.now(datetime.UTC).date())
    for path, text in zip(paths, (headed, numbered, locked(version, lock, workspace_version(manifest))), strict=True):
        path.write_text(text, encoding="utf-8")
    print(f"Cargo.toml, Cargo.lock and CHANGELOG.md are those of {version}. `make update`, read the diff, commit it; then `make release VERSION={version}`.")


# Files


def archive(files: Iterable[File], when: int) -> bytes:
    """A `.tar.gz` that has no time but `when`, in seconds since 1970, no user, and its files in the order of their names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(files):
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mtime, entry.mode = len(file.content), when, 0o755 if file.program else 0o644
            tar.addfile(entry, io.BytesIO(file.content))
    compressed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=compressed, mtime=0) as stream:
        stream.write(packed.getvalue())
    return compressed.getvalue()


def notes(section: str) -> str:
    """The release notes: a section of CHANGELOG.md, with the names of files in place of links to them."""
    return FILE_LINK.sub(lambda link: link["text"] if link["text"] == link["target"].partition("#")[0] else f"{link['text']} (`{link['target']}`)", section) + "\n"


def places(content: bytes, of_this_machine: Iterable[str]) -> list[str]:
    """The places of this machine that a program names."""
    return [place for place in of_this_machine if place and place.encode() in content]


def packages(folder: Path, functions: Iterable[str], architecture: str) -> list[File]:
    """The functions' packages with their notes, as the module `guard` reads them."""
    files = []
    for function in functions:
        for name in ("bootstrap.zip", "bootstrap.json"):
            path = folder / architecture / function / name
            if not path.is_file():
                raise Refused(f"{path} is not there: it was not built")
            files.append(File(f"lambda/{architecture}/{function}/{name}", path.read_bytes()))
    return files


def modules(root: Path) -> list[File]:
    """The modules and their pages, as git has them, with the providers' checksums if there are any."""
    names = run("git", "ls-files", "-z", *MODULES, folder=root).split("\0")
    found = {name for name in names if name} | ({PROVIDERS} if (root / PROVIDERS).is_file() else set())
    return [File(name, (root / name).read_bytes(), os.access(root / name, os.X_OK)) for name in found]


def third_parties(metadata: dict[str, Any]) -> str:
    """The licences of all crates that are linked, each text once. `metadata`: as `cargo metadata` prints it, for one target."""
    ours = set(metadata["workspace_members"])
    wanted, waiting = set(), [node["id"] for node in metadata["resolve"]["nodes"] if node["id"] in ours and _is_shipped(node["id"], metadata)]
    linked = {node["id"]: _linked(node) for node in metadata["resolve"]["nodes"]}
    while waiting:
        crate = waiting.pop()
        if crate not in wanted:
            wanted.add(crate)
            waiting += linked[crate]
    texts: dict[str, list[str]] = {}
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        if package["id"] in wanted - ours:
            folder = Path(package["manifest_path"]).parent
            said = [path.read_text(encoding="utf-8", errors="replace").strip() for path in sorted(folder.iterdir()) if LICENCE_FILE.match(path.name) and path.is_file()]
            for text in said or [f"{package['license']} (the crate has no text of it)"]:
                texts.setdefault(text, []).append(f"{package['name']} {package['version']} ({package['license']})")
    rule = "=" * 100
    return "".join(f"{rule}\n{chr(10).join(crates)}\n{rule}\n\n{text}\n\n" for text, crates in texts.items())


def _is_shipped(crate: str, metadata: dict[str, Any]) -> bool:
    """Whether one of ours is a program of a release: the functions, and the command line."""
    package = next(package for package in metadata["packages"] if package["id"] == crate)
    return any("bin" in target["kind"] for target in package["targets"])


def _linked(node: dict[str, Any]) -> list[str]:
    """The dependencies of a crate that are linked with it, and not only used by its tests or its build."""
    return [dependency["pkg"] for dependency in node["deps"] if any(kind["kind"] is None for kind in dependency["dep_kinds"])]


def sums(files: dict[str, bytes]) -> str:
    """The checksums of files, as sha256sum reads them."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))


def assets(version: str, section: str, built: Built, root: Path, when: int) -> dict[str, bytes]:
    """The files of a release, by name. `section`: its text in CHANGELOG.md; `when`: the time of the commit."""
    name = f"ecr-guard-{version}"
    functions = sorted(path.name for path in (root / "functions").iterdir() if path.is_dir())
    licence = File(LICENCE, (root / LICENCE).read_bytes())
    files: dict[str, bytes] = {}
    for architecture in TARGETS:
        licences = [licence, File(THIRD_PARTIES, built.third_parties[architecture].encode())]
        zipped = packages(built.lambda_directory, functions, architecture)
        command_line = (built.command_line / architecture / COMMAND_LINE / "bootstrap").read_bytes()
        programs = {file.name: program(io.BytesIO(file.content)) for file in zipped if file.name.endswith(".zip")} | {COMMAND_LINE: command_line}
        if named := [f"{of} for {architecture} names a place of this machine: {place}" for of, content in programs.items() for place in places(content, built.places)]:
            raise Refused(*named)
        if strange := [of for of, content in programs.items() if processor(content) != architecture]:
            raise Refused(f"not for {architecture}: {', '.join(strange)}")
        files[f"{name}-lambda-{architecture}.tar.gz"] = archive(
            [file._replace(name=f"{name}/{file.name}") for file in zipped]
            + [file._replace(name=f"{name}/lambda/{architecture}/{file.name}") for file in licences],
            when,
        )
        files[f"{name}-linux-{architecture}.tar.gz"] = archive([File(COMMAND_LINE, command_line, program=True), *licences], when)
    files[f"{name}-modules.tar.gz"] = archive([file._replace(name=f"{name}/{file.name}") for file in [*modules(root), licence]], when)
    for of in [*functions, COMMAND_LINE]:
        bill = built.bills / f"{of}.cdx.json"
        if not bill.is_file():
            raise Refused(f"no bill of materials for {of}")
        if named := places(bill.read_bytes(), built.places):
            raise Refused(f"the bill of materials for {of} names a place of this machine: {', '.join(named)}")
        files[f"{name}-{bill.name}"] = bill.read_bytes()
    files["RELEASE-NOTES.md"] = notes(section).encode()
    files["BUILT-WITH.txt"] = built.tools.encode()
    return files | {"SHA256SUMS": sums(files).encode()}


def bills() -> None:
    """Writes the bills of materials: a document for each program, with the crates in it for the processor of a deployment."""
    folder = TARGET / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    os.environ["SOURCE_DATE_EPOCH"] = str(committed())
    run("cargo", "cyclonedx", "--format=json", "--spec-version=1.5", "--describe=binaries", "--no-build-deps", f"--target={TARGETS['arm64']}", "--quiet")
    # It writes next to each Cargo.toml.
    for name in run("git", "ls-files", "--others", "-z", "*.cdx.json").split("\0"):
        if name:
            text = (ROOT / name).read_text(encoding="utf-8").replace(f"path+file://{ROOT}", "path+file:///ecr-guard")
            (folder / Path(name).name.replace("_bin.", ".")).write_text(text, encoding="utf-8")
            (ROOT / name).unlink()
    print(f"{len(list(folder.iterdir()))} bills of materials in {folder}")


def write(version: str, folder: Path) -> None:
    """Writes the files of a release."""
    metadata = {
        architecture: json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target))
        for architecture, target in TARGETS.items()
    }
    cargo = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    commit = run("git", "rev-parse", "HEAD").strip()
    built = Built(
        lambda_directory=TARGET / "lambda",
        command_line=TARGET / "command-line",
        bills=TARGET / "sbom",
        third_parties={architecture: third_parties(found) for architecture, found in metadata.items()},
        places=[str(ROOT), cargo],
        tools=f"commit {commit}\n{run(rustc(), '--version')}{run('cargo', 'lambda', '--version')}zig {run(sys.executable, '-m', 'ziglang', 'version')}"
        f"Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}\n",
    )
    said = sections((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if version not in said:
        raise Refused(f"CHANGELOG.md has no section `## {version}`")
    files = assets(version, said[version], built, ROOT, committed())
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        print(f"{len(content) / 1024:>8.0f} KiB  {folder / name}")


# After a release


def differences(one: Path, other: Path) -> list[str]:
    """The names of the files that two folders do not have alike."""
    names = {path.name for folder in (one, other) for path in folder.iterdir()}

    def content(folder: Path, name: str) -> bytes | None:
        return (folder / name).read_bytes() if (folder / name).is_file() else None

    return sorted(name for name in names if content(one, name) != content(other, name))


def compare(one: Path, other: Path) -> None:
    """Says whether two runs gave the same bytes."""
    for folder in (one, other):
        if not (folder / "SHA256SUMS").is_file():
            raise Refused(f"{folder} is no release: it has no SHA256SUMS")
    if different := differences(one, other):
        raise Refused(f"{one} and {other} differ: {', '.join(different)}")
    print(f"{len(list(one.iterdir()))} files, the same bytes in {one} and {other}")


def crates(folder: Path) -> dict[str, dict[str, str]]:
    """The crates of each program of a release, and their versions, by its bills of materials."""
    modules = next(folder.glob("*-modules.tar.gz"), None)
    if modules is None:
        raise Refused(f"{folder} is no release: it has no modules")
    release = modules.name.removesuffix("modules.tar.gz")
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob(f"{release}*.cdx.json")):
        of = path.name.removeprefix(release).removesuffix(".cdx.json")
        versions: dict[str, list[str]] = {}
        for part in json.loads(path.read_text(encoding="utf-8"))["components"]:
            versions.setdefault(part["name"], []).append(part["version"])
        # A program may have a crate in two versions.
        found[of] = {name: " and ".join(sorted(each)) for name, each in versions.items()}
    return found


def changed_crates(one: Path, other: Path) -> list[str]:
    """A line for each crate that two releases do not have alike, with the programs."""
    before, after = crates(one), crates(other)
    lines: dict[str, list[str]] = {}
    for of in sorted(before | after):
        old, new = before.get(of, {}), after.get(of, {})
        for name in sorted(old | new):
            match old.get(name), new.get(name):
                case None, version:
                    lines.setdefault(f"added    {name} {version}", []).append(of)
                case version, None:
                    lines.setdefault(f"removed  {name} {version}", []).append(of)
                case was, version if was != version:
                    lines.setdefault(f"changed  {name} {was} to {version}", []).append(of)
    return [f"{line} ({', '.join(programs)})" for line, programs in sorted(lines.items())]


def main() -> int:
    """Does one of them; gives the exit code."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("prepare", "check", "write"):
        commands.add_parser(name).add_argument("version")
    commands.add_parser("bills")
    commands.choices["write"].add_argument("folder", type=Path)
    for name in ("compare", "crates"):
        commands.add_parser(name).add_argument("folders", type=Path, nargs=2)
    options = parser.parse_args()
    try:
        match options.command:
            case "prepare":
                prepare(options.version)
            case "check":
                check(options.version)
            case "bills":
                bills()
            case "write":
                write(options.version, options.folder)
            case "crates":
                print("\n".join(changed_crates(*options.folders)) or "the same crates")
            case _:
                compare(*options.folders)
    except (Refused, NoPackage) as refused:
        print(refused, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
