"""The port: channels that are named like dari's own, channels that come again, and events that do not fit."""

from __future__ import annotations

import pytest

from bridge.adapter import ChannelKind, SignalConfig
from bridge.errors import SchemaError
from bridge.schema import Annotation, Signal
from bridge.testing import RecordingPort


@pytest.mark.parametrize("name", ["events", "log"])
def test_a_channel_that_is_named_like_one_of_ours_is_another(name):
    port = RecordingPort()
    channel = port.channel(name, "std_msgs/msg/String")
    port.event(Annotation(author="me", text="here"))
    port.log("info", "hello")
    port.emit(channel, b"\0\1\0\0")
    assert channel.topic == f"/field/cell1/{name}"
    assert [(c.kind, c.topic) for c in port.declared] == [
        (ChannelKind.CDR, f"/field/cell1/{name}"),
        (ChannelKind.EVENT, "/dari/events"),
        (ChannelKind.LOG, "/dari/log"),
    ]
    assert port.channel(name, "std_msgs/msg/String") is channel
    (sample,) = port.samples
    assert sample.channel is channel
    assert len(port.events) == 1


def test_a_tag_that_is_named_like_a_channel_is_no_message_of_it():
    port = RecordingPort(signals={"events": SignalConfig(own=True), "x": SignalConfig(own=True)})
    port.channel("x", "std_msgs/msg/String")
    for _ in range(3):
        port.signals([Signal("events", 1), Signal("x", 2), Signal("y", 3)])
    kinds = [(c.kind, c.name) for c in port.declared]
    assert kinds == [
        (ChannelKind.CDR, "x"),
        (ChannelKind.SIGNAL, "events"),
        (ChannelKind.SIGNAL, "x"),
        (ChannelKind.SIGNALS, "source/signals"),
    ]
    assert [s.tag for s in port.signals_seen] == ["events", "x", "y"] * 3


def test_a_channel_that_changes_its_type_keeps_two_and_no_more():
    port = RecordingPort()
    first = port.channel("x", "a/msg/A")
    second = port.channel("x", "a/msg/B")
    assert first is not second
    for _ in range(3):
        assert port.channel("x", "a/msg/A") is first
        assert port.channel("x", "a/msg/B") is second
    assert len(port.declared) == 2


def test_an_event_that_does_not_fit_leaves_no_hole_in_the_numbers():
    port = RecordingPort()
    port.event(Annotation(author="me", text="one"))
    with pytest.raises(SchemaError):
        port.event(Annotation(author="", text=7))
    port.event(Annotation(author="me", text="two"))
    assert [event.sequence for event in port.events] == [0, 1]
