"""The demo: three spaces, one schema, one log; failures with evidence, corrections with their failures, honest clocks."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bridge import messages
from bridge.messages import header_stamp_ns
from bridge.schema import Correction, Episode, Failure, FailureCode, Health, HealthCode, TaskEvent
from recorder.predicate import read_evidence
from tests.demo.conftest import need_engine, run_dari

SPACES = ("twin", "testbed", "field")
TELEMETRY = ("joint_states", "gripper/state", "wrench")


@pytest.fixture(scope="module")
def events(log) -> list[TaskEvent]:
    return list(log.events())


def test_it_ends_well_and_says_what_to_do_next(demo):
    assert demo.code == 0, demo.err
    assert "Traceback" not in demo.err
    assert "OUTSIDE" not in demo.out
    for words in ("gaps 0", "as set, and as found", "log: ", "dari why", "dari replay", "dari init"):
        assert words in demo.out
    for space in SPACES:
        assert f"\n{space} " in demo.out


def test_everything_it_started_is_stopped(demo):
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(demo.folder) not in running


def test_all_three_spaces_are_there_and_twin_and_testbed_speak_alike(log):
    types = {channel.topic: channel.type_name for channel in log.channels.values()}
    for signal in TELEMETRY:
        assert types[f"/twin/arm/{signal}"] == types[f"/testbed/arm/{signal}"]
    counts = Counter()
    for channel in log.channels.values():
        counts[channel.topic.split("/")[1]] += log.counts.get(channel.id, 0)
    assert all(counts[space] > 100 for space in SPACES)


def test_the_rates_are_what_a_robot_needs(log):
    for space in ("twin", "testbed"):
        (channel,) = log.of_topic(f"/{space}/arm/joint_states")
        stamps = [header_stamp_ns(message.data) for message in log.messages([channel.topic])]
        # On its own clock, which a busy machine does not slow: at least 100 in a second.
        assert np.median(np.diff(stamps)) <= 10_000_000


def test_cdr_of_the_robot_is_untouched(log):
    (message, *_) = log.messages(["/testbed/arm/joint_states"])
    decoded = messages.deserialize("sensor_msgs/msg/JointState", message.data)
    assert decoded.name[:2] == ["panda_joint1", "panda_joint2"]
    assert not decoded.header.frame_id.startswith("testbed/")


def test_every_failure_has_evidence_or_says_unknown(events):
    failures = [event for event in events if isinstance(event.body, Failure)]
    assert {event.space.value for event in failures} == set(SPACES)
    for event in failures:
        assert event.body.evidence or event.body.code is FailureCode.UNKNOWN


def test_the_evidence_of_the_twin_can_be_read_back_from_its_telemetry(log, events):
    checked = 0
    for event in events:
        if event.space.value != "twin" or not isinstance(event.body, Failure):
            continue
        for evidence in event.body.evidence:
            found = read_evidence(log, evidence, event.time.uncertainty_ns)
            assert found is not None, evidence.predicate
            assert found.value == pytest.approx(evidence.value, rel=1e-6, abs=1e-9)
            assert found.holds
            checked += 1
    assert checked >= 3


def test_every_correction_names_its_failure(events):
    failures = {event.id for event in events if isinstance(event.body, Failure)}
    corrections = [event for event in events if isinstance(event.body, Correction)]
    assert {event.space.value for event in corrections} == set(SPACES)
    assert all(event.body.corrects in failures for event in corrections)
    begun = {event.id for event in corrections if event.body.completes is None}
    assert all(event.body.completes in begun for event in corrections if event.body.completes is not None)


def test_each_injected_fault_of_the_twin_is_kept_with_its_cause_and_what_was_observed(events):
    ends = [e for e in events if isinstance(e.body, Episode) and e.body.boundary.value == "end"]
    injected = [e for e in ends if e.ext.get("injected")]
    assert len({e.ext["injected"]["fault"] for e in injected}) >= 3
    for end in injected:
        assert "observed" in end.ext
    by_injection = [
        e.body
        for e in events
        if isinstance(e.body, Failure)
        and e.body.explanation is not None
        and e.body.explanation.author == "twin.injection"
    ]
    # The cause is told apart from the code, which a detector gave that can not see the injection.
    assert by_injection
    assert all(body.detected_by.startswith("twin.detectors") for body in by_injection)


def test_no_transition_is_illegal(events):
    assert [event for event in events if event.flags] == []
    assert [e for e in events if isinstance(e.body, Health) and e.body.code is HealthCode.ILLEGAL_TRANSITION] == []


def test_nothing_was_lost(log, events):
    codes = (HealthCode.GAP, HealthCode.LOSS, HealthCode.DROPPED)
    assert [e.body for e in events if isinstance(e.body, Health) and e.body.code in codes] == []


def test_the_testbeds_aborts_are_the_failures_of_its_space(demo, events):
    told = [e for e in events if e.space.value == "testbed" and isinstance(e.body, Failure)]
    times = [e.time.aligned_ns for e in told]
    aborted = [t["t1_true_ns"] for t in demo.truth("task") if not t["succeeded"]]
    inside = [t for t in aborted if times and log_range(events)[0] < t < log_range(events)[1]]
    assert len(inside) == len(told) >= 1
    for true, event in zip(sorted(inside), sorted(told, key=lambda e: e.time.aligned_ns), strict=True):
        # The action server says it a little after it happened: within a quarter of a second.
        assert -event.time.uncertainty_ns <= event.time.aligned_ns - true < 250_000_000


def log_range(events: list[TaskEvent]) -> tuple[int, int]:
    times = [event.time.aligned_ns for event in events]
    return min(times), max(times)


@pytest.mark.parametrize(("clock", "topic"), [("joint", "/testbed/arm/joint_states")])
def test_aligned_times_are_within_their_stated_uncertainty(demo, log, clock, topic):
    (truth,) = (line for line in demo.truth("clock") if line["name"] == clock)
    host = log_base(demo)
    errors, widths = [], []
    uncertainty = uncertainties(log, "testbed", topic)
    for message in log.messages([topic]):
        stamp = header_stamp_ns(message.data)
        wall0 = truth["wall0_ns"]
        # stamp = wall0 + skew + (1 + drift) (t - t0), solved for the monotonic t.
        elapsed = (stamp - wall0 - truth["skew_ns"]) / (1 + truth["drift_ppm"] * 1e-6)
        true = truth["monotonic0_ns"] + elapsed + host
        errors.append(abs(message.log_time - true))
        widths.append(uncertainty[message.sequence])
    inside = np.mean(np.array(errors) <= np.array(widths))
    assert inside >= 0.99
    # And no wider than is of use.
    assert np.median(widths) < 20_000_000


def log_base(demo) -> int:
    """The recorder's timeline is its monotonic clock plus this: the truth file tells both clocks at one moment."""
    from recorder.reader import open_log

    with open_log(demo.log) as log:
        (record,) = (r for name, r in log.metadata.items() if name == "dari.run")
    return int(record["realtime_ns"]) - int(record["monotonic_ns"])


def uncertainties(log, source: str, topic: str) -> dict[int, int]:
    found = {}
    for message in log.messages([f"/dari/clock/{source}"]):
        columns = log.decode(message)
        for i, index in enumerate(columns.channel_index):
            if columns.topics[index] == topic:
                found[int(columns.sequence[i])] = int(columns.uncertainty[i])
    return found


def test_the_clocks_that_were_set_are_found(demo):
    lines = demo.out[demo.out.index("as set, and as found") :].splitlines()[2:5]
    assert len(lines) == 3
    for line in lines:
        _, _, was, found, within = line.split()
        assert abs(float(found) - float(was)) <= float(within.lstrip("±"))


def test_why_reads_the_evidence_back(demo):
    command = next(line.split() for line in demo.out.splitlines() if line.strip().startswith("dari why"))
    told = run_dari(*command[1:], cwd=demo.folder)
    assert told.returncode == 0, told.stderr
    for words in ("onset", "evidence", "read back", "agrees", "decision before it", "correction after it"):
        assert words in told.stdout


def test_the_site_file_that_it_ran_passes_the_check(demo):
    checked = run_dari("check", str(demo.folder / "demo" / "demo.yaml"), cwd=demo.folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_log_replayed_into_the_hub_gives_the_same_events_of_the_rules(demo, events):
    played = run_dari("replay", str(demo.log), "--to", "hub", "--rate", "max", cwd=demo.folder)
    assert played.returncode == 0, played.stderr
    (made,) = (demo.folder / "replayed").rglob("*.mcap")
    from recorder.reader import open_log

    def told(found):
        by_rules = [e for e in found if e.source.startswith("rules.")]
        return [
            (e.time.aligned_ns, e.kind, getattr(e.body, "state", None), getattr(e.body, "code", None), e.attempt)
            for e in by_rules
        ]

    with open_log(demo.log) as log:
        whole = log.time_range
    with open_log(made) as log:
        again = told(log.events())
        assert whole[0] <= log.time_range[0] and log.time_range[1] <= whole[1] + 10**9, "none of this machine's clock"
    assert told(events) == again
    assert again


def test_without_ros_the_leg_goes_to_the_hub_and_the_demo_says_so(tmp_path):
    need_engine()
    done = run_dari("demo", "--seconds", "10", "--no-ros", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "without DDS" in done.stderr
    assert "/testbed/arm/joint_states" in done.stdout


def test_where_there_is_no_engine_it_says_what_to_do(tmp_path):
    # The real absence: a Python that can not find pybullet, since its path leaves it out.
    code = (
        "import sys; sys.modules['pybullet'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pybullet' else find(name, *a)\n"
        "from bridge.cli import main; sys.exit(main(['demo', '--seconds', '6']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 5
    assert "pybullet" in done.stderr and "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_too_short_to_show_anything_is_refused(tmp_path):
    done = run_dari("demo", "--seconds", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert not (tmp_path / "demo").exists()
    assert Path(tmp_path).is_dir()
