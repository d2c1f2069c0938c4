"""A cell: an encoder's rows of a collection, under every setting and task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, v_measure_score

from isotropy import AutoCorrector, Moments
from isotropy.affine import AffineMap
from isotropy.choose.decision import decide
from isotropy.choose.kept import Kept
from isotropy.choose.settings import SETTINGS
from isotropy.ranking import first, ndcg, spearman, unit, vote

DRAWS = 20
LINEAR = ("trec", "stackoverflow")
OWN = ", own mean"
KINDS = {
    "similarity": ("similarity", "pairs"),
    "search": ("search",),
    "clusters": ("clusters",),
    "classes": ("classes", "classes, neighbours", "classes, linear"),
}


# -- scores: the value, and one a resample or item for the spread of differences ------------------


def _similarity(task: Any, Y: np.ndarray) -> np.ndarray:
    found = task.cosines({"texts": Y})
    draws = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    return 100 * np.array(
        [spearman(found, task.labels), *(spearman(found[k], task.labels[k]) for k in draws)]
    )


def _pairs(task: Any, Y: np.ndarray) -> np.ndarray:
    """Average precision of all pairs, which needs no threshold."""
    found, same = task.cosines({"texts": Y}), task.same
    draws = np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))
    each = [average_precision_score(same[k], found[k]) for k in draws]
    return 100 * np.array([average_precision_score(same, found), *each])


def _resampled(each: np.ndarray) -> np.ndarray:
    draws = np.random.default_rng(0).integers(0, len(each), (DRAWS, len(each)))
    return 100 * np.concatenate([[each.mean()], each[draws].mean(1)])


def _search(task: Any, D: np.ndarray, Q: np.ndarray) -> np.ndarray:
    found = first((unit(Q) @ unit(D).T).round(9), 10)
    each = [
        ndcg([judged.get(int(row), 0.0) for row in item], list(judged.values()))
        for item, judged in zip(found, task.judged, strict=True)
    ]
    return _resampled(np.array(each))


def _neighbours(task: Any, Y: np.ndarray) -> np.ndarray:
    """Ten nearest neighbours, each text left out of its own."""
    n = len(task.classes)
    return _resampled((vote(*_nearest(Y), task.numbers, n) == task.numbers).astype(float))


def _nearest(Y: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines, nearest first."""
    U = unit(Y).astype(np.float32)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -2)
    found = first(cosines, k)
    return found, np.take_along_axis(cosines, found, 1)


def _linear(task: Any, Y: np.ndarray) -> np.ndarray:
    """Logistic regression learnt from every other text, both ways."""
    Y, right = unit(Y), np.zeros(len(Y))
    for side in (0, 1):
        learnt, judged = slice(side, None, 2), slice(1 - side, None, 2)
        model = LogisticRegression(max_iter=1000).fit(Y[learnt], task.numbers[learnt])
        right[judged] = model.predict(Y[judged]) == task.numbers[judged]
    return _resampled(right)


def _clusters(task: Any, Y: np.ndarray) -> np.ndarray:
    """V-measure, mean over starts: one start's value says too little where clusters are few."""
    Y, k = unit(Y).astype(np.float32), len(task.classes)
    starts = 2 if k > 30 else 4 if k > 10 else 8
    each = np.array(
        [
            v_measure_score(
                task.numbers, KMeans(k, n_init=1, random_state=start, tol=1e-3).fit_predict(Y)
            )
            for start in range(starts)
        ]
    )
    draws = np.random.default_rng(0).integers(0, starts, (DRAWS, starts))
    return 100 * np.concatenate([[each.mean()], each[draws].mean(1)])


SIMPLE = {
    "similarity": {"similarity": _similarity},
    "pairs": {"pairs": _pairs},
    "clusters": {"clusters": _clusters},
    "classes": {"classes, neighbours": _neighbours, "classes, linear": _linear},
}


def scores(collection: Any, rows: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row a task and setting: points, and the standard error of the difference to none."""
    return list(scored(collection, rows, _settings))


def _settings(X: np.ndarray) -> Iterator[tuple[str, AffineMap, bool]]:
    moments = Moments(unit="sums", order=2).update(X)
    for name, make in SETTINGS.items():
        fitted = make().fit_moments(moments)
        yield name, fitted.affine_map_, fitted._removes_mean


def scored(
    collection: Any,
    rows: dict[str, np.ndarray],
    maps: Callable[[np.ndarray], Iterator[tuple[str, Any, bool]]],
) -> Iterator[dict[str, Any]]:
    """The same for any maps of the first part's rows: name, map, whether it removes the mean.

    The first is no correction.
    """
    parts = {part: some.astype(np.float64) for part, some in rows.items()}
    raw: dict[str, np.ndarray] = {}
    for name, moved, removes_mean in maps(next(iter(parts.values()))):
        for task, values in _scored(collection, parts, moved, removes_mean):
            apart = (values - raw.setdefault(task.removesuffix(OWN), values))[1:].std()
            yield {
                "task": task,
                "setting": name,
                "points": float(values[0]),
                "error": float(apart),
            }


def _scored(
    collection: Any, parts: dict[str, np.ndarray], moved: Any, removes_mean: bool
) -> Iterator[tuple[str, np.ndarray]]:
    X = next(iter(parts.values()))
    Y = moved.apply(X)
    for kind, task in collection.tasks.items():
        if kind == "search":
            Q = parts["queries"]
            yield kind, _search(task, Y, moved.apply(Q))
            if removes_mean:
                yield f"{kind}{OWN}", _search(task, Y, moved.apply(Q - Q.mean(0) + X.mean(0)))
            continue
        for name, score in SIMPLE[kind].items():
            if name != "classes, linear" or collection.name in LINEAR:
                yield name, score(task, Y)


# -- what the library says -----------------------------------------------------------------------


def said(collection: Any, rows: dict[str, np.ndarray]) -> dict[str, Any]:
    """What `AutoCorrector` sees, and what it chooses: by task, and with the queries' own mean.

    It is fitted for one task; for the others the same evidence is decided on as it does that.
    """
    tasks = [kind for kind, some in KINDS.items() if set(some) & {*collection.tasks}]
    X, own = next(iter(rows.values())), "queries" in rows
    auto = AutoCorrector(tasks[0]).fit(X, queries=rows.get("queries"))
    evidence = auto.report_.evidence
    kept = evidence["neighbours kept"]
    looked = Kept(
        np.nan if kept is None else kept,
        evidence["rows looked at"],
        "" if kept else "-",
        evidence["mean cosine"],
    )
    chosen = {f"{task}": decide(task, looked).setting for task in (*tasks, None)}
    known = own and auto._queries_known
    if own:
        chosen[f"search{OWN}"] = decide("search", looked, queries_known=known).setting
    found = next(row["setting"] for row in auto.report_.candidates if row["chosen"])
    assert found == chosen[f"{tasks[0]}{OWN if own else ''}"]
    return {
        "neighbours kept": looked.value,
        "mean cosine": evidence["mean cosine"],
        "queries known": known,
        "chosen": chosen,
    }
