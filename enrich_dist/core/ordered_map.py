"""A function over a stream in a few threads: results in the order of the stream, a bounded number of items in memory.

Covers functions that release the interpreter lock, as Arrow, Parquet and digests do, and whose result depends on
their argument alone. Does not cover reading in threads: the stream is read by the caller's thread only, one item at
a time, while the function works on those before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[int, Item], Result], items: Iterable[Item], *, threads: int, ahead: int
) -> Generator[Result, None, None]:
    """``function(number, item)`` for the items, numbered from 0, with up to ``ahead`` of them under way at a time.

    What fails, fails as it would without threads: the first error in the order of the items is raised, after the
    results before it. When the iterator ends, fails or is closed, no thread is left, and ``items``, if it is a
    generator, is closed too. Raises ``ValueError`` at once unless both numbers are at least 1.
    """
    if threads < 1 or ahead < 1:
        raise ValueError("threads and ahead must be at least 1")
    return _map_ahead(function, items, threads, ahead)


def _map_ahead(
    function: Callable[[int, Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result, None, None]:
    source = iter(items)
    under_way: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="map_ahead")
    try:
        for number in count():
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception:
                # Read ahead of its turn: what comes before it may fail as well, and is then what failed first.
                yield from _results(under_way)
                raise
            under_way.append(pool.submit(function, number, item))
            del item  # else it stays in memory while the next one is read
            if len(under_way) == ahead:
                yield under_way.popleft().result()
        yield from _results(under_way)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(items, Generator):
            items.close()


def _results(under_way: deque[Future[Result]]) -> Iterator[Result]:
    while under_way:
        yield under_way.popleft().result()
