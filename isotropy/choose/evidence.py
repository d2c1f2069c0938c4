"""What speaks for a correction: word overlap, views of the same text, labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

__all__ = ["ClassLabels", "Evidence", "JudgedQueries", "Overlap", "PairScores", "Views", "unit"]

_GROUPS = 10
_DRAWS = 200
_RUNGS = 24
_COUNTED = 50_000


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one; zero rows stay."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    out: np.ndarray = rows / np.where(norms > 0, norms, 1)
    return out


def _correlations(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of A with that of B; 0 where one is constant."""
    A = A - A.mean(-1, keepdims=True)
    B = B - B.mean(-1, keepdims=True)
    scale = np.sqrt((A * A).sum(-1) * (B * B).sum(-1))
    found: np.ndarray = np.where(scale > 0, (A * B).sum(-1) / np.where(scale > 0, scale, 1), 0.0)
    return found


class Evidence:
    """A criterion of corrected rows, larger for better.

    Attributes
    ----------
    name : str
    rows : ndarray of int
        Which rows of X it wants to see.
    """

    name: str
    rows: np.ndarray

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        """Shape (1 + draws,): the criterion, and what it is in each resample, alike for all Y.

        `Y` are the corrected `rows`, `Z` the corrected queries or views.
        """
        raise NotImplementedError


class Overlap(Evidence):
    """Do cosines agree with shared words? Spearman's correlation, over all pairs and within texts.

    Each text is compared with 24 others, from the one that shares most words to one that shares
    none, at ranks that grow geometrically. Words count by tf-idf.
    """

    name = "agreement with word overlap"

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.rows = rows
        words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        mine = [texts[row] for row in rows]
        # How rare a word is, some ten thousand texts tell as well as all.
        words.fit([*mine, *texts[:: max(1, len(texts) // _COUNTED)]])
        matrix = words.transform(mine)
        shared = (matrix @ matrix.T).toarray()
        n = len(rows)
        rungs = np.unique(np.round(np.geomspace(1, n - 1, min(_RUNGS, n - 1))).astype(int))
        np.fill_diagonal(shared, np.inf)
        self._others = np.argsort(-shared, axis=1, kind="stable")[:, rungs]
        self._shared = np.take_along_axis(shared, self._others, 1)
        self._within = rankdata(self._shared, axis=1)

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        found, _ = self.both(Y)
        return found

    def both(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Over all pairs and within texts: the value, then those of ten tenths of the texts."""
        Y = unit(Y)
        cosines = np.take_along_axis(Y @ Y.T, self._others, 1)
        within = _correlations(rankdata(cosines, axis=1), self._within)
        groups = [slice(None), *(slice(k, None, _GROUPS) for k in range(_GROUPS))]
        overall = [
            _correlations(rankdata(cosines[g].ravel()), rankdata(self._shared[g].ravel()))
            for g in groups
        ]
        return np.array(overall, float), np.array([within[g].mean() for g in groups])


class Views(Evidence):
    """Is a text found by another view of it? InfoNCE at a temperature of 0.1, negative loss."""

    name = "retrieval of a text by its view (InfoNCE)"

    def __init__(self, rows: np.ndarray, temperature: float = 0.1) -> None:
        self.rows, self._temperature = rows, temperature
        self._draws = _drawn(len(rows))

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        assert Z is not None
        scores = unit(Z) @ unit(Y).T / self._temperature
        top = scores.max(1)
        each = np.diag(scores) - top - np.log(np.exp(scores - top[:, None]).sum(1))
        return np.concatenate([[each.mean()], each[self._draws].mean(1)])


def _drawn(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, n, size=(_DRAWS, n))


class PairScores(Evidence):
    """Spearman's correlation of the cosines of pairs with their scores."""

    name = "Spearman's correlation with the scores of the pairs"

    def __init__(self, pairs: np.ndarray, scores: np.ndarray) -> None:
        self.rows, places = np.unique(pairs, return_inverse=True)
        self._pairs = places.reshape(pairs.shape)
        draws = np.concatenate([np.arange(len(pairs))[None], _drawn(len(pairs))])
        self._draws, self._ranks = draws, rankdata(scores[draws], axis=1)

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        Y = unit(Y)
        cosines = np.einsum("ij,ij->i", Y[self._pairs[:, 0]], Y[self._pairs[:, 1]])
        return _correlations(rankdata(cosines[self._draws], axis=1), self._ranks)


class ClassLabels(Evidence):
    """Accuracy of the ten nearest neighbours by cosine, each row left out of its own."""

    name = "leave-one-out accuracy of ten nearest neighbours"

    def __init__(self, labels: np.ndarray, rows: np.ndarray) -> None:
        self.rows = rows
        self._numbers = np.unique(labels[rows], return_inverse=True)[1]
        self._draws = _drawn(len(rows))

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        Y = unit(Y)
        scores = Y @ Y.T
        np.fill_diagonal(scores, -np.inf)
        k = min(10, len(Y) - 1)
        near = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        votes = np.zeros((len(Y), self._numbers.max() + 1))
        weights = np.take_along_axis(scores, near, 1) + 1
        np.add.at(votes, (np.arange(len(Y))[:, None], self._numbers[near]), weights)
        right = (votes.argmax(1) == self._numbers).astype(float)
        return np.concatenate([[right.mean()], right[self._draws].mean(1)])


class JudgedQueries(Evidence):
    """nDCG@10 of judged queries against all rows."""

    name = "nDCG@10 of the judged queries"

    def __init__(self, relevant: Sequence[Any], n: int) -> None:
        self.rows = np.arange(n)
        self._relevant = [
            dict(item) if isinstance(item, dict) else {int(row): 1.0 for row in item}
            for item in relevant
        ]
        for query, item in enumerate(self._relevant):
            if not item or not all(0 <= row < n for row in item):
                raise ValueError(
                    f"relevant[{query}] must name rows of X, from 0 to {n - 1}, at least one."
                )
        self._draws = _drawn(len(self._relevant))

    def values(self, Y: np.ndarray, Z: np.ndarray | None) -> np.ndarray:
        from isotropy.ranking import ndcg

        assert Z is not None
        Y, Z = unit(Y), unit(Z)
        each = np.empty(len(Z))
        for query, item in enumerate(self._relevant):
            scores = Y @ Z[query]
            best = np.argsort(-scores, kind="stable")[:10]
            gains = np.array([item.get(int(row), 0.0) for row in best])
            each[query] = ndcg(gains, np.array(list(item.values())))
        return np.concatenate([[each.mean()], each[self._draws].mean(1)])


Encoder = Callable[[Sequence[str]], Any]
