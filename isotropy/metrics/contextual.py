"""How contextual word vectors are, and what their clusters and rogue dimensions make of cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isotropy._render import html_table, number, text_table
from isotropy.metrics._inputs import rescaled
from isotropy.metrics.cosine import cosine_contributions, mean_cosine
from isotropy.rows.arrays import raise_on_bad_row, unit_roundoff

__all__ = [
    "ClusterCosines",
    "Contextuality",
    "cluster_cosines",
    "contextuality",
    "informativity",
    "intra_sentence_similarity",
    "max_explainable_variance",
    "self_similarity",
]


def _rows_of(X: Any, **labels: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows in float64, and labels as numbers from 0."""
    rows = rescaled(X).in_memory().astype(np.float64)
    raise_on_bad_row(rows, 0)
    found = []
    for name, given in labels.items():
        values = np.asarray(given)
        if values.shape != (len(rows),):
            raise ValueError(
                f"{name} must have one entry a row, shape ({len(rows)},), got {values.shape}."
            )
        found.append(np.unique(values, return_inverse=True)[1].ravel())
    return rows, found


_ROUNDING = 8 * float(np.finfo(np.float64).eps)


def _unit(rows: np.ndarray, noise: Any = 0.0) -> np.ndarray:
    """Rows scaled to length one, and to zero where they are no longer than `noise`."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    live = lengths > np.reshape(noise, (-1, 1))
    return np.where(live, rows, 0.0) / np.where(live, lengths, 1)


def _sums(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The sum of the rows of each group."""
    sums = np.zeros((groups.max(initial=-1) + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums


def self_similarity(X: Any, words: Any) -> float:
    """Mean cosine between two occurrences of one word, averaged over words.

    Parameters
    ----------
    X : array of shape (n, d)
        A vector for each occurrence.
    words : array of shape (n,)
        Which word it is of, as numbers or strings. Words that occur once do not count.

    Returns
    -------
    float
        1 for vectors that do not depend on context. Held against `mean_cosine` of all rows, which
        a cone lifts as much. NaN where no word occurs twice.

    Raises
    ------
    ValueError
        If a value is not finite, or `words` has not one entry a row.

    Notes
    -----
    By the sums of unit rows of each word: O(n d), no pairs.

    References
    ----------
    Ethayarajh 2019, "How contextual are contextualized word representations?", definition 1.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import self_similarity
    >>> words = np.repeat(np.arange(50), 4)
    >>> X = np.random.default_rng(0).normal(size=(50, 32))[words]
    >>> round(self_similarity(X, words), 2)
    1.0
    """
    rows, (groups,) = _rows_of(X, words=words)
    return _self_similarity(rows, groups)


def _self_similarity(rows: np.ndarray, groups: np.ndarray) -> float:
    units = _unit(rows)
    live = units.any(axis=1)
    units, groups = units[live], groups[live]
    counts = np.bincount(groups)
    often = counts > 1
    if not often.any():
        return float("nan")
    squares = np.square(_sums(units, groups)).sum(1)[often]
    n = counts[often]
    return float(((squares - n) / (n * (n - 1))).mean())


def intra_sentence_similarity(X: Any, sentences: Any) -> float:
    """Mean cosine of a word's vector with the mean vector of its sentence, over sentences.

    Parameters
    ----------
    X : array of shape (n, d)
        The rows.
    sentences : array of shape (n,)
        Which sentence each word is in.

    Returns
    -------
    float
        In [-1, 1]. Held against `mean_cosine` of all rows. A word is part of its sentence's mean:
        unrelated vectors get about ``1 / sqrt(length)``.

    Raises
    ------
    ValueError
        If a value is not finite, or `sentences` has not one entry a row.

    References
    ----------
    Ethayarajh 2019, definition 2.

    Examples
    --------
    >>> from isotropy.metrics import intra_sentence_similarity
    >>> X = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> round(intra_sentence_similarity(X, ["a", "a", "b", "b"]), 2)
    0.85
    """
    rows, (groups,) = _rows_of(X, sentences=sentences)
    return _intra_sentence(rows, groups)


def _intra_sentence(rows: np.ndarray, groups: np.ndarray) -> float:
    if not len(rows):
        return float("nan")
    counts = np.bincount(groups)
    # Words that cancel leave rounding, which has no direction.
    noise = _ROUNDING * np.bincount(groups, np.linalg.norm(rows, axis=1)) / counts
    means = _unit(_sums(rows, groups) / counts[:, None], noise)
    cosines = (_unit(rows) * means[groups]).sum(1)
    return float((np.bincount(groups, cosines) / counts).mean())


def max_explainable_variance(X: Any, words: Any) -> float:
    """Share of a word's vectors that one static vector could explain, averaged over words.

    ``sigma_1^2 / sum sigma_i^2`` of the matrix of a word's occurrences, not centred.

    Parameters
    ----------
    X : array of shape (n, d)
        The rows.
    words : array of shape (n,)
        Words that occur once do not count.

    Returns
    -------
    float
        From 1 / min(occurrences, d) to 1, vectors that do not depend on context. Held against the
        same of occurrences drawn at random, see `contextuality`.

    Raises
    ------
    ValueError
        If a value is not finite, or `words` has not one entry a row.

    References
    ----------
    Ethayarajh 2019, definition 3; the authors' code centres nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import max_explainable_variance
    >>> words = np.repeat(np.arange(50), 4)
    >>> X = np.random.default_rng(0).normal(size=(50, 32))[words]
    >>> round(max_explainable_variance(X, words), 2)
    1.0
    """
    rows, (groups,) = _rows_of(X, words=words)
    return _max_explainable(rows, groups)


def _max_explainable(rows: np.ndarray, groups: np.ndarray) -> float:
    order = np.argsort(groups, kind="stable")
    parts = np.split(rows[order], np.cumsum(np.bincount(groups))[:-1])
    shares = []
    for part in parts:
        total = float(np.square(part).sum())
        if len(part) > 1 and total > 0:
            # The smaller of the two products has the same eigenvalues.
            small = part @ part.T if len(part) < part.shape[1] else part.T @ part
            shares.append(float(np.linalg.eigvalsh(small)[-1]) / total)
    return float(np.mean(shares)) if shares else float("nan")


@dataclass(frozen=True)
class Contextuality:
    """The measures of Ethayarajh 2019, each with its baseline; what counts is the difference.

    Parameters
    ----------
    self_similarity, intra_sentence_similarity, max_explainable_variance : float
        As the functions of these names.
    mean_cosine : float
        Baseline of the first two: cosine of two words drawn at random.
    random_explainable_variance : float
        Baseline of the third: the same with words shuffled among the rows.

    Examples
    --------
    >>> from isotropy.metrics import contextuality
    >>> found = contextuality([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], ["a", "a", "b"])
    >>> round(found.self_similarity, 2), round(found.mean_cosine, 2)
    (1.0, 0.33)
    """

    self_similarity: float
    intra_sentence_similarity: float
    max_explainable_variance: float
    mean_cosine: float
    random_explainable_variance: float

    @property
    def adjusted(self) -> dict[str, float]:
        """Each measure less its baseline."""
        return {
            "self_similarity": self.self_similarity - self.mean_cosine,
            "intra_sentence_similarity": self.intra_sentence_similarity - self.mean_cosine,
            "max_explainable_variance": self.max_explainable_variance
            - self.random_explainable_variance,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and numbers.

        Returns
        -------
        dict
            By measure; "adjusted" holds each less its baseline.

        Examples
        --------
        >>> from isotropy.metrics import contextuality
        >>> found = contextuality([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], ["a", "a", "b"])
        >>> round(found.to_dict()["mean_cosine"], 2)
        0.33
        """
        return {**asdict(self), "adjusted": self.adjusted}

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        baseline = dict.fromkeys(self.adjusted, self.mean_cosine)
        baseline["max_explainable_variance"] = self.random_explainable_variance
        rows = [
            [name, number(getattr(self, name)), number(baseline[name]), number(less)]
            for name, less in self.adjusted.items()
        ]
        return ["measure", "value", "baseline", "adjusted"], rows

    def __str__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), caption="Contextuality")


def contextuality(
    X: Any, words: Any, sentences: Any = None, *, random_state: int = 0
) -> Contextuality:
    """How much vectors depend on context, less what the cone alone would make.

    Parameters
    ----------
    X : array of shape (n, d)
        A vector for each occurrence of a word, of one layer.
    words : array of shape (n,)
        Which word each vector is of.
    sentences : array of shape (n,), optional
        Without it the intra-sentence similarity is NaN.
    random_state : int, default=0
        Of the shuffle of the words.

    Returns
    -------
    Contextuality
        Three measures, and what the cone alone would make of each.

    Raises
    ------
    ValueError
        If a value is not finite, or `words` or `sentences` have not one entry a row.

    References
    ----------
    Ethayarajh 2019, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import contextuality
    >>> words = np.repeat(np.arange(50), 4)
    >>> static = np.random.default_rng(0).normal(size=(50, 32))[words]
    >>> round(contextuality(static, words).self_similarity, 3)
    1.0
    """
    labels = {"words": words} if sentences is None else {"words": words, "sentences": sentences}
    rows, groups = _rows_of(X, **labels)
    shuffled = np.random.default_rng(random_state).permutation(groups[0])
    return Contextuality(
        _self_similarity(rows, groups[0]),
        _intra_sentence(rows, groups[1]) if sentences is not None else float("nan"),
        _max_explainable(rows, groups[0]),
        mean_cosine(rows),
        _max_explainable(rows, shuffled),
    )


def informativity(
    X: Any,
    n_dims: Sequence[int] = (1, 3, 5),
    *,
    n_pairs: int = 50_000,
    random_state: int = 0,
) -> dict[int, float]:
    """How much of the cosines is left without the dimensions that contribute most to their mean.

    Parameters
    ----------
    X : array of shape (n, d)
        The rows.
    n_dims : sequence of int, default=(1, 3, 5)
        How many dimensions are left out, largest `cosine_contributions` first.
    n_pairs : int, default=50,000
        Pairs of different rows, drawn at random.
    random_state : int, default=0
        Seed.

    Returns
    -------
    dict of int to float
        Squared Pearson correlation of the cosines with and without, from 0, where those
        dimensions alone made them, to 1, where they do not matter. NaN where either is constant.

    Raises
    ------
    ValueError
        If there are fewer than two rows, a value is not finite, or a number of `n_dims` is not from
        0 to below d.

    References
    ----------
    Timkey & van Schijndel 2021, "All bark and no bite", section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import informativity
    >>> X = np.random.default_rng(0).normal(size=(300, 32))
    >>> X[:, 3] *= 50
    >>> round(informativity(X, (1,))[1], 1)
    1.0
    """
    rows, _ = _rows_of(X)
    n, d = rows.shape
    if n < 2:
        raise ValueError(f"informativity needs two rows or more, got {n}.")
    if any(k != int(k) or not 0 <= k < d for k in n_dims):
        raise ValueError(f"n_dims must be numbers from 0 to below {d}, got {tuple(n_dims)}.")
    rng = np.random.default_rng(random_state)
    first = rng.integers(n, size=n_pairs)
    second = (first + rng.integers(1, n, size=n_pairs)) % n
    order = np.argsort(-cosine_contributions(rows), kind="stable")

    def cosines(kept: np.ndarray) -> np.ndarray:
        units = _unit(rows[:, kept])
        return np.einsum("ij,ij->i", units[first], units[second])

    whole = cosines(order)
    found = {}
    for k in n_dims:
        less = cosines(order[int(k) :])
        constant = min(np.ptp(whole), np.ptp(less)) <= 2 * _ROUNDING
        found[int(k)] = float("nan") if constant else float(np.corrcoef(whole, less)[0, 1] ** 2)
    return found


@dataclass(frozen=True)
class ClusterCosines:
    """Cosines within and between clusters, before and after each cluster is centred.

    Parameters
    ----------
    intra, inter : float
        Mean cosine of two rows of one cluster, averaged over its rows, and of two clusters.
    intra_centred, inter_centred : float
        The same after the mean of its cluster is taken off each row: near 0 where rows are
        isotropic around their cluster's mean.

    Examples
    --------
    >>> from isotropy.metrics import cluster_cosines
    >>> found = cluster_cosines([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 0, 1])
    >>> found.intra, found.inter
    (1.0, 0.0)
    """

    intra: float
    inter: float
    intra_centred: float
    inter_centred: float


def _centred(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows less the mean of their group, by way of its first row: nothing is left of equal rows."""
    if not len(rows):
        return rows
    apart = rows - rows[np.unique(groups, return_index=True)[1]][groups]
    return np.asarray(apart - (_sums(apart, groups) / np.bincount(groups)[:, None])[groups])


def cluster_cosines(X: Any, labels: Any) -> ClusterCosines:
    """Cosines within and between clusters: is anisotropy global, or do clusters alone make it.

    Parameters
    ----------
    X : array of shape (n, d)
        The rows.
    labels : array of shape (n,)
        From k-means, for example. Clusters of one row have no inner pairs.

    Returns
    -------
    ClusterCosines
        NaN where there are no such pairs; centred, rows without a direction form none, such as
        those of a cluster whose rows are all equal.

    Raises
    ------
    ValueError
        If a value is not finite, or `labels` has not one entry a row.

    Notes
    -----
    Over all pairs, by sums of unit rows: O(n d).

    References
    ----------
    Cai et al. 2021, "Isotropy in the contextual embedding space: clusters and manifolds", section
    3.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.metrics import cluster_cosines
    >>> rng, labels = np.random.default_rng(0), np.arange(200) % 2
    >>> X = rng.normal(size=(200, 16)) + 5 * rng.normal(size=(2, 16))[labels]
    >>> found = cluster_cosines(X, labels)
    >>> round(found.intra, 1), abs(round(found.intra_centred, 1))
    (0.9, 0.0)
    """
    rows, (groups,) = _rows_of(X, labels=labels)
    stored = 4 * max(unit_roundoff(rescaled(X).in_memory()), float(np.finfo(np.float64).eps))
    lengths = np.linalg.norm(rows, axis=1)
    found = []
    # What is left of rows that are equal, but for how they were rounded, has no direction.
    for part, noise in ((rows, 0.0), (_centred(rows, groups), stored * lengths)):
        units = _unit(part, noise)
        live = units.any(axis=1)
        sums, counts = _sums(units[live], groups[live]), np.bincount(groups[live])
        inner = float(np.square(sums).sum())
        pairs = float((counts * (counts - 1.0)).sum())
        total = float(np.square(sums.sum(0)).sum())
        across = float(counts.sum()) ** 2 - float(np.square(counts, dtype=float).sum())
        found.append((inner - counts.sum()) / pairs if pairs else float("nan"))
        found.append((total - inner) / across if across else float("nan"))
    return ClusterCosines(*map(float, found))
