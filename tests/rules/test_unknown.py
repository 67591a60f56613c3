"""Bad quality, gaps, late inputs: what is not known is never made into an event."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rules_bench import BASE, MS, Bench

from bridge.schema import Failure, Task

Make = Callable[..., Bench]
START = {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"]}
DONE = {"emit": "succeeded", "trigger": "rise", "when": "done", "from": ["active"]}
FAILED = {"emit": "failed", "trigger": "rise", "when": "alarm != 0", "code": "safety.stop", "from": ["active"]}
OFF: dict[str, Any] = {"start": False, "done": False, "alarm": 0}


def test_bad_quality_makes_the_next_value_a_baseline(bench: Make) -> None:
    one = bench([START])
    one.put(0, start=False)
    one.put(10, start=None)
    assert one.put(20, start=True) == []
    one.put(30, start=False)
    assert one.put(40, start=True) == ["READY", "RUNNING"]


def test_a_condition_that_is_decided_without_the_unknown_input_still_works(bench: Make) -> None:
    one = bench([{**START, "when": "start or alarm > 5"}, {**DONE, "when": "done and alarm == 0"}])
    one.put(0, start=False, alarm=0, done=False)
    assert one.put(5, alarm=None) == []
    assert one.put(10, start=True) == []  # false or unknown is unknown: no edge from there
    one.put(20, start=False, alarm=0)
    assert one.put(30, start=True) == ["READY", "RUNNING"]
    one.put(40, alarm=None)
    one.put(50, done=True)  # it may be done, or in alarm: nobody knows
    assert one.put(60, alarm=0) == []
    one.put(70, done=False)
    assert one.put(80, done=True) == ["SUCCEEDED"]


def test_nan_is_unknown(bench: Make) -> None:
    one = bench([{**START, "when": "force > 5"}])
    one.put(0, force=1.0)
    assert one.put(10, force=math.nan) == []
    assert one.put(20, force=7.0) == []
    one.put(30, force=1.0)
    assert one.put(40, force=7.0) == ["READY", "RUNNING"]


def test_a_bad_type_is_unknown_and_counted(bench: Make) -> None:
    one = bench([{**START, "when": "force > 5"}, {**DONE, "trigger": "cross", "when": "force", "level": 3}])
    one.put(0, force=1.0)
    assert one.put(10, force="broken") == []
    assert one.put(20, force=7.0) == []
    assert one.engine.mismatches > 0


def test_a_hold_begins_again_after_the_unknown(bench: Make) -> None:
    one = bench([START, {**FAILED, "trigger": "hold", "for_ms": 50}])
    one.put(0, **OFF)
    one.put(5, start=True)
    one.put(10, alarm=3)
    one.put(30, alarm=None)
    one.put(40, alarm=3)
    assert one.wait(89) == []
    assert one.wait(90) == ["failure safety.stop", "FAILED"]


def test_a_gap_in_mid_task_makes_it_unknown_until_the_next_edge(bench: Make) -> None:
    progress = {"emit": "progress", "trigger": "rise", "when": "force > 5", "measure": "force"}
    one = bench([START, DONE, progress])
    one.put(0, **OFF, force=1.0)
    one.put(10, start=True)
    assert one.gap(100, 900) == ["UNKNOWN"]
    assert one.at(2) == 100
    assert one.body(Task).message == "no data from plc"
    # After the gap the values are where the rules begin again, whatever they were before.
    assert one.put(900, start=False, done=True, alarm=0, force=9.0) == []
    one.put(910, force=1.0)
    assert one.put(920, force=6.0) == ["RUNNING", "measure force=61"]
    one.put(930, done=False)
    assert one.put(940, done=True) == ["SUCCEEDED"]


def test_a_task_whose_end_was_not_seen_stays_unknown_when_the_next_one_starts(bench: Make) -> None:
    one = bench([START, DONE])
    one.put(0, **OFF)
    one.put(10, start=True)
    one.gap(100, 900)
    one.put(900, **OFF)
    assert one.put(950, start=True) == ["READY", "RUNNING"]
    assert one.events[-1].task_id != one.events[0].task_id


def test_from_unknown_to_success_and_to_failure(bench: Make) -> None:
    for values, said in (({"done": True}, ["SUCCEEDED"]), ({"alarm": 1}, ["failure safety.stop", "FAILED"])):
        one = bench([START, DONE, FAILED])
        one.put(0, **OFF)
        one.put(10, start=True)
        one.gap(100, 900)
        one.put(900, **OFF)
        assert one.put(910, **values) == said


def test_a_gap_while_nothing_runs_says_nothing(bench: Make) -> None:
    one = bench([START])
    one.put(0, start=False)
    assert one.gap(10, 100) == []
    assert one.put(100, start=True) == []
    assert one.engine.counts["gaps"] == 1


def test_after_gap_infer_finds_the_edge_that_the_gap_hid(bench: Make) -> None:
    one = bench([START, DONE], after_gap="infer")
    one.put(0, **OFF)
    one.put(10, start=True)
    assert one.gap(100, 900) == ["UNKNOWN"]
    assert one.put(900, start=False, done=True) == ["SUCCEEDED"]
    assert one.events[-1].ext["across_gap"] is True
    assert one.put(910, start=True) == ["READY", "RUNNING"]
    assert "across_gap" not in one.events[-1].ext


def test_no_timeout_is_made_up_in_a_gap(bench: Make) -> None:
    late = {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 200, "code": "motion.timeout"}
    one = bench([START, DONE, late])
    one.put(0, **OFF)
    one.put(10, start=True)
    assert one.gap(100, 900) == ["UNKNOWN"]
    assert one.wait(1000) == []


def test_a_gap_of_one_source_leaves_the_others(bench: Make) -> None:
    one = bench([START, {**DONE, "when": "done"}])
    one.put(0, **OFF)
    assert one.gap(5, 50, "done") == []
    assert one.put(10, start=True) == ["READY", "RUNNING"]


def test_a_hold_does_not_run_through_a_gap(bench: Make) -> None:
    one = bench([START, {**FAILED, "trigger": "hold", "for_ms": 50}])
    one.put(0, **OFF)
    one.put(5, start=True)
    one.put(10, alarm=3)
    assert one.gap(30, 60) == ["UNKNOWN"]
    assert one.wait(300) == []
    one.put(310, alarm=3)
    assert one.wait(360) == ["failure safety.stop", "FAILED"]
    assert one.body(Failure).onset.t0_ns == BASE + 310 * MS


def test_a_late_value_is_taken_at_once_and_flagged(bench: Make) -> None:
    one = bench([START, DONE])
    one.put(0, **OFF)
    one.wait(500)
    assert one.put(400, late=True, start=True) == ["READY", "RUNNING"]
    assert one.at(0) == 400
    assert one.events[0].flags == ("late input",)
    assert one.put(600, done=True) == ["SUCCEEDED"]
    assert one.events[-1].flags == ()


def test_a_late_value_that_is_older_than_what_is_known_is_passed_over(bench: Make) -> None:
    one = bench([START, DONE])
    one.put(0, **OFF)
    one.put(100, start=True)
    one.put(200, start=False)
    one.wait(500)
    assert one.put(150, late=True, start=True) == []
    assert one.engine.counts["superseded"] == 1


def test_a_first_value_that_was_set_long_ago_says_what_is_so_now(bench: Make) -> None:
    one = bench([START, {**FAILED, "trigger": "hold", "for_ms": 50}])
    one.put(0, start=False)
    one.put(10, start=True)
    one.wait(500)
    assert one.put(-3_600_000, late=True, alarm=3) == []
    assert one.wait(549) == []
    assert one.wait(550) == ["failure safety.stop", "FAILED"]
