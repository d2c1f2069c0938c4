"""Corrected rows into a column of the PostgreSQL table that they came from."""

from __future__ import annotations

from typing import Any

from isotropy.io import Rows
from isotropy.io.sources.postgres import PostgresRows
from isotropy.jobs.outputs import Written
from isotropy.jobs.outputs.columns import ColumnOutput

__all__ = ["PostgresOutput"]


class PostgresOutput(ColumnOutput):
    """A column of the table that is read."""

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether rows of a server are to be written beside the old ones."""
        return output is None and isinstance(rows, PostgresRows)

    def check(self) -> None:
        """Refuse a job without a name for the column."""
        _ = self.column

    def write(self) -> None:
        """Fill the column, from where the same job was stopped."""
        plan, rows = self.plan, self.plan.rows
        assert isinstance(rows, PostgresRows)
        rows.write_column(self.column, plan.apply, plan.shape, plan.dtype, plan.map)

    def verify(self) -> Written:
        """What was written."""
        return Written(self.plan.shape, f"column {self.column} of {self.plan.source}")
