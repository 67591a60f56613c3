"""What to do after a failure: a rule for each observed code, with the alternatives that it rejects.

The rule sees the observed code, the skill that failed and what the job has tried so far; never what was injected.
"""

from __future__ import annotations

from typing import NamedTuple

from bridge.schema import Change, ChannelWindow, Decision, FailureCode, Option, Reason, Strategy
from twin.cell import Cell
from twin.jobstate import JobState
from twin.journal import RECOVERY

Code = FailureCode


class Repair(NamedTuple):
    """A correction to make: what changes, and the skill from which the job goes on. `clear` says how to get away first."""

    option: str
    strategy: Strategy
    resume: str
    clear: str
    reason: str
    changes: tuple[Change, ...] = ()
    rejected: tuple[tuple[str, str, str], ...] = ()


def choose_repair(
    cell: Cell, job: JobState, skill: str, code: FailureCode, inputs: tuple[ChannelWindow, ...]
) -> tuple[Decision, Repair | None]:
    """Decide what to do about a failure; no repair when the job has had its corrections, or nothing is known to help."""
    repair = _repair(cell, job, skill, code)
    left = cell.limits.corrections - job.corrections
    give_up = ("give_up", "give the job up", "a repair is known, and not all of the job's corrections are used")
    options: list[Option] = []
    if repair is not None:
        why = "" if left > 0 else f"the job has had its {cell.limits.corrections} corrections"
        options.append(Option(id=repair.option, label=repair.reason, score=1.0, rejected_because=why))
        options += [
            Option(id=name, label=label, score=0.0, rejected_because=why) for name, label, why in repair.rejected
        ]
    chosen = repair if left > 0 else None
    options.append(Option(id=give_up[0], label=give_up[1], score=0.1, rejected_because=give_up[2] if chosen else ""))
    reason = (
        Reason(code=f"after_{code.value}", text=chosen.reason)
        if chosen is not None
        else Reason(code="no_repair_left", text=options[0].rejected_because or "nothing is known to help")
    )
    decision = Decision(
        question=f"what to do after {code.value} in {skill}",
        options=tuple(options),
        chosen=chosen.option if chosen is not None else give_up[0],
        reason=reason,
        decider=RECOVERY,
        inputs=inputs,
    )
    return decision, chosen


def _repair(cell: Cell, job: JobState, skill: str, code: FailureCode) -> Repair | None:
    if code in (Code.PART_MISSING, Code.PERCEPTION_MISS, Code.PLACE_DROPPED):
        return _next_part(cell, job, skill, code)
    if code is Code.PART_DEFECTIVE:
        return Repair(
            option="skip_part",
            strategy=Strategy.SKIP,
            resume="locate",
            clear="up_and_index",
            reason="let this part pass, and take the next one",
            changes=(Change(path="belt.places", before=job.places, after=job.places + 1),),
            rejected=(("regrasp", "grip it again", "it would have the same size"),),
        )
    if (
        code is Code.PERCEPTION_POSE_ERROR
        or code is Code.GRASP_MISS
        or (code is Code.MOTION_COLLISION and skill == "approach")
    ):
        return _redetect(job, code)
    if code in (Code.GRASP_SLIP, Code.GRASP_WEAK):
        return _more_force(cell, job, skill, code)
    if code is Code.MOTION_COLLISION and skill == "avoid":
        return Repair(
            option="replan",
            strategy=Strategy.REPLAN,
            resume="avoid",
            clear="back",
            reason="go back, and choose another way around the place where it was felt",
            changes=(Change(path="way", before=job.way, after=None),),
            rejected=(("same_way", "try the same way again", "what was felt there would still be there"),),
        )
    if code is Code.MOTION_COLLISION and skill in ("retreat", "home"):
        return Repair(
            option="over_it",
            strategy=Strategy.REPLAN,
            resume=skill,
            clear="halt",
            reason="rise first, then go over what was felt",
            changes=(Change(path="home.rise", before=False, after=True),),
            rejected=(("same_way", "try the same way again", "what was felt there would still be there"),),
        )
    if code is Code.MOTION_COLLISION and skill == "place":
        return Repair(
            option="release_here",
            strategy=Strategy.REPARAMETERISE,
            resume="place",
            clear="halt",
            reason="the part stands on something already: let go here, and look",
            changes=(Change(path="place.stop_at_contact", before=False, after=True),),
            rejected=(("push", "press on", "the force would grow"),),
        )
    if code is Code.MOTION_TIMEOUT:
        return Repair(
            option="slower",
            strategy=Strategy.REPARAMETERISE,
            resume=skill,
            clear="settle",
            reason="the arm could not follow: move at half the speed",
            changes=(Change(path="motion.speed", before=job.speed, after=round(job.speed / 2, 3)),),
            rejected=(("same_speed", "go on at the same speed", "the arm would fall behind again"),),
        )
    if code is Code.PLACE_MISALIGNED:
        return Repair(
            option="place_again",
            strategy=Strategy.REGRASP,
            resume="approach",
            clear="none",
            reason="grip it where the fixture's camera sees it, and place it again",
            changes=(Change(path="part.camera", before=job.camera, after="fixture"),),
            rejected=(("push", "push it into the nest", "it may tilt on the wall"),),
        )
    return None


def _next_part(cell: Cell, job: JobState, skill: str, code: FailureCode) -> Repair | None:
    if job.places >= cell.belt.places:
        return None
    where = "from the belt" if skill == "locate" else "since the part is lost"
    return Repair(
        option="index_and_look",
        strategy=Strategy.REDETECT,
        resume="locate",
        clear="index" if skill == "locate" else "home_and_index",
        reason=f"bring the next part {where}, and look again",
        changes=(Change(path="belt.places", before=job.places, after=job.places + 1),),
        rejected=(("look_again", "look again at the same place", f"{code.value} would be seen again"),),
    )


def _redetect(job: JobState, code: FailureCode) -> Repair:
    return Repair(
        option="look_closer",
        strategy=Strategy.REDETECT,
        resume="locate",
        clear="up",
        reason="look with the camera at the wrist, from close by",
        changes=(Change(path="part.camera", before=job.camera, after="wrist"),),
        rejected=(
            ("same_pose", "grip again at the same pose", f"{code.value} says that the part is not where it was seen"),
            ("more_force", "grip harder", "force does not move the fingers to the part"),
        ),
    )


def _more_force(cell: Cell, job: JobState, skill: str, code: FailureCode) -> Repair | None:
    force = round(min(cell.gripper.force_max_n, job.force + 15.0 if job.force < 15.0 else job.force * 1.6), 3)
    if force <= job.force:
        return None
    in_place = code is Code.GRASP_WEAK
    on_the_way = skill != "grasp"
    return Repair(
        option="more_force",
        strategy=Strategy.REPARAMETERISE if in_place else Strategy.REGRASP,
        resume="grasp" if in_place else "locate",
        clear="none" if in_place else ("back_and_open" if on_the_way else "up"),
        reason=f"grip with {force:g} N in place of {job.force:g} N",
        changes=(Change(path="grasp.force_n", before=job.force, after=force),),
        rejected=(
            ("same_force", "grip again as before", f"{code.value} at {job.force:g} N would come again"),
            ("slower", "lift more slowly", "the part's weight alone needs the friction"),
        ),
    )
