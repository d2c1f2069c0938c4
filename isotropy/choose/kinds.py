"""Kinds of labels, and the figure by which each judges corrected rows."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata

from isotropy.choose.report import Risk
from isotropy.correctors.base import AffineCorrector
from isotropy.ranking import correlations, cosines, dcg, nearest, unit, vote

__all__ = [
    "CLUSTERED",
    "MEASURED",
    "AlikePairs",
    "Clusters",
    "GradedPairs",
    "JudgedQueries",
    "Kind",
    "Neighbours",
    "risk_of",
    "some_of",
]

CLUSTERED = 1500
"""Rows that k-means gets at most."""

_STARTS = 4
_SEARCHED = 20_000


class Kind(ABC):
    """Labels of a kind: the figure by which they judge corrected rows, larger for better.

    Attributes
    ----------
    name : str
        Of the figure.
    task : str
        What it stands for.
    labels : str
        What was counted, such as "scored pairs".
    size : int
        How many labels there are.
    rows : ndarray of int
        Which rows of X it wants to see.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    labels: ClassVar[str]
    size: int
    rows: np.ndarray

    @abstractmethod
    def seen(self, corrector: AffineCorrector, X: np.ndarray) -> Any:
        """What the labels are compared with; `X` are the `rows` as they came, in float64."""

    @abstractmethod
    def resampled(self, seen: Any, draws: np.ndarray) -> np.ndarray:
        """The figure of each draw of the labelled things: (b, size) to (b,)."""

    @abstractmethod
    def shuffled(self, seen: Any, order: np.ndarray) -> float:
        """The figure with the labels in another order, where they say nothing."""


class _Pairs(Kind):
    """Pairs of rows, and how alike they are."""

    task = "similarity"
    labels = "scored pairs"

    def __init__(self, pairs: np.ndarray, scores: np.ndarray) -> None:
        self.rows, places = np.unique(pairs, return_inverse=True)
        self._pairs, self._scores = places.reshape(pairs.shape), scores
        self.size = len(pairs)

    def seen(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The cosine of each pair."""
        Y = corrector.transform(X)
        return cosines(Y[self._pairs[:, 0]], Y[self._pairs[:, 1]])

    def shuffled(self, seen: np.ndarray, order: np.ndarray) -> float:
        """With scores of other pairs."""
        return float(self._figures(seen, self._scores[order], np.arange(self.size)[None])[0])

    def resampled(self, seen: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Of each draw of the pairs."""
        return self._figures(seen, self._scores, draws)

    @abstractmethod
    def _figures(self, found: np.ndarray, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """How well cosines follow scores in each draw."""


class GradedPairs(_Pairs):
    """Spearman's correlation of the cosines of pairs with their scores."""

    name = "Spearman correlation with the scores of the pairs"

    def _figures(self, found: np.ndarray, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
        return correlations(rankdata(found[draws], axis=1), rankdata(scores[draws], axis=1))


class AlikePairs(_Pairs):
    """Average precision of the pairs that are alike, among all pairs by their cosines.

    Pairs of equal cosine come in together, as scikit-learn has it.
    """

    name = "average precision of the pairs that are alike"

    def _figures(self, found: np.ndarray, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
        order = np.argsort(-found, kind="stable")
        together = np.searchsorted(-found[order], -found[order], side="right") - 1
        drawn = np.array([np.bincount(some, minlength=self.size) for some in draws])[:, order]
        alike = drawn * (scores[order] == self._scores.max())
        precision = alike.cumsum(1)[:, together] / np.maximum(1, drawn.cumsum(1)[:, together])
        found_alike: np.ndarray = (alike * precision).sum(1) / np.maximum(1, alike.sum(1))
        return found_alike


class _Averaged(Kind):
    """A figure that is the mean over what is labelled."""

    @abstractmethod
    def each(self, seen: Any, order: np.ndarray) -> np.ndarray:
        """Of each labelled thing, with the label that `order` gives it: shape (size,)."""

    def resampled(self, seen: Any, draws: np.ndarray) -> np.ndarray:
        """Means of the draws."""
        return self.each(seen, np.arange(self.size))[draws].mean(1)

    def shuffled(self, seen: Any, order: np.ndarray) -> float:
        """The mean with labels of others."""
        return float(self.each(seen, order).mean())


class Neighbours(_Averaged):
    """Accuracy of the ten nearest labelled rows by cosine, each row left out of its own."""

    name = "leave-one-out accuracy of ten nearest neighbours"
    task = "classes"
    labels = "labelled rows"

    def __init__(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        self.rows, self._numbers, self.size = rows, numbers, len(rows)

    def seen(self, corrector: AffineCorrector, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours of each row and their cosines."""
        Y = corrector.transform(X)
        found, values = zip(*nearest(Y, Y, 10, itself=True), strict=True)
        return np.concatenate(found), np.concatenate(values)

    def each(self, seen: tuple[np.ndarray, np.ndarray], order: np.ndarray) -> np.ndarray:
        """1 where the neighbours vote for the row's own class."""
        numbers = self._numbers[order]
        found: np.ndarray = vote(*seen, numbers, int(numbers.max()) + 1) == numbers
        return found.astype(float)


class Clusters(Kind):
    """V-measure of k-means, mean of several starts, for one start is noise of two points.

    All rows are clustered, up to 1,500 of them; those with a label are judged.
    """

    name = "V-measure of k-means"
    task = "clusters"
    labels = "labelled rows"

    def __init__(self, rows: np.ndarray, numbers: np.ndarray, more: np.ndarray) -> None:
        self.rows, self._numbers = np.concatenate([rows, more]), numbers
        self.size, self._k = len(rows), int(numbers.max()) + 1

    def seen(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The clusters of the labelled rows by start: shape (starts, size)."""
        from sklearn.cluster import KMeans  # brings most of scikit-learn, half a second

        Y = unit(corrector.transform(X)).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer different rows than clusters
            return np.array(
                [
                    KMeans(self._k, n_init=1, tol=1e-3, random_state=start).fit_predict(Y)
                    for start in range(_STARTS)
                ]
            )[:, : self.size]

    def resampled(self, seen: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Of each draw of rows, and of starts; the first is of all starts."""
        starts = np.random.default_rng(0).integers(0, _STARTS, (len(draws), _STARTS))
        starts[0] = np.arange(_STARTS)
        return np.array(
            [
                np.mean([self._agreed(seen[start][some], self._numbers[some]) for start in which])
                for some, which in zip(draws, starts, strict=True)
            ]
        )

    def shuffled(self, seen: np.ndarray, order: np.ndarray) -> float:
        """With labels of other rows."""
        return float(np.mean([self._agreed(one, self._numbers[order]) for one in seen]))

    def _agreed(self, clusters: np.ndarray, numbers: np.ndarray) -> float:
        counts = np.bincount(clusters * self._k + numbers, minlength=self._k**2)
        joint = counts.reshape(self._k, self._k) / len(numbers)
        apart = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
        return 2 * (apart - _entropy(joint.ravel())) / apart if apart > 0 else 1.0


def _entropy(shares: np.ndarray) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


class JudgedQueries(_Averaged):
    """nDCG@10 of judged queries, about their own mean, against 20,000 rows at most.

    Rows that were judged are always among those that are searched.
    """

    name = "nDCG@10 of the judged queries"
    task = "search"
    labels = "judged queries"

    def __init__(
        self,
        queries: np.ndarray,
        judged: Mapping[int, Mapping[int, float]],
        n: int,
        random_state: int,
    ) -> None:
        known = np.unique([row for item in judged.values() for row in item])
        others = np.setdiff1d(np.arange(n), known)
        more = others[some_of(len(others), max(0, _SEARCHED - len(known)), random_state)]
        self.rows = np.union1d(known, more)
        place = dict(zip(self.rows.tolist(), range(len(self.rows)), strict=True))
        self._judged = [
            {place[row]: grade for row, grade in item.items()} for item in judged.values()
        ]
        self._ideal = np.array([dcg(sorted(item.values(), reverse=True)) for item in self._judged])
        self._queries, self._asked, self.size = queries, list(judged), len(judged)

    def seen(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The ten rows found first by each query."""
        asked = corrector.for_queries(self._queries).transform(self._queries[self._asked])
        found = nearest(asked, corrector.transform(X), 10)
        return np.concatenate([block for block, _ in found])

    def each(self, seen: np.ndarray, order: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query."""
        found = [
            [self._judged[k].get(row, 0.0) for row in ten]
            for k, ten in zip(order.tolist(), seen.tolist(), strict=True)
        ]
        each: np.ndarray = dcg(found) / self._ideal[order]
        return each


MEASURED: dict[type[Kind], dict[int, Risk]] = {
    GradedPairs: {50: Risk(144, 3, 2.4), 200: Risk(144, 0, 0.5), 600: Risk(144, 3, 1.9)},
    AlikePairs: {50: Risk(48, 0, 0.2), 200: Risk(48, 3, 1.3), 600: Risk(48, 4, 1.2)},
    JudgedQueries: {50: Risk(96, 4, 3.8), 150: Risk(96, 2, 1.3)},
    Neighbours: {50: Risk(284, 11, 2.8), 200: Risk(284, 11, 2.3), 600: Risk(284, 16, 2.7)},
    Clusters: {50: Risk(20, 1, 3.6), 200: Risk(20, 1, 3.3), 600: Risk(20, 4, 3.9)},
}
"""What `benchmarks/choose_labels.py` found, by kind and number of labels."""


def risk_of(kind: Kind) -> Risk:
    """With the most labels measured that are no more than these, or the fewest."""
    known = MEASURED[type(kind)]
    return known[max((size for size in known if size <= kind.size), default=min(known))]


def some_of(n: int, wanted: int, random_state: int) -> np.ndarray:
    """As many of n as are wanted, drawn at random, in order."""
    return np.sort(np.random.default_rng(random_state).permutation(n)[:wanted])
