"""What the learned Gaussianizers share: whiten, hold rows out, learn, and never be worse."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isotropy.affine import AffineMap
from isotropy.correctors.base import Corrector, warn_user
from isotropy.correctors.whitening import Whitening
from isotropy.moments import Moments
from isotropy.rows.arrays import (
    as_type,
    at_least_float32,
    check_weights,
    in_kind_of,
    namespace,
    to_numpy,
)
from isotropy.rows.door import as_rows

__all__ = ["FallbackWarning", "Gaussianizer"]

LEAST_HELD_OUT = 10


class FallbackWarning(UserWarning):
    """What was learned is no better on held-out rows than the whitening, which is used instead.

    Examples
    --------
    >>> import warnings
    >>> from isotropy import FallbackWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", FallbackWarning)
    """


class Gaussianizer(Corrector):
    """Base of the correctors that whiten and then learn an invertible map to a standard Gaussian.

    A subclass stores `n_components`, `validation_fraction` and `random_state`, and gives

    - ``_learn(Z, weights, held, held_weights, seed, first)``, which learns from whitened rows,
      sets `history_` and `n_iter_`, and returns the held-out gain in nats per row,
    - ``_forward(Z)`` to (Y, log|det|) and ``_backward(Y)`` to Z, on numpy or torch rows,
    - ``_learned_state()`` and ``_restore_learned(path, info, arrays)`` for its files.

    Examples
    --------
    >>> from isotropy import FlowGaussianizer, RotationGaussianizer
    >>> [cls.__mro__[1].__name__ for cls in (FlowGaussianizer, RotationGaussianizer)]
    ['Gaussianizer', 'Gaussianizer']
    """

    n_components: int | float | None
    validation_fraction: float
    random_state: Any
    whitening_: AffineMap
    eigenvalues_: np.ndarray
    history_: list[dict[str, float]]
    falls_back_: bool
    _not_saved = Corrector._not_saved | {"whitening_", "history_"}

    def _learn(
        self,
        Z: np.ndarray,
        weights: np.ndarray,
        held: np.ndarray,
        held_weights: np.ndarray,
        seed: int,
        first: bool,
    ) -> float:
        raise NotImplementedError

    def _forward(self, Z: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def _backward(self, Y: Any) -> Any:
        raise NotImplementedError

    def _learned_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        raise NotImplementedError

    def _restore_learned(
        self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        raise NotImplementedError

    # -- fitting -----------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, queries: Any = None) -> Self:
        """Whiten, and learn the map from rows.

        Parameters
        ----------
        X : array of shape (n, d)
            numpy, torch, pandas, polars, a memory map, or `isotropy.io` rows; held in memory.
        y : ignored
        sample_weight : array of shape (n,), optional
            A row of weight w counts as w equal rows.
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, the weights or the queries do not fit, or a parameter is
            out of range.

        Warns
        -----
        FallbackWarning
            If the gain on held-out rows is not positive: the whitening is used.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
        >>> RotationGaussianizer(random_state=0).fit(X).falls_back_
        False
        """
        return super().fit(X, y, sample_weight, queries=queries)

    def _fit_rows(self, X: Any, sample_weight: Any) -> None:
        self._bring_in(X, sample_weight, first=True)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn on from more rows.

        The first call fixes the whitening, so it should bring many more rows than columns. Every
        call holds out rows of its own; `gain_` is that of the last call, and decides whether the
        whitening is used. The queries that `fit` was given stay.

        Parameters
        ----------
        X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
        y : ignored
        sample_weight : array of shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit` does; the corrector then stays as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(4000, 2))
        >>> rbig = RotationGaussianizer(random_state=0).fit(X[:2000])
        >>> rbig.partial_fit(X[2000:]).n_samples_seen_
        4000
        """
        with self._learning(anew=False) as new:
            if not hasattr(new, "whitening_"):
                new.fit(X, sample_weight=sample_weight)
            else:
                new._bring_in(X, sample_weight, first=False)
        return self

    def _bring_in(self, X: Any, sample_weight: Any, *, first: bool) -> None:
        self._check_parameters()
        X = self._check_rows(X, reset=first).in_memory()
        weights = check_weights(sample_weight, len(X))
        moments = Moments(unit="none", order=2) if first else self.moments_
        if moments is not None:
            moments = moments.copy().update(X, weights)
            if not moments.total_weight > 0:
                raise ValueError("Every weight is zero (0 samples count); one must not be.")
        if first and moments is not None:
            self._whiten(moments)
        self.moments_ = moments
        if moments is not None:
            self.n_samples_seen_ = moments.n_rows
        if len(X):
            self._learn_from(X, weights, first)

    def _move(self, mean: np.ndarray) -> None:
        self.whitening_ = self.whitening_.about(mean, of=self.mean_)

    def _check_parameters(self) -> None:
        fraction = self.validation_fraction
        if isinstance(fraction, str) or not 0 < fraction <= 0.5:
            raise ValueError(
                "validation_fraction must be above 0 and at most 0.5: the held-out rows decide "
                f"whether the learned map is used. Got {fraction!r}."
            )

    def _whiten(self, moments: Moments) -> None:
        whitening = Whitening(n_components=self.n_components).fit_moments(moments)
        self.whitening_ = whitening.affine_map_
        self.eigenvalues_ = whitening.eigenvalues_[: whitening.n_components_]
        self.rank_, self.mean_ = whitening.rank_, moments.mean
        self.n_features_in_ = moments.n_features

    def _learn_from(self, X: np.ndarray, weights: np.ndarray | None, first: bool) -> None:
        rows, weights = _distinct(X, weights)
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        order = random.permutation(len(rows))
        count = max(round(self.validation_fraction * len(rows)), LEAST_HELD_OUT)
        if first:
            self.history_, self.n_iter_, self.gain_ = [], 0, 0.0
            self._start()
        if len(rows) >= 2 * count and self.eigenvalues_.size:
            Z = self.whitening_.apply(at_least_float32(X[rows[order]]))
            weights = weights[order] / weights.mean()
            self.gain_ = float(
                self._learn(Z[count:], weights[count:], Z[:count], weights[:count], seed, first)
            )
        elif not first:
            return  # too few rows to judge by: what was learned before stands
        self.falls_back_ = not self.gain_ > 0
        if self.falls_back_:
            self._warn_fallback(len(rows), count)

    def _start(self) -> None:
        raise NotImplementedError

    def _warn_fallback(self, n: int, count: int) -> None:
        if n < 2 * count:
            why = f"of {n} distinct rows, {count} held out leave fewer than that to learn from"
        else:
            why = f"the gain over the Gaussian on {count} held-out rows is {self.gain_:.3g} nats"
        warn_user(
            f"{type(self).__name__} falls back to the whitening: {why}. More rows may help.",
            FallbackWarning,
        )

    # -- applying ----------------------------------------------------------------------------

    def _apply(self, X: Any) -> Any:
        return in_kind_of(X, self._through(X)[0])

    def _through(self, X: Any) -> tuple[Any, Any]:
        """Mapped rows in the working type, and log|det| of the map after the whitening."""
        Z = self.whitening_.apply(at_least_float32(X))
        if self.falls_back_ or not Z.shape[1] or not len(Z):
            return Z, Z[:, :0].sum(1)
        return self._forward(Z)

    def inverse_transform(self, X: Any) -> Any:
        """The rows that `transform` came from; directions dropped stay at the mean.

        Parameters
        ----------
        X : array of shape (n, k), numpy or torch
            Computed in float64.

        Returns
        -------
        array of shape (n, d)
            Of the floating type of `X`.

        Raises
        ------
        ValueError
            If `X` does not have k columns.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
        >>> rbig = RotationGaussianizer(random_state=0).fit(X)
        >>> bool(np.allclose(rbig.inverse_transform(rbig.transform(X)), X))
        True
        """
        now = self._as_it_is()
        check_is_fitted(now)
        return as_rows(X).map(now._back, now.n_features_in_)

    def _back(self, X: Any) -> Any:
        k = self.whitening_.n_features_out
        if X.shape[1] != k:
            raise ValueError(f"X must have shape (n, {k}), got {tuple(X.shape)}.")
        Y = as_type(X, np.float64)
        if not self.falls_back_ and k and len(Y):
            Y = self._backward(Y)
        return in_kind_of(X, self.whitening_.inverse().apply(Y))

    def score_samples(self, X: Any) -> Any:
        """Log density of each row in nats.

        It is the density of the rows as they came: the Jacobian of the whitening is included, so
        models compare. Where the rows span a subspace only, it is the density within that.

        Parameters
        ----------
        X : array of shape (n, d)

        Returns
        -------
        array of shape (n,), float64

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or the columns are not those of the fit.
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
        >>> rbig = RotationGaussianizer(random_state=0).fit(X)
        >>> near, far = rbig.score_samples([[1, 1], [20, 20]])
        >>> bool(near > far)
        True
        """
        now = self._as_it_is()
        check_is_fitted(now)
        rows = now._check_rows(X, reset=False)
        Y, volume = (as_type(part, np.float64) for part in now._through(rows.whole()))
        k = now.eigenvalues_.size
        constant = 0.5 * float(np.log(now.eigenvalues_).sum()) + 0.5 * k * np.log(2 * np.pi)
        return volume - 0.5 * namespace(Y).square(Y).sum(1) - constant

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log density of the rows in nats.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ignored
        sample_weight : array of shape (n,), optional

        Returns
        -------
        float

        Raises
        ------
        ValueError
            As `score_samples` does, or if the weights do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
        >>> rbig = RotationGaussianizer(random_state=0).fit(X)
        >>> bool(rbig.score(X) > rbig.score(-X))
        True
        """
        values = to_numpy(self.score_samples(X))
        return float(np.average(values, weights=check_weights(sample_weight, len(values))))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows from the learned density.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n_samples, d), float64

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If this corrector is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy import RotationGaussianizer
        >>> X = np.random.default_rng(0).exponential(size=(2000, 2))
        >>> RotationGaussianizer(random_state=0).fit(X).sample(5, random_state=0).shape
        (5, 2)
        """
        now = self._as_it_is()
        check_is_fitted(now)
        random = check_random_state(random_state)
        return now.inverse_transform(random.normal(size=(n_samples, now.eigenvalues_.size)))

    @property
    def _n_features_out(self) -> int:
        return self.whitening_.n_features_out

    # -- files -------------------------------------------------------------------------------

    def _map_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        info, arrays = self._learned_state()
        whitening = self.whitening_.arrays()
        return {"history": self.history_, "learned": info}, {
            **{f"whitening.{name}": array for name, array in whitening.items()},
            **{f"learned.{name}": array for name, array in arrays.items()},
        }

    def _restore_map(self, path: Any, info: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        groups: dict[str, dict[str, np.ndarray]] = {"whitening": {}, "learned": {}}
        for name, array in arrays.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = array
        self.whitening_ = AffineMap.from_arrays(path, groups["whitening"])
        found = self.whitening_.n_features_in, self.whitening_.n_features_out
        if found != (self.n_features_in_, self.eigenvalues_.size):
            raise ValueError(f"{path}: its whitening has shape {found}, which does not fit.")
        self.history_ = info["history"]
        self._restore_learned(path, info["learned"], groups["learned"])


def _distinct(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct row first occurs, in an order of their own, and its total weight.

    Equal rows must not lie on both sides of the split, and w equal rows must do what one row of
    weight w does.
    """
    weights = np.ones(len(X)) if weights is None else weights
    seen = np.flatnonzero(weights > 0)
    # + 0 turns -0.0 into 0.0, which has other bytes but is the same number.
    rows = np.ascontiguousarray(X[seen] + np.zeros((), X.dtype))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, member = np.unique(keys, return_index=True, return_inverse=True)
    return seen[first], np.bincount(member.ravel(), weights[seen])
