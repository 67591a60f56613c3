"""The commands about logs: `dari info`, `events`, `why`, `summary`, `cat`, `replay`. Light to import: the work is elsewhere."""

from __future__ import annotations

import argparse

from bridge.commands.base import Command
from bridge.errors import UsageError

_SPACES = ("twin", "testbed", "field")
_KINDS = ("run", "episode", "task", "decision", "failure", "correction", "measure", "health", "annotation")
_LOG_HELP = "an .mcap file, or a folder that holds one, itself or in its `logs`"


def _log_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="LOG", help=_LOG_HELP)


def _format(parser: argparse.ArgumentParser, *choices: str) -> None:
    parser.add_argument("--format", choices=choices, default=choices[0], help=f"how to print it (default {choices[0]})")


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    parser.add_argument("--all", action="store_true", help="every topic by itself, dari's own clock records too")
    _format(parser, "table", "jsonl")


def _info(args: argparse.Namespace) -> int:
    from recorder.show.info import show

    return show(args.log, args.format, args.all)


def _events_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    parser.add_argument("--space", choices=_SPACES, action="append", help="only this space; may be given again")
    parser.add_argument(
        "--verb", action="append", help="only tasks of this verb, and what belongs to them; may be given again"
    )
    parser.add_argument("--state", action="append", help="only tasks entering this state; may be given again")
    parser.add_argument("--failed", action="store_true", help="only failures and tasks that failed")
    parser.add_argument("--task", metavar="ID", help="only one task and its sub-tasks, by the beginning of its id")
    parser.add_argument("--kind", choices=_KINDS, action="append", help="only this kind of event; may be given again")
    parser.add_argument("--source", action="append", help="only what this source said; may be given again")
    _format(parser, "table", "jsonl")


def _events(args: argparse.Namespace) -> int:
    from recorder.show.events import Filter, show

    chosen = Filter(
        spaces=tuple(args.space or ()),
        verbs=tuple(args.verb or ()),
        states=tuple(state.upper() for state in args.state or ()),
        failed=args.failed,
        task=args.task or "",
        kinds=tuple(args.kind or ()),
        sources=tuple(args.source or ()),
    )
    return show(args.log, chosen, args.format)


def _why_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    parser.add_argument(
        "failure", metavar="FAILURE_ID", nargs="?", help="the beginning of its id; without it, all are listed"
    )
    _format(parser, "table", "jsonl")


def _why(args: argparse.Namespace) -> int:
    from recorder.show.why import show

    return show(args.log, args.failure, args.format)


def _summary_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    _format(parser, "table", "json", "jsonl")


def _summary(args: argparse.Namespace) -> int:
    from recorder.show.summary import show

    return show(args.log, args.format)


def _cat_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    parser.add_argument("topics", metavar="TOPIC", nargs="*", help="shell patterns of topics; all without it")
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="S", help="seconds into the log to begin at")
    parser.add_argument("--duration", type=_seconds, metavar="S", help="seconds of the log to print")
    parser.add_argument("--limit", type=_count, metavar="N", help="stop after so many messages")
    parser.add_argument("--raw", action="store_true", help="print the message's bytes in hex instead of decoding them")
    parser.add_argument("--format", choices=("jsonl",), default="jsonl", help="how to print it (default jsonl)")


def _cat(args: argparse.Namespace) -> int:
    from recorder.show.cat import show

    return show(args.log, tuple(args.topics), args.start, args.duration, args.limit, args.raw)


def _replay_arguments(parser: argparse.ArgumentParser) -> None:
    _log_argument(parser)
    parser.add_argument(
        "--to", required=True, metavar="PLAYER", help="where to play to: hub, ros2, or another that is installed"
    )
    parser.add_argument(
        "--rate", type=_rate, default=1.0, metavar="R", help="log seconds a second, or `max` (default 1)"
    )
    parser.add_argument(
        "--include", action="append", metavar="TOPIC", help="only topics of this pattern; may be given again"
    )
    parser.add_argument(
        "--exclude", action="append", metavar="TOPIC", help="no topics of this pattern; may be given again"
    )
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="S", help="seconds into the log to begin at")
    parser.add_argument("--duration", type=_seconds, metavar="S", help="seconds of the log to play")
    parser.add_argument("--space", choices=_SPACES, help="only this space")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="an option of the player; may be given again"
    )


def _replay(args: argparse.Namespace) -> int:
    from recorder.replay import Selection
    from recorder.show.replay import show

    selection = Selection(
        include=tuple(args.include or ()),
        exclude=tuple(args.exclude or ()),
        space=args.space,
        start_s=args.start,
        duration_s=args.duration,
        # A graph of ROS 2 has no use for dari's own topics, and most have no type for them.
        own=args.to != "ros2",
    )
    rate = None if args.rate == float("inf") else args.rate
    return show(args.log, args.to, selection, rate, _pairs(args.set or []))


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text!r} is no KEY=VALUE pair", hint="for example --set domain=42")
        pairs[key] = value
    return pairs


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 on")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return value


def _rate(text: str) -> float:
    if text == "max":
        return float("inf")
    value = float(text)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no rate: a number over 0, or max")
    return value


info = Command(
    name="info",
    help="what is in a log: run, channels, events, health, clocks",
    configure=_info_arguments,
    run=_info,
    epilog="A log that was not closed is read as far as it goes, and info says how far that is.",
)
events = Command(
    name="events",
    help="the task events of a log, with filters",
    configure=_events_arguments,
    run=_events,
    epilog="Example: dari events LOG --space twin --failed\nShort ids are good for --task and for `dari why`.",
)
why = Command(
    name="why",
    help="why something failed: evidence read back, decision before, correction after",
    configure=_why_arguments,
    run=_why,
    epilog="Without an id, the failures of the log are listed.",
)
summary = Command(
    name="summary",
    help="a log in numbers: tasks, failures, corrections, channels, clocks by space",
    configure=_summary_arguments,
    run=_summary,
)
cat = Command(
    name="cat",
    help="the messages of a log as JSON lines, CDR decoded",
    configure=_cat_arguments,
    run=_cat,
    epilog="Example: dari cat LOG '/twin/*/joint_states' --start 3 --duration 0.1",
)
replay = Command(
    name="replay",
    help="play a log into a hub or a ROS 2 graph",
    configure=_replay_arguments,
    run=_replay,
    epilog="Example: dari replay LOG --to ros2 --rate 2 --exclude '/field/*' --set domain=42",
)
