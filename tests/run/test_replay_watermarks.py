"""A log tells how far the rules had seen at each moment: played again, they see the same, late inputs and gaps included."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest

from bridge.adapter import NO_STAMP, Channel, ChannelKind, Source
from bridge.pipeline import WATERMARK_TOPIC, Pipeline
from bridge.replay_hub import HubPlayer
from bridge.rules.stage import RuleStage
from bridge.schema import Signal, Space, TaskEvent, codec, flat
from bridge.sink import Batch, RunInfo
from bridge.site import LoadedSite, load_text
from recorder.reader import open_log
from recorder.replay import Selection, replay

RUN = UUID("0198a000-0000-7000-8000-00000000aaaa")
BASE = 1_760_000_000_000_000_000
MS = 1_000_000
TRANSIT_MS = 7
SITE = """
dari: 1
site: {name: replayed}
assets: {cell: {cell: c1}}
sources:
  plc:
    adapter: tests.run.plugins:TickAdapter
    space: field
    asset: cell
    signals: {start: {}, done: {}}
  meter:
    adapter: tests.run.plugins:TickAdapter
    space: field
    asset: cell
    signals: {width: {own: true}}
rules:
  pick:
    task: pick
    verb: grasp
    space: field
    asset: cell
    inputs:
      start: {source: plc, tag: start}
      done: {source: plc, tag: done}
      width: {source: meter, tag: width, unit: m}
    rules:
      - {emit: started, trigger: rise, when: start, from: [idle]}
      - {emit: succeeded, trigger: rise, when: done, from: [active]}
      - {emit: failed, trigger: hold, for_ms: 20, when: start and width < 0.01, code: grasp.slip}
      - {emit: failed, trigger: timeout, after: started, for_ms: 400, code: motion.timeout}
      - {emit: corrected, trigger: fall, when: done, within_ms: 3000}
      - {emit: progress, trigger: cross, when: width, level: 0.02, hysteresis: 0.005}
sinks:
  log: {sink: mcap, options: {directory: logs, sync: false}}
"""
CHANNELS = {
    "plc": Channel(
        index=0, name="plc/signals", topic="/field/cell/plc/signals", kind=ChannelKind.SIGNALS, type_name=""
    ),
    "meter": Channel(
        index=0,
        name="width",
        topic="/field/cell/width",
        kind=ChannelKind.SIGNAL,
        type_name="",
        metadata={"dari.tag": "width"},
    ),
}


class Feed:
    """Numbers the records of one source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sequence = 0

    def batch(self, t_ms: int, way_ms: int, payload: bytes) -> Batch:
        """One record that happened at `t_ms`, came to its adapter `TRANSIT_MS` before `way_ms`, and then to the hub."""

        def one(value: int) -> np.ndarray:
            return np.array([value], dtype=np.int64)

        self.sequence += 1
        return Batch(
            source=self.source.name,
            epoch=0,
            channel=one(0),
            sequence=one(self.sequence - 1),
            stamp=one(NO_STAMP),
            alt_stamp=one(NO_STAMP),
            arrival=one(BASE + (way_ms - TRANSIT_MS) * MS),
            aligned=one(BASE + t_ms * MS),
            uncertainty=one(1000),
            clock_epoch=one(0),
            flags=one(0),
            start=one(0),
            length=one(len(payload)),
            payload=payload,
        )


def made_up(seed: int, sources: dict[str, Source]) -> list[tuple[int, Batch]]:
    """(arrival ms, batch) of ten seconds, in the order of arrival; on even seeds some come after the rules have passed them."""
    draw = random.Random(seed)
    found: list[tuple[int, Batch]] = []
    for name, source in sources.items():
        feed, way, t = Feed(source), 0, 0
        while t < 10_000:
            t += draw.randrange(1, 60)
            way = max(way, t + draw.choice([1, 5, 20, 100, 240 if seed % 2 else 700]))
            if name == "meter":
                value = draw.choice([0.04, 0.03, 0.022, 0.018, 0.012, 0.005])
                payload = codec.encode_signal(Signal("width", value))
            else:
                tag = draw.choice(["start", "done"])
                payload = codec.encode_signals([Signal(tag, draw.choice([True, False, False]))])
            found.append((way, feed.batch(t, way, payload)))
    return sorted(found, key=lambda pair: pair[0])


def record(folder: Path, site: LoadedSite, seed: int) -> tuple[Path, RuleStage]:
    """A run of it through the pipeline, as the hub would drive it."""
    sources = {s.name: s.make_source(RUN) for s in site.sources}
    run = RunInfo(
        run_id=RUN,
        site_name="replayed",
        site_text=SITE,
        site_path=str(folder / "site.yaml"),
        realtime_ns=BASE,
        monotonic_ns=0,
        software={},
        directory=str(folder),
    )
    stage = RuleStage(site.site.rules, site.site, RUN, sources)
    sinks = site.make_sinks()
    pipeline = Pipeline(run, stage, sinks, spaces=[Space.FIELD], now_ns=BASE)
    for name, source in sources.items():
        pipeline.declare(source, [CHANNELS[name]])
    now = 0
    last: dict[str, int] = {}
    for number, (way, batch) in enumerate(made_up(seed, sources)):
        while now + 50 <= way:
            now += 50
            pipeline.advance(BASE + now * MS)
        aligned = int(batch.aligned[0])
        if number % 150 == 149:
            pipeline.gap(batch.source, last.get(batch.source), aligned, 3, "records are missing")
        last[batch.source] = aligned
        pipeline.take(batch)
    pipeline.advance(BASE + (now + 50) * MS)
    pipeline.close("over")
    return sinks[0].path, stage


def told(path: Path) -> list[tuple[Any, ...]]:
    """What the rules said, ids aside, in the order in which they said it."""

    def bare(event: TaskEvent) -> tuple[Any, ...]:
        body = msgspec.to_builtins(event.body)
        for key in ("corrects", "completes", "verified_by"):
            body.pop(key, None)
        rels = [link.rel for link in event.links]
        return (event.source, event.time.aligned_ns, event.kind, event.attempt, event.flags, rels, str(body))

    with open_log(path) as log:
        events = [event for event in log.events() if event.source.startswith("rules.")]
    return [bare(event) for event in sorted(events, key=lambda event: event.sequence)]


def gaps(path: Path) -> list[tuple[Any, ...]]:
    with open_log(path) as log:
        bodies = [event.body for event in log.events() if event.kind == "health" and event.body.code.value == "gap"]
    return [(body.text, body.window.t0_ns, body.window.t1_ns, body.count) for body in bodies]


def played(path: Path, out: Path, *, exclude: tuple[str, ...] = ()) -> Path:
    with open_log(path) as log:
        replay(log, HubPlayer(), Selection(exclude=exclude), rate=None, options={"out": str(out)})
    (found,) = out.rglob("*.mcap")
    return found


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    return load_text(SITE, tmp_path / "site.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_a_replay_with_the_recorded_watermarks_gives_the_same_events(tmp_path, site, seed):
    path, stage = record(tmp_path, site, seed)
    live = told(path)
    assert len(live) > 30
    # On odd seeds nothing is late but a gap, which is known when it is over.
    assert (stage.late > 3) == (seed % 2 == 0)
    again = played(path, tmp_path / "again")
    assert told(again) == live
    assert gaps(again) == gaps(path) != []
    # The new log has them too: it can be played again, and again.
    assert told(played(again, tmp_path / "thrice")) == live


def test_without_them_late_inputs_would_be_seen_in_time(tmp_path, site):
    path, stage = record(tmp_path, site, 0)
    assert stage.late
    again = played(path, tmp_path / "again", exclude=(WATERMARK_TOPIC,))
    assert told(again) != told(path)


def test_the_watermark_is_written_when_the_rules_saw_more_and_only_then(tmp_path, site):
    path, stage = record(tmp_path, site, 1)
    with open_log(path) as log:
        found = [
            (message.log_time, {row.tag: row.value for row in flat.from_signal_table(log.decode(message))})
            for message in log.messages([WATERMARK_TOPIC])
        ]
    marks = [rows["watermark"] for _, rows in found]
    assert all(type(mark) is int for mark in marks)  # whole nanoseconds: a float would be off by 256
    assert marks == sorted(set(marks))
    assert marks[-1] <= stage.watermark_ns
    assert all(mark <= at for mark, (at, _) in zip(marks, found, strict=True))
    assert len(marks) <= 10_000 // 50 + 20
    # What had come by then: nothing of the future.
    assert all(set(rows) == {"watermark", "plc", "meter"} for _, rows in found)
    assert all(value is None or value <= at + MS for at, rows in found for value in rows.values())
