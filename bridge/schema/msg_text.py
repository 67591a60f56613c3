"""The `.msg` text of the messages of `dari_msgs`, made from their classes."""

from __future__ import annotations

import inspect
import textwrap
import typing

import msgspec

from bridge.schema.interfaces import Message

WIDTH = 116


def msg_text(message: type[Message]) -> str:
    """The `.msg` text of a message: its docstring and its columns' comments are the comments."""
    lines = _comment(inspect.cleandoc(message.__doc__ or ""))
    for name, hint in typing.get_type_hints(message, include_extras=True).items():
        if name not in message.__struct_fields__:
            continue
        meta = next(item for item in hint.__metadata__ if isinstance(item, msgspec.Meta))
        ros = str((meta.extra or {})["ros"])
        if meta.description or name in message.constants:
            lines.append("")
        lines += _comment(meta.description or "")
        lines += [f"{type_} {constant}={number}" for type_, constant, number in message.constants.get(name, ())]
        lines.append(f"{ros} {name}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        if lines:
            lines.append("#")
        lines += [f"# {line}" for line in textwrap.wrap(" ".join(paragraph.split()), WIDTH)]
    return lines
