"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_ROWS_AT_A_TIME = 65_536


def numbered_blocks(rows: Any, label: str) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of opened rows with the number of their first row, drawn as progress on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=rows.shape[0])
        start = 0
        for block in rows.blocks(_rows_at_a_time(rows)):
            yield start, block
            start += len(block)
            progress.update(task, completed=start)


def _rows_at_a_time(rows: Any) -> int:
    # A memory map is cut without a copy, so pieces may be large; other files hold each in memory.
    if rows.array is not None:
        return _ROWS_AT_A_TIME
    return int(np.clip(2**25 // max(1, rows.shape[1] * rows.dtype.itemsize), 256, _ROWS_AT_A_TIME))
