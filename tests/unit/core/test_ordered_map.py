"""A function over a stream in threads: order, bounds, errors, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from enrich_dist.core.ordered_map import ordered_map


class Stream:
    """Numbers from 0, counting how many were taken; fails at one of them if told to."""

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


def threads_left() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("map_ahead")]


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (1, 3), (2, 1), (2, 3), (4, 40)])
def test_results_are_in_order_whichever_is_done_first(threads: int, ahead: int) -> None:
    def late_if_early(number: int, item: int) -> tuple[int, int]:
        time.sleep((item * 7 % 5) / 1000)
        return number, item * item

    stream = Stream(25)

    assert list(ordered_map(late_if_early, stream.items(), threads=threads, ahead=ahead)) == [
        (number, number * number) for number in range(25)
    ]
    assert stream.threads == {threading.get_ident()}  # the stream is read by the caller's thread only
    assert not threads_left()


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_streams_shorter_than_the_window(length: int) -> None:
    assert list(ordered_map(lambda _, item: item, range(length), threads=2, ahead=3)) == list(range(length))


def test_no_more_items_are_taken_than_allowed() -> None:
    stream = Stream(50)
    results = ordered_map(lambda _, item: item, stream.items(), threads=2, ahead=3)

    assert stream.taken == 0
    for given, _ in enumerate(results):
        assert stream.taken - given <= 3
    assert stream.taken == 50


def test_the_function_runs_in_threads_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=20)  # breaks if one waits alone

    assert len(list(ordered_map(lambda *_: both.wait(), range(4), threads=2, ahead=2))) == 4


def test_an_error_of_the_function_comes_in_its_turn() -> None:
    stream = Stream(50)

    def fails_at_five(_: int, item: int) -> int:
        if item >= 5:
            raise ValueError(f"result {item}")
        time.sleep(0.002)  # those before are still under way when it fails
        return item

    given: list[int] = []
    with pytest.raises(ValueError, match="result 5"):
        given.extend(ordered_map(fails_at_five, stream.items(), threads=3, ahead=4))

    assert given == [0, 1, 2, 3, 4]
    assert stream.taken <= 5 + 4
    assert stream.closed
    assert not threads_left()


def test_an_error_of_the_stream_comes_after_the_results_before_it() -> None:
    stream = Stream(50, fails_at=6)
    given: list[int] = []

    with pytest.raises(LookupError, match="item 6"):
        given.extend(ordered_map(lambda _, item: item, stream.items(), threads=2, ahead=4))

    assert given == [0, 1, 2, 3, 4, 5]
    assert not threads_left()


def test_of_two_errors_the_first_in_the_order_of_the_items_is_raised() -> None:
    def fails_at_five(_: int, item: int) -> int:
        time.sleep(0.02)  # longer than it takes to read on to item 6
        if item == 5:
            raise ValueError("result 5")
        return item

    with pytest.raises(ValueError, match="result 5"):
        list(ordered_map(fails_at_five, Stream(50, fails_at=6).items(), threads=2, ahead=4))
    assert not threads_left()


def test_closed_before_its_end_it_leaves_no_thread_and_closes_the_stream() -> None:
    stream = Stream(50)
    results = ordered_map(lambda _, item: item, stream.items(), threads=2, ahead=3)
    next(results)

    results.close()

    assert stream.closed
    assert stream.taken <= 3
    assert not threads_left()


@pytest.mark.parametrize(("threads", "ahead"), [(0, 1), (1, 0)])
def test_there_must_be_a_thread_and_an_item(threads: int, ahead: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ordered_map(lambda _, item: item, [1], threads=threads, ahead=ahead)
