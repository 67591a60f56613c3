"""The tap: takes raw messages with a wait set of its own, on its own thread, in no executor.

DDS receives on its own threads and holds what came (the subscription's depth); the tap empties the queues in batches a few
milliseconds apart. The received timestamp is set by DDS, so that batching does not blur the arrival.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from adapters.ros2.losses import Gap, LossReport, PublisherNumbers
from bridge.adapter import Channel, Port
from bridge.goal_status import decode_status
from bridge.goals import ActionTracker, Moment
from bridge.messages.header import header_stamp_ns

WAIT_NS = 100_000_000
BATCH_S = 0.002
TURN = 512
"""Messages taken from one topic before the others have their turn."""
SLACK_NS = 50_000_000
"""How far the received timestamp may lie before the moment at which the queue was last found empty."""
REPORT_NS = 1_000_000_000
FRESH_NS = 2_000_000_000
"""Latched messages arrive at once: what comes this long after a publisher was first seen was published since."""
PROMPT_NS = 200_000_000
"""A message that was received this soon after its source timestamp was not kept for later."""


class Tapped:
    """One subscription and what is known of its topic.

    Args:
        topic: the ROS topic.
        message: the Python class of its type.
        subscription: rclpy's subscription, raw.
        channel: where the messages go.
        has_header: whether the type begins with a header.
        header_aligns: align by `header.stamp` where there is one; the DDS source timestamp goes beside it. Else the other
            way round.
        latched: the publishers keep messages for those who join, so that the first ones may be old.
        tracker: makes task events of the messages, where they are an action's status.
    """

    def __init__(
        self,
        topic: str,
        message: Any,
        subscription: Any,
        channel: Channel,
        *,
        has_header: bool,
        header_aligns: bool,
        latched: bool = False,
        tracker: ActionTracker | None = None,
    ) -> None:
        self.topic = topic
        self.message = message
        self.subscription = subscription
        self.channel = channel
        self.has_header = has_header
        self.header_aligns = header_aligns and has_header
        self.latched = latched
        self.tracker = tracker
        self.opened = time.monotonic_ns()
        self.emptied = self.opened
        self.numbers: dict[bytes, PublisherNumbers] = {}
        self.first_seen: dict[bytes, int] = {}
        self.losses = LossReport()
        self.received = 0
        self.numbered: bool | None = None
        # With no publisher ids, numbers say something only where there is one publisher.
        self.single = True

    @property
    def tells_apart(self) -> bool:
        """Whether every message has shown its publisher and its number, so that no message can be taken twice."""
        return bool(self.numbered) and b"" not in self.numbers

    def kept(self, publisher: bytes, age: int, arrival: int) -> bool:
        """Whether a message may have been kept for us by its publisher: its stamps then tell nothing about the clock.

        `age` is between the DDS source and received timestamps, ns. Clocks of two hosts may differ, so that an age that looks
        odd proves something only where messages that were kept can come at all: soon after a publisher was first seen.
        """
        since = self.first_seen.get(publisher, arrival) if publisher else self.opened
        return self.latched and arrival - since < FRESH_NS and not 0 <= age < PROMPT_NS

    def reopened(self, subscription: Any, latched: bool) -> Tapped:
        """The same topic with another subscription; the publishers' numbers go on."""
        other = Tapped.__new__(Tapped)
        other.__dict__.update(self.__dict__)
        other.subscription = subscription
        other.latched = latched
        other.opened = other.emptied = time.monotonic_ns()
        return other


class Tap:
    """Takes from all subscriptions until told to stop. Other threads speak to it through its methods only.

    Args:
        context: the rclpy context.
        port: where the messages go.
        release: called with a subscription that is no longer read; it may be destroyed then.
    """

    def __init__(self, context: Any, port: Port, release: Callable[[Any], None]) -> None:
        self._context = context
        self._port = port
        self._release = release
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._taps: dict[int, Tapped] = {}
        self._closing: list[tuple[int, Tapped, Tapped]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ros2-tap", daemon=True)
        self._reported = time.monotonic_ns()
        self._told_not_known = False
        self._wait_set: Any = None
        self._capacity = 0
        self.error: BaseException | None = None
        self.last_arrival = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take what DDS still holds, say what was lost, and end."""
        self._stop.set()
        self._thread.join()

    def ask(self, what: Callable[[], None]) -> None:
        """Have something done on the tap's thread, between two batches."""
        self._inbox.put(what)

    def add(self, tapped: Tapped) -> None:
        """Read a new subscription."""
        self.ask(lambda: self._taps.__setitem__(tapped.subscription.handle.pointer, tapped))

    def remove(self, tapped: Tapped) -> None:
        """Take what a subscription holds and read it no more; returns when that is done."""
        done = threading.Event()

        def forget() -> None:
            self._forget(tapped)
            done.set()

        self.ask(forget)
        while not done.wait(0.1) and self._thread.is_alive():
            pass

    def replace(
        self, old: Tapped, subscription: Any, latched: bool, overlap_s: float, then: Callable[[Tapped], None]
    ) -> None:
        """Read a topic by another subscription, and by the old one too until the new one has met its publishers.

        Only where `old.tells_apart`: else what both deliver would be taken twice.
        """

        def swap() -> None:
            new = old.reopened(subscription, latched)
            self._taps[subscription.handle.pointer] = new
            for numbers in old.numbers.values():
                numbers.overlap()
            self._closing.append((time.monotonic_ns() + round(overlap_s * 1e9), old, new))
            then(new)

        self.ask(swap)

    # -- on the tap's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._round()
            self._round(last=True)
        except BaseException as error:  # handed to the adapter's thread, which raises it
            self.error = error
        finally:
            self._wait_set = None

    def _round(self, last: bool = False) -> None:
        while True:
            try:
                self._inbox.get_nowait()()
            except Empty:
                break
        if last:
            for each in list(self._taps.values()):
                while self._drain(each) == TURN:
                    pass
            self._close_old(everything=True)
            self._report()
            return
        ready = self._wait()
        for pointer in ready:
            tapped = self._taps.get(pointer)
            if tapped is not None:
                self._drain(tapped)
        now = time.monotonic_ns()
        if self._closing:
            self._close_old()
        if now - self._reported > REPORT_NS:
            self._reported = now
            self._report()
        if ready:
            self._stop.wait(BATCH_S)

    def _wait(self) -> list[int]:
        """Pointers of the subscriptions that have something."""
        if not self._taps:
            self._stop.wait(0.02)
            return []
        wait_set = self._wait_set
        if wait_set is None or self._capacity < len(self._taps):
            from rclpy.impl.implementation_singleton import rclpy_implementation as rcl

            # A wait set has a fixed size: one with room to spare, so that it is not made anew for each topic that joins.
            self._capacity = 2 * len(self._taps) + 8
            wait_set = self._wait_set = rcl.WaitSet(self._capacity, 0, 0, 0, 0, 0, self._context.handle)
        wait_set.clear_entities()
        for tapped in self._taps.values():
            wait_set.add_subscription(tapped.subscription.handle)
        wait_set.wait(WAIT_NS)
        return list(wait_set.get_ready_entities("subscription"))

    def _drain(self, tapped: Tapped) -> int:
        """Take what one subscription holds, at most `TURN` messages; returns how many."""
        take = tapped.subscription.handle.take_message
        message = tapped.message
        real, mono = _clock_pair()
        offset = mono - real
        earliest = tapped.emptied - SLACK_NS
        count = 0
        while count < TURN:
            taken = take(message, True)
            if taken is None:
                tapped.emptied = mono
                break
            count += 1
            payload, info = taken
            arrival = info["received_timestamp"] + offset
            if not earliest <= arrival <= mono:
                # After the pair was read: later than `mono`, but not than now. Else the clock was set, or there is none.
                now = time.monotonic_ns()
                arrival = arrival if mono < arrival <= now else now
            self._take(tapped, payload, info, arrival)
        if count:
            self.last_arrival = mono
        return count

    def _take(self, tapped: Tapped, payload: bytes, info: dict[str, Any], arrival: int) -> None:
        gid = info.get("publisher_gid")
        publisher: bytes = gid["data"] if gid else b""
        sent: int | None = info["source_timestamp"] or None
        if tapped.header_aligns:
            stamp, beside = header_stamp_ns(payload), sent
        else:
            stamp, beside = sent, header_stamp_ns(payload) if tapped.has_header else None
        if tapped.latched and sent is not None and tapped.kept(publisher, info["received_timestamp"] - sent, arrival):
            stamp, beside, sent = None, sent, None
        number = info.get("publication_sequence_number")
        if number is None or not (publisher or tapped.single):
            tapped.numbered = bool(tapped.numbered)
            if not self._told_not_known:
                self._told_not_known = True
                why = "does not number its messages" if number is None else "does not tell several publishers apart"
                text = f"{tapped.topic}: this middleware {why}: what is lost before it reaches dari is not known"
                self._port.log("info", text)
        elif not self._count(tapped, publisher, number, stamp):
            return  # the other subscription of a topic that is being opened anew has delivered it
        tapped.received += 1
        self._port.emit(tapped.channel, payload, stamp=stamp, alt_stamp=beside, arrival=arrival)
        if tapped.tracker is not None:
            self._observe(tapped, tapped.tracker, payload, Moment(sent, arrival), publisher, number)

    def _observe(
        self,
        tapped: Tapped,
        tracker: ActionTracker,
        payload: bytes,
        moment: Moment,
        publisher: bytes,
        number: int | None,
    ) -> None:
        """Give a status array to its tracker."""
        try:
            statuses = decode_status(payload)
        except ValueError as error:
            self._port.log("warning", f"{tapped.topic}: {error}; kept in the log, no events made of it")
            return
        since = tapped.first_seen.get(publisher) if publisher else tapped.opened
        fresh = number == 1 or (since is not None and moment.arrival - since > FRESH_NS)
        tracker.observe(statuses, moment, server=publisher, fresh=fresh)

    def _count(self, tapped: Tapped, publisher: bytes, number: int, stamp: int | None) -> bool:
        """Count what is missing before a message; False when it was delivered before."""
        tapped.numbered = True
        numbers = tapped.numbers.get(publisher)
        if numbers is None:
            numbers = tapped.numbers[publisher] = PublisherNumbers()
            if self._closing and any(new is tapped or old is tapped for _, old, new in self._closing):
                numbers.overlap()
        before = numbers.stamp
        missing = numbers.note(number, stamp)
        if missing > 0:
            tapped.losses.add(Gap(missing, before, stamp))
        elif missing < 0 and not publisher:
            # No id: another publisher has taken the place of the one before, and counts from one.
            tapped.numbers[publisher] = PublisherNumbers()
            tapped.numbers[publisher].note(number, stamp)
            return True
        return missing >= 0

    def _close_old(self, everything: bool = False) -> None:
        now = time.monotonic_ns()
        for item in [c for c in self._closing if everything or c[0] <= now]:
            _, old, new = item
            self._closing.remove(item)
            while self._drain(new) == TURN:
                pass
            self._forget(old)
            for numbers in new.numbers.values():
                gap = numbers.settle()
                if gap is not None:
                    new.losses.add(gap)

    def _forget(self, tapped: Tapped) -> None:
        """Take what a subscription still holds, and read it no more."""
        while self._drain(tapped) == TURN:
            pass
        self._taps.pop(tapped.subscription.handle.pointer, None)
        self._release(tapped.subscription)

    def _report(self) -> None:
        for tapped in {id(t.losses): t for t in self._taps.values()}.values():
            lost = tapped.losses.take()
            if lost is not None:
                count, window = lost
                text = f"{tapped.topic}: its publisher's numbers have holes: {count} messages were lost on the way"
                self._port.lost(tapped.channel.name, count, window, text, clock=tapped.channel.clock)


def _clock_pair() -> tuple[int, int]:
    """The realtime and the monotonic clock at one moment: read again when something came in between."""
    while True:
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        if after - before < 100_000:
            return real, after
