"""ROS 2 message types without ROS 2: their definitions, their hashes, CDR bytes to objects and back.

The types of ROS 2 Kilted and of `dari_msgs` are known; others are made known by `register`. Importing this is cheap: the
types are built on first use. All of it may be called from any thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from bridge.messages.header import header_stamp_ns
from bridge.messages.joint_state import JointStateEncoder
from bridge.messages.qos import default_qos

if TYPE_CHECKING:
    from bridge.messages.types import MessageTypes

__all__ = [
    "JointStateEncoder",
    "MessageTypes",
    "begins_with_header",
    "default_qos",
    "definition",
    "deserialize",
    "header_stamp_ns",
    "known",
    "message",
    "register",
    "serialize",
    "type_hash",
]

_building = threading.Lock()
_shared: MessageTypes | None = None


def shared() -> MessageTypes:
    """The types that this process shares. A reader of a log with other versions of a type takes a `MessageTypes` of its own."""
    global _shared
    if _shared is None:
        with _building:
            if _shared is None:
                from bridge.messages.types import MessageTypes

                _shared = MessageTypes()
    return _shared


def __getattr__(name: str) -> Any:
    """`MessageTypes`, which needs NumPy, is imported when it is asked for."""
    if name == "MessageTypes":
        from bridge.messages.types import MessageTypes

        return MessageTypes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def known(type_name: str) -> bool:
    """Whether the type is known: `sensor_msgs/msg/JointState`."""
    return shared().known(type_name)


def definition(type_name: str) -> str:
    """The `ros2msg` text of a type and of all that it contains, as rosbag2 writes it. Raises `SchemaError`."""
    return shared().definition(type_name)


def type_hash(type_name: str) -> str:
    """The REP-2011 hash of a type (`RIHS01_...`). Raises `SchemaError`."""
    return shared().type_hash(type_name)


def register(type_name: str, definition_text: str) -> None:
    """Make a type known by its `ros2msg` text. Raises `SchemaError` where it is known with another layout."""
    shared().register(type_name, definition_text)


def message(type_name: str, /, **fields: Any) -> Any:
    """A message with the given fields and zeros elsewhere; nested messages may be given as maps. Raises `SchemaError`."""
    return shared().message(type_name, **fields)


def serialize(type_name: str, message: Any) -> bytes:
    """CDR bytes, little-endian, with the 4-byte encapsulation header. Raises `SchemaError`."""
    return shared().serialize(type_name, message)


def deserialize(type_name: str, data: bytes | memoryview) -> Any:
    """The message in CDR bytes of either endianness; its arrays are NumPy arrays. Raises `SchemaError`."""
    return shared().deserialize(type_name, data)


def begins_with_header(type_name: str) -> bool:
    """Whether the first field is a `std_msgs/msg/Header`, so that `header_stamp_ns` can read it. Raises `SchemaError`."""
    return shared().begins_with_header(type_name)
