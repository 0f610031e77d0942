"""Builds the functions of an earlier commit and of the working tree, with the same profile, and packs them as Lambda takes them.

It is the profile of tests (`dev`): what is compared is what the functions store and read, not how fast they are. Both are built into `target/`,
where dependencies that both lock files name are compiled once.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class NotThere(Exception):
    """A commit that this clone does not have."""


def commit_of(name: str, clone: Path = ROOT) -> str:
    """The commit's full hash; raises if the clone does not have it."""
    asked = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", clone=clone)
    if asked.returncode != 0:
        shallow = _git("rev-parse", "--is-shallow-repository", clone=clone).stdout.strip() == b"true"
        why = "this clone is shallow: `git fetch --unshallow` gets it" if shallow else "it is not in this clone"
        raise NotThere(f"{why} ({name})")
    return asked.stdout.decode().strip()


def is_ancestor(of: str, commit: str, clone: Path = ROOT) -> bool:
    """Whether a commit has another one in its history."""
    return _git("merge-base", "--is-ancestor", of, commit, clone=clone).returncode == 0


def build_commit(commit: str, into: Path) -> Path:
    """The functions of a commit, in a folder of its own; built once."""
    built = into / commit[:12]
    if (built / "ready").is_file():
        print(f"{commit[:12]} is built: {built.relative_to(ROOT)}")
        return built
    shutil.rmtree(built, ignore_errors=True)
    source = built / "source"
    source.mkdir(parents=True)
    archive = _git("archive", "--format=tar", commit, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(source, filter="data")
    build(source, built)
    shutil.rmtree(source)
    (built / "ready").touch()
    return built


def build(source: Path, into: Path) -> None:
    """Builds the functions of a source tree, as its lock file says, and packs each as ``into/NAME/bootstrap.zip``."""
    functions = functions_of(source)
    command = ["cargo", "build", "--locked", "--target-dir", str(ROOT / "target")]
    for function in functions:
        command += ["--bin", function]
    print(f"$ cd {source} && {' '.join(command)}", flush=True)
    started = time.monotonic()
    if subprocess.run(command, cwd=source, check=False).returncode != 0:
        sys.exit(f"{source}: cargo build failed")
    for function in functions:
        package = into / function
        package.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(package / "bootstrap.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as content:
            content.write(ROOT / "target" / "debug" / function, "bootstrap")
    print(f"built and packed {', '.join(functions)} in {time.monotonic() - started:.0f} s", flush=True)


def functions_of(source: Path) -> list[str]:
    """The functions of a source tree."""
    return sorted(path.name for path in (source / "functions").iterdir() if path.is_dir())


def _git(*arguments: str, clone: Path = ROOT, check: bool = False) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(clone), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=check)
