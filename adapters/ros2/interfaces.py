"""Message types: their Python class, their text as rosbag2 writes it, their hash, and whether they begin with a header."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from adapters.ros2.environment import ament_prefixes
from bridge.errors import SchemaError

TOPIC_KEY = "dari.topic"
"""Channel metadata: the topic's name in the ROS graph, which replay restores."""
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)/(?:([A-Za-z][A-Za-z0-9_]*)/)?([A-Za-z][A-Za-z0-9_]*)")
# A field's type at the start of a line. Comments and bounded strings do not match, as in rosbag2, so that the order and
# number of the parts are the same.
_FIELD_TYPE = re.compile(r"(?:^|\n)\s*([a-zA-Z0-9_/]+)(?:\[[^\]]*\])?\s+")
_PRIMITIVE = frozenset(
    {"bool", "byte", "char", "float32", "float64", "string", "wstring"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_DELIMITER = "=" * 80
_FEEDBACK = "_FeedbackMessage"


class NotInstalled(LookupError):
    """A type whose package, or whose text, is not installed here."""


def message_class(type_name: str) -> Any:
    """The Python class of `pkg/msg/Name`, or of an action's `pkg/action/Name_FeedbackMessage`.

    Raises:
        NotInstalled: there is no such class in this environment.
    """
    package, kind, name = _split(type_name)
    try:
        module = importlib.import_module(f"{package}.{kind}")
    except ImportError as error:
        raise NotInstalled(f"the package {package} is not installed here") from error
    if kind == "action" and name.endswith(_FEEDBACK):
        action = getattr(module, name[: -len(_FEEDBACK)], None)
        if action is not None:
            return action.Impl.FeedbackMessage
    found = getattr(module, name, None)
    if found is None:
        raise NotInstalled(f"the package {package} that is installed here has no {name}")
    return found


def begins_with_header(message: Any) -> bool:
    """Whether the first field of a message class is a `std_msgs/Header`, whose stamp lies at byte 4 of the CDR."""
    fields: dict[str, str] = message.get_fields_and_field_types()
    return next(iter(fields.values()), "") == "std_msgs/Header"


def definition(type_name: str) -> str:
    """The `ros2msg` text, byte for byte as rosbag2 writes it when it finds the type in `share/`.

    Falls back to the text that `bridge.messages` generates, which lacks the comments.

    Raises:
        NotInstalled: neither knows the type.
    """
    try:
        return _assemble(type_name)
    except NotInstalled as missing:
        from bridge import messages

        try:
            return messages.definition(type_name)
        except SchemaError:
            raise missing from None


def type_hash(type_name: str) -> str:
    """The RIHS01 hash of a type from `share/`, or an empty string where the installation has none (Humble)."""
    package, kind, name = _split(type_name)
    path = _share(package, kind, f"{name}.json")
    if path is None:
        return ""
    for entry in json.loads(path.read_text(encoding="utf-8")).get("type_hashes", []):
        if entry.get("type_name") == type_name:
            return str(entry.get("hash_string", ""))
    return ""


def _assemble(root: str) -> str:
    """The text of a type and, depth first, of every type that it uses, each once, sorted within its user."""
    seen: set[str] = set()

    def part(type_name: str) -> str:
        package, kind, name = _split(type_name)
        path = _share(package, kind, f"{name}.msg")
        if path is None:
            raise NotInstalled(f"no share/{package}/{kind}/{name}.msg is installed here")
        # Bytes, not text mode: line ends must stay as they are in the file.
        text = path.read_bytes().decode("utf-8")
        whole = text
        for used in sorted(_uses(text, package)):
            if used not in seen:
                seen.add(used)
                whole += f"\n{_DELIMITER}\nMSG: {used}\n{part(used)}"
        return whole

    return part(root)


def _uses(text: str, package: str) -> set[str]:
    found = {match.group(1) for match in _FIELD_TYPE.finditer(text)} - _PRIMITIVE
    return {name if "/" in name else f"{package}/{name}" for name in found}


def _split(type_name: str) -> tuple[str, str, str]:
    match = _NAME.fullmatch(type_name)
    if match is None:
        raise NotInstalled(f"{type_name!r} is no ROS 2 type name")
    return match.group(1), match.group(2) or "msg", match.group(3)


def _share(package: str, kind: str, file: str) -> Path | None:
    for prefix in ament_prefixes():
        path = prefix / "share" / package / kind / file
        if path.is_file():
            return path
    return None
