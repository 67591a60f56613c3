"""`dari doctor`: what is installed, what is missing for what, and what to do about it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.commands.base import Command

if TYPE_CHECKING:
    from bridge.commands.machine.finding import Finding
    from bridge.site import LoadedSite


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", nargs="?", help="a site file: what its sources need is asked for")
    parser.add_argument(
        "--need", action="append", default=[], metavar="ADAPTER", help="an adapter that is asked for; may be repeated"
    )
    parser.add_argument("--dir", default=None, metavar="DIR", help="where logs would go (default: here)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text for people (default), or JSON")


def _run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from bridge.site import load

    site = load(args.site) if args.site is not None else None
    asked = set(args.need)
    if site is not None:
        asked |= {source.config.adapter for source in site.sources}
    found = findings(asked, Path(args.dir) if args.dir is not None else None, site)
    if args.format == "json":
        import json

        print(json.dumps([finding.row() for finding in found], indent=2, ensure_ascii=False))
    else:
        print("\n".join(told(found)))
    return exit_code(found)


def findings(asked: set[str], directory: object = None, site: LoadedSite | None = None) -> list[Finding]:
    """Everything that is looked at, in the order in which it is told."""
    from pathlib import Path

    from bridge.commands.machine import clock, installed, resources, ros
    from bridge.commands.machine.finding import Finding

    place = directory if isinstance(directory, Path) else Path.cwd()
    found = [*installed.look(), *installed.adapters(asked), *ros.look("ros2" in asked)]
    found += clock.look()
    found += resources.look(place, directory is not None)
    if site is not None:
        found += [Finding("site", w.key or str(site.path), "warn", w.what, w.hint) for w in site.warnings]
    return found


def exit_code(found: list[Finding]) -> int:
    """0, or the code of the first thing that was asked for and is broken."""
    return next((finding.code for finding in found if finding.asked and finding.state == "missing"), 0)


def told(found: list[Finding]) -> list[str]:
    """The lines for people: by area, with what to do below what is not well, and a count."""
    import shutil
    import textwrap

    from bridge.commands.terminal import cells, counted, paint

    width = max(60, shutil.get_terminal_size((120, 24)).columns)
    words = {"ok": ("OK", "green"), "warn": ("warn", "yellow"), "missing": ("missing", "red")}
    longest = max(cells(finding.name) for finding in found)
    lines: list[str] = []
    area = ""
    for finding in found:
        if finding.area != area:
            area = finding.area
            lines += ([""] if lines else []) + [paint(area, "bold")]
        word, colour = words[finding.state]
        lead = f"  {word:<8}{finding.name}{' ' * (longest - cells(finding.name))}  "
        indent = " " * len(lead)
        body = textwrap.wrap(
            finding.text, max(30, width - len(lead)), break_long_words=False, break_on_hyphens=False
        ) or [""]
        lines.append(lead.replace(word, paint(word, colour), 1) + body[0])
        lines += [indent + part for part in body[1:]]
        if finding.next and finding.state != "ok":
            advice = textwrap.wrap(
                "next: " + finding.next, max(30, width - len(lead)), break_long_words=False, break_on_hyphens=False
            )
            lines += [indent + part for part in advice]
    warn = sum(finding.state == "warn" for finding in found)
    missing = sum(finding.state == "missing" for finding in found)
    lines += ["", f"{counted(len(found), 'thing')} looked at, {counted(warn, 'warning')}, {missing} missing"]
    return lines


doctor = Command(
    name="doctor",
    help="say what is installed, what is missing, and what to do about it",
    configure=_configure,
    run=_run,
    description="Looks at this machine and changes nothing.",
    epilog="Exit code 0, unless something that was asked for (SITE, --need, --dir) is missing.",
)
