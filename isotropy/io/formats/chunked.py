"""HDF5 and Zarr: a stored array, read chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from isotropy._optional import require
from isotropy.io.checks import choose, unusable
from isotropy.io.target import Target
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["read_hdf5", "read_zarr", "write_hdf5"]

_CHUNK_BYTES = 2**24


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
    step = _step(shape, dtype, chunks)

    @contextmanager
    def opened() -> Iterator[Any]:
        with damage(path, "HDF5", *_HDF5_ERRORS), h5py.File(path, "r") as file:
            yield file[name]

    return _ChunkedRows(path, name, shape, dtype, step, opened)


def read_zarr(path: Path, column: str | None) -> Rows:
    """The rows of a Zarr array, or of one array of a group; `column` is its path in the group."""
    zarr = require("zarr", extra="zarr")
    with _zarr_damage(path):
        top = zarr.open(store=str(path), mode="r")
        arrays = {"": top} if isinstance(top, zarr.Array) else dict(_zarr_arrays(top))
        problems = {
            name: unusable(array.shape, np.dtype(array.dtype)) for name, array in arrays.items()
        }
        name = choose(path, column.strip("/") if column else None, "array", problems)
        array = arrays[name]
        dtype = np.dtype(array.dtype)
        outer = getattr(array, "shards", None) or array.chunks
        missing = array.nchunks - array.nchunks_initialized
        step = _step(array.shape, dtype, outer)

    # Zarr reads what is not there as zeros, without a word.
    if missing > 0 or _empty_files(path):
        raise FileError(
            path,
            f"{missing or 'some'} of {array.nchunks} chunks are missing or empty: they would read "
            "as zeros. Write them, or cut the array.",
        )

    @contextmanager
    def opened() -> Iterator[Any]:
        with _zarr_damage(path):
            yield array

    return _ChunkedRows(path, name or None, array.shape, dtype, step, opened)


class _ChunkedRows(Rows):
    """Rows read a few whole chunks at a time, so that none is decompressed twice."""

    def __init__(
        self,
        path: Path,
        name: str | None,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        step: int,
        opened: Callable[[], Any],
    ) -> None:
        super().__init__(path, name, (int(shape[0]), int(shape[1])), dtype)
        self._step, self._opened = step, opened

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, step = self.shape[0], self._step
        step *= max(1, block_rows // step)
        with self._opened() as array:
            first = start
            while first < n:
                stop = min((first // step + 1) * step, n)
                piece = np.asarray(array[first:stop])
                if len(piece) != stop - first:
                    raise FileError(self.path, f"holds fewer rows than the {n} it declares.")
                piece = piece.astype(self.dtype, copy=False)
                for row in range(0, len(piece), block_rows):
                    yield piece[row : row + block_rows]
                first = stop


def _step(shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...] | None) -> int:
    """Rows of a chunk, as far as they fit in memory."""
    most = max(1, _CHUNK_BYTES // max(1, shape[1] * dtype.itemsize))
    return min(int(chunks[0]), 4 * most) if chunks else 1


_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)


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


def _zarr_damage(path: Path) -> Any:
    # Codecs and stores of all kinds are behind this, each with errors of its own.
    return damage(path, "Zarr", Exception)


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
