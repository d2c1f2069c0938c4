"""Is a correction ever worse than doing nothing, and which choice comes nearest to the best?

A cell is a task, a text collection and an encoder. A choice **hurts** a cell where it is worse than
the raw rows by over half a point; its regret is the distance to the best of the settings in that
cell that queries and documents share. Needs the text collections (``--data``) and isotropy[demo];
rows, trained encoders and cells are kept in ``--cache``, so that a run which was broken off goes
on. With rows in the cache a run takes about 20 minutes of one core, without some hours.

``--record`` writes what was measured into `isotropy.choose.record`, from which `AutoCorrector`
chooses; a run after that judges its choices. ``--families`` tries corrections of other kinds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _cells import KINDS, OWN, said, scores
from _common import report, timed
from _encoders import encoded, family, names
from _families import COLLECTIONS, ENCODERS, family_scores, family_table
from _rules import gain, is_hurt, left_out, record, setting_in
from _sets import collections

import isotropy.choose.record
from isotropy import AutoCorrector, Whitening
from isotropy.choose.record import TASKS
from isotropy.choose.settings import SETTINGS


def measured(data: Path, cache: Path, cached: bool) -> Iterator[dict[str, Any]]:
    """All cells, or those that are `cached`; those of an encoder and collection are one file."""
    for folder in ("rows", "cells"):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    for collection in collections(data):
        for name in names(collection):
            path = cache / "cells" / f"{name}__{collection.name}.json"
            if cached and not path.is_file():
                continue
            rows = encoded(name, collection, data, cache / "rows")
            if not path.is_file():
                path.write_text(json.dumps(scores(collection, rows)), encoding="utf-8")
            about = {
                "collection": collection.name,
                "texts": collection.texts,
                "encoder": name,
                "family": family(name),
                **said(collection, rows),
            }
            yield from _cells(about, json.loads(path.read_text("utf-8")))
        print(collection.name, flush=True)


def other_families(data: Path, cache: Path) -> list[dict[str, Any]]:
    """Their table, on some of the collections and encoders."""
    (cache / "families").mkdir(parents=True, exist_ok=True)
    found = {}
    for collection in collections(data):
        for name in ENCODERS if collection.name in COLLECTIONS else ():
            path = cache / "families" / f"{name}__{collection.name}.json"
            if not path.is_file():
                rows = encoded(name, collection, data, cache / "rows")
                path.write_text(json.dumps(family_scores(collection, rows)), encoding="utf-8")
            found[name, collection.name] = json.loads(path.read_text("utf-8"))
    return family_table(found)


def _cells(about: dict[str, Any], both: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One a task: points and errors by setting."""
    for task in dict.fromkeys(one["task"].removesuffix(OWN) for one in both):
        points, errors = {}, {}
        for one in both:
            if one["task"].removesuffix(OWN) == task:
                name = one["setting"] + one["task"].removeprefix(task)
                points[name], errors[name] = one["points"], one["error"]
        kind = next(kind for kind, tasks in KINDS.items() if task in tasks)
        yield {"task": task, "kind": kind, **about, "points": points, "errors": errors}


# -- tables --------------------------------------------------------------------------------------


def told(cells: list[dict[str, Any]], taken: Iterable[str]) -> dict[str, Any]:
    """Columns of the table: harm first."""
    both = list(zip(cells, taken, strict=True))
    gains = np.array([gain(cell, name) for cell, name in both])
    regret = np.array([best(cell) for cell in cells]) - gains
    hurt, beyond = np.array([is_hurt(cell, name) for cell, name in both]).sum(0)
    return {
        "cells": len(cells),
        "hurt": int(hurt),
        "beyond noise": int(beyond),
        "worst harm": round(float(max(0.0, -gains.min())), 1),
        "mean gain": round(float(gains.mean()), 2),
        "mean regret": round(float(regret.mean()), 2),
        "worst regret": round(float(regret.max()), 1),
    }


def best(cell: dict[str, Any]) -> float:
    """The gain of the best of the settings that queries and documents share."""
    return max(gain(cell, name) for name in cell["points"] if not name.endswith(OWN))


def choices(cells: list[dict[str, Any]], own: bool) -> Iterator[tuple[str, list[str]]]:
    """Name and setting of each cell: one everywhere, and the library's with and without a task."""
    kind, more = cells[0]["kind"], OWN if own else ""
    for name in SETTINGS:
        if not own or f"{name}{OWN}" in cells[0]["points"]:
            yield f"always {name}{more}", [f"{name}{more}"] * len(cells)
    for task in (kind, None):
        title = f"AutoCorrector({task!r})" if task else "AutoCorrector()"
        if task or not own:
            chosen = [cell["chosen"][f"{task}{more}"] for cell in cells]
            yield (
                f"{title}{more}",
                [setting_in(cell, name, own) for cell, name in zip(cells, chosen, strict=True)],
            )
        if task:
            yield f"{title}{more}, left out", left_out(cells, own)


def tables(cells: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """For each task all choices; for each task and kind of encoder those of the library."""
    rows, by_family = [], []
    for kind in TASKS:
        some = [cell for cell in cells if cell["kind"] == kind]
        for own in (False, True) if kind == "search" else (False,):
            for name, taken in choices(some, own):
                rows.append({"task": kind, "choice": name} | told(some, taken))
                if name.startswith(f"AutoCorrector({kind!r}"):
                    by_family += _by_family(kind, name, some, taken)
    return rows, by_family


def _by_family(
    kind: str, choice: str, cells: list[dict[str, Any]], taken: list[str]
) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(cell["family"] for cell in cells):
        here = [place for place, cell in enumerate(cells) if cell["family"] == name]
        row = {"task": kind, "encoders": name, "choice": choice}
        yield row | told([cells[k] for k in here], [taken[k] for k in here])


def compact(cell: dict[str, Any]) -> dict[str, Any]:
    """What the results keep of a cell."""
    names = ("task", "collection", "encoder", "family", "queries known", "chosen")
    kept = {name: cell[name] for name in names}
    kept |= {name: round(cell[name], 3) for name in ("mean cosine", "neighbours kept")}
    kept["errors"] = {name: round(value, 1) for name, value in cell["errors"].items()}
    return kept | {"points": {name: round(value, 1) for name, value in cell["points"].items()}}


def write_record(cells: list[dict[str, Any]]) -> None:
    """Into the source, in the place of what is there."""
    path = Path(isotropy.choose.record.__file__)
    before, start, rest = path.read_text("utf-8").partition("ROWS: tuple[Measured, ...] = (\n")
    _, end, after = rest.partition("\n)\n")
    lines = [f"    Measured({', '.join(map(_literal, row))})," for row in record(cells)]
    path.write_text(before + start + "\n".join(lines) + end + after, encoding="utf-8")


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def seconds() -> float:
    X = np.random.default_rng(0).standard_normal((100_000, 768), dtype=np.float32) + 1
    tasks = {
        "Whitening": lambda: Whitening().fit(X),
        "AutoCorrector": lambda: AutoCorrector("search").fit(X),
    }
    found = {name: float(np.median(values)) for name, values in timed(tasks, 5).items()}
    return round(found["AutoCorrector"] / found["Whitening"], 2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--cache", type=Path)
    options.add_argument("--cached", action="store_true", help="only cells of the cache")
    options.add_argument("--record", action="store_true", help="write the record, and no tables")
    options.add_argument("--families", action="store_true", help="other families, on some cells")
    options.add_argument("--time", action="store_true", help="the time of a fit, and no cells")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    if chosen.time:
        rows = [{"AutoCorrector / Whitening": seconds()}]
        report("choose_time", "Without labels, 100,000 x 768", rows)
        return
    cache = chosen.cache or Path(tempfile.mkdtemp(prefix="isotropy-"))
    if chosen.families:
        rows = other_families(chosen.data, cache)
        report("choose_families", "Other families, on some of the cells", rows)
        return
    cells = list(measured(chosen.data, cache, chosen.cached))
    if chosen.record:
        write_record(cells)
        return
    rows, by_family = tables(cells)
    report("choose_family", "The same by kind of encoder", by_family)
    report(
        "choose",
        "Cells hurt by over 0.5 points, and the distance to the best setting",
        rows,
        record=[row._asdict() for row in record(cells)],
        cells=[compact(cell) for cell in cells],
    )


if __name__ == "__main__":
    main()
