"""What frequency does to embeddings: norms and neighbours by frequency bucket."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from isotropy._render import html_table, number, text_table
from isotropy.metrics.neighbors import nearest_neighbors
from isotropy.rows.arrays import check_weights, raise_on_bad_row
from isotropy.rows.door import as_rows

__all__ = [
    "FrequencyBucket",
    "FrequencyTable",
    "frequency_table",
    "read_counts",
]


@dataclass(frozen=True)
class FrequencyBucket:
    """Rows whose frequency ranks from `first` to below `last`.

    Parameters
    ----------
    first, last : int
        Ranks, 0 the most frequent.
    n : int
        How many rows.
    norm : float
        Mean length.
    distance : float
        Mean distance to the nearest rows of all, by distance.
    dot : float
        Mean dot product with the rows of largest one.
    mean_cosine : float
        Mean cosine with the mean of all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import frequency_table
    >>> X = np.random.default_rng(0).normal(size=(300, 8)) * np.linspace(1, 2, 300)[:, None]
    >>> table = frequency_table(X, -np.arange(300), edges=(100,))
    >>> table.buckets[0].first, table.buckets[0].last
    (0, 100)
    """

    first: int
    last: int
    n: int
    norm: float
    distance: float
    dot: float
    mean_cosine: float


@dataclass(frozen=True)
class FrequencyTable:
    """What `frequency_table` found.

    Parameters
    ----------
    buckets : tuple of FrequencyBucket
        The most frequent first.
    norm_correlation : float
        Spearman correlation of a row's length with its frequency.
    mean_correlation : float
        Spearman correlation of a row's cosine with the mean of all rows with its frequency:
        below 0 where the mean pulls rare rows most.
    n_neighbors : int
        How many nearest rows distances and products are means over.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import frequency_table
    >>> X = np.random.default_rng(0).normal(size=(300, 8)) * np.linspace(1, 2, 300)[:, None]
    >>> table = frequency_table(X, -np.arange(300), edges=(100,))
    >>> len(table.buckets), table.n_neighbors
    (2, 3)
    """

    buckets: tuple[FrequencyBucket, ...]
    norm_correlation: float
    mean_correlation: float
    n_neighbors: int

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        k = self.n_neighbors
        header = ["rank", "n", "norm", f"{k}-NN distance", f"{k}-NN dot", "cos to mean"]
        rows = [
            [f"{b.first:,}-{b.last:,}", f"{b.n:,}"]
            + [number(value) for value in (b.norm, b.distance, b.dot, b.mean_cosine)]
            for b in self.buckets
        ]
        return header, rows

    def __str__(self) -> str:
        said = (
            f"Spearman with frequency: norm {self.norm_correlation:.3f}, cosine to the mean "
            f"{self.mean_correlation:.3f}."
        )
        return f"{text_table(*self._cells())}\n{said}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="By frequency")


def frequency_table(
    X: Any, counts: Any, *, edges: Sequence[int] = (100, 500, 5000), n_neighbors: int = 3
) -> FrequencyTable:
    r"""Norm, neighbours and pull of the mean by frequency bucket.

    Parameters
    ----------
    X : array of shape (n, d) or `isotropy.io` rows
        An embedding matrix.
    counts : array of shape (n,)
        How often each row's token occurs (`isotropy.encoders.token_counts`, `read_counts`); only
        the order counts. Where none are known and rows are sorted by frequency,
        ``-np.arange(n)`` is Zipf's rank.
    edges : sequence of int, default=(100, 500, 5000)
        Ranks at which a bucket ends; the last bucket takes the rest. Empty buckets are left out.
    n_neighbors : int, default=3
        Nearest rows, of all rows.

    Returns
    -------
    FrequencyTable
        A row for each bucket, and two correlations with frequency.

    Raises
    ------
    ValueError
        For counts that do not fit, edges that do not rise, fewer than n_neighbors + 1 rows.

    Notes
    -----
    In a degenerate matrix rare rows are shorter in BERT and longer in GPT-like models, and lie
    near one another. O(n^2 d) for the neighbours.

    References
    ----------
    Li et al. 2020, "On the sentence embeddings from pre-trained language models", table 1; Gao et
    al. 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import frequency_table
    >>> X = np.random.default_rng(0).normal(size=(300, 8)) * np.linspace(1, 2, 300)[:, None]
    >>> table = frequency_table(X, -np.arange(300), edges=(100,))
    >>> [bucket.n for bucket in table.buckets], table.norm_correlation < 0
    ([100, 200], True)
    """
    X = as_rows(X).in_memory()
    raise_on_bad_row(X, 0)
    given = check_weights(np.asarray(counts) - np.min(counts, initial=0), len(X))
    assert given is not None
    edges = [int(edge) for edge in edges]
    if any(b <= a for a, b in zip([0, *edges], edges, strict=False)):
        raise ValueError(f"edges must rise from above 0, got {edges}.")
    rows = X.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    mean = rows.mean(0)
    along = rows @ mean / (np.where(norms > 0, norms, 1) * (np.linalg.norm(mean) or 1))
    distance = nearest_neighbors(X, n_neighbors, measure="euclidean").values.mean(1)
    dot = nearest_neighbors(X, n_neighbors, measure="dot").values.mean(1)
    order = np.argsort(-given, kind="stable")
    buckets = []
    for first, last in zip([0, *edges], [*edges, len(X)], strict=True):
        chosen = order[first : min(last, len(X))]
        if len(chosen):
            values = (float(v[chosen].mean()) for v in (norms, distance, dot, along))
            buckets.append(FrequencyBucket(first, first + len(chosen), len(chosen), *values))
    by_norm, by_mean = (float(spearmanr(given, v).statistic) for v in (norms, along))
    return FrequencyTable(tuple(buckets), by_norm, by_mean, n_neighbors)


def read_counts(
    path: str | os.PathLike[str], words: Sequence[str], *, missing: float = 0.0
) -> np.ndarray:
    r"""Counts of words from a file of lines ``word count``, in the order of `words`.

    Parameters
    ----------
    path : str or path-like
        Text in UTF-8, blanks or a tab between word and count.
    words : sequence of str
        Those of the rows.
    missing : float, default=0.0
        Count of a word that the file does not have.

    Returns
    -------
    ndarray of float64, shape (len(words),)
        The count of each word.

    Raises
    ------
    ValueError
        For a line that is no word and count, with its number.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from isotropy.metrics import read_counts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "counts.txt")
    ...     _ = path.write_text("the 120\nrare 1.5\n", encoding="utf-8")
    ...     counts = read_counts(path, ["rare", "the", "unseen"])
    >>> counts.tolist()
    [1.5, 120.0, 0.0]
    """
    known: dict[str, float] = {}
    with open(path, encoding="utf-8") as lines:
        for number_of_line, line in enumerate(lines, 1):
            if not line.strip():
                continue
            word, _, count = line.rstrip().replace("\t", " ").rpartition(" ")
            try:
                known[word.strip()] = float(count)
            except ValueError:
                raise ValueError(
                    f"{path}, line {number_of_line}: must be a word and its count, got "
                    f"{line.strip()[:60]!r}."
                ) from None
    return np.array([known.get(word, missing) for word in words], dtype=np.float64)
