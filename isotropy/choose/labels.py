"""What labels say of candidates, and which one they choose: pairs, classes, judged queries."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata

from isotropy.choose.candidates import Candidate
from isotropy.choose.report import Risk
from isotropy.correctors.base import AffineCorrector
from isotropy.correctors.pairs import check_pairs
from isotropy.moments import Moments
from isotropy.ranking import correlations, cosines, dcg, nearest, unit, vote
from isotropy.rows import Rows, as_rows

__all__ = [
    "LEAST",
    "MEASURED",
    "Kind",
    "Labels",
    "SaysNothingError",
    "Verdict",
    "judge",
    "labelled",
]

LEAST = 20
"""Labels of a kind; fewer say too little to choose by."""

_LEAST_ALIKE = 5
_PAIRS = 5000
_ROWS = 3000
_CLUSTERED = 1500
_STARTS = 4
_SEARCHED = 20_000
_DRAWS = 100
_SHUFFLES = 20
_SURE = 4.0
_FLOOR = 1e-3
_HARM = 0.005  # half a point, which counts as hurt in what was measured


class SaysNothingError(Exception):
    """What was given says nothing of the rows; the message says why, in a sentence."""


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
        more = others[_some(len(others), max(0, _SEARCHED - len(known)), random_state)]
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


def _risk(kind: Kind) -> Risk:
    """With the most labels measured that are no more than these, or the fewest."""
    known = MEASURED[type(kind)]
    return known[max((size for size in known if size <= kind.size), default=min(known))]


# -- what was passed ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """Labels of one or several kinds.

    Parameters
    ----------
    kinds : tuple of Kind
    notes : tuple of str
        What was left out, and why.
    """

    kinds: tuple[Kind, ...]
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """What they stand for; None where several kinds stand for several."""
        found = {kind.task for kind in self.kinds}
        return found.pop() if len(found) == 1 else None


def labelled(
    n: int,
    *,
    task: str | None = None,
    random_state: int = 0,
    classes: Any = None,
    pairs: Any = None,
    pair_scores: Any = None,
    queries: Any = None,
    relevant: Sequence[Any] | None = None,
) -> Labels | None:
    """What was passed beside n rows, checked; None where there are no labels.

    Parameters
    ----------
    n : int
    task : str or None
        "clusters" judges classes by clusters.
    random_state : int
        Draws of what is many.
    classes, pairs, pair_scores, queries, relevant
        As `AutoCorrector.fit` takes them.

    Returns
    -------
    Labels or None

    Raises
    ------
    ValueError
        If what is passed does not fit the rows, or each other.

    Examples
    --------
    >>> labelled(100, classes=["a", "b"] * 30 + [None] * 40).kinds[0].size
    60
    >>> labelled(100, classes=["a", "b"] + [None] * 98).notes
    ('2 labelled rows are too few to choose by, 20 are needed.',)
    """
    made = {
        "pairs": lambda: _of_pairs(pairs, pair_scores, n, random_state),
        "classes": lambda: _of_classes(classes, n, task, random_state),
        "relevant": lambda: _of_queries(queries, relevant, n, random_state),
    }
    if pairs is None and pair_scores is not None:
        raise ValueError("pair_scores needs pairs: two row numbers of X for each score.")
    given = {"pairs": pairs, "classes": classes, "relevant": relevant}
    kinds: list[Kind] = []
    notes: list[str] = []
    for name, one in given.items():
        if one is None:
            continue
        try:
            kinds.append(made[name]())
        except SaysNothingError as nothing:
            notes.append(str(nothing))
    return Labels(tuple(kinds), tuple(notes)) if kinds or notes else None


def _enough(size: int, what: str, least: int = LEAST) -> None:
    if size < least:
        raise SaysNothingError(f"{size} {what} are too few to choose by, {least} are needed.")


def _some(n: int, wanted: int, random_state: int) -> np.ndarray:
    return np.sort(np.random.default_rng(random_state).permutation(n)[:wanted])


def _of_pairs(pairs: Any, pair_scores: Any, n: int, random_state: int) -> Kind:
    numbers, scores = check_pairs(pairs, pair_scores, n, need_scores=True)
    assert scores is not None
    apart = numbers[:, 0] != numbers[:, 1]  # a row and itself are always alike
    numbers, scores = numbers[apart], scores[apart]
    _enough(len(scores), "scored pairs")
    some = _some(len(scores), _PAIRS, random_state)
    numbers, scores = numbers[some], scores[some]
    values, counts = np.unique(scores, return_counts=True)
    if len(values) > 2:
        return GradedPairs(numbers, scores)
    _enough(int(counts.min()) if len(values) > 1 else 0, "pairs of one of two scores", _LEAST_ALIKE)
    return AlikePairs(numbers, scores)


def _of_classes(classes: Any, n: int, task: str | None, random_state: int) -> Kind:
    found = next(
        (name for name in ("tolist", "to_list", "to_pylist") if hasattr(classes, name)), ""
    )
    listed = getattr(classes, found)() if found else list(classes)
    if len(listed) != n or any(isinstance(one, list) for one in listed):
        raise ValueError(
            f"classes must be one a row, {n}, None or NaN where a row has none, got {len(listed)}"
            f"{' lists' if listed and isinstance(listed[0], list) else ''}."
        )
    known = np.flatnonzero([not _missing(one) for one in listed])
    _enough(len(known), "labelled rows")
    wanted = _CLUSTERED if task == "clusters" else _ROWS
    rows = known[_some(len(known), wanted, random_state)]
    kinds, numbers = np.unique([str(listed[row]) for row in rows], return_inverse=True)
    most = np.bincount(numbers).max()
    if len(kinds) < 2 or most < 2:
        told = "all the same" if len(kinds) < 2 else "all different"
        raise ValueError(f"classes must be at least two, of several rows each; they are {told}.")
    if task != "clusters":
        return Neighbours(rows, numbers)
    others = np.setdiff1d(np.arange(n), known)
    more = others[_some(len(others), max(0, wanted - len(rows)), random_state)]
    return Clusters(rows, numbers, more)


def _missing(label: Any) -> bool:
    """None, NaN and their like are no class."""
    try:
        return label is None or bool(label != label)
    except (TypeError, ValueError):  # pandas.NA is neither equal nor not
        return True


def _of_queries(queries: Any, relevant: Any, n: int, random_state: int) -> Kind:
    if queries is None or isinstance(queries, Moments):
        raise ValueError("relevant needs queries: rows, one for each entry of relevant.")
    known = as_rows(queries, name="queries")
    asked = known.take(np.arange(len(known))).astype(np.float64)
    if len(asked) != len(relevant):
        raise ValueError(
            f"relevant must have one entry for each of {len(asked)} queries, got {len(relevant)}."
        )
    judged = {query: _judged(query, item, n) for query, item in enumerate(relevant)}
    judged = {query: item for query, item in judged.items() if max(item.values(), default=0) > 0}
    if not judged:
        raise ValueError("relevant names no row for any query: there is nothing to judge by.")
    _enough(len(judged), "judged queries")
    return JudgedQueries(asked, judged, n, random_state)


def _judged(query: int, item: Any, n: int) -> dict[int, float]:
    """Row to grade; empty for a query that nobody judged."""
    told = f"relevant[{query}] must be row numbers from 0 to {n - 1}, or a dict of them to grades"
    if item is None:
        return {}
    try:
        pairs = item.items() if isinstance(item, Mapping) else ((row, 1.0) for row in item)
        found = {index(row): float(grade) for row, grade in pairs}
    except (TypeError, ValueError):
        raise ValueError(f"{told}, got {item!r:.80}.") from None
    wrong = [row for row in found if not 0 <= row < n]
    if wrong or not np.isfinite(list(found.values())).all():
        raise ValueError(f"{told}, got {wrong[0] if wrong else item!r:.80}.")
    return found


# -- the choice -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What labels say of the candidates.

    Parameters
    ----------
    name : str
        Of the figure, or of several.
    task : str or None
        What the labels stand for.
    evidence : dict
        How many labels of each kind there were.
    values : ndarray of shape (n,)
        Of the candidates, larger for better; of several kinds the weighted mean.
    errors : ndarray of shape (n,)
        Standard errors of the differences to the first, which is no correction.
    pick : int
        The one that is chosen.
    reason : str
        The choice in a sentence or two.
    risk : Risk
        How often a choice by as many labels did harm; of several kinds the one that did most.
    """

    name: str
    task: str | None
    evidence: dict[str, Any]
    values: np.ndarray
    errors: np.ndarray
    pick: int
    reason: str
    risk: Risk


@dataclass(frozen=True)
class _Told:
    """What one kind says: values of the candidates, and errors of their gains."""

    kind: Kind
    values: np.ndarray
    errors: np.ndarray

    @property
    def gains(self) -> np.ndarray:
        found: np.ndarray = self.values - self.values[0]
        return found


def judge(
    options: Sequence[Candidate],
    rows: Rows,
    labels: Labels,
    tolerance: float,
) -> Verdict:
    """The candidate whose gain is surely the largest: by its value less `tolerance` errors.

    Parameters
    ----------
    options : sequence of Candidate
        Fitted; the first is no correction.
    rows : Rows
        Of X, as they came.
    labels : Labels
    tolerance : float
        In standard errors of the gain, from resampled labels. No correction is taken where no
        candidate gains more than that.

    Returns
    -------
    Verdict

    Raises
    ------
    SaysNothingError
        If no kind says anything of the rows: too few labels, or labels in no better agreement with
        any candidate than when they are shuffled.

    Notes
    -----
    **Several kinds**: gains are averaged with weights that are the inverse of their usual standard
    errors, so that each kind counts in its own standard errors. A candidate is out where the gain
    by any kind, less `tolerance` errors, is a loss of over half a point: what one task gains must
    not be paid for by another.

    Tried and left out, since each hurt more or gained less: the best value alone; the least
    correction within an error of the best; gains shrunk towards those of other encoders and texts;
    the choice without labels where labels are not sure of another.
    """
    notes, told = list(labels.notes), []
    for kind in labels.kinds:
        try:
            told.append(_said(kind, options, rows))
        except SaysNothingError as nothing:
            notes.append(str(nothing))
    if not told:
        raise SaysNothingError(" ".join(notes))
    values, errors = _averaged(told)
    harmless = np.all([one.gains - tolerance * one.errors >= -_HARM for one in told], axis=0)
    harmless[0] = True
    pick, why = _picked(options, told, values, errors, harmless, tolerance)
    return Verdict(
        _named(told),
        Labels(tuple(one.kind for one in told)).task,
        {one.kind.labels: one.kind.size for one in told},
        values,
        errors,
        pick,
        " ".join([*notes, why]),
        max((_risk(one.kind) for one in told), key=lambda risk: risk.hurt / risk.cells),
    )


def _said(kind: Kind, options: Sequence[Candidate], rows: Rows) -> _Told:
    X = rows.take(kind.rows).astype(np.float64)
    seen = [kind.seen(option.corrector, X) for option in options]
    draw = np.random.default_rng(0)
    draws = np.concatenate(
        [np.arange(kind.size)[None], draw.integers(0, kind.size, (_DRAWS, kind.size))]
    )
    found = np.array([kind.resampled(one, draws) for one in seen])
    orders = [draw.permutation(kind.size) for _ in range(_SHUFFLES)]
    by_chance = [max(kind.shuffled(one, order) for one in seen) for order in orders]
    best, usual, spread = found[:, 0].max(), np.mean(by_chance), np.std(by_chance)
    if best <= max(by_chance) or best - usual < _SURE * spread:
        raise SaysNothingError(
            f"The {kind.labels} say nothing of the rows: the {kind.name} is {best:.3f}, and "
            f"{usual:.3f} when labels are shuffled."
        )
    return _Told(kind, found[:, 0], (found - found[0])[:, 1:].std(1))


def _averaged(told: Sequence[_Told]) -> tuple[np.ndarray, np.ndarray]:
    usual = [np.sqrt(np.mean(one.errors**2)) for one in told]
    weights = 1 / np.maximum(_FLOOR, usual)
    weights /= weights.sum()
    values = weights @ np.array([one.values for one in told])
    return values, np.sqrt(weights**2 @ np.array([one.errors**2 for one in told]))


def _picked(
    options: Sequence[Candidate],
    told: Sequence[_Told],
    values: np.ndarray,
    errors: np.ndarray,
    harmless: np.ndarray,
    tolerance: float,
) -> tuple[int, str]:
    gains = values - values[0]
    low = np.where(harmless, gains - tolerance * errors, -np.inf)
    pick, best = int(low.argmax()), int(values.argmax())
    name = _named(told)
    if pick:
        why = (
            f"{options[pick].name}: the {name} goes from {values[0]:.3f} to {values[pick]:.3f} "
            f"({gains[pick]:+.3f}, standard error {errors[pick]:.3f})."
        )
    else:
        why = f"No correction: no other is surely better than {values[0]:.3f} by the {name}."
    if best != pick:
        why += f" {options[best].name} has {values[best]:.3f}, but " + (
            f"its gain has a standard error of {errors[best]:.3f}, so it is less sure."
            if harmless[best] or len(told) == 1
            else f"it may do harm by the {_worst(told, best)}."
        )
    return pick, why


def _named(told: Sequence[_Told]) -> str:
    names = " and ".join(one.kind.name for one in told)
    return names if len(told) == 1 else f"weighted mean of {names}"


def _worst(told: Sequence[_Told], option: int) -> str:
    return min(told, key=lambda one: one.gains[option] / max(_FLOOR, one.errors[option])).kind.name
