"""Lance tables, which LanceDB keeps too: a vector column read, a corrected one written beside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io.columns import TableRows, matrix_of, table_rows
from isotropy.io.sources import Source, as_folder
from isotropy.storage.errors import FileError, damage

__all__ = ["LANCE", "LanceRows", "is_lance", "read_lance", "write_lance_column"]


def is_lance(source: Any) -> bool:
    """Whether this is the folder of a Lance table."""
    folder = as_folder(source)
    return folder is not None and (folder.suffix == ".lance" or (folder / "_versions").is_dir())


class LanceRows(TableRows):
    """Rows of a column of a Lance table, at the version that it had when it was opened."""


def read_lance(source: Any, column: str | None) -> TableRows:
    """The rows of one vector column of a Lance table, at the version it has now."""
    path = Path(source)
    lance = require("lance", extra="lance")
    with _lance_damage(path):
        table = lance.dataset(str(path))
        version, schema, n = table.version, table.schema, table.count_rows()

    def batches(file: Any, columns: list[str], size: int, start: int = 0) -> Iterator[Any]:
        with _lance_damage(path):
            source = lance.dataset(str(path), version=version)
            scanner = source.scanner(
                columns=columns, batch_size=size, offset=start, scan_in_order=True
            )
            for batch in scanner.to_batches():
                yield batch.select(columns)

    rows = table_rows(path, column, schema, n, batches, LanceRows)
    rows.mark = version
    return rows


def write_lance_column(
    rows: TableRows,
    column: str,
    apply: Callable[[np.ndarray, int], np.ndarray],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    job: str,
) -> None:
    """Add a column of `apply(block, first_row)` to the table that `rows` were read from.

    The new version of the table appears whole or not at all. Finished batches are kept in a file
    beside the table until then, from which the same job goes on after it was killed.
    """
    lance = require("lance", extra="lance")
    pa = require("pyarrow", extra="lance")
    path, name = rows.path, str(rows.name)
    with _lance_damage(path):
        table = lance.dataset(str(path))
        if table.version != rows.mark:
            raise FileError(path, "changed since it was opened; begin again.")
        if column in table.schema.names:
            raise FileError(path, f"has a column {column!r} already; choose another name.")
    digest = hashlib.sha256(f"{job} {rows.mark} {name} {column}".encode()).hexdigest()[:16]
    checkpoint = path.with_name(f".{path.name}.{digest}.checkpoint")
    kind = pa.list_(pa.from_numpy_dtype(dtype), shape[1])
    row = 0

    @lance.batch_udf(output_schema=pa.schema([(column, kind)]), checkpoint_file=checkpoint)
    def corrected(batch: Any) -> Any:
        nonlocal row
        block = matrix_of(path, name, batch.column(name), rows.shape[1], row)
        result = np.ascontiguousarray(apply(block, row), dtype)
        row += len(block)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(result.ravel()), shape[1])
        return pa.RecordBatch.from_arrays([lists], names=[column])

    try:
        table.add_columns(corrected, read_columns=[name])
    except FileError:
        raise
    except ValueError:  # a bad row, which the message names
        raise
    except Exception as error:
        raise FileError(path, f"could not be written ({error}).") from error
    checkpoint.unlink(missing_ok=True)


@contextmanager
def _lance_damage(path: Path) -> Iterator[None]:
    # Lance reports damage with whatever its reader meets first, from ValueError to a panic.
    with damage(path, "Lance table", Exception):
        yield


LANCE = Source(is_lance, read_lance)
