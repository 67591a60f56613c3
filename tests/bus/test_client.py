"""The sender's end, against a socket that this test is the hub of: what is said, what is said again, what is held."""

from __future__ import annotations

import threading
import time

import msgspec
import numpy as np
import pytest

from bridge.adapter import NO_STAMP, Channel
from bridge.bus import client as client_module
from bridge.bus import frame
from bridge.bus.client import MAX_RECORD, HubClient
from tests.bus.bus_rig import CHANNEL, SOURCE, BareHub, eventually, record


@pytest.fixture
def address(tmp_path):
    return f"ipc://{tmp_path}/hub"


@pytest.fixture
def hub(address):
    made = BareHub(address)
    yield made
    made.close()


@pytest.fixture
def connect(address):
    made: list[HubClient] = []

    def start(**options) -> HubClient:
        made.append(HubClient(address, SOURCE, **options))
        return made[-1]

    yield start
    for one in made:
        one._give_up = True
        one.close("the test is over", timeout_s=0.1)


def sent_by(hub: BareHub, count: int) -> list[int]:
    """The numbers of the next `count` records."""
    found: list[int] = []
    while len(found) < count:
        header = hub.next().header
        if isinstance(header, frame.Data):
            found += range(header.first, header.first + header.n)
    return found


def test_it_says_who_it_is_before_anything_else_and_each_channel_before_its_records(hub, connect):
    client = connect()
    assert isinstance(hub.next().header, frame.Hello)
    client.declare(CHANNEL)
    client.put(0, record(b"abc", stamp=5))
    hello = hub.next().header
    assert isinstance(hello, frame.Hello)
    assert hello.next_sequence == 0
    (channel,) = msgspec.msgpack.decode(hello.channels, type=list[Channel])
    assert channel == CHANNEL
    data = hub.next()
    assert isinstance(data.header, frame.Data)
    assert (data.header.first, data.header.n, bytes(data.payload)) == (0, 1, b"abc")
    assert data.columns[1].tolist() == [5]


def test_what_is_acknowledged_is_let_go_and_told(hub, connect):
    told: list[int] = []
    client = connect(on_ack=told.append)
    client.declare(CHANNEL)
    for number in range(1000):
        client.put(number, record())
    assert sent_by(hub, 1000) == list(range(1000))
    assert client.unconfirmed == 1000
    hub.ack(client._number - 1, 999)
    eventually(lambda: told == [999])
    assert client.unconfirmed == 0
    assert client._window.held == client._window.in_flight == 0


def test_a_hub_that_asks_is_told_again_all_that_it_has_not_confirmed(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    client.put(0, record(b"0"))
    sent_by(hub, 1)
    hub.ack(0, 0)
    eventually(lambda: client.unconfirmed == 0)
    for number in range(1, 5):
        client.put(number, record(str(number).encode()))
        sent_by(hub, 1)
    time.sleep(client_module.CROSSED_S)
    hub.send(frame.Who(source="source"))
    hello = hub.next().header
    assert isinstance(hello, frame.Hello)
    assert hello.next_sequence == 1
    assert sent_by(hub, 4) == [1, 2, 3, 4]


def test_a_question_that_crossed_the_answer_is_not_answered_twice(hub, connect):
    client = connect()
    hub.next()
    client.declare(CHANNEL)
    for number in range(2000):
        client.put(number, record(bytes(100)))
    sent_by(hub, 2000)
    # As when a backlog of frames is read before the Hello that follows it.
    for _ in range(5):
        hub.send(frame.Who(source="source"))
    client.put(2000, record())
    again = sent_by(hub, 1)
    assert again == [2000]


def test_a_new_hub_gets_what_the_old_one_had_not_confirmed(address, connect):
    old = BareHub(address)
    client = connect()
    client.declare(CHANNEL)
    for number in range(10):
        client.put(number, record())
    sent_by(old, 10)
    old.close()
    for number in range(10, 20):
        client.put(number, record())
    new = BareHub(address)
    try:
        # What is queued in the socket may come first; a real hub asks for it.
        while not isinstance(new.next(), frame.Frame):
            pass
        time.sleep(client_module.CROSSED_S)
        new.send(frame.Who(source="source"))
        header = new.next().header
        while not isinstance(header, frame.Hello):
            header = new.next().header
        assert header.next_sequence == 0
        assert sent_by(new, 20) == list(range(20))
        new.ack(client._number - 1, 19)
        eventually(lambda: client.unconfirmed == 0)
    finally:
        new.close()


def test_close_waits_as_long_as_the_hub_confirms(hub, connect):
    client = connect(window_bytes=1)  # a frame at a time
    client.declare(CHANNEL)
    for number in range(5 * 512):
        client.put(number, record())
    signs: list[float] = []
    done: list[bool] = []
    # Each confirmation takes most of the time that the client waits for one; all together take much longer.
    thread = threading.Thread(
        target=lambda: done.append(client.close("over", 2.0, lambda: signs.append(time.monotonic())))
    )
    thread.start()
    while True:
        header = hub.next().header
        if isinstance(header, frame.Hello):
            continue
        time.sleep(0.6)
        if isinstance(header, frame.Bye):
            hub.ack(header.number, header.next_sequence - 1)
            break
        hub.ack(header.number, header.first + header.n - 1)
    thread.join(20)
    assert done == [True]
    assert len(signs) >= 5
    assert header.next_sequence == 5 * 512


def test_close_gives_up_when_nothing_is_confirmed_and_says_how_much_is_missing(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    for number in range(7):
        client.put(number, record())
    assert client.close("over", timeout_s=0.5) is False
    assert client.unconfirmed == 7


def test_close_with_everything_confirmed_is_complete_though_the_goodbye_is_not_answered(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    client.put(0, record())
    sent_by(hub, 1)
    hub.ack(0, 0)
    assert client.close("over", timeout_s=0.5) is True


def test_what_comes_after_the_end_is_refused_and_counted(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    client.put(0, record())
    client.close("over", timeout_s=0.3)
    assert "after the adapter had ended" in client.put(1, record())
    assert client.dropped == 1
    header = hub.next().header
    while not isinstance(header, frame.Bye):
        assert not isinstance(header, frame.Data) or header.first + header.n == 1
        header = hub.next().header
    assert header.next_sequence == 1
    assert hub.quiet(0.2)


def test_a_window_bounds_what_is_on_its_way(hub, connect):
    client = connect(window_bytes=300_000)
    client.declare(CHANNEL)
    for number in range(3000):
        client.put(number, record(bytes(1000)))
    eventually(lambda: client._window.in_flight >= 300_000)
    time.sleep(0.2)
    # At most one frame more than the window.
    assert client._window.in_flight < 300_000 + 512 * 1100
    assert client.unconfirmed == 3000
    got: list[int] = []
    while len(got) < 3000:
        header = hub.next().header
        if isinstance(header, frame.Data):
            got += range(header.first, header.first + header.n)
            hub.ack(header.number, header.first + header.n - 1)
    assert got == list(range(3000))


def test_held_bytes_are_bounded_and_dropping_has_an_end(hub, connect):
    said: list[tuple[str, str]] = []
    client = connect(held_bytes=100_000, patience_s=0.2, say=lambda *line: said.append(line))
    client.declare(CHANNEL)
    begun = time.monotonic()
    refused = [number for number in range(2000) if client.put(number, record(bytes(1000)))]
    # It waited once, not once for each record that it dropped.
    assert time.monotonic() - begun < 10
    assert client._window.held <= 100_000 + 1200
    assert refused == list(range(refused[0], 2000))
    assert client.dropped == len(refused)
    got = sent_by(hub, refused[0])
    assert got == list(range(refused[0]))
    hub.ack(client._number - 1, refused[0] - 1)
    eventually(lambda: client.unconfirmed == 0)
    assert client.put(2000, record()) == ""
    header = hub.next().header
    # The hole is to be seen in the numbers.
    assert isinstance(header, frame.Data)
    assert header.first == 2000
    levels = [level for level, _ in said]
    assert levels == ["error", "warning"]
    assert f"{len(refused)} were dropped" in said[1][1]


def test_once_it_drops_it_does_not_take_every_other_record(hub, connect):
    client = connect(held_bytes=100_000, patience_s=0.05)
    client.declare(CHANNEL)
    number = 0
    while not client.put(number, record(bytes(1000))):
        number += 1
        eventually(lambda: client._window.waiting == 0)  # a frame for each
    taken = list(client._window.unacked)
    hub.next()
    # Room for a few: nothing is taken yet, or each would leave a hole of its own.
    hub.ack(taken[2].number, 2)
    eventually(lambda: client.unconfirmed == number - 3)
    assert client.put(number + 1, record(bytes(1000)))
    hub.ack(taken[number // 2].number, number // 2)
    eventually(lambda: client.unconfirmed == number - number // 2 - 1)
    assert client.put(number + 2, record(bytes(1000))) == ""
    assert client.dropped == 2


def test_a_source_that_keeps_what_is_not_acknowledged_is_made_to_wait_instead(hub, connect):
    stopping = threading.Event()
    acked: list[int] = []
    client = connect(held_bytes=50_000, patience_s=None, stopping=stopping, on_ack=acked.append)
    client.declare(CHANNEL)
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(client.put(n, record(bytes(1000))) for n in range(100)))
    thread.start()
    eventually(lambda: client._window.held > 48_000)
    time.sleep(0.3)
    assert thread.is_alive()
    while thread.is_alive():
        header = hub.next().header
        if isinstance(header, frame.Data):
            hub.ack(header.number, header.first + header.n - 1)
        thread.join(0.05)
    assert taken == [""] * 100
    assert client.dropped == 0


def test_what_was_dropped_is_not_told_to_a_source_that_would_send_it_again(hub, connect, monkeypatch):
    monkeypatch.setattr(client_module, "LAST_PATIENCE_S", 0.2)
    stopping = threading.Event()
    stopping.set()
    acked: list[int] = []
    client = connect(held_bytes=50_000, patience_s=None, stopping=stopping, on_ack=acked.append)
    client.declare(CHANNEL)
    number = 0
    while not client.put(number, record(bytes(1000))):
        number += 1
    thread = threading.Thread(target=client.close, args=("over", 20.0))
    thread.start()
    header = hub.next().header
    while not isinstance(header, frame.Bye):
        header = hub.next().header
    assert header.next_sequence == number + 1
    hub.ack(header.number, header.next_sequence - 1)
    thread.join(20)
    assert acked == [number - 1]


def test_frames_of_large_records_stay_under_what_the_hub_takes(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    for number in range(40):
        client.put(number, record(bytes(400_000)))
    got: list[int] = []
    while len(got) < 40:
        found = hub.next()
        if isinstance(found.header, frame.Data):
            assert len(found.payload) <= 1_500_000
            got += range(found.header.first, found.header.first + found.header.n)
            hub.ack(found.header.number, found.header.first + found.header.n - 1)
    assert got == list(range(40))


def test_a_record_that_no_frame_can_hold_is_refused_alone(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    assert client.put(0, record(b"a")) == ""
    reason = client.put(1, record(bytes(MAX_RECORD + 1)))
    assert str(MAX_RECORD) in reason
    assert client.put(2, record(b"b")) == ""
    assert sent_by(hub, 2) == [0, 2]


@pytest.mark.parametrize("stamp", [2**63, 2**64 - 1, -(2**70), 3.7])
def test_a_stamp_that_is_no_time_does_not_end_the_source(hub, connect, stamp):
    client = connect()
    client.declare(CHANNEL)
    client.put(0, record(b"a", stamp=stamp))
    client.put(1, record(b"b"))
    found = hub.next()
    while not isinstance(found.header, frame.Data):
        found = hub.next()
    expected = max(-(2**63) + 1, min(2**63 - 1, int(stamp)))
    assert found.columns[1][0] == expected
    assert expected != NO_STAMP


def test_a_payload_that_is_lent_is_copied_and_one_that_is_no_bytes_is_refused_where_it_was_made(hub, connect):
    client = connect()
    client.declare(CHANNEL)
    lent = bytearray(b"before")
    client.put(0, record(memoryview(lent)))
    lent[:] = b"after!"
    with pytest.raises(TypeError):
        client.put(1, record("text"))
    client.put(1, record(np.arange(3, dtype=np.uint8)))
    payload = b""
    while len(payload) < 9:
        found = hub.next()
        if isinstance(found.header, frame.Data):
            payload += bytes(found.payload)
    assert payload == b"before\0\1\2"


def test_a_source_whose_acknowledging_fails_is_recorded_all_the_same(hub, connect):
    said: list[tuple[str, str]] = []

    def broken(sequence: int) -> None:
        raise RuntimeError("the broker is gone")

    client = connect(on_ack=broken, say=lambda *line: said.append(line))
    client.declare(CHANNEL)
    for number in range(3):
        client.put(number, record())
        sent_by(hub, 1)
        hub.ack(client._number - 1, number)
        eventually(lambda: client.unconfirmed == 0)
    assert [level for level, text in said if "the broker is gone" in text] == ["error"]


def test_a_link_that_fails_is_known(tmp_path, connect):
    failed: list[str] = []
    client = HubClient("nowhere://at-all", SOURCE, on_failure=failed.append)
    eventually(lambda: failed)
    assert "link to the hub failed" in failed[0]
    assert "link to the hub failed" in client.put(0, record())
    assert client.close("over", timeout_s=0.5) is False


def test_it_says_that_it_lives_when_it_has_nothing_to_say(hub, connect):
    connect()
    hub.ping()


def test_garbage_from_the_hub_does_not_end_it(hub, connect):
    client = connect()
    hub.next()
    hub.socket.send_multipart([hub.route, b"rubbish"])
    client.declare(CHANNEL)
    client.put(0, record())
    assert sent_by(hub, 1) == [0]
