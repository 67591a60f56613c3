"""Reads commands, one JSON object a line, from standard input; answers `done` to each, and ends the process at its end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any


def follow(loop: asyncio.AbstractEventLoop, act: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Start to follow; `act` runs in the loop, one command after the other."""

    def read() -> None:
        for line in sys.stdin:
            try:
                asyncio.run_coroutine_threadsafe(act(json.loads(line)), loop).result()
                print("done", flush=True)
            except Exception:
                traceback.print_exc()
                print("failed", flush=True)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
