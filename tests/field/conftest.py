"""Servers of the shop floor for a test, ended with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from field_peers import Peer, Serve, free_port, python_peer


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Peers that are ended with the test."""
    started: list[Peer] = []
    yield started
    for peer in started:
        peer.close()


@pytest.fixture
def serve(peers: list[Peer]) -> Serve:
    """Starts OPC UA servers: `serve(port, login=True)` gives (peer, endpoint)."""

    def start(port: int | None = None, **special: Any) -> tuple[Peer, str]:
        port = port or free_port()
        peer = python_peer("opcua_server.py", port, json.dumps(special))
        peers.append(peer)
        return peer.start(), f"opc.tcp://127.0.0.1:{port}/dari"

    return start
