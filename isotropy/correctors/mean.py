"""Correctors that know the mean alone."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors.base import AffineCorrector
from isotropy.moments import Moments

__all__ = ["MeanDirectionRemoval", "MeanRemoval"]


class MeanRemoval(AffineCorrector):
    """Subtract the mean: ``y = x - strength * mean``.

    Takes the common direction out of a cone of embeddings, so that unrelated rows score near 0.
    What it cannot do: directions of large variance stay. The rows keep their distances.

    Parameters
    ----------
    strength : float, default=1.0
        Share of the mean that is removed; 0 leaves the rows alone.
    normalize : {"none", "before", "after", "both"}, default="none"
        Scale rows to length one before the mean is learnt and removed, after, or both.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
        The mean of the (possibly normalized) rows.

    Notes
    -----
    R1 of Ren, Sun & Liang, arXiv 2511.11041; beta of Su, kexue.fm 9079. Fit and transform are
    O(n d).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanRemoval
    >>> MeanRemoval().fit_transform(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    _keeps_axes: ClassVar[bool] = True

    def __init__(self, strength: float = 1.0, *, normalize: Normalize = "none") -> None:
        self.strength = strength
        self.normalize = normalize

    def _moments_order(self) -> Literal[1, 2, 4]:
        return 1

    @property
    def _removes_mean(self) -> bool:
        return self.strength != 0

    def _solve(self, moments: Moments) -> AffineMap:
        if not np.isfinite(self.strength):
            raise ValueError(f"strength must be a finite number, got {self.strength!r}.")
        return AffineMap(self.strength * moments.mean)


class MeanDirectionRemoval(AffineCorrector):
    """Project out the direction of the mean: ``y = x - (x . m) m`` with m = mean / |mean|.

    An error in the length of the estimated mean does no harm, and rows far along it are not
    pushed to the other side. Where the mean is zero to rounding, the rows are left alone.

    Parameters
    ----------
    normalize : {"none", "before", "after", "both"}, default="none"
        Scale rows to length one before, after, or both. The paper's rows have length one before.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)

    Notes
    -----
    R2 of Ren, Sun & Liang, arXiv 2511.11041. Fit and transform are O(n d).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import MeanDirectionRemoval
    >>> MeanDirectionRemoval().fit_transform(np.array([[2.0, 1.0], [2.0, -1.0]])).tolist()
    [[0.0, 1.0], [0.0, -1.0]]
    """

    _keeps_axes: ClassVar[bool] = True

    _removes_mean = True

    def __init__(self, *, normalize: Normalize = "none") -> None:
        self.normalize = normalize

    def _moments_order(self) -> Literal[1, 2, 4]:
        return 1

    def _solve(self, moments: Moments) -> AffineMap:
        mean = moments.mean
        length = np.linalg.norm(mean)
        if length <= np.finfo(np.float64).tiny:
            return AffineMap(np.zeros_like(mean))
        direction = (mean / length)[:, None]
        return AffineMap(mean, removed=(direction, direction.T))
