"""The detectors again, over what was recorded: every code and every value must come out as the twin said.

All that is read is in the log: task events (when a skill ran, what it was told), thresholds (the episode's beginning) and the
channels' samples.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from bridge.schema import Boundary, Episode, State, Task, TaskEvent
from bridge.schema.states import TERMINAL
from twin.detectors import COMMAND, Finding, Monitor, Thresholds, guards_for
from twin.output import Kept


class Verdict(NamedTuple):
    """What the detectors say of one attempt at one skill; `finding` is None if nothing fired."""

    task_id: UUID
    attempt: int
    skill: str
    finding: Finding | None


class _Span(NamedTuple):
    task_id: UUID
    attempt: int
    skill: str
    parameters: dict[str, object]
    limits: Thresholds
    start: int
    end: int


def rerun(events: Iterable[TaskEvent], samples: Sequence[Kept]) -> list[Verdict]:
    """Judge every attempt at a skill that ran to its end, in the order in which they ended.

    Args:
        events: of one twin, in order.
        samples: of its channels, in order of stamps.
    """
    stamps = [kept.stamp_ns for kept in samples]
    verdicts = []
    for span in _spans(events):
        during = samples[bisect_right(stamps, span.start) : bisect_right(stamps, span.end)]
        verdicts.append(Verdict(span.task_id, span.attempt, span.skill, _judge(span, during)))
    return verdicts


def _spans(events: Iterable[TaskEvent]) -> list[_Span]:
    limits: Thresholds | None = None
    started: dict[tuple[UUID, int], int] = {}
    spans: list[_Span] = []
    for event in events:
        body = event.body
        if isinstance(body, Episode) and body.boundary is Boundary.BEGIN:
            limits = msgspec.convert(event.ext["thresholds"], Thresholds)
        if not isinstance(body, Task) or "skill" not in body.parameters.free:
            continue
        assert event.task_id is not None and event.time.source_ns is not None
        key = (event.task_id, event.attempt)
        if body.state is State.RUNNING:
            started[key] = event.time.source_ns
        elif body.state in TERMINAL and body.state is not State.CANCELED and key in started and limits is not None:
            free = body.parameters.free
            spans.append(_Span(*key, str(free["skill"]), free, limits, started.pop(key), event.time.source_ns))
    return spans


def _judge(span: _Span, samples: Sequence[Kept]) -> Finding | None:
    monitor = Monitor(guards_for(span.skill, span.parameters, span.limits), span.start)
    for kept in samples:
        # A set point begins each tick: all that was measured before it has been taken, so this is where the twin checked.
        if kept.channel == COMMAND:
            finding = monitor.check(kept.stamp_ns)
            if finding is not None:
                return finding
        monitor.feed(kept.channel, kept.stamp_ns, kept.sample)
    return monitor.check(span.end, end=True)
