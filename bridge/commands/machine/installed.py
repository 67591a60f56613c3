"""What is installed: Python, dari, the packages of each extra, and what each adapter would need."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator

import bridge
from bridge.commands.machine.finding import Finding, State

_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*([^;]*?)\s*(?:;\s*(.*))?$")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_FOR_WORK_ON_DARI = ("dev",)
_COMPILED = "-compile"
"""Ends the extra that compiles what another extra has as a wheel: no extra that a user has or lacks, but a way to one."""


def look() -> Iterator[Finding]:
    """Findings on Python, dari and its extras."""
    version = platform.python_version()
    place = f"{version} ({sys.executable}), {platform.platform(terse=True)}, {platform.machine()}"
    yield Finding("python", "Python", "ok", place)
    yield Finding("python", "dari", "ok", f"{bridge.__version__} ({bridge.__path__[0]})")
    known = extras()
    for extra, requirements in known.items():
        if not extra.endswith(_COMPILED):
            yield _extra(extra, requirements, extra + _COMPILED in known)


def extras() -> dict[str, list[tuple[str, str, str]]]:
    """For each extra of the installed dari its packages: name, version range, and the condition under which it is wanted."""
    try:
        lines = importlib.metadata.requires("dari") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[tuple[str, str, str]]] = {}
    for line in lines:
        match = _REQUIREMENT.match(line)
        marker = match[4] or "" if match is not None else ""
        extra = _EXTRA.search(marker)
        if match is None or extra is None or match[1] == "dari" or extra[1] in _FOR_WORK_ON_DARI:
            continue
        condition = re.sub(r"^(\s*and\b)?\s*|\s*(\band\s*)?$", "", _EXTRA.sub("", marker))
        found.setdefault(extra[1], []).append((match[1], match[3].strip(), condition))
    return found


def _extra(extra: str, requirements: list[tuple[str, str, str]], compiled: bool) -> Finding:
    """One extra: which of its packages are here. What a condition leaves out on this machine may be missing for good, unless
    it can be `compiled`."""
    here, absent, conditions = [], [], set()
    for name, _, condition in requirements:
        try:
            here.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
            if condition:
                conditions.add(condition)
    if not absent:
        return Finding("extras", extra, "ok", ", ".join(here))
    only = f" (they are for {' or '.join(sorted(conditions))} only)" if conditions else ""
    text = f"{', '.join(absent)} not installed{only}" + (f"; here: {', '.join(here)}" if here else "")
    advice = f"if you want it: pip install 'dari[{extra}]' (from a clone: make setup)"
    if compiled and conditions:
        advice += f"; elsewhere it is compiled, which takes minutes: pip install 'dari[{extra}{_COMPILED}]'"
    return Finding("extras", extra, "warn", text, advice)


def adapters(asked: set[str]) -> Iterator[Finding]:
    """For each adapter, whether what it needs is here; those in `asked` are asked for."""
    from bridge import registry
    from bridge.adapter import require
    from bridge.errors import DariError

    names = registry.names(registry.ADAPTERS)
    for name in [*names, *sorted(asked.difference(names))]:
        wanted = name in asked
        try:
            adapter = registry.load(registry.ADAPTERS, name)
            require(adapter.requirements, f"the adapter {name}")
        except DariError as error:
            state: State = "missing" if wanted else "warn"
            yield Finding("adapters", name, state, error.what, error.hint, wanted, error.exit_code)
            continue
        needs = ", ".join(need.module for need in adapter.requirements)
        text = f"{needs} installed" if needs else "needs nothing more"
        what = f"; {adapter.summary}" if adapter.summary else ""
        yield Finding("adapters", name, "ok", text + what, asked=wanted)
