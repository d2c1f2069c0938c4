"""What a job that writes is going to do, settled before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.io import Rows
from isotropy.jobs.places import parts_of
from isotropy.rows.arrays import output_dtype, raise_on_bad_row
from isotropy.rows.lanes import prefetch, rows_at_a_time

__all__ = ["Apply", "Plan", "digest_of", "map_digest", "plan_of"]

Apply = Callable[[np.ndarray, int], np.ndarray]
"""Called with a block and the number of its first row, it gives the corrected block."""


@dataclass(frozen=True)
class Plan:
    """A job that writes corrected rows: what is read, what is done to it, where it goes.

    Parameters
    ----------
    rows : Rows
        What is read.
    output : str, path or None
        What the user named: a file, a folder; None for a column beside the one that is read.
    column : str or None
        Name of the corrected column, tensor or member; None for the name of the old one.
    apply : callable
        Corrects a block; see `Apply`.
    shape : tuple of int
        (n, k), of what will be written.
    dtype : numpy.dtype
        Of what will be written.
    map : str
        Digest of the map: another map is another plan.
    overwrite : bool, default=False
        Whether the user said that what is at the output may be replaced.
    progress : callable, optional
        Called with the number of rows done.
    reads : tuple of path, optional
        Other files that the job reads, which no output may replace: the corrector's.

    Examples
    --------
    >>> from isotropy import MeanRemoval
    >>> from isotropy.rows.source import ArrayRows
    >>> rows = ArrayRows(None, None, np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> plan = plan_of(MeanRemoval().fit(rows.array), rows, "corrected.npy")
    >>> plan.shape, [block.tolist() for first, block in plan.blocks()]
    ((2, 2), [[[-1.0, 0.0], [1.0, 0.0]]])
    """

    rows: Rows
    output: str | os.PathLike[str] | None
    column: str | None
    apply: Apply
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    map: str
    overwrite: bool = False
    progress: Callable[[int], object] | None = None
    reads: tuple[str | os.PathLike[str], ...] = ()

    @property
    def source(self) -> str:
        """What is read, without secrets."""
        return str(self.rows.path)

    @property
    def place(self) -> Path:
        """The output as a path."""
        assert self.output is not None
        return Path(self.output)

    def digest(self, *more: Any) -> str:
        """What tells this plan from any other: the map, the rows as they are now, the result.

        Parameters
        ----------
        *more : object
            What else belongs to it, JSON-able.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return digest_of(
            [self.map, self.rows.fingerprint(), self.column, self.shape, self.dtype.name, *more]
        )

    def of(self, rows: Rows, first: int) -> Plan:
        """The plan for some of the rows: those of one shard.

        Parameters
        ----------
        rows : Rows
            The shard.
        first : int
            Number of its first row among all.

        Returns
        -------
        Plan
        """
        whole, told = self.apply, self.progress
        return replace(
            self,
            rows=rows,
            apply=lambda block, row: whole(block, first + row),
            shape=(rows.shape[0], self.shape[1]),
            dtype=_dtype_of(rows),
            progress=None if told is None else (lambda row: told(first + row)),
        )

    def parts(self) -> Iterator[Plan]:
        """The plan of each file that is read, from the first to the last.

        Yields
        ------
        Plan
        """
        first = 0
        for rows in parts_of(self.rows):
            yield self.of(rows, first)
            first += rows.shape[0]

    def blocks(self, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The corrected rows, block by block, each with the number of its first row.

        Parameters
        ----------
        start : int, default=0
            The row to begin with.

        Yields
        ------
        tuple of int and ndarray of shape (m, k)

        Raises
        ------
        FileError
            If the rows cannot be read, or changed meanwhile.
        ValueError
            If a row holds NaN or infinity.
        """
        size = 4 * rows_at_a_time(self.rows)
        blocks = self.rows.blocks(size, start=start)
        for block in prefetch(blocks) if len(self.rows) - start > size else blocks:
            corrected = self.apply(block, start)
            if not np.isfinite(corrected).all():
                row = start + int((~np.isfinite(corrected).all(axis=1)).argmax())
                raise ValueError(
                    f"row {row}{self.rows.locate(row)} became NaN or infinite: its numbers are too "
                    "large to be corrected in this type."
                )
            yield start, corrected
            start += len(block)
            self.report(start)

    def report(self, done: int) -> None:
        """Tell whoever watches how many rows are done.

        Parameters
        ----------
        done : int
        """
        if self.progress is not None:
            self.progress(done)


def plan_of(corrector: Any, rows: Rows, output: Any = None, **options: Any) -> Plan:
    """The plan of writing rows, corrected, to an output.

    Parameters
    ----------
    corrector : fitted corrector
    rows : Rows
        What is read.
    output : str or path, optional
        As in `correct`.
    **options
        Of `Plan`: column, overwrite, progress, reads.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If the rows do not fit the corrector, or it is not fitted.
    TypeError
        If it is none.

    Examples
    --------
    See `Plan`.
    """
    if not hasattr(corrector, "_map_state"):
        raise TypeError(
            f"corrector must be a fitted corrector, got {type(corrector).__name__}; "
            "isotropy.load(path) reads one from its file."
        )
    check_is_fitted(corrector)
    (n, d), wanted = rows.shape, corrector.n_features_in_
    if d != wanted:
        raise ValueError(
            f"{rows.path} has {d} columns, but the corrector takes {wanted}: it was "
            "fitted on other embeddings."
        )
    return Plan(
        rows,
        output,
        options.pop("column", None),
        _apply_of(corrector),
        (n, corrector._n_features_out),
        _dtype_of(rows),
        map_digest(corrector),
        **options,
    )


def map_digest(corrector: Any) -> str:
    """What tells the map of a fitted corrector from any other.

    Parameters
    ----------
    corrector : fitted corrector

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from isotropy import MeanRemoval
    >>> rows = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> one, other = MeanRemoval().fit(rows), MeanRemoval(strength=0.5).fit(rows)
    >>> map_digest(one) == map_digest(MeanRemoval().fit(rows)), map_digest(one) == map_digest(other)
    (True, False)
    """
    told, arrays = corrector._map_state()
    normalize = str(getattr(corrector, "normalize", None))
    digest = hashlib.sha256(digest_of([type(corrector).__name__, normalize, told]).encode())
    for name, array in sorted(arrays.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def digest_of(said: Any) -> str:
    """A digest of something JSON-able.

    Parameters
    ----------
    said : object

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    text = json.dumps(said, default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _dtype_of(rows: Rows) -> np.dtype[Any]:
    return np.dtype(output_dtype(np.empty(0, rows.dtype)))


def _apply_of(corrector: Any) -> Apply:
    """The corrector as a function of a block and the number of its first row."""
    affine = getattr(corrector, "affine_map_", None)
    if affine is None:
        return lambda block, first_row: _transformed(corrector, block, first_row)
    return lambda block, first_row: affine.apply(
        block, normalize=corrector.normalize, first_row=first_row
    )


def _transformed(corrector: Any, block: np.ndarray, first_row: int) -> np.ndarray:
    raise_on_bad_row(block, first_row)
    return np.asarray(corrector.transform(block))
