"""Watches the ROS graph: opens what is published and wanted, as its publishers offer it, and says when they have gone."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import Any

from adapters.ros2 import interfaces, qos
from adapters.ros2.options import Ros2Options, TopicFilter, absolute
from adapters.ros2.tap import Tap, Tapped
from bridge.adapter import Port, Rate
from bridge.goals import STATUS_TYPE, SUFFIX, ActionTracker, Moment, action_name

BLOBS = frozenset(
    f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "PointCloud", "PointCloud2", "LaserScan")
) | {"nav_msgs/msg/OccupancyGrid"}
OVERLAP_S = 1.0
"""How long both subscriptions are read when a topic is opened anew: discovery on a busy network takes this long."""
PATIENCE_NS = 3_000_000_000
"""How long a graph may stay empty, or a publisher unmatched, before it is said."""
# Names that a port keeps for itself; the slash gives the same topic in the log.
RESERVED = frozenset({"events", "log", "signals"})


class Watched:
    """One topic of the graph that is read."""

    def __init__(self, tapped: Tapped, type_name: str, request: qos.Request) -> None:
        self.tapped = tapped
        self.type_name = type_name
        self.request = request
        self.publishers: frozenset[bytes] = frozenset()
        self.since = time.monotonic_ns()
        self.replacing = False
        self.told_unmatched = False


class Graph:
    """Looks at the graph each time `look` is called, from one thread.

    Args:
        node: the node that reads; its own publishers are no data.
        port: where channels are declared and the connection is told.
        options: the source's options.
        domain: the ROS domain, for what is said to people.
    """

    def __init__(self, node: Any, port: Port, options: Ros2Options, domain: int) -> None:
        self._node = node
        self._port = port
        self._options = options
        self._domain = domain
        self._filter = TopicFilter(options)
        self._actions = {absolute(name): given for name, given in options.actions.items()}
        self._released: SimpleQueue[Any] = SimpleQueue()
        self.tap = Tap(node.context, port, self._released.put)
        self.watched: dict[str, Watched] = {}
        self.skipped: dict[str, str] = {}
        self._connected = False
        self._was_connected = False
        self._ever = False
        self._silent = False
        self._changed = time.monotonic_ns()
        self._met: int | None = None

    def look(self) -> None:
        """See what has changed."""
        while True:
            try:
                self._node.destroy_subscription(self._released.get_nowait())
            except Empty:
                break
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self.skipped:
                continue
            action = topic.endswith(SUFFIX) and STATUS_TYPE in types
            if not (self._filter.wants_action(action_name(topic), topic) if action else self._filter.wants(topic)):
                continue
            offers = [info for info in self._node.get_publishers_info_by_topic(topic) if not self._own(info)]
            watched = self.watched.get(topic)
            if watched is not None:
                self._update(watched, offers)
            elif offers:
                self._open(topic, offers)
        self._say_connection()

    def close(self) -> None:
        """Destroy what was opened, once the tap has stopped."""
        for watched in self.watched.values():
            self._node.destroy_subscription(watched.tapped.subscription)

    # -- topics --------------------------------------------------------------------------------------------------

    def _own(self, info: Any) -> bool:
        return bool(info.node_name == self._node.get_name() and info.node_namespace == self._node.get_namespace())

    def _open(self, topic: str, offers: list[Any]) -> None:
        types = {info.topic_type for info in offers}
        type_name = min(types)
        if len(types) > 1:
            self._skip(topic, type_name, f"it is published with different types: {', '.join(sorted(types))}")
            return
        try:
            message = interfaces.message_class(type_name)
            definition = interfaces.definition(type_name)
        except interfaces.NotInstalled as missing:
            self._skip(topic, type_name, str(missing))
            return
        has_header = interfaces.begins_with_header(message)
        header_aligns = has_header and self._options.align == "header"
        name = topic.removeprefix("/")
        channel = self._port.channel(
            f"/{name}" if name in RESERVED else name,
            type_name,
            definition=definition,
            metadata={
                interfaces.TOPIC_KEY: topic,
                "offered_qos_profiles": qos.to_yaml([info.qos_profile for info in offers]),
                "topic_type_hash": _hash(offers[0], type_name),
            },
            rate=_rate(type_name),
            clock=self._filter.clock(topic, "header" if header_aligns else "transport"),
        )
        tracker = None
        if type_name == STATUS_TYPE and topic.endswith(SUFFIX):
            action = action_name(topic)
            tracker = ActionTracker(
                self._port,
                action,
                self._actions.get(action),
                status_topic=channel.topic,
                clock=channel.clock,
                retry_within_ns=round(self._options.retry_within_ms * 1e6),
            )
        request = qos.request_for([info.qos_profile for info in offers])
        subscription = self._subscribe(message, topic, type_name, request)
        tapped = Tapped(
            topic,
            message,
            subscription,
            channel,
            has_header=has_header,
            header_aligns=header_aligns,
            latched=request.transient_local,
            tracker=tracker,
        )
        watched = self.watched[topic] = Watched(tapped, type_name, request)
        self._note_publishers(watched, offers)
        self.tap.add(tapped)

    def _subscribe(self, message: Any, topic: str, type_name: str, request: qos.Request) -> Any:
        depth = self._options.blob_depth if type_name in BLOBS else self._options.depth
        profile = qos.profile(request, depth)
        return self._node.create_subscription(message, topic, _never_called, profile, raw=True)

    def _update(self, watched: Watched, offers: list[Any]) -> None:
        others = {info.topic_type for info in offers} - {watched.type_name}
        if others:
            self._port.log(
                "warning",
                f"{watched.tapped.topic} is now published as {', '.join(sorted(others))} too; dari goes on with "
                f"{watched.type_name} and does not take the other",
            )
            self.skipped[watched.tapped.topic] = "published with different types"
            return
        before = watched.publishers
        self._note_publishers(watched, offers)
        if before and not offers and watched.tapped.tracker is not None:
            tracker = watched.tapped.tracker
            self.tap.ask(lambda: tracker.server_gone(Moment(None, time.monotonic_ns())))
        if not offers or watched.replacing:
            return
        request = qos.request_for([info.qos_profile for info in offers])
        if request != watched.request:
            self._reopen(watched, request)
        self._say_unmatched(watched)

    def _reopen(self, watched: Watched, request: qos.Request) -> None:
        tapped = watched.tapped
        self._port.log("info", f"{tapped.topic} is opened anew, as its publishers now offer {_words(request)}")
        watched.request = request
        watched.since = time.monotonic_ns()
        if not tapped.tells_apart:
            self.tap.remove(tapped)
            subscription = self._subscribe(tapped.message, tapped.topic, watched.type_name, request)
            watched.tapped = tapped.reopened(subscription, request.transient_local)
            self.tap.add(watched.tapped)
            return
        subscription = self._subscribe(tapped.message, tapped.topic, watched.type_name, request)
        watched.replacing = True

        def done(new: Tapped) -> None:
            watched.tapped = new
            watched.replacing = False

        self.tap.replace(tapped, subscription, request.transient_local, OVERLAP_S, done)

    def _note_publishers(self, watched: Watched, offers: list[Any]) -> None:
        now = time.monotonic_ns()
        publishers = frozenset(bytes(info.endpoint_gid) for info in offers)
        for gid in publishers - watched.publishers:
            watched.tapped.first_seen[gid] = now
        for gid in watched.publishers - publishers:
            watched.tapped.first_seen.pop(gid, None)
        watched.publishers = publishers
        watched.tapped.single = len(publishers) <= 1

    def _skip(self, topic: str, type_name: str, why: str) -> None:
        self.skipped[topic] = why
        self._port.log("warning", f"{topic} ({type_name}) is skipped: {why}")

    # -- what is said --------------------------------------------------------------------------------------------

    def _say_connection(self) -> None:
        """Say when data can flow, when it can not, and, where it is asked for, when it does not."""
        present = sum(len(watched.publishers) for watched in self.watched.values())
        now = time.monotonic_ns()
        if self._connected:
            quiet = round(self._options.silence_ms * 1e6)
            if not present:
                self._lose(f"every publisher in ROS domain {self._domain} has gone", now)
            elif quiet and now - max(self.tap.last_arrival, self._changed) > quiet:
                self._silent = True
                self._lose(f"nothing came from ROS domain {self._domain} for {quiet / 1e9:g} s", now)
            return
        # A publisher may have come, spoken and gone between two looks: that was a connection too.
        if self._flows(now) and (present or not self._was_connected):
            self._connected = self._was_connected = self._ever = True
            self._silent = False
            self._changed = now
            topics = sum(1 for watched in self.watched.values() if watched.publishers)
            self._port.connected(f"ROS domain {self._domain}: {present} publishers of {topics} topics")
        elif not present and not self._ever and now - self._changed > PATIENCE_NS:
            self._ever = True
            self._port.disconnected(
                f"nobody publishes a wanted topic in ROS domain {self._domain}: is the robot on, and is its ROS_DOMAIN_ID "
                f"{self._domain}?"
            )

    def _flows(self, now: int) -> bool:
        """Whether something came since the connection was last lost, or a quiet publisher has been met for a while.

        That the subscription has met a publisher is not enough: the publisher may not have met the subscription. After a
        reader was killed, Fast DDS takes some 2 s until a new one in its place is sent anything.
        """
        if self.tap.last_arrival > self._changed:
            return True
        if self._silent or not any(_matched(watched) for watched in self.watched.values()):
            self._met = None
            return False
        self._met = self._met or now
        return now - self._met > PATIENCE_NS

    def _lose(self, reason: str, now: int) -> None:
        self._connected, self._changed, self._met = False, now, None
        self._port.disconnected(reason)

    def _say_unmatched(self, watched: Watched) -> None:
        if watched.told_unmatched or time.monotonic_ns() - watched.since < PATIENCE_NS or _matched(watched):
            return
        watched.told_unmatched = True
        self._port.log(
            "warning",
            f"{watched.tapped.topic} has publishers, but none has met dari's subscription: do both sides use the same "
            "middleware (RMW_IMPLEMENTATION)?",
        )


def _matched(watched: Watched) -> bool:
    """Whether a publisher has met the subscription; what the graph says where rclpy can not tell (Humble)."""
    count = getattr(watched.tapped.subscription.handle, "get_publisher_count", None)
    return bool(watched.publishers) if count is None else count() > 0


def _hash(info: Any, type_name: str) -> str:
    # From Iron on publishers announce their type's hash, and rclpy tells it from Jazzy on.
    announced = str(getattr(info, "topic_type_hash", ""))
    return announced if announced.startswith("RIHS") else interfaces.type_hash(type_name)


def _rate(type_name: str) -> Rate:
    if type_name in BLOBS:
        return Rate.BLOB
    return Rate.EVENT if type_name == STATUS_TYPE else Rate.TELEMETRY


def _words(request: qos.Request) -> str:
    return (
        f"{'reliable' if request.reliable else 'best effort'} delivery, "
        f"{'transient local' if request.transient_local else 'volatile'}"
    )


def _never_called(message: object) -> None:
    """rclpy wants a callback; the subscription is in no executor, so that nothing calls it."""
