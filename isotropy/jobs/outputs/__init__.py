"""Where corrected rows are written, one file a kind of place; see `isotropy.tables.OUTPUTS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from isotropy.io import Rows
from isotropy.jobs.plan import Plan
from isotropy.tables import OUTPUTS

__all__ = ["ColumnOutput", "Output", "Written", "output_of"]


class Written(NamedTuple):
    """What a job wrote, and what of it was verified.

    Parameters
    ----------
    shape : tuple of int
        (n, k), of what was written or found written.
    where : str
        The file, the folder, the column; without secrets.
    nulls : int, default=0
        Rows without a vector, which have none after correction either.
    changed : int, default=0
        Rows that others changed meanwhile and that were corrected again.
    found : int, default=0
        Rows that were found written by the same job, whole and unchanged.
    replaced : int, default=0
        Files or columns of others that were replaced, since the user said so.
    verified : tuple of str, default=()
        What was looked at once all was written, in words.
    missed : int, default=0
        Rows that others held or changed to the last, and that were not corrected.
    notes : tuple of str, default=()
        What else whoever owns the place should know, a sentence each.

    Examples
    --------
    >>> print(Written((1000, 4), "corrected.npy", verified=("rows counted", "source unchanged")))
    1,000 rows of 4 dimensions written to corrected.npy and verified: rows counted, source unchanged
    """

    shape: tuple[int, int]
    where: str
    nulls: int = 0
    changed: int = 0
    found: int = 0
    replaced: int = 0
    verified: tuple[str, ...] = ()
    missed: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        n = max(self.shape[0] - self.missed, 0)
        told = f"{n:,} rows of {self.shape[1]} dimensions written to {self.where}"
        for number, what in (
            (self.found, "found written already"),
            (self.changed, "changed meanwhile and corrected again"),
            (self.nulls, "without a vector"),
        ):
            told += f", {number:,} {what}" if number else ""
        if self.replaced:
            told += ", in the place of what stood there"
        told += f" and verified: {', '.join(self.verified)}" if self.verified else ""
        if self.missed:
            told += (
                f"; {self.missed:,} rows were locked or changed by others to the last, or "
                "kept as they are by a trigger or policy, and are NOT corrected: run the same "
                "again for them"
            )
        return ". ".join([told, *self.notes])


class Output(ABC):
    """A kind of place to write corrected rows to.

    `isotropy.jobs.correct` makes one for its plan and calls, in this order, `owned`, and within it
    `check`, `write` and `verify`.

    Parameters
    ----------
    plan : Plan

    Examples
    --------
    An output of one's own, which `correct` and the command line know from then on:

    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.jobs import correct
    >>> from isotropy.rows.source import ArrayRows
    >>> class Counted(Output):
    ...     recognizes = classmethod(lambda cls, rows, output: output == "count:")
    ...     def check(self):
    ...         pass
    ...     def write(self):
    ...         self.n = sum(len(block) for _, block in self.plan.blocks())
    ...     def verify(self):
    ...         return Written((self.n, self.plan.shape[1]), "nowhere")
    >>> OUTPUTS.add("count", Counted)
    >>> X = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> print(correct(MeanRemoval().fit(X), ArrayRows(None, None, X), "count:"))
    2 rows of 2 dimensions written to nowhere
    >>> _ = OUTPUTS.pop("count")
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @classmethod
    @abstractmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether these rows and what the user named make an output of this kind.

        It must import no library for that.
        """

    def owned(self) -> AbstractContextManager[Any]:
        """A context in which no other job writes there.

        Returns
        -------
        context manager

        Raises
        ------
        FileError
            On entering it, if another job is at it.
        """
        return nullcontext()

    @abstractmethod
    def check(self) -> None:
        """Refuse what must not be written, before anything is; called while it is owned.

        Raises
        ------
        FileError
            If the output is or holds something that is read; if something is there that this job
            did not write, and the plan does not say `overwrite`.
        """

    @abstractmethod
    def write(self) -> None:
        """Write the rows, or go on where the same job was stopped.

        Raises
        ------
        FileError
            If reading or writing fails; what is finished stays, for the next run.
        """

    @abstractmethod
    def verify(self) -> Written:
        """Look at what was written.

        Returns
        -------
        Written

        Raises
        ------
        FileError
            If it is not what was to be written, or the source changed.
        """


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


def output_of(plan: Plan) -> Output:
    """The output that a plan is for; the kind added last is asked first.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    Output

    Raises
    ------
    ValueError
        If no kind of output recognizes it.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> from isotropy.jobs.plan import plan_of
    >>> from isotropy.rows.source import ArrayRows
    >>> rows = ArrayRows(None, None, np.eye(3))
    >>> type(output_of(plan_of(MeanRemoval().fit(rows.array), rows, "new.npy"))).__name__
    'FileOutput'
    """
    rows, output = plan.rows, plan.output
    kinds = (OUTPUTS[name] for name in reversed(list(OUTPUTS)))
    for kind in kinds:
        if kind.recognizes(rows, output):
            found: Output = kind(plan)
            return found
    raise ValueError(
        f"{plan.source} cannot take a column beside its own; name an output file or folder."
    )
