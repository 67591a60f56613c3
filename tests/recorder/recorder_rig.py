"""Writes real logs for the tests: the port's own stamping code makes the records, batches of them go through `McapSink`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np

from bridge import messages
from bridge.adapter import NO_STAMP, Channel, SignalConfig, Source
from bridge.messages import JointStateEncoder
from bridge.port import Record, StampingPort
from bridge.schema import (
    Asset,
    Change,
    Correction,
    Decider,
    DeciderKind,
    Decision,
    Embodiment,
    Evidence,
    Explanation,
    Failure,
    FailureCode,
    Health,
    HealthCode,
    Interval,
    Link,
    Measure,
    Option,
    Parameters,
    Quality,
    Reason,
    Relation,
    Result,
    Signal,
    Space,
    State,
    Strategy,
    Task,
)
from bridge.sink import Batch, RunInfo
from recorder.options import McapOptions
from recorder.sink import McapSink

RUN_ID = UUID("0198a000-0000-7000-8000-00000000c0de")
REALTIME = 1_760_000_000_000_000_000
MONOTONIC = 1_000_000_000_000
BASE = REALTIME - MONOTONIC
MS = 1_000_000
SECOND = 1_000_000_000
JOINTS = [f"panda_joint{i}" for i in range(1, 8)] + ["panda_finger_joint1", "panda_finger_joint2"]
SITE_TEXT = "dari: 1\n# the site file of the recorder's tests\n"


class BatchPort(StampingPort):
    """A port whose records become batches for a sink."""

    def __init__(self, source: Source, signals: dict[str, SignalConfig] | None = None) -> None:
        super().__init__(source, signals or {}, prior_delay_ns=MS, base_ns=BASE)
        self.records: list[Record] = []
        self.fresh: list[Channel] = []
        self.first = 0

    def _put(self, record: Record) -> None:
        self.records.append(record)

    def _declared(self, channel: Channel) -> None:
        self.fresh.append(channel)

    def take(self) -> Batch:
        """The records since the last call, as one batch."""
        records, self.records = self.records, []
        lengths = np.array([len(r.payload) for r in records], np.int64)

        def column(name: str) -> np.ndarray:
            return np.array([getattr(r, name) for r in records], np.int64)

        batch = Batch(
            source=self.source.name,
            epoch=self.source.epoch,
            channel=column("channel"),
            sequence=np.arange(self.first, self.first + len(records), dtype=np.int64),
            stamp=column("stamp"),
            alt_stamp=column("alt_stamp"),
            arrival=column("arrival"),
            aligned=column("aligned"),
            uncertainty=column("uncertainty"),
            clock_epoch=column("clock_epoch"),
            flags=column("flags"),
            start=np.cumsum(lengths) - lengths,
            length=lengths,
            payload=b"".join(r.payload for r in records),
        )
        self.first += len(records)
        return batch


@dataclass
class Rig:
    """A sink in `directory`, and ports whose records go into it when `send` is called."""

    directory: Path
    options: McapOptions = field(default_factory=lambda: McapOptions(sync=False))
    sink: McapSink = field(init=False)
    ports: list[BatchPort] = field(default_factory=list)
    live: bool = True

    def __post_init__(self) -> None:
        self.sink = McapSink(self.options)
        self.sink.open(
            RunInfo(
                run_id=RUN_ID,
                site_name="testcell",
                site_text=SITE_TEXT,
                site_path="/somewhere/testcell.yaml",
                realtime_ns=REALTIME,
                monotonic_ns=MONOTONIC,
                software={"dari": "0.1.0"},
                directory=str(self.directory),
                live=self.live,
            )
        )

    def port(
        self,
        name: str,
        space: Space = Space.TWIN,
        asset: str = "arm",
        signals: dict[str, SignalConfig] | None = None,
        epoch: int = 0,
    ) -> BatchPort:
        """A source."""
        source = Source(
            name=name,
            space=space,
            asset_name=asset,
            asset=Asset(enterprise="acme", cell="c1", unit=asset),
            run_id=RUN_ID,
            embodiment=Embodiment(model="panda", effector="hand", dof=7) if asset == "arm" else None,
            epoch=epoch,
        )
        port = BatchPort(source, signals)
        self.ports.append(port)
        return port

    def send(self) -> None:
        """Put what the ports have into the sink, as the hub would."""
        for port in self.ports:
            if port.fresh:
                self.sink.declare(port.source, port.fresh)
                port.fresh = []
            if port.records:
                self.sink.write(port.take())

    def close(self) -> Path:
        """Send, close, and say where the log is."""
        self.send()
        return Path(self.sink.close("done"))


def joint_states(port: BatchPort, begin_ns: int, count: int, rate_hz: float = 100.0, skew_ns: int = 0) -> Channel:
    """JointState messages; joint i is at i + 0.01 n in the n-th message. Stamped by a clock that is `skew_ns` ahead."""
    encoder = JointStateEncoder(JOINTS)
    channel = port.channel("joint_states", "sensor_msgs/msg/JointState", clock="header")
    for n in range(count):
        at = begin_ns + round(n * SECOND / rate_hz)
        stamp = at + BASE + skew_ns
        payload = encoder.encode(stamp, [i + 0.01 * n for i in range(9)], [0.0] * 9, [0.5] * 9)
        port.emit(channel, payload, stamp=stamp, arrival=at + MS)
    return channel


def grip(port: BatchPort, at_ns: int, force: float) -> Channel:
    """One message of the gripper's state, with a grip force in N."""
    channel = port.channel("gripper/state", "sensor_msgs/msg/JointState", clock="header")
    stamp = at_ns + BASE
    payload = JointStateEncoder(["gripper_width"]).encode(stamp, [0.04], [0.0], [force])
    port.emit(channel, payload, stamp=stamp, arrival=at_ns + MS)
    return channel


def wrench(port: BatchPort, at_ns: int, fz: float) -> Channel:
    """One wrench with a force along z in N."""
    channel = port.channel("wrench", "geometry_msgs/msg/WrenchStamped", clock="header")
    stamp = at_ns + BASE
    sec, nanosec = divmod(stamp, SECOND)
    force = {"x": 0.0, "y": 0.0, "z": fz}
    header = {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": "panda_hand"}
    data = messages.message("geometry_msgs/msg/WrenchStamped", header=header, wrench={"force": force})
    payload = messages.serialize("geometry_msgs/msg/WrenchStamped", data)
    port.emit(channel, payload, stamp=stamp, arrival=at_ns + MS)
    return channel


PLANNER = Decider(kind=DeciderKind.PLANNER, name="grasp_planner", version="1")


@dataclass(frozen=True)
class Told:
    """The ids of one failed and repaired grasp."""

    job: UUID
    task: UUID
    decision: UUID
    failure: UUID
    correction: UUID


def failed_grasp(port: BatchPort, begin_ns: int, key: object = 1) -> Told:
    """A grasp that slips because the grip was too weak, is corrected by more force, and succeeds: with its telemetry."""
    job, task = port.task_key("job", key), port.task_key("grasp", key)

    def at(ms: int) -> dict[str, int]:
        return {"source_ns": begin_ns + ms * MS + BASE, "arrival": begin_ns + ms * MS + MS}

    parameters = Parameters(object_id=f"part{key}", object_class="box", force_n=5.0)
    common = {"task_id": task, "parent_id": job}
    port.event(Task(verb="acme.pick_place", base_verb="move", state=State.RUNNING), task_id=job, **at(0))
    options = (
        Option(id="top", score=0.9),
        Option(id="side", score=0.4, rejected_because="nearer to the wall"),
    )
    decision = port.event(
        Decision(
            question="which grasp",
            chosen="top",
            reason=Reason(code="best_score", text="the highest score"),
            decider=PLANNER,
            options=options,
            confidence=0.9,
        ),
        **common,
        **at(5),
    )
    port.event(Task(verb="grasp", state=State.READY, parameters=parameters), **common, **at(8))
    port.event(Task(verb="grasp", state=State.RUNNING, previous=State.READY, parameters=parameters), **common, **at(10))
    for n in range(30):
        grip(port, begin_ns + (20 + 10 * n) * MS, 5.0 if n < 12 else 0.25)
    t0, t1 = begin_ns + 140 * MS + BASE, begin_ns + 260 * MS + BASE
    evidence = Evidence(
        channel=port.topic("gripper/state"),
        window=Interval(source_t0_ns=t0, source_t1_ns=t1),
        predicate="min(effort[gripper_width]) < 1.0",
        field="effort[gripper_width]",
        value=0.25,
        threshold=1.0,
        unit="N",
    )
    failure = port.event(
        Failure(
            code=FailureCode.GRASP_SLIP,
            detected_by="force_monitor",
            onset=Interval(source_t0_ns=t0, source_t1_ns=t0),
            evidence=(evidence,),
            retriable=True,
            explanation=Explanation(text="low friction was injected", author="twin", confidence=1.0),
        ),
        **common,
        **at(270),
    )
    port.event(
        Task(verb="grasp", state=State.FAILED, previous=State.RUNNING, parameters=parameters, message="slipped"),
        **common,
        **at(272),
    )
    correction = port.event(
        Correction(
            corrects=failure,
            actor=PLANNER,
            strategy=Strategy.REPARAMETERISE,
            changes=(Change(path="grasp.force_n", before=5.0, after=20.0),),
        ),
        **common,
        **at(280),
    )
    retry = {**common, "attempt": 2, "links": (Link(rel=Relation.RETRIES, id=task),)}
    port.event(Task(verb="grasp", state=State.RUNNING, parameters=parameters), **retry, **at(290))
    port.event(Task(verb="grasp", state=State.SUCCEEDED, previous=State.RUNNING), **retry, **at(400))
    port.event(
        Correction(
            corrects=failure,
            actor=PLANNER,
            strategy=Strategy.REPARAMETERISE,
            completes=correction,
            result=Result.REPAIRED,
            verified_by=task,
        ),
        **common,
        **at(405),
    )
    port.event(Measure(name="lift", value=0.12, unit="m", passed=True), **common, **at(410))
    port.event(Task(verb="acme.pick_place", base_verb="move", state=State.SUCCEEDED), task_id=job, **at(420))
    return Told(job, task, decision, failure, correction)


def press_signals() -> dict[str, SignalConfig]:
    """The tags of a press: one with a channel of its own."""
    return {
        "temperature": SignalConfig(unit="Cel", own=True, description="of the tool"),
        "pressure": SignalConfig(unit="bar"),
        "running": SignalConfig(),
        "program": SignalConfig(),
    }


def poll(port: BatchPort, at_ns: int, n: int, skew_ns: int = -3 * SECOND) -> None:
    """One poll of the press, by a clock that is behind."""
    stamp = at_ns + BASE + skew_ns
    port.signals(
        [
            Signal("temperature", 180.0 + n, source_ns=stamp),
            Signal("pressure", 6.0 + 0.1 * n, source_ns=stamp),
            Signal("running", n % 2 == 0, source_ns=stamp),
            Signal("program", None if n == 3 else "온도 A", Quality.BAD if n == 3 else Quality.GOOD, source_ns=stamp),
        ],
        arrival=at_ns + MS,
    )


def whole_log(directory: Path, options: McapOptions | None = None) -> tuple[Path, Told]:
    """A log of three spaces with everything in it: telemetry, signals, events, losses, log lines."""
    rig = Rig(directory, options or McapOptions(sync=False))
    twin = rig.port("twin", Space.TWIN)
    robot = rig.port("robot", Space.TESTBED)
    press = rig.port("press", Space.FIELD, asset="press-1", signals=press_signals())
    joint_states(twin, MONOTONIC, 200)
    joint_states(robot, MONOTONIC, 200, skew_ns=250 * MS)
    told = failed_grasp(twin, MONOTONIC + 100 * MS)
    rig.send()
    for n in range(10):
        wrench(twin, MONOTONIC + n * 100 * MS, -float(n))
        wrench(robot, MONOTONIC + n * 100 * MS, -float(n))
        poll(press, MONOTONIC + n * 200 * MS, n)
        rig.send()
        rig.sink.flush()
    window = Interval(t0_ns=REALTIME, t1_ns=REALTIME + SECOND)
    topic = robot.topic("joint_states")
    robot.event(
        Health(code=HealthCode.LOSS, channel=topic, count=4, window=window, text="publisher's numbers have a hole"),
        arrival=MONOTONIC + 1500 * MS,
    )
    press.log("warning", "the press answers slowly")
    return rig.close(), told


def flood(port: BatchPort, begin_ns: int, count: int) -> None:
    """Many joint states without stamps, for tests that fill chunks."""
    payload = JointStateEncoder(JOINTS).encode(REALTIME, *([np.random.default_rng(1).random(9).tolist()] * 3))
    channel = port.channel("joint_states", "sensor_msgs/msg/JointState", clock="header")
    for n in range(count):
        port.records.append(
            Record(
                channel.index,
                NO_STAMP,
                NO_STAMP,
                begin_ns + BASE + n * MS,
                begin_ns + BASE + n * MS,
                NO_STAMP,
                0,
                0,
                payload,
            )
        )
