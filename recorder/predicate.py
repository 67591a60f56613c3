"""Reading evidence back: `<agg>(<field>) <op> <number>` evaluated over the telemetry that the log holds.

The aggregates are `min`, `max`, `mean`, `range` (largest less smallest), `last`, `delta` (last less first) and `count`. A
field is a dotted path into the message (`wrench.force.z`); brackets pick from an array by number (`position[3]`) or by
the name beside it (`position[panda_joint1]` in a JointState, `value[TAG]` in a table of signals); `value` is the number
of a signal that has a channel of its own. The operators are `<`, `<=`, `>`, `>=`, `==` and `!=`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bridge.errors import LogError, UsageError
from bridge.names import nearest
from bridge.schema import Evidence, Interval
from recorder.decode import numbers
from recorder.reader import Log, LogMessage

LOOK_BACK_NS: Final = 60_000_000_000
"""How far before a window the value that still held in it is looked for: a source that reports changes is silent between."""

SIGNAL = "dari_msgs/msg/Signal"
SIGNAL_TABLE = "dari_msgs/msg/SignalTable"

_PREDICATE = re.compile(
    r"""\s*(?P<agg>[A-Za-z_]+)\s*\(\s*(?P<field>[^()]*?)\s*\)\s*
        (?P<op><=|>=|==|!=|<|>)\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*""",
    re.VERBOSE,
)
_STEP = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<keys>(?:\[[^\[\]]*\])*)")
_KEY = re.compile(r"\[([^\[\]]*)\]")

AGGREGATES: Final[dict[str, Callable[[list[float]], float]]] = {
    "min": min,
    "max": max,
    "mean": lambda found: math.fsum(found) / len(found),
    "range": lambda found: max(found) - min(found),
    "last": lambda found: found[-1],
    "delta": lambda found: found[-1] - found[0],
    "count": lambda found: float(len(found)),
}
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Predicate:
    """A parsed predicate: `aggregate(field) op number`."""

    aggregate: str
    field: str
    op: str
    number: float

    def holds(self, value: float) -> bool:
        """Whether the predicate is true of the aggregated value."""
        return _OPERATORS[self.op](value, self.number)


@dataclass(frozen=True)
class Reading:
    """What the telemetry says of a predicate.

    `value` is the aggregate in the window, None where the log holds nothing to take it from; `holds` whether the predicate
    is true of it; `samples` how many numbers went in; `held` that it comes from the last sample before the window, since
    the window has none; `widened_ns` by how much the window was widened to both sides; `note` why there is no value.
    """

    predicate: Predicate
    value: float | None
    holds: bool | None
    samples: int
    held: bool = False
    widened_ns: int = 0
    note: str = ""

    def agrees(self, recorded: float | None) -> bool | None:
        """Whether the value read back is the recorded one, up to rounding; None where one of them is missing."""
        if recorded is None or self.value is None:
            return None
        return math.isclose(self.value, recorded, rel_tol=1e-4, abs_tol=1e-6)


def parse_predicate(text: str) -> Predicate:
    """Parse `<agg>(<field>) <op> <number>`. Raises `UsageError` that says what is wrong."""
    match = _PREDICATE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"the predicate {text!r} is not of the form agg(field) op number",
            hint="for example: min(effort[gripper_width]) < 2.5",
        )
    aggregate = match["agg"]
    if aggregate not in AGGREGATES:
        close = nearest(aggregate, tuple(AGGREGATES))
        raise UsageError(
            f"the predicate {text!r} uses the aggregate {aggregate!r}, which there is not",
            hint=f"did you mean {close!r}?" if close else f"there are {', '.join(AGGREGATES)}",
        )
    field = match["field"]
    if field or aggregate != "count":
        _steps(field, text)
    return Predicate(aggregate, field, match["op"], float(match["number"]))


def _steps(field: str, text: str) -> list[tuple[str, list[str]]]:
    steps, at = [], 0
    while True:
        match = _STEP.match(field, at)
        if match is None:
            raise UsageError(
                f"the field {field!r} of {text!r} is no path",
                hint="for example wrench.force.z or position[panda_joint1]",
            )
        steps.append((match["name"], [key.strip().strip("'\"") for key in _KEY.findall(match["keys"])]))
        at = match.end()
        if at == len(field):
            return steps
        if field[at] != ".":
            raise UsageError(f"the field {field!r} of {text!r} is no path", hint="parts of a path are joined by dots")
        at += 1


class FieldReader:
    """Takes one field's number out of decoded messages; None where a message does not have it."""

    def __init__(self, field: str, type_name: str) -> None:
        self._steps = _steps(field, field)
        self._type = type_name

    def number(self, message: Any) -> float | None:
        """The number, or None: no such name, an empty array, no value (bad quality, or text)."""
        value = message
        for name, keys in self._steps:
            parent, value = value, getattr(value, name, None)
            if value is None and keys:
                # `value[TAG]` of a table: its column is the plural.
                value = getattr(parent, f"{name}s", None)
            for key in keys:
                value = _pick(parent, value, key)
            if value is None:
                return None
        return _number(value)


def _pick(parent: Any, value: Any, key: str) -> Any:
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    index: int | None = None
    for labels in ("name", "names", "tag", "tags", "joint_names"):
        beside = getattr(parent, labels, None)
        if isinstance(beside, (list, tuple)) and key in beside:
            index = beside.index(key)
            break
    if index is None and key.lstrip("-").isdigit():
        index = int(key)
    if index is None or not -len(value) <= index < len(value):
        return None
    return value[index]


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, int, float, np.bool_, np.number)):
        number = float(value)
        return None if math.isnan(number) else number
    return None


def series(log: Log, topic: str, field: str, t0: int | None, t1: int | None) -> Iterator[tuple[int, float]]:
    """(log time in ns, number) of a field of a topic within a window, both ends included."""
    readers: dict[int, FieldReader] = {}
    for message in log.messages([topic], t0, t1):
        reader = readers.get(message.channel.id)
        if reader is None:
            reader = readers[message.channel.id] = FieldReader(field, message.channel.type_name)
        number = reader.number(log.decode(message))
        if number is not None:
            yield message.log_time, number


def evaluate(log: Log, topic: str, predicate: Predicate | str, window: Interval, widen_ns: int = 0) -> Reading:
    """Evaluate a predicate over a topic in a window of aligned time, widened to both sides by `widen_ns`.

    Never raises for what the log lacks: the reading's `note` says it. Raises `UsageError` for a predicate that can not
    be parsed.
    """
    if isinstance(predicate, str):
        predicate = parse_predicate(predicate)
    if not log.of_topic(topic):
        close = nearest(topic, [c.topic for c in log.channels.values()])
        return Reading(
            predicate, None, None, 0, note=f"no topic {topic}" + (f"; did it mean {close}?" if close else "")
        )
    if window.t0_ns is None or window.t1_ns is None:
        return Reading(predicate, None, None, 0, note="the window has no aligned times")
    t0, t1 = window.t0_ns - widen_ns, window.t1_ns + widen_ns
    held = False
    try:
        found = _found(log, topic, predicate, t0, t1)
        if not found and predicate.aggregate not in ("count", "delta", "range"):
            found = _found(log, topic, predicate, t0 - LOOK_BACK_NS, t0)[-1:]
            held = bool(found)
    except LogError as error:
        return Reading(predicate, None, None, 0, note=error.what)
    if not found and predicate.aggregate != "count":
        return Reading(predicate, None, None, 0, note=_why_none(log, topic, predicate, t0, t1))
    value = AGGREGATES[predicate.aggregate](found)
    return Reading(predicate, value, predicate.holds(value), len(found), held=held, widened_ns=widen_ns)


def _found(log: Log, topic: str, predicate: Predicate, t0: int, t1: int) -> list[float]:
    if not predicate.field:
        return [1.0 for _ in log.messages([topic], t0, t1)]
    return [number for _, number in series(log, topic, predicate.field, t0, t1)]


def _why_none(log: Log, topic: str, predicate: Predicate, t0: int, t1: int) -> str:
    message: LogMessage | None = next(log.messages([topic], t0, t1), None)
    if message is None:
        message = next(log.messages([topic]), None)
        if message is None or FieldReader(predicate.field, "").number(log.decode(message)) is not None:
            return "no message in the window"
    fields = list(numbers(log.decode(message)))
    return f"{predicate.field!r} has no number there; fields with numbers: {', '.join(fields[:8])}"


def read_evidence(log: Log, evidence: Evidence, uncertainty_ns: int | None = None) -> Reading | None:
    """Read an evidence's value back from the telemetry; None where its predicate is in another language than ours.

    Where the value differs from the recorded one, the window is tried again widened by the event's time uncertainty (at
    most 20 ms): a sample at the window's edge may have been aligned by a slightly different clock model than the window.
    """
    try:
        predicate = parse_predicate(evidence.predicate)
    except UsageError:
        return None
    reading = evaluate(log, evidence.channel, predicate, evidence.window)
    if reading.agrees(evidence.value) is False or (reading.value is None and not reading.note.startswith("no topic")):
        widen = min(max(uncertainty_ns or 0, 1_000_000), 20_000_000)
        for step in (widen // 10, widen):
            wider = evaluate(log, evidence.channel, predicate, evidence.window, step)
            if wider.agrees(evidence.value):
                return wider
    return reading
