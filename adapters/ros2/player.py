"""Plays a log into a ROS 2 graph: the recorded bytes, on the original topics, with the recorded quality of service.

Safe by default: into a domain of its own, and never a command, a transform or a clock into a graph that already has one.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any, ClassVar

from adapters.ros2 import interfaces, qos
from adapters.ros2.environment import environment_domain, load_rclpy, make_context, make_node, missing_hint
from adapters.ros2.interfaces import TOPIC_KEY
from adapters.ros2.options import absolute
from bridge.adapter import Requirement
from bridge.errors import UsageError
from bridge.names import nearest
from bridge.player import PlayedChannel, PlayedMessage, Player

ISOLATED_DOMAIN = 99
"""Where nothing is expected to run: a replay goes there unless another domain is named."""
DEPTH = 1_000
ACKNOWLEDGE_S = 2.0

_KEYS = ("domain", "force", "remap", "wait_s", "discover_s")
# What a robot obeys, by the last part of the name and by type; what every node believes.
_COMMAND_NAME = re.compile(
    r"(^|_)(cmd|command|commands|setpoint|set_point|goal_pose|initialpose|joint_trajectory)(_|$)|^cmd_"
)
_COMMAND_TYPES = frozenset(
    {
        "geometry_msgs/msg/Twist",
        "geometry_msgs/msg/TwistStamped",
        "trajectory_msgs/msg/JointTrajectory",
        "trajectory_msgs/msg/MultiDOFJointTrajectory",
        "ackermann_msgs/msg/AckermannDrive",
        "ackermann_msgs/msg/AckermannDriveStamped",
        "control_msgs/msg/JointJog",
    }
)
_BELIEVED = frozenset({"/tf", "/tf_static", "/clock"})


def is_command(topic: str, type_name: str) -> bool:
    """Whether a robot could move at a message of this topic. Doubtful cases are taken for commands.

    >>> is_command("/cmd_vel", "geometry_msgs/msg/Twist"), is_command("/joint_states", "sensor_msgs/msg/JointState")
    (True, False)
    """
    return type_name in _COMMAND_TYPES or any(_COMMAND_NAME.search(part) for part in topic.split("/") if part)


class Ros2Player(Player):
    """`dari replay LOG --to ros2`.

    Options (`--set KEY=VALUE`):
        domain: a ROS domain id, or `env` for the environment's; 99 when it is not given.
        force: `true` plays commands, transforms and clocks even where the graph is alive.
        remap: `/old:=/new`, several joined by commas.
        wait_s: wait up to so many seconds until every topic has a subscriber; 0 does not wait.
        discover_s: how long to look for live publishers before a protected topic is played; 1 when it is not given.
    """

    requirements: ClassVar[tuple[Requirement, ...]] = (Requirement("rclpy", "ros2", missing_hint()),)

    def __init__(self) -> None:
        self._context: Any = None
        self._node: Any = None
        self._publishers: dict[int, Any] = {}
        self.domain = ISOLATED_DOMAIN
        self.unheard: list[str] = []

    def open(self, channels: list[PlayedChannel], options: dict[str, str]) -> list[str]:
        """Create a publisher for each channel; returns what can not, or must not, be played, a sentence for each channel.

        Raises:
            MissingPackageError: rclpy is not here.
            UsageError: an option is not known or can not be meant.
        """
        settings = _Settings(options)
        load_rclpy()
        self.domain = settings.domain
        self._context = make_context(settings.domain)
        self._node = make_node(self._context, f"dari_replay_{os.getpid()}")
        refused: list[str] = []
        planned: list[tuple[PlayedChannel, str, Any]] = []
        for channel in channels:
            original = channel.metadata.get(TOPIC_KEY) or channel.topic
            topic = settings.remap.get(original, original)
            try:
                planned.append((channel, topic, interfaces.message_class(channel.type_name)))
            except interfaces.NotInstalled as missing:
                refused.append(f"{channel.topic} ({channel.type_name}) is not played: {missing}")
        held = {} if settings.force else self._held(planned, settings)
        owners: dict[str, tuple[str, str]] = {}
        for channel, topic, message in planned:
            if topic in held:
                refused.append(f"{channel.topic} is not played to {topic}: {held[topic]}; --set force=true plays it")
                continue
            owner = owners.setdefault(topic, (channel.topic, channel.type_name))
            if owner != (channel.topic, channel.type_name):
                refused.append(f"{channel.topic} is played under that name, since {owner[0]} is played to {topic}")
                topic = channel.topic
            self._publishers[channel.id] = self._publisher(channel, topic, message)
        self.unheard = self._wait_for_subscribers(settings.wait_s)
        self.taken = frozenset(self._publishers)
        return refused

    def _publisher(self, channel: PlayedChannel, topic: str, message: Any) -> Any:
        # A source that was restarted declared its channels again: one topic, several channels.
        for publisher in self._publishers.values():
            if publisher.topic_name == topic:
                return publisher
        profile = qos.to_play(channel.metadata.get("offered_qos_profiles", ""), DEPTH)
        return self._node.create_publisher(message, topic, profile)

    def play(self, message: PlayedMessage) -> None:
        """Publish one message, byte for byte. Messages of a channel that is not played are passed over."""
        publisher = self._publishers.get(message.channel)
        if publisher is not None:
            publisher.publish(bytes(message.data))

    def close(self) -> None:
        """Wait a little until reliable subscribers have everything, then leave the graph."""
        if self._context is None:
            return
        from rclpy.duration import Duration

        try:
            deadline = time.monotonic() + ACKNOWLEDGE_S
            for publisher in self._publishers.values():
                left = deadline - time.monotonic()
                if left > 0 and publisher.get_subscription_count():
                    publisher.wait_for_all_acked(Duration(seconds=left))
        finally:
            self._publishers.clear()
            self._node.destroy_node()
            self._context.try_shutdown()
            self._context = self._node = None

    def closing(self) -> str:
        """Which topics nobody listened to, where it was waited for."""
        return f"nobody listened to {', '.join(self.unheard)}" if self.unheard else ""

    def _held(self, planned: list[tuple[PlayedChannel, str, Any]], settings: _Settings) -> dict[str, str]:
        """Topics that are held back, with the reason: what a live graph would obey or believe."""
        commands = {topic for channel, topic, _ in planned if is_command(topic, channel.type_name)}
        # A status of an action belongs to its server: clients would believe the replay's.
        believed = {topic for _, topic, _ in planned if topic in _BELIEVED or "/_action/" in topic}
        held: dict[str, str] = {}
        if not commands and not believed:
            return held
        deadline = time.monotonic() + settings.discover_s
        while time.monotonic() < deadline:
            time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
        for topic in commands | believed:
            if self._node.get_publishers_info_by_topic(topic):
                held[topic] = f"domain {settings.domain} has a live publisher of it"
            # In a domain that somebody named, a listener to a command is a robot until it is said otherwise.
            elif topic in commands and settings.named and self._node.get_subscriptions_info_by_topic(topic):
                held[topic] = f"it is a command, and something in domain {settings.domain} listens to it"
        return held

    def _wait_for_subscribers(self, seconds: float) -> list[str]:
        """Wait until every publisher is heard; returns the topics that are not when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            unheard = [p.topic_name for p in self._publishers.values() if not p.get_subscription_count()]
            if not unheard or time.monotonic() >= deadline:
                return unheard if seconds else []
            time.sleep(0.02)


class _Settings:
    """The player's options, read and checked."""

    def __init__(self, options: dict[str, str]) -> None:
        for key in options:
            if key not in _KEYS:
                meant = nearest(key, _KEYS)
                raise UsageError(
                    f"the ros2 player has no option {key!r}",
                    hint=f"did you mean {meant}?" if meant else f"there are {', '.join(_KEYS)}",
                )
        domain = options.get("domain", "")
        self.named = bool(domain)
        if domain == "env":
            self.domain = environment_domain()
        else:
            self.domain = int(_number("domain", domain, ISOLATED_DOMAIN))
        self.force = _truth("force", options.get("force", "false"))
        self.wait_s = _number("wait_s", options.get("wait_s", ""), 0.0)
        self.discover_s = _number("discover_s", options.get("discover_s", ""), 1.0)
        self.remap = _remap(options.get("remap", ""))


def _number(key: str, text: str, otherwise: float) -> float:
    if not text:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6 or (key == "domain" and not value.is_integer()):
        raise UsageError(f"{key} is {text!r}", hint="give a number that is not negative, as in --set wait_s=5")
    return value


def _truth(key: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{key} is {text!r}", hint="it is true or false")
    return text == "true"


def _remap(text: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        old, mark, new = part.partition(":=")
        if not mark or not old or not new:
            raise UsageError(f"remap has {part!r}", hint="write /old:=/new, several joined by commas")
        pairs[absolute(old)] = absolute(new)
    return pairs
