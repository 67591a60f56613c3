"""OPC UA: subscriptions under a session that is supervised from outside the library, and resumed after any failure."""

from adapters.opcua.adapter import OpcUaAdapter
from adapters.opcua.config import OpcUaOptions, OpcUaSignal

__all__ = ["OpcUaAdapter", "OpcUaOptions", "OpcUaSignal"]
