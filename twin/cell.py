"""A cell is data: a YAML file that names the robot, the belt, the parts, the fixture, what stands about, and the sensors.

Lengths in metres, angles in radians, masses in kilograms, forces in newtons, times in seconds; poses in the robot's base
frame (x forward, y left, z up). The file is strict: an unknown key is an error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from bridge.errors import DariError
from bridge.names import nearest

Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Friction = Annotated[
    float, Meta(ge=0.2, le=1.0, description="Coulomb coefficient; grasp physics is valid for 0.2 to 1.0")
]
Force = Annotated[
    float, Meta(gt=0.0, le=40.0, description="newtons; grasp physics is valid up to 40 N with light parts")
]
Vector = tuple[float, float, float]
Joints = tuple[float, float, float, float, float, float, float]

CELLS = Path(__file__).parent / "cells"


class CellError(DariError, ValueError):
    """A cell file that can not be meant; `where` names the file and the key. Exit code 3."""

    exit_code = 3


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a cell file: immutable, strict."""


class Range(Model, frozen=True, kw_only=True):
    """A uniform distribution from `low` to `high`, in the unit of what is drawn."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise ValueError(f"high ({self.high}) is below low ({self.low})")


class RobotModel(Model, frozen=True, kw_only=True):
    """The arm: a URDF (`pybullet_data:` looks in what comes with pybullet), where it rests, how fast it may move.

    `speed` and `acceleration` are fractions of the joints' limits, which are per joint in rad/s and rad/s^2.
    """

    model: str
    urdf: str
    home: Joints
    max_velocity: Joints
    max_acceleration: Joints
    max_torque: Joints
    speed: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8
    acceleration: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8


class GripperModel(Model, frozen=True, kw_only=True):
    """The parallel gripper: its opening, the mass of hand and fingers, the force of a job that knows nothing better.

    `friction` is that of the pair pad and part.
    """

    opening: Positive
    mass: Positive
    force_n: Force
    force_max_n: Force
    friction: Friction
    close_s: Positive
    open_s: Positive


class BeltModel(Model, frozen=True, kw_only=True):
    """An indexing belt along +y: it runs until the next part is due at `pick`, and stands while the robot works.

    `centre` and `size` are of the whole block; parts come at `pitch` metres from one another.
    """

    centre: Vector
    size: Vector
    pick: tuple[float, float]
    pitch: Positive
    speed: Positive
    friction: Friction
    places: Annotated[int, Meta(ge=1, le=8)] = 3

    @property
    def top(self) -> float:
        """Height of the belt's surface."""
        return self.centre[2] + self.size[2] / 2


class PartModel(Model, frozen=True, kw_only=True):
    """What is made here: a cube, its edge and mass, and how far a part strays from its place on the belt."""

    object_class: str
    edge: Positive
    mass: Positive
    stray: Range
    yaw: Range


class FixtureModel(Model, frozen=True, kw_only=True):
    """Where parts go: a plate with low walls around a nest that is `clearance` wider than the part on each side."""

    centre: tuple[float, float]
    height: Positive
    clearance: NotNegative
    wall_height: Positive
    wall_width: Positive
    tolerance: Positive
    friction: Friction


class Post(Model, frozen=True, kw_only=True):
    """Something that always stands in the cell, and that the scanner sees: an upright cylinder."""

    name: str
    centre: tuple[float, float]
    radius: Positive
    height: Positive
    stray: Range


class Via(Model, frozen=True, kw_only=True):
    """A way from belt to fixture: at half way the tool is at `radius` from the base's axis and at `height`.

    With `rise` the tool first goes straight up to that height, and straight down at the end; else it gets there as it swings.
    """

    id: str
    label: str
    radius: Positive
    height: Positive
    rise: bool = False


class CameraModel(Model, frozen=True, kw_only=True):
    """A camera that reports part poses: its channel, what it sees, its noise (one sigma, m and rad), and its frame.

    `reach` is half the side of the square that it sees, around `centre`; null follows the tool.
    """

    channel: str
    frame: str
    centre: tuple[float, float] | None = None
    reach: Positive
    noise_m: NotNegative
    noise_rad: NotNegative


class Sensors(Model, frozen=True, kw_only=True):
    """What the cell sees with. Frames a look and their spacing in control ticks (1/60 s) hold for every camera."""

    overhead: CameraModel
    wrist: CameraModel
    fixture: CameraModel
    frames: Annotated[int, Meta(ge=2, le=30)] = 4
    ticks_per_frame: Annotated[int, Meta(ge=1, le=60)] = 2


class Limits(Model, frozen=True, kw_only=True):
    """Thresholds of the detectors, in the units of what they read."""

    contact_n: Positive
    tracking_rad: Positive
    miss_width_m: Positive
    width_tolerance_m: Positive
    hold_fraction: Annotated[float, Meta(gt=0.0, lt=1.0)]
    grip_fraction: Annotated[float, Meta(gt=0.0, lt=1.0)]
    scatter_m: Positive
    clearance_m: Positive
    corrections: Annotated[int, Meta(ge=0, le=10)]


class Heights(Model, frozen=True, kw_only=True):
    """Heights of the tool over a part's centre before a grasp and after a lift, and over the nest at release."""

    hover: Positive
    release: NotNegative


class Cell(Model, frozen=True, kw_only=True):
    """A whole cell. `cell` is the version of this file's format."""

    cell: Annotated[int, Meta(ge=1, le=1)]
    name: str
    robot: RobotModel
    gripper: GripperModel
    belt: BeltModel
    part: PartModel
    fixture: FixtureModel
    posts: tuple[Post, ...]
    ways: tuple[Via, ...]
    sensors: Sensors
    heights: Heights
    limits: Limits


def cell_path(name: str, directory: str | Path = ".") -> Path:
    """The file of a cell: one that is shipped if `name` has no suffix, else a path against `directory`."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(directory) / name
    return CELLS / f"{name}.yaml"


@lru_cache(maxsize=16)
def load_cell(path: Path) -> Cell:
    """Read and check a cell file.

    Raises:
        CellError: the file is missing, is no YAML, or does not fit; names the key, and the one that was probably meant.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in CELLS.glob("*.yaml")))
        raise CellError(
            f"the cell can not be read: {error.strerror}",
            where=str(path),
            hint=f"shipped cells: {known}; or a path to a .yaml",
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CellError(
            f"this is no YAML: {error}", where=str(path), hint="mend the file at the place named"
        ) from error
    try:
        return msgspec.convert(data, type=Cell, strict=False)
    except msgspec.ValidationError as error:
        raise CellError(str(error), where=str(path), hint=_hint(str(error), data)) from error


def _hint(message: str, data: Any) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown:
        known = sorted({field for model in Model.__subclasses__() for field in model.__struct_fields__})
        meant = nearest(unknown.group(1), known)
        return f"did you mean `{meant}`?" if meant else "remove the key"
    return (
        "docs/explanation/twin.md says what a cell holds" if isinstance(data, dict) else "a cell is a mapping of keys"
    )
