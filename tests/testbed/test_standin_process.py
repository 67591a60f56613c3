"""The real process and real clients: what it serves, on which clocks, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import queue
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from standin_run import PATIENCE, StandinRun, alive, started, wait_for

ACCEPTED, EXECUTING, SUCCEEDED, ABORTED = 1, 2, 4, 6
LISTENER = Path(__file__).with_name("standin_listener.py")


@pytest.fixture(scope="module")
def heard(request: pytest.FixtureRequest) -> tuple[StandinRun, dict[str, Any]]:
    """What a ROS 2 client in another process heard until several goals had ended."""
    standin: StandinRun = request.getfixturevalue("standin")
    if "domain" not in standin.ready:
        pytest.skip("rclpy is not installed: no wheels for this platform, and no ROS 2 is sourced")
    command = [sys.executable, str(LISTENER), str(standin.ready["domain"]), "5"]
    answer = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return standin, json.loads(answer.stdout.splitlines()[-1])


def test_telemetry_comes_at_its_rate_with_names_and_sizes(heard: tuple[StandinRun, dict[str, Any]]) -> None:
    _, got = heard
    assert got["names"]["joint_states"] == [
        *(f"panda_joint{i}" for i in range(1, 8)),
        "panda_finger_joint1",
        "panda_finger_joint2",
    ]
    assert got["sizes"]["joint_states"] == [9, 9, 9]
    assert got["names"]["gripper"] == ["gripper_width"] and got["sizes"]["gripper"] == [1, 1, 1]
    for topic in ("joint_states", "gripper", "wrench"):
        stamps = [stamp for stamp, _ in got["stamps"][topic]]
        assert stamps == sorted(set(stamps)), f"{topic}: stamps grow"
        # 125 Hz by its own stamps. Where the machine was too busy for it, the stand-in said how much time it skipped, and
        # the listener may have lost best-effort messages: so only an upper bound of the typical distance is firm.
        gaps = sorted(b - a for a, b in itertools.pairwise(stamps))
        assert gaps[len(gaps) // 2] < 10_000_000, f"{topic}: 100 Hz or more"


def test_header_stamps_are_the_robots_own_clock(heard: tuple[StandinRun, dict[str, Any]]) -> None:
    standin, got = heard
    shown = standin.clock("joint")
    # The DDS source timestamp is the host's true time, a moment after the sample.
    delays = [shown(source) - stamp for stamp, source in got["stamps"]["joint_states"]]
    assert min(delays) >= 0, "no message leaves before it was sampled"
    assert min(delays) < 20_000_000, "the stamp differs from the true time by what the truth file says"
    assert abs(got["stamps"]["joint_states"][0][0] - got["stamps"]["joint_states"][0][1]) > 50_000_000, "it is skewed"


def test_action_servers_publish_the_life_of_every_goal(heard: tuple[StandinRun, dict[str, Any]]) -> None:
    standin, got = heard
    lives = [life for goals in got["statuses"].values() for life in goals.values()]
    assert sum(life[-1] in (SUCCEEDED, ABORTED) for life in lives) >= 5
    for life in lives:
        assert life == sorted(life), f"a goal never goes back: {life}"
        assert set(life) <= {ACCEPTED, EXECUTING, SUCCEEDED, ABORTED}
    aborted = sum(life[-1] == ABORTED for life in lives)
    failed = [task for task in standin.truth("task") if not task["succeeded"]]
    assert aborted >= 1
    # What was heard after joining can not be more than what truly happened.
    wait_for(
        lambda: len([t for t in standin.truth("task") if not t["succeeded"]]) >= aborted, "the truth has every abort"
    )
    assert failed


def test_opcua_values_carry_the_plcs_clock(standin: StandinRun) -> None:
    from asyncua import Client, ua

    received: list[tuple[str, Any, int]] = []

    class Handler:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            stamp = data.monitored_item.Value.SourceTimestamp
            received.append((node.nodeid.Identifier, value, round(stamp.timestamp() * 1e6)))

    async def client() -> tuple[int, float, float, list[str]]:
        async with Client(standin.ready["opcua"]) as opc:
            index = await opc.get_namespace_index(standin.ready["opcua_namespace"])
            folder = opc.get_node(ua.NodeId("cell1", index))
            tags = [(await child.read_browse_name()).Name for child in await folder.get_children()]
            now = opc.get_node(ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime))
            before = time.time()
            shown = (await now.read_value()).timestamp()
            after = time.time()
            subscription = await opc.create_subscription(50, Handler())
            await subscription.subscribe_data_change(
                [opc.get_node(ua.NodeId(tag, index)) for tag in tags], queuesize=50
            )
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not (
                {"Cell.GripOk", "Cell.CycleStart"} <= {t for t, _, _ in received[20:]}
            ):
                await asyncio.sleep(0.1)
            with pytest.raises(ua.UaStatusCodeError):
                await opc.get_node(ua.NodeId("Cell.AlarmCode", index)).write_value(ua.Variant(3, ua.VariantType.UInt16))
            await subscription.delete()
            return index, shown, (before + after) / 2, tags

    _, shown, true, tags = asyncio.run(client())
    assert {"Cell.CycleStart", "Cell.GripOutput", "Cell.GripOk", "Cell.PartPresent", "Cell.CycleDone"} <= set(tags)
    assert {"Cell.AlarmCode", "Cell.Serial", "Cell.Retry", "Belt.Speed", "Motor.Temperature"} <= set(tags)
    expected = standin.clock("plc")(round(true * 1e9)) / 1e9
    assert abs(shown - expected) < 1.0 < abs(shown - true), "what the server says the time is, is the PLC's time"
    said = {(line["tag"], line["source_ns"] // 1000): line for line in standin.truth("tag")}
    changes = [change for change in received if (change[0], change[2]) in said]
    assert len(changes) > len(tags)
    for tag, value, stamp_us in changes:
        line = said[tag, stamp_us]
        assert line["value"] == value
        assert abs(standin.clock("plc")(line["true_ns"]) / 1000 - stamp_us) <= 2


def test_modbus_registers_can_be_read_and_not_written(standin: StandinRun) -> None:
    from pymodbus.client import ModbusTcpClient

    at = standin.ready["modbus"]
    with ModbusTcpClient(at["host"], port=at["port"], timeout=10) as client:
        speeds, energies = set(), []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not (0.0 in speeds and any(s > 0.2 for s in speeds)):
            registers = client.read_holding_registers(0, count=5, device_id=at["unit"]).registers
            (speed,) = struct.unpack(">f", struct.pack(">HH", registers[1], registers[0]))
            speeds.add(round(speed, 3))
            energies.append(registers[2] << 16 | registers[3])
            temperature = struct.unpack(">h", struct.pack(">H", registers[4]))[0] / 10
            assert 0.0 <= speed <= 0.3 and 20.0 < temperature < 90.0
            coils = client.read_coils(0, count=3, device_id=at["unit"])
            assert not coils.isError() and coils.bits[1] is True
            time.sleep(0.02)
        assert 0.0 in speeds and max(speeds) > 0.2, "the belt stops and runs"
        assert energies == sorted(energies) and energies[-1] > energies[0]
        assert client.write_register(4, 1, device_id=at["unit"]).isError()
        assert client.write_coil(0, True, device_id=at["unit"]).isError()
        assert client.read_holding_registers(100, count=2, device_id=at["unit"]).isError()


def test_sensors_publish_on_their_own_clock(standin: StandinRun) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    inbox: queue.Queue[tuple[str, dict[str, Any], int, int]] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe("cell1/#", qos=1)
    client.on_message = lambda _c, _u, m: inbox.put((m.topic, json.loads(m.payload), m.qos, time.time_ns()))
    client.connect(standin.ready["mqtt"]["host"], standin.ready["mqtt"]["port"])
    client.loop_start()
    try:
        got = [inbox.get(timeout=PATIENCE) for _ in range(60)]
    finally:
        client.disconnect()
        client.loop_stop()
    by_topic = {topic: [g for g in got if g[0] == topic] for topic in ("cell1/vibration", "cell1/weight")}
    assert len(by_topic["cell1/vibration"]) > len(by_topic["cell1/weight"]) > 5
    shown = standin.clock("mqtt")
    for topic, field in (("cell1/vibration", "rms"), ("cell1/weight", "kg")):
        for _, reading, qos, _ in by_topic[topic]:
            assert set(reading) == {"ts", field} and isinstance(reading["ts"], int) and qos == 1
        delays = [shown(arrival) / 1e6 - reading["ts"] for _, reading, _, arrival in by_topic[topic]]
        assert min(delays) >= 0 and min(delays) < 200, "the stamp is the sensors' clock in ms"


def test_faults_are_injected_and_met_with_retries(standin: StandinRun) -> None:
    def enough() -> list[dict[str, Any]]:
        return [job for job in standin.truth("job") if job["state"] == "done"][2:]

    wait_for(enough, "three jobs are done")
    tasks = standin.truth("task")
    drawn = {job["job"]: job["fault"] for job in standin.truth("job") if job["state"] == "started"}
    ended = {job["job"]: job["failures"] for job in standin.truth("job") if job["state"] == "done"}
    reasons = {"slippery_part": "grip lost", "missing_part": "nothing gripped", "dragging_brake": "following error"}
    for number, failures in ended.items():
        failed = [task["reason"] for task in tasks if task["job"] == number and not task["succeeded"]]
        assert len(failed) == failures
        if drawn[number] == "none":
            assert failed == []
        else:
            assert failed[:1] == [reasons[drawn[number]]], f"job {number} with {drawn[number]}"
    assert sum(ended.values()) >= 1


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stdin"])
def test_it_stops_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    link = f"ipc://{tmp_path}/link"
    with started(tmp_path, "--no-ros", "--link", link, stdin=subprocess.PIPE) as run:
        pids = run.ready["pids"]
        assert len(pids) == 2 and all(alive(pid) for pid in pids)
        if how == "stdin":
            assert run.process.stdin is not None
            run.process.stdin.close()
            status = run.process.wait(PATIENCE)
        else:
            status = run.stop(getattr(signal, how))
        assert status == 0
        wait_for(lambda: not any(alive(pid) for pid in pids), "every process is gone")
        for port in (
            run.ready["modbus"]["port"],
            run.ready["mqtt"]["port"],
            int(run.ready["opcua"].split(":")[2][:-6]),
        ):
            with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
        assert not (tmp_path / "link").exists()
        (pace,) = run.truth("pace")
        assert pace["ticks"] > 0


def test_it_stops_when_its_parent_is_gone(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    child = [
        sys.executable,
        "-m",
        "twin.testbed",
        "--no-ros",
        "--link",
        f"ipc://{tmp_path}/link",
        "--ready",
        str(ready),
    ]
    code = f"import subprocess, time; subprocess.Popen({child!r}, stdin=subprocess.DEVNULL); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        pids = wait_for(lambda: ready.exists() and json.loads(ready.read_text())["pids"], "the stand-in gets ready")
        assert all(alive(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids), "every process is gone")


def test_the_plc_ends_with_a_killed_robot(tmp_path: Path) -> None:
    with started(tmp_path, "--no-ros", "--link", f"ipc://{tmp_path}/link") as run:
        run.process.kill()
        run.process.wait(PATIENCE)
        wait_for(lambda: not any(alive(pid) for pid in run.ready["pids"]), "every process is gone")


def complain(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "twin.testbed", *arguments]
    ended = subprocess.run(command, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
    return ended.returncode, ended.stderr.decode()


def test_bad_starts_are_said_without_a_traceback(tmp_path: Path, standin: StandinRun) -> None:
    taken = standin.ready["modbus"]["port"]
    link = f"ipc://{tmp_path}/link"
    cases = [
        (["--no-ros", "--link", link, "--modbus-port", str(taken)], 4, f"port {taken} is taken"),
        (["--no-ros", "--link", "nonsense"], 2, "nonsense"),
        (["--no-ros"], 2, "--link"),
        (["--no-ros", "--link", link, "--truth", str(tmp_path / "no" / "such")], 2, "can not be written"),
        (["--mqtt-port", "70000"], 2, "70000 is no port"),
    ]
    for arguments, status, words in cases:
        code, said = complain(*arguments)
        assert code == status, said
        assert words in said and "Traceback" not in said


@pytest.mark.long
def test_the_same_seed_gives_the_same_faults_in_the_process(tmp_path: Path) -> None:
    def faults(name: str, seed: str) -> list[tuple[int, str, str]]:
        directory = tmp_path / name
        with started(directory, "--no-ros", "--link", f"ipc://{tmp_path}/{name}.link", "--seed", seed) as run:
            wait_for(lambda: len([j for j in run.truth("job") if j["state"] != "started"]) >= 5, "five jobs", 120.0)
            failed = [t for t in run.truth("task") if not t["succeeded"] and t["job"] < 5]
            return [(task["job"], task["skill"], task["reason"]) for task in failed]

    first, again, other = faults("a", "11"), faults("b", "11"), faults("c", "12")
    assert first == again
    assert first != other
    assert len(first) >= 3
