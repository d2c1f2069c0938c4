"""Open any file of embeddings as rows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from isotropy.io.formats import FORMATS, format_of
from isotropy.io.formats.chunked import read_zarr
from isotropy.io.sources.hugging_face import is_dataset, is_saved_dataset, read_dataset, read_saved
from isotropy.io.sources.lance import is_lance, read_lance
from isotropy.io.sources.postgres import is_database, read_postgres
from isotropy.io.sources.shards import expand, in_folder, is_pattern, shards_of
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["open_rows"]


def open_rows(source: Any, column: str | None = None) -> Rows:
    """Open embeddings of any kind as n rows of d numbers, without reading them.

    Memory stays at about one block of rows, for compressed files at one record batch or chunk;
    only a compressed `.npz` array in Fortran order is read whole.

    Parameters
    ----------
    source : str, path, list of paths, or `datasets.Dataset`
        - a file, whose suffix names the format: `.npy`, `.npz`, `.safetensors`, `.fvecs`, `.bvecs`,
          word vectors as text (`.vec`, `.txt`) or word2vec's binary `.bin`; with the extra ``io``
          `.parquet`, `.arrow`, `.feather`; with the extra ``hdf5`` `.h5`, `.hdf5`;
        - a Zarr array or group (extra ``zarr``), a Lance table (extra ``lance``), or a folder that
          `datasets` saved;
        - any other folder: all files of embeddings in and below it, in natural order, are one;
        - a glob pattern, or a list of files: the same;
        - ``postgresql://host/database#table`` (extra ``postgres``): a column of pgvector's types or
          of real[], ordered by the primary key.

        Nothing is ever unpickled.
    column : str, optional
        Which column of lists, tensor, dataset or array of the archive. By default the only one
        that can be rows; a file with several needs the name.

    Returns
    -------
    rows : Rows

    Raises
    ------
    FileError
        If the file is missing, empty, truncated, of a wrong format, shape or type, has no such
        column or leaves the choice open. One line that names the path and the way out.
    ImportError
        If the format needs a library that is not installed.

    Examples
    --------
    >>> rows = open_rows("embeddings.parquet", column="vector")  # doctest: +SKIP
    >>> for block in rows.blocks():  # doctest: +SKIP
    ...     moments.update(block)
    """
    if isinstance(source, Rows):
        return source
    if is_dataset(source):
        return read_dataset(source, column)
    if isinstance(source, list | tuple):
        if not source:
            raise ValueError("source is an empty list: no file to open.")
        files = [Path(item) for item in source]
        return shards_of(files[0].parent, files, column, _open_file)
    text = os.fspath(source)
    if is_database(text):
        return read_postgres(text, column)
    if is_pattern(text):
        return shards_of(Path(text), expand(text), column, _open_file)
    path = Path(source)
    if not path.is_dir():
        return _open_file(path, column)
    if path.suffix == ".zarr" or any((path / name).is_file() for name in _ZARR_FILES):
        return read_zarr(path, column)
    if is_lance(path):
        return read_lance(path, column)
    if is_saved_dataset(path):
        return read_saved(path, column)
    suffixes = {suffix for suffix, form in FORMATS.items() if not form.guessed}
    files = in_folder(path, suffixes)
    if not files:
        raise FileError(path, f"is a folder without a file of {', '.join(sorted(suffixes))}.")
    return shards_of(path, files, column, _open_file)


_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


def _open_file(path: Path, column: str | None) -> Rows:
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
