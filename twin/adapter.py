"""The twin as a source: it runs episodes at a given pace, and hands samples and events to its port like any other adapter."""

from __future__ import annotations

import itertools
import time
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from bridge.adapter import Adapter, Channel, Options, Port, Rate, Requirement
from bridge.errors import DariError
from bridge.schema import Space
from twin.cell import Cell, cell_path, load_cell
from twin.channels import DESCRIPTION, STRING, channel_specs
from twin.codec import Encoder, encode_text
from twin.engine import make_engine
from twin.episode import Outcome, run_episodes
from twin.faults import FaultOptions
from twin.output import Draft
from twin.samples import Sample

_MOST_BEHIND_S = 0.5


class TwinOptions(Options, frozen=True, kw_only=True):
    """What a site file can say of a twin.

    `cell` is a shipped cell's name, or a path to a .yaml against the site file; `episodes` null runs until stopped; `pace` is
    twin seconds in a second of the world, 0 as fast as it goes. The same `seed`, `cell` and `faults` give the same events.
    """

    cell: str = "panda_belt"
    engine: Literal["pybullet"] = "pybullet"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    episodes: Annotated[int, Meta(ge=1)] | None = None
    pace: Annotated[float, Meta(ge=0.0, le=1000.0)] = 1.0
    faults: FaultOptions = FaultOptions()


class PortOutput:
    """The core's output on top of a port: samples become CDR, twin time keeps pace with the world's."""

    def __init__(self, port: Port, cell: Cell, pace: float) -> None:
        self._port = port
        self._pace = pace
        self._channels: dict[str, tuple[Channel, Encoder]] = {}
        for spec in channel_specs(cell):
            metadata = {"dari.frame_id": spec.frame}
            self._channels[spec.name] = (port.channel(spec.name, spec.type_name, metadata=metadata), Encoder(spec))
        self._started: float | None = None

    def sample(self, channel: str, stamp_ns: int, sample: Sample) -> None:
        """Hand one message to the port."""
        declared, encoder = self._channels[channel]
        self._port.emit(declared, encoder.encode(stamp_ns, sample), stamp=stamp_ns)

    def event(self, draft: Draft) -> UUID:
        """Hand one event to the port."""
        return self._port.event(
            draft.body,
            source_ns=draft.source_ns,
            task_id=draft.task_id,
            attempt=draft.attempt,
            parent_id=draft.parent_id,
            episode_id=draft.episode_id,
            links=draft.links,
            ext=draft.ext,
        )

    def key(self, *parts: object) -> UUID:
        """An id of this run, this source and this start of it: a twin that is started again tells other episodes."""
        return self._port.task_key(self._port.source.epoch, *parts)

    def topic(self, channel: str) -> str:
        """The log's topic of a channel."""
        return self._port.topic(channel)

    def tick(self, now_ns: int) -> None:
        """Wait until the world's clock has come as far. A twin that can not keep up does not hurry afterwards."""
        if self._pace <= 0.0:
            return
        now = time.monotonic()
        if self._started is None:
            self._started = now - now_ns / 1e9 / self._pace
        ahead = self._started + now_ns / 1e9 / self._pace - now
        if ahead > 0.0:
            self._port.stopping.wait(ahead)
        elif ahead < -_MOST_BEHIND_S:
            self._started -= ahead

    def stopping(self) -> bool:
        """Whether the port was asked to stop."""
        return self._port.stopping.is_set()


def told(number: int, outcome: Outcome) -> str:
    """One line for people on an episode that has ended: what came of it, what was injected, what the detectors found."""
    injected = f"{outcome.injected} injected" if outcome.injected is not None else "nothing injected"
    observed = f"observed {', '.join(outcome.observed)}" if outcome.observed else "no failure observed"
    return f"episode {number}: {outcome.reason.replace('_', ' ')}; {injected}, {observed}"


class TwinAdapter(Adapter):
    """A simulated cell that makes the same task events over the same channels as a real one."""

    options_type = TwinOptions
    signal_type = None
    requirements = (Requirement("pybullet", "twin"),)
    usual_space = Space.TWIN
    summary = "a simulated cell with physics faults: the twin"
    prior_delay_ns = 1_000_000

    def check(self) -> list[str]:
        """The faults of the cell file, if there are any."""
        options = self._options()
        try:
            load_cell(cell_path(options.cell, self.source.directory))
        except DariError as error:
            return [str(error)]
        return []

    def run(self, port: Port) -> None:
        """Run episodes until there are no more, or until asked to stop."""
        options = self._options()
        cell = load_cell(cell_path(options.cell, self.source.directory))
        engine = make_engine(options.engine, cell.robot)
        try:
            description = port.channel(DESCRIPTION, STRING, rate=Rate.EVENT)
            # Without a stamp: it is no moment of the twin's clock, and must not be taken for one.
            port.emit(description, encode_text(engine.urdf()))
            output = PortOutput(port, cell, options.pace)
            port.connected(f"{engine.name}, cell {cell.name}, seed {options.seed}")
            runs = run_episodes(engine, cell, options.seed, options.faults, output, episodes=options.episodes)
            for number in itertools.count(1):
                outcome = next(runs, None)
                if outcome is None:
                    break
                port.log("info", told(number, outcome))
        finally:
            engine.close()

    def _options(self) -> TwinOptions:
        assert isinstance(self.options, TwinOptions)
        return self.options
