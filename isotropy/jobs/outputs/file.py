"""Corrected rows into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isotropy.io import FileError, Rows, RowWriter
from isotropy.io.columns import TableRows
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.plan import Plan

__all__ = ["FileOutput", "check_not_read", "files_of", "shards_of", "write_file"]


class FileOutput(Output):
    """One file, which appears whole or not at all."""

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether an output is named at all: what no other kind recognizes is a file."""
        return output is not None

    def check(self) -> None:
        """Refuse a file that is read."""
        check_not_read(self.plan.rows, self.plan.place)

    def write(self) -> None:
        """Write all rows."""
        write_file(self.plan, self.plan.place)

    def verify(self) -> Written:
        """What was written."""
        return Written(self.plan.shape, str(self.plan.place))


def write_file(plan: Plan, path: Path) -> None:
    """Write the corrected rows to a file, which appears whole or not at all."""
    like = plan.rows if isinstance(plan.rows, TableRows) else None
    name = plan.column or plan.rows.name
    with RowWriter(path, shape=plan.shape, dtype=plan.dtype, column=name, like=like) as writer:
        for _, block in plan.blocks():
            writer.write(block)


def shards_of(rows: Rows) -> list[Rows]:
    """The parts that rows of many files are made of; those of one are their own."""
    parts: list[Rows] = getattr(rows, "shards", [rows])
    return parts


def files_of(rows: Rows) -> list[Path]:
    """The files that rows are read from; none where they are in memory or on a server."""
    paths = [Path(shard.path) for shard in shards_of(rows) if shard.path is not None]
    return [path for path in paths if path.exists()]


def check_not_read(rows: Rows, output: Path) -> None:
    """Raise a `FileError` if a file to be written is one of those that are read."""
    if output.exists() and any(output.samefile(path) for path in files_of(rows)):
        raise FileError(output, "is read too; choose another name for the output.")
