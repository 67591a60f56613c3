"""An OPC UA server (asyncua) whose Count rises every 20 ms. Arguments: port, then JSON of what is special."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from commands import follow

URI = "urn:dari:test"


class OneUser(UserManager):
    """Lets `operator` in with the password `sesame`."""

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        """None refuses."""
        return User(role=UserRole.User) if (username, password) == ("operator", "sesame") else None


async def main() -> None:
    """Serve until standard input ends."""
    port, special = int(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    server = Server(user_manager=OneUser() if special.get("login") else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/dari")
    if special.get("certificate"):
        await server.set_application_uri("urn:dari:test:server")
        await server.load_certificate(special["certificate"])
        await server.load_private_key(special["key"], format="pem")
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt], permission_ruleset=None)
    elif special.get("login"):
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    if special.get("login"):
        server.set_identity_tokens([ua.UserNameIdentityToken])
    for i in range(special.get("other_namespaces", 0)):
        await server.register_namespace(f"urn:other:{i}")
    index = await server.register_namespace(URI)
    cell = await server.nodes.objects.add_object(index, "Cell")
    nodes: dict[str, Any] = {}

    async def add(name: str, value: Any, kind: str | None = None) -> None:
        variant = ua.Variant(value, ua.VariantType[kind]) if kind else ua.Variant(value)
        nodes[name] = await cell.add_variable(ua.NodeId(name, index), name, variant)

    for name, value, kind in [
        ("Count", 0, "Int64"),
        ("Force", 1.5, "Double"),
        ("Single", 0.5, "Float"),
        ("Running", True, "Boolean"),
        ("Word", 65535, "UInt16"),
        ("Name", "gripper 온도", "String"),
        ("List", [1, 2, 3], "Int32"),
        ("Moment", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "DateTime"),
        ("Blob", b"\x00\xff", "ByteString"),
        ("NotANumber", float("nan"), "Double"),
    ]:
        await add(name, value, kind)
    for i in range(special.get("tags", 0)):
        await add(f"T{i}", i, "Int32")

    async def act(command: dict[str, Any]) -> None:
        if "add" in command:
            await add(command["add"], command["value"])
        if "delete" in command:
            await server.delete_nodes([nodes.pop(command["delete"])])
        if "set" in command:
            await nodes[command["set"]].write_value(command["value"])
        if "status" in command:
            held = (await nodes[command["status"]].read_data_value(raise_on_bad_status=False)).Value
            await nodes[command["status"]].write_value(ua.DataValue(held, ua.StatusCode(command["code"])))
        if "burst" in command:
            for i in range(command["count"]):
                await nodes[command["burst"]].write_value(float(i))

    async with server:
        follow(asyncio.get_running_loop(), act)
        print("ready", flush=True)
        count = 0
        skew = datetime.timedelta(milliseconds=special.get("skew_ms", 0))
        while True:
            count += 1
            now = datetime.datetime.now(datetime.timezone.utc)
            value = ua.DataValue(ua.Variant(count, ua.VariantType.Int64), SourceTimestamp=now + skew)
            await nodes["Count"].write_value(value)
            await asyncio.sleep(0.02)


asyncio.run(main())
