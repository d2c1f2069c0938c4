"""Zarr: an array, or one array of a group, in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose, unusable
from isotropy.io.chunks import ChunkedRows, rows_of_chunks
from isotropy.io.folders import FolderState
from isotropy.io.sources import Source, as_folder
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["MARKS", "ZARR", "is_zarr", "read_zarr", "rows_of_zarr", "zarr_damage"]

MARKS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(source: Any) -> bool:
    """Whether this is the folder of a Zarr array or group."""
    path = as_folder(source)
    return path is not None and (
        path.suffix == ".zarr" or any((path / name).is_file() for name in MARKS)
    )


def read_zarr(source: Any, column: str | None) -> Rows:
    """The rows of a Zarr array, or of one array of a group; `column` is its path in the group."""
    path = Path(source)
    return rows_of_zarr(FolderState(path), str(path), column, _empty_files(path))


def rows_of_zarr(folder: Any, store: Any, column: str | None, empty: bool) -> Rows:
    """The rows of a Zarr array in any store.

    Parameters
    ----------
    folder : FolderState or RemoteFolderState
        What is shown, and tells of changes.
    store : str or zarr.abc.store.Store
    column : str or None
    empty : bool
        Whether a file of the folder is empty.
    """
    zarr, path = require("zarr", extra="zarr"), folder.path
    with zarr_damage(path):
        top = zarr.open(store=store, mode="r")
        arrays = {"": top} if isinstance(top, zarr.Array) else dict(_zarr_arrays(top))
        problems = {
            name: unusable(array.shape, np.dtype(array.dtype)) for name, array in arrays.items()
        }
        name = choose(path, column.strip("/") if column else None, "array", problems)
        array = arrays[name]
        dtype = np.dtype(array.dtype)
        outer = getattr(array, "shards", None) or array.chunks
        missing = array.nchunks - array.nchunks_initialized
        step = rows_of_chunks(array.shape, dtype, outer)

    # Zarr reads what is not there as zeros, without a word.
    if missing > 0 or empty:
        raise FileError(
            path,
            f"{missing or 'some'} of {array.nchunks} chunks are missing or empty: they would read "
            "as zeros. Write them, or cut the array.",
        )

    @contextmanager
    def opened() -> Iterator[Any]:
        with zarr_damage(path):
            yield array

    return ChunkedRows(folder, name or None, array.shape, dtype, step, opened)


def _empty_files(path: Path) -> bool:
    return path.is_dir() and any(
        file.stat().st_size == 0 for file in path.rglob("*") if file.is_file()
    )


def _zarr_arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    zarr = require("zarr", extra="zarr")
    for name, item in group.members():
        if isinstance(item, zarr.Array):
            yield prefix + name, item
        else:
            yield from _zarr_arrays(item, f"{prefix}{name}/")


def zarr_damage(path: Any) -> Any:
    # Codecs and stores of all kinds are behind this, each with errors of its own.
    return damage(path, "Zarr", Exception)


ZARR = Source(is_zarr, read_zarr)
