"""Apply a function to a stream in threads, with ordered results and a bounded number of items in memory.

For functions that release the interpreter lock, as those of Arrow and Parquet do. The stream itself is read by the
caller's thread only, one item at a time.
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
    function: Callable[[int, Item], Result], items: Iterable[Item], *, threads: int, max_pending: int
) -> Generator[Result, None, None]:
    """Yield ``function(number, item)`` for the items, numbered from 0, with at most ``max_pending`` in progress.

    The first error in the order of the items is raised, after the results before it. When the iterator ends, fails or
    is closed, no thread is left, and ``items`` is closed too if it is a generator.
    """
    source = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ordered_map")
    try:
        for number in count():
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception:
                yield from _results(pending)  # an error of an earlier item comes first
                raise
            pending.append(pool.submit(function, number, item))
            del item  # else it stays in memory while the next one is read
            if len(pending) == max_pending:
                yield pending.popleft().result()
        yield from _results(pending)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(items, Generator):
            items.close()


def _results(pending: deque[Future[Result]]) -> Iterator[Result]:
    while pending:
        yield pending.popleft().result()
