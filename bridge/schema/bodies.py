"""The bodies of a task event, one for each kind. Units are SI unless a field says otherwise; times are nanoseconds."""

from __future__ import annotations

import math
import sys
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from bridge.schema.enums import DeciderKind, FailureCode, HealthCode, Result, Severity, State, Strategy, Verb, Word

Nanoseconds = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1, description="nanoseconds")]
Text = Annotated[str, Meta(min_length=1)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
LARGEST = sys.float_info.max
# JSON has neither NaN nor infinity: a number that is none could not be told from null after one pass through a log.
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST, description="a finite number")]
VerbName = Annotated[str, Meta(pattern=r"^(grasp|release|move|place|avoid|verify|wait|[a-z0-9-]+(\.[A-Za-z0-9_-]+)+)$")]


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of every record inside a task event: immutable, unknown fields of a newer version are let pass."""


class Interval(Part, frozen=True, kw_only=True):
    """From `t0` to `t1`, closed. A source fills the `source_` pair on its own clock, the runtime the aligned pair."""

    t0_ns: Nanoseconds | None = None
    t1_ns: Nanoseconds | None = None
    source_t0_ns: Nanoseconds | None = None
    source_t1_ns: Nanoseconds | None = None


class ChannelWindow(Part, frozen=True, kw_only=True):
    """A stretch of one channel of the log; `channel` is the log's topic."""

    channel: Text
    window: Interval
    field: str = ""


class Pose(Part, frozen=True, kw_only=True):
    """Position in metres and unit quaternion (x, y, z, w) in a named frame."""

    frame: Text
    position: tuple[Number, Number, Number]
    orientation: tuple[Number, Number, Number, Number] = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        norm = math.hypot(*self.orientation)
        if not abs(norm - 1.0) < 1e-3:
            raise ValueError(f"orientation is no unit quaternion (x, y, z, w): its length is {norm:.4g}")


class Parameters(Part, frozen=True, kw_only=True):
    """What a task is applied to, and how: force in N, speed in m/s; `free` holds what has no field of its own."""

    object_id: str | None = None
    object_class: str | None = None
    pose: Pose | None = None
    force_n: Number | None = None
    speed_m_s: Number | None = None
    free: dict[str, Any] = {}


class Task(Part, frozen=True, kw_only=True, tag_field="kind", tag="task"):
    """A state of one attempt at a verb. `base_verb` is mandatory where `verb` is not a core verb.

    A whole job (pick and place) is a parent task whose children carry the core verbs; its verb is a reverse-DNS name.
    """

    verb: VerbName
    state: State
    previous: State | None = None
    base_verb: Verb | None = None
    parameters: Parameters = Parameters()
    message: str = ""

    def __post_init__(self) -> None:
        core = {verb.value for verb in Verb}
        if self.verb not in core and self.base_verb is None:
            raise ValueError(f"base_verb is needed beside the verb {self.verb!r}: one of {', '.join(sorted(core))}")


class Option(Part, frozen=True, kw_only=True):
    """One thing that could have been chosen. Higher scores are better; `rejected_because` is empty for the chosen."""

    id: Text
    label: str = ""
    score: Number | None = None
    rejected_because: str = ""
    detail: dict[str, Any] = {}


class Reason(Part, frozen=True, kw_only=True):
    """Why, as a code that one can count and a text that one can read."""

    code: Text
    text: str = ""


class Decider(Part, frozen=True, kw_only=True):
    """Who decided: kind, name, version and the SHA-256 of the model or program where it is known."""

    kind: DeciderKind
    name: Text
    version: str = ""
    sha256: str = ""


class Decision(Part, frozen=True, kw_only=True, tag_field="kind", tag="decision"):
    """A choice and its reasons; `options` is null where the source does not expose them."""

    question: Text
    chosen: str | None
    reason: Reason
    decider: Decider
    options: tuple[Option, ...] | None = None
    inputs: tuple[ChannelWindow, ...] = ()
    confidence: Fraction | None = None
    latency_ns: Count | None = None

    def __post_init__(self) -> None:
        if self.options is not None and self.chosen is not None and self.chosen not in {o.id for o in self.options}:
            raise ValueError(f"chosen {self.chosen!r} is none of the options")


class Evidence(Part, frozen=True, kw_only=True):
    """What in the telemetry shows it: a predicate over a field of a channel in a window, the value, the threshold."""

    channel: Text
    window: Interval
    predicate: Text
    field: str = ""
    value: Number | None = None
    threshold: Number | None = None
    unit: str = ""


class Explanation(Part, frozen=True, kw_only=True):
    """A cause in words, and who says so with what confidence. A twin's injected fault is told here, never in `code`."""

    text: Text
    author: str = ""
    confidence: Fraction | None = None


class Failure(Part, frozen=True, kw_only=True, tag_field="kind", tag="failure"):
    """An attempt that went wrong, as it was observed. Onset and detection are separate.

    Every failure has evidence, or its code is `unknown`. `retriable` is null where the source does not say.
    """

    code: FailureCode
    detected_by: Text
    severity: Severity = Severity.FAULT
    onset: Interval | None = None
    detected_ns: Nanoseconds | None = None
    evidence: tuple[Evidence, ...] = ()
    retriable: bool | None = None
    explanation: Explanation | None = None

    def __post_init__(self) -> None:
        if not self.evidence and self.code is not FailureCode.UNKNOWN:
            raise ValueError(
                f"evidence is needed for the code {self.code.value!r}; without evidence the code is 'unknown'"
            )


class Change(Part, frozen=True, kw_only=True):
    """One value that a correction altered; `path` is dotted, as in `grasp.force_n`."""

    path: Text
    before: Any = None
    after: Any = None


class Correction(Part, frozen=True, kw_only=True, tag_field="kind", tag="correction"):
    """A repair of the failure `corrects` (its event id).

    What came of it is not known when it begins: a second correction event with the first one's id in `completes` brings
    `result` and `verified_by` (the task that verified it).
    """

    corrects: UUID
    actor: Decider
    strategy: Strategy
    changes: tuple[Change, ...] = ()
    window: Interval | None = None
    completes: UUID | None = None
    result: Result | None = None
    verified_by: UUID | None = None

    def __post_init__(self) -> None:
        if self.result is not None and self.completes is None:
            raise ValueError("result is told by a second correction event that names the first in completes")


class Measure(Part, frozen=True, kw_only=True, tag_field="kind", tag="measure"):
    """A number that says how well: an outcome is measured, not just asserted. `unit` is a UCUM code (mm, N, Cel, 1)."""

    name: Text
    value: Number
    unit: Text
    uncertainty: Number | None = None
    target: Number | None = None
    passed: bool | None = None


class Health(Part, frozen=True, kw_only=True, tag_field="kind", tag="health"):
    """What the pipeline says of itself: a gap, a loss, a restart, a refused peer, a violation of the state machine."""

    code: HealthCode
    text: str = ""
    channel: str = ""
    window: Interval | None = None
    count: Count | None = None


class Annotation(Part, frozen=True, kw_only=True, tag_field="kind", tag="annotation"):
    """What a person wrote about an event or a window."""

    author: Text
    text: Text
    about: UUID | None = None
    window: Interval | None = None


class Boundary(Word):
    """Whether a run or an episode begins or ends here."""

    BEGIN = "begin"
    END = "end"


class Run(Part, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """An explicit boundary of a run: one start of the pipeline."""

    boundary: Boundary
    seed: Integer | None = None
    twin_build: str = ""
    software: dict[str, str] = {}
    operator: str = ""
    exit_status: Integer | None = None
    reason: str = ""


class Episode(Part, frozen=True, kw_only=True, tag_field="kind", tag="episode"):
    """An explicit boundary of an episode: one scene, one job, one set of drawn values (`drawn`: units in the keys)."""

    boundary: Boundary
    seed: Integer | None = None
    twin_build: str = ""
    drawn: dict[str, Any] = {}
    exit_status: Integer | None = None
    reason: str = ""


Body = Run | Episode | Task | Decision | Failure | Correction | Measure | Health | Annotation
