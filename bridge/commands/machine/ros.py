"""ROS 2: where rclpy comes from, whether it really loads, which middleware there is, and what the environment sets."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from bridge.commands.machine.finding import Finding

WHEELS = "ros-rclpy"
LARGEST_DOMAIN = 232
"""Ports of a domain begin at 7400 + 250 * domain; above 232 they do not fit. Up to 101 they keep clear of ephemeral ports."""
SAFE_DOMAIN = 101

_ASK = """
import json, warnings
warnings.simplefilter("ignore")
import rclpy
from rclpy.utilities import get_rmw_implementation_identifier
print(json.dumps({"file": rclpy.__file__, "rmw": get_rmw_implementation_identifier()}))
"""


def look(asked: bool) -> Iterator[Finding]:
    """Findings on ROS 2; `asked` says that the ros2 adapter is wanted."""
    finding, rmw = _rclpy(os.environ)
    yield finding.wanted() if asked else finding
    if rmw is not None:
        yield _middleware(os.environ, rmw)
    yield domain(os.environ)
    yield discovery(os.environ)


def prefixes(environ: Mapping[str, str]) -> list[Path]:
    """Where ROS packages are looked for: the sourced prefixes, then this environment (the wheels')."""
    sourced = [Path(part) for part in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if part]
    return [*sourced, *([] if Path(sys.prefix) in sourced else [Path(sys.prefix)])]


def _rclpy(environ: Mapping[str, str]) -> tuple[Finding, str | None]:
    """Whether rclpy loads, tried in a process of its own since a broken one can end it; and its middleware."""
    try:
        wheels: str | None = importlib.metadata.version(WHEELS)
    except importlib.metadata.PackageNotFoundError:
        wheels = None
    foreign = [p for p in prefixes(environ) if p != Path(sys.prefix)]
    distro = environ.get("ROS_DISTRO", "")
    spec = importlib.util.find_spec("rclpy")
    if spec is None:
        return Finding("ros2", "rclpy", "warn", *_absent(environ)), None
    if wheels and foreign:
        text = f"ROS 2 is here twice: sourced from {foreign[0]}, and as wheels in {sys.prefix}"
        advice = "use one: a shell that has not sourced ROS 2, or an environment without the extra ros2"
        return Finding("ros2", "rclpy", "missing", text, advice), None
    origin = f"wheels, {WHEELS} {wheels}" if wheels else f"sourced, {distro or 'no ROS_DISTRO'}, {spec.origin}"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=60, check=False, env=dict(environ)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(
            "ros2", "rclpy", "missing", f"{origin}: it does not load: {error}", "dari doctor, once more"
        ), None
    if asked.returncode != 0:
        said = asked.stderr.strip().splitlines()
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            Finding(
                "ros2",
                "rclpy",
                "missing",
                f"{origin}: Python {version} can not load it: {said[-1] if said else f'exit code {asked.returncode}'}",
                "a sourced ROS 2 needs the Python that it was built for; RMW_IMPLEMENTATION must name one that is installed",
            ),
            None,
        )
    answer = json.loads(asked.stdout.strip().splitlines()[-1])
    return Finding("ros2", "rclpy", "ok", origin), str(answer["rmw"])


def _absent(environ: Mapping[str, str]) -> tuple[str, str]:
    """Why there is no rclpy, and what to do."""
    if environ.get("AMENT_PREFIX_PATH"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"a ROS 2 is sourced ({environ.get('ROS_DISTRO', 'unnamed')}), but Python {version} finds no rclpy in it",
            "make dari's environment with the Python that ROS 2 was built for, with --system-site-packages",
        )
    if sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64"):
        return (
            "not installed, and no ROS 2 is sourced",
            "pip install 'dari[ros2]', or source /opt/ros/<distro>/setup.bash",
        )
    return (
        f"not installed; there are no wheels for {platform.system()} on {platform.machine()}",
        "source an installed ROS 2; logs are read without it",
    )


def _middleware(environ: Mapping[str, str], used: str) -> Finding:
    """Which middleware is used, and which others are installed."""
    index = Path("share/ament_index/resource_index/rmw_typesupport")
    there = {
        path.name for prefix in prefixes(environ) if (prefix / index).is_dir() for path in (prefix / index).iterdir()
    }
    others = sorted(there - {used, "rmw_implementation"})
    chosen = "by RMW_IMPLEMENTATION" if environ.get("RMW_IMPLEMENTATION") else "by default"
    return Finding("ros2", "RMW", "ok", f"{used} ({chosen}); others installed: {', '.join(others) or 'none'}")


def domain(environ: Mapping[str, str]) -> Finding:
    """ROS_DOMAIN_ID."""
    text = environ.get("ROS_DOMAIN_ID", "").strip()
    if not text:
        return Finding("ros2", "ROS_DOMAIN_ID", "ok", "not set: domain 0, which everyone shares who sets nothing")
    if not text.isascii() or not text.isdigit() or int(text) > LARGEST_DOMAIN:
        return Finding(
            "ros2", "ROS_DOMAIN_ID", "missing", f"{text!r} is no domain", f"unset it, or set 0 to {SAFE_DOMAIN}"
        )
    if int(text) > SAFE_DOMAIN:
        advice = f"0 to {SAFE_DOMAIN} are safe everywhere"
        return Finding("ros2", "ROS_DOMAIN_ID", "warn", f"{text}: its ports may already be taken by others", advice)
    return Finding("ros2", "ROS_DOMAIN_ID", "ok", text)


def discovery(environ: Mapping[str, str]) -> Finding:
    """How far ROS 2 looks for others."""
    reach = environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").strip().upper()
    known = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
    if reach and reach not in known:
        advice = f"unset it, or set one of {', '.join(known)}"
        return Finding(
            "ros2", "discovery", "warn", f"ROS_AUTOMATIC_DISCOVERY_RANGE is {reach!r}, which is ignored", advice
        )
    if environ.get("ROS_LOCALHOST_ONLY", "0") == "1":
        text = "this machine only (ROS_LOCALHOST_ONLY=1, which overrides ROS_AUTOMATIC_DISCOVERY_RANGE)"
        return Finding("ros2", "discovery", "ok", text)
    words = {"LOCALHOST": "this machine only", "OFF": "none", "SUBNET": "this subnet"}
    return Finding("ros2", "discovery", "ok", words.get(reach, "this subnet, by default"))
