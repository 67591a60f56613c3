"""A Modbus TCP server (pymodbus). Arguments: port, then JSON of what is special. Units 1 and 2 exist; unit 9 never answers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from commands import follow
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


async def main() -> None:
    """Serve until standard input ends."""
    port, special = int(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    requests: list[tuple[int, int, int]] = []
    state: dict[str, Any] = {"busy": False, "count": 0}
    forbidden = set(special.get("forbidden", []))

    async def silence(*_: Any) -> ExcCodes | None:
        await asyncio.Event().wait()
        return None

    async def action(
        function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        requests.append((function, address, count))
        if state["busy"]:
            return ExcCodes.DEVICE_BUSY
        if function in (3, 4) and any(address <= bad < address + count for bad in forbidden):
            return ExcCodes.ILLEGAL_ADDRESS
        if function == 3 and values is None:
            state["count"] = (state["count"] + 1) % 65536
            registers[0 - start] = state["count"]
        return None

    def device(unit_id: int) -> SimDevice:
        holding = [
            SimData(0, count=10, datatype=DataType.REGISTERS),
            # 10: int16 -2; 11: uint16; 12: float32 ABCD 1.5; 14: CDAB; 16: BADC; 18: DCBA; 20: int32 -2; 22: uint32; 24: int64 -2
            SimData(10, values=[0xFFFE, 0xFFFF], datatype=DataType.REGISTERS),
            SimData(12, values=[0x3FC0, 0x0000], datatype=DataType.REGISTERS),
            SimData(14, values=[0x0000, 0x3FC0], datatype=DataType.REGISTERS),
            SimData(16, values=[0xC03F, 0x0000], datatype=DataType.REGISTERS),
            SimData(18, values=[0x0000, 0xC03F], datatype=DataType.REGISTERS),
            SimData(20, values=[0xFFFF, 0xFFFE, 0xFFFF, 0xFFFE], datatype=DataType.REGISTERS),
            SimData(24, values=[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFE], datatype=DataType.REGISTERS),
            SimData(28, values=[0x3FF8, 0, 0, 0], datatype=DataType.REGISTERS),  # float64 1.5
            SimData(32, values=[0x0005], datatype=DataType.REGISTERS),
            SimData(40, count=300, values=7, datatype=DataType.REGISTERS),
        ]
        coils = [SimData(0, values=[True, False, True, True] * 8, datatype=DataType.BITS)]
        discrete = [SimData(0, values=[False, True] * 16, datatype=DataType.BITS)]
        inputs = [SimData(0, values=list(range(100, 120)), datatype=DataType.REGISTERS)]
        return SimDevice(unit_id, (coils, discrete, holding, inputs), action=silence if unit_id == 9 else action)

    server = ModbusTcpServer([device(1), device(2), device(9)], address=("127.0.0.1", port))

    async def act(command: dict[str, Any]) -> None:
        if "busy" in command:
            state["busy"] = command["busy"]
        if "forbid" in command:
            forbidden.add(command["forbid"])
        if "allow" in command:
            forbidden.discard(command["allow"])
        if "requests" in command:
            Path(command["requests"]).write_text(json.dumps(requests))
            requests.clear()

    await server.serve_forever(background=True)
    follow(asyncio.get_running_loop(), act)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
