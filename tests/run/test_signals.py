"""A signal in the middle of anything is heeded, and never waits for what it interrupted."""

from __future__ import annotations

import signal
import threading

from bridge.signals import SignalWatch
from tests.run.run_rig import eventually


def test_a_signal_that_comes_while_its_event_is_locked_does_not_wait_for_itself():
    event = threading.Event()
    watch = SignalWatch([signal.SIGUSR1], event.set).install()
    try:
        # As `Event.wait` and `Event.set` hold it: a handler that sets the event would never return from here.
        with event._cond:
            signal.raise_signal(signal.SIGUSR1)
        eventually(event.is_set)
    finally:
        watch.restore()


def test_every_signal_is_heeded_and_what_it_does_may_take_its_time():
    calls: list[int] = []
    watch = SignalWatch([signal.SIGUSR1], lambda: calls.append(1)).install()
    try:
        for _ in range(100):
            signal.raise_signal(signal.SIGUSR1)
        eventually(lambda: len(calls) == 100)
    finally:
        watch.restore()


def test_handlers_are_given_back():
    called = threading.Event()
    before = signal.getsignal(signal.SIGUSR1)
    watch = SignalWatch([signal.SIGUSR1], called.set).install()
    watch.install()
    signal.raise_signal(signal.SIGUSR1)
    eventually(called.is_set)
    watch.restore()
    assert signal.getsignal(signal.SIGUSR1) == before
