"""Correctors that remove, or damp, the directions of largest variance."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors.base import AffineCorrector
from isotropy.moments import Moments, fixed_eigh

__all__ = ["ComponentRemoval", "ConceptorNegation", "dominant_count"]


class ComponentRemoval(AffineCorrector):
    """Remove the mean and the leading principal directions (all-but-the-top, SIF, uSIF).

    With x~ = x - mean and u_1, u_2, ... the eigenvectors of the covariance,
    ``y = x~ - sum_i w_i (u_i . x~) u_i`` over the first D.

    Parameters
    ----------
    n_components : int or "auto" or "d/100", default="auto"
        D. "auto" takes the directions whose variance stands out: up to the largest ratio between
        neighbouring eigenvalues (Ahn & Horenstein 2013), none where all are alike.
        "d/100" is the rule of thumb of Mu & Viswanath, at least 1.
    center : bool, default=True
        Whether the mean is removed and directions are those of the covariance. False takes the
        directions of the second moment about zero, and leaves the mean to them: SIF is
        ``ComponentRemoval(1, center=False)``.
    project : {"centered", "paper"}, default="centered"
        "paper" is Algorithm 1 as printed, ``y = x~ - sum_i (u_i . x) u_i``: it projects the row
        before centring, and so leaves a constant, minus the removed part of the mean, in the
        result.
    weights : {"uniform", "spectrum"}, default="uniform"
        w_i = 1, or w_i = l_i / (l_1 + ... + l_D) with eigenvalues l: uSIF is
        ``ComponentRemoval(5, center=False, weights="spectrum")``.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    n_components_ : int
        D.
    components_ : ndarray of shape (D, d)
        The directions, unit rows.
    eigenvalues_ : ndarray of shape (d,)

    Notes
    -----
    Mu & Viswanath 2018 (arXiv 1702.01417), Algorithm 1; Arora, Liang & Ma 2017 (SIF); Ethayarajh
    2018 (uSIF). Fit is n d^2 + O(d^3), transform O(n d D). The token weights of SIF, a / (a + p),
    act on the tokens before they are summed; weights of whole rows go into `sample_weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import ComponentRemoval
    >>> X = np.array([[9.0, 1.0], [-9.0, 1.0], [9.0, -1.0], [-9.0, -1.0]])
    >>> abs(ComponentRemoval(1).fit_transform(X)).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """

    _keeps_axes: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int | Literal["auto", "d/100"] = "auto",
        *,
        center: bool = True,
        project: Literal["centered", "paper"] = "centered",
        weights: Literal["uniform", "spectrum"] = "uniform",
        normalize: Normalize = "none",
    ) -> None:
        self.n_components = n_components
        self.center = center
        self.project = project
        self.weights = weights
        self.normalize = normalize

    @property
    def _removes_mean(self) -> bool:
        return self.center

    def _solve(self, moments: Moments) -> AffineMap:
        if self.project not in ("centered", "paper"):
            raise ValueError(f"project must be 'centered' or 'paper', got {self.project!r}.")
        if self.weights not in ("uniform", "spectrum"):
            raise ValueError(f"weights must be 'uniform' or 'spectrum', got {self.weights!r}.")
        if self.project == "paper" and not self.center:
            raise ValueError("project='paper' is about the mean; it needs center=True.")
        values, vectors = fixed_eigh(moments.second_moment(about=1.0 if self.center else 0.0))
        count = self._count(values, moments.n_effective)
        total = values[:count].sum()
        weights = np.ones(count)
        if self.weights == "spectrum":
            weights = values[:count] / total if total > 0 else np.zeros(count)
        removed = vectors[:, :count] * weights, vectors[:, :count].T
        self.n_components_, self.eigenvalues_ = count, values
        self.components_ = vectors[:, :count].T.copy()
        if not self.center:
            return AffineMap(np.zeros_like(moments.mean), removed=removed)
        offset = -(moments.mean @ removed[0]) @ removed[1] if self.project == "paper" else None
        return AffineMap(moments.mean, offset=offset, removed=removed)

    def _count(self, values: np.ndarray, n: float) -> int:
        d, wanted = values.size, self.n_components
        if wanted == "auto":
            return dominant_count(values, n)
        if wanted == "d/100":
            return min(d, max(1, round(d / 100)))
        if isinstance(wanted, str | bool) or wanted != int(wanted) or not 0 <= wanted <= d:
            raise ValueError(
                f"n_components must be 'auto', 'd/100' or an integer from 0 to {d} (the number of "
                f"columns), got {wanted!r}."
            )
        return int(wanted)


class ConceptorNegation(AffineCorrector):
    """Damp every direction by how much it is used: ``y = x (I - R (R + a^-2 I)^-1)``.

    R is the mean of x x' (about zero, as in the paper). A direction of second moment l is scaled by
    1 / (1 + a^2 l): softly what `ComponentRemoval` does sharply. The scale of the rows matters:
    with rows of another scale, choose another aperture.

    Parameters
    ----------
    aperture : float, default=2.0
        a, at least 0. 0 leaves the rows alone; large values remove more.
    center : bool, default=False
        Remove the mean first and take R about it.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    eigenvalues_ : ndarray of shape (d,)
        Of R.

    Notes
    -----
    Liu, Ungar & Sedoc, AAAI 2019 (arXiv 1811.11001); their aperture for word vectors is 2.
    Fit is n d^2 + O(d^3), transform n d^2.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import ConceptorNegation
    >>> ConceptorNegation(aperture=1.0).fit_transform(np.array([[1.0, 0.0], [-1.0, 0.0]])).tolist()
    [[0.5, 0.0], [-0.5, 0.0]]
    """

    _keeps_axes: ClassVar[bool] = True

    def __init__(
        self, aperture: float = 2.0, *, center: bool = False, normalize: Normalize = "none"
    ) -> None:
        self.aperture = aperture
        self.center = center
        self.normalize = normalize

    @property
    def _removes_mean(self) -> bool:
        return self.center

    def _solve(self, moments: Moments) -> AffineMap:
        if not (np.isfinite(self.aperture) and self.aperture >= 0):
            raise ValueError(f"aperture must be finite and at least 0, got {self.aperture!r}.")
        values, vectors = fixed_eigh(moments.second_moment(about=1.0 if self.center else 0.0))
        self.eigenvalues_ = values
        scale = 1 / (1 + self.aperture**2 * values)
        mean = moments.mean if self.center else np.zeros_like(moments.mean)
        return AffineMap(mean, (vectors * scale) @ vectors.T, inverse=(vectors / scale) @ vectors.T)


def dominant_count(values: np.ndarray, n: float) -> int:
    """How many of the falling eigenvalues of a covariance from `n` rows stand apart from the rest.

    Parameters
    ----------
    values : ndarray of shape (d,)
        Falling.
    n : float
        Rows that they were estimated from.

    Returns
    -------
    int
        The k of the largest ratio l_k / l_(k+1), among the first twentieth of the eigenvalues (Ahn
        & Horenstein 2013, Econometrica 81, 1203); 0 where even the largest is no larger than that
        of n isotropic rows is in 99 of 100 cases (Johnstone 2001, Annals of Statistics 29, 295).

    Examples
    --------
    >>> import numpy as np
    >>> dominant_count(np.array([50.0, *np.ones(39)]), n=1000)
    1
    """
    d = values.size
    width = np.sqrt(n) + np.sqrt(d)
    tracy_widom = 2.02  # the 99th percentile of the limit law of order 1
    largest = width**2 + tracy_widom * width * (n**-0.5 + d**-0.5) ** (1 / 3)
    edge = values.mean() * largest / n
    leading = values[: -(-d // 20) + 1]
    if leading.size < 2 or leading[0] <= edge:
        return 0
    ratios = leading[:-1] / np.maximum(leading[1:], np.finfo(np.float64).tiny)
    return int(ratios.argmax()) + 1
