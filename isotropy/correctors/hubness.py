"""Hubs, and a bias of each document against being one, kept in a dimension of the index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.correctors.base import Corrector
from isotropy.metrics._inputs import in_memory
from isotropy.rows.arrays import is_torch, raise_on_bad_row

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
    k : int, default=10
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
    >>> bias = HubnessBias(k=3).fit(queries)
    >>> scores = bias.transform_queries(queries) @ bias.transform(documents).T
    >>> scores.shape
    (50, 200)
    """

    def __init__(
        self, k: int = 10, *, alpha: float = 0.5, metric: Literal["cosine", "inner"] = "cosine"
    ) -> None:
        self.k = k
        self.alpha = alpha
        self.metric = metric

    def fit(self, X: Any, y: Any = None) -> Self:
        """Keep a bank of queries.

        Parameters
        ----------
        X : array of shape (m, d)
            Embeddings of queries such as will be asked, not of documents; thousands are plenty.
        y : ignored

        Raises
        ------
        ValueError
            If a parameter is out of range, or a row holds NaN or infinity.
        """
        if isinstance(self.k, bool) or self.k != int(self.k) or self.k < 1:
            raise ValueError(f"k must be an integer of at least 1, got {self.k!r}.")
        if not np.isfinite(self.alpha):
            raise ValueError(f"alpha must be a finite number, got {self.alpha!r}.")
        if self.metric not in ("cosine", "inner"):
            raise ValueError(f"metric must be 'cosine' or 'inner', got {self.metric!r}.")
        with self._whole_or_not_at_all():
            rows = self._rows(self._check_rows(X, reset=True))
            self.bank_ = rows.astype(np.float32)
            self.moments_ = None
        return self

    def _rows(self, X: Any) -> np.ndarray:
        rows = in_memory(X)
        if rows.dtype.kind != "f" or rows.dtype.itemsize < 4:
            rows = rows.astype(np.float32 if rows.dtype.kind == "f" else np.float64)
        raise_on_bad_row(rows, 0)
        if self.metric == "inner":
            return rows
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0, lengths, 1)

    def bias(self, X: Any) -> np.ndarray:
        """``b(d)`` of documents of shape (n, d): float64 of shape (n,)."""
        check_is_fitted(self)
        return self._bias(self._rows(self._check_rows(X, reset=False)))

    def _bias(self, rows: np.ndarray) -> np.ndarray:
        k = min(int(self.k), len(self.bank_))
        parts = [
            np.partition(scores, len(self.bank_) - k, axis=1)[:, -k:].mean(1, dtype=np.float64)
            for scores in _scores(rows.astype(np.float32), self.bank_)
        ]
        return self.alpha * np.concatenate([np.zeros(0), *parts])

    def transform(self, X: Any) -> Any:
        """Documents of shape (n, d) with their bias as a last dimension: (n, d + 1)."""
        check_is_fitted(self)
        rows = self._rows(self._check_rows(X, reset=False))
        return _like(X, np.column_stack([rows, -self._bias(rows)]).astype(rows.dtype, copy=False))

    def transform_queries(self, X: Any) -> Any:
        """Queries of shape (m, d) with a last dimension of ones: (m, d + 1)."""
        check_is_fitted(self)
        rows = self._rows(self._check_rows(X, reset=False))
        return _like(X, np.column_stack([rows, np.ones(len(rows))]).astype(rows.dtype, copy=False))

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ + 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it with its bank to a safetensors file; it appears whole or not at all."""
        self._save(path, moments=False)

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        shape = getattr(getattr(self, "bank_", None), "shape", None)
        if shape is None or len(shape) != 2 or shape[1] != self.n_features_in_:
            raise ValueError(f"{path}: its bank of queries has shape {shape}, which does not fit.")
        if not np.isfinite(self.bank_).all():
            raise ValueError(f"{path}: its bank holds NaN or infinity; the file was changed.")


def _like(X: Any, rows: np.ndarray) -> Any:
    """`rows` in the library, on the device and of the floating type of `X`."""
    if is_torch(X):
        import torch

        dtype = X.dtype if X.is_floating_point() else torch.float64
        return torch.from_numpy(rows).to(device=X.device, dtype=dtype)
    dtype = getattr(X, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind == "f":
        return rows.astype(np.dtype(dtype).newbyteorder("="), copy=False)
    return rows


def _scores(left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of the inner products of all rows on the left with all on the right."""
    step = max(1, _SCORES_AT_ONCE // max(len(right), 1))
    for start in range(0, len(left), step):
        yield left[start : start + step] @ right.T
