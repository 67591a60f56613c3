"""Where rclpy comes from, and what is said when it does not come: wheels, a sourced ROS 2, or neither.

The wheels carry a `.pth` that starts Python once more with the library path set (`_ROS_WHEELS_BOOTSTRAP_COMPLETE` guards
against doing so twice). The process id, standard streams and inherited descriptors stay as they are; a child of the same
environment inherits the guard and starts at once, a Python of ANOTHER environment must not inherit it.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import warnings
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from bridge.errors import MissingPackageError, UsageError

DOMAIN_MAX = 232
"""The largest domain whose ports fit below 65536 (7400 + 250 * domain); above 101 Linux may have given a port away."""

BOOTSTRAP_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
WHEELS = "ros-rclpy"
SOURCE_IT = "source an installed ROS 2 (`source /opt/ros/<distro>/setup.bash`) and use the Python that it was built for"
NO_WHEELS = f"there are no wheels of rclpy for this machine, only for x86-64 Linux: {SOURCE_IT}"


def has_wheels() -> bool:
    """Whether this machine is one for which rclpy exists as wheels."""
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def missing_hint() -> str:
    """What to do where rclpy is missing, beyond the extra's name."""
    return f"or {SOURCE_IT}" if has_wheels() else NO_WHEELS


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a Python of another installation: without what the wheels of this one have set."""
    kept = {name: value for name, value in environ.items() if name != BOOTSTRAP_GUARD}
    if BOOTSTRAP_GUARD in environ and "LD_LIBRARY_PATH" in kept:
        paths = kept["LD_LIBRARY_PATH"].split(os.pathsep)
        kept["LD_LIBRARY_PATH"] = os.pathsep.join(p for p in paths if not Path(p).is_relative_to(sys.prefix))
        if not kept["LD_LIBRARY_PATH"]:
            del kept["LD_LIBRARY_PATH"]
    return kept


def environment_domain(environ: Mapping[str, str] | None = None) -> int:
    """The domain that the environment names: `ROS_DOMAIN_ID`, or 0."""
    text = (os.environ if environ is None else environ).get("ROS_DOMAIN_ID", "").strip()
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"ROS_DOMAIN_ID is {text!r}, which is no number",
            where="environment",
            hint="unset it, or give `domain:` in the source's options",
        ) from None


def ament_prefixes() -> list[Path]:
    """Where `share/<package>` is looked for: the sourced prefixes, then this environment's own (the wheels')."""
    sourced = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    own = Path(sys.prefix)
    return [*sourced, *([] if own in sourced else [own])]


def two_installations(origin: str | None, environ: Mapping[str, str]) -> str | None:
    """What is wrong when a sourced ROS 2 and the wheels meet in one process; None when they do not.

    Args:
        origin: the file from which rclpy would be imported.
        environ: the process's environment.
    """
    foreign = [p for p in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p and Path(p) != Path(sys.prefix)]
    if not foreign or origin is None:
        return None
    try:
        metadata.distribution(WHEELS)
    except metadata.PackageNotFoundError:
        return None
    taken = "the wheels'" if Path(origin).is_relative_to(sys.prefix) else "the sourced one's"
    return f"ROS 2 is here twice: sourced from {foreign[0]}, and as wheels in {sys.prefix} (rclpy would be {taken})"


def load_rclpy() -> ModuleType:
    """Import rclpy, or say plainly why it can not be.

    Raises:
        MissingPackageError: it is not installed, belongs to another Python, or is there twice, sourced and as wheels.
    """
    spec = find_spec("rclpy")
    if spec is None:
        extra = "pip install 'dari[ros2]' (from a clone: make setup), " if has_wheels() else ""
        raise MissingPackageError(
            "the ros2 adapter needs rclpy, which is not installed here", hint=extra + missing_hint()
        )
    doubled = two_installations(spec.origin, os.environ)
    if doubled is not None:
        raise MissingPackageError(
            doubled,
            hint="use one: start from a shell that has not sourced ROS 2, or from an environment without the extra `ros2`",
        )
    try:
        # What ROS 2 imports in turn is deprecated here and there: no news for dari's user.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import rclpy

            importlib.import_module("rosidl_generator_py")  # loaded with the first type otherwise
            from rclpy.impl.implementation_singleton import rclpy_implementation  # noqa: F401 - loads the C part
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise MissingPackageError(
            f"rclpy is here ({spec.origin}) but can not be loaded by Python {version}: {error}",
            hint="ROS 2's rclpy fits one Python only: make dari's environment with the Python that ROS 2 was built for",
        ) from error
    return rclpy


def make_context(domain: int) -> Any:
    """A context of our own: no signal handlers, no logging set up, no arguments taken from the command line."""
    load_rclpy()
    if not 0 <= domain <= DOMAIN_MAX:
        raise UsageError(
            f"domain {domain} is out of range: ROS 2 has 0 to {DOMAIN_MAX}",
            hint="0 to 101 are safe everywhere",
        )
    from rclpy.context import Context

    context = Context()
    context.init(args=[], domain_id=domain, initialize_logging=False)
    return context


def make_node(context: Any, name: str) -> Any:
    """A node that adds as little to the graph as can be: no parameter services, no /rosout, no remapping from outside."""
    from rclpy.node import Node

    return Node(
        name,
        context=context,
        use_global_arguments=False,
        enable_rosout=False,
        start_parameter_services=False,
    )
