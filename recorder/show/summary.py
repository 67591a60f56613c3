"""`dari summary`: a log in numbers, as tables or as JSON. The tables are `dari info`'s and the demo's closing words too."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

import msgspec

from bridge.schema import HealthCode, State
from recorder.reader import open_log
from recorder.summary import ChannelSummary, SpaceSummary, Summary, summarise
from recorder.terminal import Column, Paint, ProgressLine, table
from recorder.wording import moment, offset, size, span

_DROPPED = (State.CANCELED, State.SKIPPED)
_CLOCKS = "/dari/clock/"
"""Begins the topics of dari's own clock records, one for each source: for people, one line."""


def load(path: str) -> Summary:
    """The summary of the log at `path`, with progress on the terminal. Raises `LogError`."""
    progress = ProgressLine("reading a log that was not closed")
    try:
        with open_log(path, progress) as log:
            return summarise(log)
    finally:
        progress.done()


def show(path: str, form: str) -> int:
    """Print the summary of a log."""
    summary = load(path)
    if form != "table":
        print(msgspec.json.encode(summary).decode())
        return 0
    out = sys.stdout
    lines = [*head(summary, out), "", *spaces(summary, out), "", *clocks(summary, out), "", *health(summary, out)]
    lines += ["", *channels(summary, out)]
    print("\n".join(lines))
    return 0


def head(summary: Summary, out: TextIO) -> list[str]:
    """Where the log lies, whether it is whole, which run it is and how long."""
    paint = Paint(out)
    state = paint(summary.state, "green" if summary.closed else "yellow")
    lines = [f"{paint(summary.path, 'bold')}  {size(summary.size)}", f"  {state}"]
    if summary.advice:
        lines.append(f"  next: {summary.advice}")
    if summary.site or summary.run_id:
        lines.append(f"  site {summary.site or '?'}, run {summary.run_id or '?'}")
    if summary.start_ns is not None:
        lines.append(f"  {moment(summary.start_ns)}, {span(summary.duration_ns)}, {summary.messages} messages")
    else:
        lines.append("  no messages")
    lines += [paint(f"  damage: {text}", "red") for text in summary.problems]
    return lines


def spaces(summary: Summary, out: TextIO) -> list[str]:
    """Tasks, attempts, failures with causes, and corrections, by space."""
    if not any(space.tells for space in summary.spaces.values()):
        return ["no task events in this log"]
    columns = [
        Column("space"),
        Column("jobs", right=True),
        Column("tasks", right=True),
        Column("attempts", right=True, spare=2),
        Column("succeeded", right=True),
        Column("gave up", right=True),
        Column("canceled", right=True),
        Column("open", right=True),
        Column("decisions", right=True, spare=3),
        Column("failures", right=True),
        Column("corrections", right=True),
        Column("repaired", right=True, spare=1),
    ]
    rows = [
        [
            name,
            f"{space.jobs} ({space.jobs_open} open)" if space.jobs_open else str(space.jobs),
            str(space.tasks),
            str(space.attempts),
            str(space.outcomes.get(State.SUCCEEDED.value, 0)),
            str(space.outcomes.get(State.FAILED.value, 0)),
            str(sum(space.outcomes.get(state.value, 0) for state in _DROPPED)),
            str(space.tasks_open),
            str(space.decisions),
            str(space.failure_count),
            str(sum(c.count for c in space.corrections)),
            str(sum(c.repaired for c in space.corrections)),
        ]
        for name, space in summary.spaces.items()
    ]
    return [
        *table(columns, rows, out),
        *_failures(summary.spaces.items(), out),
        *_corrections(summary.spaces.items(), out),
    ]


def _failures(found: Iterable[tuple[str, SpaceSummary]], out: TextIO) -> list[str]:
    rows = [
        [name, failure.code.value, str(failure.count), str(failure.corrected), _causes(failure.causes)]
        for name, space in found
        for failure in space.failures
    ]
    if not rows:
        return []
    columns = [
        Column("space"),
        Column("failure"),
        Column("count", right=True),
        Column("corrected", right=True),
        Column("cause, where one is told", least=24),
    ]
    return ["", *table(columns, rows, out)]


def _causes(causes: dict[str, int]) -> str:
    told = {text: count for text, count in causes.items() if text}
    if not told:
        return "not told"
    parts = [text if count == 1 else f"{text} ({count} times)" for text, count in told.items()]
    if causes.get(""):
        parts.append(f"not told ({causes['']} times)")
    return "; ".join(parts)


def _corrections(found: Iterable[tuple[str, SpaceSummary]], out: TextIO) -> list[str]:
    rows = [
        [name, c.strategy, str(c.count), str(c.repaired), str(c.partial), str(c.none), str(c.open)]
        for name, space in found
        for c in space.corrections
    ]
    if not rows:
        return []
    heads = ("space", "correction", "count", "repaired", "partial", "in vain", "no result")
    columns = [Column(text, right=number > 1) for number, text in enumerate(heads)]
    return ["", *table(columns, rows, out)]


def channels(summary: Summary, out: TextIO, *, every: bool = False) -> list[str]:
    """Every topic with its type, messages, rate, longest silence, and what was lost. dari's own clock records are one line,
    unless `every` topic is asked for."""
    columns = [
        Column("topic", least=20),
        Column("type", least=12, spare=1),
        Column("messages", right=True),
        Column("rate", right=True),
        Column("longest silence", right=True),
        Column("gaps", right=True),
        Column("lost", right=True),
    ]
    rows, styles = [], []
    for channel in summary.channels if every else _folded(summary.channels):
        rate = "-" if channel.rate_hz is None else f"{channel.rate_hz:.4g} Hz"
        silence = "-" if channel.longest_silence_ns is None else span(channel.longest_silence_ns)
        counts = [str(channel.count), rate, silence, str(channel.gaps), str(channel.lost)]
        rows.append([channel.topic, channel.type_name, *counts])
        styles.append("yellow" if channel.gaps or channel.lost else "")
    return table(columns, rows, out, styles)


def _folded(found: list[ChannelSummary]) -> list[ChannelSummary]:
    """The channels with those of the clock records as one, of which only what adds up is told."""
    own = [channel for channel in found if channel.topic.startswith(_CLOCKS)]
    if len(own) < 2:
        return found
    one = ChannelSummary(
        topic=f"{_CLOCKS}* ({len(own)} topics)",
        type_name=" | ".join(sorted({channel.type_name for channel in own})),
        count=sum(channel.count for channel in own),
        rate_hz=None,
        longest_silence_ns=None,
        source="",
        space="",
        lost=sum(channel.lost for channel in own),
        gaps=sum(channel.gaps for channel in own),
    )
    return [one, *(channel for channel in found if channel not in own)]


def clocks(summary: Summary, out: TextIO) -> list[str]:
    """Each source's clocks: the offset that was found, how sure, drift and steps."""
    found = [clock for clock in summary.clocks if clock.offset_ns is not None]
    if not found:
        return ["no source clocks in this log"]
    columns = [
        Column("source", least=8),
        Column("clock"),
        Column("ahead by", right=True),
        Column("within", right=True),
        Column("drift", right=True),
        Column("steps", right=True),
        Column("stamps", right=True),
    ]
    rows = [
        [
            clock.source,
            clock.clock,
            offset(clock.offset_ns or 0),
            "unknown" if clock.uncertainty_ns is None else span(clock.uncertainty_ns),
            "-" if clock.drift_ppm is None else f"{clock.drift_ppm:+.1f} ppm",
            str(clock.steps),
            str(clock.stamps),
        ]
        for clock in found
    ]
    return table(columns, rows, out)


def health(summary: Summary, out: TextIO) -> list[str]:
    """Gaps, losses, restarts, violations: what the pipeline said of itself."""
    paint = Paint(out)
    said = summary.health
    words = (
        (HealthCode.GAP, "gaps"),
        (HealthCode.LOSS, "losses"),
        (HealthCode.DROPPED, "drops"),
        (HealthCode.RESTARTED, "restarts"),
        (HealthCode.ILLEGAL_TRANSITION, "illegal transitions"),
    )
    parts = [f"{word} {said.of(code)}" for code, word in words]
    known = {code.value for code, _ in words}
    parts += [f"{code} {count}" for code, count in said.counts.items() if code not in known]
    parts.append(f"messages lost {said.lost}")
    holes = sum(summary.missing.values())
    parts.append(f"missing sequence numbers {holes}")
    bad = said.lost or holes or any(said.of(code) for code, _ in words)
    return [paint("health: ", "bold") + paint(", ".join(parts), "yellow" if bad else "green")]
