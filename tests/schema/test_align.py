"""Every interval in a body is aligned, wherever it lies."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from schema_strategies import bodies

from bridge.schema import (
    Annotation,
    ChannelWindow,
    Correction,
    Decider,
    DeciderKind,
    Decision,
    Evidence,
    Failure,
    FailureCode,
    Interval,
    Measure,
    Reason,
    Strategy,
    align_body,
    uuid7,
)
from bridge.schema.bodies import Part

WHO = Decider(kind=DeciderKind.RULE, name="r")


def _later(ns: int) -> int:
    return ns + 1000


def test_intervals_in_tuples_of_structs_are_filled_and_the_source_pair_is_kept() -> None:
    body = Failure(
        code=FailureCode.GRASP_SLIP,
        detected_by="r",
        onset=Interval(source_t0_ns=1, source_t1_ns=2),
        evidence=(
            Evidence(channel="/a", predicate="p", window=Interval(source_t0_ns=3, source_t1_ns=4)),
            Evidence(channel="/b", predicate="p", window=Interval(t0_ns=7, source_t0_ns=5, source_t1_ns=6)),
        ),
    )
    aligned = align_body(body, _later, detected_ns=99)
    assert aligned.onset == Interval(t0_ns=1001, t1_ns=1002, source_t0_ns=1, source_t1_ns=2)
    assert aligned.evidence[0].window == Interval(t0_ns=1003, t1_ns=1004, source_t0_ns=3, source_t1_ns=4)
    # an end that was aligned already is kept
    assert aligned.evidence[1].window == Interval(t0_ns=7, t1_ns=1006, source_t0_ns=5, source_t1_ns=6)
    assert aligned.detected_ns == 99
    assert body.onset == Interval(source_t0_ns=1, source_t1_ns=2)


def test_other_bodies() -> None:
    window = Interval(source_t0_ns=0, source_t1_ns=10)
    full = Interval(t0_ns=1000, t1_ns=1010, source_t0_ns=0, source_t1_ns=10)
    decision = Decision(
        question="q",
        chosen="a",
        reason=Reason(code="c"),
        decider=WHO,
        inputs=(ChannelWindow(channel="/a", window=window),),
    )
    assert align_body(decision, _later).inputs[0].window == full
    correction = Correction(corrects=uuid7(), actor=WHO, strategy=Strategy.RETRY, window=window)
    assert align_body(correction, _later).window == full
    assert align_body(Annotation(author="a", text="t", window=window), _later).window == full


def test_what_is_not_known_stays_null_and_an_own_detection_time_is_kept() -> None:
    open_end = Failure(code=FailureCode.UNKNOWN, detected_by="r", onset=Interval(source_t0_ns=5), detected_ns=3)
    aligned = align_body(open_end, _later, detected_ns=99)
    assert aligned.onset == Interval(t0_ns=1005, source_t0_ns=5)
    assert aligned.detected_ns == 3
    assert align_body(open_end, _later).detected_ns == 3
    plain = Measure(name="m", value=1.0, unit="mm")
    assert align_body(plain, _later) is plain


class Inner(Part, frozen=True, kw_only=True):
    """Stands for a part that a later version adds."""

    windows: dict[str, tuple[Interval, ...]]
    self_: Inner | None = None


class Newer(Part, frozen=True, kw_only=True, tag_field="kind", tag="newer"):
    """Stands for a body that a later version adds."""

    nested: tuple[tuple[Inner, ...], ...]
    name: str = ""


def test_a_new_body_needs_no_change_here() -> None:
    window = Interval(source_t0_ns=1, source_t1_ns=2)
    full = Interval(t0_ns=1001, t1_ns=1002, source_t0_ns=1, source_t1_ns=2)
    inner = Inner(windows={"a": (window, Interval())}, self_=Inner(windows={"b": (window,)}))
    body: Any = Newer(nested=((), (inner,)))
    aligned = align_body(body, _later)
    assert aligned.nested[1][0].windows == {"a": (full, Interval())}
    assert aligned.nested[1][0].self_.windows == {"b": (full,)}


def _intervals(value: Any) -> list[dict[str, Any]]:
    """Found in plain data, without a look at the types: every map that can only be an interval."""
    if isinstance(value, dict):
        here = [value] if "source_t0_ns" in value or "source_t1_ns" in value else []
        return here + [found for item in value.values() for found in _intervals(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in _intervals(item)]
    return []


@settings(deadline=None, max_examples=150)
@given(bodies())
def test_no_interval_is_left_out_and_nothing_else_changes(body: Any) -> None:
    aligned = align_body(body, lambda ns: ns // 2)
    found = _intervals(msgspec.to_builtins(aligned))
    for interval in found:
        for end in ("t0_ns", "t1_ns"):
            if interval.get(f"source_{end}") is not None:
                assert interval.get(end) is not None
    assert align_body(aligned, lambda ns: 0) == aligned
    before, after = msgspec.to_builtins(body), msgspec.to_builtins(aligned)
    for interval in (*_intervals(before), *_intervals(after)):
        interval.clear()
    assert before == after
