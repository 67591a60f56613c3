"""An MQTT broker (amqtt). Arguments: port, then JSON of what is special: `passwords`, a file of argon2 hashes, or TLS files."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from amqtt.broker import Broker
from commands import follow


async def main() -> None:
    """Serve until standard input ends."""
    port, special = int(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    logging.basicConfig(level=logging.WARNING)
    listener: dict[str, Any] = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    if special.get("certificate"):
        listener |= {"ssl": True, "certfile": special["certificate"], "keyfile": special["key"]}
    # amqtt keeps the sessions of users that have a name only.
    plugins: dict[str, Any] = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False}}
    if special.get("anonymous"):
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    if special.get("passwords"):
        plugins = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": special["passwords"]}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await broker.start()

    async def act(command: dict[str, Any]) -> None:
        pass

    follow(asyncio.get_running_loop(), act)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
