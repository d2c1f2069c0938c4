"""Have embeddings moved? Two sets, or the moments saved of two sets, held against chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isotropy._render import html_table, number, text_table
from isotropy.metrics._inputs import gather, row_blocks
from isotropy.metrics.gaussian import bhattacharyya, kl_divergence, wasserstein2
from isotropy.moments import Moments, fixed_eigh
from isotropy.rows.door import as_rows
from isotropy.scoring._groups import deal, is_whole, quietly

__all__ = ["Drift", "drift"]

_STATISTICS = ("mean_shift", "covariance_change", "spectrum_change")
_LEADING = 128  # directions whose covariances are compared; of the others the variances alone are
_AT_A_TIME = 50  # splits that are worked on together, to bound the memory


@dataclass(frozen=True)
class Drift:
    """What `drift` found.

    Parameters
    ----------
    mean_shift : float
        Distance of the means over the root of the reference's total variance; from 0 up. NaN where
        the reference has no spread.
    covariance_change : float
        Distance of the covariances over the same root: `wasserstein2` without the means, to second
        order about the covariance of all rows (with its eigenvalues l_i and the difference D in
        the basis of its eigenvectors, the root of half the sum of ``D_ij^2 / (l_i + l_j)``). Where
        there are more than 128 dimensions, the 128 leading ones count like that, and of the others
        the variances alone.
    spectrum_change : float
        Largest absolute difference of the cumulated shares of variance along the principal
        directions of all rows, from 0 to 1. NaN where one side has no spread.
    mean_cosine : float
        Cosine of the two means; 1 where the cone points where it did.
    wasserstein2 : float
        2-Wasserstein (Frechet) distance of the two Gaussians, over the root above.
    bhattacharyya, kl_divergence : float
        Of the same; infinite where a covariance is not of full numerical rank.
    p_value : float
        Of the three tests together: how often a split at random gives as small a smallest p-value.
        Uniform where nothing has moved, never 0. NaN where moments alone were given.
    p_values : dict of str to float
        Of mean_shift, covariance_change and spectrum_change, each by itself: how often a split at
        random gives as large a value. Empty where moments alone were given.
    null : dict of str to float
        The 95th percentile of the same under random splits: what sampling alone makes.
    n_reference, n_new : float

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import drift
    >>> rng = np.random.default_rng(0)
    >>> found = drift(rng.normal(size=(500, 8)), rng.normal(size=(400, 8)) + 0.3)
    >>> found.moved, found.p_value
    (True, 0.005)
    >>> round(found.mean_shift, 1)
    0.3
    """

    mean_shift: float
    covariance_change: float
    spectrum_change: float
    mean_cosine: float
    wasserstein2: float
    bhattacharyya: float
    kl_divergence: float
    p_value: float
    p_values: dict[str, float]
    null: dict[str, float]
    n_reference: float
    n_new: float

    @property
    def moved(self) -> bool:
        """Whether the three tests together find a change, at a level of 5 %."""
        return self.p_value <= 0.05

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and numbers; `moved` is None where nothing could be tested.

        Returns
        -------
        dict
        """
        return {**asdict(self), "moved": self.moved if self.p_values else None}

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = []
        for name in (*_STATISTICS, "mean_cosine", "wasserstein2", "bhattacharyya", "kl_divergence"):
            p, chance = self.p_values.get(name), self.null.get(name)
            rows.append([name, number(getattr(self, name)), number(chance), number(p)])
        return ["distance", "value", "95 % of chance", "p-value"], rows

    def __str__(self) -> str:
        caption = f"{self.n_reference:,.0f} reference rows, {self.n_new:,.0f} new ones"
        if not self.p_values:
            said = (
                "Not tested: moments do not tell what chance would make of these distances. "
                "Give the rows of both sides."
            )
        elif self.moved:
            said = f"The embeddings have moved, more than chance explains (p = {self.p_value:.3g})."
        else:
            said = f"No change that chance would not explain (p = {self.p_value:.3g})."
        return f"{caption}\n{text_table(*self._cells())}\n{said}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="Drift")


def drift(
    reference: Any,
    new: Any,
    *,
    n_resamples: int = 199,
    n_groups: int = 40,
    random_state: int = 0,
) -> Drift:
    """Hold new embeddings against a reference: a silent change of the model, or of the corpus.

    Parameters
    ----------
    reference, new : arrays of shape (n, d), `isotropy.io` rows, or Moments
        Where both are rows the distances are tested by permutation. Texts that stay the same
        (canaries) tell a changed model; new texts alone cannot tell it from a moved corpus.
    n_resamples : int, default=199
        Random splits. 0 for none.
    n_groups : int, default=40
        Rows are exchanged in groups. This many groups a side where both sides have as many rows;
        where one is smaller, half as many there at least, and up to nine times as many of the same
        size on the other side.
    random_state : int, default=0
        Seed of the dealing of rows to groups, and of the splits.

    Returns
    -------
    Drift

    Raises
    ------
    ValueError
        Where the sets differ in dimensions, which is an answer too, one has no rows, a row holds
        NaN or infinity, or `n_resamples` or `n_groups` is too small.

    Notes
    -----
    Rows are dealt at random to groups, all of one size on both sides, so that any group may stand
    for any other whatever the order of the rows and however unequal the sides. Rows that are left
    over stay where they are. Under the null hypothesis that all rows come from one distribution,
    independently, the p-values are uniform; several rows of one document are not independent.
    A p-value cannot be below 1 / (n_resamples + 1).

    Two passes over each side, then O(d^3) once; a split costs O(n_groups k^2) with k = min(d, 128),
    and no decomposition. Moments alone say how far apart the sides are, and nothing of what chance
    would make.

    References
    ----------
    Dowson & Landau 1982 on the Frechet distance of Gaussians; Good 2005, "Permutation, parametric
    and bootstrap tests of hypotheses"; Pesarin 2001, "Multivariate permutation tests", on the
    smallest of several p-values.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.scoring import drift
    >>> rng = np.random.default_rng(0)
    >>> drift(rng.normal(size=(500, 8)), rng.normal(size=(500, 8)) + 0.3).moved
    True
    """
    n_resamples = _count("n_resamples", n_resamples, 0)
    n_groups = _count("n_groups", n_groups, 2)
    if not isinstance(reference, Moments):
        reference = as_rows(reference, name="reference")
    if not isinstance(new, Moments):
        new = as_rows(new, name="new")
    with quietly(reference, new):
        first, second = gather(reference, None), gather(new, None)
        if first.n_features != second.n_features:
            raise ValueError(
                f"The reference has {first.n_features} dimensions, the new rows "
                f"{second.n_features}: they come from different models, or one was truncated."
            )
        frame = _Frame(first, second)
        scale = float(np.sqrt(np.trace(first.covariance(0))))
        unit = frame.scale / scale if scale > 0 else float("nan")
        units = np.array([unit, unit, 1.0])
        whole = frame.of_moments(first)
        found = frame.distances(whole[None], first.n_effective)[0] * units
        p_value = float("nan")
        p_values: dict[str, float] = {}
        null: dict[str, float] = {}
        if n_resamples and not isinstance(reference, Moments) and not isinstance(new, Moments):
            drawn = _splits(frame, (reference, new), n_resamples, n_groups, random_state)
            p_value, each = _p_values(drawn)
            p_values = dict(zip(_STATISTICS, each, strict=True))
            null = dict(zip(_STATISTICS, (_percentiles(drawn[1:]) * units).tolist(), strict=True))
        distance = wasserstein2(first, second)
        lengths = float(np.linalg.norm(first.mean) * np.linalg.norm(second.mean))
        return Drift(
            mean_shift=float(found[0]),
            covariance_change=float(found[1]),
            spectrum_change=float(found[2]),
            mean_cosine=float(first.mean @ second.mean / lengths) if lengths else float("nan"),
            wasserstein2=distance / scale if scale > 0 else float("nan"),
            bhattacharyya=bhattacharyya(first, second),
            kl_divergence=kl_divergence(second, first),
            p_value=p_value,
            p_values=p_values,
            null=null,
            n_reference=first.n_effective,
            n_new=second.n_effective,
        )


def _count(name: str, value: Any, least: int) -> int:
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be an integer, {least} or more, got {value!r}.")
    return int(value)


class _Frame:
    """Coordinates about the mean of all rows, along their principal directions, in one unit.

    They do not depend on which side a row belongs to, so sums in them may be exchanged. The sums of
    some rows y are one vector: those of y, of y * y, and of y y' over the leading directions.
    """

    def __init__(self, first: Moments, second: Moments) -> None:
        sides = (first, second)
        self.n = first.n_effective + second.n_effective
        a, b = (side.n_effective / self.n for side in sides)
        away = second.mean - first.mean
        self.mean = first.mean + b * away
        pooled = a * first.covariance(0) + b * second.covariance(0) + np.outer(a * b * away, away)
        values, self.vectors = fixed_eigh(pooled)
        total = float(values.sum())
        self.scale = float(np.sqrt(total)) if total > 0 else 1.0
        self.d, self.k = len(values), min(len(values), _LEADING)
        self.live = values > max(side.noise_floor(float(values[0])) for side in sides)
        values = np.where(self.live, values, 0.0) / self.scale**2
        pairs = values[: self.k, None] + values[: self.k]
        both = self.live[: self.k, None] & self.live[: self.k]
        self.weights = np.where(both, 0.5 / np.where(both, pairs, 1.0), 0.0)
        own = self.n * values
        self.whole = np.concatenate(
            [np.zeros(self.d), own, np.diag(own)[: self.k, : self.k].ravel()]
        )

    def of_moments(self, moments: Moments) -> np.ndarray:
        """The sums of the rows behind `moments`."""
        n, mean = moments.n_effective, (moments.mean - self.mean) @ self.vectors / self.scale
        product = self.vectors.T @ moments.covariance(0) @ self.vectors / self.scale**2
        product += np.outer(mean, mean)
        parts = [mean, np.diag(product), product[: self.k, : self.k].ravel()]
        return np.asarray(n * np.concatenate(parts))

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The sums of `rows`, which are in these coordinates already."""
        leading = rows[:, : self.k]
        parts = [rows.sum(0), np.einsum("ij,ij->j", rows, rows), (leading.T @ leading).ravel()]
        return np.concatenate(parts)

    def blocks(self, X: Any) -> Iterator[np.ndarray]:
        """The rows of `X` in these coordinates, block by block."""
        for block, _ in row_blocks(X):
            yield (block - self.mean) @ self.vectors / self.scale

    def distances(self, sums: np.ndarray, n: float) -> np.ndarray:
        """The three statistics between n rows of those `sums` (one row each) and all others."""
        m = self.n - n
        (mean, var, cov), (mean2, var2, cov2) = (
            self._centred(part, size) for part, size in ((sums, n), (self.whole - sums, m))
        )
        apart = np.einsum("bij,ij->b", np.square(cov - cov2), self.weights)
        rest = np.sqrt(var[:, self.k :]) - np.sqrt(var2[:, self.k :])
        apart += np.square(rest).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [np.cumsum(v, 1) / v.sum(1, keepdims=True) for v in (var, var2)]
        change = np.abs(shares[0] - shares[1]).max(1)
        return np.column_stack([np.linalg.norm(mean - mean2, axis=1), np.sqrt(apart), change])

    def _centred(self, sums: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, variances, and covariances of the leading directions."""
        mean, second = sums[:, : self.d] / n, sums[:, self.d : 2 * self.d] / n
        cross = sums[:, 2 * self.d :].reshape(-1, self.k, self.k) / n
        leading = mean[:, : self.k]
        variances = np.maximum(second - mean**2, 0.0) * self.live
        return mean, variances, cross - leading[:, :, None] * leading[:, None, :]


def _splits(
    frame: _Frame, sides: tuple[Any, Any], n_resamples: int, n_groups: int, seed: int
) -> np.ndarray:
    """The statistics of the sides as they are, in the first line, and of random splits."""
    sizes = [len(X) for X in sides]
    small = int(sizes[1] < sizes[0])
    n_small, n_large = sizes[small], sizes[1 - small]
    size, few, many = _grouping(n_small, n_large, n_groups)
    rng = np.random.default_rng(seed)
    fixed, own = _grouped(frame, sides[small], deal(n_small, few, rng, size=size))
    _, others = _grouped(frame, sides[1 - small], deal(n_large, many, rng, size=size))
    groups = np.concatenate([own, others])
    chosen = np.zeros((n_resamples + 1, few + many))
    chosen[0, :few] = 1
    for line in chosen[1:]:
        line[rng.permutation(few + many)[:few]] = 1
    found = [
        frame.distances(fixed + chosen[start : start + _AT_A_TIME] @ groups, n_small)
        for start in range(0, len(chosen), _AT_A_TIME)
    ]
    return np.concatenate(found)


def _grouping(n_small: int, n_large: int, n_groups: int) -> tuple[int, int, int]:
    """Rows in a group, and how many groups the smaller and the larger side have."""
    most = round(2 * n_groups * n_small / (n_small + n_large))
    most = min(n_small, max(n_groups // 2, most))
    few = min(range(most, most * 3 // 4, -1), key=lambda groups: n_small % groups)
    size = n_small // few
    return size, few, min(n_large // size, max(n_groups, 9 * few))


def _grouped(frame: _Frame, X: Any, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the rows that belong to no group (label -1), and those of each group."""
    sums = np.zeros((labels.max() + 2, 2 * frame.d + frame.k**2))
    start = 0
    for rows in frame.blocks(X):
        own = labels[start : start + len(rows)]
        order = np.argsort(own, kind="stable")
        present, begin = np.unique(own[order], return_index=True)
        for label, part in zip(present, np.split(order, begin[1:]), strict=True):
            sums[label] += frame.of_rows(rows[part])
        start += len(rows)
    return sums[-1], sums[:-1]


def _p_values(drawn: np.ndarray) -> tuple[float, list[float]]:
    """Of all statistics together, and of each; the first line is what was observed.

    Every line takes its turn as the observed one. The smallest of its p-values is what counts, and
    their sum where that is the same.
    """
    largest = np.fmax.reduce(drawn, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        comparable = np.round(drawn / np.where(largest > 0, largest, 1.0), 12)
    known = np.isfinite(comparable[0])
    if not known.any():
        return float("nan"), [float("nan")] * drawn.shape[1]
    comparable = np.where(np.isfinite(comparable), comparable, -1.0)[:, known]
    ranks = (comparable[None] >= comparable[:, None]).sum(1)
    key = ranks.min(1) + ranks.sum(1) / (1 + ranks.sum())
    each = np.full(drawn.shape[1], np.nan)
    each[known] = ranks[0] / len(drawn)
    return float((key <= key[0]).mean()), each.tolist()


def _percentiles(drawn: np.ndarray) -> np.ndarray:
    """The 95th of each statistic; NaN where no split has it."""
    return np.array(
        [
            np.quantile(known, 0.95) if (known := column[np.isfinite(column)]).size else np.nan
            for column in drawn.T
        ]
    )
