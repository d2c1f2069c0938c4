"""Corrected rows into one file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, Any

from isotropy.io import FileError, Rows, RowWriter, open_rows
from isotropy.io.columns import TableRows
from isotropy.io.postgres.server import is_database
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.places import Inputs
from isotropy.jobs.plan import Plan
from isotropy.storage.locks import owned
from isotropy.storage.records import planned, written_by
from isotropy.storage.whole import whole_file

__all__ = ["FileOutput", "count_rows", "write_file"]


class FileOutput(Output):
    """One file, which appears whole or not at all.

    It carries a note of the plan that it was written for: the same plan finds it finished.
    """

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether an output is named at all: what no other kind recognizes is a file."""
        return output is not None

    def owned(self) -> AbstractContextManager[Any]:
        """A context in which no other job writes the file."""
        if is_database(self.plan.output):
            raise FileError(
                str(self.plan.output),
                "rows go into no new table, but into a new column of the table that is read: give "
                "that as the embeddings, and the column by --as (new_column=), without an output.",
            )
        return owned(self.plan.place)

    def check(self) -> None:
        """Refuse a file that is read, or that is there and that another job wrote."""
        plan, path = self.plan, self.plan.place
        Inputs(plan.rows, *plan.reads).refuse(path)
        self.there = path.exists()
        self.finished = self.there and written_by(path) == plan.digest()
        if self.there and not self.finished and not plan.overwrite:
            raise FileError(
                path,
                "exists, and is not what this job wrote from the same rows and corrector; say "
                "--overwrite (overwrite=True) to replace it, or name another file.",
            )

    def write(self) -> None:
        """Write all rows, where the same job has not."""
        if not self.finished:
            with planned(self.plan.place, self.plan.digest()):
                write_file(self.plan, self.plan.place, whole_file)

    def verify(self) -> Written:
        """Count the rows of the file, and look whether the source is what it was."""
        plan = self.plan
        count_rows(plan, plan.place)
        plan.rows.check_unchanged()
        seen = ("rows counted", "source unchanged")
        return Written(
            plan.shape,
            str(plan.output),
            found=plan.shape[0] if self.finished else 0,
            replaced=int(self.there and not self.finished),
            verified=(*seen, "checksum of the file") if self.finished else seen,
        )


def write_file(
    plan: Plan, path: Any, opened: Callable[[Any], AbstractContextManager[IO[bytes]]]
) -> None:
    """Write the corrected rows to a file that `opened` opens, as `whole_file` does."""
    like = plan.rows if isinstance(plan.rows, TableRows) else None
    name = plan.column or plan.rows.name
    with RowWriter(
        path, shape=plan.shape, dtype=plan.dtype, column=name, like=like, opened=opened
    ) as writer:
        for _, block in plan.blocks():
            writer.write(block)


def count_rows(plan: Plan, path: Any) -> None:
    """Raise a `FileError` unless a file that was written opens as the rows that were to be."""
    try:
        found = open_rows(path)
    except FileError:  # several columns of lists, or really damaged
        found = open_rows(path, plan.column or plan.rows.name or "embedding")
    if found.shape != plan.shape:
        raise FileError(
            path,
            f"holds {found.shape[0]} x {found.shape[1]} numbers, but {plan.shape[0]} x "
            f"{plan.shape[1]} were written: something else writes there. Begin again.",
        )
