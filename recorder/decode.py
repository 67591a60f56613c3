"""Messages of a log into objects, by the definitions that the log itself carries: foreign logs decode as well as ours."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from mcap.records import Schema

from bridge.errors import LogError
from bridge.schema.interfaces import NULL_I64, NULL_U64


@functools.lru_cache(maxsize=256)
def _store(name: str, encoding: str, data: bytes) -> Any:
    """The types of one schema; parsing a definition takes milliseconds, and the same ones come in every log."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    text = data.decode()
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, name) if encoding == "ros2msg" else get_types_from_idl(text))
    return store


class Decoder:
    """Decodes CDR messages of one log; each schema gets a type store of its own, so versions of a type do not mix."""

    def __init__(self, schemas: dict[int, Schema], where: str) -> None:
        self._schemas = schemas
        self._where = where
        self._stores: dict[int, Any] = {}

    def decode(self, schema_id: int, encoding: str, data: bytes) -> Any:
        """One message as an object with the fields of its type. Raises `LogError` where it can not be decoded."""
        schema = self._schemas.get(schema_id)
        if schema is None or encoding != "cdr" or schema.encoding not in ("ros2msg", "ros2idl"):
            kind = "no schema" if schema is None else f"schema encoding {schema.encoding!r}"
            raise LogError(
                f"messages encoded as {encoding!r} with {kind} are not decoded here",
                where=self._where,
                hint="dari decodes CDR with ros2msg or ros2idl schemas; the message's bytes are in the log all the same",
            )
        store = self._stores.get(schema_id)
        if store is None:
            store = self._stores[schema_id] = self._store(schema)
        try:
            return store.deserialize_cdr(data, schema.name)
        except Exception as error:  # rosbags raises whatever its generated code meets: struct, index, Unicode errors
            raise LogError(
                f"a message of {len(data)} bytes is no {schema.name} ({error})",
                where=self._where,
                hint="the source sent other bytes than its type says; `dari cat --raw` shows them",
            ) from error

    def _store(self, schema: Schema) -> Any:
        try:
            return _store(schema.name, schema.encoding, schema.data)
        except Exception as error:  # a definition is foreign text: whatever the parser says of it is said to the reader
            raise LogError(
                f"the definition of {schema.name} can not be understood ({error})",
                where=self._where,
                hint="the log was written by a program that embeds another definition format",
            ) from error


OWN_TYPES = "dari_msgs/"
_NULLS = frozenset({NULL_I64, NULL_U64})


def plain(value: Any, type_name: str = "") -> Any:
    """A decoded message as dictionaries, lists and numbers, fit for JSON.

    Bytes arrays of more than 64 become their length: an image is not for reading. NaN and infinities become null, and so
    do the whole numbers that stand for null in dari's own types (`type_name`), and in no one else's.
    """
    own = type_name.startswith(OWN_TYPES)
    return _plain(value, _NULLS if own else frozenset())


def _plain(value: Any, nulls: frozenset[int]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name), nulls) for name in _fields(value)}
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8 and value.size > 64:
            return f"<{value.size} bytes>"
        return [_plain(item, nulls) for item in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [_plain(item, nulls) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return value.hex() if len(value) <= 64 else f"<{len(value)} bytes>"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None if isinstance(value, int) and value in nulls else value


def _fields(value: Any) -> list[str]:
    """The names of a message's fields. rosbags has its constants among them; ROS 2 writes those in capitals, fields never."""
    return [f.name for f in dataclasses.fields(value) if not f.name.startswith("__") and not f.name.isupper()]


def numbers(value: Any, path: str = "") -> Iterator[str]:
    """The paths of every field of a decoded message that holds a number or numbers, for suggestions."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for name in _fields(value):
            yield from numbers(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, (bool, int, float, np.number)):
        yield path
    elif isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        yield f"{path}[...]"
