"""The messages of the package `dari_msgs`, defined once: the `.msg` text and its type hash come from these classes.

Columns of version 1 are frozen, since any change alters the type's hash; what grows is `body_json`. Null is the largest
number of an unsigned column, the smallest of an int64 column, NaN in a float64 column and an empty text.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from bridge.schema.enums import State

NULL_U8: Final = 2**8 - 1
NULL_U64: Final = 2**64 - 1
NULL_I64: Final = -(2**63)
NAN: Final = float("nan")

# The numbers that are written; frozen, as the columns are.
STATE_NUMBER: Final[dict[State, int]] = {
    State.PENDING: 0,
    State.READY: 1,
    State.RUNNING: 2,
    State.PAUSED: 3,
    State.RECOVERING: 4,
    State.CANCELING: 5,
    State.SUCCEEDED: 6,
    State.CANCELED: 7,
    State.FAILED: 8,
    State.SKIPPED: 9,
    State.UNKNOWN: 10,
}
# What kind of value a signal has.
KIND_NULL, KIND_BOOL, KIND_INT, KIND_FLOAT, KIND_TEXT = range(5)

U8s = NDArray[np.uint8]
U32s = NDArray[np.uint32]
I64s = NDArray[np.int64]
F64s = NDArray[np.float64]


def column(ros: str, comment: str = "") -> Meta:
    """The ROS 2 type of a column, and the comment that the `.msg` text gives it."""
    return Meta(extra={"ros": ros}, description=comment)


def _none(dtype: Any) -> Any:
    return msgspec.field(default_factory=lambda: np.zeros(0, dtype))


def _texts() -> Any:
    return msgspec.field(default_factory=list)


class Message(msgspec.Struct, kw_only=True):
    """Base of the messages. `constants` stand above the column that they belong to, as (type, name, number)."""

    type_name: ClassVar[str] = ""
    constants: ClassVar[dict[str, tuple[tuple[str, str, int], ...]]] = {}


class Time(Message, kw_only=True):
    """A point in time, as ROS 2 writes it: seconds and nanoseconds since the UNIX epoch."""

    type_name: ClassVar[str] = "builtin_interfaces/msg/Time"
    sec: Annotated[int, column("int32")] = 0
    nanosec: Annotated[int, column("uint32")] = 0

    @classmethod
    def of(cls, ns: int) -> Time:
        """From nanoseconds; a time that ROS 2 can not write (before 1902, after 2038) becomes the nearest that it can."""
        sec, nanosec = divmod(ns, 1_000_000_000)
        return cls(sec=min(max(sec, -(2**31)), 2**31 - 1), nanosec=nanosec)

    def ns(self) -> int:
        """In nanoseconds."""
        return self.sec * 1_000_000_000 + self.nanosec


class Header(Message, kw_only=True):
    """The header that viewers look for; `stamp` is the aligned time."""

    type_name: ClassVar[str] = "std_msgs/msg/Header"
    stamp: Annotated[Time, column("builtin_interfaces/Time")] = msgspec.field(default_factory=Time)
    frame_id: Annotated[str, column("string")] = ""


class TaskEventMessage(Message, kw_only=True):
    """One event in the life of a task: columns that one can plot and query, and the whole event in `body_json`.

    Null is an empty string, NaN, the largest number of an unsigned column, and the smallest of an int64 column.
    Identifiers are UUIDs in the canonical form. Times are nanoseconds; aligned and received ones since the UNIX epoch,
    on the recorder's timeline.
    """

    type_name: ClassVar[str] = "dari_msgs/msg/TaskEvent"
    constants: ClassVar[dict[str, tuple[tuple[str, str, int], ...]]] = {
        "state": (
            *(("uint8", f"STATE_{state.value}", number) for state, number in STATE_NUMBER.items()),
            ("uint8", "STATE_NONE", NULL_U8),
        )
    }

    header: Annotated[Header, column("std_msgs/Header", "stamp is aligned_ns; frame_id is empty.")]
    schema: Annotated[str, column("string", "Version of body_json.")]
    id: Annotated[str, column("string")]
    kind: Annotated[
        str, column("string", "run, episode, task, decision, failure, correction, measure, health or annotation.")
    ]
    run_id: Annotated[str, column("string")] = ""
    episode_id: Annotated[str, column("string")] = ""
    task_id: Annotated[str, column("string")] = ""
    parent_id: Annotated[str, column("string")] = ""
    attempt: Annotated[int, column("uint32", "From 1; a retry is a new attempt of the same task.")] = 1
    source: Annotated[str, column("string", "Who said it, and the number that it gave; gaps are detectable.")] = ""
    sequence: Annotated[int, column("uint64")] = 0
    space: Annotated[str, column("string", "twin, testbed or field.")] = ""
    asset: Annotated[
        str, column("string", "ISA-95 path: enterprise/site/area/cell/unit, levels without a name left out.")
    ]
    embodiment: Annotated[str, column("string", "Model of the robot.")] = ""
    origin: Annotated[str, column("string", "observed, inferred or annotated.")] = ""
    source_ns: Annotated[int, column("int64", "On the source's own clock, untouched.")] = NULL_I64
    received_ns: Annotated[int, column("int64")] = 0
    aligned_ns: Annotated[int, column("int64")] = 0
    uncertainty_ns: Annotated[int, column("uint64", "Half-width of a 99% interval around aligned_ns.")] = NULL_U64
    clock_epoch: Annotated[int, column("uint32", "Counts the steps of the source's clock.")] = 0
    verb: Annotated[str, column("string", "Of a task.")] = ""
    base_verb: Annotated[str, column("string", "The core verb: verb itself where that is one.")] = ""
    state: Annotated[int, column("uint8", "Of a task.")] = NULL_U8
    state_name: Annotated[str, column("string", "The same in words, and the state before it.")] = ""
    previous_name: Annotated[str, column("string")] = ""
    object_id: Annotated[str, column("string", "What the task is applied to.")] = ""
    object_class: Annotated[str, column("string")] = ""
    code: Annotated[str, column("string", "Of a failure, of a decision's reason, or of a health event.")] = ""
    severity: Annotated[str, column("string", "Of a failure: warning, fault or critical.")] = ""
    detected_by: Annotated[str, column("string")] = ""
    onset_t0_ns: Annotated[int, column("int64", "When a failure began, aligned, and when it was detected.")] = NULL_I64
    onset_t1_ns: Annotated[int, column("int64")] = NULL_I64
    detected_ns: Annotated[int, column("int64")] = NULL_I64
    evidence_channels: Annotated[list[str], column("string[]", "Topics of a failure's evidence.")] = _texts()
    question: Annotated[str, column("string", "Of a decision.")] = ""
    chosen: Annotated[str, column("string")] = ""
    confidence: Annotated[float, column("float64", "0 to 1, of a decision.")] = NAN
    decider: Annotated[str, column("string", "Who decided, or who corrected, and of which kind.")] = ""
    decider_kind: Annotated[str, column("string")] = ""
    corrects: Annotated[str, column("string", "Of a correction: the failure's id.")] = ""
    strategy: Annotated[str, column("string")] = ""
    completes: Annotated[str, column("string", "The correction that this one brings the result of.")] = ""
    result: Annotated[str, column("string", "repaired, partial or none.")] = ""
    verified_by: Annotated[str, column("string", "The task that verified it.")] = ""
    measure: Annotated[str, column("string", "Name of what was measured.")] = ""
    value: Annotated[float, column("float64")] = NAN
    unit: Annotated[str, column("string", "UCUM code.")] = ""
    value_uncertainty: Annotated[float, column("float64")] = NAN
    target: Annotated[float, column("float64")] = NAN
    passed: Annotated[int, column("uint8", "0 no, 1 yes, 255 not judged.")] = NULL_U8
    channel: Annotated[str, column("string", "Of a health event: what it is about, and how many.")] = ""
    count: Annotated[int, column("uint64")] = NULL_U64
    boundary: Annotated[str, column("string", "Of a run or an episode: begin or end.")] = ""
    seed: Annotated[int, column("int64")] = NULL_I64
    text: Annotated[str, column("string", "What a person reads first, of any kind.")] = ""
    retries: Annotated[str, column("string", "The event that this retries; all links follow, in columns.")] = ""
    link_rels: Annotated[list[str], column("string[]")] = _texts()
    link_ids: Annotated[list[str], column("string[]")] = _texts()
    native_system: Annotated[str, column("string", "The source's own words.")] = ""
    native_id: Annotated[str, column("string")] = ""
    native_name: Annotated[str, column("string")] = ""
    native_code: Annotated[str, column("string")] = ""
    flags: Annotated[list[str], column("string[]", "What the pipeline found wrong with the event; it is kept.")] = (
        _texts()
    )
    body_json: Annotated[str, column("string", "The WHOLE event as JSON, lossless; docs/reference/task-event.md.")]


_KINDS = tuple(
    ("uint8", f"KIND_{name}", number) for number, name in enumerate(("NULL", "BOOL", "INT", "FLOAT", "TEXT"))
)
_QUALITIES = tuple(("uint8", f"QUALITY_{name}", number) for number, name in enumerate(("GOOD", "UNCERTAIN", "BAD")))


class SignalMessage(Message, kw_only=True):
    """One value of one tag, with its quality and its times.

    Null is an empty string, NaN in value, and the smallest int64 in a time.
    """

    type_name: ClassVar[str] = "dari_msgs/msg/Signal"
    constants: ClassVar[dict[str, tuple[tuple[str, str, int], ...]]] = {"kind": _KINDS, "quality": _QUALITIES}

    header: Annotated[Header, column("std_msgs/Header", "stamp is the aligned time; frame_id is empty.")]
    tag: Annotated[str, column("string", "The signal's name in the site file.")]
    kind: Annotated[int, column("uint8", "What the source gave.")]
    value: Annotated[float, column("float64", "As a number; NaN where it is text or null.")] = NAN
    text: Annotated[
        str, column("string", "As text, where it is text, or a whole number that float64 can not hold exactly.")
    ] = ""
    quality: Annotated[int, column("uint8")] = 0
    status: Annotated[str, column("string", "The source's own status code, in its own words.")] = ""
    unit: Annotated[str, column("string", "UCUM code.")] = ""
    source_ns: Annotated[
        int, column("int64", "ns since the UNIX epoch on the device's clock, and on the server's.")
    ] = NULL_I64
    server_ns: Annotated[int, column("int64")] = NULL_I64


class SignalTableMessage(Message, kw_only=True):
    """The values of one poll or notification in columns: row i is tags[i], values[i] and so on.

    Kinds and qualities are those of dari_msgs/Signal. Null is an empty string, NaN in values, and the smallest int64 in a
    time. texts, statuses and units are empty arrays where every row of them would be empty.
    """

    type_name: ClassVar[str] = "dari_msgs/msg/SignalTable"

    header: Annotated[Header, column("std_msgs/Header", "stamp is the aligned time; frame_id is empty.")]
    tags: Annotated[list[str], column("string[]")] = _texts()
    kinds: Annotated[U8s, column("uint8[]", "0 null, 1 bool, 2 whole number, 3 number, 4 text.")] = _none(np.uint8)
    values: Annotated[F64s, column("float64[]")] = _none(np.float64)
    texts: Annotated[list[str], column("string[]")] = _texts()
    qualities: Annotated[U8s, column("uint8[]", "0 good, 1 uncertain, 2 bad.")] = _none(np.uint8)
    statuses: Annotated[list[str], column("string[]")] = _texts()
    units: Annotated[list[str], column("string[]")] = _texts()
    source_ns: Annotated[I64s, column("int64[]")] = _none(np.int64)
    server_ns: Annotated[I64s, column("int64[]")] = _none(np.int64)


class ClockMessage(Message, kw_only=True):
    """All that is needed to align a source again: the model in force, and the raw stamps of the messages since the last.

    One type, because a channel has one: a message may carry a model, stamps, a pair of the recorder's own clocks, or all.
    The model: aligned = stamp + offset_ns + drift * (stamp - reference_ns), never later than arrival.
    Null is the smallest int64 and NaN.
    """

    type_name: ClassVar[str] = "dari_msgs/msg/ClockModel"

    header: Annotated[Header, column("std_msgs/Header", "stamp is when this was written; frame_id is empty.")]
    source: Annotated[str, column("string")]
    clock: Annotated[str, column("string", "Which of the source's clocks: device, header, transport...")] = ""
    source_epoch: Annotated[int, column("uint32", "Counts the starts of the source's adapter.")] = 0
    clock_epoch: Annotated[int, column("uint32", "Counts the steps of the clock.")] = 0
    offset_ns: Annotated[int, column("int64", "Null: no model here, the stamps only.")] = NULL_I64
    drift: Annotated[float, column("float64", "Of the timeline against the clock, 1e-6 is one ppm.")] = NAN
    reference_ns: Annotated[int, column("int64", "The stamp at which offset_ns holds.")] = NULL_I64
    uncertainty_ns: Annotated[int, column("int64", "Half-width of a 99% interval.")] = NULL_I64
    delay_ns: Annotated[int, column("int64", "The prior of the smallest transport delay that the model contains.")] = (
        NULL_I64
    )
    samples: Annotated[int, column("uint64", "How many stamps the model has seen.")] = 0
    method: Annotated[str, column("string", "Which estimator.")] = ""
    monotonic_ns: Annotated[int, column("int64", "The recorder's clocks, read together.")] = NULL_I64
    realtime_ns: Annotated[int, column("int64")] = NULL_I64
    topics: Annotated[list[str], column("string[]", "Of the stamps: channel_index counts into these.")] = _texts()
    channel_index: Annotated[U32s, column("uint32[]")] = _none(np.uint32)
    sequence: Annotated[I64s, column("int64[]", "Joins to the message: its lowest 32 bits are the log's sequence.")] = (
        _none(np.int64)
    )
    stamp: Annotated[I64s, column("int64[]", "Raw, on the device's clock.")] = _none(np.int64)
    alt_stamp: Annotated[I64s, column("int64[]", "A second stamp of the same message, not used.")] = _none(np.int64)
    arrival: Annotated[I64s, column("int64[]", "On the recorder's timeline, as aligned is.")] = _none(np.int64)
    aligned: Annotated[I64s, column("int64[]")] = _none(np.int64)
    uncertainty: Annotated[I64s, column("int64[]")] = _none(np.int64)
    stamp_epoch: Annotated[U32s, column("uint32[]", "clock_epoch of each stamp.")] = _none(np.uint32)
    flags: Annotated[U32s, column("uint32[]", "1 duplicate, 2 possible duplicate, 4 late.")] = _none(np.uint32)


MESSAGES: Final[tuple[type[Message], ...]] = (TaskEventMessage, SignalMessage, SignalTableMessage, ClockMessage)
