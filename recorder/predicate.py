"""Reading evidence back: `<agg>(<field>) <op> <number>` evaluated over the telemetry that the log holds.

The aggregates are `min`, `max`, `mean`, `range` (largest less smallest), `last`, `delta` (last less first) and `count`. A
field is a dotted path into the message (`wrench.force.z`); brackets pick from an array by number (`position[3]`) or by
the name beside it (`position[panda_joint1]` in a JointState, `value[TAG]` in a table of signals), and from a list of
messages by an item's name, id or UUID (`status_list[<goal id in hex>].status`); `value` is the number of a signal that has
a channel of its own. The operators are `<`, `<=`, `>`, `>=`, `==` and `!=`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bridge.errors import LogError, UsageError
from bridge.names import nearest
from bridge.schema import Evidence, Interval
from recorder.decode import numbers
from recorder.fields import FieldReader, parse_path
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
        parse_path(field, text)
    return Predicate(aggregate, field, match["op"], float(match["number"]))


def series(log: Log, topic: str, field: str, t0: int | None, t1: int | None) -> Iterator[tuple[int, float]]:
    """(log time in ns, number) of a field of a topic within a window, both ends included."""
    reader = FieldReader(field)
    for message in log.messages([topic], t0, t1):
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
        if message is None or FieldReader(predicate.field).number(log.decode(message)) is not None:
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
