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

    from bridge.errors import LogError, SiteError, UsageError
    from bridge.signals import SignalWatch
    from bridge.site import load
    from bridge.supervisor import Supervisor

    if args.seconds is not None and not 0 < args.seconds < threading.TIMEOUT_MAX:
        raise UsageError(f"--seconds {args.seconds:g} is no time to run for", hint="give a number over 0")
    site = load(Path(args.site))
    missing = tuple(site.missing_secrets())
    if missing:
        # Better now than a source that stays down all night.
        listed = "\n".join(f"  {problem}" for problem in missing)
        raise SiteError(f"secrets are missing here:\n{listed}", where=str(site.path), problems=missing)
    directory = Path(args.out) if args.out else Path.cwd()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(
            f"the folder for what is recorded can not be made: {error.strerror or error}",
            where=str(directory),
            hint="give --out a folder that you may write to",
        ) from error
    stopping, hurry = threading.Event(), threading.Event()

    def stop() -> None:
        if stopping.is_set():
            hurry.set()
        stopping.set()

    SignalWatch((signal.SIGINT, signal.SIGTERM), stop).install()

    def say(line: str) -> None:
        if not args.quiet or "error" in line:
            print(line, file=sys.stderr, flush=True)

    supervisor = Supervisor(site, directory=directory, say=say)
    say(f"run {str(supervisor.run_id)[:13]} of {site.site.site.name}; Ctrl-C stops it and closes the log")
    outcome = supervisor.run(stopping, args.seconds, hurry)
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
    if outcome.uncounted:
        hubs = "the hub that was" if outcome.uncounted == 1 else f"the {outcome.uncounted} hubs that were"
        lines.append(f"not counted: what {hubs} killed had written; dari info counts it")
    if totals.rules_failed:
        lines.append(f"error: {totals.rules_failed}; please report it")
    for name, counts in totals.rules.items():
        told = [f"{counts[word]} {text}" for word, text in _RULES.items() if counts.get(word)]
        if told:
            lines.append(f"rules: {name}: {', '.join(told)}")
    for place in outcome.places:
        remark = outcome.remarks.get(place, "")
        lines.append(f"log: {place}" + (f" ({remark})" if remark else ""))
    if outcome.places:
        lines.append(f"next: dari info {outcome.places[-1]}")
    return lines


_RULES = {
    "late": "inputs came too late for their place in the order",
    "undecodable": "messages could not be decoded",
    "bad": "values were of bad quality",
    "mismatches": "evaluations met a value of the wrong kind",
    "unknown_alarms": "alarm codes are not in the table",
}
"""What of the rule stage's counts is worth a line, and how it is said."""


def exit_code(outcome: Outcome) -> int:
    """0 when the hub and every source ended well; otherwise the hub's code, or the first source's that did not."""
    for code in (outcome.hub_code, *outcome.codes.values()):
        if code > 0:
            return code
    fell = outcome.hub_code < 0 or any(code < 0 for code in outcome.codes.values())
    return 1 if fell or not outcome.places or outcome.totals.rules_failed else 0


run = Command(
    name="run",
    help="connect what a site file names, and record it",
    configure=_configure,
    run=_run,
    description="Connects what a site file names and records it, until Ctrl-C: then every source sends what it had\n"
    "received, and the log is closed. A second Ctrl-C does not wait for sources that take their time.",
    epilog="dari check SITE says what is wrong with a site file; dari init writes one.",
)
