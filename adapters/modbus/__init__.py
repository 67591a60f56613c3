"""Modbus TCP: registers and bits, polled in blocks, one bad address never silencing the others."""

from adapters.modbus.adapter import ModbusAdapter
from adapters.modbus.config import ModbusOptions, ModbusSignal

__all__ = ["ModbusAdapter", "ModbusOptions", "ModbusSignal"]
