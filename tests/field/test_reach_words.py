"""What is said of a peer that can not be reached."""

from __future__ import annotations

import pytest

from adapters.reach import unreachable


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("OPC UA server", "an OPC UA server"),
        ("MQTT broker", "an MQTT broker"),
        ("Modbus device", "a Modbus device"),
    ],
)
def test_the_article_fits_the_peer(what, words):
    error = unreachable(ConnectionResetError(), host="127.0.0.1", port=4840, what=what, key="options.host")
    assert f"check that {words} runs there" in error.hint
