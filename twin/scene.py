"""The scene of one episode: what was drawn for it, and the world that this makes."""

from __future__ import annotations

from typing import Any

import msgspec

from twin.cell import Cell
from twin.engine import Solid, World
from twin.faults import Injection
from twin.streams import between, stream

BELT = "belt"
_WALLS = (("west", -1, 0), ("east", 1, 0), ("south", 0, -1), ("north", 0, 1))


class PartDraw(msgspec.Struct, frozen=True, kw_only=True):
    """One place on the belt: how far the part strays from it (m) and how it is turned (rad)."""

    name: str
    stray_x_m: float
    stray_y_m: float
    yaw_rad: float


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn for an episode: parts by place on the belt, how far posts stray, and the fault, if any."""

    parts: tuple[PartDraw, ...]
    posts: tuple[tuple[str, float, float], ...]
    injection: Injection | None

    def record(self) -> dict[str, Any]:
        """The drawn values with units in their keys, for the episode's `drawn`."""
        drawn: dict[str, Any] = {}
        for part in self.parts:
            drawn[part.name] = {"stray_x_m": part.stray_x_m, "stray_y_m": part.stray_y_m, "yaw_rad": part.yaw_rad}
        for name, x, y in self.posts:
            drawn[name] = {"stray_x_m": x, "stray_y_m": y}
        if self.injection is not None:
            drawn["fault"] = {"kind": self.injection.kind, **self.injection.size}
        return drawn


def draw_scene(cell: Cell, data_set: str, episode: int, injection: Injection | None) -> Scene:
    """Draw a scene from the episode's scene stream; the fault changes nothing in what is drawn."""
    generator = stream(data_set, episode, "scene")
    stray, yaw = cell.part.stray, cell.part.yaw
    parts = tuple(
        PartDraw(
            name=f"part{place + 1}",
            stray_x_m=round(between(generator, stray.low, stray.high), 6),
            stray_y_m=round(between(generator, stray.low, stray.high), 6),
            yaw_rad=round(between(generator, yaw.low, yaw.high), 6),
        )
        for place in range(cell.belt.places)
    )
    posts = tuple(
        (
            post.name,
            round(between(generator, post.stray.low, post.stray.high), 6),
            round(between(generator, post.stray.low, post.stray.high), 6),
        )
        for post in cell.posts
    )
    return Scene(parts=parts, posts=posts, injection=injection)


def build(cell: Cell, scene: Scene) -> World:
    """The world of a scene, with those faults in it that are there from the start."""
    fault = scene.injection
    friction = cell.gripper.friction
    if fault is not None and fault.kind == "slip":
        friction = fault.size["finger_friction"]
    belt = Solid(name=BELT, shape="box", size=cell.belt.size, position=cell.belt.centre, friction=cell.belt.friction)
    return World(
        robot=cell.robot,
        finger_friction=friction,
        opening=cell.gripper.opening,
        solids=(belt, *_parts(cell, scene), *_fixture(cell), *_posts(cell, scene)),
        belt=BELT,
    )


def _parts(cell: Cell, scene: Scene) -> list[Solid]:
    fault, belt = scene.injection, cell.belt
    solids = []
    for place, part in enumerate(scene.parts):
        edge, mass = cell.part.edge, cell.part.mass
        if place == 0 and fault is not None:
            if fault.kind == "missing_part":
                continue
            if fault.kind == "defective_part":
                edge, mass = edge * fault.size["scale"], mass * fault.size["scale"] ** 3
        # Places wait upstream of where they are picked: the belt brings each by one pitch.
        y = belt.pick[1] - (place + 1) * belt.pitch + part.stray_y_m
        position = (belt.pick[0] + part.stray_x_m, y, belt.top + edge / 2)
        size = (edge, edge, edge)
        solids.append(Solid(name=part.name, shape="box", size=size, position=position, yaw=part.yaw_rad, mass=mass))
    return solids


def _fixture(cell: Cell) -> list[Solid]:
    fixture = cell.fixture
    x, y = fixture.centre
    inner = cell.part.edge + 2 * fixture.clearance
    outer = inner + 2 * fixture.wall_width
    plate = Solid(
        name="fixture",
        shape="box",
        size=(outer, outer, fixture.height),
        position=(x, y, fixture.height / 2),
        friction=fixture.friction,
    )
    solids = [plate]
    for name, right, up in _WALLS:
        away = (inner + fixture.wall_width) / 2
        size = (
            fixture.wall_width if right else outer,
            fixture.wall_width if up else inner,
            fixture.wall_height,
        )
        position = (x + right * away, y + up * away, fixture.height + fixture.wall_height / 2)
        solids.append(
            Solid(name=f"fixture_{name}", shape="box", size=size, position=position, friction=fixture.friction)
        )
    return solids


def _posts(cell: Cell, scene: Scene) -> list[Solid]:
    strays = {name: (x, y) for name, x, y in scene.posts}
    solids = []
    for post in cell.posts:
        x, y = strays[post.name]
        position = (post.centre[0] + x, post.centre[1] + y, post.height / 2)
        size = (2 * post.radius, 2 * post.radius, post.height)
        solids.append(Solid(name=post.name, shape="cylinder", size=size, position=position))
    return solids
