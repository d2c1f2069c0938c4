"""Rows made ready for codes of few bits."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from isotropy.affine import AffineMap, Normalize
from isotropy.correctors.base import AffineCorrector
from isotropy.moments import Moments

__all__ = ["RandomRotation"]


class RandomRotation(AffineCorrector):
    """Centre, keep the leading directions, and rotate at random: ready for codes of few bits.

    Centring puts the threshold of a sign bit at the mean, so that each bit splits the rows; the
    rotation spreads the variance evenly over the bits, where otherwise a few carry it all. Without
    truncation, cosines are those of the centred rows.

    Parameters
    ----------
    n_components : int or None, default=None
        Leading principal directions kept before the rotation; all by default.
    random_state : int, RandomState or None, default=0
        Seed of the rotation. The codes of an index and of its queries need the same one.
    normalize : {"none", "before", "after", "both"}, default="none"

    Attributes
    ----------
    n_components_ : int
    seed_ : int
        What the rotation was drawn from; `partial_fit` and files keep it.

    Notes
    -----
    O(d^3). Vectors of few bits compare by the sign of each dimension (Hamming distance), or by
    `isotropy.search.code_ranges`.

    References
    ----------
    Gong & Lazebnik 2011, "Iterative quantization", section 2 (random rotation after PCA).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import RandomRotation
    >>> X = np.random.default_rng(0).normal(size=(500, 8)) * np.arange(1, 9) + 5
    >>> Y = RandomRotation().fit_transform(X)
    >>> [bool(abs((rows > 0).mean() - 0.5) < 0.05) for rows in (X, Y)]
    [False, True]
    """

    _removes_mean = True

    def __init__(
        self,
        n_components: int | None = None,
        *,
        random_state: Any = 0,
        normalize: Normalize = "none",
    ) -> None:
        self.n_components = n_components
        self.random_state = random_state
        self.normalize = normalize

    def _moments_order(self) -> Literal[1, 2, 4]:
        return 1 if self.n_components is None else 2

    def _solve(self, moments: Moments) -> AffineMap:
        d, k = moments.n_features, self.n_components
        if k is not None and (isinstance(k, bool) or k != int(k) or not 1 <= k <= d):
            raise ValueError(f"n_components must be an integer from 1 to {d}, or None; got {k!r}.")
        k = d if k is None else int(k)
        if not hasattr(self, "seed_"):  # later rows keep the rotation
            self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        gaussian = np.random.RandomState(self.seed_).normal(size=(k, k))
        Q, R = np.linalg.qr(gaussian)
        rotation = Q * np.sign(np.diag(R))
        # All directions kept, the principal ones need not be known: any basis is turned as well.
        matrix = rotation if k == d else moments.spectrum(0)[1][:, :k] @ rotation
        self.n_components_ = k
        return AffineMap(moments.mean, matrix, inverse=matrix.T)
