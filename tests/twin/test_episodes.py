"""What a run of the twin must show: real faults, legal histories, evidence that can be computed again, repairs that repair."""

from __future__ import annotations

import itertools
import re

import pytest

from bridge.schema import (
    Boundary,
    Correction,
    Decision,
    Episode,
    Evidence,
    Failure,
    Measure,
    Relation,
    Result,
    State,
    Task,
    TaskEvent,
)
from bridge.schema.transitions import Ledger
from twin.detectors import aggregate
from twin.engine import make_engine
from twin.episode import run_episodes
from twin.faults import FaultOptions
from twin.output import Kept, MemoryOutput
from twin.rerun import rerun
from twin.samples import extractor

PREDICATE = re.compile(r"^(min|max|mean|range|last|delta|count)\((\S+)\) ([<>]) (\S+)$")


def failures(events: list[TaskEvent]) -> list[tuple[TaskEvent, Failure]]:
    """The failures of skills, without the job's own when it is given up."""
    return [(e, e.body) for e in events if isinstance(e.body, Failure) and e.parent_id is not None]


def test_every_fault_of_the_default_is_among_the_first_episodes_and_so_are_clean_ones(twin_run):
    injected = [outcome.injected for outcome in twin_run.outcomes[:6]]
    assert set(injected) == {"slip", "pose_error", "missing_part", "obstacle", None}


def test_a_clean_episode_ends_placed_and_without_a_failure(twin_run):
    clean = [outcome for outcome in twin_run.outcomes if outcome.injected is None]
    assert len(clean) >= 3
    for outcome in clean:
        assert (outcome.reason, outcome.observed, outcome.corrections) == ("placed", (), 0)
        assert outcome.place_error_mm is not None and outcome.place_error_mm < 3.0


def test_the_observed_codes_are_what_such_a_fault_can_look_like(twin_run):
    possible = {
        "slip": {"grasp.slip", "part.missing"},
        "pose_error": {"grasp.miss", "grasp.slip", "motion.collision", "place.misaligned", "part.defective"},
        "missing_part": {"part.missing"},
        "obstacle": {"motion.collision", "place.misaligned"},
    }
    seen = set()
    for outcome in twin_run.outcomes:
        if outcome.injected is not None:
            assert set(outcome.observed) <= possible[outcome.injected]
            if outcome.observed:
                seen.add(outcome.injected)
    assert seen == set(possible), "each kind of fault has an effect at least once"


def test_most_corrections_repair(twin_run):
    results = [e.body.result for e in twin_run.events if isinstance(e.body, Correction) and e.body.completes]
    assert len(results) >= 6
    assert results.count(Result.REPAIRED) >= 0.8 * len(results)


def test_no_transition_is_illegal(twin_run):
    ledger = Ledger()
    violations = [text for event in twin_run.events for text in ledger.observe(event)[1]]
    assert violations == []


def test_every_task_ends_and_each_job_holds_the_core_verbs(twin_run):
    last: dict[tuple[object, int], State] = {}
    verbs: dict[object, set[str]] = {}
    for event in twin_run.events:
        if isinstance(event.body, Task):
            last[event.task_id, event.attempt] = event.body.state
            verbs.setdefault(event.episode_id, set()).add(event.body.verb)
    assert set(last.values()) <= {State.SUCCEEDED, State.FAILED}
    for seen in verbs.values():
        assert {"move", "grasp", "avoid", "place", "release", "verify"} <= seen


def test_the_value_of_all_evidence_can_be_computed_again_from_the_channel_in_the_window(twin_run):
    by_topic: dict[str, list[Kept]] = {}
    out = MemoryOutput()
    for kept in twin_run.samples:
        by_topic.setdefault(out.topic(kept.channel), []).append(kept)
    checked = 0
    for _, failure in failures(twin_run.events):
        assert failure.evidence
        for evidence in failure.evidence:
            assert_evidence(evidence, by_topic.get(evidence.channel, []))
            checked += 1
    assert checked >= 6


def assert_evidence(evidence: Evidence, samples: list[Kept]) -> None:
    match = PREDICATE.match(evidence.predicate)
    assert match, evidence.predicate
    kind, field, op, threshold = match.groups()
    assert field == evidence.field and float(threshold) == evidence.threshold
    t0, t1 = evidence.window.source_t0_ns, evidence.window.source_t1_ns
    pick = extractor(field)
    value = aggregate(kind, [pick(kept.sample) for kept in samples if t0 <= kept.stamp_ns <= t1])
    assert value == evidence.value
    assert value < evidence.threshold if op == "<" else value > evidence.threshold


def test_the_detectors_run_again_over_the_record_say_the_same_of_every_attempt(twin_run):
    told = {(e.task_id, e.attempt): (e, f) for e, f in failures(twin_run.events)}
    verdicts = rerun(twin_run.events, twin_run.samples)
    assert len(verdicts) > 9 * len(twin_run.outcomes)
    found = 0
    for verdict in verdicts:
        pair = told.pop((verdict.task_id, verdict.attempt), None)
        if pair is None:
            assert verdict.finding is None, verdict
            continue
        event, failure = pair
        finding, evidence = verdict.finding, failure.evidence[0]
        assert finding is not None, failure
        assert finding.guard.code is failure.code
        assert finding.value == evidence.value
        assert finding.guard.predicate == evidence.predicate
        assert (finding.t0_ns, finding.t1_ns) == (evidence.window.source_t0_ns, evidence.window.source_t1_ns)
        assert finding.onset_ns == failure.onset.source_t0_ns
        assert finding.detected_ns == event.time.source_ns
        found += 1
    assert not told and found >= 6


def test_a_failure_tells_its_injection_as_an_explanation_and_never_as_its_code(twin_run):
    injected: dict[object, dict | None] = {}
    for event in twin_run.events:
        if isinstance(event.body, Episode) and event.body.boundary is Boundary.END:
            injected[event.episode_id] = event.ext["injected"]
    for event, failure in failures(twin_run.events):
        fault = injected[event.episode_id]
        assert event.ext.get("injected") == fault
        if fault is None:
            assert failure.explanation is None
        else:
            assert failure.explanation.author == "twin.injection"
            assert fault["text"] in failure.explanation.text


def test_the_end_of_an_episode_keeps_injection_observation_and_effect(twin_run):
    ends = [e for e in twin_run.events if isinstance(e.body, Episode) and e.body.boundary is Boundary.END]
    assert len(ends) == len(twin_run.outcomes)
    for event, outcome in zip(ends, twin_run.outcomes, strict=True):
        fault = event.ext["injected"]
        assert (None if fault is None else fault["fault"]) == outcome.injected
        assert event.ext["observed"] == list(outcome.observed)
        assert event.ext["effect"] is bool(outcome.observed)
        assert event.body.seed == 1
        if fault is not None:
            assert event.body.drawn["fault"] == {"kind": fault["fault"], **fault["size"]}


def test_each_correction_has_its_two_events_names_its_failure_and_is_verified_by_a_task_that_succeeded(twin_run):
    failed = {e.id for e, _ in failures(twin_run.events)}
    ended = {e.task_id: e.body.state for e in twin_run.events if isinstance(e.body, Task)}
    begun: dict[object, Correction] = {}
    for event in twin_run.events:
        body = event.body
        if not isinstance(body, Correction):
            continue
        assert body.corrects in failed
        assert any(link.rel is Relation.CORRECTS and link.id == body.corrects for link in event.links)
        if body.completes is None:
            assert body.result is None and body.changes
            begun[event.id] = body
        else:
            first = begun.pop(body.completes)
            assert (first.corrects, first.strategy) == (body.corrects, body.strategy)
            if body.result is Result.REPAIRED:
                assert ended[body.verified_by] is State.SUCCEEDED
    assert not begun


def test_a_retry_is_the_next_attempt_and_links_the_one_that_failed(twin_run):
    states: dict[tuple[object, int], TaskEvent] = {}
    retries = 0
    for event in twin_run.events:
        if not isinstance(event.body, Task):
            continue
        if event.attempt > 1 and event.body.state is State.PENDING:
            before = states[event.task_id, event.attempt - 1]
            assert before.body.state is State.FAILED
            assert [link.id for link in event.links if link.rel is Relation.RETRIES] == [before.id]
            retries += 1
        states[event.task_id, event.attempt] = event
    assert retries >= 6


def test_decisions_list_their_options_and_say_why_the_others_were_not_taken(twin_run):
    questions = set()
    channels = {MemoryOutput().topic(name) for name in {kept.channel for kept in twin_run.samples}}
    for event in twin_run.events:
        body = event.body
        if not isinstance(body, Decision):
            continue
        questions.add(body.question.split(" after ")[0])
        assert body.options and body.reason.text
        for option in body.options:
            assert (option.rejected_because == "") == (option.id == body.chosen), option
        assert body.inputs and {seen.channel for seen in body.inputs} <= channels | {MemoryOutput().topic("part_pose")}
    assert questions == {"which grasp", "which way to the fixture", "what to do"}


def test_outcomes_are_measured(twin_run):
    names: dict[str, int] = {}
    for event in twin_run.events:
        if isinstance(event.body, Measure):
            names[event.body.name] = names.get(event.body.name, 0) + 1
    placed = sum(outcome.reason == "placed" for outcome in twin_run.outcomes)
    assert names["cycle.time"] == placed
    assert names["place.error"] >= placed and names["grip.force"] >= placed


def test_joint_states_come_at_120_hz_of_twin_time_without_a_gap(twin_run):
    stamps = [kept.stamp_ns for kept in twin_run.samples if kept.channel == "joint_states"]
    steps = {b - a for a, b in itertools.pairwise(stamps)}
    assert steps <= {8_333_333, 8_333_334}


def test_the_arm_does_not_jump_from_one_episode_to_the_next(twin_run):
    positions = [kept.sample.position[:7] for kept in twin_run.samples if kept.channel == "joint_states"]
    jump = max(
        abs(a - b) for before, after in itertools.pairwise(positions) for a, b in zip(before, after, strict=True)
    )
    assert jump < 0.05, "no joint moves faster than 6 rad/s"


def test_the_other_faults_are_found_and_repaired_too(cell):
    engine = make_engine("pybullet", cell.robot)
    out = MemoryOutput("other")
    kinds = ("weak_grip", "defective_part", "slow_joint")
    outcomes = list(run_episodes(engine, cell, 4, FaultOptions(rate=1.0, kinds=kinds), out, episodes=3))
    engine.close()
    codes = {outcome.injected: set(outcome.observed) for outcome in outcomes}
    assert codes == {
        "weak_grip": {"grasp.weak"},
        "defective_part": {"part.defective"},
        "slow_joint": {"motion.timeout"},
    }
    assert all(outcome.reason == "placed" for outcome in outcomes)
    ledger = Ledger()
    assert [text for event in out.events for text in ledger.observe(event)[1]] == []


def test_clean_episodes_succeed(cell):
    engine = make_engine("pybullet", cell.robot)
    outcomes = list(run_episodes(engine, cell, 7, FaultOptions(rate=0.0), MemoryOutput("clean"), episodes=20))
    engine.close()
    assert sum(outcome.reason == "placed" and not outcome.observed for outcome in outcomes) >= 19


@pytest.mark.long
def test_over_many_episodes_faults_show_and_most_jobs_end_well(cell):
    engine = make_engine("pybullet", cell.robot)
    kinds = ("slip", "pose_error", "missing_part", "obstacle", "weak_grip", "defective_part", "slow_joint")
    out = MemoryOutput("many")
    outcomes = list(run_episodes(engine, cell, 11, FaultOptions(rate=0.7, kinds=kinds), out, episodes=400))
    engine.close()
    clean = [outcome for outcome in outcomes if outcome.injected is None]
    assert sum(outcome.reason == "placed" and not outcome.observed for outcome in clean) >= 0.95 * len(clean)
    for kind in kinds:
        injected = [outcome for outcome in outcomes if outcome.injected == kind]
        assert sum(bool(outcome.observed) for outcome in injected) >= 0.5 * len(injected), kind
        assert sum(outcome.reason == "placed" for outcome in injected) >= 0.8 * len(injected), kind
    ledger = Ledger()
    assert [text for event in out.events for text in ledger.observe(event)[1]] == []
    told = {(e.task_id, e.attempt) for e, f in failures(out.events) if f.detected_by.startswith("twin.detectors")}
    assert {(v.task_id, v.attempt) for v in rerun(out.events, out.samples) if v.finding} == told


def test_asked_to_stop_in_mid_episode_it_cancels_what_is_live_and_says_so(cell):
    engine = make_engine("pybullet", cell.robot)
    out = MemoryOutput("stopped", stop_at_ns=2_400_000_000)
    outcomes = list(run_episodes(engine, cell, 1, FaultOptions(rate=0.0), out))
    engine.close()
    assert [outcome.reason for outcome in outcomes] == ["stopped"]
    last: dict[object, Task] = {e.task_id: e.body for e in out.events if isinstance(e.body, Task)}
    canceled = {body.verb for body in last.values() if body.state is State.CANCELED}
    assert canceled == {"com.dari.pick_place", "avoid"}
    assert isinstance(out.events[-1].body, Episode) and out.events[-1].body.reason == "stopped"
    ledger = Ledger()
    assert [text for event in out.events for text in ledger.observe(event)[1]] == []
