"""Losses are exact between the first and the last message of a publisher, whatever order two readers deliver in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.ros2.losses import LossReport, PublisherNumbers


@given(st.sets(st.integers(1, 60), min_size=1))
def test_what_is_missing_between_the_first_and_the_last(numbers: set[int]) -> None:
    publisher, report = PublisherNumbers(), LossReport()
    lost = 0
    for number in sorted(numbers):
        missing = publisher.note(number, number * 10)
        assert missing >= 0
        lost += missing
    assert lost == max(numbers) - min(numbers) + 1 - len(numbers)
    assert publisher.note(max(numbers), 0) == -1, "delivered again"
    assert report.take() is None


@given(
    before=st.sets(st.integers(1, 20)),
    old=st.sets(st.integers(21, 60)),
    new=st.sets(st.integers(1, 60)),
    after=st.sets(st.integers(61, 80)),
    order=st.randoms(use_true_random=False),
)
def test_two_readers_deliver_each_message_once(
    before: set[int], old: set[int], new: set[int], after: set[int], order: Any
) -> None:
    publisher, report = PublisherNumbers(), LossReport()
    delivered: list[int] = []
    lost = 0
    for number in sorted(before):
        lost += publisher.note(number, number)
        delivered.append(number)
    publisher.overlap()
    queues = [sorted(old), sorted(new)]
    while any(queues):
        queue = order.choice([q for q in queues if q])
        number = queue.pop(0)
        if publisher.note(number, number) >= 0:
            delivered.append(number)
    gap = publisher.settle()
    if gap is not None:
        report.add(gap)
        lost += gap.messages
    for number in sorted(after):
        if (missing := publisher.note(number, number)) >= 0:
            lost += missing
            delivered.append(number)
    assert len(delivered) == len(set(delivered))
    wanted = before | old | after | {n for n in new if n > (max(before) if before else 0)}
    assert set(delivered) == wanted
    if wanted:
        assert lost == max(wanted) - min(wanted) + 1 - len(wanted)


def test_a_torrent_of_holes_is_told_once_with_its_window() -> None:
    publisher, report = PublisherNumbers(), LossReport()
    from adapters.ros2.losses import Gap

    for number in (1, 3, 5, 9):
        stamp = publisher.stamp
        if (missing := publisher.note(number, number * 100)) > 0:
            report.add(Gap(missing, stamp, number * 100))
    taken = report.take()
    assert taken is not None
    count, window = taken
    assert count == 5 and window is not None
    assert (window.source_t0_ns, window.source_t1_ns) == (100, 900)
    assert report.take() is None
