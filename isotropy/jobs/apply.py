"""Corrected rows written where they belong: one file, shard by shard, or beside the old ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io import Rows, open_rows
from isotropy.jobs._files import Apply, check_not_read, write_file
from isotropy.jobs._folders import write_folder
from isotropy.rows.arrays import BadRowError, output_dtype, raise_on_bad_row

__all__ = ["correct"]


def correct(
    corrector: Any,
    source: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    column: str | None = None,
    new_column: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[int, int]:
    """Write the rows of `source`, corrected, block by block.

    Parameters
    ----------
    corrector : fitted corrector
    source : anything `isotropy.io.open_rows` opens, or its rows
    output : path, optional
        A file, which appears whole or not at all. Or a folder (one that is there, or a name that
        ends in a slash): each file of the source gives a file of the same name in it, or a `.npy`
        file where its format is only read; those that are finished are left alone when the same
        call is made again. Without it, the corrected rows go beside the old ones into the Lance
        or PostgreSQL table that they came from.
    column : str, optional
        As in `open_rows`.
    new_column : str, optional
        Name of the corrected column, needed without `output`; otherwise that of the old one.
    progress : callable, optional
        Called with the number of rows done, after each block.

    Returns
    -------
    shape : tuple of int
        (n, k), of what was written or found written.

    Raises
    ------
    isotropy.io.FileError
        If the output is, or lies among, what is read; if a file is damaged or cannot be written,
        the disk is full, or the server is lost. What was finished stays, and the same call goes on
        from there.
    ValueError
        If the rows do not fit the corrector, or one holds NaN or infinity: shard and row are named.

    Examples
    --------
    >>> import tempfile
    >>> from isotropy import MeanRemoval
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/rows.npy", np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> correct(corrector, f"{folder.name}/rows.npy", f"{folder.name}/corrected.npy")
    (2, 2)
    >>> np.load(f"{folder.name}/corrected.npy").tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> folder.cleanup()
    """
    rows = open_rows(source, column=column)
    (n, d), wanted, k = rows.shape, corrector.n_features_in_, corrector._n_features_out
    if d != wanted:
        raise ValueError(
            f"{rows.path} has {d} columns, but the corrector takes {wanted}: it was "
            "fitted on other embeddings."
        )
    apply, job = _apply_of(corrector), _job(corrector)
    dtype = output_dtype(np.empty(0, rows.dtype))
    try:
        if output is None:
            _beside(rows, new_column, apply, (n, k), dtype, job)
        elif os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir():
            write_folder(rows, Path(output), new_column, apply, k, job, progress)
        else:
            check_not_read(rows, Path(output))
            write_file(rows, Path(output), new_column, apply, k, dtype, progress)
    except BadRowError as error:
        raise error.at(rows.locate(error.row)) from None
    return n, k


def _apply_of(corrector: Any) -> Apply:
    """The corrector as a function of a block and the number of its first row."""
    affine = getattr(corrector, "affine_map_", None)
    if affine is None:
        return lambda block, first_row: _transformed(corrector, block, first_row)
    return lambda block, first_row: affine.apply(
        block, normalize=corrector.normalize, first_row=first_row
    )


def _transformed(corrector: Any, block: np.ndarray, first_row: int) -> np.ndarray:
    raise_on_bad_row(block, first_row)
    return np.asarray(corrector.transform(block))


def _beside(
    rows: Rows, column: str | None, apply: Apply, shape: tuple[int, int], dtype: Any, job: str
) -> None:
    """Into a new column of the table that the rows came from."""
    if not column:
        raise ValueError("new_column is missing: name the column that the corrected rows become.")
    write = getattr(rows, "write_column", None)
    if write is None:
        raise ValueError(
            f"{rows.path} cannot take a column beside its own; name an output file or folder."
        )
    write(column, apply, shape, dtype, job)


def _job(corrector: Any) -> str:
    """What the map is: another map is another job."""
    told, arrays = corrector._map_state()
    said = [type(corrector).__name__, str(getattr(corrector, "normalize", None)), told]
    digest = hashlib.sha256(json.dumps(said, default=str, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
