"""Runs an adapter's coroutine until it is asked to stop, and then ends within a bounded time, whatever the network does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

GLANCE_S = 0.05
GRACE_S = 1.5


def run_until_stopping(work: Coroutine[Any, Any, None], stopping: threading.Event, grace: float = GRACE_S) -> None:
    """Run `work` in an event loop of its own until it ends or `stopping` is set; then cancel it.

    `work` has `grace` seconds to say goodbye to its peer. `asyncio.run` is not used since it would wait without bound for
    a name look-up that hangs.

    Raises:
        Exception: whatever `work` raises.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_until(work, stopping, grace))
    finally:
        try:
            _end(loop, grace)
        finally:
            loop.close()


async def _until(work: Coroutine[Any, Any, None], stopping: threading.Event, grace: float) -> None:
    task = asyncio.ensure_future(work)
    while not task.done() and not stopping.is_set():
        await asyncio.wait({task}, timeout=GLANCE_S)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=grace)
    if task.done() and not task.cancelled():
        error = task.exception()
        if error is not None and not stopping.is_set():
            raise error


def _end(loop: asyncio.AbstractEventLoop, grace: float) -> None:
    """Cancel what the library left running, and let closed transports finish closing."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=grace))
    for task in left:
        if task.done() and not task.cancelled():
            # Retrieved, so that the event loop does not print a traceback for a task that died of the goodbye.
            with contextlib.suppress(BaseException):
                task.exception()
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
