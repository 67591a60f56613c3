"""What rosbag2 looks for in an MCAP file: QoS in the form of a distribution, and its own metadata record.

rosbag2 writes a metadata record named `rosbag2` with one key, `serialized_metadata`, when a bag is opened and again when
it is closed; its reader takes the version from the last one, and by it how to read `offered_qos_profiles`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import yaml

Distribution = Literal["jazzy", "humble"]

RECORD: Final = "rosbag2"
_VERSION: Final[dict[str, int]] = {"humble": 5, "jazzy": 9}
# The numbers of rmw's enumerations (rmw/types.h), which bags before Jazzy hold in place of the words.
_NUMBERS: Final[dict[str, dict[str, int]]] = {
    "history": {"system_default": 0, "keep_last": 1, "keep_all": 2, "unknown": 3},
    "reliability": {"system_default": 0, "reliable": 1, "best_effort": 2, "unknown": 3, "best_available": 4},
    "durability": {"system_default": 0, "transient_local": 1, "volatile": 2, "unknown": 3, "best_available": 4},
    "liveliness": {"system_default": 0, "automatic": 1, "manual_by_node": 2, "manual_by_topic": 3, "unknown": 4},
}


def qos_for(text: str, distribution: Distribution) -> str:
    """QoS text as `distribution` reads it: words from Jazzy on, numbers for Humble. A text that is no QoS stays as it is."""
    try:
        profiles = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if not isinstance(profiles, list) or not all(isinstance(profile, dict) for profile in profiles):
        return text
    changed = [{key: _translated(key, value, distribution) for key, value in profile.items()} for profile in profiles]
    if changed == profiles:
        return text
    return yaml.safe_dump(changed, sort_keys=False).rstrip()


def _translated(key: str, value: Any, distribution: Distribution) -> Any:
    numbers = _NUMBERS.get(key)
    if numbers is None:
        return value
    if distribution == "humble":
        return numbers.get(value, value) if isinstance(value, str) else value
    words = {number: word for word, number in numbers.items()}
    return words.get(value, value) if isinstance(value, int) else value


def serialized_metadata(
    file_name: str,
    topics: list[tuple[str, str, str, str, int]],
    times: tuple[int, int] | None,
    distribution: Distribution,
) -> str:
    """The text of `serialized_metadata`.

    Args:
        file_name: the log's own name.
        topics: topic, type, QoS text, type hash and messages of each.
        times: first and last log time in ns; None for an empty log.
        distribution: whose version of the metadata.
    """
    start, end = times if times is not None else (0, 0)
    count = sum(topic[4] for topic in topics)
    span = {
        "starting_time": {"nanoseconds_since_epoch": start},
        "duration": {"nanoseconds": end - start},
        "message_count": count,
    }
    metadata: dict[str, Any] = {
        "version": _VERSION[distribution],
        "storage_identifier": "mcap",
        "relative_file_paths": [file_name],
        "duration": span["duration"],
        "starting_time": span["starting_time"],
        "message_count": count,
        "topics_with_message_count": [_topic(*topic, distribution) for topic in topics],
        "compression_format": "",
        "compression_mode": "",
        "files": [{"path": file_name, **span}],
    }
    if distribution != "humble":
        metadata |= {"custom_data": {}, "ros_distro": distribution}
    return str(yaml.safe_dump(metadata, sort_keys=False))


def _topic(
    name: str, type_name: str, qos: str, type_hash: str, count: int, distribution: Distribution
) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "type": type_name, "serialization_format": "cdr"}
    if distribution == "humble":
        described["offered_qos_profiles"] = qos
    else:
        profiles = yaml.safe_load(qos) if qos else []
        described["offered_qos_profiles"] = profiles if isinstance(profiles, list) else []
        described["type_description_hash"] = type_hash
    return {"topic_metadata": described, "message_count": count}
