"""The adapter for the stand-in's leg without DDS: same channels, same task events, over ZeroMQ.

Used only where neither the ROS 2 wheels nor a sourced ROS 2 exist. It imports nothing of the stand-in: what both know is the
frame that `twin.testbed.wire` describes.
"""

from __future__ import annotations

import struct
import time
from typing import Any

from bridge import messages
from bridge.adapter import Adapter, Channel, Options, Port, Rate, Requirement
from bridge.errors import NotConnectedError
from bridge.goal_status import decode_status
from bridge.goals import STATUS_TYPE, ActionMap, ActionTracker, Moment, action_name
from bridge.schema import Space

_ENVELOPE = struct.Struct("<qq")


class StandinOptions(Options, frozen=True, kw_only=True):
    """`address` is what the stand-in was given as `--link`; silence of `silence_s` is said to be a lost connection; a goal that
    begins within `retry_within_ms` of an abort of the same action is taken as its retry, and said to be inferred; `actions` says
    what each action means, as for a ROS 2 source."""

    address: str
    actions: dict[str, ActionMap] = {}
    silence_s: float = 2.0
    retry_within_ms: float = 5000.0


class StandinAdapter(Adapter):
    """Takes the stand-in's messages from its ZeroMQ publisher."""

    options_type = StandinOptions
    requirements = (Requirement("zmq", "twin"),)
    usual_space = Space.TESTBED
    summary = "the demo's testbed robot where there is no ROS 2"
    prior_delay_ns = 200_000

    def check(self) -> list[str]:
        """An address that ZeroMQ would not take."""
        address = self._options.address
        if not address.startswith(("ipc://", "tcp://")):
            return [f"options.address: {address!r} begins with neither 'ipc://' nor 'tcp://'"]
        return []

    @property
    def _options(self) -> StandinOptions:
        assert isinstance(self.options, StandinOptions)
        return self.options

    def run(self, port: Port) -> None:
        """Subscribe, and hand over what comes until `port.stopping`. ZeroMQ connects again by itself."""
        import zmq

        context = zmq.Context()
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 20_000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            socket.connect(self._options.address)
        except zmq.ZMQError as error:
            socket.close()
            context.term()
            raise NotConnectedError(
                f"can not connect: {error.strerror}", where=self._options.address, hint="check options.address"
            ) from error
        try:
            self._take(port, socket)
        finally:
            socket.close()
            context.term()

    def _take(self, port: Port, socket: Any) -> None:
        receiver = _Receiver(port, self._options)
        silent_after = round(self._options.silence_s * 1e9)
        heard = time.monotonic_ns()
        connected = False
        while not port.stopping.is_set():
            if not socket.poll(100):
                if time.monotonic_ns() - heard > silent_after:
                    port.disconnected(f"nothing from {self._options.address} for {self._options.silence_s:g} s")
                    connected = False
                continue
            heard = time.monotonic_ns()
            if not connected:
                port.connected(self._options.address)
                connected = True
            topic, type_name, envelope, payload = socket.recv_multipart()
            sequence, sent_ns = _ENVELOPE.unpack(envelope)
            receiver.take(topic.decode(), type_name.decode(), sequence, sent_ns, payload, heard)


class _Receiver:
    """Sorts messages into channels, and status arrays into task events."""

    def __init__(self, port: Port, options: StandinOptions) -> None:
        self._port = port
        self._options = options
        self._channels: dict[str, Channel] = {}
        self._next: dict[str, int] = {}
        self._trackers: dict[str, ActionTracker] = {}

    def take(self, topic: str, type_name: str, sequence: int, sent_ns: int, payload: bytes, arrival: int) -> None:
        """One message; `sent_ns` is the stand-in host's wall clock, as a DDS source timestamp would be."""
        stamp = messages.header_stamp_ns(payload) if messages.begins_with_header(type_name) else None
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._port.channel(
                topic.removeprefix("/"),
                type_name,
                metadata={"dari.topic": topic},
                rate=Rate.EVENT if type_name == STATUS_TYPE else Rate.TELEMETRY,
                clock="header" if stamp is not None else "transport",
            )
        expected = self._next.get(topic, sequence)
        self._next[topic] = sequence + 1
        if sequence > expected:
            self._port.lost(channel.name, sequence - expected, text="the publisher's sequence has a hole")
        if stamp is None:
            self._port.emit(channel, payload, stamp=sent_ns, arrival=arrival)
        else:
            self._port.emit(channel, payload, stamp=stamp, alt_stamp=sent_ns, arrival=arrival)
        if type_name == STATUS_TYPE:
            tracker = self._tracker(action_name(topic), channel)
            # What a topic says first was new if nothing was said on it before.
            fresh = sequence == 0
            tracker.observe(decode_status(payload), Moment(sent_ns, arrival), server=b"standin", fresh=fresh)

    def _tracker(self, action: str, channel: Channel) -> ActionTracker:
        tracker = self._trackers.get(action)
        if tracker is None:
            tracker = self._trackers[action] = ActionTracker(
                self._port,
                action,
                self._options.actions.get(action),
                status_topic=channel.topic,
                clock=channel.clock,
                retry_within_ns=round(self._options.retry_within_ms * 1e6),
            )
        return tracker
