"""What goes into the engine and what comes out of it."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from bridge.rules.tree import Scalar
from bridge.schema import Body, Link, Native


class Reading(NamedTuple):
    """A value of one input of a rule set.

    `place` is the input's place in the rule set; `value` is None where there is none or its quality is bad; `record_ns` is the
    aligned time of the record that brought it, by which it is found in the log; `uncertainty_ns` is that record's half-width, or
    None; `topic` and `field` say where in the log it stands.
    """

    place: int
    value: Scalar
    record_ns: int
    uncertainty_ns: int | None = None
    topic: str = ""
    field: str = ""


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a rule set makes: all but who and where, which are the same for all of its events.

    `sequence` counts from 0 in the rule set; `t_ns` is aligned; `late` says that an input came after the watermark had passed its
    time. Everything that a rule says is inferred.
    """

    sequence: int
    id: UUID
    body: Body
    t_ns: int
    uncertainty_ns: int | None = None
    task_id: UUID | None = None
    attempt: int = 1
    parent_id: UUID | None = None
    links: tuple[Link, ...] = ()
    native: Native | None = None
    ext: dict[str, Any] = {}
    late: bool = False
