"""Is a correction ever worse than doing nothing, and which choice comes nearest to the best?

A cell is a task, a text collection and an encoder. A choice **hurts** a cell where it is worse than
the raw rows by over half a point; its regret is the distance to the best of the settings in that
cell. Needs the text collections (``--data``) and isotropy[demo]; rows, trained encoders and cells
are kept in ``--cache``, so that a run which was broken off goes on. One core takes about an hour.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _cells import CHOICES, evidence, of_queries, scores
from _common import report, timed
from _encoders import encoded, family, names
from _rules import KEPT, best_rule, left_out
from _sets import TRAINED_ON, collections

from isotropy import AutoCorrector, Whitening

KINDS = {
    "similarity": ("similarity", "pairs"),
    "search": ("search",),
    "clusters": ("clusters",),
    "classes": ("classes, neighbours", "classes, linear"),
}
OWN = ", own mean"
ALWAYS = (
    "raw", "centred", "power .25", "power .5", "power .75", "power 1", "plain 1", "origin .25",
    "origin .5", "origin tapered .5", "origin tapered 1",
)  # fmt: skip


def measured(data: Path, cache: Path, cached: bool) -> list[dict[str, Any]]:
    """All cells, or those that are `cached`; those of an encoder and collection are one file."""
    (cache / "rows").mkdir(parents=True, exist_ok=True)
    (cache / "cells").mkdir(exist_ok=True)
    found = []
    for collection in collections(data):
        for name in names():
            if family(name).startswith("trained") and collection.name not in TRAINED_ON:
                continue
            path = cache / "cells" / f"{name}__{collection.name}.json"
            if cached and not path.is_file():
                continue
            if not path.is_file():
                rows = encoded(name, collection, data, cache / "rows")
                path.write_text(json.dumps(_both(name, collection, rows)), encoding="utf-8")
            found += _cells(json.loads(path.read_text("utf-8")))
        print(collection.name, flush=True)
    return found


def _both(name: str, collection: Any, rows: dict[str, np.ndarray]) -> dict[str, Any]:
    texts, first = next(iter(collection.parts.values())), next(iter(rows.values()))
    shown = evidence(texts, first)
    if "queries" in rows:
        shown |= of_queries(first.astype(float), rows["queries"].astype(float))
    return {
        "encoder": name,
        "collection": collection.name,
        "evidence": shown,
        "scores": scores(collection, rows),
    }


def _cells(both: dict[str, Any]) -> list[dict[str, Any]]:
    """One a task: points and errors by setting; with the queries' own mean under another name."""
    found: dict[str, dict[str, Any]] = {}
    for one in both["scores"]:
        task = one["task"].removesuffix(OWN)
        cell = found.setdefault(
            task,
            {
                "task": task,
                "kind": next(kind for kind, tasks in KINDS.items() if task in tasks),
                "collection": both["collection"],
                "encoder": both["encoder"],
                "family": family(both["encoder"]),
                "evidence": both["evidence"],
                "points": {},
                "errors": {},
            },
        )
        name = one["setting"] + (OWN if one["task"].endswith(OWN) else "")
        cell["points"][name], cell["errors"][name] = one["points"], one["error"]
    for cell in found.values():  # no correction has no mean to move
        for name in CHOICES if cell["kind"] == "search" else ():
            for values in (cell["points"], cell["errors"]):
                values.setdefault(f"{name}{OWN}", values.get(name, np.nan))
    return [cell for cell in found.values() if set(CHOICES) <= cell["points"].keys()]


# -- tables --------------------------------------------------------------------------------------


def told(choice: str, cells: list[dict[str, Any]], taken: Iterable[str]) -> dict[str, Any]:
    """A row of the table: harm first."""
    gain, regret, errors = [], [], []
    for cell, setting in zip(cells, taken, strict=True):
        points = cell["points"]
        value = points[setting]
        gain.append(value - points["raw"])
        regret.append(best(cell) - value)
        errors.append(cell["errors"][setting])
    gains, hurt = np.array(gain), np.array(gain) < -0.5
    return {
        "choice": choice,
        "cells": len(cells),
        "hurt": int(hurt.sum()),
        "beyond 2 errors": int((hurt & (gains < -2 * np.array(errors))).sum()),
        "worst harm": round(float(max(0.0, -gains.min())), 1),
        "mean regret": round(float(np.mean(regret)), 2),
        "worst regret": round(float(max(regret)), 1),
        "mean gain": round(float(gains.mean()), 2),
    }


def best(cell: dict[str, Any]) -> float:
    """Of the settings that queries and documents share."""
    return max(
        value
        for name, value in cell["points"].items()
        if not name.endswith(OWN) and name not in CHOICES
    )


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind of task: fixed settings, AutoCorrector's choices, the rule of other cells."""
    rows = []
    for kind in KINDS:
        some = [cell for cell in cells if cell["kind"] == kind]
        for way in ways(kind, some):
            name = f"AutoCorrector, {way}" if way.startswith("chosen") else f"always {way}"
            rows.append({"task": kind} | told(name, some, [way] * len(some)))
        for own in (False, True) if kind == "search" else (False,):
            name = f"rule of other cells{OWN if own else ''}"
            rows.append({"task": kind} | told(name, some, left_out(some, own)))
    return rows


def ways(kind: str, cells: list[dict[str, Any]]) -> list[str]:
    """Settings and choices that every cell has tried."""
    wanted = [*ALWAYS, *CHOICES]
    if kind == "search":
        wanted += [f"{name}{OWN}" for name in wanted]
    return [name for name in wanted if all(name in cell["points"] for cell in cells)]


def by_family(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind of task and encoder: mean gain over raw rows, worst gain, cells hurt."""
    rows = []
    for kind in KINDS:
        for name in dict.fromkeys(cell["family"] for cell in cells):
            some = [cell for cell in cells if (cell["kind"], cell["family"]) == (kind, name)]
            if not some:
                continue
            row = {"task": kind, "encoders": name, "cells": len(some)}
            for way in ways(kind, some)[1:]:
                line = told(way, some, [way] * len(some))
                row[way] = f"{line['mean gain']:+.1f} -{line['worst harm']} ({line['hurt']})"
            rows.append(row)
    return rows


def compact(cell: dict[str, Any]) -> dict[str, Any]:
    """What the results keep of a cell."""
    kept = {name: cell[name] for name in ("task", "collection", "encoder", "family")}
    kept["mean cosine"] = round(cell["evidence"]["mean_cosine"], 3)
    kept["neighbours kept"] = round(cell["evidence"][KEPT], 3)
    return kept | {"points": {name: round(value, 1) for name, value in cell["points"].items()}}


def seconds() -> float:
    X = np.random.default_rng(0).standard_normal((100_000, 768), dtype=np.float32) + 1
    tasks = {
        "Whitening": lambda: Whitening().fit(X),
        "AutoCorrector": lambda: AutoCorrector().fit(X),
    }
    found = {name: float(np.median(values)) for name, values in timed(tasks, 5).items()}
    return round(found["AutoCorrector"] / found["Whitening"], 2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    options.add_argument("--cached", action="store_true", help="only cells of the cache")
    options.add_argument("--time", action="store_true", help="the time of a fit, and no cells")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    if chosen.time:
        rows = [{"AutoCorrector / Whitening": seconds()}]
        report("choose_time", "Embeddings alone, 100,000 x 768", rows)
        return
    cache = chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-"))
    cells = measured(chosen.data, cache, chosen.cached)
    report("choose_family", "Mean gain, worst harm and cells hurt", by_family(cells))
    kept = {kind: best_rule([c for c in cells if c["kind"] == kind]) for kind in KINDS}
    report(
        "choose",
        "Cells hurt by over 0.5 points, and the distance to the best setting",
        table(cells),
        rules=kept | {f"search{OWN}": best_rule([c for c in cells if c["kind"] == "search"], True)},
        cells=[compact(cell) for cell in cells],
    )


if __name__ == "__main__":
    main()
