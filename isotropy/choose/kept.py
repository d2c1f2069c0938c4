"""Whether an encoder uses its directions evenly, seen in how many neighbours stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from isotropy.choose.record import THRESHOLDS
from isotropy.correctors.mean import MeanRemoval
from isotropy.correctors.tapered import TaperedWhitening
from isotropy.metrics import mean_cosine
from isotropy.moments import Moments
from isotropy.ranking import unit
from isotropy.rows.sample import Sample

__all__ = ["LEAST_ROWS", "MOST_ROWS", "Kept", "neighbours_kept"]

MOST_ROWS = 1000
LEAST_ROWS = 100
_NEIGHBOURS = 10
_DIMENSIONS = 50, 1536  # as far as it was measured
_REPEATED = 1.25  # rows, to each different one
_APART = 0.2  # encoders that were measured gain .19 at most


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
    cosine : float
        The mean cosine of two of these rows, -1 to 1; NaN where it cannot be known.
    """

    value: float
    rows: int
    why_not: str = ""
    cosine: float = np.nan


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
    What was measured had 50 to 1,536 dimensions; of others nothing is said. The share grows as
    dimensions or rows get fewer, which is the milder side. It does not move with the mean, the
    order of the rows, float16, or rows that repeat or are zero. Where rows are about as many as
    dimensions, d/2 < n < 2 d different ones, whitening fits them too well and the share dips: there
    d/2 of them are looked at (100 at least), by moments of their own; so it is where rows repeat.

    Two or three groups of rows far apart, such as languages, lower the share of any encoder. So
    where few neighbours stay, unit rows are looked at once more, about the means of four groups
    (the signs of their two leading components). If far more stay there, nothing is said.

    Two products of 1,000 x 1,000 and a decomposition, O(d^3), that moments keep; some more, of
    fewer rows, where few stay.

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
    some, d = sample.rows[sample.rows.any(1)], moments.n_features
    if len(some) < LEAST_ROWS:
        return Kept(
            np.nan, len(some), f"only {len(some)} of the rows differ, {LEAST_ROWS} are the least"
        )
    if not _DIMENSIONS[0] <= d <= _DIMENSIONS[1]:
        told = f"nothing was measured in {d} dimensions, but in {_DIMENSIONS[0]} to"
        return Kept(np.nan, len(some), f"{told} {_DIMENSIONS[1]:,}")
    repeated = moments.total_weight > _REPEATED * sample.n_different
    if repeated or len(some) < len(sample.rows) or d / 2 < sample.n_different < 2 * d:
        some = _safe(some)
        moments = _moments(some, moments.normalize)
    value, cosine = _share(some, moments), float(mean_cosine(sample.rows))
    if value < max(THRESHOLDS.values()):
        same = _in_their_span(_safe(unit(some) if moments.normalize else some))
        pair = same, _within_groups(unit(same))
        plain, within = (_share(one, _moments(one)) for one in pair)
        if within >= max(plain + _APART, *THRESHOLDS.values()):
            told = f"{100 * plain:.0f} % of neighbours stay, {100 * within:.0f} % within groups"
            return Kept(value, len(some), f"the rows fall into groups far apart ({told})", cosine)
    return Kept(value, len(some), cosine=cosine)


def _share(some: np.ndarray, moments: Moments) -> float:
    normalize = "before" if moments.normalize else "none"
    found = [
        _nearest(one.set_params(normalize=normalize).fit_moments(moments).transform(some))
        for one in (MeanRemoval(), TaperedWhitening(1.0))
    ]
    return float((found[0][:, :, None] == found[1][:, None, :]).any(2).mean())


def _safe(some: np.ndarray) -> np.ndarray:
    """As many of the rows as their own moments do not fit too well."""
    n, d = some.shape
    return some[: max(LEAST_ROWS, d // 2)] if d / 2 < n < 2 * d else some


def _moments(some: np.ndarray, normalize: bool = False) -> Moments:
    return Moments(unit="none", order=2, normalize=normalize).update(some)


def _in_their_span(rows: np.ndarray) -> np.ndarray:
    """The same rows, turned into as many dimensions as they are; no cosine changes."""
    n, d = rows.shape
    if n >= d:
        return rows
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0)))


def _within_groups(rows: np.ndarray) -> np.ndarray:
    """Rows about the means of four groups, by the signs of their two leading components."""
    rows = rows - rows.mean(0)
    scores = rows @ np.linalg.eigh(rows.T @ rows)[1][:, -2:]
    group = (scores > 0) @ np.array([1, 2])
    for one in np.unique(group):
        rows[group == one] -= rows[group == one].mean(0)
    return rows


def _nearest(Y: np.ndarray) -> np.ndarray:
    U = unit(Y).astype(np.float32)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -2)
    return np.argpartition(-cosines, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
