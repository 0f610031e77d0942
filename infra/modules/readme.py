#!/usr/bin/env python3
"""Write the tables in the README of Terraform modules, in the order of terraform-docs: requirements, resources, variables, outputs.

    infra/modules/readme.py FOLDER...            rewrite them
    infra/modules/readme.py --check FOLDER...    say whether they are as the code has them

A README has one pair of these lines for each table, each on a line of its own, and what is between them is replaced:

    <!-- requirements -->  <!-- end of requirements -->
    <!-- resources -->  <!-- end of resources -->
    <!-- variables -->  <!-- end of variables -->
    <!-- outputs -->    <!-- end of outputs -->

Variables and outputs come in the order of the code, files in alphabetical order. One without a description is an error, and so
is a variable without a type. Only what these blocks need is understood of HCL: strings, heredocs, comments and brackets.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

# The parts that have to be taken as a whole: a string may contain brackets, a comment anything.
TOKEN = re.compile(
    r"""
      (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<heredoc> <<-?(?P<tag>[A-Za-z_]\w*)\n.*?\n[ \t]*(?P=tag)(?=\n|$) )
    | (?P<open> [{\[(] )
    | (?P<close> [}\])] )
    | (?P<newline> \n )
    """,
    re.VERBOSE | re.DOTALL,
)
DECLARED = re.compile(r'^(resource|data|module)\s+"([^"]+)"(?:\s+"([^"]+)")?\s*\{', re.MULTILINE)
REGISTRY = "https://registry.terraform.io/providers/hashicorp"
BLOCK = re.compile(r'^(variable|output)\s+"([^"]+)"\s*\{', re.MULTILINE)
ATTRIBUTE = re.compile(r"\s*([a-z0-9_]+)\s*=(?!=)\s*")
NESTED = re.compile(r"\s*[a-z0-9_]+\s*\{")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class Mistake(Exception):
    """Something in a module or its README that a person has to put right."""


def string_end(text: str, start: int) -> int:
    """Where the quoted string that begins at `start` ends, also when it has ${"a string"} in it."""
    at = start + 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == '"':
            return at + 1
        elif text.startswith(("$${", "%%{"), at):
            at += 3
        elif text.startswith(("${", "%{"), at):
            at = closing(text, at + 1)
        else:
            at += 1
    raise Mistake(f"line {line(text, start)}: a string that does not end")


def line(text: str, at: int) -> int:
    """The number of the line that has position `at`."""
    return text.count("\n", 0, at) + 1


def tokens(text: str, start: int) -> Iterator[tuple[str | None, int, int]]:
    """A token that is neither plain text nor string, from `start` on: (kind, from, to)."""
    at = start
    while at < len(text):
        if text[at] == '"':
            end = string_end(text, at)
            yield "string", at, end
        else:
            match = TOKEN.match(text, at)
            end = match.end() if match else at + 1
            if match:
                # `tag` is a part of `heredoc`, and would be the last group that matched.
                yield "heredoc" if match["heredoc"] else match.lastgroup, at, end
        at = end


def closing(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`."""
    depth = 0
    for kind, _, end in tokens(text, start):
        depth += {"open": 1, "close": -1}.get(kind or "", 0)
        if depth == 0:
            return end
    raise Mistake(f"line {line(text, start)}: a bracket that is not closed")


def expression_end(text: str, start: int) -> int:
    """Where an attribute's value ends: at the end of its line, unless a bracket is open."""
    depth = 0
    for kind, begin, _ in tokens(text, start):
        if depth == 0 and kind in ("newline", "comment", "close"):
            return begin
        depth += {"open": 1, "close": -1}.get(kind or "", 0)
    return len(text)


def attributes(text: str, start: int, end: int) -> dict[str, str]:
    """The attributes of a block's body, as they are written; nested blocks are left out."""
    found = {}
    at = start
    while at < end:
        if match := ATTRIBUTE.match(text, at):
            at = expression_end(text, match.end())
            found[match[1]] = text[match.end() : at].strip()
        elif match := NESTED.match(text, at):
            at = closing(text, match.end() - 1)
        else:
            at = next((stop for kind, _, stop in tokens(text, at) if kind in ("comment", "newline")), end)
    return found


def blocks(folder: pathlib.Path, kind: str) -> dict[str, dict[str, str]]:
    """The blocks of a kind in a module: name => attributes."""
    found = {}
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text(encoding="utf-8")
        try:
            for match in BLOCK.finditer(text):
                if match[1] == kind:
                    found[match[2]] = attributes(text, match.end(), closing(text, match.end() - 1) - 1)
        except Mistake as mistake:
            raise Mistake(f"{path}: {mistake}") from None
    return found


def plain(value: str) -> str:
    """The text of a string or heredoc, in one line."""
    if value.startswith("<<"):
        value = "\n".join(value.split("\n")[1:-1])
    elif value.startswith('"') and value.endswith('"'):
        value = re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), value[1:-1])
        value = value.replace("$${", "${").replace("%%{", "%{")
    else:
        raise Mistake(f"not a string: {value}")
    return re.sub(r"\s+", " ", value).strip()


def compact(value: str) -> str:
    """An expression in one line, without its comments."""
    for begin, end in reversed([(begin, end) for kind, begin, end in tokens(value, 0) if kind == "comment"]):
        value = value[:begin] + value[end:]
    value = re.sub(r"\s*\n\s*", ", ", value)
    value = re.sub(r"(,\s*)+,", ",", value)
    value = re.sub(r"([{\[(]),\s*", r"\1 ", value)
    value = re.sub(r",\s*([}\])])", r" \1", value)
    value = re.sub(r"[ \t]+", " ", value)
    return re.sub(r"[(\[] | [)\]]", lambda match: match[0].strip(), value)


def code(value: str) -> str:
    """As code in a table's cell."""
    return "`" + value.replace("|", "\\|") + "`"


def description(folder: pathlib.Path, kind: str, name: str, block: dict[str, str]) -> str:
    """The description of a block, as a table's cell."""
    try:
        text = plain(block["description"])
    except KeyError:
        raise Mistake(f"{folder}: {kind} {name} has no description") from None
    except Mistake as mistake:
        raise Mistake(f"{folder}: description of {kind} {name}: {mistake}") from None
    return text.replace("|", "\\|")


def variables(folder: pathlib.Path) -> list[str]:
    """The table of the variables."""
    rows = ["| variable | what | type | default |", "|---|---|---|---|"]
    for name, block in blocks(folder, "variable").items():
        if "type" not in block:
            raise Mistake(f"{folder}: variable {name} has no type")
        default = code(compact(block["default"])) if "default" in block else "**required**"
        rows.append(f"| `{name}` | {description(folder, 'variable', name, block)} | {code(compact(block['type']))} | {default} |")
    return rows


def outputs(folder: pathlib.Path) -> list[str]:
    """The table of the outputs."""
    rows = ["| output | what |", "|---|---|"]
    for name, block in blocks(folder, "output").items():
        rows.append(f"| `{name}` | {description(folder, 'output', name, block)} |")
    return rows


def requirements(folder: pathlib.Path) -> list[str]:
    """The table of Terraform's and the providers' versions."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
    version = re.search(r'^\s*required_version\s*=\s*"([^"]+)"', text, re.MULTILINE)
    if not version:
        raise Mistake(f"{folder}: no required_version")
    rows = ["| needs | version |", "|---|---|", f"| Terraform | `{version[1]}` |"]
    for name, source, constraint in re.findall(
        r'^\s*([a-z0-9_]+)\s*=\s*\{\s*(?:#[^\n]*\n\s*)*source\s*=\s*"([^"]+)"\s*(?:#[^\n]*\n\s*)*version\s*=\s*"([^"]+)"', text, re.MULTILINE
    ):
        rows.append(f"| provider [{name}](https://registry.terraform.io/providers/{source}) | `{constraint}` |")
    return rows


def resources(folder: pathlib.Path) -> list[str]:
    """The table of what the module makes, reads and calls."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(folder.glob("*.tf")):
        for kind, first, second in DECLARED.findall(path.read_text(encoding="utf-8")):
            found.setdefault((kind, first if kind != "module" else ""), []).append(second or first)
    rows = ["| resource | kind | names |", "|---|---|---|"]
    for (kind, what), names in sorted(found.items(), key=lambda entry: (["resource", "data", "module"].index(entry[0][0]), entry[0][1])):
        listed = ", ".join(f"`{name}`" for name in names)
        if kind == "module":
            rows.append(f"| – | module | {listed} |")
            continue
        provider, _, rest = what.partition("_")
        page = f"{REGISTRY}/{provider}/latest/docs/{'resources' if kind == 'resource' else 'data-sources'}/{rest}"
        rows.append(f"| {f'[`{what}`]({page})' if provider == 'aws' else f'`{what}`'} | {'resource' if kind == 'resource' else 'data source'} | {listed} |")
    return rows


def rewritten(folder: pathlib.Path) -> tuple[pathlib.Path, str, str]:
    """The README of a module as it has to be, and as it is."""
    path = folder / "README.md"
    if not path.is_file():
        raise Mistake(f"{path}: no such file")
    text = old = path.read_text(encoding="utf-8")
    tables: tuple[tuple[str, Callable[[pathlib.Path], list[str]]], ...]
    tables = (("requirements", requirements), ("resources", resources), ("variables", variables), ("outputs", outputs))
    for kind, table in tables:
        begin, end = f"<!-- {kind} -->", f"<!-- end of {kind} -->"
        pattern = re.compile(rf"^{begin}$.*?^{end}$", re.MULTILINE | re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise Mistake(f"{path}: needs the lines {begin} and {end}, once")
        start, rest = pattern.split(text)
        text = start + "\n".join([begin, *table(folder), end]) + rest
    return path, old, text


def main() -> int:
    """Rewrite or check each folder; the exit code is 1 when something is to be done by a person."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would be changed")
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER", help="a Terraform module with a README.md")
    arguments = parser.parse_args()

    failed = False
    for folder in arguments.folders:
        try:
            path, old, new = rewritten(folder)
        except Mistake as mistake:
            print(mistake, file=sys.stderr)
            failed = True
            continue
        if old == new:
            continue
        if arguments.check:
            print(f"{path}: the tables are not as the code has them; run {sys.argv[0]} {folder}", file=sys.stderr)
            failed = True
        else:
            path.write_text(new, encoding="utf-8")
            print(f"{path}: rewritten")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
