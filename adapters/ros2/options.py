"""The `options:` of a ROS 2 source in the site file, and what types can not say of them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta

from adapters.ros2.environment import DOMAIN_MAX, environment_domain
from bridge.adapter import Options
from bridge.errors import DariError
from bridge.goals import ActionMap
from bridge.schema import Verb


class Ros2Options(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a ROS 2 source.

    Attributes:
        domain: ROS domain id; null takes the environment's `ROS_DOMAIN_ID`, or 0.
        discovery: `localhost`, `subnet` or `off` for this source's process; null leaves `ROS_AUTOMATIC_DISCOVERY_RANGE`.
        include: regular expressions that must match a whole topic name, as in `/camera/.*`; empty takes every topic.
        exclude: the same, for topics (or actions) that are not wanted; it wins over `include`.
        hidden: also take hidden topics (a part of the name begins with `_`). The status of actions is always taken.
        align: `header` aligns by `header.stamp` where the type begins with a header and by the DDS source timestamp
            elsewhere; `transport` aligns everything by the DDS source timestamp. The other stamp is recorded beside it.
        clocks: expression of topics -> name of a clock of their own, where a driver's stamps come from another clock
            (a camera with its own oscillator, a second computer).
        actions: action name -> its meaning. An action that is not named here keeps its own name as its verb.
        retry_within_ms: a goal accepted this soon after an abort of the same action is taken as a retry of it, and said
            to be inferred; 0 never infers a retry.
        depth: messages that DDS may hold for a topic while this process is busy.
        blob_depth: the same for images and point clouds, which are large.
        discover_ms: how often the graph is looked at for new topics, publishers and actions.
        silence_ms: say that the robot is silent when nothing came on any topic for so long; 0 never does.
    """

    domain: int | None = None
    discovery: Literal["localhost", "subnet", "off"] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    align: Literal["header", "transport"] = "header"
    clocks: dict[str, str] = {}
    actions: dict[str, ActionMap] = {}
    retry_within_ms: Annotated[float, Meta(ge=0)] = 5_000.0
    depth: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    blob_depth: Annotated[int, Meta(ge=1, le=10_000)] = 100
    discover_ms: Annotated[float, Meta(ge=20)] = 250.0
    silence_ms: Annotated[float, Meta(ge=0)] = 0.0


def faults(options: Ros2Options) -> list[str]:
    """Every fault of the options that their types can not show; touches nothing."""
    found = []
    try:
        domain = environment_domain() if options.domain is None else options.domain
        if not 0 <= domain <= DOMAIN_MAX:
            found.append(
                f"domain {domain} is out of range: ROS 2 has 0 to {DOMAIN_MAX}, and 0 to 101 are safe everywhere"
            )
    except DariError as error:
        found.append(error.what)
    named = [("include", e) for e in options.include] + [("exclude", e) for e in options.exclude]
    for key, expression in [*named, *(("clocks", e) for e in options.clocks)]:
        try:
            re.compile(expression)
        except re.error as error:
            found.append(
                f"{key}: {expression!r} is no regular expression: {error} (a whole topic name is `/camera/.*`)"
            )
    core = {verb.value for verb in Verb}
    for name, action in options.actions.items():
        if action.verb not in core and action.base_verb is None:
            found.append(
                f"actions: {name!r}: base_verb is needed beside the verb {action.verb!r}: one of {', '.join(sorted(core))}"
            )
    return found


class TopicFilter:
    """Which topics are wanted, and which clock stamps them."""

    def __init__(self, options: Ros2Options) -> None:
        self._include = [re.compile(e) for e in options.include]
        self._exclude = [re.compile(e) for e in options.exclude]
        self._clocks = [(re.compile(e), name) for e, name in options.clocks.items()]
        self._hidden = options.hidden
        self._actions = {absolute(name) for name in options.actions}

    def wants(self, topic: str) -> bool:
        """Whether a topic that is not an action's status is taken."""
        if not self._hidden and any(part.startswith("_") for part in topic.split("/")):
            return False
        return self._passes(topic)

    def wants_action(self, action: str, status_topic: str) -> bool:
        """Whether an action's status becomes task events: named actions always, others as the expressions say."""
        if action in self._actions:
            return True
        if any(e.fullmatch(action) or e.fullmatch(status_topic) for e in self._exclude):
            return False
        return not self._include or any(e.fullmatch(action) or e.fullmatch(status_topic) for e in self._include)

    def clock(self, topic: str, otherwise: str) -> str:
        """The name of the clock that stamps a topic."""
        return next((name for expression, name in self._clocks if expression.fullmatch(topic)), otherwise)

    def _passes(self, topic: str) -> bool:
        if any(e.fullmatch(topic) for e in self._exclude):
            return False
        return not self._include or any(e.fullmatch(topic) for e in self._include)


def absolute(name: str) -> str:
    """A topic's or action's name with its leading slash.

    >>> absolute("pick"), absolute("/arm/pick")
    ('/pick', '/arm/pick')
    """
    return name if name.startswith("/") else f"/{name}"
