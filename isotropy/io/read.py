"""Open any file of embeddings as rows."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import FileError
from .formats import format_of
from .rows import Rows

__all__ = ["open_rows"]


def open_rows(path: str | os.PathLike[str], column: str | None = None) -> Rows:
    """Open a file of embeddings as n rows of d numbers, without reading them.

    The suffix names the format: `.npy`, `.npz`, `.safetensors`, and with the extra ``io``
    `.parquet`, `.arrow` and `.feather`. Memory stays at about one block of rows, for compressed
    Arrow files at one record batch; only a compressed `.npz` array in Fortran order is read whole.

    Parameters
    ----------
    path : str or path-like
        The file. Never unpickled.
    column : str, optional
        Which column of lists, tensor or array of the archive. By default the only one that can be
        rows; a file with several needs the name.

    Returns
    -------
    rows : Rows

    Raises
    ------
    FileError
        If the file is missing, empty, truncated, of a wrong format, shape or type, has no such
        column or leaves the choice open. One line that names the path and the way out.
    ImportError
        If the format needs pyarrow and it is not installed.

    Examples
    --------
    >>> rows = open_rows("embeddings.parquet", column="vector")  # doctest: +SKIP
    >>> for block in rows.blocks():  # doctest: +SKIP
    ...     moments.update(block)
    """
    path = Path(path)
    try:
        _check_file(path)
        return format_of(path).read(path, column)
    except OSError as error:
        raise FileError(path, f"could not be opened ({error.strerror or error}).") from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise FileError(path, "no such file.")
    if path.is_dir():
        raise FileError(path, "is a folder; name one file in it.")
    if not path.is_file():
        raise FileError(path, "is not a regular file; save its content to one first.")
    if path.stat().st_size == 0:
        raise FileError(path, "is empty (0 bytes); write or fetch it again.")
