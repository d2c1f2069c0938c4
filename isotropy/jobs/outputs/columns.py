"""What all outputs that are a column beside the one read have in common."""

from __future__ import annotations

from isotropy.jobs.outputs import Output

__all__ = ["ColumnOutput"]


class ColumnOutput(Output):
    """A new column of the table that the rows came from."""

    @property
    def column(self) -> str:
        """The name of the new column.

        Raises
        ------
        ValueError
            If none was given.
        """
        if not self.plan.column:
            raise ValueError(
                "new_column is missing: name the column that the corrected rows become."
            )
        return self.plan.column
