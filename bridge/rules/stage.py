"""The rules in the hub: batches in, task events out.

Everything that the rules see is in the stated order of `bridge.rules.order`, so that a replay of the same inputs with the same
watermarks gives the same events, ids included.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from bridge.adapter import Channel, Source
from bridge.errors import DariError, SiteError
from bridge.rules.draft import EventDraft, Reading
from bridge.rules.engine import RuleEngine
from bridge.rules.inputs import InputPicker, Picked
from bridge.rules.order import LATENESS_NS, Place, Released, Reorder
from bridge.rules.plan import Plan, plan_rules
from bridge.schema import Asset, Embodiment, Origin, Stamp, TaskEvent
from bridge.schema.ids import event_id, task_key
from bridge.sink import Batch

if TYPE_CHECKING:
    from bridge.site.model import RuleSet, Site

LATE = "late input"
"""Flag of an event that an input made which came after the watermark had passed its time."""
_LAST = 2**62  # a gap stands after what its source said at the same time


class _Gap(msgspec.Struct, frozen=True):
    """A stretch in which nothing was heard of a source."""

    source: str
    until_ns: int


class RuleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a rule set, whose voice is `source`, named `rules.<rule set>`."""

    source: Source
    draft: EventDraft

    def make_event(self, run_id: UUID, sequence: int, received_ns: int) -> TaskEvent:
        """The task event. `sequence` is its number in the rule set's voice; `received_ns` is now, on the timeline."""
        draft, source = self.draft, self.source
        return TaskEvent(
            id=draft.id,
            source=source.name,
            sequence=sequence,
            space=source.space,
            time=Stamp(
                source_ns=None,
                received_ns=max(received_ns, draft.t_ns),
                aligned_ns=draft.t_ns,
                uncertainty_ns=draft.uncertainty_ns,
            ),
            body=draft.body,
            run_id=run_id,
            task_id=draft.task_id,
            parent_id=draft.parent_id,
            attempt=draft.attempt,
            asset=source.asset,
            embodiment=source.embodiment,
            links=draft.links,
            origin=Origin.INFERRED,
            native=draft.native,
            flags=(LATE,) if draft.late else (),
            ext=draft.ext,
        )


class RuleStage:
    """All rule sets of a site.

    Args:
        site_rules: rule sets by name.
        site: the site, for the assets that the rule sets are about.
        run_id: the run, from which all ids are derived.
        sources: the site's sources by name.
        directory: of the site file, for tables of alarms; that of the sources when None.
        lateness_ns: how long a silent source is waited for.

    Raises `SiteError` that holds every fault of every rule set.
    """

    def __init__(
        self,
        site_rules: Mapping[str, RuleSet],
        site: Site,
        run_id: UUID,
        sources: Mapping[str, Source],
        *,
        directory: str | None = None,
        lateness_ns: int = LATENESS_NS,
    ) -> None:
        if directory is None:
            directory = next((source.directory for source in sources.values()), ".")
        self._plans = _plans(site_rules, directory)
        self._voices = [self._voice(plan, site_rules[plan.name], site, run_id, sources) for plan in self._plans]
        self._engines = [
            RuleEngine(
                plan,
                task_id=partial(_task_id, run_id, voice.name),
                event_id=partial(event_id, run_id, voice.name, 0),
            )
            for plan, voice in zip(self._plans, self._voices, strict=True)
        ]
        self._picker = InputPicker(self._plans)
        self._order: Reorder[Picked | _Gap] = Reorder(self._picker.sources, lateness_ns)
        self.released = 0
        """How many inputs and gaps the rules have been shown."""

    # -- what comes in ---------------------------------------------------------------------------------------------

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """All channels that a source has so far."""
        self._picker.declare(source, channels)
        self._order.expect(source.name, self._picker.streams(source))

    def take(self, batch: Batch) -> None:
        """A batch of a declared source."""
        if not self._engines or not len(batch):
            return
        source = batch.source
        for picked in self._picker.pick(batch):
            place = Place(picked.aligned_ns, source, picked.epoch, picked.sequence, picked.number)
            self._order.push(place, picked)
        for stream, aligned_ns in self._picker.reached(batch):
            self._order.said(source, aligned_ns, stream)

    def gap(self, source: str, t0: int, t1: int) -> None:
        """Nothing was heard of a source between `t0` and `t1`, aligned ns."""
        if self._engines:
            self._order.push(Place(t0, source, 0, _LAST, 0), _Gap(source, t1))

    def ended(self, source: str) -> None:
        """A source has said that nothing more will come."""
        self._order.ended(source)

    # -- what comes out --------------------------------------------------------------------------------------------

    def advance(self, now_ns: int, watermark_ns: int | None = None) -> list[RuleEvent]:
        """It is `now_ns` on the timeline: what the rules have to say of everything up to the watermark.

        On replay `watermark_ns` is what it was at this moment of the run.
        """
        if not self._engines:
            return []
        return self._run(self._order.release(now_ns, watermark_ns))

    def flush(self) -> list[RuleEvent]:
        """Nothing more will come: what the rules have to say of all that has."""
        return self._run(self._order.flush()) if self._engines else []

    @property
    def watermark_ns(self) -> int | None:
        """Everything up to here has been seen by the rules; to be logged, so that a replay can do the same."""
        return self._order.watermark_ns

    @property
    def sources(self) -> list[str]:
        """The sources that some rule reads."""
        return self._picker.sources

    @property
    def late(self) -> int:
        """How many inputs came after the watermark had passed them."""
        return self._order.late

    def health(self) -> dict[str, dict[str, int]]:
        """What was counted: of the inputs under the key `inputs`, of each rule set under its name."""
        counts = {"inputs": {"late": self.late, "held": len(self._order), **self._picker.counts}}
        for plan, engine in zip(self._plans, self._engines, strict=True):
            counts[plan.name] = {"mismatches": engine.mismatches, **engine.counts}
        return counts

    # -- in order --------------------------------------------------------------------------------------------------

    def _run(self, released: list[Released[Picked | _Gap]]) -> list[RuleEvent]:
        self.released += len(released)
        out: list[RuleEvent] = []
        together: list[dict[int, Reading]] = [{} for _ in self._engines]
        at: tuple[int, bool] | None = None
        for one in released:
            item, moment = one.item, (one.place.aligned_ns, one.late)
            if at is not None and at != moment:
                self._feed(at, together, out)
            at = moment
            if isinstance(item, _Gap):
                self._feed(at, together, out)
                self._lost(item, at, out)
                continue
            for number, input_place in item.targets:
                if input_place in together[number]:
                    # A second value of one input at the same time: one after the other, so that no edge is swallowed.
                    self._feed(at, together, out)
                together[number][input_place] = Reading(
                    input_place, item.value, item.record_ns, item.uncertainty_ns, item.topic, item.field
                )
        if at is not None:
            self._feed(at, together, out)
        watermark = self._order.watermark_ns
        if watermark is not None:
            for number, engine in enumerate(self._engines):
                self._keep(number, engine.advance(watermark), out)
        return out

    def _feed(self, at: tuple[int, bool], together: list[dict[int, Reading]], out: list[RuleEvent]) -> None:
        for number, readings in enumerate(together):
            if readings:
                self._keep(number, self._engines[number].feed(at[0], readings.values(), late=at[1]), out)
                readings.clear()

    def _lost(self, gap: _Gap, at: tuple[int, bool], out: list[RuleEvent]) -> None:
        for number, plan in enumerate(self._plans):
            places = [place for place, item in enumerate(plan.inputs) if item.source == gap.source]
            if places:
                text = f"no data from {gap.source}"
                self._keep(number, self._engines[number].gap(at[0], gap.until_ns, places, text, late=at[1]), out)

    def _keep(self, number: int, drafts: list[EventDraft], out: list[RuleEvent]) -> None:
        voice = self._voices[number]
        out.extend(RuleEvent(source=voice, draft=draft) for draft in drafts)

    def _voice(self, plan: Plan, rule_set: RuleSet, site: Site, run_id: UUID, sources: Mapping[str, Source]) -> Source:
        """Who speaks: the rule set, of its asset. A source on the same asset has that resolved already."""
        asset, embodiment = _asset(site, rule_set.asset)
        for source in sources.values():
            if source.asset_name == rule_set.asset:
                asset, embodiment = source.asset, source.embodiment
                break
        return Source(
            name=f"rules.{plan.name}",
            space=rule_set.space,
            asset_name=rule_set.asset,
            asset=asset,
            run_id=run_id,
            embodiment=embodiment,
        )


def _plans(site_rules: Mapping[str, RuleSet], directory: str) -> list[Plan]:
    plans: list[Plan] = []
    problems: list[DariError] = []
    for name, rule_set in site_rules.items():
        try:
            plans.append(plan_rules(name, rule_set, Path(directory)))
        except SiteError as error:
            problems.extend(error.problems or (error,))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        first = problems[0]
        raise SiteError(first.what + more, where=first.where, hint=first.hint, problems=tuple(problems))
    return plans


def _asset(site: Site, name: str) -> tuple[Asset, Embodiment | None]:
    config = site.assets.get(name)
    outer = site.site
    if config is None:
        return Asset(enterprise=outer.enterprise, site=outer.site, area=outer.area, cell=name), None
    area = outer.area if config.area is None else config.area
    asset = Asset(enterprise=outer.enterprise, site=outer.site, area=area, cell=config.cell, unit=config.unit)
    return asset, config.embodiment


def _task_id(run_id: UUID, voice: str, ordinal: int) -> UUID:
    return task_key(run_id, voice, ordinal)
