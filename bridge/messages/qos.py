"""The QoS text that the `ros2` profile wants in each channel's metadata, for channels that dari makes itself."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["event", "telemetry", "blob", "latched"]
Distribution = Literal["humble", "jazzy"]

# kind: depth, durability. All are reliable, since a reliable publisher is heard by every subscriber.
_PROFILES: Final[dict[str, tuple[int, str]]] = {
    "event": (1000, "transient_local"),
    "telemetry": (100, "volatile"),
    "blob": (10, "volatile"),
    "latched": (1, "transient_local"),
}
_FOREVER: Final = "    sec: 9223372036\n    nsec: 854775807"
# Before Iron rosbag2 wrote the numbers of rmw's enumerations.
_NUMBERS: Final = {"keep_last": "1", "reliable": "1", "transient_local": "1", "volatile": "2", "automatic": "1"}


def default_qos(kind: Kind, distribution: Distribution = "jazzy") -> str:
    """The YAML text for `offered_qos_profiles`: what `ros2 bag play` then offers.

    Args:
        kind: `event` keeps the last 1000 for those who join late, `latched` the last one; `telemetry` and `blob` keep none.
        distribution: `jazzy` also for Kilted and later; `humble` writes numbers, which is all that it reads.
    """
    depth, durability = _PROFILES[kind]

    def word(text: str) -> str:
        return _NUMBERS[text] if distribution == "humble" else text

    return "\n".join(
        [
            f"- history: {word('keep_last')}",
            f"  depth: {depth}",
            f"  reliability: {word('reliable')}",
            f"  durability: {word(durability)}",
            f"  deadline:\n{_FOREVER}",
            f"  lifespan:\n{_FOREVER}",
            f"  liveliness: {word('automatic')}",
            f"  liveliness_lease_duration:\n{_FOREVER}",
            "  avoid_ros_namespace_conventions: false",
        ]
    )
