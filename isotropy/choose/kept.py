"""Whether an encoder uses its directions evenly, seen in how many neighbours stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotropy.correctors.mean import MeanRemoval
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.moments import Moments
from isotropy.ranking import unit

__all__ = ["LEAST_ROWS", "MOST_ROWS", "Kept", "neighbours_kept", "rows_wanted"]

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


def neighbours_kept(rows: np.ndarray, moments: Moments, random_state: int = 0) -> Kept:
    """The share of ten nearest neighbours that equalizing all directions leaves.

    Neighbours are found by cosine among centred rows, and among the same rows after
    `TaperedWhitening` of power 1. Where most stay, directions are used evenly already.

    Parameters
    ----------
    rows : array of shape (n, d)
        Some of those of the moments; 1,000 of them at most are looked at.
    moments : Moments
        Of all rows.
    random_state : int, default=0
        Draws which rows.

    Returns
    -------
    Kept

    Notes
    -----
    The share dips where rows are about as many as dimensions, d/2 < n < 2.5 d: there d/2 rows are
    looked at, 100 at least. Two products of 1,000 x 1,000 and one decomposition, O(d^3), that the
    moments keep.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy import Moments
    >>> X = np.random.default_rng(0).normal(size=(400, 50))
    >>> bool(neighbours_kept(X, Moments().update(X)).value > 0.7)
    True
    """
    n, d = rows.shape
    some = np.random.default_rng(random_state).permutation(n)[: rows_wanted(n, d)]
    seen = rows[np.sort(some)].astype(np.float64)
    if n < LEAST_ROWS:
        return Kept(np.nan, n, f"{n} rows are fewer than {LEAST_ROWS}")
    if not moments.covariance(0).any():
        return Kept(np.nan, n, "all rows are the same")
    normalize = "before" if moments.normalize else "none"
    found = [
        _nearest(one.set_params(normalize=normalize).fit_moments(moments).transform(seen))
        for one in (MeanRemoval(), TaperedWhitening(1.0))
    ]
    same = (found[0][:, :, None] == found[1][:, None, :]).any(2)
    return Kept(float(same.mean()), len(seen))


def rows_wanted(n: int, d: int) -> int:
    """How many of n rows to look at.

    Parameters
    ----------
    n, d : int

    Returns
    -------
    int

    Examples
    --------
    >>> rows_wanted(300, 384), rows_wanted(5000, 384)
    (192, 1000)
    """
    return max(LEAST_ROWS, d // 2) if d / 2 < n < 2.5 * d else MOST_ROWS


def _nearest(Y: np.ndarray) -> np.ndarray:
    U = unit(Y)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -2)
    return np.argpartition(-cosines, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
