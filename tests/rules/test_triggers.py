"""Each trigger, each kind of event, each guard; the ledger looks on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rules_bench import BASE, MS, Bench

from bridge.schema import (
    Correction,
    Decision,
    Failure,
    FailureCode,
    Measure,
    Origin,
    Relation,
    Task,
)

Make = Callable[..., Bench]
START = {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"]}
DONE = {"emit": "succeeded", "trigger": "rise", "when": "done", "from": ["active"]}
OFF: dict[str, Any] = {"start": False, "done": False, "alarm": 0, "retry": False}


def started(bench: Bench, t: float = 10) -> None:
    bench.put(0, **OFF)
    assert bench.put(t, start=True) == ["READY", "RUNNING"]


def test_rise_and_fall(bench: Make) -> None:
    one = bench([START, {"emit": "succeeded", "trigger": "fall", "when": "start"}])
    assert one.put(0, start=False) == []
    assert one.put(10, start=True) == ["READY", "RUNNING"]
    assert one.put(20, start=True) == []
    assert one.put(30, start=False) == ["SUCCEEDED"]
    assert one.put(40, start=True) == ["READY", "RUNNING"]
    assert [one.at(n) for n in range(5)] == [10, 10, 30, 40, 40]
    first, second = one.events[1].task_id, one.events[4].task_id
    assert first is not None
    assert one.events[2].task_id == first != second
    assert all(event.origin is Origin.INFERRED for event in one.events)
    assert one.events[0].time.uncertainty_ns == 1000


def test_the_first_sample_never_makes_an_edge(bench: Make) -> None:
    one = bench([START])
    assert one.put(0, start=True) == []
    assert one.put(10, start=False) == []
    assert one.put(20, start=True) == ["READY", "RUNNING"]


def test_change(bench: Make) -> None:
    one = bench([START, {"emit": "succeeded", "trigger": "change", "when": "alarm"}])
    started(one)
    assert one.put(20, alarm=0) == []
    assert one.put(30, alarm=4) == ["SUCCEEDED"]


def test_hold_fires_once_at_the_end_of_its_time(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "hold", "for_ms": 50, "when": "alarm != 0", "code": "safety.stop"}
    one = bench([START, failed])
    started(one)
    one.put(100, alarm=7)
    assert one.put(140, alarm=0) == []  # too short
    one.put(200, alarm=7)
    assert one.wait(249) == []
    assert one.wait(260) == ["failure safety.stop", "FAILED"]
    assert one.at(2) == 250
    assert one.wait(500) == []
    failure = one.body(Failure)
    assert failure.onset.t0_ns == BASE + 200 * MS
    assert failure.detected_ns == BASE + 250 * MS
    assert failure.detected_by == "rules.set"


def test_a_hold_that_is_released_as_it_would_fire_does_not_fire(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "hold", "for_ms": 50, "when": "alarm != 0"}
    one = bench([START, failed])
    started(one)
    one.put(100, alarm=7)
    assert one.put(150, alarm=0) == []
    one.put(200, alarm=7)
    assert one.put(250.001, alarm=0) == ["failure unknown", "FAILED"]


def test_a_hold_counts_from_when_its_rule_may_fire(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "hold", "for_ms": 50, "when": "alarm != 0", "from": ["active"]}
    one = bench([START, failed])
    one.put(0, **{**OFF, "alarm": 7})  # a stale alarm, long before the start
    assert one.put(1000, start=True) == ["READY", "RUNNING"]
    assert one.wait(1049) == []
    assert one.wait(1050) == ["failure unknown", "FAILED"]


def test_timeout(bench: Make) -> None:
    late = {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 8000, "code": "motion.timeout"}
    one = bench([START, DONE, late])
    started(one)
    assert one.wait(8009) == []
    assert one.wait(9000) == ["failure motion.timeout", "FAILED"]
    assert one.at(2) == 8010
    failure = one.body(Failure)
    assert failure.onset.t0_ns == BASE + 10 * MS
    assert [e.predicate for e in failure.evidence] == ["last(value) == 0"]
    assert failure.evidence[0].channel == "/field/cell1/done"


def test_a_task_that_ends_in_time_stops_its_timeout(bench: Make) -> None:
    late = {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 100, "code": "motion.timeout"}
    one = bench([START, DONE, late])
    started(one)
    one.put(50, start=False)
    assert one.put(110, done=True) == ["SUCCEEDED"]  # at the very end
    assert one.wait(500) == []
    one.put(600, start=True)
    one.put(650, start=False)
    assert one.wait(699) == []
    assert one.wait(700) == ["failure motion.timeout", "FAILED"]


def test_what_a_timeout_waits_for_stops_it(bench: Make) -> None:
    late = {
        "emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 100, "when": "done", "code": "part.missing",
    }  # fmt: skip
    one = bench([START, late])
    started(one)
    one.put(50, done=True)
    one.put(60, done=False)
    assert one.wait(500) == []
    two = bench([START, late])
    started(two)
    assert two.wait(500) == ["failure part.missing", "FAILED"]
    assert [e.predicate for e in two.body(Failure).evidence] == ["last(value) == 0"]


def test_a_timeout_of_what_can_not_be_told_does_not_fire(bench: Make) -> None:
    late = {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 100, "when": "done"}
    one = bench([START, late])
    started(one)
    one.put(50, done=None)
    assert one.wait(500) == []
    assert one.engine.counts["undecided"] == 1


def test_cross_with_hysteresis(bench: Make) -> None:
    over = {"emit": "progress", "trigger": "cross", "when": "force", "level": 5, "hysteresis": 1, "unit": "N"}
    one = bench([START, over])
    started(one)
    assert one.put(20, force=3.0) == []
    assert one.put(30, force=5.0) == ["measure force=5N"]
    assert one.put(40, force=4.5) == []
    assert one.put(50, force=5.5) == []  # it has not been below 4
    assert one.put(60, force=3.9) == []
    assert one.put(70, force=5.5) == ["measure force=5.5N"]


def test_cross_downwards_is_written_with_a_minus(bench: Make) -> None:
    weak = {"emit": "failed", "trigger": "cross", "when": "-force", "level": -5, "code": "grasp.weak"}
    one = bench([START, weak])
    started(one)
    one.put(20, force=9.0)
    assert one.put(30, force=4.0) == ["failure grasp.weak", "FAILED"]
    evidence = one.body(Failure).evidence[0]
    assert (evidence.predicate, evidence.value, evidence.threshold) == ("last(value) <= 5.0", 4.0, 5.0)


def test_the_first_sample_above_a_level_has_not_crossed_it(bench: Make) -> None:
    one = bench([START, {"emit": "progress", "trigger": "cross", "when": "force", "level": 5}])
    started(one)
    assert one.put(20, force=7.0) == []


def test_count_of_edges(bench: Make) -> None:
    three = {"emit": "succeeded", "trigger": "count", "when": "done", "count": 3, "within_ms": 100}
    one = bench([START, three])
    started(one)
    said = []
    for t in (100, 150, 220, 260, 270):
        said.append(one.put(t, done=True))
        one.put(t + 1, done=False)
    assert said == [[], [], [], [], ["SUCCEEDED"]]


def test_a_count_begins_again_with_each_task(bench: Make) -> None:
    two = {"emit": "succeeded", "trigger": "count", "when": "done", "count": 2}
    abort = {"emit": "aborted", "trigger": "rise", "when": "retry"}
    one = bench([START, two, abort])
    started(one)
    one.put(20, done=True)
    assert one.put(30, retry=True) == ["CANCELING", "CANCELED"]
    one.put(40, start=False, done=False)
    one.put(50, start=True)
    assert one.put(60, done=True) == []
    one.put(70, done=False)
    assert one.put(80, done=True) == ["SUCCEEDED"]


def test_debounce(bench: Make) -> None:
    one = bench([START], inputs={"start": {"debounce_ms": 20}})
    one.put(0, start=False)
    one.put(10, start=True)
    one.put(15, start=False)  # a bounce
    assert one.wait(100) == []
    one.put(110, start=True)
    one.put(112, start=True)
    assert one.wait(129) == []
    assert one.wait(140) == ["READY", "RUNNING"]
    assert one.at(0) == 130
    assert one.events[0].ext["onset_ns"] == BASE + 110 * MS


def test_failure_retry_and_repair(bench: Make) -> None:
    failed = {
        "emit": "failed",
        "trigger": "rise",
        "when": "alarm != 0",
        "code": "grasp.slip",
        "message": "part slipped",
    }
    corrected = {
        "emit": "corrected", "trigger": "rise", "when": "retry", "from": ["failed"], "within_ms": 30000,
        "strategy": "regrasp",
    }  # fmt: skip
    one = bench([START, DONE, failed, corrected])
    started(one)
    assert one.put(100, alarm=3) == ["failure grasp.slip", "FAILED"]
    assert one.put(200, alarm=0, retry=True) == ["correction regrasp", "READY/2", "RUNNING/2"]
    assert one.put(300, done=True) == ["SUCCEEDED/2", "corrected repaired"]
    failure, ended = one.events[2], one.events[3]
    assert one.body(Failure).evidence[0].predicate == "last(value) != 0"
    assert one.body(Failure).explanation.text == "part slipped"
    assert [(link.rel, link.id) for link in ended.links] == [(Relation.CAUSED_BY, failure.id)]
    begun, retry, completed = one.events[4], one.events[5], one.events[8]
    assert begun.body.corrects == failure.id
    assert begun.attempt == completed.attempt == 1
    assert [(link.rel, link.id) for link in retry.links] == [(Relation.RETRIES, ended.id)]
    assert completed.body.completes == begun.id
    assert completed.body.verified_by == failure.task_id
    assert {event.task_id for event in one.events} == {failure.task_id}


def test_a_retry_that_fails_completes_its_correction_with_none(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "rise", "when": "alarm != 0", "code": "grasp.slip"}
    corrected = {"emit": "corrected", "trigger": "rise", "when": "retry", "strategy": "manual"}
    one = bench([START, failed, corrected])
    started(one)
    one.put(100, alarm=3)
    one.put(200, alarm=0, retry=True)
    assert one.body(Correction).actor.kind.value == "human"
    assert one.put(300, alarm=4, retry=False) == ["failure grasp.slip", "FAILED/2", "corrected none"]
    assert one.put(400, retry=True) == ["correction manual", "READY/3", "RUNNING/3"]


def test_a_retry_outside_of_its_window_is_none(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "rise", "when": "alarm != 0"}
    corrected = {"emit": "corrected", "trigger": "rise", "when": "retry", "within_ms": 1000}
    one = bench([START, failed, corrected])
    started(one)
    one.put(100, alarm=3)
    assert one.put(1101, retry=True) == []
    assert one.engine.counts["guarded"] == 1
    # The next start is a new task, though the rule says idle: an attempt that failed has ended.
    one.put(1200, start=False, alarm=0)
    assert one.put(1300, start=True) == ["READY", "RUNNING"]


def test_a_correction_goes_before_a_start_that_comes_with_it(bench: Make) -> None:
    failed = {"emit": "failed", "trigger": "rise", "when": "alarm != 0"}
    corrected = {"emit": "corrected", "trigger": "rise", "when": "start"}
    one = bench([START, failed, corrected])
    started(one)
    one.put(100, alarm=3)
    one.put(150, start=False)
    assert one.put(200, start=True) == ["correction retry", "READY/2", "RUNNING/2"]


def test_a_second_failure_of_an_ended_attempt_is_told_and_can_be_corrected(bench: Make) -> None:
    rules = [
        {"emit": "failed", "trigger": "rise", "when": "alarm != 0", "code": "grasp.slip", "from": ["any"]},
        {"emit": "failed", "trigger": "rise", "when": "done", "code": "safety.stop", "from": ["any"]},
        {"emit": "corrected", "trigger": "rise", "when": "retry"},
    ]
    one = bench([START, *rules])
    started(one)
    assert one.put(100, alarm=3) == ["failure grasp.slip", "FAILED"]
    assert one.put(110, done=True) == ["failure safety.stop"]
    one.put(200, retry=True)
    assert one.body(Correction).corrects == one.events[4].id


def test_a_failure_while_nothing_runs_belongs_to_no_task(bench: Make) -> None:
    one = bench(
        [START, {"emit": "failed", "trigger": "rise", "when": "alarm != 0", "code": "safety.stop", "from": ["idle"]}]
    )
    one.put(0, **OFF)
    assert one.put(10, alarm=1) == ["failure safety.stop"]
    assert one.events[0].task_id is None


def test_guards(bench: Make) -> None:
    one = bench([START, DONE])
    one.put(0, **OFF)
    assert one.put(5, done=True) == []
    assert one.engine.counts["guarded"] == 1
    one.put(6, done=False)
    one.put(10, start=True)
    one.put(20, start=False)
    assert one.put(30, start=True) == []  # it runs already
    assert one.put(40, done=True) == ["SUCCEEDED"]


def test_a_start_that_may_come_while_a_task_runs_leaves_that_unknown(bench: Make) -> None:
    one = bench([{**START, "from": ["idle", "active"]}])
    started(one)
    one.put(20, start=False)
    assert one.put(30, start=True) == ["UNKNOWN", "READY", "RUNNING"]
    assert one.events[2].task_id == one.events[0].task_id != one.events[3].task_id


def test_after_and_within(bench: Make) -> None:
    rules = [
        {"emit": "decision", "trigger": "rise", "when": "retry", "measure": "alarm"},
        {"emit": "succeeded", "trigger": "rise", "when": "done", "after": "decision", "within_ms": 50},
    ]
    one = bench([START, *rules])
    started(one)
    assert one.put(20, done=True) == []
    one.put(30, done=False)
    assert one.put(40, retry=True, alarm=2) == ["decision 2"]
    assert one.put(91, done=True) == []
    one.put(95, done=False, retry=False)
    one.put(100, retry=True)
    assert one.put(150, done=True) == ["SUCCEEDED"]


def test_capture_measure_and_decision(bench: Make) -> None:
    rules = [
        {**START, "capture": ["text", "object_id"]},
        {"emit": "decision", "trigger": "change", "when": "lane", "code": "lane_full", "message": "which lane"},
        {
            "emit": "progress",
            "trigger": "rise",
            "when": "retry",
            "measure": "force * 2",
            "unit": "N",
            "capture": ["text"],
        },
        {"emit": "succeeded", "trigger": "rise", "when": "done", "measure": "error", "capture": ["force"]},
    ]
    names = {"start": {}, "done": {}, "retry": {}, "lane": {}, "text": {}, "object_id": {}, "force": {"unit": "N"}}
    one = bench(rules, inputs={**names, "error": {"unit": "mm"}})
    one.put(0, start=False, done=False, retry=False, lane="a", text="SN1", object_id=17, force=2.5, error=0.25)
    one.put(10, start=True)
    task = one.body(Task)
    assert task.parameters.free == {"text": "SN1"}
    assert task.parameters.object_id == "17"
    assert one.put(20, lane="b") == ["decision b"]
    decision = one.body(Decision)
    assert (decision.question, decision.reason.code, decision.options) == ("which lane", "lane_full", None)
    assert decision.inputs[0].channel == "/field/cell1/lane"
    assert one.put(30, retry=True, text="SN2") == ["measure force * 2=5N"]
    assert one.events[-1].ext["capture"] == {"text": "SN2"}
    assert one.put(40, done=True) == ["measure error=0.25mm", "SUCCEEDED"]
    assert one.body(Task).parameters.free == {"text": "SN1", "force": 2.5}
    assert one.body(Measure).unit == "mm"


def test_a_measure_without_a_number_is_counted(bench: Make) -> None:
    one = bench([START, {**DONE, "measure": "force"}])
    started(one)
    assert one.put(20, done=True) == ["SUCCEEDED"]
    assert one.engine.counts["unmeasured"] == 1


def test_two_rules_at_one_instant_follow_their_order(bench: Make) -> None:
    one = bench([START, {**DONE, "when": "start"}])
    one.put(0, start=False)
    assert one.put(10, start=True) == ["READY", "RUNNING", "SUCCEEDED"]


@pytest.mark.parametrize("code", list(FailureCode))
def test_every_code_has_evidence_or_is_unknown(bench: Make, code: FailureCode) -> None:
    one = bench([START, {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 10, "code": code.value}])
    started(one)
    # No input shows it: no rule says what a success would have been seen by.
    assert one.wait(100) == ["failure unknown", "FAILED"]
    if code is not FailureCode.UNKNOWN:
        assert code.value in one.body(Failure).explanation.text
