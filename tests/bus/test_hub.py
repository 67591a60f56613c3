"""The hub with real senders: what was dropped is a gap, two that claim one source, starts that overlap, a hub that stood by."""

from __future__ import annotations

import threading
import time

import pytest

from bridge.bus import frame
from bridge.bus.record import Record
from bridge.errors import DariError, LogError
from bridge.hub import BEHIND_NS, Hub
from bridge.sink import Batch
from bridge.testing import make_source
from tests.bus.bus_rig import CHANNEL, ListSink, RunningHub, Speaker, connect, eventually, make_pipeline, record


def test_everything_arrives_once_and_in_order(hub):
    client, port = connect(hub.address)
    channel = port.channel("x", "a/msg/B")
    for number in range(5000):
        port.emit(channel, str(number).encode())
    assert client.close("over") is True
    sink = hub.stop()
    assert sink.payloads["source", 0] == [str(number).encode() for number in range(5000)]
    assert sink.sequences["source", 0] == list(range(5000))
    assert hub.pipeline.totals.gaps == hub.pipeline.totals.duplicates == 0


def test_what_a_bounded_sender_drops_is_a_gap_with_its_count_and_an_event_with_its_channel(tmp_path):
    address = f"ipc://{tmp_path}/hub"
    # No hub yet: the sender fills up, and drops.
    client, port = connect(address, held_bytes=20_000, patience_s=0.05)
    channel = port.channel("x", "a/msg/B")
    for _ in range(200):
        port.emit(channel, bytes(1000))
    assert client.dropped > 100
    hub = RunningHub(tmp_path)
    eventually(lambda: client.unconfirmed == 0)
    for _ in range(10):
        port.emit(channel, bytes(1000))
    assert client.close("over") is True
    sink = hub.stop()
    kept = sink.sequences["source", 0]
    missing = sorted(set(range(max(kept))) - set(kept))
    assert len(missing) == client.dropped
    (gap,) = sink.health("gap")
    assert gap.count == client.dropped
    assert f"records {missing[0]} to {missing[-1]} are missing" in gap.text
    assert hub.pipeline.totals.lost == client.dropped
    (dropped,) = sink.health("dropped")
    assert (dropped.channel, dropped.count) == ("/field/cell1/x", client.dropped)
    assert dropped.window.t0_ns < dropped.window.t1_ns
    assert gap.window.t0_ns <= dropped.window.t0_ns


def test_a_record_too_large_is_told_of_its_channel_and_the_rest_arrives(hub, monkeypatch):
    monkeypatch.setattr("bridge.bus.client.MAX_RECORD", 5000)
    client, port = connect(hub.address)
    channel, other = port.channel("image", "a/msg/B"), port.channel("x", "a/msg/B")
    port.emit(channel, bytes(6000))
    port.emit(other, b"small")
    assert client.close("over") is True
    sink = hub.stop()
    assert b"small" in sink.payloads["source", 0]
    (dropped,) = sink.health("dropped")
    assert dropped.channel == "/field/cell1/image"
    assert "6000 bytes" in dropped.text


def test_two_processes_that_claim_one_source_do_not_overwrite_each_other(hub, speaker):
    first, second = speaker(pid=100), speaker(pid=200)
    first.hello()
    first.data(0, [b"a", b"b"])
    eventually(lambda: hub.sink.payloads.get(("source", 0)) == [b"a", b"b"])
    second.hello()
    second.data(0, [b"X", b"Y", b"Z"])
    eventually(lambda: hub.pipeline.totals.refused >= 1)
    first.data(2, [b"c"])
    eventually(lambda: len(hub.sink.payloads["source", 0]) == 3)
    assert hub.sink.payloads["source", 0] == [b"a", b"b", b"c"]
    eventually(lambda: hub.sink.health("refused_peer"))
    (refused,) = hub.sink.health("refused_peer")
    assert "process 200 says that it is source, but process 100 is" in refused.text


def test_one_process_may_come_back_by_another_way_and_what_it_repeats_is_dropped(hub, speaker):
    first, again = speaker(pid=100), speaker(pid=100)
    first.hello()
    first.data(0, [b"a", b"b"])
    eventually(lambda: hub.sink.payloads.get(("source", 0)) == [b"a", b"b"])
    again.hello()
    again.data(0, [b"a", b"b", b"c"])
    eventually(lambda: len(hub.sink.payloads["source", 0]) == 3)
    assert hub.sink.payloads["source", 0] == [b"a", b"b", b"c"]
    assert hub.pipeline.totals.duplicates == 2
    assert hub.pipeline.totals.gaps == 0


def test_what_a_killed_start_had_sent_is_taken_though_its_successor_speaks_already(hub, speaker):
    old, new = speaker(epoch=0, pid=1), speaker(epoch=1, pid=2)
    old.hello()
    old.data(0, [b"a"])
    eventually(lambda: ("source", 0) in hub.sink.payloads)
    new.hello()
    new.data(0, [b"n"])
    eventually(lambda: ("source", 1) in hub.sink.payloads)
    old.data(1, [b"b"])
    eventually(lambda: hub.sink.payloads["source", 0] == [b"a", b"b"])
    new.data(1, [b"m"])
    eventually(lambda: hub.sink.payloads["source", 1] == [b"n", b"m"])
    assert hub.pipeline.totals.duplicates == 0


def test_a_frame_before_its_hello_is_asked_about_and_sent_again_by_a_real_sender(hub, speaker):
    stranger = speaker()
    stranger.data(0, [b"a"])
    assert isinstance(stranger.answer(), frame.Who)
    assert ("source", 0) not in hub.sink.payloads
    stranger.hello()
    stranger.data(0, [b"a"])
    eventually(lambda: hub.sink.payloads.get(("source", 0)) == [b"a"])
    assert hub.pipeline.totals.gaps == 0


def test_a_sink_that_fails_leaves_everything_with_the_senders(tmp_path):
    hub = RunningHub(tmp_path)
    client, port = connect(hub.address)
    channel = port.channel("x", "a/msg/B")
    for number in range(100):
        port.emit(channel, str(number).encode())
    eventually(lambda: client.unconfirmed == 0)
    hub.sink.fail = LogError("the disk is full")
    for number in range(100, 200):
        port.emit(channel, str(number).encode())
    hub.thread.join(20)
    assert isinstance(hub.error, LogError)
    assert client.unconfirmed == 100
    # The next hub gets all of it, and no more than it.
    again = RunningHub(tmp_path, part=1)
    assert client.close("over") is True
    sink = again.stop()
    assert sink.payloads["source", 0] == [str(number).encode() for number in range(100, 200)]
    assert again.pipeline.totals.gaps == 0


def test_two_hubs_of_a_run_give_no_id_twice(tmp_path):
    ids = set()
    for part in range(2):
        hub = RunningHub(tmp_path, part=part)
        sink = hub.stop()
        assert len(sink.events) == 2
        assert not ids & {event.id for event in sink.events}
        ids |= {event.id for event in sink.events}


def test_a_sender_that_hangs_is_missed_and_one_that_is_known_to_be_down_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("bridge.hub.SILENT_S", 0.4)
    said: list[tuple[str, str, str]] = []
    hub = RunningHub(tmp_path, say=lambda *line: said.append(line))
    hangs, down = Speaker(hub.address, name="hangs", pid=77), Speaker(hub.address, name="down")
    client, _ = connect(hub.address, name="idle")
    monkeypatch.setattr("bridge.bus.client.PING_S", 0.1)
    for one in (hangs, down):
        one.hello()
        one.data(0, [b"a"])
    down.socket.send(frame.encode(frame.Note(source="down", code="ended", text="ended by signal SIGKILL", at_ns=1)))
    eventually(lambda: hub.sink.health("silence"))
    hangs.data(1, [b"b"])
    eventually(lambda: hub.sink.health("connected"))
    hangs.close()
    down.close()
    client.close("over")
    sink = hub.stop()
    assert {body.text.split(":")[0] for body in sink.health("silence")} == {"hangs"}
    first = sink.health("silence")[0]
    assert first.window.t1_ns - first.window.t0_ns > 350_000_000
    assert said[0][:2] == ("hangs", "error") and "77" in said[0][2]


class Clocked:
    """Notes what a hub tells its pipeline of time."""

    def __init__(self, hub: Hub) -> None:
        self.told: list[tuple[int, int]] = []
        advance = hub._pipeline.advance

        def noted(now: int, rules_now: int | None = None, watermark: int | None = None) -> None:
            self.told.append((now, now if rules_now is None else rules_now))
            advance(now, rules_now, watermark)

        hub._pipeline.advance = noted


def a_hub(tmp_path, **options) -> Hub:
    return Hub(f"ipc://{tmp_path}/own", make_pipeline(ListSink()), 0, **options)


def test_the_rules_time_does_not_pass_what_a_sender_has_yet_to_deliver(tmp_path):
    hub = a_hub(tmp_path)
    noted = Clocked(hub)
    now = hub._now()
    hub._heard = {"slow": now - 3_000_000_000, "quick": now - 1_000_000}
    hub._advance(time.monotonic())
    assert noted.told[-1][1] == now - 3_000_000_000
    assert noted.told[-1][0] >= now
    # Heard no more: nothing of it can be on its way.
    hub._advance(time.monotonic())
    assert noted.told[-1][1] == noted.told[-1][0]
    # A clock that is hours off must not stop the rules.
    hub._heard = {"mad": now - BEHIND_NS - 1}
    hub._advance(time.monotonic())
    assert noted.told[-1][1] == noted.told[-1][0]
    hub.close("over")


def test_a_hub_that_takes_over_lets_the_rules_wait_for_what_is_sent_again(tmp_path):
    hub = a_hub(tmp_path, settle_s=0.4)
    noted = Clocked(hub)
    begun = time.monotonic()
    stopping = threading.Event()
    thread = threading.Thread(target=hub.serve, args=(stopping,))
    thread.start()
    eventually(lambda: noted.told)
    assert time.monotonic() - begun >= 0.4
    stopping.set()
    thread.join(20)
    hub.close("over")


def test_an_address_that_can_not_be_used_is_said(tmp_path):
    with pytest.raises(DariError, match="can not listen") as caught:
        Hub(f"ipc://{tmp_path}/{'x' * 200}", make_pipeline(ListSink()), 0)
    assert "TMPDIR" in str(caught.value)


class BrokenRules:
    """Rules with a fault of their own."""

    late = 0
    released = 0
    sources = ()
    watermark_ns = None

    def declare(self, source, channels) -> None:
        """Fine so far."""

    def take(self, batch: Batch) -> None:
        raise ZeroDivisionError("a fault of the rules")

    def advance(self, now_ns: int, watermark_ns: int | None = None) -> list:
        return []

    def health(self) -> dict:
        return {"inputs": {"late": 3}}


def test_rules_that_fail_do_not_take_the_recorder_down(tmp_path):
    sink = ListSink()
    pipeline = make_pipeline(sink, rules=BrokenRules())
    pipeline.declare(make_source(), [CHANNEL])
    hub = Hub(f"ipc://{tmp_path}/own", pipeline, 0)
    speaker = Speaker(f"ipc://{tmp_path}/own")
    speaker.hello()
    speaker.data(0, [b"a"])
    speaker.data(1, [b"b"])
    eventually(lambda: hub.step(0.1) + 1 and sink.payloads.get(("source", 0)) == [b"a", b"b"])
    speaker.close()
    hub.close("over")
    assert "ZeroDivisionError" in pipeline.totals.rules_failed
    assert pipeline.totals.rules == {"inputs": {"late": 3}}
    (said,) = sink.health("dropped")
    assert "a fault of the rules" in said.text


def test_record_rows_have_the_order_of_the_columns():
    assert Record._fields[:-1] == frame.COLUMNS[:-1]
    assert record(b"x").channel == 0
