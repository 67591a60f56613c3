"""Finds adapters, sinks, commands and players by entry points: this is how another company's package plugs in.

Looking up is lazy: the installed distributions are asked once for their entry points, and a module is imported only
when it is loaded by name. Nothing is swallowed: an entry point that can not be imported says which distribution it is
of, and why.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any, Final

from bridge.errors import DariError, MissingPackageError, UsageError
from bridge.names import nearest

ADAPTERS: Final = "dari.adapters"
SINKS: Final = "dari.sinks"
COMMANDS: Final = "dari.commands"
PLAYERS: Final = "dari.players"

_THINGS: Final = {ADAPTERS: "adapter", SINKS: "sink", COMMANDS: "command", PLAYERS: "player"}


class PluginError(MissingPackageError):
    """An entry point names something that can not be imported, or that two distributions claim. Exit code 5."""


@dataclass(frozen=True)
class Entry:
    """One name in a group: `target` is `module:attribute`, `distribution` and `version` say where it comes from."""

    name: str
    target: str
    distribution: str
    version: str


_registered: dict[tuple[str, str], Any] = {}


@functools.lru_cache(maxsize=1)
def _installed() -> dict[str, dict[str, list[tuple[Entry, importlib.metadata.EntryPoint]]]]:
    """Every entry point of our groups: group, name, and who offers it. Read once."""
    found: dict[str, dict[str, list[tuple[Entry, importlib.metadata.EntryPoint]]]] = {}
    points = importlib.metadata.entry_points()
    for group in _THINGS:
        for point in points.select(group=group):
            dist = getattr(point, "dist", None)
            entry = Entry(
                name=point.name,
                target=point.value,
                distribution=dist.name if dist is not None else "an unnamed distribution",
                version=dist.version if dist is not None else "",
            )
            offers = found.setdefault(group, {}).setdefault(point.name, [])
            if all(entry.target != other.target for other, _ in offers):
                offers.append((entry, point))
    return found


def register(group: str, name: str, thing: Any) -> None:
    """Add `thing` under `name` in this process, in front of what is installed: for tests and for embedding."""
    _group(group)
    _registered[group, name] = thing


def unregister(group: str, name: str) -> None:
    """Take back what `register` added; nothing happens if there is no such name."""
    _registered.pop((group, name), None)


def names(group: str) -> list[str]:
    """All names of a group, sorted. Imports nothing."""
    _group(group)
    return sorted({*_installed().get(group, {}), *(name for g, name in _registered if g == group)})


def entries(group: str) -> list[Entry]:
    """All entries of a group, sorted by name; a name that two distributions claim is there twice. Imports nothing."""
    _group(group)
    taken = {name for g, name in _registered if g == group}
    here = [Entry(n, "registered", "this process", "") for g, n in _registered if g == group]
    there = [e for name, offers in _installed().get(group, {}).items() if name not in taken for e, _ in offers]
    return sorted([*here, *there], key=lambda entry: (entry.name, entry.distribution))


def load(group: str, name: str) -> Any:
    """The object that `name` stands for: a name that a distribution offers, or a path as in `module:attribute`.

    Raises:
        UsageError: no distribution offers the name; the hint says which one was probably meant.
        PluginError: it can not be imported, or two distributions offer different things under the name.
    """
    thing = _group(group)
    if (group, name) in _registered:
        return _registered[group, name]
    if ":" in name:
        return _by_path(thing, name)
    offers = _installed().get(group, {}).get(name, [])
    if not offers:
        raise UsageError(f"no {thing} is named {name!r}", hint=suggestion(name, names(group), thing))
    if len(offers) > 1:
        who = " and ".join(f"{entry.distribution} ({entry.target})" for entry, _ in offers)
        raise PluginError(
            f"the {thing} {name!r} is claimed by {who}",
            hint="uninstall one of them, so that the name means one thing",
        )
    entry, point = offers[0]
    try:
        return point.load()
    except DariError:
        raise
    except Exception as error:
        whose = f"{entry.distribution} {entry.version}".strip()
        raise PluginError(
            f"the {thing} {name!r} ({entry.target}, of {whose}) can not be imported: {type(error).__name__}: {error}",
            hint=f"reinstall {entry.distribution}, or report this to those who make it",
        ) from error


def _by_path(thing: str, name: str) -> Any:
    """What stands at `module:attribute`: one's own adapter, without packaging it first."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except DariError:
        raise
    except Exception as error:
        raise PluginError(
            f"the {thing} {name!r} can not be imported: {type(error).__name__}: {error}",
            hint="write it as module:Class, with the module on Python's path (PYTHONPATH)",
        ) from error


def suggestion(word: str, known: list[str], thing: str) -> str:
    """What to write instead of `word`: the nearest known one, or where none is near the first of them all."""
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    if not known:
        return f"there is no {thing} here to choose from"
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"known: {shown}"


def _group(group: str) -> str:
    """The word for a thing of this group; a group that is not ours is a fault of the caller."""
    try:
        return _THINGS[group]
    except KeyError:
        raise ValueError(f"no such group: {group!r}; the groups are {', '.join(_THINGS)}") from None
