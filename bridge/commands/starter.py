"""The site file that `dari init` writes: what was asked for, with comments that say what each part is for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_PLAIN: Final = re.compile(r"^[A-Za-z][A-Za-z0-9_./=-]*(://[A-Za-z0-9_./=-]*(:\d+)?[A-Za-z0-9_./=-]*)?$")
_WORDS_OF_YAML: Final = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True)
class OpcUa:
    """An OPC UA server: its endpoint, and nodes by the name that they get."""

    endpoint: str
    nodes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Modbus:
    """A Modbus TCP device: where it is, and holding registers (counted from 0) by the name that they get."""

    host: str
    port: int = 502
    registers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Mqtt:
    """An MQTT broker: where it is, who asks, and topics by the name that they get.

    `insecure` says that it is known that the password crosses the network readable: the broker speaks no TLS.
    """

    host: str
    port: int | None = None
    tls: bool = False
    username: str = ""
    topics: dict[str, str] = field(default_factory=dict)
    insecure: bool = False

    @property
    def readable(self) -> bool:
        """Whether the password would cross a network without TLS: such a file has a fault until it says so itself."""
        local = self.host in ("localhost", "::1") or self.host.startswith("127.")
        return bool(self.username) and not self.tls and not local


@dataclass(frozen=True)
class Ros2:
    """A ROS 2 graph: its domain (None takes the environment's), and expressions of topics (none takes all)."""

    domain: int | None = None
    topics: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What the file is to connect."""

    name: str
    enterprise: str = ""
    ros2: Ros2 | None = None
    opcua: OpcUa | None = None
    modbus: Modbus | None = None
    mqtt: Mqtt | None = None


def scalar(text: str) -> str:
    """Text as YAML that is read back as this text and nothing else."""
    if _PLAIN.match(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return json.dumps(text, ensure_ascii=False)


def write(plan: Plan) -> str:
    """The text of the file."""
    lines = [
        "# What dari connects and records. `dari check` says what is wrong with it, `dari run` runs it;",
        "# `dari adapters NAME` shows what a source can be told, docs/reference/site-file.md has everything.",
        "dari: 1",
        "",
        "site:",
        f"  name: {scalar(plan.name)}",
    ]
    if plan.enterprise:
        lines.append(f"  enterprise: {scalar(plan.enterprise)}")
    lines += ["", "# Equipment. Its path (enterprise/site/area/cell/unit, ISA-95) goes into every event.", "assets:"]
    if plan.ros2 is not None:
        lines += ["  robot: {cell: cell-1, unit: robot-1}"]
    if plan.opcua is not None or plan.modbus is not None or plan.mqtt is not None:
        lines += ["  line: {cell: cell-1}"]
    lines += ["", "# Where data comes from. `space` is twin, testbed or field.", "sources:"]
    for part in (_ros2(plan.ros2), _opcua(plan.opcua), _modbus(plan.modbus), _mqtt(plan.mqtt)):
        lines += part
    lines += [
        "",
        "# Where it goes: an MCAP log for each run.",
        "sinks:",
        "  log: {sink: mcap}",
    ]
    lines += _rules(plan)
    return "\n".join(lines) + "\n"


def _head(name: str, adapter: str, space: str, asset: str) -> list[str]:
    return [f"  {name}:", f"    adapter: {adapter}", f"    space: {space}", f"    asset: {asset}"]


def _ros2(ros2: Ros2 | None) -> list[str]:
    if ros2 is None:
        return []
    lines = _head("robot", "ros2", "testbed", "robot")
    options = []
    if ros2.domain is not None:
        options.append(f"      domain: {ros2.domain}")
    if ros2.topics:
        options.append("      include:  # regular expressions that match a whole topic name; without them, every topic")
        options += [f"        - {scalar(topic)}" for topic in ros2.topics]
    if options:
        return [*lines, "    options:", *options]
    return [*lines, "    # options: {include: [/joint_states, /camera/.*]}  # without it, every topic is taken"]


def _opcua(opcua: OpcUa | None) -> list[str]:
    if opcua is None:
        return []
    nodes = opcua.nodes or {"server_time": "i=2258"}
    lines = [*_head("plc", "opcua", "field", "line"), "    options:", f"      endpoint: {scalar(opcua.endpoint)}"]
    lines += ["    signals:  # name: its node; add unit: (UCUM), scale: and own: true where they are of use"]
    if not opcua.nodes:
        lines.append("      # every server has this one: put your own nodes here")
    return lines + [
        f"      {scalar(name)}: {{node: {json.dumps(node, ensure_ascii=False)}}}" for name, node in nodes.items()
    ]


def _modbus(modbus: Modbus | None) -> list[str]:
    if modbus is None:
        return []
    registers = modbus.registers or {"register_0": 0}
    lines = [*_head("io", "modbus", "field", "line"), "    options:", f"      host: {scalar(modbus.host)}"]
    lines += [f"      port: {modbus.port}"]
    lines += ["    signals:  # addresses count from 0: what a manual calls 40001 is {table: holding, address: 0}"]
    if not modbus.registers:
        lines.append("      # an example: put your own addresses here; type: float32 and order: CDAB for two registers")
    return lines + [
        f"      {scalar(name)}: {{table: holding, address: {number}}}" for name, number in registers.items()
    ]


def _mqtt(mqtt: Mqtt | None) -> list[str]:
    if mqtt is None:
        return []
    topics = mqtt.topics or {"value": "line/value"}
    lines = [*_head("sensors", "mqtt", "field", "line"), "    options:", f"      host: {scalar(mqtt.host)}"]
    if mqtt.port is not None:
        lines.append(f"      port: {mqtt.port}")
    if mqtt.tls:
        lines.append("      tls: true")
    if mqtt.username:
        lines += [
            f"      username: {scalar(mqtt.username)}",
            "      password: {env: DARI_MQTT_PASSWORD}  # a secret never stands here: export it before dari starts",
        ]
    if mqtt.readable and mqtt.insecure:
        lines.append(
            "      allow_insecure_login: true  # without TLS the password can be read on the network: this is known"
        )
    lines += ["    signals:  # one topic each; path: leads to the value in a JSON payload"]
    if not mqtt.topics:
        lines.append("      # an example: put your own topics here")
    return lines + [
        f"      {scalar(name)}: {{topic: {json.dumps(topic, ensure_ascii=False)}}}" for name, topic in topics.items()
    ]


def _rules(plan: Plan) -> list[str]:
    """An example of rules, commented out: which signals mean what, only the user knows."""
    source = "plc" if plan.opcua else "io" if plan.modbus else "sensors" if plan.mqtt else ""
    if not source:
        return []
    return [
        "",
        "# Rules make task events of signals; take the # away and put your own signals in.",
        "# rules:",
        "#   pick:",
        "#     task: pick",
        "#     verb: grasp",
        "#     space: field",
        "#     asset: line",
        "#     inputs:",
        f"#       cycle_start: {{source: {source}, tag: YOUR_START_BIT}}",
        f"#       cycle_done: {{source: {source}, tag: YOUR_DONE_BIT}}",
        f"#       alarm: {{source: {source}, tag: YOUR_ALARM_CODE}}",
        "#     rules:",
        "#       - {emit: started, trigger: rise, when: cycle_start, from: [idle]}",
        "#       - {emit: failed, trigger: rise, when: alarm != 0, code: unknown, from: [active]}",
        "#       - {emit: succeeded, trigger: rise, when: cycle_done and alarm == 0, from: [active]}",
    ]
