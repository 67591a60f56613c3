"""A store of ROS 2 message types, on top of rosbags' own."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from bridge.errors import SchemaError
from bridge.names import nearest

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_SEPARATOR = "=" * 80
_TYPE_NAME = re.compile(r"^[a-z][a-z0-9_]*/(msg|srv|action)/[A-Za-z][A-Za-z0-9_]*$")
_SURPLUS = 64
_HEADER = "std_msgs/msg/Header"
_DTYPES: dict[str, np.dtype[Any]] = {
    "bool": np.dtype("bool"),
    "byte": np.dtype("uint8"),
    "char": np.dtype("uint8"),
    "octet": np.dtype("uint8"),
    **{name: np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")},
    "float32": np.dtype("float32"),
    "float64": np.dtype("float64"),
}
# The default values that standard types give in their .msg files; the store knows layouts only.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "geometry_msgs/msg/Quaternion": {"w": 1.0},
    "sensor_msgs/msg/NavSatStatus": {"status": -2},
}


class MessageTypes:
    """The types of ROS 2 Kilted and of `dari_msgs`, and those that are registered. May be called from any thread."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        from bridge.schema.interfaces import MESSAGES
        from bridge.schema.msg_text import msg_text

        self._lock = threading.RLock()
        self._store: Typestore = get_typestore(Stores.ROS2_KILTED)
        self._texts: dict[str, str] = {}
        self._hashes: dict[str, str] = {}
        own: dict[str, Any] = {}
        for message in MESSAGES:
            self._texts[message.type_name] = msg_text(message)
            own.update(get_types_from_msg(msg_text(message), message.type_name))
        self._store.register(own)
        self._full = {message.type_name: self._with_dependencies(message.type_name) for message in MESSAGES}

    def known(self, type_name: str) -> bool:
        """Whether the type is known."""
        return type_name in self._store.fielddefs

    def definition(self, type_name: str) -> str:
        """The `ros2msg` text of a type and of all that it contains, as rosbag2 writes it."""
        self._need(type_name)
        with self._lock:
            if type_name not in self._full:
                self._full[type_name] = self._with_dependencies(type_name)
            return self._full[type_name]

    def type_hash(self, type_name: str) -> str:
        """The REP-2011 hash of a type (`RIHS01_...`)."""
        self._need(type_name)
        with self._lock:
            if type_name not in self._hashes:
                self._hashes[type_name] = self._hash(type_name)
            return self._hashes[type_name]

    def register(self, type_name: str, definition_text: str) -> None:
        """Make a type, and all that its text holds, known.

        Types that are known already must have the same layout; their text is then kept as it is here.
        """
        from rosbags.typesys import TypesysError, get_types_from_msg

        if not _TYPE_NAME.match(type_name):
            raise SchemaError(f"{type_name!r} is no ROS 2 type name", hint="write package/msg/Type")
        try:
            types = get_types_from_msg(definition_text, type_name)
        except (TypesysError, AssertionError, ValueError) as error:
            first = (str(error).splitlines() or ["it can not be parsed"])[0]
            raise SchemaError(f"the definition is no ros2msg text: {first}", where=type_name) from None
        with self._lock:
            inside = {name for _, fields in types.values() for _, field in fields if (name := _named(field))}
            absent = sorted(name for name in inside - types.keys() if not self.known(name))
            if absent:
                raise SchemaError(
                    f"the definition leaves out what it contains: {', '.join(absent)}",
                    where=type_name,
                    hint="give the text with all of its dependencies, or register those first",
                )
            new = not self.known(type_name)
            try:
                self._store.register(types)
            except TypesysError as error:
                raise SchemaError(
                    f"{error}",
                    where=type_name,
                    hint="another version of this type is in use here: read this log with a MessageTypes of its own",
                ) from None
            if new:
                self._texts[type_name] = definition_text.split(_SEPARATOR)[0]

    def message(self, type_name: str, /, **fields: Any) -> Any:
        """A message with the given fields, and zeros, empty texts and empty arrays elsewhere."""
        self._need(type_name)
        names = [name for name, _ in self._store.fielddefs[type_name][1]]
        for name in fields:
            if name not in names:
                close = nearest(name, names)
                raise SchemaError(
                    f"{type_name} has no field {name!r}",
                    hint=f"did you mean {close!r}?" if close else f"it has: {', '.join(names)}",
                )
        defaults = _DEFAULTS.get(type_name, {})
        values = {}
        for name, field in self._store.fielddefs[type_name][1]:
            given = fields.get(name, defaults.get(name))
            values[name] = self._zero(field) if given is None else self._fitted(given, field, f"{type_name}.{name}")
        return self._store.types[type_name](**values)

    def serialize(self, type_name: str, message: Any) -> bytes:
        """CDR bytes, little-endian, with the 4-byte encapsulation header."""
        self._need(type_name)
        try:
            return bytes(self._store.serialize_cdr(message, type_name, little_endian=True))
        except Exception as error:
            # What a wrong type raises inside generated code is anything: tell it in one form.
            raise SchemaError(
                f"this {type(message).__name__} is no {type_name}: {error}",
                hint="build it by bridge.messages.message, which converts lists and fills what is left out",
            ) from error

    def deserialize(self, type_name: str, data: bytes | memoryview) -> Any:
        """The message in CDR bytes of either endianness."""
        self._need(type_name)
        try:
            if len(data) < 4 or data[0] != 0 or data[1] > 1:
                raise ValueError("the first four bytes are no CDR encapsulation that is known here")
            layout = self._store.get_msgdef(type_name)
            read = layout.deserialize_cdr_le if data[1] else layout.deserialize_cdr_be
            message, end = read(memoryview(data)[4:], 0, layout.cls, self._store)
            # Not the store's own check: rmw's serialized messages may end with bytes that mean nothing, up to eight for
            # each empty sequence, since their size is estimated before they are written.
            if len(data) - 4 - end > max(_SURPLUS, end):
                raise ValueError(f"{len(data) - 4 - end} bytes are left over behind it")
        except Exception as error:
            # What damaged bytes raise inside generated code is anything: tell it in one form.
            raise SchemaError(
                f"{len(data)} bytes are no {type_name}: {error}",
                hint="the data was cut, or is of another type or another version of it",
            ) from error
        return message

    def begins_with_header(self, type_name: str) -> bool:
        """Whether the first field is a `std_msgs/msg/Header`."""
        self._need(type_name)
        fields = self._store.fielddefs[type_name][1]
        return bool(fields) and fields[0][1][1] == _HEADER

    def _need(self, type_name: str) -> None:
        if type_name not in self._store.fielddefs:
            close = nearest(type_name, list(self._store.fielddefs))
            raise SchemaError(
                f"the message type {type_name!r} is not known",
                hint=f"did you mean {close!r}? " * bool(close) + "make other types known by bridge.messages.register",
            )

    def _names_inside(self, type_name: str) -> list[str]:
        return [name for _, field in self._store.fielddefs[type_name][1] if (name := _named(field))]

    def _hash(self, type_name: str) -> str:
        """By way of a store in which `char` is `uint8`, which is what a `.msg` file means by it in ROS 2."""
        from rosbags.typesys.store import Typestore

        plain, waiting = Typestore(), [type_name]
        while waiting:
            name = waiting.pop()
            if name not in plain.fielddefs:
                constants, fields = self._store.fielddefs[name]
                plain.fielddefs[name] = (constants, [(field, _without_char(kind)) for field, kind in fields])
                waiting += self._names_inside(name)
        return plain.hash_rihs01(type_name)

    def _with_dependencies(self, type_name: str) -> str:
        """Depth first, each type once, as rosbag2 does; texts of our own keep their comments."""
        parts: list[str] = []
        seen = {type_name}

        def append(name: str) -> None:
            text = self._texts.get(name) or self._store.generate_msgdef(name, ros_version=2)[0].split(_SEPARATOR)[0]
            package, _, short = name.partition("/msg/")
            parts.append(f"{_SEPARATOR}\nMSG: {package}/{short}\n{text}" if parts else text)
            for inner in self._names_inside(name):
                if inner not in seen:
                    seen.add(inner)
                    append(inner)

        append(type_name)
        return "".join(parts)

    def _zero(self, field: Any) -> Any:
        from rosbags.interfaces import Nodetype

        node, detail = field
        if node == Nodetype.BASE:
            return _scalar(detail[0])
        if node == Nodetype.NAME:
            return self.message(detail)
        inner, length = detail
        count = length if node == Nodetype.ARRAY else 0
        if inner[0] == Nodetype.BASE and inner[1][0] in _DTYPES:
            return np.zeros(count, _DTYPES[inner[1][0]])
        return [self._zero(inner) for _ in range(count)]

    def _fitted(self, value: Any, field: Any, where: str) -> Any:
        """A value as the store's encoder wants it: maps become messages, lists of numbers become arrays."""
        from rosbags.interfaces import Nodetype

        node, detail = field
        if node == Nodetype.BASE:
            return value
        if node == Nodetype.NAME:
            return self.message(detail, **value) if isinstance(value, dict) else value
        inner, length = detail
        if node == Nodetype.ARRAY and len(value) != length:
            raise SchemaError(f"this array has {length} items, {len(value)} were given", where=where)
        if inner[0] == Nodetype.BASE and inner[1][0] in _DTYPES:
            if isinstance(value, (bytes, bytearray, memoryview)):
                return np.frombuffer(value, _DTYPES[inner[1][0]])
            try:
                return np.ascontiguousarray(value, _DTYPES[inner[1][0]])
            except (ValueError, TypeError, OverflowError) as error:
                raise SchemaError(f"these are no {inner[1][0]} numbers: {error}", where=where) from None
        return [self._fitted(item, inner, where) for item in value]


def _named(field: Any) -> str:
    """The message type that a field holds, or an empty text where it holds numbers or text."""
    from rosbags.interfaces import Nodetype

    node, detail = field
    if node == Nodetype.NAME:
        return str(detail)
    return _named(detail[0]) if node in (Nodetype.ARRAY, Nodetype.SEQUENCE) else ""


def _without_char(field: Any) -> Any:
    """The same field with `uint8` for `char`."""
    from rosbags.interfaces import Nodetype

    node, detail = field
    if node == Nodetype.BASE:
        return (node, ("uint8", 0)) if detail[0] == "char" else field
    if node == Nodetype.NAME:
        return field
    return (node, (_without_char(detail[0]), detail[1]))


def _scalar(name: str) -> Any:
    if name == "string":
        return ""
    if name == "bool":
        return False
    return 0.0 if name.startswith("float") else 0
