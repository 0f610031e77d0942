"""Which scenarios are meant by the names that somebody gives: a scenario, a group, or a pattern such as ``role-of-*``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from scenarios.world import Group, Scenario


class Unknown(Exception):
    """A name that is none."""


def chosen(names: Iterable[str], groups: list[Group]) -> list[Scenario]:
    """The scenarios of these names, in the order in which they run; all of them if no name is given. A typo is an error with a suggestion."""
    wanted = list(names)
    everything = [scenario for group in groups for scenario in group.scenarios]
    if not wanted:
        return everything
    found: set[str] = set()
    wrong = []
    for name in wanted:
        matching = {one.name for one in everything if fnmatchcase(one.name, name)}
        matching |= {one.name for group in groups if group.name == name for one in group.scenarios}
        found |= matching
        if not matching:
            wrong.append(name)
    if wrong:
        known = [one.name for one in everything] + [group.name for group in groups]
        raise Unknown("\n".join(f"No scenario `{name}`.{_suggestion(name, known)} All of them: `make e2e-list`." for name in wrong))
    return [scenario for scenario in everything if scenario.name in found]


def _suggestion(name: str, known: list[str]) -> str:
    close = [one for one in known if one.startswith(name)][:2] or difflib.get_close_matches(name, known, n=2)
    return f" Did you mean {' or '.join(f'`{one}`' for one in close)}?" if close else ""
