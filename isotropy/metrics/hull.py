"""Does the convex hull of the rows contain the origin? With a certificate either way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import nnls

from isotropy.metrics._inputs import row_blocks
from isotropy.rows.arrays import raise_on_bad_row

__all__ = ["HullCertificate", "origin_in_hull"]

_NEW_ROWS = 256


@dataclass(frozen=True)
class HullCertificate:
    """What `origin_in_hull` found, with all that is needed to check it by hand.

    All of it speaks of the rows scaled to length one, x^: the origin is in the hull of the rows
    just if it is in the hull of their directions.

    Parameters
    ----------
    contains : bool or None
        Whether the origin is in the hull; None where `max_passes` passes did not decide.
    rows : ndarray of int, shape (k,)
        Indices of at most d + 1 rows whose convex combination is the point of the hull found
        nearest to the origin.
    weights : ndarray of shape (k,)
        Of that combination: at least 0, summing to 1.
    residual : float
        Its length, ``|weights @ x^[rows]|``: the origin is no farther from the hull than this.
    direction : ndarray of shape (d,)
        Unit vector w.
    margin : float
        ``min_i w . x^_i``. Above 0 it proves that the origin is outside, and at least this far.
    n_passes : int
        How often the rows were read.

    Examples
    --------
    >>> from isotropy.metrics import origin_in_hull
    >>> found = origin_in_hull([[1.0, 0.0], [1.0, 1.0]])
    >>> found.contains, found.margin > 0.9
    (False, True)
    """

    contains: bool | None
    rows: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    residual: float
    direction: np.ndarray = field(repr=False)
    margin: float
    n_passes: int

    def __str__(self) -> str:
        if self.contains:
            return (
                f"The hull contains the origin: {len(self.rows)} rows meet it in a convex "
                f"combination, to {self.residual:.1e}."
            )
        if self.contains is None:
            return (
                f"Undecided after {self.n_passes} passes: a point of the hull is "
                f"{self.residual:.1e} from the origin, the best margin is {self.margin:.1e}."
            )
        return (
            f"The origin is outside the hull: along one direction every row has a cosine of at "
            f"least {self.margin:.2e}."
        )


def origin_in_hull(
    X: Any, *, tol: float = 1e-9, gap: float = 1e-3, max_passes: int = 200
) -> HullCertificate:
    r"""Decide whether the convex hull of the rows contains the origin.

    Where the hull of a language model's hidden states does not, the embedding of a token that never
    appears can lower the loss without end by moving one way: the condition under which Gao et al.
    prove that rare tokens degenerate.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        A zero row is the origin.
    tol : float, default=1e-9
        A convex combination of unit rows shorter than this is the origin.
    gap : float, default=1e-3
        Where the origin is outside, how close to the largest margin to come, relatively.
    max_passes : int, default=200
        After so many passes it ends undecided.

    Returns
    -------
    HullCertificate
        The answer, and what is needed to check it.

    Raises
    ------
    ValueError
        Without rows, or where a value is not finite.

    Notes
    -----
    Finds the point of the hull nearest to the origin. The rows are read in blocks, and those which
    reach farthest behind the current point join a pool of at most d + 1 + 256 rows, on which the
    point is found by non-negative least squares (Lawson & Hanson). It ends at the exact answer.
    O(n d) a pass, some ten passes on real data; memory for the pool alone.

    In n rows of d dimensions spread symmetrically about the origin the chance that the hull
    contains it passes 1/2 at n = 2 d (Wendel 1962): with many rows it nearly always does.

    References
    ----------
    Gao et al. 2019, "Representation degeneration problem in training natural language generation
    models", section 4.2, theorem 1; Wolfe 1976, "Finding the nearest point in a polytope".

    Examples
    --------
    >>> from isotropy.metrics import origin_in_hull
    >>> origin_in_hull([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]]).contains
    True
    >>> print(origin_in_hull([[1.0, 0.0], [1.0, 1.0]]))
    The origin is outside the hull: along one direction every row has a cosine of at least 9.24e-01.
    """
    if not 0 < tol < 1:
        raise ValueError(f"tol must be between 0 and 1, got {tol!r}.")
    total, n, zero, d = 0.0, 0, -1, 0
    for start, units, lengths in _units(X):
        if zero < 0 and (lengths == 0).any():
            zero = start + int(np.argmin(lengths))
        total, n, d = total + units.sum(0), n + len(units), units.shape[1]
    if not n:
        raise ValueError("X holds no rows (0 samples): nothing has no hull.")
    if zero >= 0:
        origin = np.zeros(d)
        return HullCertificate(True, np.array([zero]), np.ones(1), 0.0, origin, 0.0, 1)
    point: np.ndarray = np.asarray(total) / n
    pool = np.zeros((0, d))
    rows, weights = np.zeros(0, dtype=np.int64), np.zeros(0)
    residual, best, direction, n_passes = np.inf, -np.inf, np.zeros(d), 1
    while n_passes < max_passes:
        n_passes += 1
        length = float(np.linalg.norm(point))
        behind, found, lowest = _farthest_behind(X, point)
        if length > 0 and lowest / length > best:
            best, direction = lowest / length, point / length
        if residual <= tol or best >= (1 - gap) * residual:
            break
        new = ~np.isin(found, rows)
        if not new.any() and len(rows):
            break  # no row reaches farther back than the pool does: rounding is all that is left
        pool, rows = np.vstack([pool, behind[new]]), np.concatenate([rows, found[new]])
        # min |p X|^2 + (sum p - 1)^2 over p >= 0 is the nearest point of the hull, but for scale.
        system = np.vstack([pool.T, np.ones(len(pool))])
        wanted = np.zeros(d + 1)
        wanted[-1] = 1
        solution = nnls(system, wanted, maxiter=20 * len(pool))[0]
        live = solution > 0
        pool, rows, weights = pool[live], rows[live], solution[live] / solution[live].sum()
        point = weights @ pool
        residual = float(np.linalg.norm(point))
        if residual <= tol:
            break
    contains = True if residual <= tol else (False if best > 0 else None)
    return HullCertificate(contains, rows, weights, residual, direction, best, n_passes)


def _units(X: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    start = 0
    for block, _ in row_blocks(X):
        raise_on_bad_row(block, start)
        largest = np.abs(block).max(1, initial=0.0)
        block = block / np.where(largest > 0, largest, 1)[:, None]
        lengths = np.linalg.norm(block, axis=1)
        yield start, block / np.where(lengths > 0, lengths, 1)[:, None], lengths
        start += len(block)


def _farthest_behind(X: Any, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The unit rows of least product with `point`, their indices, and the least product."""
    behind, found, values = np.zeros((0, len(point))), np.zeros(0, dtype=np.int64), np.zeros(0)
    for start, units, _ in _units(X):
        products = units @ point
        least = np.argsort(products, kind="stable")[:_NEW_ROWS]
        behind = np.vstack([behind, units[least]])
        found = np.concatenate([found, start + least])
        values = np.concatenate([values, products[least]])
        kept = np.argsort(values, kind="stable")[:_NEW_ROWS]
        behind, found, values = behind[kept], found[kept], values[kept]
    return behind, found, float(values[0])
