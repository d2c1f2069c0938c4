"""Correctors that learn from pairs of rows: which directions, and how much of them, to keep."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy.optimize import minimize

from isotropy.affine import AffineMap, Normalize, check_normalize, unit_rows
from isotropy.correctors._shrinkage import ledoit_wolf_shrinkage
from isotropy.correctors.base import AffineCorrector
from isotropy.moments import Moments
from isotropy.rows.source import Rows

__all__ = ["PairWhitening", "WeightedRemoval", "check_pairs"]


def check_pairs(
    pairs: Any, scores: Any, n: int, *, need_scores: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pairs of row numbers and their scores, checked.

    Parameters
    ----------
    pairs : int array of shape (m, 2)
    scores : array of shape (m,), optional
    n : int
        How many rows there are.
    need_scores : bool
        Whether there must be scores, which differ.

    Returns
    -------
    pairs : ndarray of shape (m, 2)
    scores : ndarray of shape (m,), float64, or None

    Raises
    ------
    ValueError
        If they are missing, of another shape or type, or out of range; the message says what.

    Examples
    --------
    >>> check_pairs([[0, 1]], [0.5], 2, need_scores=False)[1].tolist()
    [0.5]
    """
    if pairs is None:
        raise ValueError("pairs is missing: an array of shape (m, 2) of row numbers of X.")
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"pairs must be integers of shape (m, 2), got {pairs.dtype} of shape {pairs.shape}."
        )
    if not len(pairs):
        raise ValueError("pairs holds no pair (0 samples); at least 1 is required.")
    if pairs.min() < 0 or pairs.max() >= n:
        wrong = pairs.min() if pairs.min() < 0 else pairs.max()
        raise ValueError(f"pairs must be row numbers from 0 to {n - 1}, got {wrong}.")
    if scores is None:
        if need_scores:
            raise ValueError("pair_scores is missing: one number a pair, larger for more alike.")
        return pairs.astype(np.intp), None
    scores = np.asarray(scores, np.float64)
    if scores.shape != (len(pairs),):
        raise ValueError(
            f"pair_scores must be {len(pairs)} finite numbers, one a pair, got shape "
            f"{scores.shape}."
        )
    for k in np.flatnonzero(~np.isfinite(scores))[:1]:
        raise ValueError(f"pair_scores[{k}] is {scores[k]}; scores must be finite numbers.")
    if need_scores and np.ptp(scores) == 0:
        raise ValueError("pair_scores are all the same: nothing to learn from.")
    return pairs.astype(np.intp), scores


class _PairCorrector(AffineCorrector):
    """An affine corrector whose `fit` takes pairs, which metadata routing can bring."""

    _removes_mean = True
    _moments_suffice = False

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        pairs: Any = None,
        pair_scores: Any = None,
        queries: Any = None,
    ) -> Self:
        """Learn the map from rows, and from pairs of them.

        Parameters
        ----------
        X : array of shape (n, d)
        y : ignored
        sample_weight : array of shape (n,), optional
        pairs : int array of shape (m, 2)
            Row numbers of `X`.
        pair_scores : array of shape (m,)
            How alike the two rows of a pair are, on any scale.
        queries : array of shape (q, d) or Moments, optional
            As in every corrector: see `transform_queries`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a row holds NaN or infinity, or the pairs, scores or queries do not fit.
        """
        check_normalize(self.normalize)
        with self._new_fit(queries) as new:
            rows = new._check_rows(X, reset=True)
            moments = new._new_moments().update(rows, sample_weight)
            if not moments.total_weight > 0:
                raise ValueError("Every weight is zero (0 samples count); at least 1 must not be.")
            new._learn(rows, moments, pairs, pair_scores)
            new._finish(moments)
        return self

    def _taken(self, rows: Rows, numbers: np.ndarray) -> np.ndarray:
        taken = rows.take(numbers).astype(np.float64)
        return unit_rows(taken) if self.normalize in ("before", "both") else taken

    def _learn(self, rows: Rows, moments: Moments, pairs: Any, scores: Any) -> None:
        raise NotImplementedError


class WeightedRemoval(_PairCorrector):
    """Remove as much of each leading direction as similarity scores of pairs ask for.

    ``y = x~ - sum_i w_i (u_i . x~) u_i`` with weights from 0 to 1 such that cosines of the pairs
    correlate best with their scores.

    Parameters
    ----------
    n_components : int, default=20
        Of how many leading directions the weights are learned; at most d.
    penalty : float, default=0.1
        Weight of the mean square of w, which keeps directions that the pairs say nothing about.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    weights_ : ndarray of shape (D,)
    components_ : ndarray of shape (D, d)
    correlation_ : float
        Pearson's, of cosines and scores of the pairs it learned from.

    Notes
    -----
    Liang, Cao, Zheng, Ren & Gao 2021, Learning to Remove (arXiv 2104.05274): weights on the leading
    directions of all-but-the-top, learned on word similarity. The paper's way of keeping weights in
    bounds is not known to us; here they are bounded, and L-BFGS maximizes Pearson's correlation
    less the penalty. Costs n d^2 + O(d^3) + m d D, and m D a step.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import WeightedRemoval
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 8)) * [9, 1, 1, 1, 1, 1, 1, 1]
    >>> pairs, meaning = rng.integers(0, 200, (300, 2)), X[:, 1:]
    >>> scores = (meaning[pairs[:, 0]] * meaning[pairs[:, 1]]).sum(1)
    >>> removal = WeightedRemoval(2, penalty=0.01).fit(X, pairs=pairs, pair_scores=scores)
    >>> bool(removal.weights_[0] > 0.5)
    True
    """

    _keeps_axes: ClassVar[bool] = True

    def __init__(
        self, n_components: int = 20, *, penalty: float = 0.1, normalize: Normalize = "none"
    ) -> None:
        self.n_components = n_components
        self.penalty = penalty
        self.normalize = normalize

    def _learn(self, rows: Rows, moments: Moments, pairs: Any, scores: Any) -> None:
        wanted = self.n_components
        if isinstance(wanted, bool | str) or wanted != int(wanted) or wanted < 1:
            raise ValueError(f"n_components must be an integer of at least 1, got {wanted!r}.")
        if isinstance(self.penalty, bool | str) or not self.penalty >= 0:
            raise ValueError(f"penalty must be a number of at least 0, got {self.penalty!r}.")
        numbers, labels = check_pairs(pairs, scores, len(rows), need_scores=True)
        assert labels is not None
        directions = moments.spectrum(0)[1][:, : int(wanted)]
        left, right = (self._taken(rows, numbers[:, side]) - moments.mean for side in (0, 1))
        a, b = left @ directions, right @ directions
        # What the directions leave of the three products that make a cosine.
        rest = [
            np.einsum("ij,ij->i", x, y) - (p * q).sum(1)
            for x, y, p, q in ((left, right, a, b), (left, left, a, a), (right, right, b, b))
        ]
        target = (labels - labels.mean()) / np.linalg.norm(labels - labels.mean())
        products = a * b, a * a, b * b

        def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
            kept = (1 - w) ** 2
            dot, aa, bb = (r + p @ kept for r, p in zip(rest, products, strict=True))
            scale = np.sqrt(np.maximum(aa * bb, 1e-300))
            cosines = dot / scale
            centred = cosines - cosines.mean()
            length = max(float(np.linalg.norm(centred)), 1e-12)
            correlation = float(centred @ target) / length
            # d correlation / d cosine, through the mean and the length; then the quotient rule.
            by_cosine = (target - target.mean() - correlation * centred / length) / length
            by_kept = (by_cosine / scale) @ products[0]
            by_kept -= (by_cosine * cosines / 2 / np.maximum(aa, 1e-300)) @ products[1]
            by_kept -= (by_cosine * cosines / 2 / np.maximum(bb, 1e-300)) @ products[2]
            penalty = self.penalty * float((w**2).mean())
            gradient = -by_kept * -2 * (1 - w) + self.penalty * 2 * w / w.size
            return penalty - correlation, gradient

        start = np.full(directions.shape[1], 0.5)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * start.size)
        self.weights_ = found.x
        self.components_ = directions.T.copy()
        self.correlation_ = float(self.penalty * (found.x**2).mean() - found.fun)

    def _solve(self, moments: Moments) -> AffineMap:
        directions = self.components_.T
        return AffineMap(moments.mean, removed=(directions * self.weights_, directions.T))


class PairWhitening(_PairCorrector):
    """Whiten by how matching rows differ, then keep the directions in which rows vary most.

    With S the covariance of the differences of matching pairs, rows become ``S^(-1/2) (x - mean)``:
    along a direction in which matching rows differ much, distances count less. Then the principal
    directions of the result, the largest first.

    Parameters
    ----------
    n_components : int, optional
        How many to keep; all by default.
    threshold : float, optional
        Pairs whose score is at least this match; by default the upper quarter of the scores.
        Without scores, all pairs match.
    power : float, default=1.0
        Of the whitening by S, from 0 to 1.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    n_matching_ : int
    shrinkage_ : float
        Of S towards a multiple of the identity (Ledoit & Wolf): few pairs, much of it.

    Notes
    -----
    Mikolajczyk & Matas 2007 (ICCV), section 3; Radenovic, Tolias & Chum 2016 (arXiv 1604.02426).
    Costs n d^2 + m d^2 + O(d^3).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import PairWhitening
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 4))
    >>> again = X + rng.normal(size=(100, 4)) * [5, 0.1, 0.1, 0.1]  # the same, seen once more
    >>> pairs = np.column_stack([np.arange(100), np.arange(100, 200)])
    >>> PairWhitening(2).fit(np.concatenate([X, again]), pairs=pairs).n_matching_
    100
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        threshold: float | None = None,
        power: float = 1.0,
        normalize: Normalize = "none",
    ) -> None:
        self.n_components = n_components
        self.threshold = threshold
        self.power = power
        self.normalize = normalize

    def _learn(self, rows: Rows, moments: Moments, pairs: Any, scores: Any) -> None:
        if isinstance(self.power, bool | str) or not 0 <= self.power <= 1:
            raise ValueError(f"power must be a number from 0 to 1, got {self.power!r}.")
        numbers, labels = check_pairs(pairs, scores, len(rows), need_scores=False)
        if labels is not None:
            least = np.quantile(labels, 0.75) if self.threshold is None else self.threshold
            numbers = numbers[labels >= least]
        if not len(numbers):
            raise ValueError(f"no pair has a score of at least {self.threshold}.")
        apart = self._taken(rows, numbers[:, 0]) - self._taken(rows, numbers[:, 1])
        # Both signs: which row of a pair comes first means nothing, so the mean is zero.
        both = Moments(unit="none", order=4).update(np.concatenate([apart, -apart]))
        shrinkage = ledoit_wolf_shrinkage(both)
        covariance = both.covariance(0)
        d = len(covariance)
        typical = float(np.trace(covariance)) / d
        if not typical > 0:
            raise ValueError("all matching pairs are of equal rows: they do not differ.")
        self.difference_ = (1 - shrinkage) * covariance + shrinkage * typical * np.eye(d)
        self.n_matching_, self.shrinkage_ = len(numbers), float(shrinkage)

    def _solve(self, moments: Moments) -> AffineMap:
        values, vectors = np.linalg.eigh(self.difference_)
        floor = values[-1] * len(values) * np.finfo(np.float64).eps
        scales = np.where(values > floor, np.maximum(values, floor) ** (-self.power / 2), 0.0)
        first = (vectors * scales) @ vectors.T
        mapped = moments.mapped(first, np.zeros(len(values)))
        directions = mapped.spectrum(0)[1]
        keep = len(values) if self.n_components is None else self.n_components
        if isinstance(keep, bool) or keep != int(keep) or not 1 <= keep <= len(values):
            raise ValueError(
                f"n_components must be an integer from 1 to {len(values)}, got {keep!r}."
            )
        return AffineMap(moments.mean, first @ directions[:, : int(keep)])
