"""Behind the socket: rules, the tasks' state machine, the pipeline's own events, sinks.

The hub feeds it what comes in live, a replay what a log holds: both get the same events, since nothing in here reads a
clock; time comes in with `advance`.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from bridge.adapter import Channel, ChannelKind, Source
from bridge.errors import DariError, SchemaError
from bridge.rules.stage import RuleEvent, RuleStage
from bridge.schema import (
    Asset,
    Boundary,
    Health,
    HealthCode,
    Interval,
    Link,
    Relation,
    Run,
    Signal,
    Space,
    TaskEvent,
    codec,
)
from bridge.schema.transitions import Ledger
from bridge.sink import Batch, RunInfo, Sink
from bridge.voices import Voices

T = TypeVar("T")

WATERMARK_TOPIC = "/dari/rules/watermark"
"""A table each time that the rules saw more. Its first row, `watermark`, says up to what aligned time; the others, named as the
sources that they read, up to what arrival the hub had heard each, null where nothing had come. A replay sees the same by it."""
MARK_EVERY_NS = 1_000_000_000
"""How often it is told where the rules see nothing, so that a replay need not hold back more than that."""


class _Mark(NamedTuple):
    """How far the rules had seen at a moment, and what had come by then; ns on the timeline."""

    watermark_ns: int
    now_ns: int
    heard: dict[str, int | None]


class Totals(msgspec.Struct, kw_only=True):
    """What was counted; said at the end of a run. `rules` is what the rule stage counted, by rule set; `inputs` is of all."""

    records: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    duplicates: int = 0
    refused: int = 0
    restarts: int = 0
    violations: int = 0
    late: int = 0
    channels: dict[str, int] = {}
    rules: dict[str, dict[str, int]] = {}
    rules_failed: str = ""

    def add(self, other: Totals) -> None:
        """Count what another pipeline of the same run counted, too."""
        for name in ("records", "events", "gaps", "lost", "duplicates", "refused", "restarts", "violations", "late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.channels = dict(Counter(self.channels) + Counter(other.channels))
        names = self.rules.keys() | other.rules.keys()
        self.rules = {n: dict(Counter(self.rules.get(n, {})) + Counter(other.rules.get(n, {}))) for n in sorted(names)}
        self.rules_failed = self.rules_failed or other.rules_failed


class Pipeline:
    """Takes declared channels and batches, and writes them with what the rules and the ledger make of them.

    Args:
        run: the run's identity and clock pair.
        rules: the rule stage, fed with every batch.
        sinks: opened here, closed by `close`.
        spaces: the spaces of the site's sources: the run's beginning and end is said once in each.
        now_ns: the time on the recorder's timeline at which the run begins.
        sources: the site's sources, so that what is said of one that never spoke stands in its space.

    Raises:
        DariError: a sink can not be opened; those before it are closed again.
    """

    def __init__(
        self,
        run: RunInfo,
        rules: RuleStage,
        sinks: list[Sink],
        *,
        spaces: list[Space],
        now_ns: int,
        operator: str = "",
        seed: int | None = None,
        sources: Iterable[Source] = (),
    ) -> None:
        self._run = run
        self._rules: RuleStage | None = rules
        self._sinks: list[Sink] = []
        self._spaces = spaces
        self._operator = operator
        self._seed = seed
        self._now = now_ns
        self._channels: dict[tuple[str, int], list[Channel]] = {}
        self._sources = {source.name: source for source in sources}
        self._ledger = Ledger()
        self._dirty = True
        self._heard: dict[str, int | None] = dict.fromkeys(rules.sources)
        self._marked = _Mark(0, 0, {})
        self._unmarked: _Mark | None = None
        self._released = self._late = 0
        self.totals = Totals()
        self._voices = Voices(
            run.run_id, run.part, declare=self._declare_own, write=self._write, spoken=self._count_event
        )
        try:
            for sink in sinks:
                sink.open(run)
                self._sinks.append(sink)
            for space in spaces:
                self._voices.say(space, self._boundary(Boundary.BEGIN), self._now)
        except Exception:
            self.abandon("a sink could not be opened")
            raise

    def _boundary(self, boundary: Boundary, reason: str = "") -> Run:
        software = self._run.software if boundary is Boundary.BEGIN else {}
        return Run(boundary=boundary, seed=self._seed, software=software, operator=self._operator, reason=reason)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """Channels of a source, all that it has so far; those that were declared before are passed over."""
        known = self._channels.setdefault((source.name, source.epoch), [])
        fresh = channels[len(known) :]
        if fresh:
            known.extend(fresh)
            self._sources[source.name] = source
            for sink in self._sinks:
                sink.declare(source, fresh)
            self._ask_rules(lambda rules: rules.declare(source, channels))

    def take(self, batch: Batch) -> None:
        """Write a batch of a declared source, its events judged, and let the rules see it."""
        channels = self._channels[(batch.source, batch.epoch)]
        counts = np.bincount(batch.channel)
        totals = self.totals
        totals.records += len(batch)
        with_events = False
        for index in counts.nonzero()[0].tolist():
            channel = channels[index]
            totals.channels[channel.topic] = totals.channels.get(channel.topic, 0) + int(counts[index])
            with_events = with_events or channel.kind is ChannelKind.EVENT
        flagged: list[tuple[TaskEvent, list[str]]] = []
        if with_events:
            batch, flagged = self._judge(channels, batch)
        self._write(batch)
        for event, violations in flagged:
            self._violations(event, violations)
        if batch.source in self._heard:
            self._heard[batch.source] = max(self._heard[batch.source] or 0, int(batch.arrival.max()))
        self._ask_rules(lambda rules: rules.take(batch))

    def gap(self, source: str, t0: int | None, t1: int, count: int | None, text: str) -> None:
        """Nothing came from a source between `t0` and `t1` (ns on the timeline); `count` records are known to be lost."""
        self.totals.gaps += 1
        self.totals.lost += count or 0
        begin = t1 if t0 is None else min(t0, t1)
        self._ask_rules(lambda rules: rules.gap(source, begin, t1))
        self.health(source, HealthCode.GAP, text, window=Interval(t0_ns=begin, t1_ns=t1), count=count)

    def ended(self, source: str) -> None:
        """A source has said that nothing more will come."""
        self._ask_rules(lambda rules: rules.ended(source))

    def tick(self, now_ns: int) -> None:
        """It is `now_ns` on the timeline, and the rules are not asked."""
        self._now = max(self._now, now_ns)

    def advance(self, now_ns: int, rules_now_ns: int | None = None, watermark_ns: int | None = None) -> None:
        """It is `now_ns` on the timeline: let what waits for its time go on.

        `rules_now_ns` is earlier where senders are known to have more of an earlier time on its way. On replay,
        `watermark_ns` is what the log says that the rules had seen at this moment.
        """
        self.tick(now_ns)
        at = self._now if rules_now_ns is None else rules_now_ns
        found = self._ask_rules(lambda rules: rules.advance(at, watermark_ns)) or []
        if self._rules is not None:
            self._mark(self._rules, bool(found))
        for event in found:
            self._rule_event(event)

    def flush(self) -> None:
        """Put what is held where a killed process does not lose it."""
        if self._dirty:
            for sink in self._sinks:
                sink.flush()
            self._dirty = False

    def close(self, reason: str) -> list[str]:
        """End the run: rules flushed, boundaries written, sinks closed. Returns where the results lie.

        Raises what the first of the sinks raises that can not be closed, when the others are.
        """
        for event in self._ask_rules(lambda rules: rules.flush()) or []:
            self._rule_event(event)
        self._count_rules()
        for space in self._spaces:
            self._voices.say(space, self._boundary(Boundary.END, reason), self._now)
        places = []
        while self._sinks:
            places.append(self._sinks[0].close(reason))
            self._sinks.pop(0)
        return places

    def abandon(self, reason: str) -> list[str]:
        """End where a sink has failed: close what can be closed, raise nothing. Returns where the results lie."""
        self._count_rules()
        places = []
        for sink in self._sinks:
            try:
                places.append(sink.close(reason))
            except Exception as error:
                text = error.what if isinstance(error, DariError) else f"{type(error).__name__}: {error}"
                places.append(f"{type(sink).__name__ if sink.path == Path() else sink.path} (NOT closed: {text})")
        self._sinks = []
        return places

    # -- rules -------------------------------------------------------------------------------------------------------

    def _ask_rules(self, ask: Callable[[RuleStage], T]) -> T | None:
        """Ask the rule stage. A fault of its own code must not take down the recorder: it is left out from there on, loudly."""
        if self._rules is None:
            return None
        try:
            return ask(self._rules)
        except Exception as error:
            self._count_rules()
            self._rules = None
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}, line {where.lineno}"
            text = f"the rules failed and make no more events in this run: {type(error).__name__}: {error} (in {place})"
            self.totals.rules_failed = text
            self.health("", HealthCode.DROPPED, text)
            return None

    def _mark(self, rules: RuleStage, found: bool) -> None:
        """Write down how far the rules have seen, when they have seen more; and how far they had, when something was late.

        What is late depends on the watermark before it came, which may have moved on with nothing to be seen.
        """
        if rules.watermark_ns is None:
            return
        if rules.late != self._late and self._unmarked is not None:
            self._write_mark(self._unmarked)
        self._late = rules.late
        mark = _Mark(rules.watermark_ns, self._now, dict(self._heard))
        self._unmarked = None if mark.watermark_ns == self._marked.watermark_ns else mark
        seen_more = found or rules.released != self._released
        if self._unmarked is not None and (seen_more or self._now - self._marked.now_ns >= MARK_EVERY_NS):
            self._write_mark(mark)
            self._unmarked = None
        self._released = rules.released

    def _write_mark(self, mark: _Mark) -> None:
        self._marked = mark
        rows = [Signal("watermark", mark.watermark_ns), *(Signal(source, at) for source, at in mark.heard.items())]
        self._voices.signals(self._spaces[0], WATERMARK_TOPIC, rows, mark.now_ns)

    def _count_rules(self) -> None:
        if self._rules is not None:
            self.totals.late = self._rules.late
            self.totals.rules = self._rules.health()

    def _rule_event(self, rule_event: RuleEvent) -> None:
        voice = self._voices.of_source(rule_event.source)
        event, violations = self._ledger.observe(rule_event.make_event(self._run.run_id, voice.sequence, self._now))
        self._voices.event(voice, event)
        self._violations(event, violations)

    # -- events ------------------------------------------------------------------------------------------------------

    def _judge(self, channels: list[Channel], batch: Batch) -> tuple[Batch, list[tuple[TaskEvent, list[str]]]]:
        """Show every event to the ledger; the batch returned holds what it filled in and flagged."""
        payloads: list[bytes] = []
        flagged: list[tuple[TaskEvent, list[str]]] = []
        changed = False
        view = memoryview(batch.payload)
        for i in range(len(batch)):
            start, length = int(batch.start[i]), int(batch.length[i])
            payload = bytes(view[start : start + length])
            if channels[int(batch.channel[i])].kind is ChannelKind.EVENT:
                self.totals.events += 1
                try:
                    event = codec.decode(payload)
                except SchemaError as error:
                    # Kept as it is for the sink, which writes down what it can not decode.
                    self.health(
                        batch.source, HealthCode.BAD_QUALITY, f"an event does not fit the schema: {error}", count=1
                    )
                else:
                    judged, violations = self._ledger.observe(event)
                    if violations:
                        flagged.append((judged, violations))
                    if judged is not event:
                        payload = codec.encode(judged)
                        changed = True
            payloads.append(payload)
        if not changed:
            return batch, flagged
        lengths = np.array([len(payload) for payload in payloads], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        return msgspec.structs.replace(batch, start=starts, length=lengths, payload=b"".join(payloads)), flagged

    def _violations(self, event: TaskEvent, violations: list[str]) -> None:
        self.totals.violations += len(violations)
        link = Link(rel=Relation.CAUSED_BY, id=event.id)
        for text in violations:
            self.health(event.source, HealthCode.ILLEGAL_TRANSITION, text, links=(link,))

    def health(
        self,
        source: str,
        code: HealthCode,
        text: str,
        *,
        window: Interval | None = None,
        count: int | None = None,
        links: tuple[Link, ...] = (),
    ) -> None:
        """Say something of the pipeline itself, about `source`: as an event in that source's space."""
        about = self._sources.get(source)
        space = about.space if about is not None else self._spaces[0]
        asset = about.asset if about is not None else Asset()
        said = f"{source}: {text}" if source else text
        body = Health(code=code, text=said, window=window, count=count)
        self._voices.say(space, body, self._now, links=links, asset=asset, about=source)

    # -- to the sinks ------------------------------------------------------------------------------------------------

    def _count_event(self) -> None:
        self.totals.events += 1

    def _declare_own(self, source: Source, channel: Channel) -> None:
        for sink in self._sinks:
            sink.declare(source, [channel])

    def _write(self, batch: Batch) -> None:
        self._dirty = True
        for sink in self._sinks:
            sink.write(batch)
