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
Verb = Annotated[
    str, Meta(description="a core verb (grasp, release, move, place, avoid, verify, wait), or com.acme.insert")
]
CoreVerb = Annotated[str, Meta(description="one of grasp, release, move, place, avoid, verify, wait")]
Emit = Annotated[str, Meta(description="one of started, progress, decision, failed, corrected, succeeded, aborted")]
Trigger = Annotated[str, Meta(description="one of rise, fall, change, hold, timeout, cross, count")]
Phase = Annotated[str, Meta(description="one of idle, active, failed, unknown, any")]
AfterGap = Annotated[str, Meta(description="one of baseline, infer")]
Expression = Annotated[str, Meta(description="an expression over the inputs, as in `done and alarm == 0`")]
Milliseconds = Annotated[float, Meta(ge=0.0, le=86_400_000.0)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in a site file: immutable, strict."""


class SiteIdentity(Config, frozen=True, kw_only=True):
    """Who and where: the outer levels of the ISA-95 path that every asset inherits.

    Attributes:
        name: names the site in logs and messages.
        enterprise: first level of the path.
        site: second level of the path.
        area: third level of the path; an asset may have its own.
    """

    name: Name
    enterprise: str = ""
    site: str = ""
    area: str = ""


class RunIdentity(Config, frozen=True, kw_only=True):
    """What this run is.

    Attributes:
        operator: who runs it: a pseudonym, never a name.
        note: what one wants to know of this run later.
        seed: recorded with the run; what draws at random takes its own from its options.
    """

    operator: str = ""
    note: str = ""
    seed: int | None = None


class AssetConfig(Config, frozen=True, kw_only=True):
    """One piece of equipment: its place below the site's area, and its body if it is a robot.

    Attributes:
        cell: fourth level of the path.
        unit: fifth level of the path.
        area: in place of the site's area.
        embodiment: which body acts here; it goes into every event of the asset's sources.
    """

    cell: str = ""
    unit: str = ""
    area: str | None = None
    embodiment: Embodiment | None = None


class SourceConfig(Config, frozen=True, kw_only=True):
    """One source: which adapter, in which space, on which asset.

    Attributes:
        adapter: the kind of source; `dari adapters` lists them.
        space: where the events happen.
        asset: the equipment that is observed, one of `assets`.
        options: typed by the adapter, see below.
        signals: names, each with its address, typed by the adapter; for adapters that find by themselves what there is, none.
        delay_prior_ms: overrides the adapter's declared prior of the smallest transport delay.
        restart: false where a source that fails must not be started again.
        enabled: false leaves the source out of the run; it is still checked.
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
    """What a rule set reads, under the name that its expressions use: a signal, or a number in a telemetry message.

    Attributes:
        source: one of `sources`.
        tag: one of the source's signals; this, or `topic` and `field`.
        topic: a topic of a source that gives messages, as in `joint_states`.
        field: the number in the message: `position[finger_joint1]` for a JointState, a dotted path otherwise.
        debounce_ms: a new value is believed when it has lasted so long.
        unit: UCUM code of the value, for evidence.
    """

    source: str
    tag: str | None = None
    topic: str | None = None
    field: str | None = None
    debounce_ms: Milliseconds = 0.0
    unit: str = ""


class Rule(Config, frozen=True, kw_only=True):
    """One rule: when the trigger fires while the task is in one of the phases `from`, the event `emit` is made.

    The rules' own page says what each trigger needs.

    Attributes:
        emit: what the firing means for the task.
        trigger: what makes it fire.
        when: the condition; for `change` and `cross` the value that is watched, for `timeout` what is waited for.
        from: the phases in which it may fire; those that make sense for `emit` when left out.
        for_ms: how long `when` must hold (`hold`), or how long to wait (`timeout`).
        within_ms: fires only so soon after the task came into its phase, or after the event `after`; for `count`, the time
            in which all must come.
        after: the event from which a `timeout` runs; for other triggers, one that must have come before.
        code: a failure code, or the input that holds the controller's alarm code.
        strategy: how it was corrected.
        capture: inputs whose values go into the event.
        level: the value that is crossed.
        hysteresis: how far the value must go back before it can cross again.
        count: how many times the condition must become true, for `count`.
        measure: what is measured, for `progress`.
        unit: UCUM code of what is measured.
        message: words for people.
    """

    emit: Emit
    trigger: Trigger
    when: Expression | None = None
    from_: tuple[Phase, ...] = msgspec.field(default=(), name="from")
    for_ms: Milliseconds | None = None
    within_ms: Milliseconds | None = None
    after: Emit | None = None
    code: str | None = None
    strategy: str | None = None
    capture: tuple[str, ...] = ()
    level: float | None = None
    hysteresis: float | None = None
    count: int | None = None
    measure: Expression | None = None
    unit: str = ""
    message: str = ""


class RuleSet(Config, frozen=True, kw_only=True):
    """Rules that turn signals into the events of one task type on one asset.

    Attributes:
        task: names the task type.
        verb: what is done. A verb that is not a core verb is a reverse-DNS name beside `base_verb`.
        space: the space of the events.
        asset: the equipment that acts, one of `assets`.
        inputs: what is read, by the names that the expressions use.
        rules: in the order in which they are looked at.
        base_verb: the core verb that comes nearest to `verb`.
        object_class: what it is done to, as in `gearbox`.
        alarms: CSV file of the controller's alarm codes: `code,failure_code,text,severity,retriable`.
        after_gap: after a gap, take the inputs as a new `baseline`, or `infer` the edges that were missed.
    """

    task: Name
    verb: Verb
    space: Space
    asset: Name
    inputs: dict[InputName, RuleInput]
    rules: tuple[Rule, ...]
    base_verb: CoreVerb | None = None
    object_class: str | None = None
    alarms: str | None = None
    after_gap: AfterGap = "baseline"


class SinkConfig(Config, frozen=True, kw_only=True):
    """Where the data goes.

    Attributes:
        sink: the kind of sink, as in `mcap`.
        options: typed by the sink, see below.
    """

    sink: str
    options: dict[str, Any] = {}


class Site(Config, frozen=True, kw_only=True):
    """A whole site file.

    Attributes:
        dari: version of the file's format.
        site: who and where.
        assets: the equipment, by name.
        sources: where data comes from, by name.
        run: what this run is.
        rules: how signals become task events, by name.
        sinks: where the data goes, by name; one `mcap` sink when left out.
    """

    dari: Annotated[int, Meta(ge=1, le=1)]
    site: SiteIdentity
    assets: dict[Name, AssetConfig]
    sources: dict[Name, SourceConfig]
    run: RunIdentity = RunIdentity()
    rules: dict[Name, RuleSet] = {}
    sinks: dict[Name, SinkConfig] = {}
