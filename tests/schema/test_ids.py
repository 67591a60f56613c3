"""Identifiers against RFC 9562 and against a second, independent computation."""

from __future__ import annotations

import hashlib
import threading
import time
from uuid import RFC_4122, UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SchemaError
from bridge.schema import Space, derived_id, event_id, ids, task_key, uuid7

RUN = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")


def test_layout_is_that_of_the_rfcs_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    # RFC 9562, appendix A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    assert ids._layout(0x017F22E279B0, 0xCC3, 0x18C4DC0C0C07398F, version=7) == RUN
    # appendix B.1: custom_a 0x2489E9AD2EE2, custom_b 0xE00, custom_c 0x0EC932D5F69181C0
    assert (
        str(ids._layout(0x2489E9AD2EE2, 0xE00, 0x0EC932D5F69181C0, version=8)) == "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"
    )


def test_uuid7_tells_the_time_and_its_version() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7 and made.variant == RFC_4122
    assert before <= made.int >> 80 <= after + 1
    # the 12 bits behind the version are the fraction of the millisecond
    assert ids._layout(1, 0xFFF, 0, version=7).int >> 64 & 0xFFF == 0xFFF


def test_uuid7_only_grows_also_from_many_threads_and_with_a_clock_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    lists: list[list[UUID]] = [[] for _ in range(4)]

    def fill(into: list[UUID]) -> None:
        into.extend(uuid7() for _ in range(3000))

    threads = [threading.Thread(target=fill, args=(into,)) for into in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(into == sorted(into) for into in lists)
    assert len({made for into in lists for made in into}) == 12_000
    # 12,000 in one millisecond run ahead of the clock by the three that their 12 bits need, no more
    assert max(made.int >> 80 for into in lists for made in into) <= 1_700_000_000_003


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(PARTS, max_size=4))
def test_a_derived_id_can_be_computed_by_anyone(parts: list[object]) -> None:
    digest = bytearray(hashlib.sha256(b"dari.id/1" + msgpack.packb(parts)).digest()[:16])
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    made = derived_id(*parts)
    assert made == UUID(bytes=bytes(digest))
    assert made.version == 8 and made.variant == RFC_4122


def test_different_parts_differ_and_words_are_their_text() -> None:
    alike = [("a", 1), ("a", True), ("a", "1"), ("a", 1.0), ("a1",), ("a", 1, None), (["a", 1],), ("a", b"1")]
    assert len({derived_id(*parts) for parts in alike}) == len(alike)
    assert derived_id(Space.TWIN) == derived_id("twin")
    assert derived_id(RUN) == derived_id(RUN.bytes)


def test_ids_of_version_one_never_change() -> None:
    assert str(event_id(RUN, "plc", 0, 1)) == "1b10ec38-5559-8931-b045-ff13d520dcb2"
    assert str(task_key(RUN, "plc", "job", 17)) == "95db3827-1599-84f5-8f62-0db2f87726ad"
    assert event_id(RUN, "plc", 0, 1) != event_id(RUN, "plc", 1, 0) != task_key(RUN, "plc", 1, 0)


@pytest.mark.parametrize("part", [2**64, object(), {"a": 1}, {1}])
def test_what_has_no_canonical_form_is_refused(part: object) -> None:
    with pytest.raises(SchemaError, match="can not be derived"):
        derived_id("a", part)
