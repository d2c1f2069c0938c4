"""Corrected rows written where they belong: one file, shard by shard, or beside the old ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io import FileError, Rows, RowWriter, open_rows
from isotropy.io.columns import TableRows
from isotropy.io.formats import writable
from isotropy.io.sources.lance import is_lance, write_lance_column
from isotropy.io.sources.postgres import PostgresRows
from isotropy.io.sources.shards import ShardedRows
from isotropy.rows.arrays import BadRowError, output_dtype
from isotropy.rows.lanes import prefetch, rows_at_a_time
from isotropy.storage.whole import whole_file

__all__ = ["correct"]

_RECORD = "_isotropy.json"


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
    corrector : fitted affine corrector
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
        If a file is damaged or cannot be written, the disk is full, or the server is lost. What
        was finished stays, and the same call goes on from there.
    ValueError
        If the rows do not fit the corrector, or one holds NaN or infinity: shard and row are named.
    """
    rows = open_rows(source, column=column)
    affine, (n, d) = corrector.affine_map_, rows.shape
    if d != affine.n_features_in:
        raise ValueError(
            f"{rows.path} has {d} columns, but the corrector takes {affine.n_features_in}: it was "
            "fitted on other embeddings."
        )
    shape, dtype = (n, affine.n_features_out), output_dtype(np.empty(0, rows.dtype))

    def apply(block: np.ndarray, first_row: int) -> np.ndarray:
        return affine.apply(block, normalize=corrector.normalize, first_row=first_row)

    job = _job(corrector)
    try:
        if output is None:
            _beside(rows, new_column, apply, shape, dtype, job)
        elif os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir():
            _sharded(rows, Path(output), new_column, apply, shape[1], job, progress)
        else:
            _single(rows, output, new_column, apply, shape, dtype, progress)
    except BadRowError as error:
        raise error.at(rows.locate(error.row)) from None
    return shape


def _single(
    rows: Rows, output: Any, column: Any, apply: Any, shape: Any, dtype: Any, progress: Any
) -> None:
    like = rows if isinstance(rows, TableRows) else None
    name = column or rows.name
    with RowWriter(output, shape=shape, dtype=dtype, column=name, like=like) as writer:
        for start, block in _numbered(rows):
            writer.write(apply(block, start))
            if progress is not None:
                progress(start + len(block))


def _numbered(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    start = 0
    for block in prefetch(rows.blocks(4 * rows_at_a_time(rows))):
        yield start, block
        start += len(block)


def _sharded(
    rows: Rows, folder: Path, column: Any, apply: Any, k: int, job: str, progress: Any
) -> None:
    shards = rows.shards if isinstance(rows, ShardedRows) else [rows]
    named = [Path(shard.path).absolute() for shard in shards]
    if not all(path.exists() for path in named):  # a table of a server, a dataset in memory
        named = [Path.cwd() / "rows"]
    base = Path(os.path.commonpath([path.parent for path in named]))
    if base == folder.absolute() and named[0].exists():
        raise FileError(folder, "is the folder that is read; name another.")
    record_path, record = folder / _RECORD, {}
    folder.mkdir(parents=True, exist_ok=True)
    if record_path.exists():
        try:
            record = json.loads(record_path.read_text("utf-8"))
        except ValueError as error:
            raise FileError(record_path, f"is damaged ({error}); delete it.") from error
    first = 0
    for shard, place in zip(shards, named, strict=True):
        relative = place.relative_to(base)
        if relative.suffix.lower() not in writable():
            relative = relative.with_name(relative.name + ".npy")
        target = folder / relative
        done = hashlib.sha256(
            json.dumps([job, shard.fingerprint(), column], default=str).encode()
        ).hexdigest()
        if record.get(str(relative)) != done or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)

            def shard_apply(block: np.ndarray, row: int, first: int = first) -> np.ndarray:
                return apply(block, first + row)

            def shard_progress(row: int, first: int = first) -> None:
                if progress is not None:
                    progress(first + row)

            size = (shard.shape[0], k)
            dtype = output_dtype(np.empty(0, shard.dtype))
            _single(shard, target, column, shard_apply, size, dtype, shard_progress)
            record[str(relative)] = done
            with whole_file(record_path) as file:
                file.write(json.dumps(record, indent=1).encode())
        first += shard.shape[0]


def _beside(rows: Rows, column: Any, apply: Any, shape: Any, dtype: Any, job: str) -> None:
    if not column:
        raise ValueError("new_column is missing: name the column that the corrected rows become.")
    if isinstance(rows, PostgresRows):
        rows.write_column(column, apply, shape, dtype, job)
    elif isinstance(rows, TableRows) and is_lance(rows.path):
        write_lance_column(rows, column, apply, shape, dtype, job)
    else:
        raise ValueError(
            f"{rows.path} cannot take a column beside its own; name an output file or folder."
        )


def _job(corrector: Any) -> str:
    """What the map is: another map is another job."""
    digest = hashlib.sha256(str(corrector.normalize).encode())
    for name, array in sorted(corrector.affine_map_.arrays().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
