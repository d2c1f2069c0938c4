"""Corrected rows written where they belong: one file, shard by shard, or beside the old ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from isotropy.io import Rows, open_rows
from isotropy.io.checks import ChoiceError
from isotropy.jobs.outputs import Written, output_of
from isotropy.jobs.plan import plan_of
from isotropy.rows.arrays import BadRowError

__all__ = ["correct", "rows_of"]


def rows_of(
    source: Any, output: Any = None, column: str | None = None, new_column: str | None = None
) -> Rows:
    """The rows that a job corrects; its own new column of the table is none of them.

    Parameters
    ----------
    source, output, column, new_column
        As in `correct`.

    Returns
    -------
    Rows

    Raises
    ------
    FileError
        As `isotropy.io.open_rows` does.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows.source import ArrayRows
    >>> rows_of(ArrayRows(None, None, np.eye(3))).shape
    (3, 3)
    """
    try:
        return open_rows(source, column=column)
    except ChoiceError as error:
        others = [name for name in error.names if name != new_column]
        if output is not None or len(others) != 1:
            raise
        return open_rows(source, column=others[0])


def correct(
    corrector: Any,
    source: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    column: str | None = None,
    new_column: str | None = None,
    overwrite: bool = False,
    reads: Sequence[str | os.PathLike[str]] = (),
    progress: Callable[[int], object] | None = None,
) -> Written:
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
    overwrite : bool, default=False
        Whether what is at the output may be replaced. Without it only what the very same job
        wrote is.
    reads : sequence of paths, optional
        Other files that belong to the job and must not be replaced: the corrector's, say.
    progress : callable, optional
        Called with the number of rows done, after each block.

    Returns
    -------
    written : Written
        Its `shape` is (n, k), of what was written or found written; ``str(written)`` says all.

    Raises
    ------
    isotropy.io.FileError
        Before anything is written: if the output is, or lies among, what is read, if something
        is there that this job did not write, or another job writes there. Later: if a file is
        damaged or cannot be written, the disk is full, or the server is lost. What was finished
        stays, and the same call goes on from there.
    ValueError
        If the rows do not fit the corrector, or one holds NaN or infinity: shard and row are named.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/rows.npy", np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> corrector = MeanRemoval().fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> correct(corrector, f"{folder.name}/rows.npy", f"{folder.name}/corrected.npy").shape
    (2, 2)
    >>> np.load(f"{folder.name}/corrected.npy").tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    >>> folder.cleanup()
    """
    rows = rows_of(source, output, column, new_column)
    plan = plan_of(
        corrector,
        rows,
        output,
        column=new_column,
        overwrite=overwrite,
        reads=tuple(reads),
        progress=progress,
    )
    place = output_of(plan)
    try:
        with place.owned():
            place.check()
            place.write()
            return place.verify()
    except BadRowError as error:
        raise error.at(rows.locate(error.row)) from None
