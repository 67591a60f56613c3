"""The order behind the watermark: whatever way inputs take to the hub, the rules see them in the order in which they were."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rules_bench import BASE, MS, Bench, rule_set

from bridge.rules.order import LATENESS_NS, Place, Reorder

NOW = BASE


def place(t_ms: float, source: str = "a", sequence: int = 0, number: int = 0, epoch: int = 0) -> Place:
    return Place(BASE + round(t_ms * MS), source, epoch, sequence, number)


def items(released: list[Any]) -> list[Any]:
    return [one.item for one in released]


def test_it_waits_for_the_slowest_source() -> None:
    order: Reorder[str] = Reorder(["a", "b"])
    order.push(place(10, "a"), "a10")
    order.said("a", BASE + 10 * MS)
    assert order.release(BASE + 20 * MS) == []
    order.push(place(5, "b"), "b5")
    order.said("b", BASE + 5 * MS)
    assert order.release(BASE + 21 * MS) == []  # another record of b may come for the same time
    order.push(place(12, "b", 1), "b12")
    order.said("b", BASE + 12 * MS)
    assert items(order.release(BASE + 22 * MS)) == ["b5"]
    order.said("a", BASE + 30 * MS)
    assert items(order.release(BASE + 32 * MS)) == ["a10"]
    assert order.late == 0


def test_streams_of_one_source_are_waited_for_each() -> None:
    order: Reorder[str] = Reorder(["robot"])
    order.expect("robot", ["joints", "camera"])
    order.push(place(10, "robot"), "joints 10")
    order.said("robot", BASE + 30 * MS, "joints")
    assert order.release(BASE + 31 * MS) == []
    order.push(place(8, "robot", 1), "camera 8")
    order.said("robot", BASE + 8 * MS, "camera")
    assert order.release(BASE + 32 * MS) == []
    order.said("robot", BASE + 20 * MS, "camera")
    assert items(order.release(BASE + 33 * MS)) == ["camera 8", "joints 10"]
    assert order.late == 0
    # Another start of the source: what it had reached still stands.
    order.expect("robot", ["joints", "camera", "wrench"])
    order.said("robot", BASE + 40 * MS, "wrench")
    order.push(place(25, "robot", 2), "joints 25")
    order.said("robot", BASE + 50 * MS, "camera")
    assert items(order.release(BASE + 51 * MS)) == ["joints 25"]


def test_a_silent_source_is_waited_for_no_longer_than_the_lateness() -> None:
    order: Reorder[str] = Reorder(["a", "b"])
    order.push(place(10, "a"), "a10")
    order.said("a", BASE + 500 * MS)
    assert order.release(BASE + 10 * MS + LATENESS_NS - 1) == []
    assert items(order.release(BASE + 10 * MS + LATENESS_NS)) == ["a10"]


def test_a_source_that_has_ended_is_not_waited_for() -> None:
    order: Reorder[str] = Reorder(["a", "b"])
    order.ended("b")
    order.push(place(10, "a"), "a10")
    order.said("a", BASE + 11 * MS)
    assert items(order.release(BASE + 12 * MS)) == ["a10"]
    order.said("b", BASE + 12 * MS)  # it is back
    order.push(place(13, "a"), "a13")
    order.said("a", BASE + 20 * MS)
    assert order.release(BASE + 21 * MS) == []


def test_what_comes_too_late_is_counted_and_comes_at_once() -> None:
    order: Reorder[str] = Reorder(["a", "b"])
    order.said("a", BASE)
    order.release(BASE + 1000 * MS)
    assert order.watermark_ns == BASE + 1000 * MS - LATENESS_NS
    assert order.push(place(700, "b", 1), "b700")
    assert order.push(place(600, "b", 0), "b600")
    assert not order.push(place(900, "b", 2), "b900")
    assert [(one.item, one.late) for one in order.release(BASE + 1001 * MS)] == [("b600", True), ("b700", True)]
    assert order.late == 2


def test_the_watermark_never_goes_back_and_can_be_told() -> None:
    order: Reorder[str] = Reorder(["a"])
    order.release(BASE + 1000 * MS)
    before = order.watermark_ns
    order.release(BASE + 900 * MS)
    assert order.watermark_ns == before
    order.push(place(990), "x")
    assert items(order.release(0, BASE + 990 * MS)) == ["x"]
    assert order.watermark_ns == BASE + 990 * MS


def test_flush_gives_all_and_moves_to_the_last_of_it() -> None:
    order: Reorder[str] = Reorder(["a"])
    order.push(place(20, sequence=1), "2")
    order.push(place(10), "1")
    assert items(order.flush()) == ["1", "2"]
    assert order.watermark_ns == BASE + 20 * MS
    assert len(order) == 0


arrivals = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from("abc"), st.integers(0, LATENESS_NS // MS - 1), st.integers(0, 3)),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(arrivals, st.lists(st.integers(0, 400), max_size=20))
def test_every_arrival_within_the_lateness_gives_the_one_order(
    given_items: list[tuple[int, str, int, int]], releases: list[int]
) -> None:
    """(time, source, delay on the way, number): whatever overtakes what, and whenever the hub looks."""
    records = []
    for sequence, (t, source, delay, number) in enumerate(given_items):
        records.append((t * 10 + delay, place(t * 10, source, sequence, number)))
    order: Reorder[Place] = Reorder("abc")
    out: list[Place] = []
    moments = sorted(
        [(at, 0, where) for at, where in records] + [(at, 1, None) for at in releases], key=lambda m: m[:2]
    )
    for at, _, where in moments:
        if where is not None:
            order.push(where, where)
        else:
            out += items(order.release(BASE + at * MS))
    out += items(order.flush())
    assert order.late == 0
    assert out == sorted(where for _, where in records)


# -- the same events, however the inputs come --------------------------------------------------------------------------

RULES = [
    {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"], "capture": ["text"]},
    {
        "emit": "failed",
        "trigger": "hold",
        "for_ms": 50,
        "when": "alarm != 0",
        "code": "safety.stop",
        "from": ["active"],
    },
    {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 300, "code": "motion.timeout"},
    {"emit": "corrected", "trigger": "rise", "when": "retry", "within_ms": 500},
    {"emit": "progress", "trigger": "cross", "when": "force", "level": 3, "hysteresis": 1},
    {"emit": "decision", "trigger": "change", "when": "text"},
    {"emit": "aborted", "trigger": "count", "when": "retry", "count": 2, "within_ms": 200},
    {"emit": "succeeded", "trigger": "rise", "when": "done and alarm == 0", "from": ["active"]},
]
values = {
    "start": st.none() | st.booleans(),
    "done": st.none() | st.booleans(),
    "retry": st.booleans(),
    "alarm": st.none() | st.integers(0, 2),
    "force": st.none() | st.integers(0, 6).map(float) | st.just("broken"),
    "text": st.sampled_from(["x", "y"]),
}
changes = st.one_of(*(st.tuples(st.just(name), of) for name, of in values.items()))
stories = st.lists(st.tuples(st.integers(0, 120), changes | st.just(("gap", None))), max_size=60)


@settings(max_examples=200, deadline=None)
@given(stories, st.sampled_from(["baseline", "infer"]), st.lists(st.integers(0, 5000), max_size=10))
def test_the_ledger_finds_nothing_and_looking_more_often_changes_nothing(
    story: list[tuple[int, tuple[str, Any]]], after_gap: str, looks: list[int]
) -> None:
    rules = rule_set(rules=RULES, after_gap=after_gap)
    often, seldom = Bench(rules), Bench(rules)
    t = 0
    for pause, (name, value) in story:
        for look in sorted(looks):
            if t < look < t + pause:
                often.wait(look)
        t += pause
        for one in (often, seldom):
            if name == "gap":
                one.gap(t, t)
            else:
                one.put(t, **{name: value})
    for one in (often, seldom):
        one.wait(t + 1000)
        assert one.violations == []
    assert often.events == seldom.events
