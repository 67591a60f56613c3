"""Decisions: which grasp, and which way round what stands in between. Each lists what could have been chosen, and why not.

They know what was perceived, the arm's kinematics and the cell; nothing of what was injected.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from bridge.schema import ChannelWindow, Decider, DeciderKind, Decision, Option, Reason
from twin.cell import Cell, Vector, Via
from twin.engine import Kinematics
from twin.perception import fold

GRASP_PLANNER = Decider(kind=DeciderKind.PLANNER, name="twin.grasp_planner", version="1")
WAY_PLANNER = Decider(kind=DeciderKind.PLANNER, name="twin.way_planner", version="1")

HAND_RADIUS = 0.11
"""The hand is 0.2 m wide along its fingers' motion: the radius, m, of the upright cylinder that it sweeps."""
PART_BELOW = 0.03
"""How far finger tips and part reach below the tool's point, m."""
_WRIST_LIMIT = 2.8
_WRIST_MARGIN = 0.35
_SAMPLES = 12


class Obstacle(NamedTuple):
    """An upright cylinder that is known or believed to stand in the cell: m."""

    name: str
    centre: tuple[float, float]
    radius: float
    height: float


class Grasp(NamedTuple):
    """A grasp from above: the hand's turn (rad), and the joints over and at the part."""

    id: str
    yaw: float
    hover: tuple[float, ...]
    low: tuple[float, ...]


class Way(NamedTuple):
    """A way to the fixture: joint waypoints after where the arm is."""

    via: Via
    waypoints: list[tuple[float, ...]]


def choose_grasp(
    cell: Cell,
    kinematics: Kinematics,
    position: Vector,
    yaw: float,
    seed: Sequence[float],
    inputs: tuple[ChannelWindow, ...],
) -> tuple[Decision, Grasp | None]:
    """Choose one of the four ways to grip a cube from above.

    Score: 1, less 0.4 for each half turn of the wrist from where it is, less up to 0.4 as the wrist comes near its limit.
    """
    scored: list[tuple[float, Grasp]] = []
    options: dict[str, Option] = {}
    for quarter in range(4):
        turn = _wrap(yaw + quarter * math.pi / 2)
        name, label = f"yaw{quarter * 90}", f"from above, hand turned by {math.degrees(turn):.0f} degrees"
        hover = kinematics.inverse((position[0], position[1], position[2] + cell.heights.hover), turn, seed)
        low = None if hover is None else kinematics.inverse(position, turn, hover)
        if hover is None or low is None:
            options[name] = Option(id=name, label=label, rejected_because="out of reach, or beyond a joint's limit")
            continue
        margin = _WRIST_LIMIT - abs(low[6])
        away = abs(low[6] - seed[6])
        score = 1.0 - 0.4 * away / math.pi - 0.4 * max(0.0, 1.0 - margin / 1.4)
        detail = {"wrist_turn_rad": round(away, 4), "wrist_margin_rad": round(margin, 4)}
        why = f"the wrist would be {margin:.2f} rad from its limit" if margin < _WRIST_MARGIN else ""
        options[name] = Option(id=name, label=label, score=round(score, 4), rejected_because=why, detail=detail)
        if not why:
            scored.append((round(score, 4), Grasp(name, turn, hover, low)))
    best = max(scored, key=lambda pair: (pair[0], pair[1].id)) if scored else None
    for name, option in options.items():
        if best is not None and name != best[1].id and not option.rejected_because and option.score is not None:
            why = f"scores {best[0] - option.score:.3f} less than {best[1].id}: more turn of the wrist, or nearer to its limit"
            options[name] = Option(
                id=name, label=option.label, score=option.score, rejected_because=why, detail=option.detail
            )
    if best is None:
        reason = Reason(code="none_feasible", text="every grasp is out of reach or too near to a joint's limit")
    else:
        reason = Reason(
            code="best_score", text=f"{options[best[1].id].label}: least turn of the wrist, far from its limit"
        )
    decision = Decision(
        question="which grasp",
        options=tuple(options.values()),
        chosen=None if best is None else best[1].id,
        reason=reason,
        decider=GRASP_PLANNER,
        inputs=inputs,
    )
    return decision, None if best is None else best[1]


def choose_way(
    cell: Cell,
    kinematics: Kinematics,
    start: Sequence[float],
    goal: Sequence[float],
    turns: tuple[float, float],
    obstacles: Sequence[Obstacle],
    inputs: tuple[ChannelWindow, ...],
) -> tuple[Decision, Way | None]:
    """Choose a way from where the arm is to over the fixture.

    Args:
        cell: the ways that there are.
        kinematics: the arm's.
        start: joints where the arm is.
        goal: joints over the fixture.
        turns: the hand's turn at both ends, rad.
        obstacles: what is known to stand there, and what was felt.
        inputs: where the obstacles were seen.

    Score: 1, less the way's length in metres, plus its clearance in metres, up to 0.1.
    """
    begin, end = kinematics.forward(start), kinematics.forward(goal)
    ways: dict[str, Way] = {}
    options: dict[str, Option] = {}
    for via in cell.ways:
        waypoints = _waypoints(kinematics, begin, end, via, turns, start)
        if waypoints is None:
            options[via.id] = Option(id=via.id, label=via.label, rejected_because="out of reach")
            continue
        line = _line(begin, end, via)
        length = sum(math.dist(a, b) for a, b in itertools.pairwise(line))
        space, nearest = _clearance(line, obstacles)
        score = round(1.0 - length + min(space, 0.1), 4)
        why = ""
        if space < cell.limits.clearance_m:
            why = f"clearance to {nearest} {space * 1000:.0f} mm, {cell.limits.clearance_m * 1000:.0f} mm are needed"
        detail = {"length_m": round(length, 4), "clearance_m": round(space, 4)}
        options[via.id] = Option(id=via.id, label=via.label, score=score, rejected_because=why, detail=detail)
        ways[via.id] = Way(via, [*waypoints, tuple(goal)])
    free = [option for option in options.values() if option.score is not None and not option.rejected_because]
    best = max(free, key=lambda option: (option.score or 0.0, option.id)) if free else None
    final = []
    for option in options.values():
        if best is not None and option is not best and not option.rejected_because and option.score is not None:
            why = f"scores {(best.score or 0.0) - option.score:.3f} less than {best.id}: longer, or closer to what stands there"
            option = Option(
                id=option.id, label=option.label, score=option.score, rejected_because=why, detail=option.detail
            )
        final.append(option)
    reason = (
        Reason(code="none_feasible", text="every way is blocked or out of reach")
        if best is None
        else Reason(code="best_score", text=f"{best.label}: the shortest way with enough clearance")
    )
    decision = Decision(
        question="which way to the fixture",
        options=tuple(final),
        chosen=None if best is None else best.id,
        reason=reason,
        decider=WAY_PLANNER,
        inputs=inputs,
    )
    return decision, None if best is None else ways[best.id]


def point_on(start: Vector, end: Vector, via: Via, share: float) -> tuple[Vector, float]:
    """The point at `share` (0..1) of a way's line, and its direction in the plane (rad)."""
    line = _line(start, end, via)
    place = min(len(line) - 2, int(share * (len(line) - 1)))
    a, b = line[place], line[place + 1]
    return a, math.atan2(b[1] - a[1], b[0] - a[0])


def _corners(begin: Vector, end: Vector, via: Via) -> list[Vector]:
    """The points between the ends through which a way goes."""
    half = (math.atan2(begin[1], begin[0]) + math.atan2(end[1], end[0])) / 2
    middle = (via.radius * math.cos(half), via.radius * math.sin(half), via.height)
    if not via.rise:
        return [middle]
    return [(begin[0], begin[1], via.height), middle, (end[0], end[1], via.height)]


def _waypoints(
    kinematics: Kinematics, begin: Vector, end: Vector, via: Via, turns: tuple[float, float], seed: Sequence[float]
) -> list[tuple[float, ...]] | None:
    """The joints at a way's corners, the hand turning as it goes; None if one is out of reach."""
    corners = _corners(begin, end, via)
    joints = []
    for number, corner in enumerate(corners, start=1):
        found = kinematics.inverse(corner, _mix(turns[0], turns[1], number / (len(corners) + 1)), seed)
        if found is None:
            return None
        joints.append(found)
    return joints


def _line(begin: Vector, end: Vector, via: Via) -> list[Vector]:
    """Points along a way: the arm swings, so radius, angle and height change between its corners; no kink in the middle."""
    points = [begin]
    stops = [begin, *_corners(begin, end, via), end]
    for place, (first, last) in enumerate(itertools.pairwise(stops)):
        for number in range(1, _SAMPLES + 1):
            u = number / _SAMPLES
            bow = u
            if not via.rise:
                bow = math.sin(u * math.pi / 2) if place == 0 else 1 - math.cos(u * math.pi / 2)
            radius = _mix(math.hypot(first[0], first[1]), math.hypot(last[0], last[1]), bow)
            angle = _mix(math.atan2(first[1], first[0]), math.atan2(last[1], last[0]), u)
            points.append((radius * math.cos(angle), radius * math.sin(angle), _mix(first[2], last[2], bow)))
    return points


def _clearance(line: Sequence[Vector], obstacles: Sequence[Obstacle]) -> tuple[float, str]:
    """The smallest distance between the swept hand and any obstacle (m), and that obstacle's name."""
    best, name = 1.0, "anything"
    for obstacle in obstacles:
        for x, y, z in line:
            beside = math.hypot(x - obstacle.centre[0], y - obstacle.centre[1]) - obstacle.radius - HAND_RADIUS
            above = z - PART_BELOW - obstacle.height
            space = max(beside, above)
            if space < best:
                best, name = space, obstacle.name
    return best, name


def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def nest_turn(grasp_yaw: float) -> float:
    """How the hand is turned when the part in it lies square in the nest: the quarter turn nearest to the grasp's, rad."""
    return grasp_yaw - fold(grasp_yaw)
