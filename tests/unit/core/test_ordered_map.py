"""Ordered map over threads: order, bounds, errors and clean-up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from enrich_dist.core.ordered_map import ordered_map


class Stream:
    """Numbers from 0; counts how many were read, and fails at ``fails_at``."""

    def __init__(self, length: int, fails_at: int | None = None) -> None:
        self.length, self.fails_at = length, fails_at
        self.taken = 0
        self.closed = False
        self.threads: set[int] = set()

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.length):
                self.threads.add(threading.get_ident())
                if number == self.fails_at:
                    raise LookupError(f"item {number}")
                self.taken += 1
                yield number
        finally:
            self.closed = True


def remaining_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ordered_map")]


@pytest.mark.parametrize(("threads", "max_pending"), [(1, 1), (1, 3), (2, 1), (2, 3), (4, 40)])
def test_results_are_in_order(threads: int, max_pending: int) -> None:
    def sleep_differently(number: int, item: int) -> tuple[int, int]:
        time.sleep((item * 7 % 5) / 1000)
        return number, item * item

    stream = Stream(25)

    assert list(ordered_map(sleep_differently, stream.items(), threads=threads, max_pending=max_pending)) == [
        (number, number * number) for number in range(25)
    ]
    assert stream.threads == {threading.get_ident()}  # the stream is read by the caller's thread only
    assert not remaining_threads()


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_short_streams(length: int) -> None:
    assert list(ordered_map(lambda _, item: item, range(length), threads=2, max_pending=3)) == list(range(length))


def test_pending_items_are_bounded() -> None:
    stream = Stream(50)
    results = ordered_map(lambda _, item: item, stream.items(), threads=2, max_pending=3)

    assert stream.taken == 0
    for given, _ in enumerate(results):
        assert stream.taken - given <= 3
    assert stream.taken == 50


def test_function_runs_concurrently() -> None:
    both = threading.Barrier(2, timeout=20)  # breaks if one waits alone

    assert len(list(ordered_map(lambda *_: both.wait(), range(4), threads=2, max_pending=2))) == 4


def test_function_error_is_raised_in_order() -> None:
    stream = Stream(50)

    def fails_at_five(_: int, item: int) -> int:
        if item >= 5:
            raise ValueError(f"result {item}")
        time.sleep(0.002)  # earlier items are still in progress when it fails
        return item

    given: list[int] = []
    with pytest.raises(ValueError, match="result 5"):
        given.extend(ordered_map(fails_at_five, stream.items(), threads=3, max_pending=4))

    assert given == [0, 1, 2, 3, 4]
    assert stream.taken <= 5 + 4
    assert stream.closed
    assert not remaining_threads()


def test_stream_error_follows_earlier_results() -> None:
    stream = Stream(50, fails_at=6)
    given: list[int] = []

    with pytest.raises(LookupError, match="item 6"):
        given.extend(ordered_map(lambda _, item: item, stream.items(), threads=2, max_pending=4))

    assert given == [0, 1, 2, 3, 4, 5]
    assert not remaining_threads()


def test_first_of_two_errors_is_raised() -> None:
    def fails_at_five(_: int, item: int) -> int:
        time.sleep(0.02)  # longer than it takes to read on to item 6
        if item == 5:
            raise ValueError("result 5")
        return item

    with pytest.raises(ValueError, match="result 5"):
        list(ordered_map(fails_at_five, Stream(50, fails_at=6).items(), threads=2, max_pending=4))
    assert not remaining_threads()


def test_closing_ends_threads_and_stream() -> None:
    stream = Stream(50)
    results = ordered_map(lambda _, item: item, stream.items(), threads=2, max_pending=3)
    next(results)

    results.close()

    assert stream.closed
    assert stream.taken <= 3
    assert not remaining_threads()
