"""A source that hands over messages as fast as the runtime takes them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bridge.adapter import Adapter, Options, Port

TYPE = "sensor_msgs/msg/JointState"


class FloodOptions(Options, frozen=True, kw_only=True):
    """`count` messages of `size` bytes; the times of the first message and the last acknowledgement go to `tally`."""

    count: int
    size: int
    tally: str


class FloodAdapter(Adapter):
    """Floods."""

    options_type = FloodOptions
    summary = "floods"
    _begun = 0

    def run(self, port: Port) -> None:
        """Hand over `count` messages."""
        options = self.options
        assert isinstance(options, FloodOptions)
        channel = port.channel("joint_states", TYPE)
        payload = joint_state(options.size)
        self._begun = time.monotonic_ns()
        stamp = time.time_ns()
        for i in range(options.count):
            if port.stopping.is_set():
                return
            port.emit(channel, payload, stamp=stamp + i * 20_000)

    def acknowledge(self, sequence: int) -> None:
        """Note when the last message was on disk."""
        assert isinstance(self.options, FloodOptions)
        if sequence >= self.options.count - 1:
            Path(self.options.tally).write_text(json.dumps([self._begun, time.monotonic_ns()]))


def joint_state(size: int) -> bytes:
    """A JointState in CDR of exactly `size` bytes, its numbers not all alike so that compression has something to do."""
    from bridge import messages

    names = [f"joint_{i}" for i in range(6)]
    values = [0.1234567 * (i + 1) for i in range(6)]
    for width in range(64):
        message = messages.message(TYPE, name=names, position=values, velocity=values, effort=values)
        message.header.frame_id = "f" * width
        data = messages.serialize(TYPE, message)
        if len(data) == size:
            return data
    raise ValueError(f"no JointState of {size} bytes")
