"""`.h5` and `.hdf5`: a dataset of an HDF5 file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose, unusable
from isotropy.io.chunks import ChunkedRows, rows_of_chunks
from isotropy.io.formats import Format
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import damage

__all__ = ["HDF5", "read_hdf5", "write_hdf5"]

_LARGEST_CHUNK = 2**30

_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)


def read_hdf5(file: Ranges, column: str | None) -> Rows:
    """The rows of one dataset of an HDF5 file; `column` is its path in the file.

    Links to other files are not followed, and a dataset of which something was never written is
    refused: it would read as zeros.
    """
    h5py = require("h5py", extra="hdf5")
    with _opened(file) as opened:
        problems: dict[str, str | None] = {}

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                problems[name] = _problem(item)

        opened.visititems(visit)
        name = choose(file, column.strip("/") if column else None, "dataset", problems)
        found = opened[name]
        shape, dtype, chunks = found.shape, found.dtype, found.chunks
    step = rows_of_chunks(shape, dtype, chunks)

    @contextmanager
    def dataset() -> Iterator[Any]:
        with _opened(file) as opened:
            yield opened[name]

    return ChunkedRows(file, name, shape, dtype, step, dataset)


@contextmanager
def _opened(file: Ranges) -> Iterator[Any]:
    h5py = require("h5py", extra="hdf5")
    with (
        damage(file, "HDF5", *_HDF5_ERRORS),
        file.open() as source,
        h5py.File(source, "r") as opened,
    ):
        yield opened


def _problem(dataset: Any) -> str | None:
    """Why a dataset cannot be read as rows, or must not be."""
    if dataset.is_virtual or dataset.external:
        return (
            "keeps its numbers in other files, which are not read; copy them into one: "
            "h5py.File(new, 'w')[name] = dataset[:]"
        )
    if problem := unusable(dataset.shape or (), dataset.dtype):
        return problem
    return _unwritten(dataset)


def _unwritten(dataset: Any) -> str | None:
    wanted = dataset.size * dataset.dtype.itemsize
    if dataset.chunks is None:
        missing = dataset.id.get_storage_size() < wanted
        return "was never written: it would read as zeros. Write it" if missing else None
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if size > _LARGEST_CHUNK:
        return f"has chunks of {size} bytes; rewrite it with smaller ones, of some MiB"
    chunks = math.prod(-(-n // m) for n, m in zip(dataset.shape, dataset.chunks, strict=True))
    if missing := chunks - dataset.id.get_num_chunks():
        return (
            f"lacks {missing} of {chunks} chunks, which would read as zeros. Write them, or cut it"
        )
    return None


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
