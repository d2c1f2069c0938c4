"""Labels as they were passed, checked: pairs, classes, judged queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from isotropy.choose.kinds import (
    CLUSTERED,
    AlikePairs,
    Clusters,
    GradedPairs,
    JudgedQueries,
    Kind,
    Neighbours,
    some_of,
)
from isotropy.correctors.pairs import check_pairs
from isotropy.moments import Moments
from isotropy.rows import as_rows

__all__ = ["LEAST", "Labels", "SaysNothingError", "labelled"]

LEAST = 20
"""Labels of a kind; fewer say too little to choose by."""

_LEAST_ALIKE = 5
_PAIRS = 5000
_ROWS = 3000


class SaysNothingError(Exception):
    """What was given says nothing of the rows; the message says why, in a sentence."""


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


def _of_pairs(pairs: Any, pair_scores: Any, n: int, random_state: int) -> Kind:
    numbers, scores = check_pairs(pairs, pair_scores, n, need_scores=True)
    assert scores is not None
    apart = numbers[:, 0] != numbers[:, 1]  # a row and itself are always alike
    numbers, scores = numbers[apart], scores[apart]
    _enough(len(scores), "scored pairs")
    some = some_of(len(scores), _PAIRS, random_state)
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
    wanted = CLUSTERED if task == "clusters" else _ROWS
    rows = known[some_of(len(known), wanted, random_state)]
    kinds, numbers = np.unique([str(listed[row]) for row in rows], return_inverse=True)
    most = np.bincount(numbers).max()
    if len(kinds) < 2 or most < 2:
        told = "all the same" if len(kinds) < 2 else "all different"
        raise ValueError(f"classes must be at least two, of several rows each; they are {told}.")
    if task != "clusters":
        return Neighbours(rows, numbers)
    others = np.setdiff1d(np.arange(n), known)
    more = others[some_of(len(others), max(0, wanted - len(rows)), random_state)]
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
