"""Open any file of embeddings as rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isotropy.io.formats import open_file
from isotropy.io.sources import source_of
from isotropy.rows.source import Rows
from isotropy.storage.remote import address_of, is_remote

__all__ = ["open_rows"]


def open_rows(
    source: Any, column: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> Rows:
    """Open embeddings of any kind as n rows of d numbers, without reading them.

    Memory stays at about one block of rows, for Arrow and HDF5 at one record batch or chunk; only a
    compressed `.npz` array in Fortran order is read whole. Files are read, never mapped: one that
    changes meanwhile is an error.

    Parameters
    ----------
    source : str, path, list of paths, or table
        - a file, whose suffix names the format: `.npy`, `.npz`, `.safetensors`, `.fvecs`, `.bvecs`,
          word vectors as text (`.vec`, `.txt`) or word2vec's binary `.bin`; with the extra ``io``
          `.parquet`, `.arrow`, `.feather`; with the extra ``hdf5`` `.h5`, `.hdf5`;
        - a Zarr array or group (extra ``zarr``), a Lance table (extra ``lance``), or a folder that
          `datasets` saved;
        - any other folder: all files of embeddings in and below it, in natural order, are one;
        - a glob pattern, or a list of files and folders: the same. In folders, and where a pattern
          has a wildcard, names that begin with a dot or an underscore are left out;
        - a table or dataset of pyarrow, a frame of polars or pandas, a `datasets.Dataset`: its
          column of vectors;
        - ``postgresql://host/database#table`` (extra ``postgres``): a column of pgvector's types or
          of real[], ordered by the primary key;
        - any of these files, folders, patterns and lists elsewhere (extra ``remote``), by a URL
          that fsspec knows: ``s3://``, ``gs://``, ``az://``, ``hf://``, ``https://``. Only what is
          needed of a file is fetched; a connection that breaks off is tried again.

        Nothing is ever unpickled.
    column : str, optional
        Which column of lists, tensor, dataset or array of the archive. By default the only one
        that can be rows; a file with several needs the name.
    storage_options : mapping, optional
        What fsspec's file system for a URL takes: keys, tokens, ``{"anon": True}``. Without them,
        what the store's own tools read from the environment and from their files.

    Returns
    -------
    rows : Rows

    Raises
    ------
    TypeError
        If `source` is no path, URL, list of paths or dataset.
    FileError
        If the file is missing, empty, truncated, of a wrong format, shape or type, has no such
        column or leaves the choice open. One line that names the path and the way out.
    ImportError
        If the format needs a library that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> for part in range(2):
    ...     np.save(f"{folder.name}/part-{part}.npy", np.full((3, 2), part))
    >>> rows = open_rows(folder.name)  # the files of a folder are one
    >>> rows.shape, rows.in_memory()[:, 0].tolist()
    ((6, 2), [0, 0, 0, 1, 1, 1])
    >>> folder.cleanup()
    """
    if isinstance(source, Rows):
        return source
    if storage_options is not None:
        source = _with_options(source, storage_options)
    if isinstance(source, str | os.PathLike) and Path(source).is_file():
        return open_file(Path(source), column)
    if found := source_of(source):
        return found.read(source, column)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"source must be a path, a URL, a list of paths or a table, got "
            f"{type(source).__name__}; arrays go to isotropy.rows.as_rows, or right to `score` and "
            "`fit`."
        )
    return open_file(Path(source), column)  # which says what is wrong


def _with_options(source: Any, storage_options: Mapping[str, Any]) -> Any:
    if isinstance(source, list | tuple):
        return [_with_options(item, storage_options) for item in source]
    if not is_remote(source):
        raise ValueError("storage_options are for URLs such as 's3://bucket/rows.npy' alone.")
    return address_of(source, storage_options)
