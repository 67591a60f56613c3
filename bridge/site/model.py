"""The site file's types. The loader (`bridge.site.load`) is strict: an unknown key is an error with a line and a suggestion."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bridge.schema import Embodiment, Space

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$",
        description="a name: a letter, then letters, digits, _ and -, 64 at most",
    ),
]
InputName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="a name for expressions: a letter or _, then letters, digits and _",
    ),
]
Milliseconds = Annotated[float, Meta(ge=0.0, le=86_400_000.0)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a site file: immutable, strict."""


class SiteIdentity(Config, frozen=True, kw_only=True):
    """Who and where: the outer levels of the ISA-95 path that every asset inherits."""

    name: Name
    enterprise: str = ""
    site: str = ""
    area: str = ""


class RunIdentity(Config, frozen=True, kw_only=True):
    """What this run is: `operator` is a pseudonym, `seed` is recorded where something is drawn."""

    operator: str = ""
    note: str = ""
    seed: int | None = None


class AssetConfig(Config, frozen=True, kw_only=True):
    """One piece of equipment: its place below the site's area, and its body if it is a robot."""

    cell: str = ""
    unit: str = ""
    area: str | None = None
    embodiment: Embodiment | None = None


class SourceConfig(Config, frozen=True, kw_only=True):
    """One source: which adapter, in which space, on which asset.

    `options` and `signals` are typed by the adapter; the loader checks them against its types. `delay_prior_ms` overrides the
    adapter's declared prior of the smallest transport delay. `restart` is false where a source must not be started again.
    """

    adapter: str
    space: Space
    asset: Name
    options: dict[str, Any] = {}
    signals: dict[str, Any] = {}
    delay_prior_ms: Milliseconds | None = None
    restart: bool = True
    enabled: bool = True


class RuleInput(Config, frozen=True, kw_only=True):
    """A signal that a rule set reads: `tag` of `source`, or a number in a CDR telemetry message (`topic`, `field`).

    `field` is `position[finger_joint1]` for a JointState, a dotted path otherwise. Inputs of an expression are named by the key.
    """

    source: str
    tag: str | None = None
    topic: str | None = None
    field: str | None = None
    debounce_ms: Milliseconds = 0.0
    unit: str = ""


class Rule(Config, frozen=True, kw_only=True):
    """One rule; docs/reference/rules says what each trigger needs."""

    emit: str
    trigger: str
    when: str | None = None
    from_: tuple[str, ...] = msgspec.field(default=(), name="from")
    for_ms: Milliseconds | None = None
    within_ms: Milliseconds | None = None
    after: str | None = None
    code: str | None = None
    strategy: str | None = None
    capture: tuple[str, ...] = ()
    level: float | None = None
    hysteresis: float | None = None
    count: int | None = None
    measure: str | None = None
    unit: str = ""
    message: str = ""


class RuleSet(Config, frozen=True, kw_only=True):
    """Rules that turn signals into the events of one task type on one asset."""

    task: Name
    verb: str
    space: Space
    asset: Name
    inputs: dict[InputName, RuleInput]
    rules: tuple[Rule, ...]
    base_verb: str | None = None
    object_class: str | None = None
    alarms: str | None = None
    after_gap: str = "baseline"


class SinkConfig(Config, frozen=True, kw_only=True):
    """Where the data goes: the sink's name and its typed options."""

    sink: str
    options: dict[str, Any] = {}


class Site(Config, frozen=True, kw_only=True):
    """A whole site file. `dari` is the version of its format."""

    dari: Annotated[int, Meta(ge=1, le=1)]
    site: SiteIdentity
    assets: dict[Name, AssetConfig]
    sources: dict[Name, SourceConfig]
    run: RunIdentity = RunIdentity()
    rules: dict[Name, RuleSet] = {}
    sinks: dict[Name, SinkConfig] = {}
