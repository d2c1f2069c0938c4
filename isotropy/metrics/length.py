"""What the length of texts does to embeddings: cosines, hubs and ranks by length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

from isotropy._render import html_table, number, text_table
from isotropy.metrics._intervals import of_mean
from isotropy.metrics.hubs import k_occurrence
from isotropy.ranking import unit
from isotropy.rows.arrays import raise_on_bad_row
from isotropy.rows.door import as_rows

__all__ = ["LengthBin", "LengthTable", "length_table"]

_CELLS = 2**22


@dataclass(frozen=True)
class LengthBin:
    """Rows whose texts have a length from `shortest` to `longest`.

    Parameters
    ----------
    shortest, longest : float
        Of the texts in this bin.
    n : int
        How many rows.
    cosine, occurrence, rank : float
        Means over these rows; see `LengthTable`.
    cosine_interval, occurrence_interval, rank_interval : pair of float
        95 %, by the spread over these rows; NaN for a single one.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import length_table
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> table = length_table(X, np.arange(60), n_bins=3)
    >>> table.bins[0].shortest, table.bins[0].longest, table.bins[0].n
    (0.0, 19.0, 20)
    """

    shortest: float
    longest: float
    n: int
    cosine: float
    cosine_interval: tuple[float, float]
    occurrence: float
    occurrence_interval: tuple[float, float]
    rank: float
    rank_interval: tuple[float, float]


@dataclass(frozen=True)
class LengthTable:
    """What `length_table` found.

    Parameters
    ----------
    bins : tuple of LengthBin
        The shortest texts first. `cosine` is that with all others, `occurrence` how often a row is
        among the nearest of a query, as a multiple of what chance gives (1), and `rank` where
        queries find it: 0 for first of all, 1 for last, 0.5 by chance.
    cosine_correlation, occurrence_correlation, rank_correlation : float
        Spearman's, with length; NaN where either is the same for all.
    n_neighbors : int
        How many nearest rows of a query count.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import length_table
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> X[:, 0] += np.arange(60) / 10
    >>> length_table(X, np.arange(60), n_bins=3).cosine_correlation > 0.5
    True
    """

    bins: tuple[LengthBin, ...]
    cosine_correlation: float
    occurrence_correlation: float
    rank_correlation: float
    n_neighbors: int

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["length", "n", "cosine", f"in {self.n_neighbors}-NN", "rank"]
        rows = [
            [f"{b.shortest:,.0f}-{b.longest:,.0f}", f"{b.n:,}"]
            + [
                f"{number(value)} ({number(low)} to {number(high)})"
                for value, (low, high) in (
                    (b.cosine, b.cosine_interval),
                    (b.occurrence, b.occurrence_interval),
                    (b.rank, b.rank_interval),
                )
            ]
            for b in self.bins
        ]
        return header, rows

    def __str__(self) -> str:
        said = (
            f"Spearman with length: cosine {self.cosine_correlation:.3f}, occurrence "
            f"{self.occurrence_correlation:.3f}, rank {self.rank_correlation:.3f}."
        )
        return f"{text_table(*self._cells())}\n{said}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="By length")


def length_table(
    X: Any, lengths: Any, *, queries: Any = None, n_bins: int = 5, n_neighbors: int = 10
) -> LengthTable:
    """Cosine to others, hubness and rank in search, by the length of texts.

    Where long texts are near everything, or short ones, a search finds them for their length.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        Embeddings of documents.
    lengths : array of shape (n,), or n texts
        On any scale, at least 0. Of texts the number of words between blanks is taken.
    queries : array of shape (m, d), optional
        What is searched for; by default the rows themselves, none of which finds itself.
    n_bins : int, default=5
        Bins of as many rows each, as far as equal lengths allow.
    n_neighbors : int, default=10
        How many nearest rows of a query count.

    Returns
    -------
    LengthTable
        A row for each bin, with 95 % intervals, and three correlations with length.

    Raises
    ------
    ValueError
        If lengths do not fit the rows, are negative or not finite, there are fewer than three rows,
        a row is not finite, or a number is out of range.

    Notes
    -----
    A correlation says that length and place go together, not that one is due to the other: what
    long texts are about may be what is asked for. O(n m d) and a sort of n rows for each query.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import length_table
    >>> X = np.random.default_rng(0).normal(size=(6, 4))
    >>> texts = ["a", "b", "a b", "b c", "a b c", "c d e"]
    >>> [(bin.shortest, bin.n) for bin in length_table(X, texts, n_bins=3, n_neighbors=2).bins]
    [(1.0, 2), (2.0, 2), (3.0, 2)]
    """
    rows = as_rows(X).in_memory()
    raise_on_bad_row(rows, 0)
    n = len(rows)
    if n < 3:
        raise ValueError(f"At least three rows are needed, got {n}.")
    known = _checked_lengths(lengths, n)
    if isinstance(n_bins, bool) or n_bins != int(n_bins) or n_bins < 1:
        raise ValueError(f"n_bins must be an integer of at least 1, got {n_bins!r}.")
    asked = None if queries is None else as_rows(queries).in_memory()
    if asked is not None and not len(asked):
        raise ValueError("queries holds no rows; leave it out to let the rows ask.")
    found = k_occurrence(rows, asked, n_neighbors)
    directions = unit(rows)
    others = directions.sum(0) - directions
    values = (
        np.einsum("ij,ij->i", directions, others) / (n - 1),
        found * (n / max(1, found.sum())),
        _ranks(directions, None if asked is None else unit(asked)),
    )
    bins = tuple(_bin(known, values, chosen) for chosen in _binned(known, int(n_bins)))
    cosine, occurrence, rank = (_correlation(known, value) for value in values)
    return LengthTable(bins, cosine, occurrence, rank, int(n_neighbors))


def _checked_lengths(lengths: Any, n: int) -> np.ndarray:
    if isinstance(lengths, str):
        raise ValueError("lengths must be n numbers or n texts, got one text.")
    given = [len(x.split()) if isinstance(x, str) else x for x in lengths]
    known = np.asarray(given, dtype=np.float64)
    if known.shape != (n,) or not np.isfinite(known).all() or (known < 0).any():
        raise ValueError(
            f"lengths must be {n} finite numbers of at least 0, or texts, one a row, got shape "
            f"{known.shape}."
        )
    return known


def _ranks(rows: np.ndarray, queries: np.ndarray | None) -> np.ndarray:
    """The mean place of each row over queries, from 0 for first to 1 for last."""
    n, own = len(rows), queries is None
    asked = rows if queries is None else queries
    total = np.zeros(n)
    step = max(1, _CELLS // n)
    for start in range(0, len(asked), step):
        near = asked[start : start + step] @ rows.T
        if own:  # a row stands before all others in its own search, and is left out of it
            near[np.arange(len(near)), np.arange(start, start + len(near))] = np.inf
        total += (rankdata(-near, axis=1) - 1).sum(0)
    # Of its own search a row gained nothing; in every other search the asking row stood before it.
    if own:
        return (total - (n - 1)) / ((n - 1) * (n - 2))
    return total / (len(asked) * (n - 1))


def _binned(lengths: np.ndarray, n_bins: int) -> list[np.ndarray]:
    edges = np.unique(np.quantile(lengths, np.arange(1, n_bins) / n_bins))
    place = np.searchsorted(edges, lengths, side="right")
    return [np.flatnonzero(place == k) for k in np.unique(place)]


def _bin(lengths: np.ndarray, values: tuple[np.ndarray, ...], chosen: np.ndarray) -> LengthBin:
    told: list[Any] = []
    for value in values:
        mean, *interval = of_mean(value[chosen])
        told += [mean, tuple(interval)]
    low, high = lengths[chosen].min(), lengths[chosen].max()
    return LengthBin(float(low), float(high), len(chosen), *told)


def _correlation(lengths: np.ndarray, value: np.ndarray) -> float:
    if np.ptp(lengths) == 0 or np.ptp(value) == 0:
        return float("nan")
    return float(spearmanr(lengths, value).statistic)
