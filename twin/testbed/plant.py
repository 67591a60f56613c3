"""The shop floor beside the robot, in a process of its own: a PLC with OPC UA and Modbus servers, and sensors on MQTT.

Started by `python -m twin.testbed` only. It reads the robot's wires as JSON lines on standard input, one a bus cycle, and ends
when they end. On standard output it says `{"ready": ...}` once, then `{"tag": ...}` for the truth file. Everything on the wire
is read-only for clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import struct
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from twin.testbed.clock import SkewedClock
from twin.testbed.plc import Image, Plc, TagValue
from twin.testbed.ports import HOST

NAMESPACE = "http://dari.example/testbed/cell1"
TICKS_100NS = 100
VIBRATION_S = 0.05
WEIGHT_S = 0.2
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class PlantSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the stand-in hands to this process: three ports that were free a moment ago, and two clocks."""

    opcua_port: int
    modbus_port: int
    mqtt_port: int
    plc_skew_ms: float
    plc_drift_ppm: float
    mqtt_skew_ms: float
    mqtt_drift_ppm: float


def _datetime(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


def say(**line: object) -> None:
    """One JSON line to the stand-in."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


class OpcUa:
    """The PLC's OPC UA server. Source timestamps are the PLC's clock; so is what it says the time is."""

    def __init__(self, clock: SkewedClock) -> None:
        self._clock = clock
        self._nodes: dict[str, Any] = {}
        self._types: dict[str, Any] = {}

    async def start(self, port: int, tags: dict[str, TagValue]) -> str:
        """Listen; returns the endpoint's address."""
        from asyncua import ua
        from asyncua.server.server import Server

        self._ua: Any = ua
        types = self._ua
        self._server = Server()
        await self._server.init()
        address = f"opc.tcp://{HOST}:{port}/cell1"
        self._server.set_endpoint(address)
        self._server.set_server_name("cell1 PLC")
        self._server.set_security_policy([types.SecurityPolicyType.NoSecurity])
        index = await self._server.register_namespace(NAMESPACE)
        folder = await self._server.nodes.objects.add_object(
            types.NodeId("cell1", index), types.QualifiedName("cell1", index)
        )
        for tag, value in tags.items():
            kind = self._kind(tag, value)
            node = await folder.add_variable(types.NodeId(tag, index), types.QualifiedName(tag, index), value, kind)
            self._nodes[tag], self._types[tag] = node.nodeid, kind
            await self.write(tag, value)
        # A device's own time is its own clock: asyncua would serve the host's, and write it over this once a second.
        self._server.disable_clock(True)
        current = types.NodeId(types.ObjectIds.Server_ServerStatus_CurrentTime)
        self._server.set_attribute_value_callback(current, lambda _node, _attribute: self._now())
        await self._server.start()
        return address

    def _kind(self, tag: str, value: TagValue) -> Any:
        types = self._ua.VariantType
        if isinstance(value, bool):
            return types.Boolean
        if isinstance(value, float):
            return types.Double
        return types.UInt16 if tag == "Cell.AlarmCode" else types.Int32

    def _now(self) -> Any:
        now = _datetime(self._clock.now_ns())
        value = self._ua.Variant(now, self._ua.VariantType.DateTime)
        return self._ua.DataValue(value, SourceTimestamp=now, ServerTimestamp=now)

    async def write(self, tag: str, value: TagValue, stamp_ns: int | None = None) -> None:
        """A tag's new value, with the time of the bus cycle that made it."""
        stamp = _datetime(self._clock.now_ns() if stamp_ns is None else stamp_ns)
        variant = self._ua.Variant(value, self._types[tag])
        await self._server.write_attribute_value(
            self._nodes[tag], self._ua.DataValue(variant, SourceTimestamp=stamp, ServerTimestamp=stamp)
        )

    async def stop(self) -> None:
        """Close every session and stop listening."""
        await self._server.stop()


class Modbus:
    """The drive's Modbus server, unit 1. It has no clock.

    Holding registers: 0-1 belt speed, float32 m/s, words swapped (CDAB); 2-3 energy, uint32 J, wraps, words in order (ABCD);
    4 motor temperature, int16, 0.1 degrees Celsius. Coils: 0 belt runs, 1 drive ready, 2 drive fault.
    """

    def __init__(self, plc: Plc) -> None:
        self._plc = plc
        self.image: Image | None = None

    async def start(self, port: int) -> None:
        """Listen."""
        from pymodbus.constants import ExcCodes
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        self._refused = ExcCodes.ILLEGAL_FUNCTION
        coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS, readonly=True)]
        holding = [SimData(0, count=8, values=0, datatype=DataType.REGISTERS, readonly=True)]
        spare = [SimData(0, count=1, values=0, datatype=DataType.REGISTERS, readonly=True)]
        device = SimDevice(id=1, simdata=(coils, list(coils), holding, spare), action=self._refresh)
        self._server = ModbusTcpServer(device, address=(HOST, port))
        await self._server.serve_forever(background=True)

    async def _refresh(
        self, function: int, _start: int, _address: int, _count: int, registers: list[int], values: Any
    ) -> Any:
        """Called before each request is answered: what a register says is measured when it is asked. Writing is refused."""
        if values is not None:
            return self._refused
        image = self.image
        if image is None:
            return None
        if function in (1, 2):
            registers[0] = int(image.belt > 0.0) | (1 << 1) | (int(image.fault != "") << 2)
        if function != 3:
            return None
        high, low = struct.unpack(">HH", struct.pack(">f", image.belt))
        energy = int(self._plc.energy_j) % 2**32
        registers[0:5] = [low, high, energy >> 16, energy & 0xFFFF, round(self._plc.temperature * 10) & 0xFFFF]
        return None

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.shutdown()  # type: ignore[no-untyped-call]


class Sensors:
    """A broker, and the sensors' gateway that publishes to it: JSON with a stamp in whole milliseconds of its own clock."""

    def __init__(self, clock: SkewedClock) -> None:
        self._clock = clock
        self._next = {"cell1/vibration": 0.0, "cell1/weight": 0.0}

    async def start(self, port: int) -> None:
        """Start the broker and connect the gateway to it."""
        from amqtt.broker import Broker
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await self._broker.start()
        connected = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="cell1-gateway")

        def _on_connect(*_: Any) -> None:
            loop.call_soon_threadsafe(connected.set)

        self._client.on_connect = _on_connect
        self._client.connect_async(HOST, port)
        self._client.loop_start()
        await asyncio.wait_for(connected.wait(), 10.0)

    def measure(self, image: Image, now: float) -> None:
        """Publish what is due at `now` (s, monotonic)."""
        self._due("cell1/vibration", VIBRATION_S, now, "rms", image.vibration)
        self._due("cell1/weight", WEIGHT_S, now, "kg", image.weight)

    def _due(self, topic: str, period: float, now: float, field: str, value: float) -> None:
        if now < self._next[topic]:
            return
        self._next[topic] = max(self._next[topic] + period, now)
        reading = {"ts": self._clock.now_ns() // 1_000_000, field: round(value, 4)}
        self._client.publish(topic, json.dumps(reading), qos=1)

    async def stop(self) -> None:
        """Take the gateway off and stop the broker."""
        loop = asyncio.get_running_loop()
        self._client.disconnect()
        await loop.run_in_executor(None, self._client.loop_stop)
        await self._broker.shutdown()


async def serve(settings: PlantSettings) -> None:
    """Run until the wires from the robot end."""
    plc_clock = SkewedClock.start(
        "plc", skew_ms=settings.plc_skew_ms, drift_ppm=settings.plc_drift_ppm, quantum_ns=1000
    )
    sensor_clock = SkewedClock.start(
        "mqtt", skew_ms=settings.mqtt_skew_ms, drift_ppm=settings.mqtt_drift_ppm, quantum_ns=1_000_000
    )
    plc = Plc()
    opcua, modbus, sensors = OpcUa(plc_clock), Modbus(plc), Sensors(sensor_clock)
    async with contextlib.AsyncExitStack() as stack:
        address = await opcua.start(settings.opcua_port, plc.tags)
        stack.push_async_callback(opcua.stop)
        await modbus.start(settings.modbus_port)
        stack.push_async_callback(modbus.stop)
        await sensors.start(settings.mqtt_port)
        stack.push_async_callback(sensors.stop)
        loop = asyncio.get_running_loop()
        wires = asyncio.StreamReader(limit=1 << 20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(wires), sys.stdin)
        say(ready={"opcua": address, "clocks": [plc_clock.truth(), sensor_clock.truth()]})
        decoder = msgspec.json.Decoder(Image)
        while line := await wires.readline():
            image = decoder.decode(line)
            modbus.image = image
            monotonic_ns = time.monotonic_ns()
            now, stamp = monotonic_ns * 1e-9, plc_clock.at(monotonic_ns)
            for tag, value in plc.scan(image, now).items():
                await opcua.write(tag, value, stamp)
                say(tag=tag, value=value, source_ns=stamp, monotonic_ns=monotonic_ns)
            sensors.measure(image, now)


def main() -> int:
    """The process's entry: its settings are the one argument, as JSON."""
    # Ctrl-C reaches the whole group; the end of the wires is what ends this process, after the robot has said its last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.ERROR)
    settings = msgspec.json.decode(sys.argv[1], type=PlantSettings)
    try:
        asyncio.run(serve(settings))
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
