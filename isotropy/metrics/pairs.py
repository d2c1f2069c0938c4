"""Uniformity on the sphere, exact in blocks or from moments, and alignment of positive pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from isotropy.metrics._inputs import NeedsRows, WeightType, gather, rescaled
from isotropy.metrics.cosine import cosine_spread, mean_cosine
from isotropy.metrics.registry import Metric
from isotropy.moments import Moments
from isotropy.rows.arrays import check_weights, raise_on_bad_row, spread, workers_for, working_block

__all__ = ["alignment", "uniformity", "uniformity_cumulant", "uniformity_floor"]

_BLOCK = 1024
_LARGEST_T = 150.0  # exp(-4 t) of opposite rows stays inside float64


def uniformity(
    X: Any,
    sample_weight: Any = None,
    *,
    t: float = 2.0,
    weight_type: WeightType = "frequency",
) -> float:
    r"""Uniformity: log of the mean over all pairs i != j of exp(-t |x^_i - x^_j|^2).

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Scaled to length one here; zero rows have no direction and are left out.
    sample_weight : array of shape (n,), optional
        Frequencies: a row of weight w counts as w rows. By default each counts once.
    t : float, default=2.0
        Above 0, at most 150.
    weight_type : {"frequency", "probability"}, default="frequency"
        A frequency w is w rows, which also meet each other; probabilities weigh pairs p_i p_j.

    Returns
    -------
    float
        From about ``-4 t`` to 0, where all rows point one way; lower is more uniform. Uniform
        directions give `uniformity_floor`, -3.99 for t = 2 and d = 768, not minus infinity. NaN
        for fewer than two rows with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` or an option does not fit, or
        Moments come in the place of the rows it needs.

    Notes
    -----
    Dominated by the closest pairs, so duplicates weigh. O(n^2 d) on all threads, in blocks: beside
    float rows memory is O(block^2). Products are float32 for rows of float32 or less, float64 else.

    References
    ----------
    Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import uniformity
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(uniformity(X), 2), round(uniformity(X + 1), 2)
    (-3.08, -1.62)
    """
    if not 0 < t <= _LARGEST_T:
        raise ValueError(f"t must be above 0 and at most {_LARGEST_T:g}, got {t!r}.")
    if weight_type not in ("frequency", "probability"):
        raise ValueError(f"weight_type must be 'frequency' or 'probability', got {weight_type!r}.")
    if isinstance(X, Moments):
        raise NeedsRows("needs the rows: it meets every pair of them")
    rows = _Directions(X, sample_weight, single=4 * t <= 80)
    total, squares = float(rows.weights.sum()), float(rows.weights @ rows.weights)
    if weight_type == "frequency":
        copies, n_pairs = squares - total, total**2 - total
    else:
        copies, n_pairs = 0.0, total**2 - squares
    if not n_pairs > 1e-12 * total**2:
        return float("nan")
    return float(np.log((_sum_over_pairs(rows, t) + copies) / n_pairs))


class _Directions:
    """Rows scaled to length one, block by block; a zero row gets no weight."""

    def __init__(self, X: Any, sample_weight: Any, *, single: bool) -> None:
        self.X = rescaled(X).in_memory()
        n = len(self.X)
        weights = check_weights(sample_weight, n)
        norms = np.empty(n)
        for start in range(0, n, _BLOCK):
            block = self._block(start)
            raise_on_bad_row(block, start)
            norms[start : start + _BLOCK] = np.linalg.norm(block, axis=1)
        self.weights = np.where(norms > 0, 1.0 if weights is None else weights, 0.0)
        self.inverse = 1 / np.where(norms > 0, norms, np.inf)
        self.alike = bool((self.weights == 1).all())
        small = single and self.alike and self.X.dtype.itemsize <= 4
        self.dtype: Any = np.float32 if small else np.float64

    def _block(self, start: int) -> np.ndarray:
        return working_block(self.X, start, start + _BLOCK, np.float64)

    def block(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The directions and the weights of a block."""
        start = index * _BLOCK
        rows = slice(start, start + _BLOCK)
        unit = self._block(start) * self.inverse[rows, None]
        return unit.astype(self.dtype, copy=False), self.weights[rows]


def _sum_over_pairs(rows: _Directions, t: float) -> float:
    """Sum of w_i w_j exp(-t |x^_i - x^_j|^2) over i != j."""
    n_blocks = -(-len(rows.X) // _BLOCK)
    pairs = [(i, j) for i in range(n_blocks) for j in range(i, n_blocks)]
    n_workers = workers_for(len(pairs))
    sums = np.zeros(len(pairs))

    def work(worker: int) -> None:
        for index in range(worker, len(pairs), n_workers):
            i, j = pairs[index]
            (a, wa), (b, wb) = rows.block(i), rows.block(j)
            kernel = a @ b.T
            kernel -= 1
            kernel *= 2 * t
            np.exp(kernel, out=kernel)
            if i == j:
                np.fill_diagonal(kernel, 0)
            column = kernel.sum(1, dtype=np.float64) if rows.alike else kernel @ wb
            sums[index] = float(wa @ column) * (1 if i == j else 2)

    spread(work, n_workers)
    return float(sums.sum())


def alignment(X: Any, Y: Any, *, alpha: float = 2.0) -> float:
    r"""Alignment: mean distance of positive pairs on the sphere, ``mean |x^_i - y^_i|^alpha``.

    Parameters
    ----------
    X, Y : arrays of shape (n, d) or `isotropy.io` rows
        Row i of one belongs to row i of the other. Pairs with a zero row are left out.
    alpha : float, default=2.0
        Above 0.

    Returns
    -------
    float
        From 0, the ideal, to ``2^alpha``; 2 for unrelated directions and alpha of 2. NaN without
        a pair. It falls when all rows collapse too: read it beside `uniformity`.

    Raises
    ------
    ValueError
        If `alpha` is not above 0, the shapes differ, or a value is not finite.

    Notes
    -----
    O(n d).

    References
    ----------
    Wang & Isola 2020, equation 1.

    Examples
    --------
    >>> from isotropy.metrics import alignment
    >>> round(alignment([[1.0, 0.0]], [[0.0, 2.0]]), 4)
    2.0
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, got {alpha!r}.")
    A, B = rescaled(X).in_memory(), rescaled(Y).in_memory()
    if A.shape != B.shape:
        raise ValueError(f"Pairs need equal shapes, got {A.shape} and {B.shape}.")
    total, n = 0.0, 0
    for start in range(0, len(A), _BLOCK):
        units, lengths = zip(*(_unit_block(rows, start) for rows in (A, B)), strict=True)
        live = (lengths[0] > 0) & (lengths[1] > 0)
        apart = np.linalg.norm(units[0][live] - units[1][live], axis=1)
        total, n = total + float((apart**alpha).sum()), n + int(live.sum())
    return total / n if n else float("nan")


def _unit_block(X: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    block = working_block(X, start, start + _BLOCK, np.float64)
    raise_on_bad_row(block, start)
    lengths = np.linalg.norm(block, axis=1)
    return block / np.where(lengths > 0, lengths, 1)[:, None], lengths


def uniformity_cumulant(X: Any, sample_weight: Any = None, *, t: float = 2.0) -> float:
    r"""Uniformity to the second cumulant of the cosines: ``-2 t + 2 t m + 2 t^2 v``.

    With m the `mean_cosine` and v the square of the `cosine_spread`.

    Parameters
    ----------
    X : array of shape (n, d), `isotropy.io` rows, or Moments of ``unit="gram"``
        The rows.
    sample_weight : array of shape (n,), optional
        Frequencies. For probabilities pass Moments.
    t : float, default=2.0
        Above 0.

    Returns
    -------
    float
        Close to `uniformity` where cosines are about normal; ``-2 t + 2 t^2 / d`` for uniform
        directions. NaN for fewer than two rows with a direction.

    Raises
    ------
    ValueError
        If there are no rows, a value is not finite, `sample_weight` does not fit, `t` is not above
        0, or Moments lack the Gram matrix of the unit rows.

    Notes
    -----
    Blind to the tail of close pairs and duplicates, which the exact form sees. O(n d^2).

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import uniformity_cumulant
    >>> X = np.random.default_rng(0).normal(size=(500, 8))
    >>> round(uniformity_cumulant(X), 2), round(uniformity_cumulant(X + 1), 2)
    (-3.0, -1.52)
    """
    if not t > 0:
        raise ValueError(f"t must be above 0, got {t!r}.")
    moments = gather(X, sample_weight, "gram")
    spread_of_cosines = cosine_spread(moments)
    return -2 * t + 2 * t * mean_cosine(moments) + 2 * t**2 * spread_of_cosines**2


def uniformity_floor(d: int, t: float = 2.0) -> float:
    r"""Uniformity of uniform directions in d dimensions, ``-2 t + log 0F1(; d / 2; t^2)``.

    Parameters
    ----------
    d : int
        Dimensions, at least 1.
    t : float, default=2.0
        Above 0.

    Returns
    -------
    float
        About ``-2 t + 2 t^2 / d``; rows cannot be spread better by chance.

    Raises
    ------
    ValueError
        If d is below 1 or t is not above 0.

    Notes
    -----
    The mean of exp(2 t c) over the cosine c of two uniform directions; summed in log space, for
    any d.

    Examples
    --------
    >>> from isotropy.metrics import uniformity_floor
    >>> round(uniformity_floor(768), 4)
    -3.9896
    """
    if not (d >= 1 and t > 0):
        raise ValueError(f"uniformity_floor needs d of at least 1 and t above 0, got {d=}, {t=}.")
    k = np.arange(int(4 * t) + 60)
    terms = np.cumsum(np.log(t**2 / ((d / 2 + k) * (k + 1))))
    return float(-2 * t + logsumexp(np.concatenate([[0.0], terms])))


REGISTERED = (
    Metric(
        name="uniformity",
        title="uniformity (t = 2)",
        function=uniformity,
        range=(-8.0, 0.0),
        ideal=uniformity_floor,
        better="lower",
        needs="rows",
        cost="O(n^2 d)",
        source="Wang & Isola 2020, equation 2",
        floor=lambda n, d: uniformity_floor(d),
    ),
    Metric(
        name="uniformity_cumulant",
        title="uniformity to the second cumulant",
        function=uniformity_cumulant,
        range=(-8.0, 8.0),
        ideal=lambda d: -4 + 8 / d,
        better="lower",
        needs="unit_gram",
        cost="O(d^2); the Gram matrix doubles the pass",
        source="Wang & Isola 2020",
        floor=lambda n, d: -4 + 8 / d,
    ),
)
