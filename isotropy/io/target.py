"""What the writer of a format has to know of the file to come."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isotropy.rows.source import Rows
from isotropy.storage.secrets import Address

__all__ = ["Target"]


class Target(NamedTuple):
    """A file of n rows of k numbers to be written.

    Parameters
    ----------
    path : Path or Address
    shape : tuple of int
        (n, k).
    dtype : numpy.dtype
        float16, float32 or float64, little-endian; every block comes in it, C-contiguous.
    column : str
        Name of the column, tensor or archive member.
    like : Rows or None
        Source of the columns to carry along, for formats that have columns.

    Examples
    --------
    >>> Target(Path("rows.npy"), (3, 2), np.dtype("<f4"), "embedding", None).shape
    (3, 2)
    """

    path: Path | Address
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    column: str
    like: Rows | None
