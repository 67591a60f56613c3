"""`dari replay`: plays a log, and says at the end what was played, what was not and why."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bridge import registry
from bridge.adapter import require
from bridge.errors import UsageError
from bridge.player import Player
from recorder.reader import open_log
from recorder.replay import ReplayReport, Selection, replay
from recorder.terminal import ProgressLine
from recorder.wording import span


def show(path: str, name: str, selection: Selection, rate: float | None, options: dict[str, str]) -> int:
    """Play the log at `path` into the player `name`. Returns 130 when it was interrupted, 1 when nothing was played."""
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
    return 0 if report.messages else 1


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that the player is closed and the counts are said."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lines(report: ReplayReport, name: str) -> list[str]:
    """What was played, what was left out, what the player can not play, and how the pace was kept."""
    stopped = ", stopped before the end" if report.stopped else ""
    found = [
        f"played {report.messages} messages of {len(report.played)} topics to {name} in {report.elapsed_s:.1f} s{stopped}"
    ]
    found += [f"  {topic}  {count}" for topic, count in sorted(report.played.items())]
    found += [f"  {sentence}" for sentence in report.cannot]
    for reason, topics in report.left_out.items():
        shown = ", ".join(sorted(topics)[:6]) + (f" and {len(topics) - 6} more" if len(topics) > 6 else "")
        found.append(f"  left out ({reason}): {shown}")
    if report.closing:
        found.append(report.closing)
    if report.late:
        found.append(f"  {report.late} messages were late, by {span(report.latest_ns)} at most: this machine was busy")
    return found
