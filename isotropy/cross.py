"""Moments of embeddings together with their labels: what erasing and grouping follow from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial, reduce
from typing import Any, ClassVar, Literal

import numpy as np

from isotropy.moments import MERGE, Moments
from isotropy.rows.arrays import (
    BadRowError,
    check_weights,
    to_numpy,
    unit_rows,
)
from isotropy.rows.door import as_rows, column_of, numbers_of
from isotropy.rows.labels import Concepts, Kind, design, read_labels, union, widths
from isotropy.rows.lanes import prefetch, rows_at_a_time, sent
from isotropy.rows.source import Rows
from isotropy.storage.state import contiguous

__all__ = ["CrossMoments"]

_BLOCK = 1024


class CrossMoments(Moments):
    """Moments of rows, and their sums with labels: classes, numbers, or several of these.

    A class is a column that is 1 in its rows and 0 elsewhere; no such matrix is ever built dense.
    With ``order=2`` all of X'X, X'Z and Z'Z about the means is there, with ``order=1`` X'Z alone,
    which holds the mean of each class. They merge with ``+``, exactly, also where one side has
    classes that the other has never seen.

    Parameters
    ----------
    concept : {"auto", "classes", "numbers"}, default="auto"
        What labels are. "auto" takes those of a floating type as numbers, all others as classes:
        say "numbers" for years that are integers.
    order : {2, 1, 4}, default=2
        As in `Moments`. 1 costs O(n d).
    unit : {"none", "sums", "gram"}, default="none"
    weight_type : {"frequency", "probability"}, default="frequency"
    normalize : bool, default=False
        Take the rows scaled to length one in the place of the rows.

    Attributes
    ----------
    concepts : dict
        By name, the labels of a concept of classes in the order of their columns, or None for one
        of numbers. The name is "z" for labels of shape (n,); "z0", "z1", ... for several.
    z_mean : ndarray of shape (k,)
        Means of the columns: the shares of classes, the means of numbers.
    cross : ndarray of shape (k, d)
        Sum of w (z - z_mean)(x - mean)'.
    z_scatter : ndarray of shape (k, k) or None
        Sum of w (z - z_mean)(z - z_mean)'.
    spread : float
        Sum of w |x - mean|^2.
    n_unlabelled : int
        Rows left out since a label of theirs is missing (NaN or None).

    Notes
    -----
    All else is as in `Moments`, which these are too: a mean a thousand times the spread does no
    harm, of the rows as of numbers. Beside the pass of `Moments` it costs n d multiplications a
    concept, and k (d + k) numbers of memory.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import CrossMoments
    >>> X = np.array([[0.0, 5.0], [2.0, 5.0], [7.0, 8.0]])
    >>> moments = CrossMoments().update(X[:1], z=["a"]) + CrossMoments().update(X[1:], z=["a", "b"])
    >>> moments.concepts, moments.means().tolist()
    ({'z': ['a', 'b']}, [[1.0, 5.0], [7.0, 8.0]])
    """

    _merge: ClassVar = {
        **MERGE,
        "cross": "centered sum",
        "z_scatter": "centered sum",
        "spread": "centered sum",
        "n_unlabelled": "sum",
    }
    _centers: ClassVar = ("mean", "z_mean")
    _array_names: ClassVar = (*Moments._array_names, "z_mean", "cross", "z_scatter")

    def __init__(
        self,
        *,
        concept: Kind = "auto",
        order: Literal[2, 1, 4] = 2,
        unit: Literal["sums", "gram", "none"] = "none",
        weight_type: Literal["frequency", "probability"] = "frequency",
        normalize: bool = False,
    ) -> None:
        if concept not in ("auto", "classes", "numbers"):
            raise ValueError(f"concept must be 'auto', 'classes' or 'numbers', got {concept!r}.")
        self.concept = concept
        self.concepts: Concepts = {}
        self.n_unlabelled = 0
        super().__init__(unit=unit, order=order, weight_type=weight_type, normalize=normalize)

    def _allocate(self, d: int) -> None:
        super()._allocate(d)
        k = sum(widths(self.concepts))
        self.z_mean, self.cross, self.spread = np.zeros(k), np.zeros((k, d)), 0.0
        self.z_scatter = np.zeros((k, k)) if self.order > 1 else None

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        del options["sample"]  # rows are not kept beside labels
        return {**options, "concept": self.concept}

    # -- gathering ---------------------------------------------------------------------------

    @classmethod
    def from_rows(
        cls, X: Any, sample_weight: Any = None, *, z: Any = None, **options: Any
    ) -> CrossMoments:
        """Moments of `X` with labels.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
        sample_weight : array of shape (n,), optional
        z : array of shape (n,) or (n, c), list of arrays, mapping or frame
            The labels.
        **options
            Of the constructor.

        Returns
        -------
        CrossMoments

        Raises
        ------
        ValueError
            As `update` and the constructor do.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> CrossMoments.from_rows(np.eye(3), z=[2020, 2021, 2023], concept="numbers").cross.shape
        (1, 3)
        """
        return cls(**options).update(X, sample_weight, z=z)

    def update(
        self,
        X: Any,
        sample_weight: Any = None,
        *,
        z: Any = None,
        column: str | None = None,
        first_row: int = 0,
        device: Any = None,
    ) -> CrossMoments:
        """Bring in rows with their labels and return self. A refusal leaves the state unchanged.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
            Read in blocks, once, where it does not lie in memory.
        sample_weight : array of shape (n,) or str, optional
            As in `Moments.update`.
        z : array of shape (n,) or (n, c), list of arrays, mapping or frame
            The labels, in memory: one concept, or several. A row of which one is missing (NaN or
            None) is left out and counted in `n_unlabelled`.
        column : str, optional
            As in `Moments.update`.
        first_row : int, default=0
            As in `Moments.update`.
        device : torch device, optional
            As in `Moments.update`; sums with labels are made on the processor.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are not as many labels as rows, the concepts are not those of earlier rows, or
            rows or weights are refused as by `Moments.update`.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> moments = CrossMoments().update(np.eye(3), z={"source": ["a", "b", None]})
        >>> moments.n_rows, moments.n_unlabelled
        (2, 1)
        """
        if isinstance(sample_weight, str):
            sample_weight = numbers_of(X, sample_weight)
        rows = as_rows(X if column is None else column_of(X, column))
        if rows.array is not None:
            self._check_features(rows.shape[1])
        concepts, table = read_labels(z, len(rows), kind=self.concept)
        self._with(concepts)  # what does not fit is refused before the rows are read
        summarize = partial(
            _summed,
            empty=CrossMoments(**self._options()),
            concepts=concepts,
            seen=self.n_rows,
            first_row=first_row,
            device=device,
        )
        self._absorb(rows.reduce(summarize, sum, sample_weight, table)._drop_empty())
        return self

    def _gathered(
        self,
        array: Any,
        weights: np.ndarray | None,
        table: np.ndarray,
        concepts: Concepts,
        first_row: int,
        seen: int,
    ) -> CrossMoments:
        """The moments of an array that is in memory."""
        missing = np.isnan(table).any(1)
        if missing.any():
            weights = np.where(missing, 0.0, 1.0 if weights is None else weights)
            table = np.where(missing[:, None], 0.0, table)
        rows = Moments(**super()._options())
        rows._sum_array(array, weights, first_row, seen)
        new = CrossMoments(**self._options())
        new.concepts, new.n_unlabelled = concepts, int(missing.sum())
        new._allocate(array.shape[1])
        if rows.n_features:
            kept = {name: getattr(rows, name) for name in (*MERGE, "mean", "n_features")}
            new.__dict__.update(kept)
            new._sum_labels(array, weights, table)
        return new

    def _sum_labels(self, array: Any, weights: np.ndarray | None, table: np.ndarray) -> None:
        """Sums with the labels of an array whose own moments these are, about its mean."""
        w = np.ones(len(table)) if weights is None else weights
        numbers = np.array([labels is None for labels in self.concepts.values()], bool)
        is_number = np.repeat(numbers, widths(self.concepts))
        shift = np.zeros(len(is_number))
        shift[is_number] = (w @ table[:, numbers]) / w.sum()
        first = np.zeros_like(shift)
        size = max(_BLOCK, 4 * len(shift))
        buffer = np.empty((min(size, len(table)), self.n_features))
        for start in range(0, len(table), size):
            part = slice(start, start + size)
            Z = design(table[part], self.concepts, shift)
            Y = _centred(array[part], self.mean, self.normalize, buffer)
            weighted = Z if weights is None else Z.multiply(w[part, None]).tocsr()
            self.cross += weighted.T @ Y
            first += np.asarray(weighted.sum(0)).ravel()
            if self.z_scatter is not None:
                self.z_scatter += (weighted.T @ Z).toarray()
            if self.scatter is None:
                self.spread += float(w[part] @ np.einsum("ij,ij->i", Y, Y))
        if self.scatter is not None:
            self.spread = float(np.trace(self.scatter))
        mean = first / w.sum()
        self.z_mean = shift + mean
        if self.z_scatter is not None:
            self.z_scatter -= np.outer(first, mean)

    # -- merging -----------------------------------------------------------------------------

    def _absorb(self, other: Moments) -> None:
        other = other.copy()
        self._check_options(other)
        if not isinstance(other, CrossMoments):
            raise ValueError("Moments without labels and moments with labels do not add up.")
        if not other.n_features:
            with self._lock:
                self.n_unlabelled += other.n_unlabelled
            return
        with self._lock:
            self._check_features(other.n_features)
            concepts = self._with(other.concepts)
            self._lay_out(concepts)
            other._lay_out(concepts)
            super()._absorb(other)

    def _with(self, concepts: Concepts) -> Concepts:
        return union(self.concepts, concepts) if self.concepts else concepts

    def _said(self) -> str:
        return json.dumps(list(self.concepts.items()))

    def _agree(self, said: Iterable[str]) -> None:
        """Take the columns that all processes have, of what each has `_said`."""
        every = [dict(json.loads(one)) for one in said]
        concepts = reduce(union, [one for one in every if one], next(filter(None, every), {}))
        if not self.concepts:
            self.concepts = concepts
            self._allocate(self.n_features)
        self._lay_out(concepts)

    def _lay_out(self, concepts: Concepts) -> None:
        """Take these columns: classes that have not come yet are zero, where they belong."""
        if concepts == self.concepts:
            return
        target = {column: i for i, column in enumerate(_columns(concepts))}
        pairs = [(i, target.get(column)) for i, column in enumerate(_columns(self.concepts))]
        old, new = np.array([p for p in pairs if p[1] is not None], np.intp).reshape(-1, 2).T
        k = len(target)
        z_mean, cross = np.zeros(k), np.zeros((k, self.n_features))
        z_mean[new], cross[new] = self.z_mean[old], self.cross[old]
        if self.z_scatter is not None:
            scatter = np.zeros((k, k))
            scatter[np.ix_(new, new)] = self.z_scatter[np.ix_(old, old)]
            self.z_scatter = scatter
        self.z_mean, self.cross, self.concepts = z_mean, cross, concepts

    def _drop_empty(self) -> CrossMoments:
        """Without the classes whose rows all have weight 0: such rows are none."""
        live = dict(zip(_columns(self.concepts), self.z_mean != 0, strict=True))
        self._lay_out(
            {
                name: None if labels is None else [x for x in labels if live[name, x]]
                for name, labels in self.concepts.items()
            }
        )
        return self

    def centered_at(self, mean: np.ndarray) -> CrossMoments:
        """The same moments with their centered sums taken about another point.

        Parameters
        ----------
        mean : ndarray of shape (d + k,)
            Of the rows, and of the columns of labels.

        Returns
        -------
        CrossMoments
            Only for being added to others about the same point.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> moments = CrossMoments().update(np.array([[0.0], [2.0]]), z=[0.0, 1.0])
        >>> moments.cross.tolist(), moments.centered_at(np.zeros(2)).cross.tolist()
        ([[1.0]], [[2.0]])
        """
        d, w = self.n_features, self.total_weight
        e, f = mean[:d] - self.mean, mean[d:] - self.z_mean
        new = super().centered_at(mean[:d])
        assert isinstance(new, CrossMoments)
        new.z_mean, new.cross = mean[d:], contiguous(self.cross + np.outer(w * f, e))
        new.spread = self.spread + w * float(e @ e)
        if self.z_scatter is not None:
            new.z_scatter = self.z_scatter + np.outer(w * f, f)
        return new

    # -- reading -----------------------------------------------------------------------------

    def class_weights(self) -> np.ndarray:
        """Sum of the weights of each class, in the order of `concepts`.

        Returns
        -------
        ndarray of shape (k,)

        Raises
        ------
        ValueError
            If the labels are not one concept of classes.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> CrossMoments().update(np.eye(3), z=["b", "a", "b"]).class_weights().tolist()
        [1.0, 2.0]
        """
        if list(self.concepts.values()) in ([], [None]) or len(self.concepts) > 1:
            raise ValueError("These moments are not of one concept of classes.")
        weights: np.ndarray = np.where(self.z_mean > 1e-15, self.z_mean * self.total_weight, 0.0)
        if self.weight_type == "probability":
            return weights
        whole = np.round(weights)  # counts came as shares: what rounding made of them is undone
        return np.where(np.abs(weights - whole) <= 1e-9 * np.maximum(whole, 1), whole, weights)

    def means(self) -> np.ndarray:
        """The mean of the rows of each class, in the order of `concepts`.

        Returns
        -------
        ndarray of shape (k, d)
            The mean of all rows for a class whose rows all have weight 0.

        Raises
        ------
        ValueError
            If the labels are not one concept of classes.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> X = np.array([[1.0, 5.0], [3.0, 5.0], [7.0, 8.0]])
        >>> CrossMoments().update(X, z=[0, 0, 1]).means().tolist()
        [[2.0, 5.0], [7.0, 8.0]]
        """
        weights = self.class_weights()[:, None]
        apart = np.divide(self.cross, weights, out=np.zeros_like(self.cross), where=weights > 0)
        found: np.ndarray = self.mean + apart
        return found

    def within(self, trust: np.ndarray | None = None) -> Moments:
        """Moments of the rows about the means of their classes.

        Parameters
        ----------
        trust : ndarray of shape (k,), optional
            Share of the way from the mean of all rows to that of each class at which the rows of
            the class are centred; by default all of it.

        Returns
        -------
        Moments
            Of order 2: its covariance is that within classes.

        Raises
        ------
        ValueError
            If the labels are not one concept of classes, or the moments are of order 1.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> X = np.array([[1.0], [3.0], [11.0], [13.0]])
        >>> CrossMoments().update(X, z=[0, 0, 1, 1]).within().covariance(0).tolist()
        [[1.0]]
        """
        weights = self.class_weights()
        share = np.ones_like(weights) if trust is None else trust
        apart = self.means() - self.mean
        between = (apart * (weights * share * (2 - share))[:, None]).T @ apart
        total = self._second_order()
        new = Moments(unit="none", order=2, weight_type=self.weight_type)
        new._allocate(self.n_features)
        for name in ("n_rows", "total_weight", "total_weight2", "input_eps", "product_eps"):
            setattr(new, name, getattr(self, name))
        new.mean, new.scatter = self.mean, contiguous(total - between)
        # What is left of large differences between classes is known to their rounding only.
        eps = float(np.finfo(np.float64).eps)
        new.noise = max(self.noise, 4 * eps * float(np.trace(total)) / self.total_weight)
        return new

    # -- files -------------------------------------------------------------------------------

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The state as JSON-able numbers and as arrays: what a file or another process gets.

        Returns
        -------
        info : dict
        arrays : dict of ndarray

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import CrossMoments
        >>> info, arrays = CrossMoments().update(np.eye(2), z=["a", "b"]).pack()
        >>> info["concepts"], arrays["cross"].tolist()
        ([['z', ['a', 'b']]], [[0.5, -0.5], [-0.5, 0.5]])
        """
        now = self._twin(still=True)
        info, arrays = super(CrossMoments, now).pack()
        return {**info, "concepts": [[n, labels] for n, labels in now.concepts.items()]}, arrays

    def _prepare(self, info: dict[str, Any]) -> None:
        self.concepts = {str(name): labels for name, labels in info["concepts"]}


def _summed(
    rows: Rows,
    sample_weight: Any,
    n_rows: int,
    table: np.ndarray,
    *,
    empty: CrossMoments,
    concepts: Concepts,
    seen: int,
    first_row: int,
    device: Any,
) -> CrossMoments:
    """Moments of some rows, of a job of `n_rows` beside those `seen` before."""
    n = len(rows)
    weights = check_weights(sample_weight, n)
    seen += max(0, n_rows - n)
    whole = rows.array is not None and device is None
    total, start = empty.copy(), 0
    try:
        blocks = iter([rows.array]) if whole else prefetch(rows.blocks(rows_at_a_time(rows)))
        for block in blocks if device is None else sent(blocks, device):
            part = slice(start, start + len(block))
            total._absorb(
                empty._gathered(
                    block,
                    None if weights is None else weights[part],
                    np.asarray(table[part]),
                    concepts,
                    first_row + start,
                    seen + (0 if whole else n - len(block)),
                )
            )
            start += len(block)
        rows.check_unchanged()
    except BadRowError as error:
        raise error.at(rows.locate(error.row - first_row)) from None
    return total


def _columns(concepts: Concepts) -> list[tuple[str, Any]]:
    """What each column is of: a concept and its class, or None for numbers."""
    every = [(n, [None] if labels is None else labels) for n, labels in concepts.items()]
    return [(name, label) for name, labels in every for label in labels]


def _centred(block: Any, mean: np.ndarray, normalize: bool, buffer: np.ndarray) -> np.ndarray:
    """Rows in float64 about a mean."""
    rows = buffer[: len(block)]
    rows[...] = to_numpy(block)
    if normalize:
        rows[...] = unit_rows(rows)
    rows -= mean
    return rows
