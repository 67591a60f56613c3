"""`dari run SITE`: connects what the site file names and records it, until stopped."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bridge.commands.base import Command

if TYPE_CHECKING:
    from bridge.supervisor import Outcome


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", help="the site file (YAML)")
    parser.add_argument("--seconds", type=float, default=None, metavar="S", help="stop after S seconds")
    parser.add_argument(
        "--out", default=None, metavar="DIR", help="relative paths of sinks are meant against DIR (default: here)"
    )
    parser.add_argument("--quiet", action="store_true", help="say errors only")


def _run(args: argparse.Namespace) -> int:
    import signal
    import sys
    import threading
    from pathlib import Path

    from bridge.errors import UsageError
    from bridge.site import load
    from bridge.supervisor import Supervisor

    if args.seconds is not None and args.seconds <= 0:
        raise UsageError(f"--seconds {args.seconds:g} is not more than 0")
    site = load(Path(args.site))
    directory = Path(args.out) if args.out else Path.cwd()
    directory.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    def say(line: str) -> None:
        if not args.quiet or "error" in line:
            print(line, file=sys.stderr, flush=True)

    supervisor = Supervisor(site, directory=directory, say=say)
    say(f"run {str(supervisor.run_id)[:13]} of {site.site.site.name}; Ctrl-C stops it and closes the log")
    outcome = supervisor.run(stopping, args.seconds)
    for line in closing_lines(outcome):
        print(line)
    return exit_code(outcome)


def closing_lines(outcome: Outcome) -> list[str]:
    """What `dari run` says at its end: counts, losses, where the log lies, what to try next."""
    totals = outcome.totals
    lines = [
        f"{totals.records:,} messages, {totals.events:,} events, {totals.gaps} gaps ({totals.lost} records lost), "
        f"{totals.duplicates} duplicates dropped, {totals.violations} illegal transitions flagged, "
        f"{totals.refused} frames refused, {sum(outcome.restarts.values())} restarts"
    ]
    for place in outcome.places:
        lines.append(f"log: {place}")
    if outcome.places:
        lines.append(f"next: dari info {outcome.places[-1]}")
    return lines


def exit_code(outcome: Outcome) -> int:
    """0 when every source ended well; otherwise the first source's code that did not."""
    for code in outcome.codes.values():
        if code > 0:
            return code
    return 1 if any(code < 0 for code in outcome.codes.values()) or not outcome.places else 0


run = Command(
    name="run",
    help="connect what a site file names, and record it",
    configure=_configure,
    run=_run,
    epilog="dari check SITE says what is wrong with a site file; dari init writes one.",
)
