"""Quality of service: what to ask of the publishers there are, and the YAML in which rosbag2 keeps what they offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml


class Request(NamedTuple):
    """What a subscription asks for. Only these two decide whether a publisher and a subscription match."""

    reliable: bool
    transient_local: bool


def request_for(offers: Sequence[Any]) -> Request:
    """The strictest request that every publisher meets: reliable, transient_local only if all of them offer it.

    Args:
        offers: `rclpy.qos.QoSProfile` of each publisher; at least one.
    """
    return Request(
        all(offer.reliability.name == "RELIABLE" for offer in offers),
        all(offer.durability.name == "TRANSIENT_LOCAL" for offer in offers),
    )


def profile(request: Request, depth: int) -> Any:
    """The `rclpy.qos.QoSProfile` of a request, keeping the last `depth` messages."""
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if request.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if request.transient_local else DurabilityPolicy.VOLATILE,
    )


def to_yaml(offers: Sequence[Any]) -> str:
    """`offered_qos_profiles` as rosbag2 writes it since Jazzy (metadata version 9): names, not numbers."""
    entries = [
        {
            "history": offer.history.name.lower(),
            "depth": offer.depth,
            "reliability": offer.reliability.name.lower(),
            "durability": offer.durability.name.lower(),
            "deadline": _duration(offer.deadline),
            "lifespan": _duration(offer.lifespan),
            "liveliness": offer.liveliness.name.lower(),
            "liveliness_lease_duration": _duration(offer.liveliness_lease_duration),
            "avoid_ros_namespace_conventions": bool(offer.avoid_ros_namespace_conventions),
        }
        for offer in offers
    ]
    # yaml-cpp ends without a newline.
    return str(yaml.safe_dump(entries, sort_keys=False, default_flow_style=False)).rstrip("\n")


def recorded(text: str) -> list[dict[str, Any]]:
    """The profiles in a channel's `offered_qos_profiles`, of any rosbag2 version; empty when there is none that can be read."""
    try:
        entries = yaml.safe_load(text) if text else None
    except yaml.YAMLError:
        return []
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def to_play(text: str, depth: int) -> Any:
    """The profile to publish with: the recorded one where all publishers agreed, reliable and volatile elsewhere.

    History does not affect who can hear it, and is ours: the last `depth` messages.
    """
    offers = {_matching(entry) for entry in recorded(text)}
    request = offers.pop() if len(offers) == 1 else Request(True, False)
    return profile(request, depth)


def _matching(entry: dict[str, Any]) -> Request:
    # Humble and older write the policies as integers: 1 is reliable, and 1 is transient_local.
    return Request(entry.get("reliability") in ("reliable", 1), entry.get("durability") in ("transient_local", 1))


def _duration(value: Any) -> dict[str, int]:
    # Infinity is the largest int64 of nanoseconds, which is exactly rmw's pair (9223372036, 854775807).
    seconds, nanoseconds = divmod(int(value.nanoseconds), 1_000_000_000)
    return {"sec": seconds, "nsec": nanoseconds}
