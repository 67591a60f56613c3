"""The rules as the hub runs them: real batches of signals and CDR messages in, task events out, the same on every replay."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from rules_bench import BASE, MS, rule_set, word

from bridge.adapter import NO_STAMP, Channel, ChannelKind, Source
from bridge.errors import SiteError
from bridge.messages import message, serialize
from bridge.rules.order import LATENESS_NS
from bridge.rules.stage import LATE, RuleStage
from bridge.schema import Asset, Failure, Quality, Signal, Space, TaskEvent, codec
from bridge.schema.transitions import Ledger
from bridge.sink import Batch
from bridge.site.model import RuleSet, Site

RUN = UUID(int=9)
SITE = msgspec.convert(
    {
        "dari": 1,
        "site": {"name": "plant", "enterprise": "acme", "site": "busan", "area": "a1"},
        "assets": {"cell1": {"cell": "cell-1", "embodiment": {"model": "panda"}}, "press": {"area": "a2", "unit": "p"}},
        "sources": {},
    },
    Site,
)
PLC = Source(name="plc", space=Space.FIELD, asset_name="cell1", asset=Asset(cell="c"), run_id=RUN)
ROBOT = Source(name="robot", space=Space.TESTBED, asset_name="arm", asset=Asset(cell="c"), run_id=RUN)
JOINTS = "sensor_msgs/msg/JointState"
START = {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"]}
DONE = {"emit": "succeeded", "trigger": "rise", "when": "done", "from": ["active"]}
SLIP = {"emit": "failed", "trigger": "hold", "for_ms": 20, "when": "start and width < 0.01", "code": "grasp.slip"}
TWO_SOURCES: dict[str, Any] = {
    "inputs": {
        "start": {},
        "done": {},
        "width": {
            "source": "robot",
            "tag": None,
            "topic": "gripper/state",
            "field": "position[gripper_width]",
            "unit": "m",
        },
    },
    "rules": [START, DONE, SLIP],
}


def channel(index: int, name: str, kind: ChannelKind, type_name: str = "", topic: str = "") -> Channel:
    return Channel(index=index, name=name, topic=topic or f"/field/cell1/{name}", kind=kind, type_name=type_name)


PLC_CHANNELS = [
    channel(0, "signals", ChannelKind.SIGNALS),
    channel(1, "done", ChannelKind.SIGNAL),
    channel(2, "log", ChannelKind.LOG),
]
ROBOT_CHANNELS = [
    channel(0, "camera", ChannelKind.CDR, "sensor_msgs/msg/Image", "/testbed/arm/camera"),
    channel(1, "/gripper/state", ChannelKind.CDR, JOINTS, "/testbed/arm/gripper/state"),
]


class Feed:
    """Numbers the records of one source and makes batches of them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sequence = 0

    def batch(self, *records: tuple[float, int, bytes], stamps: list[int | None] | None = None) -> Batch:
        """(aligned ms, channel, payload) of each record."""
        n = len(records)
        lengths = np.array([len(payload) for _, _, payload in records], dtype=np.int64)
        aligned = np.array([BASE + round(t * MS) for t, _, _ in records], dtype=np.int64)
        stamp = [NO_STAMP if s is None else s for s in stamps] if stamps else [NO_STAMP] * n
        first, self.sequence = self.sequence, self.sequence + n
        column = np.full(n, 0, dtype=np.int64)
        return Batch(
            source=self.source.name, epoch=self.source.epoch, channel=np.array([c for _, c, _ in records], dtype=np.int64),
            sequence=np.arange(first, first + n, dtype=np.int64), stamp=np.array(stamp, dtype=np.int64),
            alt_stamp=column + NO_STAMP, arrival=aligned + 2 * MS, aligned=aligned, uncertainty=column + 5000,
            clock_epoch=column, flags=column, start=np.cumsum(lengths) - lengths, length=lengths,
            payload=b"".join(payload for _, _, payload in records),
        )  # fmt: skip

    def tags(self, t: float, **values: Any) -> Batch:
        """One columnar record."""
        signals = [
            Signal(tag, value, Quality.GOOD if value is not None else Quality.BAD) for tag, value in values.items()
        ]
        return self.batch((t, 0, codec.encode_signals(signals)))

    def own(self, t: float, tag: str, value: Any) -> Batch:
        """One signal with a channel of its own."""
        return self.batch((t, 1, codec.encode_signal(Signal(tag, value))))

    def width(self, t: float, metres: float) -> Batch:
        """One message of the robot's gripper."""
        return self.batch((t, 1, gripper(metres)))


def gripper(metres: float) -> bytes:
    numbers = {"position": [metres], "velocity": [0.0], "effort": [0.0]}
    return serialize(JOINTS, message(JOINTS, name=["gripper_width"], **numbers))


class Hub:
    """What the hub does with a stage."""

    def __init__(self, *rules: RuleSet, **options: Any) -> None:
        named = {f"set{n}" if n else "pick": rules_ for n, rules_ in enumerate(rules)}
        self.stage = RuleStage(named, SITE, RUN, {"plc": PLC, "robot": ROBOT}, **options)
        self.stage.declare(PLC, PLC_CHANNELS)
        self.stage.declare(ROBOT, ROBOT_CHANNELS)
        self.ledger = Ledger()
        self.events: list[TaskEvent] = []
        self.watermarks: list[tuple[int, int | None]] = []

    def look(self, now_ms: float, watermark: int | None = None) -> list[str]:
        now = BASE + round(now_ms * MS)
        out = self._say(self.stage.advance(now, watermark), now)
        self.watermarks.append((now, self.stage.watermark_ns))
        return out

    def end(self) -> list[str]:
        return self._say(self.stage.flush(), BASE)

    def _say(self, rule_events: list[Any], now: int) -> list[str]:
        said = []
        for rule_event in rule_events:
            sequence = sum(event.source == rule_event.source.name for event in self.events)
            event, violations = self.ledger.observe(rule_event.make_event(RUN, sequence, now))
            assert violations == []
            codec.decode(codec.encode(event))
            assert event.time.aligned_ns <= event.time.received_ns
            self.events.append(event)
            said.append(word(event))
        return said


def test_a_rule_that_joins_two_sources() -> None:
    hub, plc, robot = Hub(rule_set(**TWO_SOURCES)), Feed(PLC), Feed(ROBOT)
    hub.stage.take(plc.tags(0, start=False))
    hub.stage.take(plc.own(1, "done", False))
    hub.stage.take(robot.width(0, 0.04))
    # The robot's message of 130 overtakes the start of 100 on the way to the hub.
    hub.stage.take(robot.width(130, 0.002))
    assert hub.look(135) == []
    hub.stage.take(plc.tags(100, start=True))
    hub.stage.take(robot.width(160, 0.004))
    hub.stage.take(plc.own(170, "done", False))
    assert hub.look(175) == ["READY", "RUNNING", "failure grasp.slip", "FAILED"]
    assert [(e.time.aligned_ns - BASE) // MS for e in hub.events] == [100, 100, 150, 150]
    failure = hub.events[2].body
    assert isinstance(failure, Failure)
    start, width = failure.evidence
    assert (start.channel, start.field, start.predicate) == (
        "/field/cell1/signals", "value[start]", "last(value[start]) == 1",
    )  # fmt: skip
    assert (width.channel, width.field, width.predicate, width.value, width.unit) == (
        "/testbed/arm/gripper/state", "position[gripper_width]", "max(position[gripper_width]) < 0.01", 0.002, "m",
    )  # fmt: skip
    event = hub.events[0]
    assert (event.source, event.space, event.sequence) == ("rules.pick", Space.FIELD, 0)
    assert event.asset == PLC.asset
    assert event.time.uncertainty_ns == 5000
    assert event.ext["task"] == "pick"


def test_the_asset_is_resolved_where_no_source_has_it() -> None:
    for asset, expected in (
        ("press", Asset(enterprise="acme", site="busan", area="a2", unit="p")),
        ("cell1", Asset(enterprise="acme", site="busan", area="a1", cell="cell-1")),
    ):
        stage = RuleStage({"pick": rule_set(rules=[START], asset=asset)}, SITE, RUN, {})
        stage.declare(PLC, PLC_CHANNELS)
        stage.take(Feed(PLC).batch((0, 0, codec.encode_signals([Signal("start", False)]))))
        stage.take(Feed(PLC).batch((10, 0, codec.encode_signals([Signal("start", True)]))))
        event = stage.advance(BASE + 1000 * MS)[0].make_event(RUN, 0, BASE + 1000 * MS)
        assert event.asset == expected
        assert (event.embodiment is not None) == (asset == "cell1")


def test_signals_of_one_record_are_placed_by_their_own_stamps() -> None:
    hub, plc = Hub(rule_set(rules=[START, DONE])), Feed(PLC)
    hub.stage.take(plc.tags(0, start=False, done=False))
    device = 5_000_000_000
    both = [
        Signal("done", True, source_ns=device),
        Signal("start", True, source_ns=device - 30 * MS),
    ]
    hub.stage.take(plc.batch((100, 0, codec.encode_signals(both)), stamps=[device]))
    assert hub.look(500) == ["READY", "RUNNING", "SUCCEEDED"]
    assert [(e.time.aligned_ns - BASE) // MS for e in hub.events] == [70, 70, 100]
    # A stamp that can not be meant does not throw the value out of the run.
    wild = [Signal("start", False, source_ns=-(2**63)), Signal("done", False, source_ns=2**63 - 1)]
    hub.stage.take(plc.batch((600, 0, codec.encode_signals(wild)), stamps=[device + 500 * MS]))
    assert hub.look(1000) == []
    assert hub.stage.late == 0


def test_values_of_one_instant_are_seen_together_and_second_values_one_after_the_other() -> None:
    ready = {**START, "when": "start and not done"}
    hub, plc = Hub(rule_set(rules=[ready])), Feed(PLC)
    hub.stage.take(plc.tags(0, start=False, done=False))
    # Both rise at once: never was one without the other.
    hub.stage.take(plc.tags(10, start=True, done=True))
    assert hub.look(500) == []
    hub.stage.take(plc.tags(600, start=False, done=False))
    pulse = [Signal("start", True), Signal("start", False)]
    hub.stage.take(plc.batch((610, 0, codec.encode_signals(pulse))))
    assert hub.look(1000) == ["READY", "RUNNING"]


def test_bad_quality_and_payloads_that_can_not_be_read_are_counted() -> None:
    hub, plc, robot = Hub(rule_set(**TWO_SOURCES)), Feed(PLC), Feed(ROBOT)
    hub.stage.take(plc.tags(0, start=None))
    hub.stage.take(plc.batch((1, 0, b"\xc1 no msgpack"), (2, 1, b""), (3, 2, b"not read")))
    hub.stage.take(robot.batch((0, 1, b"\x00\x01"), (1, 0, b"an image that no rule reads")))
    hub.look(1000)
    assert hub.stage.health()["inputs"]["bad"] == 1
    assert hub.stage.health()["inputs"]["undecodable"] == 3
    hub.stage.take(plc.tags(900, start=False))
    hub.stage.take(plc.tags(910, start=True))
    assert hub.look(2000) == ["READY", "RUNNING"]


def test_a_gap_of_one_source_makes_a_task_under_way_unknown() -> None:
    hub, plc, robot = Hub(rule_set(**TWO_SOURCES), rule_set(rules=[START])), Feed(PLC), Feed(ROBOT)
    hub.stage.take(plc.tags(0, start=False))
    hub.stage.take(robot.width(0, 0.04))
    hub.stage.take(plc.tags(10, start=True))
    assert hub.look(400) == ["READY", "RUNNING", "READY", "RUNNING"]
    hub.stage.gap("robot", BASE + 300 * MS, BASE + 900 * MS)
    # Only the rule set that reads the robot is touched.
    assert hub.look(1000) == ["UNKNOWN"]
    assert hub.events[-1].source == "rules.pick"
    assert (hub.events[-1].time.aligned_ns - BASE) // MS == 300
    restarted = msgspec.structs.replace(ROBOT, epoch=1)
    hub.stage.declare(restarted, ROBOT_CHANNELS)
    hub.stage.take(Feed(restarted).width(950, 0.001))
    assert hub.look(1300) == ["failure grasp.slip", "FAILED"]


def test_a_late_input_is_counted_and_its_events_are_flagged() -> None:
    hub, plc = Hub(rule_set(rules=[START])), Feed(PLC)
    hub.stage.take(plc.tags(0, start=False))
    hub.look(2000)
    hub.stage.take(plc.tags(500, start=True))
    assert hub.look(2001) == ["READY", "RUNNING"]
    assert hub.stage.late == 1
    assert all(event.flags == (LATE,) for event in hub.events)
    assert (hub.events[0].time.aligned_ns - BASE) // MS == 500


def test_a_source_that_has_ended_does_not_hold_the_others_back() -> None:
    hub, plc = Hub(rule_set(**TWO_SOURCES)), Feed(PLC)
    hub.stage.ended("robot")
    hub.stage.take(plc.tags(0, start=False))
    hub.stage.take(plc.tags(10, start=True))
    hub.stage.take(plc.tags(20, start=True))
    assert hub.look(21) == ["READY", "RUNNING"]


def test_flush_says_what_is_left() -> None:
    hub, plc = Hub(rule_set(rules=[START])), Feed(PLC)
    hub.stage.take(plc.tags(0, start=False))
    hub.stage.take(plc.tags(10, start=True))
    assert hub.look(15) == []
    assert hub.end() == ["READY", "RUNNING"]


def test_without_rules_it_costs_nothing_and_says_nothing() -> None:
    stage = RuleStage({}, SITE, RUN, {"plc": PLC})
    stage.declare(PLC, PLC_CHANNELS)
    stage.take(Feed(PLC).tags(0, start=True))
    stage.gap("plc", BASE, BASE + 1)
    stage.ended("plc")
    assert stage.advance(BASE + 10**10) == []
    assert stage.flush() == []
    assert stage.late == 0


def test_faults_of_all_rule_sets_are_told() -> None:
    with pytest.raises(SiteError) as caught:
        Hub(rule_set(rules=[{**START, "when": "x"}]), rule_set(rules=[{**START, "trigger": "y"}]))
    assert {problem.where.split(".")[1] for problem in caught.value.problems} == {"pick", "set1"}


# -- replay ------------------------------------------------------------------------------------------------------------

REPLAYED = rule_set(
    **{
        **TWO_SOURCES,
        "rules": [
            *TWO_SOURCES["rules"],
            {"emit": "corrected", "trigger": "fall", "when": "done", "within_ms": 3000},
            {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 400, "code": "motion.timeout"},
            {"emit": "progress", "trigger": "cross", "when": "width", "level": 0.02, "hysteresis": 0.005},
        ],
    }
)


def recorded(seed: int) -> list[tuple[int, Batch]]:
    """(arrival ms, batch) of a made-up run of ten seconds, in the order of arrival: some batches come very late."""
    draw = random.Random(seed)
    out: list[tuple[int, Batch]] = []
    for feed in (Feed(PLC), Feed(ROBOT)):
        way = t = 0
        while t < 10_000:
            t += draw.randrange(1, 60)
            if feed.source is ROBOT:
                batch = feed.width(t, draw.choice([0.04, 0.03, 0.022, 0.018, 0.012, 0.005]))
            elif draw.random() < 0.3:
                batch = feed.own(t, "done", draw.choice([True, False]))
            else:
                batch = feed.tags(t, start=draw.choice([True, False, False, None]))
            # A connection keeps the order of what goes over it.
            way = max(way, t + draw.choice([1, 5, 20, 100, 240 if seed % 2 else 700]))
            out.append((way, batch))
    return sorted(out, key=lambda pair: pair[0])


def told(hub: Hub) -> list[TaskEvent]:
    return [msgspec.structs.replace(e, time=msgspec.structs.replace(e.time, received_ns=0)) for e in hub.events]


@pytest.mark.parametrize("seed", range(6))
def test_replaying_the_inputs_with_the_logged_watermarks_gives_the_same_events(seed: int) -> None:
    run = recorded(seed)
    live = Hub(REPLAYED)
    log: list[tuple[str, Any]] = []
    now = 0
    for arrival, batch in run:
        while now + 50 <= arrival:
            now += 50
            live.look(now)
            log.append(("watermark", live.stage.watermark_ns))
        live.stage.take(batch)
        log.append(("batch", batch))
    live.end()
    log.append(("watermark", live.stage.watermark_ns))
    assert len(live.events) > 30
    assert (live.stage.late > 0) == (seed % 2 == 0)
    again = Hub(REPLAYED)
    for what, item in log:
        if what == "batch":
            again.stage.take(item)
        else:
            again.look(0, item)
    assert told(again) == told(live)
    assert len({event.id for event in live.events}) == len(live.events)


@pytest.mark.parametrize("seed", [1, 3, 5, 7])
def test_every_way_of_arriving_within_the_lateness_gives_the_same_events(seed: int) -> None:
    run = recorded(seed)
    hubs = []
    for shuffle in range(4):
        draw = random.Random(shuffle)
        hub = Hub(REPLAYED)
        arrivals = []
        way = {"plc": 0, "robot": 0}
        for _, batch in run:
            aligned = (int(batch.aligned[0]) - BASE) // MS
            delay = draw.randrange(0, LATENESS_NS // MS - 1) if shuffle else 0
            # A connection keeps the order of what goes over it.
            way[batch.source] = max(way[batch.source], aligned + delay)
            arrivals.append((way[batch.source], batch))
        now = 0
        for arrival, batch in sorted(arrivals, key=lambda pair: pair[0]):
            step = draw.randrange(5, 80)
            while now + step <= arrival:
                now += step
                hub.look(now)
            hub.stage.take(batch)
        hub.look(20_000)
        hub.end()
        hubs.append(hub)
    assert [hub.stage.late for hub in hubs] == [0, 0, 0, 0]
    assert len(hubs[0].events) > 30
    for hub in hubs[1:]:
        assert told(hub) == told(hubs[0])
