"""Anisotropy inside clusters: each is centred and loses its own leading directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isotropy.correctors.base import Corrector
from isotropy.moments import Moments
from isotropy.rows.arrays import check_weights, in_kind_of, raise_on_bad_row
from isotropy.rows.door import as_rows

__all__ = ["ClusterRemoval"]

_BLOCK = 4096


class ClusterRemoval(Corrector):
    """Remove from each row the mean and the leading directions of its cluster.

    Contextual vectors are often isotropic inside clusters and anisotropic between them; a single
    mean and a single set of directions then miss most of it. New rows go by the nearest centre.

    Parameters
    ----------
    n_clusters : int, default=10
        Of k-means; fewer where there are not as many different rows.
    n_components : int, default=3
        Leading principal directions that each cluster loses, at most those it has.
    keep_centers : bool, default=False
        Put the centre back, so that clusters stay apart. The paper does not, and gives up what
        distinguishes them.
    random_state : int, RandomState or None, default=0
        Of k-means.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
        Mean of the rows.
    shift_ : ndarray of shape (d,)
        What is added to rows first: zero, but for a corrector that `for_queries` made.
    centers_ : ndarray of shape (k, d)
    directions_ : ndarray of shape (k, d, n_components)
        Orthonormal in each cluster; zero beyond those it has.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the rows came with names

    Notes
    -----
    Not affine, so it is neither exported nor folded into an encoder's native modules. O(n k d) for
    k-means and for each transform, O(n d^2 + k d^3) for the directions. Two rows on either side of
    a border between clusters move apart.

    References
    ----------
    Rajaee & Pilehvar 2021, "A cluster-based approach for improving isotropy in contextual embedding
    space".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import ClusterRemoval
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 8)) + 6 * rng.normal(size=(3, 8))[rng.integers(3, size=300)]
    >>> Y = ClusterRemoval(3, 1).fit_transform(X)
    >>> bool(abs(Y.mean(0)).max() < 1e-12)
    True
    """

    def __init__(
        self,
        n_clusters: int = 10,
        n_components: int = 3,
        *,
        keep_centers: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.keep_centers = keep_centers
        self.random_state = random_state

    def _fit_rows(self, X: Any, sample_weight: Any) -> None:
        for name, least in (("n_clusters", 1), ("n_components", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or value != int(value) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}.")
        rows = self._numbers(self._check_rows(X, reset=True))
        weights = check_weights(sample_weight, len(rows))
        if weights is not None and not weights.any():
            raise ValueError("Every weight is zero (0 samples count); at least 1 must not be.")
        # Equal rows as one row of their weight: k-means then draws the same either way.
        rows, back = np.unique(rows, axis=0, return_inverse=True)
        weights = np.bincount(back.ravel(), weights, minlength=len(rows)).astype(np.float64)
        self._learn(rows[weights > 0], weights[weights > 0])

    def _learn(self, rows: np.ndarray, weights: np.ndarray) -> None:
        k, d = min(int(self.n_clusters), len(rows)), rows.shape[1]
        m = min(int(self.n_components), d)
        # About the mean: k-means loses the digits of rows far from 0.
        mean = np.average(rows, axis=0, weights=weights)
        from sklearn.cluster import KMeans  # brings most of scikit-learn, half a second

        found = KMeans(k, n_init=1, random_state=self.random_state)
        labels = found.fit_predict(rows - mean, sample_weight=weights)
        self.mean_, self.shift_, self.moments_ = mean, np.zeros(d), None
        self.centers_, self.directions_ = np.zeros((k, d)), np.zeros((k, d, m))
        for cluster in range(k):
            mine = labels == cluster
            if not mine.any():
                self.centers_[cluster] = mean + found.cluster_centers_[cluster]
                continue
            moments = Moments.from_rows(rows[mine], weights[mine], unit="none", order=2)
            self.centers_[cluster] = moments.mean
            live = min(m, moments.rank())
            self.directions_[cluster, :, :live] = moments.spectrum(0)[1][:, :live]

    def _move(self, mean: np.ndarray) -> None:
        self.shift_ = self.shift_ + (self.mean_ - mean)

    def _numbers(self, X: Any) -> np.ndarray:
        rows = as_rows(X).in_memory().astype(np.float64, copy=False)
        raise_on_bad_row(rows, 0)
        return rows

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        ndarray of int, shape (n,)
            Numbers of rows of `centers_`.

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or the columns are not those of the fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import ClusterRemoval
        >>> X = np.array([[0.0], [1.0], [100.0], [101.0]])
        >>> labels = ClusterRemoval(2, 0).fit(X).predict(X)
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
        """
        now = self._as_it_is()
        check_is_fitted(now)
        return now._nearest(now._numbers(now._check_rows(X, reset=False)) + now.shift_)

    def _nearest(self, rows: np.ndarray) -> np.ndarray:
        middle = self.centers_.mean(0)
        centres = self.centers_ - middle
        halves = np.square(centres).sum(1) / 2
        parts = [
            ((rows[start : start + _BLOCK] - middle) @ centres.T - halves).argmax(1)
            for start in range(0, len(rows), _BLOCK)
        ]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def _apply(self, X: Any) -> Any:
        rows = self._numbers(X) + self.shift_
        labels, out = self._nearest(rows), np.empty_like(rows)
        for cluster in np.unique(labels):
            mine = labels == cluster
            apart, V = rows[mine] - self.centers_[cluster], self.directions_[cluster]
            apart = apart - (apart @ V) @ V.T
            out[mine] = apart + self.centers_[cluster] * self.keep_centers
        return in_kind_of(X, out)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        centres, directions = self.centers_, self.directions_
        k, d = centres.shape if centres.ndim == 2 else (-1, -1)
        fits = (
            d == self.n_features_in_ == self.shift_.size
            and directions.ndim == 3
            and directions.shape[:2] == (k, d)
        )
        if not fits or not (np.isfinite(centres).all() and np.isfinite(directions).all()):
            raise ValueError(f"{path}: its centres and directions do not fit one another.")
