"""Write the golden files of a version: `python tests/schema/golden/make.py v2`. Files that exist are never overwritten."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from schema_cases import cases, clock, signals  # noqa: E402

from bridge import messages  # noqa: E402
from bridge.schema import encode, encode_signals, to_json  # noqa: E402
from bridge.schema.flat import to_flat, to_signal_message, to_signal_table  # noqa: E402
from bridge.schema.interfaces import MESSAGES  # noqa: E402


def files() -> dict[str, bytes]:
    """Every file of a version by its name."""
    made = {}
    for name, event in cases().items():
        made[f"{name}.msgpack"] = encode(event)
        made[f"{name}.json"] = to_json(event).encode() + b"\n"
        made[f"{name}.cdr"] = messages.serialize("dari_msgs/msg/TaskEvent", to_flat(event))
    made["signals.msgpack"] = encode_signals(signals())
    table = to_signal_table(signals(), 1_700_000_000_000_000_007, ["", "1", "m/s", "", ""])
    made["signal-table.cdr"] = messages.serialize("dari_msgs/msg/SignalTable", table)
    for number, signal in enumerate(signals()):
        message = to_signal_message(signal, 1_700_000_000_000_000_007, "mm")
        made[f"signal-{number}.cdr"] = messages.serialize("dari_msgs/msg/Signal", message)
    made["clock-model.cdr"] = messages.serialize("dari_msgs/msg/ClockModel", clock())
    hashes = {message.type_name: messages.type_hash(message.type_name) for message in MESSAGES}
    made["type-hashes.json"] = json.dumps(hashes, indent=1).encode() + b"\n"
    return made


def write(folder: Path) -> list[Path]:
    """Write the files into a folder; raises `FileExistsError` before the first where one of them exists."""
    made = files()
    standing = [name for name in made if (folder / name).exists()]
    if standing:
        raise FileExistsError(f"{folder}: {len(standing)} golden files exist and are kept, {standing[0]} among them")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in made]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say which version: python tests/schema/golden/make.py v2")
    try:
        print(f"{len(write(HERE / sys.argv[1]))} files written to {HERE / sys.argv[1]}")
    except FileExistsError as error:
        sys.exit(f"{error}; a change of the schema gets a new version folder, it never alters an old one")
