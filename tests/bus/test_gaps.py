"""Gaps: from the last data of a source to its next, whatever ended its adapter, and told once."""

from __future__ import annotations

import time

from bridge.bus import frame
from bridge.schema import Annotation, Health, HealthCode, Interval
from tests.bus.bus_rig import Speaker, connect, eventually


def test_the_gap_of_a_killed_adapter_lasts_until_data_comes_not_until_it_talks(hub):
    client, port = connect(hub.address)
    channel = port.channel("x", "a/msg/B")
    port.emit(channel, b"a")
    eventually(lambda: hub.sink.payloads.get(("source", 0)))
    client._give_up = True  # as when it is killed: no goodbye
    client._thread.join(10)
    second, again = connect(hub.address, epoch=1)
    again.log("info", "looking for the peer")
    again.disconnected("no answer")
    eventually(lambda: len(hub.sink.payloads.get(("source", 1), [])) >= 3)
    assert hub.sink.health("gap") == []
    time.sleep(0.3)
    again.connected("peer")
    begun = time.monotonic_ns() + again._base
    again.emit(again.channel("x", "a/msg/B"), b"b")
    eventually(lambda: hub.sink.health("gap"))
    second.close("over")
    hub.stop()
    (gap,) = hub.sink.health("gap")
    assert gap.window.t1_ns >= begun - 1_000_000
    assert gap.window.t1_ns - gap.window.t0_ns > 300_000_000


def test_an_event_of_the_source_ends_a_gap_too(hub):
    client, port = connect(hub.address)
    port.event(Annotation(author="me", text="here"))
    eventually(lambda: hub.sink.payloads.get(("source", 0)))
    client._give_up = True
    client._thread.join(10)
    second, again = connect(hub.address, epoch=1)
    again.event(Health(code=HealthCode.SILENCE, text="nothing yet", window=Interval(t0_ns=1, t1_ns=2)))
    again.event(Annotation(author="me", text="here again"))
    eventually(lambda: hub.sink.health("gap"))
    second.close("over")


def test_a_source_that_never_came_back_is_told_at_the_end(hub):
    client, port = connect(hub.address)
    port.emit(port.channel("x", "a/msg/B"), b"a")
    eventually(lambda: hub.sink.payloads.get(("source", 0)))
    client._give_up = True
    client._thread.join(10)
    second, again = connect(hub.address, epoch=1)
    again.disconnected("no answer")
    assert second.close("stopped") is True
    sink = hub.stop()
    (gap,) = sink.health("gap")
    assert "nothing more came of its source" in gap.text


def test_a_source_whose_adapter_failed_and_came_back_has_one_gap_however_often_it_failed(hub):
    client, port = connect(hub.address)
    port.emit(port.channel("x", "a/msg/B"), b"a")
    port.log("error", "the peer said something strange")
    client.close("failed")
    for epoch in (1, 2):
        client, port = connect(hub.address, epoch=epoch)
        port.disconnected("no answer")
        client.close("failed")
    assert hub.sink.health("gap") == []
    client, port = connect(hub.address, epoch=3)
    begun = time.monotonic_ns() + port._base
    port.emit(port.channel("x", "a/msg/B"), b"b")
    client.close("stopped")
    (gap,) = hub.stop().health("gap")
    assert "had failed and was started again" in gap.text
    assert gap.window.t0_ns < gap.window.t1_ns
    assert gap.window.t1_ns >= begun - 1_000_000


def test_a_source_that_never_had_data_has_no_gap(hub):
    for epoch in range(3):
        client, port = connect(hub.address, epoch=epoch)
        port.disconnected("no answer")
        client.close("failed")
    assert hub.stop().health("gap") == []


def test_a_source_that_failed_and_stayed_down_is_told_at_the_end(hub):
    client, port = connect(hub.address)
    port.emit(port.channel("x", "a/msg/B"), b"a")
    client.close("failed")
    speaker = Speaker(hub.address)
    note = frame.Note(source="source", code="ended", text="ended with exit code 5 and stays down", at_ns=1)
    speaker.socket.send(frame.encode(note))
    eventually(lambda: hub.sink.health("disconnected"))
    speaker.close()
    (gap,) = hub.stop().health("gap")
    assert "stayed down" in gap.text


def test_a_source_that_fell_and_stayed_away_is_told_at_the_end(hub):
    client, port = connect(hub.address)
    port.emit(port.channel("x", "a/msg/B"), b"a")
    eventually(lambda: hub.sink.payloads.get(("source", 0)))
    client._give_up = True
    client._thread.join(10)
    sink = hub.stop()
    (gap,) = sink.health("gap")
    assert "without saying that it had sent everything" in gap.text
    assert sink.events[-1].body.boundary.value == "end"
