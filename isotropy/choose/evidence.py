"""What speaks for a correction: word overlap, views of the same text, labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata

from isotropy.choose.candidates import Candidate
from isotropy.choose.texts import terms, word_dropout
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.pairs import check_pairs
from isotropy.ranking import correlations, cosines, ndcg, nearest, rounded, unit, vote
from isotropy.rows import as_rows

__all__ = [
    "ClassLabels",
    "Evidence",
    "Given",
    "JudgedQueries",
    "Overlap",
    "PairScores",
    "SaysNothingError",
    "Verdict",
    "Views",
]

_SAMPLE = 3000
_LEAST_TEXTS = 50
_TENTHS = 10
_DRAWS = 200
_RUNGS = 24
_COUNTED = 50_000
_SHUFFLED = 600
_SHUFFLES = 99
_SURE = 6.0


class SaysNothingError(Exception):
    """What was given says nothing of the rows; the message says why, in a sentence."""


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


class _Ladder:
    """Each text beside others, from the one that shares most with it to one that shares nothing.

    At ranks that grow geometrically. Of texts that share as much the first comes first, or one that
    is drawn.
    """

    def __init__(self, shared: np.ndarray, draw: np.random.Generator | None = None) -> None:
        n = len(shared)
        # Rounding must not tell apart what is equal.
        shared = np.round(shared, 9)
        np.fill_diagonal(shared, np.inf)
        rungs = np.unique(np.round(np.geomspace(1, n - 1, min(_RUNGS, n - 1))).astype(int))
        ties = 0.0 if draw is None else 1e-10 * draw.random(shared.shape)
        self.others = np.argsort(-(shared + ties), axis=1, kind="stable")[:, rungs]
        self.shared = np.take_along_axis(shared, self.others, 1)


class Overlap(Evidence):
    """Do cosines agree with shared words? Spearman's correlation, over all pairs and within texts.

    Each text is compared with 24 others, from the one that shares most words to one that shares
    none, at ranks that grow geometrically. Words count by tf-idf; where a language writes no spaces
    between words, pairs of characters do.

    Parameters
    ----------
    texts : sequence of str
        Of all rows.
    rows : int array
        The rows to look at.

    Raises
    ------
    SaysNothingError
        If there are too few texts, or they hold no words.
    """

    name = "agreement with word overlap"

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        if len(rows) < _LEAST_TEXTS:
            raise SaysNothingError(
                f"{len(rows)} texts are too few to go by, {_LEAST_TEXTS} are needed."
            )
        self.rows = rows
        words = TfidfVectorizer(sublinear_tf=True, analyzer=terms)
        mine = [texts[row] for row in rows]
        try:
            # How rare a word is, some ten thousand texts tell as well as all.
            words.fit([*mine, *texts[:: max(1, len(texts) // _COUNTED)]])
        except ValueError:
            raise SaysNothingError("The texts hold no words.") from None
        matrix = words.transform(mine)
        shared = (matrix @ matrix.T).toarray()
        self._ladder = _Ladder(shared)
        self._within = rankdata(self._ladder.shared, axis=1)
        self._some = np.arange(0, len(rows), -(-len(rows) // _SHUFFLED))
        # Drawn, lest the same few texts stand at the foot of all ladders.
        draw = np.random.default_rng(0)
        self._checked = _Ladder(shared[np.ix_(self._some, self._some)], draw)

    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """Over all pairs; see `both`."""
        return self.both(corrector.transform(X))[0]

    def both(self, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Over all pairs and within texts: the value, then those of ten tenths of the texts."""
        Y = unit(Y)
        found = rounded(np.take_along_axis(Y @ Y.T, self._ladder.others, 1))
        within = correlations(rankdata(found, axis=1), self._within)
        groups = [slice(None), *(slice(k, None, _TENTHS) for k in range(_TENTHS))]
        overall = [
            correlations(rankdata(found[g].ravel()), rankdata(self._ladder.shared[g].ravel()))
            for g in groups
        ]
        return np.array(overall, float), np.array([within[g].mean() for g in groups])

    def judge(self, options: Sequence[Candidate], X: np.ndarray, tolerance: float) -> Verdict:
        """Good are those that agree better than no correction, both ways; the last is picked.

        Raises
        ------
        SaysNothingError
            If the agreement is that of texts in another order.
        """
        corrected = [option.corrector.transform(X) for option in options]
        sureness = self.sureness(corrected)
        if sureness <= _SURE:
            raise SaysNothingError(
                "The texts say nothing of the rows: rows of texts that share words are no more "
                f"alike than when the texts are shuffled ({sureness:.1f} standard deviations)."
            )
        found = np.array([self.both(Y) for Y in corrected])
        better = np.all(found[:, :, 0] > found[0, :, 0], axis=1)
        good = np.logical_and(better, [option.by_strength for option in options])
        good[0] = True
        values = found[:, 0]
        # Tenths of the texts spread sqrt(10) times as much as the value does.
        errors = (values[:, 1:] - values[0, 1:]).std(1) / np.sqrt(_TENTHS)
        return Verdict(self.name, values[:, 0], errors, good, int(np.flatnonzero(good)[-1]))

    def sureness(self, corrected: Sequence[np.ndarray]) -> float:
        """How far the best agreement of any candidate is above that with the texts shuffled.

        In standard deviations of the shuffled ones; 0 where it is not above all of these.
        """
        ladder = self._checked
        wanted = rankdata(ladder.shared)
        draw = np.random.default_rng(0)
        n = len(self._some)
        orders = [np.arange(n), *(draw.permutation(n) for _ in range(_SHUFFLES))]
        best = np.full(len(orders), -np.inf)
        for Y in corrected:
            Y = unit(Y[self._some])
            ranks = rankdata(rounded(Y @ Y.T)).reshape(n, n)
            for place, order in enumerate(orders):
                found = ranks[order[:, None], order[ladder.others]].ravel()
                best[place] = max(best[place], correlations(found, wanted))
        above, spread = best[0] - best[1:].mean(), best[1:].std()
        return float(above / spread) if best[0] > best[1:].max() and spread > 1e-9 else 0.0


class Views(Evidence):
    """Is a text found by another view of it? InfoNCE at a temperature of 0.1, negative loss.

    Parameters
    ----------
    rows : int array of shape (m,)
    views : array of shape (m, d)
        Embeddings of the same texts, shortened or of another layer.
    """

    name = "retrieval of a text by its view (InfoNCE)"

    def __init__(self, rows: np.ndarray, views: np.ndarray, temperature: float = 0.1) -> None:
        self.rows, self._views, self._temperature = rows, views, temperature
        self._draws = _drawn(len(rows))

    def values(self, corrector: AffineCorrector, X: np.ndarray) -> np.ndarray:
        """Minus the mean loss."""
        found, own = unit(corrector.transform(self._views)), unit(corrector.transform(X))
        scores = found @ own.T / self._temperature
        top = scores.max(1)
        each = np.diag(scores) - top - np.log(np.exp(scores - top[:, None]).sum(1))
        return np.concatenate([[each.mean()], each[self._draws].mean(1)])


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

    texts: Sequence[str] | None = None
    views: Any = None
    classes: Any = None
    pairs: Any = None
    pair_scores: Any = None
    queries: Any = None
    relevant: Sequence[Any] | None = None

    def checked(self, shape: tuple[int, int]) -> Given:
        """Refuse what does not fit rows of this shape, or each other."""
        n = shape[0]
        kinds = [kind for kind in ("classes", "pairs", "relevant") if self._has(kind)]
        if len(kinds) > 1:
            raise ValueError(f"labels of one kind at a time, got {' and '.join(kinds)}.")
        if self.texts is not None:
            texts = list(self.texts)
            if len(texts) != n or not all(isinstance(text, str) for text in texts):
                raise ValueError(f"texts must be {n} strings, one a row, got {len(texts)}.")
        if self.views is not None and tuple(as_rows(self.views, name="views").shape) != shape:
            raise ValueError(
                f"views must have shape {shape}, got {as_rows(self.views, name='views').shape}."
            )
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

    def label_free(
        self,
        n: int,
        random_state: int,
        criterion: str,
        encoder: Callable[[list[str]], Any] | None,
    ) -> Evidence | None:
        """The evidence of views or texts, if there are any."""
        rows = _sample(n, random_state)
        if criterion == "views":
            return Views(rows, self._seen(rows, random_state, encoder))
        return None if self.texts is None else Overlap(list(self.texts), rows)

    def _seen(
        self, rows: np.ndarray, random_state: int, encoder: Callable[[list[str]], Any] | None
    ) -> np.ndarray:
        if self.views is not None:
            return as_rows(self.views, name="views").take(rows).astype(np.float64)
        if self.texts is None or encoder is None:
            raise ValueError("criterion='views' needs views, or texts and an encoder.")
        some = [self.texts[int(row)] for row in rows]
        return _wide(encoder(word_dropout(some, random_state=random_state)), "views")


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
