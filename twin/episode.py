"""One episode: one scene, one job (pick from the belt, avoid what stands between, place in the fixture, verify), told whole.

`python -m twin.episode --seed 1 --episodes 5` runs some as fast as they go, and prints what happened.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from math import cos, pi, sin
from typing import NamedTuple
from uuid import UUID

import msgspec

from bridge.errors import DariError
from bridge.schema import (
    Boundary,
    Change,
    ChannelWindow,
    Episode,
    Evidence,
    Failure,
    FailureCode,
    Measure,
    Parameters,
    Result,
    State,
    Verb,
)
from twin.cell import Cell, Vector, cell_path, load_cell
from twin.control import Controller, Stopped, Tripped
from twin.decisions import Way, point_on
from twin.detectors import Finding, Monitor, Thresholds, guards_for
from twin.engine import Engine, Solid, make_engine
from twin.faults import FaultOptions, Injection, draw
from twin.jobstate import JobState
from twin.journal import Journal, OpenTask
from twin.output import MemoryOutput, Output
from twin.perception import Perception
from twin.recovery import choose_repair
from twin.scene import build, draw_scene
from twin.skills import GRAVITY, Skills
from twin.streams import stream

BUILD = "twin/1"
JOB_VERB = "com.dari.pick_place"


class Outcome(NamedTuple):
    """What an episode came to: `reason` is `placed`, `given_up` or `stopped`; `steps` is the clock at its end."""

    reason: str
    injected: str | None
    observed: tuple[str, ...]
    corrections: int
    place_error_mm: float | None
    steps: int


def thresholds(cell: Cell) -> Thresholds:
    """What the detectors of a cell compare with."""
    limits, gripper = cell.limits, cell.gripper
    return Thresholds(
        contact_n=limits.contact_n,
        tracking_rad=limits.tracking_rad,
        miss_width_m=limits.miss_width_m,
        width_tolerance_m=limits.width_tolerance_m,
        hold_fraction=limits.hold_fraction,
        grip_fraction=limits.grip_fraction,
        scatter_m=limits.scatter_m,
        place_tolerance_m=cell.fixture.tolerance,
        part_width_m=cell.part.edge,
        grip_need_n=gripper.force_n,
        hand_weight_n=gripper.mass * GRAVITY,
        opening_m=gripper.opening,
        frames=cell.sensors.frames,
    )


class EpisodeRun:
    """Runs one episode in an engine that is rebuilt for it.

    Args:
        engine: the world.
        cell: the cell.
        data_set: the seeds' name: with `number` it fixes every draw.
        number: the episode, from 0.
        faults: which faults, and how often.
        out: where samples and events go.
        start_step: the twin's clock, in steps of 1/240 s.
        name: parts that name the episode in ids; the number alone if empty.
        seed: the number behind the data set's name, where it has one: only told, never used.
    """

    def __init__(
        self,
        engine: Engine,
        cell: Cell,
        data_set: str,
        number: int,
        faults: FaultOptions,
        out: Output,
        start_step: int,
        name: tuple[object, ...] = (),
        seed: int | None = None,
    ) -> None:
        self._engine = engine
        self._seed = seed
        self._cell = cell
        self._number = number
        self._injection: Injection | None = draw(faults, data_set, number)
        self._scene = draw_scene(cell, data_set, number, self._injection)
        engine.rebuild(build(cell, self._scene))
        if self._injection is not None and self._injection.kind == "weak_grip":
            engine.limit_grip(self._injection.size["share_of_force"])
        if self._injection is not None and self._injection.kind == "slow_joint":
            engine.limit_joint(0, self._injection.size["speed_rad_s"])
        parts = [part.name for part in self._scene.parts]
        noise = stream(data_set, number, "noise")
        perception = Perception(cell, engine, parts, noise, self._injection)
        self._control = Controller(engine, perception, out, cell, start_step)
        self._limits = thresholds(cell)
        self._journal = Journal(out, name or (number,), self._control.now, self._injection)
        self._job = JobState(force=cell.gripper.force_n)
        self._skills = Skills(cell, self._control, engine.kinematics, self._journal, self._job, self._entering)
        self._out = out
        self._live: OpenTask | None = None
        self._obstructed = False

    def run(self) -> Outcome:
        """Run it to its end, or until the output asks to stop; every event of it is written when this returns."""
        self._boundary(Boundary.BEGIN, "", None)
        start = self._control.now()
        part = self._cell.part
        job = self._journal.begin(
            "job",
            JOB_VERB,
            Parameters(object_id="part", object_class=part.object_class, free={"cell": self._cell.name}),
            base=Verb.MOVE,
        )
        try:
            reason = self._work(job)
            if reason == "placed":
                cycle = (self._control.now() - start) / 1e9
                self._journal.measure(job, Measure(name="cycle.time", value=cycle, unit="s"))
                self._journal.step(job, State.SUCCEEDED)
        except Stopped:
            reason = "stopped"
            if self._live is not None:
                self._journal.cancel(self._live, "the twin was asked to stop")
            self._journal.cancel(job, "the twin was asked to stop")
        self._boundary(Boundary.END, reason, 0 if reason == "placed" else 1)
        return Outcome(
            reason=reason,
            injected=None if self._injection is None else self._injection.kind,
            observed=tuple(self._journal.observed),
            corrections=self._job.corrections,
            place_error_mm=self._job.place_error_mm,
            steps=self._control.steps,
        )

    def _work(self, job: OpenTask) -> str:
        place = 0
        order = self._skills.order
        again = ""
        while place < len(order):
            skill = order[place]
            if skill == "avoid" and again != skill and self._skills.over_nest():
                place += 1
                continue
            failed = self._attempt(job, skill)
            if failed is None:
                place += 1
                continue
            resume = self._recover(job, skill, *failed)
            if resume is None:
                return "given_up"
            place, again = order.index(resume), skill
        return "placed"

    def _attempt(self, job: OpenTask, skill: str) -> tuple[UUID, Failure] | None:
        """Run a skill once. None if it succeeded, else its failure's id and body."""
        entry = self._skills[skill]
        self._control.monitor = None
        plan = entry.plan()
        task = self._journal.begin(
            skill, entry.verb, plan.parameters, base=entry.base, parent=job, decisions=plan.decisions
        )
        self._live = task
        self._skills.measures.clear()
        if not plan.feasible:
            inputs = plan.decisions[0].inputs if plan.decisions else ()
            return self._infeasible(task, skill, inputs)
        self._control.monitor = Monitor(guards_for(skill, plan.parameters.free, self._limits), self._control.now())
        try:
            entry.act()
            self._control.finish()
        except Tripped as tripped:
            self._control.monitor = None
            self._measures(task)
            failure = self._journal.failure(task, tripped.finding, skill, retriable=True)
            self._journal.step(task, State.FAILED)
            self._live = None
            self._felt(skill, tripped.finding)
            for correction in [c for c in self._journal.corrections if c.skill == skill]:
                self._journal.complete(job, correction, Result.NONE, task)
            return failure
        self._control.monitor = None
        self._measures(task)
        self._journal.step(task, State.SUCCEEDED)
        self._live = None
        for correction in [c for c in self._journal.corrections if c.skill == skill]:
            self._journal.complete(job, correction, Result.REPAIRED, task)
        return None

    def _infeasible(self, task: OpenTask, skill: str, inputs: tuple[ChannelWindow, ...]) -> tuple[UUID, Failure]:
        """The planner found nothing: what it looked at is the evidence, if it looked at anything."""
        evidence = tuple(
            Evidence(
                channel=seen.channel,
                window=seen.window,
                predicate="count(pose.position.x) > 0",
                field="pose.position.x",
                value=1.0,
                threshold=0.0,
                unit="1",
            )
            for seen in inputs
        )
        failure = Failure(
            code=FailureCode.PLAN_INFEASIBLE if evidence else FailureCode.UNKNOWN,
            detected_by=f"twin.decisions.{skill}",
            evidence=evidence,
            retriable=False,
        )
        identity = self._journal.told(task, failure)
        self._journal.step(task, State.FAILED)
        self._live = None
        return identity, failure

    def _recover(self, job: OpenTask, skill: str, failure: UUID, body: Failure) -> str | None:
        """Decide on a repair and get clear; the skill to go on from, or None when the job is given up."""
        journal, state = self._journal, self._job
        journal.step(job, State.RECOVERING)
        inputs = tuple(ChannelWindow(channel=e.channel, window=e.window, field=e.field) for e in body.evidence)
        decision, repair = choose_repair(self._cell, state, skill, body.code, inputs)
        journal.decide(decision, job, failure)
        if repair is None:
            for correction in list(journal.corrections):
                journal.complete(job, correction, Result.NONE, None)
            journal.given_up(job, body, failure)
            journal.step(job, State.FAILED)
            return None
        state.corrections += 1
        journal.correct(job, failure, skill, repair.strategy, repair.changes)
        self._adopt(repair.changes)
        self._skills.clear(repair.clear)
        journal.step(job, State.RUNNING)
        return repair.resume

    def _adopt(self, changes: tuple[Change, ...]) -> None:
        """What a correction changes in what the job will do."""
        for change in changes:
            if change.path == "grasp.force_n":
                self._job.force = float(change.after)
                self._job.camera = "wrist"
            elif change.path == "part.camera":
                self._job.camera = str(change.after)
            elif change.path == "motion.speed":
                self._job.speed = float(change.after)
            elif change.path == "place.stop_at_contact":
                self._job.stop_at_contact = True

    def _felt(self, skill: str, finding: Finding) -> None:
        """Remember where something was felt on the way: beside the tool, in the direction in which it moved."""
        if skill not in ("avoid", "retreat", "home") or finding.guard.code is not FailureCode.MOTION_COLLISION:
            return
        self._job.felt.append(self._skills.felt_obstacle(len(self._job.felt) + 1))

    def _entering(self, way: Way, begin: Vector, end: Vector) -> None:
        """The arm sets out: an injected obstacle comes to stand on the way, once."""
        fault = self._injection
        if fault is None or fault.kind != "obstacle" or self._obstructed:
            return
        self._obstructed = True
        (x, y, z), direction = point_on(begin, end, way.via, fault.size["along"])
        top = z + fault.size["rise_m"]
        side = direction + pi / 2
        aside = fault.size["aside_m"]
        self._engine.add(
            Solid(
                name="obstacle",
                shape="box",
                size=(fault.size["thickness_m"], 0.08, top),
                position=(x + aside * cos(side), y + aside * sin(side), top / 2),
                yaw=direction,
            )
        )

    def _measures(self, task: OpenTask) -> None:
        for measure in self._skills.measures:
            self._journal.measure(task, measure)
        self._skills.measures.clear()

    def _boundary(self, boundary: Boundary, reason: str, status: int | None) -> None:
        ext: dict[str, object] = {"episode": self._number, "cell": self._cell.name}
        if boundary is Boundary.BEGIN:
            ext["thresholds"] = msgspec.to_builtins(self._limits)
        else:
            ext["injected"] = None if self._injection is None else self._injection.record()
            ext["observed"] = list(self._journal.observed)
            ext["effect"] = bool(self._journal.observed)
            ext["corrections"] = self._job.corrections
        body = Episode(
            boundary=boundary,
            seed=self._seed,
            twin_build=f"{BUILD} {self._engine.name}",
            drawn=self._scene.record(),
            exit_status=status,
            reason=reason,
        )
        self._journal.event(body, ext=ext)


def run_episodes(
    engine: Engine,
    cell: Cell,
    seed: int,
    faults: FaultOptions,
    out: Output,
    *,
    first: int = 0,
    episodes: int | None = None,
    start_step: int = 0,
    name: tuple[object, ...] = (),
) -> Iterator[Outcome]:
    """Run episodes one after another on one clock, and yield each one's outcome; for ever if `episodes` is None."""
    data_set, steps, number = f"seed-{seed}", start_step, first
    while not out.stopping() and (episodes is None or number < first + episodes):
        run = EpisodeRun(engine, cell, data_set, number, faults, out, steps, (*name, number), seed)
        outcome = run.run()
        yield outcome
        steps, number = outcome.steps, number + 1


def main(arguments: list[str] | None = None) -> int:
    """Run episodes as fast as they go, and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m twin.episode", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--cell", default="panda_belt", help="a shipped cell's name, or a path to a .yaml")
    parser.add_argument("--faults", default=",".join(FaultOptions().kinds), help="kinds, separated by commas")
    parser.add_argument("--rate", type=float, default=FaultOptions().rate, help="share of episodes with a fault")
    given = parser.parse_args(arguments)
    try:
        kinds = [kind for kind in given.faults.split(",") if kind]
        faults = msgspec.convert({"rate": given.rate, "kinds": kinds}, FaultOptions)
        cell = load_cell(cell_path(given.cell))
        engine = make_engine("pybullet", cell.robot)
    except (DariError, msgspec.ValidationError) as error:
        print(error, file=sys.stderr)
        return getattr(error, "exit_code", 2)
    before = 0
    print(f"{'episode':>7}  {'outcome':<9} {'s':>5} {'CPU s':>6} {'mm':>5}  {'injected':<14} observed")
    clock = time.process_time()
    for number, outcome in enumerate(
        run_episodes(engine, cell, given.seed, faults, MemoryOutput(f"seed-{given.seed}"), episodes=given.episodes)
    ):
        cpu, clock = time.process_time() - clock, time.process_time()
        seconds, before = (outcome.steps - before) / 240, outcome.steps
        error_mm = "-" if outcome.place_error_mm is None else f"{outcome.place_error_mm:.1f}"
        observed = ", ".join(outcome.observed) or ("no effect" if outcome.injected else "-")
        print(
            f"{number:>7}  {outcome.reason:<9} {seconds:>5.1f} {cpu:>6.2f} {error_mm:>5}  "
            f"{outcome.injected or '-':<14} {observed}"
        )
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
