"""What a log says in numbers: tasks, attempts, failures and what repaired them by space; channels, gaps, clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

import msgspec
import numpy as np

from bridge.schema import (
    Correction,
    Failure,
    FailureCode,
    Health,
    HealthCode,
    Result,
    State,
    Task,
    TaskEvent,
)
from recorder.clocks import Clocks, ClockSummary
from recorder.reader import RUN_RECORD, Log, LogChannel

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.SKIPPED})


class FailureCount(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one code in one space; `causes` counts what their explanations say, an empty text for no explanation."""

    code: FailureCode
    count: int
    causes: dict[str, int] = {}
    corrected: int = 0


class CorrectionCount(msgspec.Struct, frozen=True, kw_only=True):
    """Corrections of one strategy in one space, by what came of them; `open` have no result in the log."""

    strategy: str
    count: int
    repaired: int = 0
    partial: int = 0
    none: int = 0
    open: int = 0


class SpaceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One space: `tasks` counts distinct tasks (a job with sub-tasks is one of `jobs` and not of `tasks`), `attempts` distinct
    (task, attempt); `outcomes` the state in which each task's last attempt was left; `jobs_open` the jobs that had not ended
    when the log did."""

    events: int
    jobs: int
    tasks: int
    attempts: int
    outcomes: dict[str, int]
    decisions: int
    measures: int
    failures: list[FailureCount]
    corrections: list[CorrectionCount]
    inferred: int
    jobs_open: int = 0

    @property
    def tasks_open(self) -> int:
        """Tasks that had not ended when the log did."""
        return sum(count for state, count in self.outcomes.items() if state not in TERMINAL)

    @property
    def tells(self) -> bool:
        """Whether there is anything but the run's own events."""
        return bool(self.jobs or self.tasks or self.decisions or self.measures or self.failures or self.corrections)

    @property
    def failure_count(self) -> int:
        """Failures in all."""
        return sum(f.count for f in self.failures)


class ChannelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: messages, rate between first and last, longest time without a message, what was lost and how often."""

    topic: str
    type_name: str
    count: int
    rate_hz: float | None
    longest_silence_ns: int | None
    source: str
    space: str
    lost: int = 0
    gaps: int = 0


class HealthSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the pipeline said of itself, by code; `lost` adds up the counts of gap, loss and drop events."""

    counts: dict[str, int]
    lost: int
    flagged: int

    def of(self, code: HealthCode) -> int:
        """Events with one code."""
        return self.counts.get(code.value, 0)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A whole log in numbers. Times are ns since the UNIX epoch on the recorder's timeline; `missing` counts holes in the
    sequence numbers, by source."""

    path: str
    state: str
    closed: bool
    size: int
    run_id: str
    site: str
    start_ns: int | None
    end_ns: int | None
    messages: int
    kinds: dict[str, int]
    spaces: dict[str, SpaceSummary]
    channels: list[ChannelSummary]
    clocks: list[ClockSummary]
    missing: dict[str, int]
    health: HealthSummary
    problems: list[str]
    advice: str = ""

    @property
    def duration_ns(self) -> int:
        """From the first to the last message."""
        return 0 if self.start_ns is None or self.end_ns is None else self.end_ns - self.start_ns


def summarise(log: Log) -> Summary:
    """Everything that the log says in numbers; reads the events and the clock records, and only the index of the rest."""
    events = list(log.events())
    clocks = Clocks(log)
    whole = log.time_range
    run = log.metadata.get(RUN_RECORD, {})
    return Summary(
        path=str(log.path),
        state=log.state,
        closed=log.closed,
        size=log.size,
        run_id=run.get("run_id", ""),
        site=run.get("site", ""),
        start_ns=whole[0] if whole else None,
        end_ns=whole[1] if whole else None,
        messages=log.message_count,
        kinds=dict(Counter(event.kind for event in events)),
        spaces=_spaces(events),
        channels=_channels(log, events),
        clocks=clocks.clocks,
        missing=clocks.missing,
        health=_health(events),
        problems=list(log.problems),
        advice=log.advice,
    )


def _spaces(events: list[TaskEvent]) -> dict[str, SpaceSummary]:
    by_space: dict[str, list[TaskEvent]] = {}
    for event in events:
        by_space.setdefault(event.space.value, []).append(event)
    # A correction's result may come from another source than its beginning: completions are looked for in the whole log.
    results = {e.body.completes: e.body.result for e in events if isinstance(e.body, Correction) and e.body.completes}
    corrected = {e.body.corrects for e in events if isinstance(e.body, Correction)}
    return {space: _space(found, results, corrected) for space, found in by_space.items()}


def _space(events: list[TaskEvent], results: dict[UUID, Result | None], corrected: set[UUID]) -> SpaceSummary:
    parents = {e.parent_id for e in events if e.parent_id is not None}
    attempts: dict[tuple[UUID, int], State] = {}
    for event in events:
        if isinstance(event.body, Task) and event.task_id is not None:
            attempts[event.task_id, event.attempt] = event.body.state
    last: dict[UUID, tuple[int, State]] = {}
    for (task, attempt), state in attempts.items():
        if task not in last or attempt >= last[task][0]:
            last[task] = (attempt, state)
    jobs = [task for task in last if task in parents]
    outcomes = Counter(state.value for task, (_, state) in last.items() if task not in parents)
    return SpaceSummary(
        events=len(events),
        jobs=len(jobs),
        tasks=len(last) - len(jobs),
        attempts=sum(1 for task, _ in attempts if task not in parents),
        outcomes=dict(outcomes),
        decisions=sum(event.kind == "decision" for event in events),
        measures=sum(event.kind == "measure" for event in events),
        failures=_failures(events, corrected),
        corrections=_corrections(events, results),
        inferred=sum(event.origin.value == "inferred" for event in events),
        jobs_open=sum(last[job][1] not in TERMINAL for job in jobs),
    )


def _failures(events: Iterable[TaskEvent], corrected: set[UUID]) -> list[FailureCount]:
    counts: Counter[FailureCode] = Counter()
    causes: dict[FailureCode, Counter[str]] = {}
    repaired: Counter[FailureCode] = Counter()
    for event in events:
        if isinstance(event.body, Failure):
            code = event.body.code
            counts[code] += 1
            repaired[code] += event.id in corrected
            text = event.body.explanation.text if event.body.explanation else ""
            causes.setdefault(code, Counter())[text] += 1
    return [
        FailureCount(code=code, count=count, causes=dict(causes[code].most_common()), corrected=repaired[code])
        for code, count in counts.most_common()
    ]


def _corrections(events: Iterable[TaskEvent], results: dict[UUID, Result | None]) -> list[CorrectionCount]:
    found: dict[str, Counter[str]] = {}
    for event in events:
        body = event.body
        if isinstance(body, Correction) and body.completes is None:
            result = results.get(event.id)
            found.setdefault(body.strategy.value, Counter())[result.value if result else "open"] += 1
    return [
        CorrectionCount(strategy=strategy, count=sum(counts.values()), **counts)
        for strategy, counts in sorted(found.items(), key=lambda item: -sum(item[1].values()))
    ]


def _health(events: Iterable[TaskEvent]) -> HealthSummary:
    counts: Counter[str] = Counter()
    lost = flagged = 0
    for event in events:
        flagged += bool(event.flags)
        if isinstance(event.body, Health):
            counts[event.body.code.value] += 1
            if event.body.code in (HealthCode.GAP, HealthCode.LOSS, HealthCode.DROPPED):
                lost += event.body.count or 0
    return HealthSummary(counts=dict(counts.most_common()), lost=lost, flagged=flagged)


def _channels(log: Log, events: Iterable[TaskEvent]) -> list[ChannelSummary]:
    lost: Counter[str] = Counter()
    gaps: Counter[str] = Counter()
    for event in events:
        body = event.body
        if isinstance(body, Health) and body.code in (HealthCode.GAP, HealthCode.LOSS, HealthCode.DROPPED):
            gaps[body.channel] += 1
            lost[body.channel] += body.count or 0
    topics: dict[str, list[LogChannel]] = {}
    for channel in log.channels.values():
        topics.setdefault(channel.topic, []).append(channel)
    return [_channel(log, topic, found, lost[topic], gaps[topic]) for topic, found in sorted(topics.items())]


def _channel(log: Log, topic: str, channels: list[LogChannel], lost: int, gaps: int) -> ChannelSummary:
    times = log.times({c.id for c in channels})
    rate = silence = None
    if len(times) > 1:
        whole = int(times[-1] - times[0])
        rate = (len(times) - 1) * 1e9 / whole if whole else None
        silence = int(np.diff(times).max())
    first = channels[0]
    return ChannelSummary(
        topic=topic,
        type_name=" | ".join(sorted({c.type_name for c in channels})),
        count=len(times),
        rate_hz=rate,
        longest_silence_ns=silence,
        source=first.metadata.get("dari.source", ""),
        space=first.metadata.get("dari.space", ""),
        lost=lost,
        gaps=gaps,
    )
