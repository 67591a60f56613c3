"""The stand-in's parts by themselves: clocks, kinematics, draws, the PLC's program, the job's program."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.testbed.clock import SkewedClock
from twin.testbed.draws import Fault, JobDraw, jobs
from twin.testbed.kinematics import LOWER, UPPER, Trapezoid, UnreachableError, downward, forward, inverse
from twin.testbed.plc import Image, Plc
from twin.testbed.ports import PortTakenError, claim
from twin.testbed.program import FIRST_FORCE, SECOND_FORCE, Program, Stopped
from twin.testbed.robot import Skill

HOME = np.array([-0.3, 0.1, 0.0, -2.1, 0.0, 2.2, 0.5])


def test_clock_shows_skew_drift_and_quantum() -> None:
    clock = SkewedClock(name="c", wall0_ns=10**18, monotonic0_ns=500, skew_ns=-7_000, drift_ppm=50.0, quantum_ns=1_000)
    assert clock.at(500) == 10**18 - 7_000
    assert clock.at(500 + 10**9) == 10**18 - 7_000 + 10**9 + 50_000
    assert clock.at(500 + 1_999) == 10**18 - 7_000 + 1_000


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_clock_never_runs_backwards(a: int, b: int) -> None:
    clock = SkewedClock(name="c", wall0_ns=10**18, monotonic0_ns=0, drift_ppm=-80.0, quantum_ns=1_000_000)
    early, late = sorted((a, b))
    assert clock.at(early) <= clock.at(late)


def test_forward_kinematics_agree_with_the_engine() -> None:
    import pybullet
    import pybullet_data

    world = pybullet.connect(pybullet.DIRECT)
    try:
        arm = pybullet.loadURDF(f"{pybullet_data.getDataPath()}/franka_panda/panda.urdf", useFixedBase=True)
        rng = np.random.default_rng(4)
        for _ in range(20):
            q = rng.uniform(LOWER, UPPER)
            for joint in range(7):
                pybullet.resetJointState(arm, joint, q[joint], physicsClientId=world)
            link = pybullet.getLinkState(arm, 11, computeForwardKinematics=True, physicsClientId=world)
            pose, _ = forward(q)
            assert np.abs(pose[:3, 3] - link[4]).max() < 1e-6
            rotation = np.array(pybullet.getMatrixFromQuaternion(link[5])).reshape(3, 3)
            assert np.abs(pose[:3, :3] - rotation).max() < 1e-6
    finally:
        pybullet.disconnect(world)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.4, 0.6), st.floats(-0.4, 0.4), st.floats(0.03, 0.25), st.floats(-0.7, 0.7))
def test_inverse_kinematics_reach_the_pose_within_the_limits(x: float, y: float, z: float, yaw: float) -> None:
    q = inverse(np.array([x, y, z]), downward(yaw), HOME)
    pose, _ = forward(q)
    assert np.abs(pose[:3, 3] - [x, y, z]).max() < 1e-3
    assert np.abs(pose[:3, :3] - downward(yaw)).max() < 0.02
    assert (q >= LOWER).all() and (q <= UPPER).all()


def test_inverse_kinematics_say_what_can_not_be_reached() -> None:
    with pytest.raises(UnreachableError, match=r"2\.0"):
        inverse(np.array([2.0, 0.0, 0.1]), downward(0.0), HOME)


@given(st.lists(st.floats(-2.0, 2.0), min_size=7, max_size=7), st.floats(0.3, 3.0), st.floats(1.0, 12.0))
def test_motion_law_keeps_its_bounds_and_arrives(way: list[float], speed: float, acceleration: float) -> None:
    goal = HOME + np.array(way)
    law = Trapezoid(HOME, goal, speed=speed, acceleration=acceleration)
    times = np.linspace(0.0, law.duration, 200)
    positions = np.array([law.at(t)[0] for t in times])
    velocities = np.array([law.at(t)[1] for t in times])
    assert np.allclose(positions[0], HOME) and np.allclose(law.at(law.duration + 1.0)[0], goal)
    assert np.abs(velocities).max(initial=0.0) <= speed + 1e-9
    steps = np.diff(times)[:, None]
    assert np.allclose(np.diff(positions, axis=0), (velocities[1:] + velocities[:-1]) / 2 * steps, atol=1e-2)


def test_draws_depend_on_the_seed_alone() -> None:
    first, again, other = (list(itertools.islice(jobs(seed), 40)) for seed in (7, 7, 8))
    assert first == again
    assert [draw.fault for draw in first] != [draw.fault for draw in other]
    assert [draw.part_mass for draw in first] != [draw.part_mass for draw in other]


@pytest.mark.parametrize("seed", range(8))
def test_every_five_jobs_meet_every_fault_once(seed: int) -> None:
    drawn = list(itertools.islice(jobs(seed), 20))
    for first in range(0, 20, 5):
        block = drawn[first : first + 5]
        counted = Counter(draw.fault for draw in block)
        assert counted == {Fault.NONE: 2, Fault.SLIPPERY: 1, Fault.MISSING: 1, Fault.BRAKE: 1}


def image(at: float, **changes: object) -> Image:
    plain: dict[str, object] = {
        "monotonic_ns": round(at * 1e9),
        "serial": 1,
        "started": 0,
        "done": 0,
        "retried": 0,
        "abandoned": 0,
        "grip_output": False,
        "grip_ok": False,
        "part_present": False,
        "fault": "",
        "belt": 0.0,
        "power": 100.0,
        "vibration": 0.0,
        "weight": 0.0,
    }
    return Image(**{**plain, **changes})  # type: ignore[arg-type]


def test_plc_pulses_last_long_enough_to_be_sampled() -> None:
    plc = Plc()
    plc.scan(image(0.0), 0.0)
    # The serial number is in place one cycle before the pulse that announces it.
    changed = plc.scan(image(0.008, started=1, serial=7), 0.008)
    assert changed["Cell.Serial"] == 7 and "Cell.CycleStart" not in changed
    assert plc.scan(image(0.016, started=1, serial=7), 0.016)["Cell.CycleStart"] is True
    assert "Cell.CycleStart" not in plc.scan(image(0.1, started=1, serial=7), 0.1)
    assert plc.scan(image(0.216, started=1, serial=7), 0.216)["Cell.CycleStart"] is False


@pytest.mark.parametrize(
    ("fault", "present", "code"),
    [
        ("nothing gripped", True, 11),
        ("nothing gripped", False, 21),
        ("grip lost", True, 12),
        ("following error", False, 31),
        ("something else", False, 90),
    ],
)
def test_plc_latches_an_alarm_until_the_retry(fault: str, present: bool, code: int) -> None:
    plc = Plc()
    plc.scan(image(0.0, started=1), 0.0)
    changed = plc.scan(image(0.01, started=1, fault=fault, part_present=present), 0.01)
    assert changed["Cell.AlarmCode"] == code
    # The eye changes its mind, the alarm does not; the robot forgets its fault, the alarm stays.
    assert "Cell.AlarmCode" not in plc.scan(image(0.02, started=1, fault=fault, part_present=not present), 0.02)
    assert "Cell.AlarmCode" not in plc.scan(image(0.03, started=1), 0.03)
    assert plc.scan(image(0.04, started=1, retried=1), 0.04)["Cell.AlarmCode"] == 0
    assert plc.scan(image(0.05, started=1, retried=1), 0.05)["Cell.Retry"] is True


def test_plc_latches_a_grip_until_the_output_goes() -> None:
    plc = Plc()
    plc.scan(image(0.0), 0.0)
    steps = [(True, False), (True, True), (True, False), (False, False)]
    latched = []
    for number, (output, ok) in enumerate(steps, 1):
        plc.scan(image(number * 0.008, grip_output=output, grip_ok=ok), number * 0.008)
        latched.append(plc.tags["Cell.Gripped"])
    assert latched == [False, True, True, False]


def test_plc_counts_energy() -> None:
    plc = Plc()
    plc.scan(image(0.0, power=200.0), 0.0)
    plc.scan(image(2.0, power=200.0), 2.0)
    assert plc.energy_j == pytest.approx(400.0)


class ScriptedCell:
    """Robot and bench in one: skills end as the script says, in order; then the stand-in stops."""

    def __init__(self, script: list[bool], *, holding: bool = True, seen: bool = True) -> None:
        self.script = script
        self.sent: list[tuple[Skill, int]] = []
        self.did: list[str] = []
        self._holding, self._seen = holding, seen

    def send(self, skill: Skill, order: int) -> bool:
        if not self.script:
            raise Stopped
        self.sent.append((skill, order))
        return self.script.pop(0)

    def feed(self, draw: JobDraw) -> None:
        self.did.append("feed")

    def take(self) -> None:
        self.did.append("take")

    def accept(self) -> None:
        self.did.append("accept")

    def wipe(self) -> None:
        self.did.append("wipe")

    def part_seen(self) -> bool:
        return self._seen

    def holding(self) -> bool:
        return self._holding

    def inject(self, draw: JobDraw) -> None:
        pass

    def count(self, what: str, serial: int) -> None:
        self.did.append(what)

    def note(self, kind: str, **fields: object) -> None:
        pass

    def pause(self, seconds: float) -> None:
        pass


def test_program_sends_a_failed_grasp_again_with_more_force() -> None:
    cell = ScriptedCell([True, False, True, True, True])
    Program(cell, cell, 1).run()
    assert [order for skill, order in cell.sent if skill is Skill.GRASP] == [FIRST_FORCE, SECOND_FORCE]
    assert [d for d in cell.did if d != "feed"][:5] == ["started", "retried", "take", "accept", "done"]


def test_program_gives_a_job_up_after_three_failures() -> None:
    cell = ScriptedCell([True, False, False, False, True])
    Program(cell, cell, 1).run()
    assert cell.did.count("abandoned") == 1 and cell.did.count("retried") == 2
    assert cell.did[cell.did.index("abandoned") + 1 :].count("started") == 1


def test_program_gives_a_job_up_when_the_part_was_dropped_on_the_way() -> None:
    cell = ScriptedCell([True, True, False], holding=False)
    Program(cell, cell, 1).run()
    assert "abandoned" in cell.did and "retried" not in cell.did and "wipe" in cell.did


def test_program_has_the_feeder_feed_again_when_no_part_is_seen() -> None:
    cell = ScriptedCell([True, False], seen=False)
    Program(cell, cell, 1).run()
    assert cell.did[-2:] == ["feed", "retried"]


def test_a_taken_port_is_said_with_the_option_to_change() -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match="is taken") as caught:
            claim(port, "--opcua-port")
        assert "--opcua-port" in str(caught.value)
    assert claim(port, "--opcua-port") == port


def test_a_request_is_never_left_waiting() -> None:
    """A goal that arrives while the stand-in stops must end, or the action server would hang for ever."""
    from twin.testbed.robot import Request
    from twin.testbed.standin import Standin
    from twin.testbed.truth import Truth

    clock = SkewedClock.start("joint", skew_ms=0.0, drift_ppm=0.0)
    stand = Standin(1, clock, Truth(None), lambda _image: None, threading.Event())
    waiting, late = Request(Skill.MOVE, 1), Request(Skill.MOVE, 2)
    stand.submit(waiting)
    begun = time.monotonic()
    stand.run([], lambda: time.monotonic() > begun + 0.1)
    stand.submit(late)
    assert waiting.wait().reason == "shutdown" and late.wait().reason == "shutdown"
