"""Whether an encoder uses its directions evenly, seen in how many neighbours stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isotropy.correctors.mean import MeanRemoval
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.moments import Moments
from isotropy.ranking import unit
from isotropy.rows.sample import Sample

__all__ = ["LEAST_ROWS", "MOST_ROWS", "Kept", "neighbours_kept"]

MOST_ROWS = 1000
LEAST_ROWS = 100
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Kept:
    """What `neighbours_kept` found.

    Parameters
    ----------
    value : float
        The share of neighbours, 0 to 1; NaN where it cannot be known.
    rows : int
        How many were looked at.
    why_not : str
        Why it cannot be known, in a clause; empty where it is.
    """

    value: float
    rows: int
    why_not: str = ""


def neighbours_kept(rows: Any, moments: Moments) -> Kept:
    """The share of ten nearest neighbours that equalizing all directions leaves.

    Neighbours are found by cosine among centred rows, and among the same rows after
    `TaperedWhitening` of power 1. Where most stay, directions are used evenly already.

    Parameters
    ----------
    rows : array of shape (n, d) or None
        Those of the moments, or ``moments.sampled``. 1,000 different ones at most are looked at,
        the same in any order. None where there are none.
    moments : Moments
        Of all rows.

    Returns
    -------
    Kept

    Notes
    -----
    Where rows are about as many as dimensions, whitening fits them too well and the share dips.
    There, with d/2 < n < 2 d different rows, d/2 of them are looked at (100 at least) by moments
    of their own. Two products of 1,000 x 1,000 and a decomposition, O(d^3), that moments keep.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import Moments
    >>> X = np.random.default_rng(0).normal(size=(400, 50))
    >>> bool(neighbours_kept(X, Moments().update(X)).value > 0.7)
    True
    """
    if rows is None or not len(rows):
        return Kept(np.nan, 0, "these are moments without rows, so there are no neighbours to see")
    sample = Sample.of(MOST_ROWS, np.asarray(rows))
    some, d = sample.rows, moments.n_features
    if len(some) < LEAST_ROWS:
        return Kept(np.nan, len(some), f"fewer than {LEAST_ROWS} different rows, {len(some)}")
    if d / 2 < sample.n_different < 2 * d:
        some = some[: max(LEAST_ROWS, d // 2)]
        moments = Moments(unit="none", order=2, normalize=moments.normalize).update(some)
    normalize = "before" if moments.normalize else "none"
    found = [
        _nearest(one.set_params(normalize=normalize).fit_moments(moments).transform(some))
        for one in (MeanRemoval(), TaperedWhitening(1.0))
    ]
    same = (found[0][:, :, None] == found[1][:, None, :]).any(2)
    return Kept(float(same.mean()), len(some))


def _nearest(Y: np.ndarray) -> np.ndarray:
    U = unit(Y).astype(np.float32)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -2)
    return np.argpartition(-cosines, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
