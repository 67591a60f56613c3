"""Reads a site file: strict, typed, and with every fault at once, each with its place and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bridge.adapter import Adapter, Options, SignalConfig, Source
from bridge.errors import SiteError, UsageError
from bridge.names import nearest
from bridge.schema import Asset, Embodiment
from bridge.sink import Sink
from bridge.site.document import parse, read_text
from bridge.site.model import Site, SourceConfig
from bridge.site.problem import Mark, Problems, SiteProblem, dotted
from bridge.site.resolve import Resolver, make_asset
from bridge.site.rule_check import check_rule_sets
from bridge.site.secret import Secret
from bridge.site.walk import FAULTY, Walker, convert


@dataclass(frozen=True)
class ResolvedSource:
    """A source with everything that its names stood for: adapter, typed options and signals, asset.

    `directory` is the site file's folder, against which relative paths in options are meant.
    """

    name: str
    config: SourceConfig
    adapter_class: type[Adapter]
    options: Options
    signals: dict[str, SignalConfig]
    asset: Asset
    embodiment: Embodiment | None
    directory: str

    def make_source(self, run_id: UUID, epoch: int = 0) -> Source:
        """What the adapter and the sinks are told of this source in a run; `epoch` counts its starts."""
        return Source(
            name=self.name,
            space=self.config.space,
            asset_name=self.config.asset,
            asset=self.asset,
            run_id=run_id,
            embodiment=self.embodiment,
            epoch=epoch,
            directory=self.directory,
        )

    def make_adapter(self, run_id: UUID, epoch: int = 0) -> Adapter:
        """The adapter itself, not yet connected."""
        return self.adapter_class(self.make_source(run_id, epoch), self.options, self.signals)


@dataclass(frozen=True)
class ResolvedSink:
    """A sink with its typed options."""

    name: str
    sink_class: type[Sink]
    options: object

    def make_sink(self) -> Sink:
        """The sink itself, not yet open."""
        return self.sink_class(self.options)


@dataclass(frozen=True)
class LoadedSite:
    """A site file without faults.

    `sources` are those that are enabled, in the order of the file; `sinks` is one recorder with its defaults where the file
    names none. `text` is the file as it was read; `warnings` is what works but is hardly meant; `secrets` is every secret that
    it names, with its key and its place.
    """

    site: Site
    path: Path
    text: str
    sources: tuple[ResolvedSource, ...]
    sinks: tuple[ResolvedSink, ...]
    disabled: tuple[ResolvedSource, ...] = ()
    warnings: tuple[SiteProblem, ...] = ()
    secrets: tuple[tuple[tuple[str, ...], Mark, Secret], ...] = ()

    @property
    def directory(self) -> str:
        """The site file's folder, against which relative paths are meant."""
        return str(self.path.parent)

    def source(self, name: str) -> ResolvedSource:
        """The source `name`, enabled or not. Raises `UsageError` for a name that the file does not have."""
        every = {source.name: source for source in (*self.sources, *self.disabled)}
        if name not in every:
            close = nearest(name, list(every))
            hint = f"did you mean {close!r}?" if close else f"its sources: {', '.join(every)}"
            raise UsageError(f"the site file has no source {name!r}", where=str(self.path), hint=hint)
        return every[name]

    def missing_secrets(self) -> list[SiteProblem]:
        """The secrets of enabled sources and of sinks that can not be read here and now, in the order of the file.

        `dari check` only warns of these, since a file may be checked on another machine; without them nothing connects.
        """
        idle = {("sources", source.name) for source in self.disabled}
        found = []
        for key, mark, secret in sorted(self.secrets, key=lambda one: (one[1].line, one[1].column)):
            if key[:2] in idle:
                continue
            try:
                secret.value(self.directory)
            except SiteError as error:
                what = f"{error.what} ({error.where})" if error.where else error.what
                found.append(SiteProblem(what, path=str(self.path), mark=mark, key=dotted(key), hint=error.hint))
        return found

    def make_sinks(self) -> list[Sink]:
        """One sink for each that the file names, not yet open."""
        return [sink.make_sink() for sink in self.sinks]


@dataclass(frozen=True)
class Examination:
    """What was found in a site file: the site if it has no fault, and all faults and warnings in the file's order."""

    site: LoadedSite | None
    text: str
    problems: tuple[SiteProblem, ...]


def load(path: str | Path) -> LoadedSite:
    """Read a site file.

    Raises:
        SiteError: it can not be read, or has faults; `problems` holds every one of them, and its text lists them.
    """
    path = Path(path)
    return load_text(read_text(path), path)


def load_text(text: str, path: str | Path) -> LoadedSite:
    """The same for a text that was read before; `path` is where it came from. Raises `SiteError` as `load` does."""
    found = examine(text, Path(path))
    if found.site is not None:
        return found.site
    errors = tuple(problem for problem in found.problems if not problem.warning)
    count = "1 fault" if len(errors) == 1 else f"{len(errors)} faults"
    listed = "\n".join(f"  {line}" for problem in errors for line in str(problem).splitlines())
    raise SiteError(f"the site file has {count}:\n{listed}", where=str(path), problems=errors)


def examine(text: str, path: Path) -> Examination:
    """Everything that can be found in a text without connecting to anything. Raises nothing for a bad file."""
    problems = Problems(str(path))
    root = parse(text, problems)
    if root is None:
        return Examination(None, text, tuple(problems.ordered()))
    walker = Walker(problems)
    top = Mark(1, 1)
    site = convert(root, Site, walker, (), top)
    resolver = Resolver(root, walker, str(path.parent))
    resolver.run()
    check_rule_sets(root, resolver)
    if isinstance(site, Site):  # else it is so broken that an adapter could not be told where it stands
        for name, config in site.sources.items():
            resolver.ask(name, config, site)
    if site is FAULTY or problems.errors:
        return Examination(None, text, tuple(problems.ordered()))
    every = [_resolved(name, site, resolver) for name in site.sources]
    sinks = tuple(ResolvedSink(name, kind, options) for name, (kind, options) in resolver.sinks.items())
    loaded = LoadedSite(
        site=site,
        path=path,
        text=text,
        sources=tuple(source for source in every if source.config.enabled),
        disabled=tuple(source for source in every if not source.config.enabled),
        sinks=sinks,
        warnings=tuple(problems.warnings),
        secrets=tuple(walker.secrets),
    )
    return Examination(loaded, text, tuple(problems.ordered()))


def _resolved(name: str, site: Site, resolver: Resolver) -> ResolvedSource:
    """A source of a site without faults."""
    config = site.sources[name]
    asset = site.assets[config.asset]
    return ResolvedSource(
        name=name,
        config=config,
        adapter_class=resolver.adapters[name],
        options=resolver.options[name],
        signals=resolver.signals[name],
        asset=make_asset(asset, site.site),
        embodiment=asset.embodiment,
        directory=resolver.directory,
    )
