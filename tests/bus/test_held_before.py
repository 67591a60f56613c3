"""What a device held before it was first asked is kept with its stamp, and does not bend its clock."""

from __future__ import annotations

import time

from bridge.adapter import NO_STAMP, SignalConfig
from bridge.bus.record import Record
from bridge.schema import Signal
from bridge.testing import RecordingPort

HOUR = 3_600_000_000_000


class KeepingPort(RecordingPort):
    """Keeps the records as they go to the hub."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        super().__init__(signals={"own": SignalConfig(own=True)})

    def _put(self, record: Record) -> None:
        self.records.append(record)
        super()._put(record)


def test_an_old_value_has_no_say_in_the_alignment():
    port = KeepingPort()
    old = time.time_ns() - 9 * HOUR
    port.signals([Signal("own", 1, source_ns=old), Signal("other", 2, source_ns=old - 5)], held_before=True)
    for i in range(20):
        port.signals([Signal("other", i, source_ns=time.time_ns() - 2_000_000_000)])
    own, other, *later = port.records
    assert (own.stamp, own.alt_stamp) == (NO_STAMP, old)
    assert (other.stamp, other.alt_stamp) == (NO_STAMP, old - 5)
    assert own.aligned == own.arrival
    assert {record.clock_epoch for record in later} == {0}
    # The clock is two seconds behind, and is found to be so at once: nine hours are not in it.
    for record in later:
        assert record.arrival - 1_000_000_000 < record.aligned <= record.arrival
    assert [signal.source_ns for signal in port.signals_seen[:2]] == [old, old - 5]
