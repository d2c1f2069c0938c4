"""Moments of rows that come in blocks: one thread reads, the others sum."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Full, Queue
from typing import Any, TypeVar

import numpy as np

from isotropy.rows.arrays import (
    BLOCK_BYTES,
    is_torch,
    unit_roundoff,
    workers_for,
    working_block,
)
from isotropy.rows.door import as_rows
from isotropy.rows.passes import Buffers, Pass, RawSums

__all__ = ["gather", "prefetch", "rows_at_a_time", "sent"]

Item = TypeVar("Item")


def rows_at_a_time(rows: Any) -> int:
    """How many rows of a source to read at a time.

    Some five blocks are in memory at once (read, waiting and worked on), so they are half as large
    as those that are cut from an array.
    """
    d = rows.shape[1] if len(rows.shape) > 1 else 1024
    size = np.dtype(getattr(rows, "dtype", np.float32)).itemsize
    held = BLOCK_BYTES // (2 if getattr(rows, "array", None) is None else 1)
    return int(np.clip(held // max(1, d * max(4, size)), 64, 16384))


def gather(
    blocks: Iterator[Any],
    empty: Any,
    n_rows: int,
    weights: np.ndarray | None = None,
    *,
    start: int = 0,
    first_row: int = 0,
    device: Any = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Any, int]:
    """Moments of the rows of `blocks`, and the number of the row after the last one taken.

    The calling thread reads; the blocks go to the other threads in turn, so the sums are the same
    in every run with as many threads.

    Parameters
    ----------
    blocks : iterator of arrays of shape (m, d)
    empty : Moments
        Of no rows: its options are taken.
    n_rows : int
        Of the whole job, which decides the arithmetic.
    weights : array of shape (n,) or None
    start : int
        Number of the first row that `blocks` will give, in `weights`.
    first_row : int
        Added to the number of a row that an error names.
    device : torch device or None
        Where to sum; by default where the blocks are.
    stop : callable or None
        Asked after each block; the iterator can go on afterwards.
    """
    if device is not None:
        blocks, n_lanes = sent(blocks, device), 1
    else:
        n_lanes = workers_for(max(1, -(-n_rows // 2048)))
    lanes = [_Lane(empty, n_rows, first_row) for _ in range(n_lanes)]
    alone = n_lanes == 1 and device is None
    error: BaseException | None = None
    for lane in lanes if not alone else []:
        lane.start()
    try:
        for turn, block in enumerate(blocks):
            lane = lanes[turn % n_lanes]
            part = None if weights is None else weights[start : start + len(block)]
            if alone:
                lane.add(start, block, part)
            elif not lane.put((start, block, part)):
                break
            start += len(block)
            if stop is not None and stop():
                break
    except BaseException as caught:  # an earlier block may hold the first bad row
        error = caught
    finally:
        for lane in lanes if not alone else []:
            lane.finish()
    failures = sorted((lane.failed for lane in lanes if lane.failed), key=lambda pair: pair[0])
    if (failures or error is not None) and hasattr(blocks, "close"):
        blocks.close()  # files and connections are not left to the garbage collector
    if failures and not isinstance(error, KeyboardInterrupt):
        raise failures[0][1]
    if error is not None:
        raise error
    total = empty.copy()
    for lane in lanes:
        total._absorb(lane.result())
    return total, start


class _Lane:
    """One thread that sums: a shift is kept as long as it suits the rows that come."""

    def __init__(self, empty: Any, n_rows: int, first_row: int) -> None:
        self.failed: tuple[int, BaseException] | None = None
        self._total, self._n_rows, self._first_row = empty.copy(), n_rows, first_row
        self._empty = empty
        self._run: Pass | None = None
        self._capacity = 0
        self._queue: Queue[Any] = Queue(maxsize=1)
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, item: tuple[int, Any, Any]) -> bool:
        """Hand over a block; False where this thread has met an error."""
        while self.failed is None:
            try:
                self._queue.put(item, timeout=0.5)
            except Full:
                continue
            return True
        return False

    def finish(self) -> None:
        if self.failed is None:
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        start = 0
        try:
            while (item := self._queue.get()) is not None:
                start = item[0]
                self.add(*item)
        except BaseException as error:
            self.failed = start, error
            while not self._queue.empty():  # whoever waits to put goes on
                self._queue.get_nowait()

    def add(self, start: int, block: Any, weights: np.ndarray | None) -> None:
        block = as_rows(block).array
        if not len(block):
            return
        d = block.shape[1]
        run, empty = self._run, self._empty
        features = self._total.n_features or (run.d if run else 0)
        if features and features != d:
            raise ValueError(f"X has {d} columns, but the rows before have {features}.")
        if run is None or len(block) > self._capacity or not run.suits(block):
            self._flush()
            self._run = run = Pass(
                block,
                weights,
                order=empty.order,
                unit=empty.unit,
                normalize=empty.normalize,
                frequency=empty.weight_type == "frequency",
                seen=self._n_rows,
                first_row=self._first_row,
                sample=empty.sample,
            )
            self._sums, self._eps, self._capacity = RawSums(d, empty.sample), 0.0, len(block)
            (self._buffers,) = Buffers.of(run, 1, len(block))
        self._eps = max(self._eps, unit_roundoff(block))
        wide = working_block(block, 0, len(block), run.dtype)
        run.bring_in(wide, weights, start, self._sums, self._buffers)

    def _flush(self) -> None:
        if self._run is not None and self._sums.weight > 0:
            self._total._absorb(self._total._centred(self._sums, self._run, self._eps))
        self._run = None

    def result(self) -> Any:
        self._flush()
        return self._total


def sent(blocks: Iterable[Any], device: Any) -> Iterator[Any]:
    """Blocks on a torch device, sent from page-locked memory while the one before is summed."""
    import torch

    target = torch.device(device)
    for block in blocks:
        if not is_torch(block):
            block = np.ascontiguousarray(block)
            if not block.flags.writeable:  # torch warns, though nobody writes
                block = block.copy()
            block = torch.from_numpy(block)
        if target.type == "cuda" and block.device.type == "cpu":
            block = block.pin_memory()
        yield block.to(target, non_blocking=True)


def prefetch(blocks: Iterator[Item], depth: int = 1) -> Iterator[Item]:
    """The same items, the next `depth` of which a thread gets ready meanwhile."""
    queue: Queue[Any] = Queue(maxsize=depth)
    closed = threading.Event()
    end = object()

    def put(item: Any) -> bool:
        while not closed.is_set():
            try:
                queue.put(item, timeout=0.5)
            except Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in blocks:
                if not put((item, None)):
                    break
            else:
                put((end, None))
        except BaseException as error:
            put((end, error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (pair := queue.get())[0] is not end:
            yield pair[0]
        if pair[1] is not None:
            raise pair[1]
    finally:
        closed.set()
        thread.join()
        if callable(close := getattr(blocks, "close", None)):
            close()
