"""An endless row of batches from a source, made ahead in the background."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from limner.core import Batch, Source


class Batches(Iterator[Batch]):
    """Batch k holds the examples start + k * batch up to the next; the following two are made while one is used.

    One thread is enough where the pixel work leaves Python's lock alone, as Pillow's does. Close it,
    or use it in a `with`, to stop the thread.
    """

    def __init__(self, source: Source, *, batch: int, start: int = 0, ahead: int = 2) -> None:
        self._source, self._batch, self._next = source, batch, start
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._waiting: list[Future[Batch]] = []
        for _ in range(ahead):
            self._ask()

    def __next__(self) -> Batch:
        self._ask()
        return self._waiting.pop(0).result()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> None:
        self._waiting.append(self._pool.submit(self._make, self._next))
        self._next += self._batch

    def _make(self, start: int) -> Batch:
        return Batch.of([self._source[index] for index in range(start, start + self._batch)])
