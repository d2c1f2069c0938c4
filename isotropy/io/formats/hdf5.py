"""`.h5` and `.hdf5`: a dataset of an HDF5 file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose, unusable
from isotropy.io.chunks import ChunkedRows, rows_of_chunks
from isotropy.io.formats import Format
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import damage

__all__ = ["HDF5", "read_hdf5", "write_hdf5"]

_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def read_hdf5(path: Path, column: str | None) -> Rows:
    """The rows of one dataset of an HDF5 file; `column` is its path in the file."""
    h5py = require("h5py", extra="hdf5")
    with damage(path, "HDF5", *_HDF5_ERRORS), h5py.File(path, "r") as file:
        found: dict[str, Any] = {}

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = (item.shape or (), item.dtype, item.chunks)

        file.visititems(visit)
    problems = {name: unusable(shape, dtype) for name, (shape, dtype, _) in found.items()}
    name = choose(path, column.strip("/") if column else None, "dataset", problems)
    shape, dtype, chunks = found[name]
    step = rows_of_chunks(shape, dtype, chunks)

    @contextmanager
    def opened() -> Iterator[Any]:
        with damage(path, "HDF5", *_HDF5_ERRORS), h5py.File(path, "r") as file:
            yield file[name]

    return ChunkedRows(path, name, shape, dtype, step, opened)


@contextmanager
def write_hdf5(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to the only dataset of a new HDF5 file."""
    h5py = require("h5py", extra="hdf5")
    done = 0
    with h5py.File(file, "w") as out:
        data = out.create_dataset(target.column, shape=target.shape, dtype=target.dtype)

        def write(block: np.ndarray) -> None:
            nonlocal done
            data[done : done + len(block)] = block
            done += len(block)

        yield write


HDF5 = Format(read_hdf5, write_hdf5)
