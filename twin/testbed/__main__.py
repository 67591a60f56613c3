"""`python -m twin.testbed`: start the stand-in, say where it is, run it, leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bridge.adapter import Requirement, require
from bridge.errors import DariError, UsageError
from twin.testbed.clock import SkewedClock
from twin.testbed.plant import NAMESPACE, PlantSettings
from twin.testbed.ports import HOST, claim
from twin.testbed.program import Program, Worker
from twin.testbed.settings import Settings, parse
from twin.testbed.truth import Truth

_PARENT_PERIOD_S = 0.5
_REQUIREMENTS = (
    Requirement("pybullet", "twin"),
    Requirement("asyncua", "field"),
    Requirement("pymodbus", "field"),
    Requirement("paho", "field"),
    Requirement("amqtt", "demo"),
)


def _watch(stop: Callable[[], None]) -> None:
    """Stop on SIGINT and SIGTERM, when the parent process is gone, and when standard input, if it is a pipe, is closed."""
    parent = os.getppid()

    def signalled(_number: int, _frame: object) -> None:
        stop()

    def orphaned() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_PERIOD_S)
        stop()

    def unplugged() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        stop()

    signal.signal(signal.SIGINT, signalled)
    signal.signal(signal.SIGTERM, signalled)
    threading.Thread(target=orphaned, name="parent", daemon=True).start()
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
            threading.Thread(target=unplugged, name="stdin", daemon=True).start()


def _write_ready(path: Path, ready: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(ready)) + b"\n")
        part.replace(path)
    except OSError as error:
        raise UsageError(
            f"can not be written: {error.strerror}", where=str(path), hint="give another --ready"
        ) from error


def run(settings: Settings) -> None:
    """Run the stand-in until it is told to stop. Raises `DariError` with what to do when it can not."""
    stopping = threading.Event()
    _watch(stopping.set)
    opcua = claim(settings.opcua_port, "--opcua-port")
    modbus = claim(settings.modbus_port, "--modbus-port")
    mqtt = claim(settings.mqtt_port, "--mqtt-port")
    require(_REQUIREMENTS, "the stand-in")
    if settings.ros:
        from twin.testbed import ros

        ros.environment(settings.domain)
    from twin.testbed.shopfloor import ShopFloor
    from twin.testbed.standin import Face, Standin

    with contextlib.ExitStack() as stack:
        truth = Truth(settings.truth)
        stack.callback(truth.close)
        plant = PlantSettings(
            opcua_port=opcua,
            modbus_port=modbus,
            mqtt_port=mqtt,
            plc_skew_ms=settings.plc_skew_ms,
            plc_drift_ppm=settings.plc_drift_ppm,
            mqtt_skew_ms=settings.mqtt_skew_ms,
            mqtt_drift_ppm=settings.mqtt_drift_ppm,
        )
        floor = ShopFloor(plant, truth)
        stack.callback(floor.stop)
        clock = SkewedClock.start("joint", skew_ms=settings.joint_skew_ms, drift_ppm=settings.joint_drift_ppm)
        standin = Standin(settings.seed, clock, truth, floor.send, stopping)
        faces: list[Face] = []
        ready: dict[str, Any] = {"pid": os.getpid(), "pids": [os.getpid(), floor.pid], "seed": settings.seed}
        actions: Any = None
        if settings.link is not None:
            from twin.testbed.wire import LinkFace

            link = LinkFace(settings.link, standin.submit)
            stack.callback(link.close)
            faces.append(link)
            actions = link
            ready["link"] = link.address
        if settings.ros:
            driver = ros.RosFace(standin.submit, standin.stopping)
            stack.callback(driver.close)
            driver.start()
            faces.append(driver)
            actions = driver
            ready["domain"] = settings.domain
            ready["topics"] = ["/joint_states", "/gripper/state", "/wrench"]
            ready["actions"] = ["/move", "/grasp", "/place"]
        answer = floor.ready()
        truth.write("start", {"seed": settings.seed, "settings": msgspec.to_builtins(settings, enc_hook=str)})
        for line in (clock.truth(), *answer["clocks"]):
            truth.write("clock", line)
        ready |= {
            "opcua": answer["opcua"],
            "opcua_namespace": NAMESPACE,
            "modbus": {"host": HOST, "port": modbus, "unit": 1},
            "mqtt": {"host": HOST, "port": mqtt},
        }
        worker = Worker(Program(standin, actions, settings.seed, settings.rest))
        worker.start()
        if settings.ready is not None:
            _write_ready(settings.ready, ready)
        end = time.monotonic() + settings.seconds if settings.seconds > 0 else float("inf")
        standin.run(faces, lambda: time.monotonic() > end or worker.error is not None or not floor.alive())
        worker.join(5.0)
        if worker.error is not None:
            raise worker.error
        floor.check()


def main() -> int:
    """Entry of the command; returns the exit code."""
    settings = parse()
    try:
        run(settings)
    except DariError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    # rclpy and pybullet tear down at exit what was torn down already; nothing is left to lose by then.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
