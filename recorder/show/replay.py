"""`dari replay`: plays a log, and says at the end what was played, what was not and why."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bridge import registry
from bridge.adapter import require
from bridge.errors import DariError, UsageError
from bridge.player import Player
from bridge.signals import SignalWatch
from recorder.reader import open_log
from recorder.replay import ReplayReport, Selection, replay
from recorder.terminal import ProgressLine
from recorder.wording import folded, span

_OF_TOPIC = re.compile(r"(/\S*)(?: \(\S+\))?(: | is not played: )(.*)")
"""What a player says of one topic: its name, its type in brackets or not, and why it is not played."""

_LOG = "log: "
"""Begins the closing line of a player that has written a log."""


def show(path: str, name: str, selection: Selection, rate: float | None, options: dict[str, str]) -> int:
    """Play the log at `path` into the player `name`. Returns 130 when it was interrupted.

    Raises:
        UsageError: what was chosen of the log is nothing.
        DariError: the player can play none of it.
    """
    player_type = registry.load(registry.PLAYERS, name)
    if not (isinstance(player_type, type) and issubclass(player_type, Player)):
        raise UsageError(f"the player {name!r} is no Player", hint="its package must subclass bridge.player.Player")
    require(player_type.requirements, f"the player {name!r}")
    reading = ProgressLine("reading a log that was not closed")
    playing = ProgressLine(f"playing to {name}")
    try:
        with open_log(path, reading) as log, _stopping_on_signals() as stopping:
            reading.done()
            report = replay(
                log,
                player_type(),
                selection,
                rate=rate,
                options=options,
                stopping=stopping,
                said=lambda now, done, total: playing.text(f"{now.messages} messages, {span(done)} of {span(total)}"),
            )
            problems = list(log.problems)
    finally:
        reading.done()
        playing.done()
    for line in lines(report, name):
        print(line)
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    if report.stopped:
        return 130
    if not report.messages:
        raise nothing_played(report, path, name, selection)
    return 0


def nothing_played(report: ReplayReport, path: str, name: str, selection: Selection) -> DariError:
    """Why nothing at all was played, and what to do about it."""
    see = f"dari info {path} lists the topics and their types"
    if not report.chosen:
        return UsageError(
            "no topic of the log is chosen", where=path, hint=f"change --include, --exclude or --space; {see}"
        )
    if not report.taken:
        return DariError(
            f"the player {name} can play none of the topics that are chosen; why stands above",
            where=path,
            hint=f"install what it lacks, or choose others by --include or --space, or play them --to hub; {see}",
        )
    if selection.start_s or selection.duration_s is not None:
        return UsageError(
            f"there is no message in that part of the log, which is {span(report.length_ns)} long",
            where=path,
            hint="change --start and --duration",
        )
    return DariError("the topics that are chosen have no messages", where=path, hint=see)


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that the player is closed and the counts are said."""
    stopping = threading.Event()

    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    watch = SignalWatch((signal.SIGINT, signal.SIGTERM), stopping.set).install()
    try:
        yield stopping
    finally:
        watch.restore()


def lines(report: ReplayReport, name: str) -> list[str]:
    """What was played, what was left out, what the player can not play, and how the pace was kept."""
    stopped = ", stopped before the end" if report.stopped else ""
    found = [
        f"played {report.messages} messages of {len(report.played)} topics to {name} in {report.elapsed_s:.1f} s{stopped}"
    ]
    found += [f"  {topic}  {count}" for topic, count in sorted(report.played.items())]
    found += [f"  {sentence}" for sentence in _joined(report.cannot)]
    found += [f"  left out ({reason}): {folded(topics)}" for reason, topics in report.left_out.items()]
    if report.late:
        found.append(f"  {report.late} messages were late, by {span(report.latest_ns)} at most: this machine was busy")
    if report.closing:
        found.append(report.closing)
    if report.closing.startswith(_LOG):
        found.append(f"next: dari events {report.closing.removeprefix(_LOG).split(', ')[0]}")
    return found


def _joined(sentences: list[str]) -> list[str]:
    """What is said of several topics in the same words becomes one sentence."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for sentence in sentences:
        found = _OF_TOPIC.fullmatch(sentence)
        topic, words = (found[1], found[2] + found[3]) if found else ("", sentence)
        groups.setdefault(words, []).append((topic, sentence))
    told = []
    for words, group in groups.items():
        if len(group) == 1:
            told.append(group[0][1])
        else:
            told.append(folded(topic for topic, _ in group) + words.replace(" is not played: ", " are not played: ", 1))
    return told
