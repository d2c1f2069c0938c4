"""Henze and Zirkler's statistic of projections of whitened rows to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

from isotropy.metrics._inputs import (
    WeightType,
    row_blocks,
)
from isotropy.metrics._shape import (
    moments_of,
    whitening,
)
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments

__all__ = ["henze_zirkler"]

_FRAMES, _FRAME_DIMS, _FRAME_ROWS, _FRAME_LEAST = 32, 3, 1000, 20


def henze_zirkler(
    X: Any,
    sample_weight: Any = None,
    *,
    random_state: int = 0,
    weight_type: WeightType = "frequency",
    moments: Moments | None = None,
) -> float:
    r"""Largest Henze-Zirkler statistic over 32 random projections to three dimensions.

    Of up to three dimensions it is the statistic itself.

    In hundreds of dimensions the statistic itself means nothing: both of its terms in the data
    vanish, whatever the rows. In three it has power against any departure.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Whitened first, so that directions of small variance count too.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    random_state : int, default=0
        Seed of the projections and, where rows are more, of the 1,000 that each takes.
    weight_type : {"frequency", "probability"}, default="frequency"
        Whether a weight w is w rows, or a relative weight.
    moments : Moments, optional
        Those of the rows, where they are at hand: saves a pass.

    Returns
    -------
    float
        At least 0; Gaussian rows get about 1.1, in up to three dimensions about 0.7. The p-value
        is Bonferroni's over the projections. NaN for n <= r + 1, with r the numerical rank, and
        where the rows of a projection amount to fewer than 20.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    O(n d) beyond the covariance, and 3e7 exponentials. In a projection all whitened data of many
    dimensions look more normal than they are (Diaconis & Freedman 1984).

    References
    ----------
    Henze & Zirkler 1990, "A class of invariant consistent tests for multivariate normality".

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import henze_zirkler
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(henze_zirkler(X), 1), round(henze_zirkler(X**3), 1)
    (1.2, 40.4)
    """
    moments = moments_of(X, sample_weight, weight_type, moments)
    W, (n_frames, q, n) = whitening(moments), _frames(moments)
    if W is None or n < _FRAME_LEAST:
        return float("nan")
    # Whitened without a turn, since rounding turns the rows where eigenvalues are equal.
    W = W @ moments.spectrum(0)[1][:, : moments.rank()].T
    random = np.random.default_rng(random_state)
    # The projections first: they are the same for any number of rows.
    maps = [W @ np.linalg.qr(random.standard_normal((len(W), q)))[0] for _ in range(n_frames)]
    picks = _picks(X, sample_weight, moments, maps[0][:, 0], n_frames, random)
    drawn = _drawn(X, moments.mean, maps, picks)
    return max(_henze_zirkler(rows, share, n) for rows, share in drawn)


def _copies(moments: Moments) -> float:
    """How many rows there are to draw from: a frequency w is w of them."""
    return moments.total_weight if moments.weight_type == "frequency" else float(moments.n_rows)


def _frames(moments: Moments) -> tuple[int, int, float]:
    """How many projections, of how many dimensions, and what the rows of each amount to."""
    r, n = moments.rank(), moments.n_effective / max(1.0, _copies(moments) / _FRAME_ROWS)
    return (_FRAMES, _FRAME_DIMS, n) if r > _FRAME_DIMS else (1, r, n)


def _picks(
    X: Any, sample_weight: Any, moments: Moments, along: np.ndarray, n_frames: int, random: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each projection the rows it takes, rising, and their shares.

    Drawn from the rows in the order of their values along a direction, each as often as it
    occurs: so the draw knows neither their order nor whether a row was repeated or weighted.
    """
    parts = [((block - moments.mean) @ along, w) for block, w in row_blocks(X, sample_weight)]
    values = np.concatenate([values for values, _ in parts])
    weights = np.concatenate([np.ones(len(v)) if w is None else w for v, w in parts])
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    copies = np.ones(len(order), dtype=np.int64)
    if moments.weight_type == "frequency":
        copies = np.maximum(np.rint(weights[order]).astype(np.int64), 1)
    ends, found = np.cumsum(copies), []
    for _ in range(n_frames):
        # A number draws from a range of it: all of a small one, in random order.
        drawn = random.choice(ends[-1], min(_FRAME_ROWS, int(ends[-1])), replace=False)
        places, counts = np.unique(np.searchsorted(ends, drawn, side="right"), return_counts=True)
        rows, shares = order[places], weights[order[places]] * counts / copies[places]
        rising = np.argsort(rows)
        found.append((rows[rising], shares[rising] / shares.sum()))
    return found


def _drawn(
    X: Any, mean: np.ndarray, maps: list[np.ndarray], picks: list[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each map the rows of its pick, mapped, with their shares."""
    parts: list[list[np.ndarray]] = [[] for _ in maps]
    first = 0
    for block, _ in row_blocks(X):
        last = first + len(block)
        for part, A, (rows, _) in zip(parts, maps, picks, strict=True):
            here = rows[slice(*np.searchsorted(rows, [first, last]))] - first
            part.append((block[here] - mean) @ A)
        first = last
    for part, (_, shares) in zip(parts, picks, strict=True):
        yield np.concatenate(part), shares


def _smoothing(n: float, q: int) -> float:
    """Henze and Zirkler's beta squared."""
    return float(((2 * q + 1) * n / 4) ** (2 / (q + 4)) / 2)


def _henze_zirkler(rows: np.ndarray, share: np.ndarray, n: float) -> float:
    q = rows.shape[1]
    rows = rows - share @ rows
    values, vectors = np.linalg.eigh((rows * share[:, None]).T @ rows)
    if not values[0] > 1e-12 * values[-1]:
        return float(4 * n)  # the value that the paper gives to a singular covariance
    rows = rows @ (vectors / np.sqrt(values))
    beta2, squares = _smoothing(n, q), np.square(rows).sum(1)
    apart = squares[:, None] + squares - 2 * rows @ rows.T
    pairs = share @ np.exp(-beta2 / 2 * np.maximum(apart, 0.0)) @ share
    singles = share @ np.exp(-beta2 / (2 + 2 * beta2) * squares)
    both = (1 + beta2) ** (-q / 2), (1 + 2 * beta2) ** (-q / 2)
    return float(n * (pairs - 2 * both[0] * singles + both[1]))


def _lognormal_null(n: float, q: int) -> tuple[float, float]:
    """Centre and spread of log HZ for Gaussian rows (Henze & Zirkler 1990, theorem 3.2)."""
    b2 = _smoothing(n, q)
    a, w = 1 + 2 * b2, (1 + b2) * (1 + 3 * b2)
    mean = 1 - a ** (-q / 2) * (1 + q * b2 / a + q * (q + 2) * b2**2 / (2 * a**2))
    variance = 2 * (1 + 4 * b2) ** (-q / 2)
    variance += 2 * a**-q * (1 + 2 * q * b2**2 / a**2 + 3 * q * (q + 2) * b2**4 / (4 * a**4))
    inner = 1 + 3 * q * b2**2 / (2 * w) + q * (q + 2) * b2**4 / (2 * w**2)
    variance -= 4 * w ** (-q / 2) * inner
    centre = np.log(mean**2 / np.sqrt(mean**2 + variance))
    return float(centre), float(np.sqrt(np.log1p(variance / mean**2)))


def henze_zirkler_floor(n: float, d: int) -> float | None:
    """The median of the largest of as many lognormal draws as there are projections."""
    if d < 1 or n < _FRAME_LEAST or n <= d + 1:
        return None
    centre, width = _lognormal_null(min(n, _FRAME_ROWS), min(_FRAME_DIMS, d))
    n_frames = _FRAMES if d > _FRAME_DIMS else 1
    return float(np.exp(centre + width * ndtri(0.5 ** (1 / n_frames))))


def henze_zirkler_pvalue(value: float, moments: Moments) -> float:
    """Bonferroni's over the projections, by the lognormal null of each."""
    if np.isnan(value):
        return float("nan")
    n_frames, q, n = _frames(moments)
    centre, width = _lognormal_null(n, q)
    return min(1.0, float(n_frames * norm.sf((np.log(max(value, 1e-300)) - centre) / width)))


REGISTERED = (
    Metric(
        name="henze_zirkler",
        title="largest Henze-Zirkler of projections to 3-D",
        function=henze_zirkler,
        range=(0.0, np.inf),
        ideal=None,
        better="lower",
        needs="rows",
        cost="O(n d) and 3e7 exponentials",
        source="Henze & Zirkler 1990",
        floor=henze_zirkler_floor,
        value_p_value=henze_zirkler_pvalue,
        within_rank=True,
        takes_moments=True,
        jumps="it is the largest of several values",
        slow=True,
    ),
)
