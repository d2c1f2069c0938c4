"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

_ROWS_AT_A_TIME = 65_536


def numbered_blocks(rows: Any, label: str) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of opened rows with the number of their first row, drawn as progress on stderr."""
    starts = _with_starts(rows.blocks(_rows_at_a_time(rows)))
    if not sys.stderr.isatty():
        yield from starts
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=rows.shape[0])
        for start, block in starts:
            yield start, block
            progress.update(task, completed=start + len(block))


def _with_starts(blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


def _rows_at_a_time(rows: Any) -> int:
    # A memory map is cut without a copy, so pieces may be large; other files hold each in memory.
    if rows.array is not None:
        return _ROWS_AT_A_TIME
    return int(np.clip(2**25 // max(1, rows.shape[1] * rows.dtype.itemsize), 256, _ROWS_AT_A_TIME))
