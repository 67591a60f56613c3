"""The envelope: who said it, of which task, where, when, how sure, and in which words of its own."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import Meta, field

from bridge.schema.bodies import Body, Count, Nanoseconds, Part, Text
from bridge.schema.enums import Origin, Relation, Space

SCHEMA: Final = "dari.task_event/1"


class Asset(Part, frozen=True, kw_only=True):
    """ISA-95 equipment path, outermost first; an empty level is one that the site does not name."""

    enterprise: str = ""
    site: str = ""
    area: str = ""
    cell: str = ""
    unit: str = ""

    def path(self) -> str:
        """The levels that are named, joined by slashes."""
        return "/".join(level for level in (self.enterprise, self.site, self.area, self.cell, self.unit) if level)


class Embodiment(Part, frozen=True, kw_only=True):
    """Which body did it: for reuse across robots. `dof` counts the arm's joints without the effector's."""

    model: Text
    effector: str = ""
    dof: Count | None = None
    urdf_sha256: str = ""


class Stamp(Part, frozen=True, kw_only=True):
    """When. `source_ns` is the source's own clock, untouched; `aligned_ns` is on the recorder's timeline.

    `uncertainty_ns` is the half-width of a 99% interval around `aligned_ns`; null means unknown; it is never 0.
    `received_ns` and `aligned_ns` are nanoseconds since the UNIX epoch on the recorder's timeline.
    """

    source_ns: Nanoseconds | None = None
    received_ns: Nanoseconds
    aligned_ns: Nanoseconds
    uncertainty_ns: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    clock_epoch: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


class Link(Part, frozen=True, kw_only=True):
    """A relation to another event."""

    rel: Relation
    id: UUID


class Native(Part, frozen=True, kw_only=True):
    """The source's own words, lossless: the system, its id for the thing, its name and its code."""

    system: Text
    id: str = ""
    name: str = ""
    code: str = ""


class TaskEvent(Part, frozen=True, kw_only=True, omit_defaults=False):
    """One event in the life of a task, the same record from twin, testbed and field.

    `flags` holds what the pipeline found wrong with the event (an illegal transition, say); a flagged event is kept.
    The kind of the event is the tag of its body.
    """

    schema: Literal["dari.task_event/1"] = SCHEMA
    id: UUID
    source: Text
    sequence: Count
    space: Space
    time: Stamp
    body: Body
    run_id: UUID | None = None
    episode_id: UUID | None = None
    task_id: UUID | None = None
    parent_id: UUID | None = None
    attempt: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 1
    asset: Asset = Asset()
    embodiment: Embodiment | None = None
    links: tuple[Link, ...] = ()
    origin: Origin = Origin.OBSERVED
    native: Native | None = None
    flags: tuple[str, ...] = ()
    ext: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`run`, `episode`, `task`, `decision`, `failure`, `correction`, `measure`, `health` or `annotation`."""
        return str(self.body.__struct_config__.tag)
