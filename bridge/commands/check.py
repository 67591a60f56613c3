"""`dari check SITE`: every fault of a site file at once, or what it connects."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.commands.base import Command

if TYPE_CHECKING:
    from bridge.errors import SiteError
    from bridge.site import LoadedSite, SiteProblem


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", help="the site file (YAML)")
    parser.add_argument(
        "--format",
        choices=("text", "jsonl"),
        default="text",
        help="text for people (default), or one JSON object for each fault, for editors",
    )


def _run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from bridge.errors import SiteError
    from bridge.site import examine
    from bridge.site.document import read_text

    path = Path(args.site)
    try:
        found = examine(read_text(path), path)
    except SiteError as error:
        if args.format == "text":
            raise
        _print_rows([_file_fault(str(path), error)])
        return error.exit_code
    faults = [problem for problem in found.problems if not problem.warning]
    if args.format == "jsonl":
        _print_rows([problem.row() for problem in found.problems])
        return SiteError.exit_code if faults else 0
    for problem in found.problems:
        print("\n".join(_told(problem, found.text)))
        print()
    if found.site is None:
        print(_count(str(path), found.problems))
        return SiteError.exit_code
    print("\n".join(connected(found.site)))
    return 0


def _file_fault(path: str, error: SiteError) -> dict[str, object]:
    """A file that can not be read at all, as the other faults are written. The place is in the error's `where`."""
    place = error.where.removeprefix(path).strip(":").split(":")
    line, column = (
        (int(place[0]), int(place[1])) if len(place) == 2 and all(p.isdigit() for p in place) else (None, None)
    )
    return {
        "path": path,
        "line": line,
        "column": column,
        "end_column": None if column is None else column + 1,
        "severity": "error",
        "key": "",
        "message": error.what,
        "hint": error.hint,
    }


def _print_rows(rows: list[dict[str, object]]) -> None:
    import json

    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


def _told(problem: SiteProblem, text: str) -> list[str]:
    """A fault with its line and what to do next."""
    from bridge.commands.terminal import paint

    word = paint("warning", "yellow") if problem.warning else paint("error", "red")
    lines = [f"{problem.where}", f"  {word}: {problem.what}"]
    lines += [f"    {line}" for line in problem.excerpt(text).splitlines()]
    if problem.hint:
        lines.append(f"  next: {problem.hint}")
    return lines


def _count(path: str, problems: tuple[SiteProblem, ...]) -> str:
    from bridge.commands.terminal import counted

    warnings = sum(problem.warning for problem in problems)
    text = f"{path}: {counted(len(problems) - warnings, 'fault')}"
    return f"{text}, {counted(warnings, 'warning')}" if warnings else text


def connected(site: LoadedSite) -> list[str]:
    """What a site without faults connects, and what is missing here to do so."""
    from bridge.commands.terminal import counted, table

    who = site.site.site
    place = "/".join(level for level in (who.enterprise, who.site, who.area) if level)
    lines = [f"{site.path}: {who.name}" + (f" ({place})" if place else "") + ", no faults", ""]
    rows = []
    for source in (*site.sources, *site.disabled):
        config = source.config
        absent = [need for need in source.adapter_class.requirements if need.missing()]
        state = "ready" if config.enabled else "disabled"
        if absent and config.enabled:
            extras = ",".join(sorted({need.extra for need in absent}))
            state = f"needs {', '.join(need.module for need in absent)}: pip install 'dari[{extras}]'"
        signals = str(len(source.signals)) if source.adapter_class.signal_type is not None else "finds them"
        rows.append([source.name, config.adapter, config.space.value, config.asset, signals, state])
    lines += table(["source", "adapter", "space", "asset", "signals", "here"], rows)
    if site.site.rules:
        lines.append("")
        lines += table(
            ["rules", "task", "verb", "space", "asset", "inputs", "rules"],
            [
                [name, r.task, r.verb, r.space.value, r.asset, str(len(r.inputs)), str(len(r.rules))]
                for name, r in site.site.rules.items()
            ],
        )
    lines.append("")
    named = {name: sink.sink for name, sink in site.site.sinks.items()}
    lines += table(["sink", "kind"], [[s.name, named.get(s.name, "mcap (by default)")] for s in site.sinks])
    lines.append("")
    if site.warnings:
        lines.append(counted(len(site.warnings), "warning"))
    lines.append(f"next: dari run {site.path}")
    return lines


check = Command(
    name="check",
    help="say every fault of a site file, or what it connects",
    configure=_configure,
    run=_run,
    description="Reads a site file without connecting to anything. Exit code 0: no fault; 3: faults.",
    epilog="dari adapters NAME shows what a source of a kind can be told; docs/reference/site-file.md has it all.",
)
