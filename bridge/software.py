"""Which versions wrote a log: recorded with every run, printed by `dari doctor`."""

from __future__ import annotations

import importlib.metadata
import platform

import bridge

PACKAGES = (
    "mcap",
    "rosbags",
    "msgspec",
    "numpy",
    "pyzmq",
    "pybullet",
    "ros-rclpy",
    "asyncua",
    "pymodbus",
    "paho-mqtt",
)


def versions() -> dict[str, str]:
    """Names and versions of dari, Python and the packages that shape what is written; absent ones are left out."""
    found = {"dari": bridge.__version__, "python": platform.python_version(), "platform": platform.platform(terse=True)}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
