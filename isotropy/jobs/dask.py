"""Rows of files as a Dask array whose tasks open them where they run."""

from __future__ import annotations

from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io import open_rows

__all__ = ["from_rows"]


def from_rows(source: Any, *, column: str | None = None, block_rows: int | None = None) -> Any:
    """A Dask array of the rows of files: every task opens them where it runs, and reads its block.

    Parameters
    ----------
    source : anything `isotropy.io.open_rows` opens by name
        Paths must be valid for every worker.
    column : str, optional
    block_rows : int, optional
        By default what 64 MiB hold: a task holds what it reads, and too small ones spend their
        time on adding up d x d matrices.

    Returns
    -------
    dask.array.Array of shape (n, d)

    Raises
    ------
    isotropy.io.FileError
        If the files cannot be opened here; where a task cannot read its block, when it runs.
    ImportError
        If Dask is missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/rows.npy", np.arange(12.0).reshape(6, 2))
    >>> rows = from_rows(f"{folder.name}/rows.npy", block_rows=4)
    >>> rows.chunks, rows.sum().compute().item()
    (((4, 2), (2,)), 66.0)
    >>> folder.cleanup()
    """
    da = require("dask.array", extra="dask")
    rows = open_rows(source, column=column)
    n, d = rows.shape
    block_rows = block_rows or max(1, 2**26 // (d * rows.dtype.itemsize))
    chunks = (tuple(min(block_rows, n - first) for first in range(0, n, block_rows)), (d,))

    def read(block_info: Any = None) -> np.ndarray:
        (start, stop), _ = block_info[None]["array-location"]
        parts, found = [], 0
        for part in open_rows(source, column=column).blocks(stop - start, start=start):
            parts.append(part[: stop - start - found])
            found += len(parts[-1])
            if found == stop - start:
                break
        return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)

    return da.map_blocks(read, chunks=chunks, dtype=rows.dtype, meta=np.empty((0, 0), rows.dtype))
