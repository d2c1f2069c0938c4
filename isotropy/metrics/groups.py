"""How far groups of rows stand apart: whether they need means of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isotropy._render import html_table, number, text_table
from isotropy.metrics._intervals import Z, of_mean, of_share
from isotropy.ranking import nearest
from isotropy.rows.arrays import raise_on_bad_row
from isotropy.rows.door import as_rows
from isotropy.rows.labels import read_classes

__all__ = ["GapFigure", "GroupGap", "group_gap"]

_PARTS = 20


@dataclass(frozen=True)
class GapFigure:
    """A figure of `GroupGap`, and what chance gives.

    Parameters
    ----------
    value : float
    interval : pair of float
        95 %, of the value.
    floor : float
        What groups dealt at random would get.

    Examples
    --------
    >>> GapFigure(0.9, (0.8, 1.0), 0.5).beyond_chance
    True
    """

    value: float
    interval: tuple[float, float]
    floor: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the floor lies below the interval.

        Examples
        --------
        >>> GapFigure(0.6, (0.4, 0.8), 0.5).beyond_chance
        False
        """
        return self.interval[0] > self.floor


@dataclass(frozen=True)
class GroupGap:
    """What `group_gap` found.

    Parameters
    ----------
    distance : GapFigure
        Root mean square distance of the groups' means from the mean of the whole, over that of rows
        from the mean of their group.
    variance : GapFigure
        Share of the variance that lies between groups, from 0 to 1.
    probe : GapFigure
        Share of rows whose group a linear classifier finds that has not seen them. Its floor is the
        share of the largest group.
    neighbors : GapFigure
        Share of the nearest rows that are of a row's own group.
    n_rows : int
        Rows that have a group.
    n_neighbors : int
    groups : dict
        How many rows each group has.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import group_gap
    >>> X = np.random.default_rng(0).normal(size=(90, 4))
    >>> gap = group_gap(X, np.arange(90) % 2)
    >>> gap.groups, gap.probe.beyond_chance
    ({0: 45, 1: 45}, False)
    """

    distance: GapFigure
    variance: GapFigure
    probe: GapFigure
    neighbors: GapFigure
    n_rows: int
    n_neighbors: int
    groups: dict[Any, int]

    def figures(self) -> Iterator[tuple[str, GapFigure]]:
        """The four figures and what they are called.

        Yields
        ------
        title : str
        figure : GapFigure

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.metrics import group_gap
        >>> X = np.random.default_rng(0).normal(size=(90, 4))
        >>> [title for title, _ in group_gap(X, np.arange(90) % 2).figures()][:1]
        ['distance of the means']
        """
        yield "distance of the means", self.distance
        yield "variance between groups", self.variance
        yield "linear probe", self.probe
        yield f"own group in {self.n_neighbors}-NN", self.neighbors

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, for JSON.

        Returns
        -------
        dict

        Examples
        --------
        >>> import numpy as np
        >>> from isotropy.metrics import group_gap
        >>> X = np.random.default_rng(0).normal(size=(90, 4))
        >>> group_gap(X, np.arange(90) % 2).to_dict()["n_rows"]
        90
        """
        return {**asdict(self), "groups": [[g, n] for g, n in self.groups.items()]}

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                title,
                number(each.value),
                f"{number(each.interval[0])} to {number(each.interval[1])}",
                number(each.floor),
                "yes" if each.beyond_chance else "no",
            ]
            for title, each in self.figures()
        ]
        return ["", "value", "95 %", "by chance", "beyond chance"], rows

    def __str__(self) -> str:
        return f"{text_table(*self._cells())}\n{self.n_rows:,} rows in {len(self.groups):,} groups."

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="Groups")


def group_gap(
    X: Any, groups: Any, *, n_neighbors: int = 10, max_rows: int = 4000, random_state: int = 0
) -> GroupGap:
    """Whether groups of rows (sources, languages, genres) lie apart, by four figures.

    Where they do beyond chance, a search finds rows of the same group before rows on the same
    subject: `GroupMeanRemoval` and `ConceptErasure` take that out.

    Parameters
    ----------
    X : array of shape (n, d), or anything that `isotropy.rows.as_rows` takes
    groups : array of shape (n,)
        A label a row; rows without one (None, NaN) are left out.
    n_neighbors : int, default=10
        How many nearest rows of a row count.
    max_rows : int, default=4000
        Of more rows that many are drawn at random.
    random_state : int, default=0
        Of what is drawn, and of the parts for the intervals and for the probe.

    Returns
    -------
    GroupGap

    Raises
    ------
    ValueError
        If there are not as many groups as rows, fewer than two groups or than twenty rows have
        them, a value is not finite, or a number is out of range.

    Notes
    -----
    Floors are exact: with G groups dealt at random, (G - 1) / (n - 1) of the variance lies between
    them. Intervals of the first two are by the jackknife over 20 parts, those of the shares of rows
    by their spread, which for the probe is that of a proportion (Wilson 1927). The probe is linear
    discriminant analysis with a ridge of 1 % of the mean variance, learned on one half and judged
    on the other, both ways; on rows that tell it nothing it may fall below its floor. The nearest
    rows are by cosine. O(n d^2 + n^2 d) of at most `max_rows` rows.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import group_gap
    >>> rng = np.random.default_rng(0)
    >>> source = rng.integers(0, 2, 300)
    >>> gap = group_gap(rng.normal(size=(300, 4)) + 3 * source[:, None], source)
    >>> gap.probe.value > 0.95, gap.variance.beyond_chance
    (True, True)
    """
    for name, value in (("n_neighbors", n_neighbors), ("max_rows", max_rows)):
        if isinstance(value, bool) or value != int(value) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    source = as_rows(X)
    labels, codes = read_classes(groups, len(source))
    rng = np.random.default_rng(random_state)
    chosen = np.flatnonzero(codes >= 0)
    if len(chosen) > max_rows:
        chosen = np.sort(rng.choice(chosen, int(max_rows), replace=False))
    rows = source.take(chosen).astype(np.float64)
    raise_on_bad_row(rows, 0)
    codes, counts = codes[chosen], np.bincount(codes[chosen], minlength=len(labels))
    if np.count_nonzero(counts) < 2 or len(rows) < _PARTS:
        raise ValueError(
            f"At least two groups and {_PARTS} rows are needed, got {np.count_nonzero(counts)} and "
            f"{len(rows)}."
        )
    distance, variance = _apart(rows, codes, rng)
    return GroupGap(
        distance,
        variance,
        _probe(rows, codes, rng),
        _neighbors(rows, codes, int(n_neighbors)),
        len(rows),
        int(n_neighbors),
        {label: int(n) for label, n in zip(labels, counts, strict=True) if n},
    )


def _apart(
    rows: np.ndarray, codes: np.ndarray, rng: np.random.Generator
) -> tuple[GapFigure, GapFigure]:
    """Distance of the means and share of the variance, with a jackknife over parts."""
    rows = rows - rows.mean(0)
    share = _between(rows, codes)
    part = rng.permutation(np.arange(len(rows)) % _PARTS)
    left_out = np.array([_between(rows[part != i], codes[part != i]) for i in range(_PARTS)])
    spread = float(np.sqrt((_PARTS - 1) * left_out.var()))
    n, g = len(rows), len(np.unique(codes))
    floor = (g - 1) / (n - 1)
    low, high = max(0.0, share - Z * spread), min(1.0, share + Z * spread)

    def ratio(of: float) -> float:
        return float(np.sqrt(of / (1 - of))) if of < 1 else np.inf

    return (
        GapFigure(ratio(share), (ratio(low), ratio(high)), ratio(floor)),
        GapFigure(share, (low, high), floor),
    )


def _between(rows: np.ndarray, codes: np.ndarray) -> float:
    """The share of the variance that lies between groups."""
    apart = rows - rows.mean(0)
    counts = np.bincount(codes).astype(np.float64)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, codes, apart)
    total = float(np.square(apart).sum())
    between = float((np.square(sums).sum(1) / np.maximum(counts, 1)).sum())
    return min(1.0, between / total) if total > 0 else 0.0


def _probe(rows: np.ndarray, codes: np.ndarray, rng: np.random.Generator) -> GapFigure:
    half = rng.permutation(np.arange(len(rows)) % 2)
    right = np.zeros(len(rows), bool)
    for side in (0, 1):
        learnt, judged = half != side, half == side
        right[judged] = _discriminant(rows[learnt], codes[learnt], rows[judged]) == codes[judged]
    floor = float(np.bincount(codes).max() / len(codes))
    return GapFigure(float(right.mean()), of_share(float(right.mean()), len(right)), floor)


def _discriminant(rows: np.ndarray, codes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The group of rows by linear discriminant analysis, with a ridge."""
    known, codes = np.unique(codes, return_inverse=True)
    mean, counts = rows.mean(0), np.bincount(codes).astype(np.float64)
    means = np.zeros((len(known), rows.shape[1]))
    np.add.at(means, codes, rows - mean)
    means /= counts[:, None]
    within = rows - mean - means[codes]
    scatter = within.T @ within / len(rows)
    ridge = 0.01 * np.trace(scatter) / len(scatter)
    if not ridge > 0:  # rows that are all alike in their groups
        ridge = 1.0
    weights = np.linalg.solve(scatter + ridge * np.eye(len(scatter)), means.T)
    constants = np.log(counts / len(rows)) - np.einsum("ij,ji->i", means, weights) / 2
    found: np.ndarray = known[((asked - mean) @ weights + constants).argmax(1)]
    return found


def _neighbors(rows: np.ndarray, codes: np.ndarray, k: int) -> GapFigure:
    n, counts = len(rows), np.bincount(codes)
    found = np.concatenate([block for block, _ in nearest(rows, rows, k, itself=True)])
    own = (codes[found] == codes[:, None]).mean(1)
    value, low, high = of_mean(own)
    floor = float((counts * (counts - 1.0)).sum() / (n * (n - 1.0)))
    return GapFigure(value, (max(0.0, low), min(1.0, high)), floor)
