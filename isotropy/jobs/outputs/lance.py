"""Corrected rows into a new column of the Lance table that they came from."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from isotropy._optional import require
from isotropy.io import FileError, Rows
from isotropy.io.columns import no_rows
from isotropy.io.sources.lance import LanceRows, lance_damage
from isotropy.jobs.journal import Journal, note_of
from isotropy.jobs.outputs import ColumnOutput, Written
from isotropy.jobs.plan import Plan, digest_of
from isotropy.storage.errors import damage
from isotropy.storage.locks import STRAY_PREFIX, owned
from isotropy.storage.whole import whole_file

__all__ = ["LanceOutput"]

_PART_BYTES = 2**25
_PLAN = b"isotropy.plan"


class LanceOutput(ColumnOutput):
    """A new column of the table that is read.

    Corrected rows are kept as `.npy` parts in a folder beside the table until all are there; then
    one commit adds them all. The same job goes on with the part that was under way.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether rows of a Lance table are to be written beside the old ones."""
        return output is None and isinstance(rows, LanceRows)

    @property
    def table(self) -> Path:
        """The folder of the table."""
        return Path(self.plan.rows.path)

    def owned(self) -> AbstractContextManager[Any]:
        """A context in which no other job of ours adds columns to the table."""
        return owned(self.table)

    def check(self) -> None:
        """Refuse a table that changed, and a column that is there."""
        path, column, rows = self.table, self.column, self.plan.rows
        assert isinstance(rows, LanceRows)
        now = self._now()
        self.version = now.version
        self.there = column in now.schema.names
        note = _note_of(now.schema, column) if self.there else None
        self.finished = note == [self._plan(), str(now.version)]
        if self.finished:
            return
        if column == rows.name:
            raise FileError(path, f"column {column!r} is the one that is read; name another.")
        if not column.isprintable() or column.startswith("_row") or {".", "`"} & {*column}:
            # Lance adds a column of a name that it uses itself, and cannot open the table again.
            raise FileError(
                path,
                f"{column!r} is no name for a column: it begins with _row, or holds a dot, a "
                "backtick or what cannot be printed. Name another.",
            )
        if self.there and (problem := no_rows(now.schema.field(column).type)):
            raise FileError(path, f"has a column {column!r}, which {problem}; name another.")
        if self.there and not self.plan.overwrite:
            raise FileError(
                path,
                f"has a column {column!r} already; say --overwrite (overwrite=True) to replace it, "
                "or choose another name.",
            )
        if now.version != rows.mark:
            raise FileError(path, "changed since it was opened; begin again.")

    def _now(self) -> Any:
        lance = require("lance", extra="lance")
        with lance_damage(self.table):
            return lance.dataset(str(self.table))

    def _plan(self) -> str:
        """What the note in the table says: the plan without the version, which is noted apart."""
        plan = self.plan
        return digest_of([plan.map, plan.rows.name, self.column, plan.shape, plan.dtype.name])

    def write(self) -> None:
        """Write the parts that are missing, then add all as one column."""
        self._remove_old()
        if not self.finished:
            self._write()
            self._remove_old()

    def _write(self) -> None:
        name = f"{STRAY_PREFIX}{self.table.name}-{self.version}-{self._plan()[:16]}.parts"
        parts = _Parts(self.table.resolve().with_name(name), self.plan)
        try:
            parts.write()
        except BaseException:
            parts.remove_empty()
            raise
        self._add(parts)

    def _remove_old(self) -> None:
        """Remove parts of versions that are no more: no job can go on with them."""
        start, now = f"{STRAY_PREFIX}{self.table.name}-", str(self._now().version)
        for folder in self.table.resolve().parent.glob(f"{glob.escape(start)}*.parts"):
            if folder.name.removeprefix(start).partition("-")[0] != now:
                shutil.rmtree(folder, ignore_errors=True)

    def _add(self, parts: _Parts) -> None:
        pa = require("pyarrow", extra="lance")
        path, k = self.table, self.plan.shape[1]
        kind = pa.list_(pa.from_numpy_dtype(self.plan.dtype), k)
        table, version = self._now(), self.version
        try:
            if table.version == version and self.there:
                table.drop_columns([self.column])
                version += 1
                table = self._now()
            if table.version != version:
                raise FileError(
                    path, "changed meanwhile, its new column is not written; run again."
                )
            note = {_PLAN: f"{self._plan()} {version + 1}".encode()}
            schema = pa.schema([pa.field(self.column, kind, metadata=note)])

            def batches() -> Iterator[Any]:
                for block in parts.blocks():
                    lists = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), k)
                    yield pa.RecordBatch.from_arrays([lists], schema=schema)

            table.add_columns(pa.RecordBatchReader.from_batches(schema, batches()))
        except FileError:
            raise
        except Exception as error:  # Lance has an error of its own for everything
            meanwhile = "conflict" in str(error)
            raise FileError(
                path,
                "changed meanwhile, its new column is not written; run again."
                if meanwhile
                else f"could not be written ({str(error).partition(' Detail:')[0]}).",
            ) from error
        self.written = version + 1

    def verify(self) -> Written:
        """Count the rows that have the column, and look whether the table is what it was."""
        plan, table, column = self.plan, self._now(), self.column
        expected = self.version if self.finished else self.written
        with lance_damage(self.table):
            nulls = table.count_rows(filter=f"`{column}` IS NULL") if plan.shape[0] else 0
            n = table.count_rows()
        if table.version != expected or n != plan.shape[0] or nulls:
            raise FileError(
                self.table,
                f"changed while column {column!r} was written: {n} rows now, {nulls} of them "
                "without one. Run again with --overwrite.",
            )
        return Written(
            plan.shape,
            f"column {column} of {plan.source}",
            found=n if self.finished else 0,
            replaced=int(self.there and not self.finished),
            verified=("rows counted", "no row without a vector", "table unchanged"),
        )


class _Parts:
    """The corrected rows in files of some 32 MiB, with a journal of those that are whole."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan, self._digest = folder, plan, plan.digest()
        n, k = plan.shape
        self._step = max(1, _PART_BYTES // (k * plan.dtype.itemsize))
        self._starts = range(0, n, self._step)

    def write(self) -> None:
        """Write the parts behind those that are finished."""
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(self._folder, f"could not be made ({error.strerror}).") from error
        self._journal = Journal(self._folder)
        finished = self._journal.is_finished
        left = (i for i in self._starts if not finished(self._name(i), self._digest))
        done = next(left, self._plan.shape[0])
        self._plan.report(done)
        held: list[np.ndarray] = []
        for _, block in self._plan.blocks(done):
            held.append(block.astype(self._plan.dtype, copy=False))
            while sum(map(len, held)) >= self._step:
                rows = np.concatenate(held)
                self._save(done, rows[: self._step])
                held, done = [rows[self._step :]], done + self._step
        if held and (rest := np.concatenate(held)).size:
            self._save(done, rest)

    def _name(self, first: int) -> str:
        return f"part-{first}.npy"

    def _save(self, first: int, rows: np.ndarray) -> None:
        with whole_file(self._folder / self._name(first)) as file:
            np.save(file, np.ascontiguousarray(rows), allow_pickle=False)
            note = note_of(file, self._digest)
        self._journal.add({self._name(first): note})

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows of all parts."""
        for first in self._starts:
            path = self._folder / self._name(first)
            with damage(path, ".npy", OSError, ValueError):
                yield np.load(path, allow_pickle=False)

    def remove_empty(self) -> None:
        """Remove the folder where no part was finished."""
        with suppress(OSError):
            self._folder.rmdir()


def _note_of(schema: Any, column: str) -> list[str] | None:
    note = (schema.field(column).metadata or {}).get(_PLAN)
    return None if note is None else note.decode(errors="replace").split()
