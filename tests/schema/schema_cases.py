"""One event of every kind, full and minimal, and signals and clocks: what the golden files hold.

The values of a version are never altered: later versions must read the files of earlier ones into these.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np

from bridge.schema import (
    Annotation,
    Asset,
    Boundary,
    Change,
    ChannelWindow,
    Correction,
    Decider,
    DeciderKind,
    Decision,
    Embodiment,
    Episode,
    Evidence,
    Explanation,
    Failure,
    FailureCode,
    Health,
    HealthCode,
    Interval,
    Link,
    Measure,
    Native,
    Option,
    Origin,
    Parameters,
    Pose,
    Quality,
    Reason,
    Relation,
    Result,
    Run,
    Severity,
    Signal,
    Space,
    Stamp,
    State,
    Strategy,
    Task,
    TaskEvent,
    Verb,
)
from bridge.schema.interfaces import ClockMessage, Header, Time


def _id(number: int) -> UUID:
    return UUID(int=0x018F3F2E000070008000000000000000 + number)


WINDOW = Interval(t0_ns=1_700_000_000_000_000_000, t1_ns=1_700_000_000_250_000_000, source_t0_ns=-5, source_t1_ns=2**62)
PLANNER = Decider(kind=DeciderKind.PLANNER, name="grasp-planner", version="2.1", sha256="ab" * 32)
OPERATOR = Decider(kind=DeciderKind.HUMAN, name="op-3")

FULL: dict[str, Any] = {
    "run": Run(
        boundary=Boundary.BEGIN,
        seed=2**63 - 1,
        twin_build="cell 7",
        software={"dari": "0.1.0", "OS": "리눅스"},
        operator="op-3",
        exit_status=-1,
        reason="시작",
    ),
    "episode": Episode(
        boundary=Boundary.END,
        seed=-1,
        twin_build="cell 7",
        drawn={"friction": 0.25, "mass_kg": [0.1, 2], "name": None, "nested": {"on": True}},
        exit_status=0,
        reason="done",
    ),
    "task": Task(
        verb="com.example.insert",
        state=State.RECOVERING,
        previous=State.RUNNING,
        base_verb=Verb.PLACE,
        parameters=Parameters(
            object_id="part-17",
            object_class="bolt M8",
            pose=Pose(frame="cell", position=(0.1, -2.5e-9, 3.0), orientation=(0.0, 0.0, 0.6, 0.8)),
            force_n=15.5,
            speed_m_s=0.25,
            free={"retries": 3, "grip": "wide", "list": [1, 2.5, "x", None, True]},
        ),
        message="second try",
    ),
    "decision": Decision(
        question="which grasp",
        chosen="g2",
        reason=Reason(code="highest_score", text="clear of the fixture"),
        decider=PLANNER,
        options=(
            Option(id="g1", label="top", score=0.25, rejected_because="collides", detail={"angle_rad": 1.5}),
            Option(id="g2", label="side", score=0.75),
        ),
        inputs=(ChannelWindow(channel="/twin/arm/joint_states", window=WINDOW, field="position[0]"),),
        confidence=0.75,
        latency_ns=1_250_000,
    ),
    "failure": Failure(
        code=FailureCode.GRASP_SLIP,
        detected_by="slip monitor",
        severity=Severity.CRITICAL,
        onset=WINDOW,
        detected_ns=1_700_000_000_300_000_000,
        evidence=(
            Evidence(
                channel="/twin/arm/gripper/state",
                window=WINDOW,
                predicate="effort < threshold",
                field="effort[0]",
                value=1.25,
                threshold=5.0,
                unit="N",
            ),
        ),
        retriable=False,
        explanation=Explanation(text="low friction", author="injector", confidence=1.0),
    ),
    "correction": Correction(
        corrects=_id(40),
        actor=OPERATOR,
        strategy=Strategy.REGRASP,
        changes=(Change(path="grasp.force_n", before=5.0, after=20), Change(path="grasp.mode", after={"wide": True})),
        window=WINDOW,
        completes=_id(41),
        result=Result.PARTIAL,
        verified_by=_id(42),
    ),
    "measure": Measure(name="pose error", value=1.25, unit="mm", uncertainty=0.5, target=2.0, passed=True),
    "health": Health(code=HealthCode.GAP, text="cable out", channel="/field/press/signals", window=WINDOW, count=12),
    "annotation": Annotation(author="op-3", text="glove on the lens", about=_id(43), window=WINDOW),
}
MINIMAL: dict[str, Any] = {
    "run": Run(boundary=Boundary.END),
    "episode": Episode(boundary=Boundary.BEGIN),
    "task": Task(verb="grasp", state=State.PENDING),
    "decision": Decision(
        question="q", chosen=None, reason=Reason(code="r"), decider=Decider(kind=DeciderKind.RULE, name="n")
    ),
    "failure": Failure(code=FailureCode.UNKNOWN, detected_by="status"),
    "correction": Correction(corrects=_id(40), actor=OPERATOR, strategy=Strategy.MANUAL),
    "measure": Measure(name="m", value=0.0, unit="1"),
    "health": Health(code=HealthCode.SILENCE),
    "annotation": Annotation(author="a", text="t"),
}


def cases() -> dict[str, TaskEvent]:
    """Every event by the name of its golden files."""
    made = {}
    for number, (kind, body) in enumerate(FULL.items()):
        made[f"{kind}-full"] = TaskEvent(
            id=_id(number),
            source="cell-plc",
            sequence=2**53 + number,
            space=Space.FIELD,
            time=Stamp(
                source_ns=-1,
                received_ns=1_700_000_000_400_000_000,
                aligned_ns=1_700_000_000_399_000_001,
                uncertainty_ns=1,
                clock_epoch=3,
            ),
            body=body,
            run_id=_id(30),
            episode_id=_id(31),
            task_id=_id(32),
            parent_id=_id(33),
            attempt=2,
            asset=Asset(enterprise="acme", site="울산", area="body", cell="c7", unit="press-1"),
            embodiment=Embodiment(model="panda", effector="hand", dof=7, urdf_sha256="cd" * 32),
            links=tuple(Link(rel=rel, id=_id(50 + i)) for i, rel in enumerate(Relation)),
            origin=Origin.INFERRED,
            native=Native(system="opcua", id="ns=2;s=Job", name="Job", code="0x80310000"),
            flags=("illegal transition: READY -> PAUSED",),
            ext={"shift": "late", "deep": {"list": [1, -2.5, None, False, "é"]}},
        )
        made[f"{kind}-minimal"] = TaskEvent(
            id=_id(number),
            source="s",
            sequence=0,
            space=Space.TWIN,
            time=Stamp(received_ns=0, aligned_ns=0),
            body=MINIMAL[kind],
        )
    return made


def signals() -> list[Signal]:
    """A signal of every kind of value and of every quality."""
    return [
        Signal("DB1.X0.0", True, Quality.GOOD, "", 1_700_000_000_000_000_000, 1_700_000_000_100_000_000),
        Signal("counter", 2**63 + 1, Quality.UNCERTAIN, "0x40000000", -11_644_473_600_000_000_000 + 2**62, None),
        Signal("speed", -2.5, Quality.GOOD, "", 0, 0),
        Signal("온도", "높음", Quality.BAD, "0x80310000", None, 5),
        Signal("missing", None, Quality.BAD, "BadNoData"),
    ]


def clock() -> ClockMessage:
    """A model with two stamps."""
    return ClockMessage(
        header=Header(stamp=Time(sec=1_700_000_000, nanosec=5)),
        source="robot",
        clock="header",
        source_epoch=1,
        clock_epoch=2,
        offset_ns=-7,
        drift=2.5e-5,
        reference_ns=11,
        uncertainty_ns=13,
        delay_ns=17,
        samples=19,
        method="minimum delay",
        monotonic_ns=23,
        realtime_ns=29,
        topics=["/testbed/arm/joint_states", "/testbed/arm/wrench"],
        channel_index=np.array([0, 1], np.uint32),
        sequence=np.array([2**40, 2**40 + 1]),
        stamp=np.array([-(2**63), 37]),
        alt_stamp=np.array([-(2**63), 41]),
        arrival=np.array([43, 47]),
        aligned=np.array([53, 59]),
        uncertainty=np.array([-(2**63), 61]),
        stamp_epoch=np.array([2, 2], np.uint32),
        flags=np.array([0, 5], np.uint32),
    )
