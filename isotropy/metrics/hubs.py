"""Hubness and intrinsic dimension, from exact nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isotropy.metrics.neighbors import Measure, Neighbors, nearest_neighbors, numeric_rows

__all__ = [
    "Hubness",
    "anti_hub_rate",
    "gini",
    "hub_share",
    "hubness",
    "intrinsic_dimension",
    "k_occurrence",
    "k_skewness",
    "local_intrinsic_dimension",
    "robin_hood",
]


def k_occurrence(
    X: Any,
    queries: Any = None,
    n_neighbors: int = 10,
    *,
    measure: Measure = "cosine",
    neighbors: Neighbors | np.ndarray | None = None,
) -> np.ndarray:
    """How often each row is among the nearest of a query, N_k with k = `n_neighbors`.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves, none of which is its own neighbour. What a search meets is
        the hubness of its documents under its queries, and may differ much.
    n_neighbors : int, default=10
        At most n; with more, n.
    measure : {"cosine", "dot", "euclidean"}, default="cosine"
        What makes rows near: their cosine, dot product or distance.
    neighbors : Neighbors or integer array of shape (m, at least n_neighbors), optional
        Indices of the nearest rows of each query, found before, for example by an approximate
        index; -1 for none. `X` then only says how many rows there are, and `queries` nothing.

    Returns
    -------
    ndarray of int, shape (n,)
        Sums to ``m n_neighbors``.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    References
    ----------
    Radovanovic et al. 2010, "Hubs in space".

    Examples
    --------
    >>> from isotropy.metrics import k_occurrence
    >>> k_occurrence([[1.0], [2.0], [4.0], [8.0]], n_neighbors=1, measure="euclidean").tolist()
    [1, 2, 1, 0]
    """
    if neighbors is not None:
        found = _listed(neighbors, n_neighbors)
        n = int(X) if isinstance(X, (int, np.integer)) else len(X)
        if found.max(initial=-1) >= n:
            raise ValueError(f"neighbors name row {found.max()}, and X has {n} rows.")
        return np.bincount(found[found >= 0], minlength=n)
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    most = n - (queries is None)
    found = nearest_neighbors(
        X, min(_at_least(1, n_neighbors), most), queries=queries, measure=measure
    ).indices
    return np.bincount(found.ravel(), minlength=n)


def _at_least(least: int, n_neighbors: Any) -> int:
    if isinstance(n_neighbors, bool) or n_neighbors != int(n_neighbors) or n_neighbors < least:
        raise ValueError(
            f"n_neighbors must be an integer of at least {least}, got {n_neighbors!r}."
        )
    return int(n_neighbors)


def _listed(neighbors: Any, n_neighbors: int) -> np.ndarray:
    found = np.asarray(neighbors.indices if isinstance(neighbors, Neighbors) else neighbors)
    if found.ndim != 2 or found.dtype.kind not in "iu" or found.shape[1] < n_neighbors:
        raise ValueError(
            f"neighbors must be indices of shape (queries, at least n_neighbors={n_neighbors}), "
            f"got {found.dtype} of shape {found.shape}."
        )
    return found[:, :n_neighbors]


# -- of the counts -------------------------------------------------------------------------------


def _skewness(counts: np.ndarray) -> float:
    apart = counts - counts.mean()
    spread = float(np.sqrt(np.square(apart).mean()))
    return float((apart**3).mean() / spread**3) if spread > 0 else float("nan")


def _robin_hood(counts: np.ndarray) -> float:
    total = counts.sum()
    return float(np.abs(counts - counts.mean()).sum() / (2 * total)) if total else float("nan")


def _gini(counts: np.ndarray) -> float:
    n, total = len(counts), counts.sum()
    if not total:
        return float("nan")
    ranks = np.arange(1, n + 1)
    return float((2 * ranks - n - 1) @ np.sort(counts) / (n * total))


def _hub_share(counts: np.ndarray) -> float:
    total = counts.sum()
    return float(counts[counts >= 2 * counts.mean()].sum() / total) if total else float("nan")


def k_skewness(X: Any, queries: Any = None, n_neighbors: int = 10, **options: Any) -> float:
    """Skewness of `k_occurrence`: 0 without hubs, large with a few that most queries find.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    **options
        `measure` and `neighbors`, as for `k_occurrence`.

    Returns
    -------
    float
        About ``1 / sqrt(k)`` for neighbours drawn at random; grows with the intrinsic dimension
        and with n. NaN where all rows occur equally often.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    References
    ----------
    Radovanovic et al. 2010, "Hubs in space", section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import k_skewness
    >>> X = np.random.default_rng(0).normal(size=(300, 50))
    >>> round(k_skewness(X), 2), round(k_skewness(X, measure="euclidean"), 2)
    (0.3, 3.52)
    """
    return _skewness(k_occurrence(X, queries, n_neighbors, **options))


def robin_hood(X: Any, queries: Any = None, n_neighbors: int = 10, **options: Any) -> float:
    """Robin Hood index of `k_occurrence`: the share to be moved for all rows to occur alike.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    **options
        `measure` and `neighbors`, as for `k_occurrence`.

    Returns
    -------
    float
        ``sum |N_k - mean| / (2 sum N_k)``, from 0, the ideal, to below 1.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    References
    ----------
    Feldbauer et al. 2018, "Fast approximate hubness reduction for large high-dimensional data".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import robin_hood
    >>> X = np.random.default_rng(0).normal(size=(300, 50))
    >>> round(robin_hood(X), 2), round(robin_hood(X, measure="euclidean"), 2)
    (0.12, 0.44)
    """
    return _robin_hood(k_occurrence(X, queries, n_neighbors, **options))


def gini(X: Any, queries: Any = None, n_neighbors: int = 10, **options: Any) -> float:
    """Gini coefficient of `k_occurrence`, in O(n log n).

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    **options
        `measure` and `neighbors`, as for `k_occurrence`.

    Returns
    -------
    float
        From 0, the ideal, to below 1.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import gini
    >>> X = np.random.default_rng(0).normal(size=(300, 50))
    >>> round(gini(X), 2), round(gini(X, measure="euclidean"), 2)
    (0.17, 0.59)
    """
    return _gini(k_occurrence(X, queries, n_neighbors, **options))


def anti_hub_rate(X: Any, queries: Any = None, n_neighbors: int = 10, **options: Any) -> float:
    """Share of rows that no query finds among its k nearest.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    **options
        `measure` and `neighbors`, as for `k_occurrence`.

    Returns
    -------
    float
        From 0, the ideal, to below 1.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    References
    ----------
    Radovanovic et al. 2010, "Hubs in space"; Feldbauer et al. 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import anti_hub_rate
    >>> X = np.random.default_rng(0).normal(size=(300, 50))
    >>> round(anti_hub_rate(X), 2), round(anti_hub_rate(X, measure="euclidean"), 2)
    (0.0, 0.08)
    """
    return float((k_occurrence(X, queries, n_neighbors, **options) == 0).mean())


def hub_share(X: Any, queries: Any = None, n_neighbors: int = 10, **options: Any) -> float:
    """Share of all places among neighbours that hubs take: rows that occur twice the mean or more.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    **options
        `measure` and `neighbors`, as for `k_occurrence`.

    Returns
    -------
    float
        From 0, the ideal, to 1.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    References
    ----------
    Flexer & Schnitzer 2015, "Choosing lp norms in high-dimensional spaces based on hub analysis".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import hub_share
    >>> X = np.random.default_rng(0).normal(size=(300, 50))
    >>> round(hub_share(X), 2), round(hub_share(X, measure="euclidean"), 2)
    (0.01, 0.51)
    """
    return _hub_share(k_occurrence(X, queries, n_neighbors, **options))


@dataclass(frozen=True)
class Hubness:
    """All measures of hubness of one list of neighbours.

    Parameters
    ----------
    n_neighbors : int
        Length of each query's list of neighbours.
    n, n_queries : int
        How many documents, and queries.
    k_skewness, robin_hood, gini, anti_hub_rate, hub_share : float
        As the functions of these names.
    counts : ndarray of int, shape (n,)
        The k-occurrence of each row.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import hubness
    >>> found = hubness(np.random.default_rng(0).normal(size=(100, 20)), n_neighbors=5)
    >>> found.n, found.n_neighbors, int(found.counts.sum())
    (100, 5, 500)
    """

    n_neighbors: int
    n: int
    n_queries: int
    k_skewness: float
    robin_hood: float
    gini: float
    anti_hub_rate: float
    hub_share: float
    counts: np.ndarray

    def hubs(self, most: int = 10) -> np.ndarray:
        """Indices of the rows found most often.

        Parameters
        ----------
        most : int, default=10
            How many, at most.

        Returns
        -------
        ndarray of int
            The row found most often first; rows that no query finds are left out.

        Examples
        --------
        >>> from isotropy.metrics import hubness
        >>> found = hubness([[1.0], [2.0], [4.0], [8.0]], n_neighbors=1, measure="euclidean")
        >>> found.hubs(2).tolist()
        [1, 0]
        """
        order = np.argsort(-self.counts, kind="stable")[:most]
        return order[self.counts[order] > 0]

    def __str__(self) -> str:
        return (
            f"{self.n:,} rows, {self.n_queries:,} queries, {self.n_neighbors} neighbours: skewness "
            f"{self.k_skewness:.2f}, Robin Hood {self.robin_hood:.2f}, Gini {self.gini:.2f}; "
            f"{100 * self.anti_hub_rate:.1f} % of rows are never found, hubs take "
            f"{100 * self.hub_share:.1f} % of the places, the largest {self.counts.max():,}."
        )


def hubness(
    X: Any,
    queries: Any = None,
    n_neighbors: int = 10,
    *,
    measure: Measure = "cosine",
    neighbors: Neighbors | np.ndarray | None = None,
) -> Hubness:
    """Every measure of hubness from one search for neighbours.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        The documents.
    queries : array of shape (m, d), optional
        By default the rows themselves.
    n_neighbors : int, default=10
        Length of each query's list of neighbours.
    measure : {"cosine", "dot", "euclidean"}, default="cosine"
        What makes rows near: their cosine, dot product or distance.
    neighbors : Neighbors or integer array of shape (m, at least n_neighbors), optional
        Indices found before, as for `k_occurrence`.

    Returns
    -------
    Hubness
        The counts and all measures of them.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1, `measure` is unknown, a value is not finite, or the columns of
        `queries`, or `neighbors`, do not fit the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import hubness
    >>> found = hubness(np.random.default_rng(0).normal(size=(500, 100)), measure="euclidean")
    >>> found.k_skewness > 2, found.anti_hub_rate > 0.1
    (True, True)
    """
    counts = k_occurrence(X, queries, n_neighbors, measure=measure, neighbors=neighbors)
    if neighbors is not None:
        asked = len(_listed(neighbors, n_neighbors))
    else:
        asked = len(counts) if queries is None else int(queries.shape[0])
    return Hubness(
        n_neighbors,
        len(counts),
        asked,
        _skewness(counts),
        _robin_hood(counts),
        _gini(counts),
        float((counts == 0).mean()),
        _hub_share(counts),
        counts,
    )


# -- intrinsic dimension -------------------------------------------------------------------------


def _distinct(X: Any) -> np.ndarray:
    """The rows, equal ones once: a distance of 0 has no logarithm."""
    return np.unique(numeric_rows(X, "X"), axis=0)


def intrinsic_dimension(X: Any, *, discard: float = 0.1) -> float:
    r"""TwoNN: intrinsic dimension from the ratio of the second to the first neighbour's distance.

    The slope through the origin of ``-log(1 - F(mu))`` on ``log mu``, with F the empirical
    distribution of the ratios mu.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Equal rows count once.
    discard : float in [0, 1), default=0.1
        Share of the largest ratios that is left out, as in the paper.

    Returns
    -------
    float
        About the dimension of the manifold that rows lie on; too low for high ones at any n at
        hand (about 45 for 100 Gaussian dimensions and 10,000 rows). NaN for fewer than three rows.

    Raises
    ------
    ValueError
        If `discard` is not from 0 to below 1, or a value is not finite.

    Notes
    -----
    Exact neighbours by distance: O(n^2 d).

    References
    ----------
    Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import intrinsic_dimension
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 10))
    >>> round(intrinsic_dimension(X))
    2
    """
    if not 0 <= discard < 1:
        raise ValueError(f"discard must be from 0 to below 1, got {discard!r}.")
    X = _distinct(X)
    if len(X) < 3:
        return float("nan")
    distances = nearest_neighbors(X, 2, measure="euclidean").values
    ratios = np.sort(distances[:, 1] / distances[:, 0])
    n, kept = len(ratios), max(1, int(len(ratios) * (1 - discard)))
    x, y = np.log(ratios[:kept]), -np.log1p(-np.arange(1, kept + 1) / (n + 1))
    return float(x @ y / (x @ x)) if x.any() else float("inf")


def local_intrinsic_dimension(X: Any, n_neighbors: int = 20) -> np.ndarray:
    r"""Local intrinsic dimension of each row, by maximum likelihood.

    ``-1 / mean_j log(r_j / r_k)`` over the distances r_1 to r_{k-1} to its nearest rows.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Equal rows count once among the neighbours, and get the same value.
    n_neighbors : int, default=20
        The k of the formula.

    Returns
    -------
    ndarray of shape (n,)
        Infinite where all k distances are equal. The harmonic mean is the usual summary.

    Raises
    ------
    ValueError
        Where there are not `n_neighbors` other distinct rows, or it is below 2.

    References
    ----------
    Levina & Bickel 2004, "Maximum likelihood estimation of intrinsic dimension"; Amsaleg et al.
    2015; MacKay & Ghahramani 2005 on the harmonic mean.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import local_intrinsic_dimension
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2)) @ rng.normal(size=(2, 10))
    >>> local = local_intrinsic_dimension(X)
    >>> round(1 / np.mean(1 / local), 0).item()
    2.0
    """
    k = _at_least(2, n_neighbors)
    X, back = np.unique(numeric_rows(X, "X"), axis=0, return_inverse=True)
    distances = nearest_neighbors(X, k, measure="euclidean").values
    logs = np.log(distances[:, :-1] / distances[:, -1:]).mean(1)
    with np.errstate(divide="ignore"):
        return np.asarray((-1 / logs)[back.ravel()] + 0.0)
