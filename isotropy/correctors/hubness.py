"""Hubs, and a bias of each document against being one, kept in a dimension of the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import unit_rows
from isotropy.correctors.base import Corrector
from isotropy.rows.arrays import in_kind_of, raise_on_bad_row, to_numpy
from isotropy.rows.door import as_rows

__all__ = ["HubnessBias"]

_SCORES_AT_ONCE = 2**23


class HubnessBias(Corrector):
    """Take from each document's score its mean similarity to the queries it is nearest to.

    A document that is near many queries, whatever they ask, is a hub. Its bias
    ``b(d) = alpha * mean of its k greatest similarities to a bank of queries`` is learned from the
    bank and stored as one more dimension: with ``[d, -b(d)]`` in the index and ``[q, 1]`` as the
    query, a plain inner product is ``q . d - b(d)``. Any inner-product index serves.

    Parameters
    ----------
    n_neighbors : int, default=10
        Queries of the bank that count for a document.
    alpha : float, default=0.5
        Strength. With cosines 0.5 ranks as CSLS does for a given query (whose term for the query
        ranks nothing); 0 changes nothing. Choose it on queries of your own.
    metric : {"cosine", "inner"}, default="cosine"
        "cosine" scales documents and queries to length one; "inner" takes them as they are.

    Attributes
    ----------
    bank_ : ndarray of shape (m, d), float32
        The queries; a document that comes later gets its bias from them too.
    side_ : {"documents", "queries"}
        What `transform` takes; "queries" for a corrector that `for_queries` made.
    n_features_in_ : int

    Notes
    -----
    O(n m d) for n documents, in blocks. Scores are no cosines any more: order by them. An index
    that must see unit rows (graphs built for cosines) loses its assumption by the added dimension.

    References
    ----------
    Conneau et al. 2018, "Word translation without parallel data", equation 3 (CSLS); Chowdhury et
    al. 2024, "Nearest neighbor normalization improves multimodal retrieval".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.search import HubnessBias
    >>> rng = np.random.default_rng(0)
    >>> queries, documents = rng.normal(size=(50, 8)), rng.normal(size=(200, 8))
    >>> bias = HubnessBias(3).fit(documents, queries=queries)
    >>> scores = bias.transform_queries(queries) @ bias.transform(documents).T
    >>> scores.shape
    (50, 200)
    """

    _removes_mean = False

    def __init__(
        self,
        n_neighbors: int = 10,
        *,
        alpha: float = 0.5,
        metric: Literal["cosine", "inner"] = "cosine",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.metric = metric

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, queries: Any = None) -> Self:
        """Keep a bank of queries.

        Parameters
        ----------
        X : array of shape (n, d)
            Embeddings of documents. What is learned depends on the queries alone; these tell the
            width and the names of the columns.
        y : ignored
        sample_weight : None
            Documents have no weights here.
        queries : array of shape (m, d)
            Embeddings of queries such as will be asked; thousands are plenty.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no queries, or weights, a parameter is out of range, or a row holds NaN or
            infinity, or a query numbers beyond float32.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import HubnessBias
        >>> HubnessBias(1).fit(np.eye(3), queries=np.eye(3)).bank_.shape
        (3, 3)
        """
        self._check_parameters()
        if sample_weight is not None:
            raise ValueError("HubnessBias learns from queries alone; it takes no sample_weight.")
        with self._new_fit(queries) as new:
            new._rows(new._check_rows(X, reset=True))
            if queries is None:
                raise ValueError(
                    "queries is missing: HubnessBias learns from the queries that documents meet. "
                    "Give embeddings of some: fit(documents, queries=Q)."
                )
            new.bank_ = _in_float32(new._rows(new._check_rows(queries, reset=False)))
            new.side_, new.moments_ = "documents", None
        return self

    def _check_parameters(self) -> None:
        k = self.n_neighbors
        if isinstance(k, bool | str) or k != int(k) or k < 1:
            raise ValueError(f"n_neighbors must be an integer of at least 1, got {k!r}.")
        if isinstance(self.alpha, str) or not np.isfinite(self.alpha):
            raise ValueError(f"alpha must be a finite number, got {self.alpha!r}.")
        if self.metric not in ("cosine", "inner"):
            raise ValueError(f"metric must be 'cosine' or 'inner', got {self.metric!r}.")

    def _rows(self, X: Any) -> np.ndarray:
        rows = as_rows(X).in_memory()
        if rows.dtype.kind != "f" or rows.dtype.itemsize < 4:
            rows = rows.astype(np.float32 if rows.dtype.kind == "f" else np.float64)
        raise_on_bad_row(rows, 0)
        return rows if self.metric == "inner" else unit_rows(rows)

    def for_queries(self, Q: Any = None) -> Self:
        """The corrector of queries: its `transform` appends ones.

        Parameters
        ----------
        Q : array of shape (q, d), optional
            Only checked: every query is treated alike.

        Returns
        -------
        HubnessBias

        Raises
        ------
        ValueError
            If `Q` holds no rows, NaN or infinity, or rows of another width.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import HubnessBias
        >>> bias = HubnessBias(1).fit(np.eye(2), queries=np.eye(2))
        >>> bias.for_queries().transform(np.eye(2)).tolist()
        [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
        """
        twin = super().for_queries(Q)
        twin.side_ = "queries"
        return twin

    def bias(self, X: Any) -> np.ndarray:
        """``b(d)`` of documents.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        ndarray of shape (n,), float64
            `alpha` times the mean of the greatest similarities to the bank.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or the columns are not those of the fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import HubnessBias
        >>> HubnessBias(1, alpha=0.5).fit(np.eye(2), queries=np.eye(2)).bias(np.eye(2)).tolist()
        [0.5, 0.5]
        """
        now = self._as_it_is()
        check_is_fitted(now)
        return now._bias(now._rows(now._check_rows(X, reset=False)))

    def _bias(self, rows: np.ndarray) -> np.ndarray:
        k = min(int(self.n_neighbors), len(self.bank_))
        # Over powers of two, so that no product leaves float32.
        rows, exponents = _over_power_of_two(rows, axis=1)
        bank, exponent = _over_power_of_two(self.bank_, axis=None)
        parts = [
            np.partition(scores, len(bank) - k, axis=1)[:, -k:].mean(1, dtype=np.float64)
            for scores in _scores(rows, bank)
        ]
        nearest = np.concatenate([np.zeros(0), *parts])
        with np.errstate(over="ignore"):
            biases: np.ndarray = np.ldexp(nearest, exponents.ravel() + exponent.item()) * self.alpha
        return biases

    def _apply(self, X: Any) -> Any:
        rows = self._rows(X)
        last = np.ones(len(rows)) if self.side_ == "queries" else -self._bias(rows)
        with np.errstate(over="ignore"):
            found = in_kind_of(X, np.column_stack([rows, last]).astype(rows.dtype, copy=False))
        if np.isfinite(to_numpy(found[:, -1])).all():
            return found
        raise ValueError(
            f"The bias of a document is {np.abs(last).max():.3g}, more than {found.dtype} holds. "
            "Divide documents and queries by a number, which changes no ranking, or take "
            "metric='cosine'."
        )

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ + 1

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        shape = getattr(getattr(self, "bank_", None), "shape", None)
        if shape is None or len(shape) != 2 or shape[1] != self.n_features_in_:
            raise ValueError(f"{path}: its bank of queries has shape {shape}, which does not fit.")
        if not np.isfinite(self.bank_).all():
            raise ValueError(f"{path}: its bank holds NaN or infinity; the file was changed.")


def _in_float32(bank: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = bank.astype(np.float32)
    if np.isfinite(found).all():
        return found
    raise ValueError(
        f"A query holds {np.abs(bank).max():.3g}, more than float32 holds, in which the bank is "
        "kept. Divide documents and queries by a number, which changes no ranking, or take "
        "metric='cosine'."
    )


def _over_power_of_two(rows: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows in float32 of at most 1, and the exponents they are over, one a row or one for all."""
    exponents = np.frexp(np.abs(rows).max(axis=axis, initial=0, keepdims=True))[1]
    return np.ldexp(rows, -exponents).astype(np.float32, copy=False), exponents


def _scores(left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of the inner products of all rows on the left with all on the right."""
    step = max(1, _SCORES_AT_ONCE // max(len(right), 1))
    for start in range(0, len(left), step):
        yield left[start : start + step] @ right.T
