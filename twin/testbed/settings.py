"""How the stand-in is started: its command line, typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set. A port of 0 means any free one; clocks are set by offset (ms) and rate error (ppm)."""

    seed: int
    seconds: float
    rest: float
    truth: Path | None
    ready: Path | None
    ros: bool
    link: str | None
    domain: int
    opcua_port: int
    modbus_port: int
    mqtt_port: int
    joint_skew_ms: float
    joint_drift_ppm: float
    plc_skew_ms: float
    plc_drift_ppm: float
    mqtt_skew_ms: float
    mqtt_drift_ppm: float


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port: 0 (any free one) to 65535")
    return number


def _domain(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 101:
        raise argparse.ArgumentTypeError(f"{number} is no ROS domain that is safe on every system: 0 to 101")
    return number


def parse(argv: Sequence[str] | None = None) -> Settings:
    """The command line of `python -m twin.testbed`."""
    parser = argparse.ArgumentParser(
        prog="python -m twin.testbed",
        description="A testbed robot's cell, emulated in a process of its own: ROS 2, a PLC and sensors on loopback.",
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, help="what is drawn: faults, parts, noise (default: 1)")
    add("--seconds", type=float, default=0.0, help="stop after this time; 0 means when told to (default: 0)")
    add("--rest", type=float, default=0.3, help="s that the cell rests before its first job (default: 0.3)")
    add("--truth", type=Path, metavar="FILE", help="write what truly happened, JSON lines")
    add("--ready", type=Path, metavar="FILE", help="write the addresses, JSON, when everything answers")
    add("--no-ros", dest="ros", action="store_false", help="leave ROS 2 out; needs --link")
    add(
        "--link",
        metavar="ADDRESS",
        help="offer the same messages by ZeroMQ, e.g. ipc:///tmp/standin or tcp://127.0.0.1:0",
    )
    add("--domain", type=_domain, default=77, help="ROS domain id (default: 77)")
    add("--opcua-port", type=_port, default=0, metavar="PORT", help="0 means any free one (default: 0)")
    add("--modbus-port", type=_port, default=0, metavar="PORT", help="0 means any free one (default: 0)")
    add("--mqtt-port", type=_port, default=0, metavar="PORT", help="0 means any free one (default: 0)")
    add("--joint-skew-ms", type=float, default=137.0, help="the robot's clock is ahead by this (default: 137)")
    add("--joint-drift-ppm", type=float, default=35.0, help="and gains this (default: 35)")
    add("--plc-skew-ms", type=float, default=-2300.0, help="the PLC's clock (default: -2300)")
    add("--plc-drift-ppm", type=float, default=-40.0, help="(default: -40)")
    add("--mqtt-skew-ms", type=float, default=640.0, help="the sensors' clock (default: 640)")
    add("--mqtt-drift-ppm", type=float, default=55.0, help="(default: 55)")
    options = parser.parse_args(argv)
    if not options.ros and options.link is None:
        parser.error("--no-ros leaves no way to the robot: add --link ADDRESS")
    return Settings(**vars(options))
