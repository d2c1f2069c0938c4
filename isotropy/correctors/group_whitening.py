"""Rows of groups whitened by what varies within them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors._grouped import Unknown
from isotropy.correctors._shrinkage import own_covariance, trust_in
from isotropy.correctors.group_means import GroupMeanRemoval
from isotropy.correctors.whitening import Whitening
from isotropy.cross import CrossMoments
from isotropy.moments import Moments, fixed_eigh
from isotropy.rows.arrays import check_weights, to_numpy, unit_rows
from isotropy.rows.door import as_rows
from isotropy.rows.labels import codes_of
from isotropy.rows.source import Rows

__all__ = ["GroupWhitening"]


class GroupWhitening(GroupMeanRemoval):
    """Subtract the mean of each group, and whiten by the covariance within groups.

    ``y = (x - c_g) A`` with c_g as in `GroupMeanRemoval` and A the whitening of what is left then.
    The covariance of all rows mixes the differences between groups with those inside them: what it
    holds down are the directions in which the groups differ. All groups share one A, so they stay
    in one space.

    Parameters
    ----------
    power : float, default=1.0
        1 whitens, 0 leaves the variances, 0.5 goes half the way.
    n_components : int or float or None, default=None
        As in `Whitening`: how many leading directions to keep.
    own : bool, default=False
        Let each group have directions of its own, as far as it has the rows to know them: its
        covariance is shrunk towards that within all groups. The whitening is then that which
        changes the rows least ("zca"), the only one under which groups stay comparable.
    strength, unknown, shrinkage, center, normalize
        As in `GroupMeanRemoval`.

    Attributes
    ----------
    groups_, counts_, centers_, mean_, shrinkage_
        As in `GroupMeanRemoval`.
    own_weights_ : ndarray of shape (G,), with own=True
        How much of each group's own covariance was taken, from 0 (too few rows) to 1.

    Warns
    -----
    RankWarning
        If directions were dropped because they hold nothing but rounding.

    Notes
    -----
    The covariance within groups is that of linear discriminant analysis. With ``own=True`` that of
    group g is ``(1 - r_g) S_g + r_g S``, the regularized discriminant analysis of Friedman 1989,
    with r_g = min(1, sum Var(s_ij) / sum (s_ij - S_ij)^2) estimated as Ledoit & Wolf 2003 (J.
    Empirical Finance 10, 603) do for a given target, in coordinates in which S is the identity:
    near 1 for a group of fewer rows than columns. Costs n d^2 + O(d^3), with ``own=True`` a second
    look at the rows, O(G d^3) and 2 G d^2 numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import GroupWhitening
    >>> rng = np.random.default_rng(0)
    >>> g = rng.integers(0, 2, 400)
    >>> X = rng.normal(size=(400, 2)) * [5, 1] + np.outer(g, [0, 9])
    >>> Y = GroupWhitening().fit_transform(X, groups=g)
    >>> bool(np.abs(np.cov(Y.T) - np.eye(2)).max() < 0.01)
    True
    """

    def __init__(
        self,
        power: float = 1.0,
        n_components: int | float | None = None,
        *,
        own: bool = False,
        strength: float = 1.0,
        unknown: Unknown = "nearest",
        shrinkage: float | Literal["estimated"] = "estimated",
        center: bool = True,
        normalize: Normalize = "none",
    ) -> None:
        super().__init__(
            strength, unknown=unknown, shrinkage=shrinkage, center=center, normalize=normalize
        )
        self.power = power
        self.n_components = n_components
        self.own = own

    def _order(self) -> Literal[1, 2, 4]:
        return 2

    def _solve(self, moments: CrossMoments, trust: np.ndarray) -> AffineMap:
        if self.own and self.n_components is not None:
            raise ValueError("own=True keeps all columns: leave n_components out.")
        whitening = Whitening(
            "zca" if self.own else "pca", self.n_components, power=self.power
        )._solve(moments.within(trust))
        return AffineMap(np.zeros(moments.n_features), whitening._dense, inverse=whitening._inverse)

    def _bring_in(
        self, X: Any, sample_weight: Any, moments: Moments, groups: Any, *, reset: bool
    ) -> None:
        super()._bring_in(X, sample_weight, moments, groups, reset=reset)
        if self.own:
            self._learn_own(as_rows(X), sample_weight, groups)

    def _learn_own(self, rows: Rows, sample_weight: Any, groups: Any) -> None:
        codes, assumed = codes_of(groups, len(rows), self.groups_), self.moments_
        assert isinstance(assumed, CrossMoments)
        within = assumed.within(trust_in(self.counts_, self.shrinkage_))
        values, vectors = within.spectrum()
        floor = within.noise_floor(float(values[0]))
        vectors, roots = vectors[:, values > floor], np.sqrt(values[values > floor])
        whitening = vectors / roots
        each = [Moments(unit="none", order=4) for _ in self.groups_]
        weights, start = check_weights(sample_weight, len(rows)), 0
        for block in rows.blocks():
            part = slice(start, start + len(block))
            wide = to_numpy(block).astype(np.float64)
            if self._unit_before:
                wide = unit_rows(wide)
            white = (wide - self.mean_) @ whitening
            for g in np.unique(codes[part][codes[part] >= 0]):
                mine = codes[part] == g
                each[g].update(white[mine], None if weights is None else weights[part][mine])
            start += len(block)
        own = [own_covariance(one) for one in each]
        self.own_weights_ = np.array([share for _, share in own])
        back = (vectors * roots).T
        self.own_maps_ = np.stack(
            [
                _symmetric_power(back.T @ covariance @ back, self.power, floor)
                for covariance, _ in own
            ]
        )

    def _linear(self, Y: Any, codes: np.ndarray) -> Any:
        if not self.own:
            return super()._linear(Y, codes)
        out = Y * 0
        for at in np.unique(codes):
            mine = np.flatnonzero(codes == at)
            out[mine] = self._linear_at(int(at)).apply(Y[mine], normalize=self._after)
        return out

    def _linear_at(self, at: int) -> AffineMap:
        if not self.own or at < 0:
            return self.linear_
        there, back = self.own_maps_[at]
        return AffineMap(np.zeros(len(there)), there, inverse=back)


def _symmetric_power(covariance: np.ndarray, power: float, floor: float) -> np.ndarray:
    """C^(-power / 2) and its inverse, without the directions that are rounding."""
    values, vectors = fixed_eigh(covariance)
    live = values > floor
    scales = values[live] ** (-power / 2)
    vectors = vectors[:, live]
    return np.stack([vectors * scales @ vectors.T, vectors / scales @ vectors.T])
