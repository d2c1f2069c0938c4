"""What labels say of a correction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata

from isotropy.choose.candidates import Candidate
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.pairs import check_pairs
from isotropy.ranking import correlations, cosines, ndcg, nearest, vote
from isotropy.rows import as_rows

__all__ = [
    "ClassLabels",
    "Evidence",
    "Given",
    "JudgedQueries",
    "PairScores",
    "Verdict",
]

_SAMPLE = 3000
_DRAWS = 200


@dataclass(frozen=True)
class Verdict:
    """What a piece of evidence says of the candidates.

    Parameters
    ----------
    name : str
        Of the criterion.
    values : ndarray of shape (n,)
        Of the candidates, larger for better.
    errors : ndarray of shape (n,)
        Standard errors of the differences to the first, which is no correction.
    good : bool ndarray of shape (n,)
        Which are good enough to be chosen.
    pick : int
        The one to be chosen.
    """

    name: str
    values: np.ndarray
    errors: np.ndarray
    good: np.ndarray
    pick: int


class Evidence(ABC):
    """A criterion of corrected rows, larger for better.

    Attributes
    ----------
    name : str
    rows : ndarray of int
        Which rows of X it wants to see.
    """

    name: ClassVar[str]
    rows: np.ndarray

    @abstractmethod
    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """Shape (1 + draws,): the criterion, and what it is in each resample, alike for all.

        `X` are the `rows` as they came, in float64; `corrector` is fitted.
        """

    def judge(self, options: Sequence[Candidate], X: np.ndarray, tolerance: float) -> Verdict:
        """Good are those within `tolerance` standard errors of the best; the first is picked."""
        values = np.array([self.values(option.corrector, X) for option in options])
        best = int(values[:, 0].argmax())
        errors = (values[:, 1:] - values[best, 1:]).std(1)
        good = values[:, 0] >= values[best, 0] - tolerance * errors
        apart = (values[:, 1:] - values[0, 1:]).std(1)
        return Verdict(self.name, values[:, 0], apart, good, int(good.argmax()))


def _drawn(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n, size=(_DRAWS, n))


class PairScores(Evidence):
    """Spearman's correlation of the cosines of pairs with their scores.

    Parameters
    ----------
    pairs : int array of shape (m, 2)
    scores : array of shape (m,)
    """

    name = "Spearman's correlation with the scores of the pairs"

    def __init__(self, pairs: np.ndarray, scores: np.ndarray) -> None:
        self.rows, places = np.unique(pairs, return_inverse=True)
        self._pairs = places.reshape(pairs.shape)
        draws = np.concatenate([np.arange(len(pairs))[None], _drawn(len(pairs))])
        self._draws, self._ranks = draws, rankdata(scores[draws], axis=1)

    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The correlation."""
        Y = corrector.transform(X)
        found = cosines(Y[self._pairs[:, 0]], Y[self._pairs[:, 1]])
        return correlations(rankdata(found[self._draws], axis=1), self._ranks)


class ClassLabels(Evidence):
    """Accuracy of the ten nearest neighbours by cosine, each row left out of its own.

    Parameters
    ----------
    labels : array of shape (n,)
        Of all rows.
    rows : int array
    """

    name = "leave-one-out accuracy of ten nearest neighbours"

    def __init__(self, labels: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows
        kinds, self._numbers = np.unique(labels[rows], return_inverse=True)
        self._n_kinds = len(kinds)
        self._draws = _drawn(len(rows))

    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The accuracy."""
        Y = corrector.transform(X)
        said = [
            vote(found, values, self._numbers, self._n_kinds)
            for found, values in nearest(Y, Y, 10, itself=True)
        ]
        right = (np.concatenate(said) == self._numbers).astype(float)
        return np.concatenate([[right.mean()], right[self._draws].mean(1)])


class JudgedQueries(Evidence):
    """nDCG@10 of judged queries against all rows; queries about their own mean.

    Parameters
    ----------
    queries : array of shape (q, d)
    relevant : sequence of q collections of row numbers, or mappings of them to grades
    n : int
        Rows of X.

    Raises
    ------
    ValueError
        If a query has no relevant row, or one that is not in X.
    """

    name = "nDCG@10 of the judged queries"

    def __init__(self, queries: np.ndarray, relevant: Sequence[Any], n: int) -> None:
        self.rows, self._queries = np.arange(n), queries
        self._relevant = [
            dict(item) if isinstance(item, dict) else {int(row): 1.0 for row in item}
            for item in relevant
        ]
        for query, item in enumerate(self._relevant):
            if not any(grade > 0 for grade in item.values()) or min(item) < 0 or max(item) >= n:
                raise ValueError(
                    f"relevant[{query}] must name rows of X, from 0 to {n - 1}, at least one."
                )
        self._draws = _drawn(len(self._relevant))

    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """The mean nDCG@10."""
        asked = corrector.for_queries(self._queries).transform(self._queries)
        found = [row for block, _ in nearest(asked, corrector.transform(X), 10) for row in block]
        each = np.array(
            [
                ndcg([item.get(int(row), 0.0) for row in some], list(item.values()))
                for some, item in zip(found, self._relevant, strict=True)
            ]
        )
        return np.concatenate([[each.mean()], each[self._draws].mean(1)])


@dataclass(frozen=True)
class Given:
    """What was passed to `AutoCorrector.fit` beside the embeddings, from which evidence is made."""

    classes: Any = None
    pairs: Any = None
    pair_scores: Any = None
    queries: Any = None
    relevant: Sequence[Any] | None = None

    def checked(self, shape: tuple[int, int]) -> Given:
        """Refuse what does not fit rows of this shape, or each other."""
        kinds = [kind for kind in ("classes", "pairs", "relevant") if self._has(kind)]
        if len(kinds) > 1:
            raise ValueError(f"labels of one kind at a time, got {' and '.join(kinds)}.")
        return self

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def labels(self, n: int, random_state: int) -> Evidence | None:
        """The evidence of labels, if there are any."""
        if self.pairs is not None:
            numbers, scores = check_pairs(self.pairs, self.pair_scores, n, need_scores=True)
            assert scores is not None
            return PairScores(numbers, scores)
        if self.classes is not None:
            return ClassLabels(_named_classes(self.classes, n), _sample(n, random_state))
        if self.relevant is None:
            return None
        queries = None if self.queries is None else _wide(self.queries, "queries")
        if queries is None or len(queries) != len(self.relevant):
            raise ValueError("relevant needs queries: one entry for each row of queries.")
        return JudgedQueries(queries, self.relevant, n)


def _wide(rows: Any, name: str) -> np.ndarray:
    """Rows of any kind in memory, in float64."""
    known = as_rows(rows, name=name)
    return known.take(np.arange(len(known))).astype(np.float64)


def _sample(n: int, random_state: int) -> np.ndarray:
    return np.sort(np.random.default_rng(random_state).permutation(n)[:_SAMPLE])


def _named_classes(classes: Any, n: int) -> np.ndarray:
    named = np.asarray([str(label) for label in np.asarray(classes).ravel()])
    kinds = len(set(named.tolist()))
    if len(named) != n or kinds < 2:
        raise ValueError(
            f"classes must be one a row, {n}, of at least two kinds, got {len(named)} of {kinds}."
        )
    return named
