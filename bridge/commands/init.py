"""`dari init [FILE]`: asks what to connect, and writes a site file that `dari check` has nothing against."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bridge.commands.base import Command

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.commands.starter import Modbus, Mqtt, OpcUa, Plan, Ros2

T = TypeVar("T")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", default="site.yaml", help="the file to write (default: site.yaml)")
    parser.add_argument("--name", default=None, help="the site's name (default: the folder's)")
    parser.add_argument("--ros2", action="store_true", help="connect a ROS 2 robot")
    parser.add_argument("--ros2-topic", action="append", default=[], metavar="REGEX", help="take these topics only")
    parser.add_argument("--opcua", metavar="URL", help="connect an OPC UA server: opc.tcp://HOST:PORT")
    parser.add_argument(
        "--opcua-node", action="append", default=[], metavar="NAME=NODE", help="as in force=ns=2;s=Force"
    )
    parser.add_argument("--modbus", metavar="HOST[:PORT]", help="connect a Modbus TCP device")
    parser.add_argument("--modbus-register", action="append", default=[], metavar="NAME=ADDRESS", help="from 0")
    parser.add_argument("--mqtt", metavar="URL", help="connect an MQTT broker: mqtt://[USER@]HOST[:PORT], or mqtts://")
    parser.add_argument(
        "--mqtt-topic", action="append", default=[], metavar="NAME=TOPIC", help="as in rms=press/vibration"
    )
    parser.add_argument(
        "--allow-insecure-login", action="store_true", help="to a broker without TLS, where its password can be read"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing: take the arguments and the defaults")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")


def _run(args: argparse.Namespace) -> int:
    import shlex
    import sys
    from pathlib import Path

    from bridge.commands.starter import write
    from bridge.errors import UsageError
    from bridge.site import load_text

    path = Path(args.file)
    if path.is_dir():
        path = path / "site.yaml"
    if path.exists() and not args.force:
        raise UsageError(
            "the file is there already", where=str(path), hint="name another one, or overwrite it: --force"
        )
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", where=str(path.parent), hint=f"mkdir -p {path.parent}")
    if args.yes:
        plan = planned(args, path)
    elif sys.stdin.isatty():
        plan = asked(args, path, input)
    else:
        raise UsageError(
            "dari init asks its questions on a terminal, and standard input is none",
            hint="dari init --yes --opcua opc.tcp://HOST:4840 --modbus HOST:502 --mqtt mqtt://HOST --ros2 (what you have)",
        )
    text = write(plan)
    site = load_text(text, path)
    _keep(path, text, args.force)
    print(f"written: {path} ({', '.join(source.name for source in site.sources)})")
    for warning in site.warnings:
        print(f"  {warning.what}")
    print(f"next: put your own signals into {path}, then")
    for command in ("check", "doctor", "run"):
        print(f"  dari {command} {shlex.quote(str(path))}")
    return 0


def _keep(path: Path, text: str, force: bool) -> None:
    """Write the file whole or not at all; without `force`, never over one that came to be there meanwhile."""
    import os

    from bridge.errors import UsageError

    try:
        if not force:
            with path.open("x", encoding="utf-8") as new:
                new.write(text)
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except OSError as error:
        raise UsageError(
            f"the file can not be written: {error.strerror}", where=str(path), hint="name one in a folder of your own"
        ) from None


def planned(args: argparse.Namespace, path: Path) -> Plan:
    """The plan from the arguments alone. Raises `UsageError` for what can not be meant, and where there is no source."""
    from dataclasses import replace

    from bridge.commands.starter import Modbus, OpcUa, Plan, Ros2
    from bridge.errors import UsageError

    opcua = OpcUa(_endpoint(args.opcua), _pairs(args.opcua_node, "--opcua-node")) if args.opcua else None
    modbus = mqtt = None
    if args.modbus:
        host, port = _address(args.modbus, 502, "--modbus")
        registers = {
            name: _register(value, "--modbus-register")
            for name, value in _pairs(args.modbus_register, "--modbus-register").items()
        }
        modbus = Modbus(host, port, registers)
    if args.mqtt:
        topics = _pairs(args.mqtt_topic, "--mqtt-topic")
        mqtt = replace(_broker(args.mqtt), topics=topics, insecure=args.allow_insecure_login)
        if mqtt.readable and not mqtt.insecure:
            raise UsageError(
                f"without TLS the password of {mqtt.username!r} can be read on the network",
                where=f"--mqtt {args.mqtt}",
                hint="write mqtts:// for TLS, or say that this is known: --allow-insecure-login",
            )
    for flag, given, of in (
        ("--opcua-node", args.opcua_node, args.opcua),
        ("--modbus-register", args.modbus_register, args.modbus),
        ("--mqtt-topic", args.mqtt_topic, args.mqtt),
        ("--ros2-topic", args.ros2_topic, args.ros2),
    ):
        if given and not of:
            raise UsageError(f"{flag} is given without {flag.rpartition('-')[0]}", hint="give both")
    ros2 = Ros2(topics=tuple(args.ros2_topic)) if args.ros2 else None
    if opcua is None and modbus is None and mqtt is None and ros2 is None:
        raise UsageError("there is nothing to connect", hint="name at least one of --ros2, --opcua, --modbus, --mqtt")
    return Plan(name=args.name or default_name(path), ros2=ros2, opcua=opcua, modbus=modbus, mqtt=mqtt)


def asked(args: argparse.Namespace, path: Path, ask: Callable[[str], str]) -> Plan:
    """The plan from questions; what an argument says already is the default. `ask` shows a prompt and returns a line."""
    from bridge.commands.starter import Modbus, Plan
    from bridge.errors import UsageError

    try:
        print("What is to be connected? Enter takes what stands in [brackets].")
        name = _answer(ask, "name of this site", args.name or default_name(path), _name)
        enterprise = _answer(ask, "enterprise, the top of every asset's path (may be left out)", "", str)
        while True:
            ros2 = _ask_ros2(ask, args)
            opcua = _ask_opcua(ask, args)
            modbus: Modbus | None = None
            if _yes(ask, "a Modbus TCP device", bool(args.modbus)):
                host, port = _answer(
                    ask, "  address", args.modbus or "192.168.0.20:502", lambda t: _address(t, 502, "")
                )
                numbers = _named(ask, "  holding registers, as in speed=0 (address from 0)", lambda t: _register(t, ""))
                modbus = Modbus(host, port, numbers)
            mqtt = _ask_mqtt(ask, args)
            if ros2 is not None or opcua is not None or modbus is not None or mqtt is not None:
                return Plan(name=name, enterprise=enterprise, ros2=ros2, opcua=opcua, modbus=modbus, mqtt=mqtt)
            print("That connects nothing: once more. (Ctrl-C stops.)")
    except EOFError:
        raise UsageError("the answers ended before the questions did", hint="nothing was written") from None


def _ask_ros2(ask: Callable[[str], str], args: argparse.Namespace) -> Ros2 | None:
    from bridge.commands.starter import Ros2

    if not _yes(ask, "a ROS 2 robot", args.ros2):
        return None
    domain = _answer(ask, "  ROS_DOMAIN_ID (Enter: the environment's)", "", _domain)
    topics = _answer(ask, "  topics, as in /joint_states /camera/.* (Enter: all)", " ".join(args.ros2_topic), str.split)
    return Ros2(domain, tuple(topics))


def _ask_opcua(ask: Callable[[str], str], args: argparse.Namespace) -> OpcUa | None:
    from bridge.commands.starter import OpcUa

    if not _yes(ask, "an OPC UA server", bool(args.opcua)):
        return None
    endpoint = _answer(ask, "  endpoint", args.opcua or "opc.tcp://localhost:4840", _endpoint)
    return OpcUa(endpoint, _named(ask, "  nodes, as in force=ns=2;s=Press.Force", str))


def _ask_mqtt(ask: Callable[[str], str], args: argparse.Namespace) -> Mqtt | None:
    from dataclasses import replace

    if not _yes(ask, "an MQTT broker", bool(args.mqtt)):
        return None
    while True:
        broker = _answer(ask, "  address", args.mqtt or "mqtt://localhost:1883", _broker)
        if not broker.readable:
            break
        print(
            f"  Without TLS the password of {broker.username!r} can be read on the network. With TLS, write mqtts://."
        )
        if _yes(ask, "  is that known, and meant", args.allow_insecure_login):
            broker = replace(broker, insecure=True)
            break
    return replace(broker, topics=_named(ask, "  topics, as in rms=press/vibration", str))


def _answer(ask: Callable[[str], str], question: str, default: str, read: Callable[[str], T]) -> T:
    """Ask until the answer can be read."""
    from bridge.errors import UsageError

    while True:
        line = ask(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        try:
            return read(line)
        except UsageError as error:
            print(f"  {error.what}" + (f"; {error.hint}" if error.hint else ""))


def _yes(ask: Callable[[str], str], question: str, default: bool) -> bool:
    from bridge.errors import UsageError

    def read(line: str) -> bool:
        if line.lower() in ("y", "yes", "n", "no"):
            return line.lower().startswith("y")
        raise UsageError("answer y or n")

    return _answer(ask, f"{question}? y/n", "y" if default else "n", read)


def _named(ask: Callable[[str], str], question: str, read: Callable[[str], T]) -> dict[str, T]:
    """Ask for NAME=VALUE lines until an empty one."""
    found: dict[str, T] = {}

    def one(line: str) -> tuple[str, T] | None:
        if not line:
            return None
        ((name, value),) = _pairs([line], "").items()
        return name, read(value)

    while (pair := _answer(ask, f"{question}; Enter ends", "", one)) is not None:
        found[pair[0]] = pair[1]
    return found


def default_name(path: Path) -> str:
    """A name from the folder that the file lies in, with what a name can not hold replaced."""
    import re

    text = re.sub(r"[^A-Za-z0-9_-]+", "-", path.resolve().parent.name).strip("-")[:64]
    return text if re.match(r"[A-Za-z]", text) else "my-site"


def _name(text: str) -> str:
    import re

    from bridge.errors import UsageError

    if not re.match(r"^[A-Za-z][A-Za-z0-9_-]{0,63}$", text):
        raise UsageError(f"{text!r} is no name: a letter, then letters, digits, _ and -, 64 at most")
    return text


def _domain(text: str) -> int | None:
    from bridge.errors import UsageError

    if text and not (text.isascii() and text.isdigit() and int(text) <= 232):
        raise UsageError(f"{text!r} is no domain", hint="0 to 232; 0 to 101 are safe everywhere")
    return int(text) if text else None


def _pairs(lines: list[str], flag: str) -> dict[str, str]:
    """NAME=VALUE, each."""
    from bridge.errors import UsageError

    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{flag} {line!r} is not NAME=VALUE".strip())
        if name.strip() in found:
            raise UsageError(f"{flag} names {name.strip()!r} twice".strip())
        found[name.strip()] = value.strip()
    return found


def _register(text: str, flag: str) -> int:
    from bridge.errors import UsageError

    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise UsageError(f"{flag} {text!r} is no address from 0 to 65535".strip())
    return int(text)


def _endpoint(text: str) -> str:
    from bridge.errors import UsageError

    if not text.startswith("opc.tcp://") or len(text) == len("opc.tcp://"):
        raise UsageError(f"{text!r} is no OPC UA endpoint", hint="as in opc.tcp://192.168.0.10:4840")
    return text


def _address(text: str, port: int, flag: str) -> tuple[str, int]:
    """HOST, HOST:PORT, or [IPv6]:PORT."""
    from urllib.parse import urlsplit

    from bridge.errors import UsageError

    try:
        parts = urlsplit(f"//{text}")
        host, found = parts.hostname, parts.port
    except ValueError:
        host, found = None, None
    if host is None or parts.path or parts.username or found == 0:
        raise UsageError(f"{flag} {text!r} is not HOST:PORT".strip(), hint=f"as in 192.168.0.20:{port}")
    return host, found if found is not None else port


def _broker(text: str) -> Mqtt:
    """An address of a broker; a password in it is refused, since it would stay in the shell's history and in the file."""
    from urllib.parse import unquote, urlsplit

    from bridge.commands.starter import Mqtt
    from bridge.errors import UsageError

    try:
        parts = urlsplit(text if "://" in text else f"mqtt://{text}")
        host, port, path = parts.hostname, parts.port, parts.path
    except ValueError:
        host, port, path = None, None, ""
    if host is None or path.strip("/") or parts.scheme not in ("mqtt", "mqtts") or port == 0:
        raise UsageError("this is no address of a broker", hint="as in mqtt://192.168.0.30:1883, or mqtts:// for TLS")
    if parts.password is not None:
        raise UsageError(
            "a password does not belong in an address",
            hint="leave it out; the file will take it from the environment variable DARI_MQTT_PASSWORD",
        )
    return Mqtt(host=host, port=port, tls=parts.scheme == "mqtts", username=unquote(parts.username or ""))


init = Command(
    name="init",
    help="ask what to connect, and write a site file",
    configure=_configure,
    run=_run,
    epilog="In a script: dari init --yes --ros2 --opcua opc.tcp://HOST:4840 --modbus HOST:502 --mqtt mqtt://HOST",
)
