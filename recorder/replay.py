"""Replay: the messages of a log, at the moments at which they lie in it, into a player."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from bridge.player import PlayedChannel, PlayedMessage, Player
from recorder.reader import EVENT_TYPE, EVENTS_TOPIC, RUN_RECORD, Log, LogChannel, LogMessage

OWN = "/dari/"
"""Topics of dari itself: events, log and clocks."""

LATE_NS = 10_000_000
"""A message played more than this after its moment counts as late."""


@dataclass(frozen=True)
class Selection:
    """What of a log is played.

    `include` and `exclude` are shell patterns over topics; nothing in `include` means everything. `space` keeps one space:
    its topics and its events. `start_s` and `duration_s` count from the log's first message. `own` lets dari's own topics
    (`/dari/...`) through without being included by name.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    space: str | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    own: bool = True

    def window(self, log: Log) -> tuple[int, int] | None:
        """First and last log time to be played; None for an empty log."""
        whole = log.time_range
        if whole is None:
            return None
        start = whole[0] + round(self.start_s * 1e9)
        end = whole[1] if self.duration_s is None else min(whole[1], start + round(self.duration_s * 1e9))
        return start, end

    def refusal(self, channel: LogChannel) -> str:
        """Why a channel is left out; empty when it is played."""
        topic = channel.topic
        named = any(fnmatch.fnmatchcase(topic, pattern) for pattern in self.include)
        if self.include and not named:
            return "not included"
        if any(fnmatch.fnmatchcase(topic, pattern) for pattern in self.exclude):
            return "excluded"
        if channel.encoding != "cdr":
            return f"encoded as {channel.encoding!r}, not CDR"
        if topic.startswith(OWN):
            if not self.own and not named:
                return "dari's own"
            if self.space is not None and topic != EVENTS_TOPIC:
                return "not of one space"
        elif self.space is not None and not topic.startswith(f"/{self.space}/"):
            return f"not of the space {self.space}"
        return ""


@dataclass
class ReplayReport:
    """What was played: messages by topic, what was left out and why, and how well the pace was kept (ns).

    `chosen` counts the channels that the selection let through, `taken` those of them that the player takes; `length_ns` is
    the log's.
    """

    played: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    cannot: list[str] = field(default_factory=list)
    closing: str = ""
    late: int = 0
    latest_ns: int = 0
    elapsed_s: float = 0.0
    stopped: bool = False
    chosen: int = 0
    taken: int = 0
    length_ns: int = 0

    @property
    def messages(self) -> int:
        """Messages played in all."""
        return sum(self.played.values())


def replay(
    log: Log,
    player: Player,
    selection: Selection,
    *,
    rate: float | None = 1.0,
    options: dict[str, str] | None = None,
    stopping: threading.Event | None = None,
    said: Callable[[ReplayReport, int, int], None] | None = None,
) -> ReplayReport:
    """Play a log into `player`; returns when it is done, or soon after `stopping` is set.

    Each message's moment is counted from the first one's on the monotonic clock, so a late message makes none of the
    others late: the pace does not drift.

    Args:
        log: what to play.
        player: opened and closed here.
        selection: which part.
        rate: log seconds for each second; None plays as fast as the player takes it.
        options: the player's own, from `--set`.
        stopping: set it from another thread, or a signal handler, to stop.
        said: called now and then with the report, and with ns of the log done and in all.
    """
    stopping = stopping or threading.Event()
    report = ReplayReport()
    chosen = []
    for channel in log.channels.values():
        reason = selection.refusal(channel)
        if reason:
            report.left_out.setdefault(reason, []).append(channel.topic)
        else:
            chosen.append(channel)
    window = selection.window(log)
    whole = log.time_range
    report.length_ns = whole[1] - whole[0] if whole is not None else 0
    report.chosen = len(chosen)
    player.site_text, player.site_path = site_of(log)
    report.cannot = player.open([_played_channel(c) for c in chosen], dict(options or {}))
    taken = player.taken
    if taken is not None:
        chosen = [c for c in chosen if c.id in taken]
    report.taken = len(chosen)
    begun = time.monotonic_ns()
    try:
        if window is not None:
            _play(log, player, {c.id for c in chosen}, window, selection.space, rate, stopping, report, said)
    finally:
        player.close()
        report.closing = player.closing()
        report.elapsed_s = (time.monotonic_ns() - begun) / 1e9
    return report


def _play(
    log: Log,
    player: Player,
    chosen: Collection[int],
    window: tuple[int, int],
    space: str | None,
    rate: float | None,
    stopping: threading.Event,
    report: ReplayReport,
    said: Callable[[ReplayReport, int, int], None] | None,
) -> None:
    start, end = window
    messages = log.messages(lambda c: c.id in chosen, start, end)
    origin: int | None = None
    for message in _of_space(log, messages, space):
        if stopping.is_set():
            report.stopped = True
            return
        if rate is not None:
            if origin is None:
                origin = time.monotonic_ns() - round((message.log_time - start) / rate)
            due = origin + round((message.log_time - start) / rate)
            wait = due - time.monotonic_ns()
            if wait > 0:
                if stopping.wait(wait / 1e9):
                    report.stopped = True
                    return
            elif wait < -LATE_NS:
                report.late += 1
                report.latest_ns = max(report.latest_ns, -wait)
        player.play(
            PlayedMessage(
                channel=message.channel.id,
                sequence=message.sequence,
                log_time=message.log_time,
                publish_time=message.publish_time,
                data=message.data,
            )
        )
        report.played[message.channel.topic] += 1
        if said is not None:
            said(report, message.log_time - start, end - start)


def site_of(log: Log) -> tuple[str, str]:
    """The text of the site file in a log and its path where it was recorded; empty texts where there is none."""
    run = log.metadata.get(RUN_RECORD, {})
    data = log.attachment(run.get("site_attachment", ""))
    return (data.decode("utf-8", "replace"), run.get("site_path", "")) if data is not None else ("", "")


def _of_space(log: Log, messages: Iterator[LogMessage], space: str | None) -> Iterator[LogMessage]:
    """The messages without the events of other spaces: those share one topic."""
    for message in messages:
        if space is not None and message.channel.type_name == EVENT_TYPE and log.decode(message).space != space:
            continue
        yield message


def _played_channel(channel: LogChannel) -> PlayedChannel:
    return PlayedChannel(
        id=channel.id,
        topic=channel.topic,
        type_name=channel.type_name,
        definition=channel.definition,
        metadata=channel.metadata,
    )
