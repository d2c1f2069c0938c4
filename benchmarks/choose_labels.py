"""Do a few labels choose the correction, and do they ever choose one that does harm?

Of each collection some things are labelled (pairs, rows or queries), AutoCorrector's rule chooses
by them, and the choice is judged on the others. A draw is **hurt** where it is worse there than the
raw rows by over half a point; its regret is the distance to the best candidate there. Needs the
text collections (``--data``) and isotropy[demo]; rows are kept in ``--cache``, a folder of its own,
since more pairs are taken than in choose.py. One core takes about half an hour.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _sets
import numpy as np
from _common import report
from _encoders import encoded

from isotropy import AutoCorrector, Moments
from isotropy.choose.candidates import candidates, fitted
from isotropy.choose.judge import judge
from isotropy.choose.kinds import Kind
from isotropy.choose.labels import Labels, SaysNothingError, labelled
from isotropy.rows import as_rows

PAIRS = {"msrp": 1600, "sts12-test": 1000, "sts14-test": 1000, "sts15-test": 1000}
CLASSES = ("stackoverflow", "trec", "agnews", "searchsnippets", "tweet", "banking77")
CLUSTERED = CLASSES[:4]
SEARCHED = ("agnews-titles", "cranfield")
ENCODERS = (
    "mean 6", "mean 5", "mean 3", "mean 0", "cls 6", "cls 4", "max 6", "glove", "tokens",
    "cosent, 6 layers", "infonce .01, 6 layers shifted", "distilled .01, 4 layers",
)  # fmt: skip
FEW = ("mean 6", "mean 3", "cls 6", "glove", "cosent, 6 layers")
SIZES = {"search": (50, 150)}
DRAWS, RESAMPLES, LEAST_LEFT = 4, 20, 70
TOLERANCES = (1.0, 0.0, 2.0)


def tasks(data: Path) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Kind of labels, collection, encoders."""
    known = _sets.training_texts(data)
    for name, wanted in PAIRS.items():
        _sets.PAIRS = wanted
        if name == "msrp":
            yield "alike pairs", _sets.paraphrases(data), ENCODERS
        else:
            yield "graded pairs", _sets.similarity(data, name, known), ENCODERS
    for name in SEARCHED:
        made = _sets.headlines(data) if name == "agnews-titles" else _sets.search(data, name)
        yield "search", made, ENCODERS
    for name in CLASSES:
        yield "classes", _sets.labelled(data, name), ENCODERS
    for name in CLUSTERED:
        yield "clusters", _sets.labelled(data, name), FEW


def labels_of(
    kind: str, collection: Any, rows: dict[str, np.ndarray], some: Any
) -> tuple[Labels, int]:
    """The labels of some things, and how many things there are."""
    n = len(next(iter(rows.values())))
    if kind == "search":
        judged = collection.tasks["search"].judged
        picked = set(range(len(judged)) if some is None else some.tolist())
        relevant = [item if k in picked else None for k, item in enumerate(judged)]
        found = labelled(n, queries=rows["queries"], relevant=relevant)
        size = len(judged)
    elif kind in ("classes", "clusters"):
        numbers = np.asarray(collection.tasks["classes"].numbers)
        size = n
        picked = np.arange(n) if some is None else some
        classes = np.full(n, None, object)
        classes[picked] = numbers[picked]
        found = labelled(n, task=kind, classes=classes)
    else:
        ((_, task),) = collection.tasks.items()
        places = {text: k for k, text in enumerate(collection.parts["texts"])}
        pairs = np.array(
            [[places[a], places[b]] for a, b in zip(task.left, task.right, strict=True)]
        )
        scores = np.asarray(task.same if kind == "alike pairs" else task.labels, float)
        apart = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
        size = len(apart)
        picked = apart if some is None else apart[some]
        found = labelled(n, pairs=pairs[picked], pair_scores=scores[picked])
    assert found is not None
    return found, size


def cell(kind: str, collection: Any, rows: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """What is chosen with so many labels of some draws, and what it does on the others."""
    X = next(iter(rows.values()))
    task = {"search": "search", "classes": "classes", "clusters": "clusters"}.get(
        kind, "similarity"
    )
    options = candidates(None, n_components=None, normalize="none")
    options = fitted(options, Moments(unit="sums").update(X))
    everything, size = labels_of(kind, collection, rows, None)
    (judged,) = everything.kinds
    seen = [judged.seen(one.corrector, X[judged.rows].astype(np.float64)) for one in options]
    plain = AutoCorrector(task).fit(X, queries=rows.get("queries")).chosen_
    free = [one.name for one in options].index(plain)
    for count in SIZES.get(kind, (50, 200, 600)):
        if size - count < LEAST_LEFT:
            continue
        for draw in range(DRAWS if kind != "clusters" else 1):
            order = np.random.default_rng(draw).permutation(size)
            told, _ = labels_of(kind, collection, rows, np.sort(order[:count]))
            values, errors = found_on(judged, seen, order[count:])
            yield {"kind": kind, "labels": count, "values": values, "errors": errors} | {
                "picks": picks(options, X, told, free)
            }


def found_on(kind: Kind, seen: list[Any], some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of each candidate on what was not labelled, and errors of the gains."""
    draws = np.random.default_rng(0).integers(0, len(some), (RESAMPLES, len(some)))
    values = np.array([kind.resampled(one, some[None])[0] for one in seen])
    drawn = np.array([kind.resampled(one, some[draws]) for one in seen])
    return 100 * values, 100 * (drawn - drawn[0]).std(1)


def picks(options: Any, X: np.ndarray, labels: Labels, free: int) -> dict[str, int]:
    """By labels at each tolerance; labels that say nothing leave the choice as it was."""
    try:
        told = judge(options, as_rows(X), labels, TOLERANCES[0])
    except SaysNothingError:
        return {named(tolerance): free for tolerance in TOLERANCES}
    gains = told.values - told.values[0]
    found = {named(one): int((gains - one * told.errors).argmax()) for one in TOLERANCES}
    assert found[named(TOLERANCES[0])] == told.pick
    return found


def named(tolerance: float) -> str:
    return f"labels, tolerance {tolerance:g}{' (default)' if tolerance == 1 else ''}"


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Harm first."""
    found = []
    for kind, count in dict.fromkeys((cell["kind"], cell["labels"]) for cell in cells):
        some = [cell for cell in cells if (cell["kind"], cell["labels"]) == (kind, count)]
        for choice in some[0]["picks"]:
            gains = np.array([c["values"][c["picks"][choice]] - c["values"][0] for c in some])
            errors = np.array([c["errors"][c["picks"][choice]] for c in some])
            lost = np.array([c["values"].max() - c["values"][c["picks"][choice]] for c in some])
            hurt = gains < -0.5
            found.append(
                {
                    "kind": kind,
                    "labels": count,
                    "choice": choice,
                    "draws": len(some),
                    "hurt": int(hurt.sum()),
                    "beyond 2 errors": int((hurt & (gains < -2 * errors)).sum()),
                    "worst harm": round(float(max(0.0, -gains.min())), 1),
                    "mean regret": round(float(lost.mean()), 2),
                    "worst regret": round(float(lost.max()), 1),
                    "mean gain": round(float(gains.mean()), 2),
                }
            )
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    options.add_argument("--cached", action="store_true", help="only rows of the cache")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    cache = chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-"))
    cells = []
    for kind, collection, encoders in tasks(chosen.data):
        for name in encoders:
            made = [cache / f"{name}__{collection.name}__{part}.npy" for part in collection.parts]
            if chosen.cached and not all(path.is_file() for path in made):
                continue
            cells += cell(kind, collection, encoded(name, collection, chosen.data, cache))
        print(kind, collection.name, len(cells), flush=True)
    title = "A choice with few labels, judged on what was not labelled"
    report("choose_labels", title, table(cells))


if __name__ == "__main__":
    main()
