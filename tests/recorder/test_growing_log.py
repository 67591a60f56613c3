"""A log that grows while it is opened is read as far as it was when it was opened, wherever that is."""

from __future__ import annotations

from pathlib import Path

from recorder_rig import MONOTONIC, Rig, joint_states

from recorder.layout import read_layout


def test_any_size_that_is_taken_before_the_file_has_grown_is_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    for _ in range(3):
        joint_states(port, MONOTONIC, 5)
        rig.send()
        rig.sink.flush()
    path = rig.sink.path
    whole = path.stat().st_size
    counts = []
    with path.open("rb") as file:
        for size in range(whole - 4000, whole + 1):
            layout = read_layout(file, size, None)
            assert layout.kept_bytes <= size
            counts.append(sum((layout.counts or {}).values()))
    rig.close()
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
