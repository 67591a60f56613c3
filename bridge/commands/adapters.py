"""`dari adapters [NAME]`: which kinds of sources there are, what each needs, and what one of them can be told."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bridge.commands.base import Command

if TYPE_CHECKING:
    from msgspec import Struct

    from bridge.adapter import Adapter
    from bridge.registry import Entry


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="show the options and signal fields of this adapter")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text for people (default), or JSON")


def _run(args: argparse.Namespace) -> int:
    if args.name is not None:
        return _one(args.name, args.format)
    from bridge import registry

    rows = [describe(entry) for entry in registry.entries(registry.ADAPTERS)]
    if args.format == "json":
        _print_json(rows)
        return 0
    import shutil

    from bridge.commands.terminal import table

    cells = [
        [
            str(r["name"]),
            str(r["space"] or "any"),
            ", ".join(r["needs"]) or "nothing",
            str(r["here"]),
            _whose(r),
            str(r["summary"]),
        ]
        for r in rows
    ]
    width = shutil.get_terminal_size((120, 24)).columns
    print("\n".join(table(["adapter", "space", "needs", "here", "from", "what it connects"], cells, width)))
    print("\nnext: dari adapters NAME shows what it can be told; dari init writes a site file.")
    return 0


def _whose(row: dict[str, Any]) -> str:
    return f"{row['distribution']} {row['version']}".strip()


def describe(entry: Entry) -> dict[str, Any]:
    """One adapter as a flat record; one that can not be imported says why in `summary`."""
    from bridge import registry
    from bridge.errors import DariError

    row: dict[str, Any] = {
        "name": entry.name,
        "summary": "",
        "space": None,
        "needs": [],
        "missing": [],
        "here": "broken",
        "distribution": entry.distribution,
        "version": entry.version,
    }
    try:
        adapter: type[Adapter] = registry.load(registry.ADAPTERS, entry.name)
    except DariError as error:
        row["summary"] = error.what
        return row
    missing = [need for need in adapter.requirements if need.missing()]
    extras = ",".join(sorted({need.extra for need in missing}))
    row |= {
        "summary": adapter.summary or first_sentence(adapter.__doc__ or ""),
        "space": adapter.usual_space.value if adapter.usual_space is not None else None,
        "needs": [need.module for need in adapter.requirements],
        "missing": [need.module for need in missing],
        "here": f"no: pip install 'dari[{extras}]'" if missing else "yes",
    }
    return row


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, without its full stop."""
    return " ".join(text.strip().partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _one(name: str, form: str) -> int:
    """What one adapter can be told."""
    from bridge.adapter import SignalConfig
    from bridge.site.fields import described, fields, nested

    adapter = _loaded(name)
    row = describe(_entry(name))
    parts: list[tuple[str, type[Struct]]] = [("options", adapter.options_type)]
    if adapter.signal_type is not None:
        parts.append(("signals", adapter.signal_type))
    if form == "json":
        row |= {title: [_plain(field) for field in fields(kind)] for title, kind in parts}
        _print_json(row)
        return 0
    print(f"{name}: {row['summary']}")
    print(f"usual space: {row['space'] or 'any'}; here: {row['here']}; from {_whose(row)}")
    for title, kind in parts:
        prose, _ = described(kind)
        print()
        if title == "signals":
            print("signals: one entry for each name, with")
            _print_fields(fields(kind, without=SignalConfig), prose)
            if adapter.signal_type is not SignalConfig:
                print("\nand, as every signal,")
                _print_fields(fields(SignalConfig), described(SignalConfig)[0])
        else:
            print("options:")
            _print_fields(fields(kind), prose)
        for inner in nested(kind):
            if inner.__name__ != "Secret":
                print(f"\n{inner.__name__}:")
                _print_fields(fields(inner), described(inner)[0])
    if adapter.signal_type is None:
        print("\nIt takes no signals: it finds by itself what there is.")
    return 0


def _loaded(name: str) -> type[Adapter]:
    """The adapter that a name or a path stands for. Raises `UsageError` where that is no adapter."""
    from bridge import registry
    from bridge.adapter import Adapter
    from bridge.errors import UsageError

    found = registry.load(registry.ADAPTERS, name)
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise UsageError(
            f"{name!r} is no adapter: it is no subclass of bridge.adapter.Adapter",
            hint="name the class itself, as in my_plc:MyAdapter",
        )
    return found


def _entry(name: str) -> Entry:
    """Where an adapter comes from: a distribution, or a module of one's own that is named by its path."""
    from bridge import registry

    own = registry.Entry(name, name, name.partition(":")[0] + ".py", "")
    return next((entry for entry in registry.entries(registry.ADAPTERS) if entry.name == name), own)


def _plain(field: Any) -> dict[str, object]:
    return {"name": field.name, "takes": field.takes, "default": field.default, "meaning": field.meaning}


def _print_fields(found: list[Any], prose: str) -> None:
    """A table of keys, and the prose of their type below it."""
    import shutil
    import textwrap

    from bridge.commands.terminal import table

    width = shutil.get_terminal_size((120, 24)).columns
    if not found:
        print("  (no keys)")
    else:
        with_meaning = any(field.meaning for field in found)
        heads = ["key", "default", "takes"]
        rows = [
            [f.name, "required" if f.default is None else f.default, f.takes + (f". {f.meaning}" if f.meaning else "")]
            for f in found
        ]
        if with_meaning:
            heads[-1] = "takes, and what it means"
        print(textwrap.indent("\n".join(table(heads, rows, width - 2)), "  "))
    for paragraph in prose.split("\n\n"):
        print()
        print(textwrap.fill(" ".join(paragraph.split()), width - 2, initial_indent="  ", subsequent_indent="  "))


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))


adapters = Command(
    name="adapters",
    help="list the kinds of sources, and what each can be told",
    configure=_configure,
    run=_run,
    epilog="Other packages add adapters by the entry point group dari.adapters.",
)
